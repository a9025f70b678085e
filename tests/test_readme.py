"""The README's tables say what is there: networks with their cards' numbers, notebooks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from labkit.ledger.scoreboard import BUNDLED, rows_in
from labkit.models import bundled_generators, bundled_styles, load_model

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
NETWORKS = {
    name: cells
    for name, *cells in re.findall(
        r"^\| `((?:mini|selfsup|supervised)[\w-]*)` \|[^|]*\|([^|]*)\|([^|]*)\|$", README, re.MULTILINE
    )
}
WEIGHTS = Path(__file__).resolve().parent.parent / "labkit" / "models" / "weights"


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d?\.\d+", text)]


def test_every_bundled_network_has_a_row() -> None:
    told = {*NETWORKS, *bundled_generators(), *re.findall(r"`(mystery-\d)`", README)}
    told |= set(bundled_styles()) & set(re.findall(r"`(style-[\w-]*)`", README))
    assert told == {path.stem for path in WEIGHTS.glob("*.json")}


@pytest.mark.parametrize("name", bundled_generators())
def test_a_generators_numbers_are_those_of_its_card(name: str) -> None:
    judged = load_model(name).card["judged"]
    (row,) = re.findall(rf"^\| `{name}` \|[^|]*\|([^|]*)\|", README, re.MULTILINE)
    shares = [float(n) for n in re.findall(r"(?<![\w.])\.\d+", row)]
    assert shares == [round(judged["named"], 2), round(judged["of real pictures"]["named"], 2)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_numbers_are_those_of_the_card(name: str) -> None:
    card = load_model(name).card
    tests = [value for split, value in card["accuracy"].items() if split.endswith("test")]
    shortcut = {kind.split(" ", 1)[1]: value for kind, value in card.get("shortcut", {}).items()}
    accuracy, reliance = NETWORKS[name]
    assert numbers(accuracy) == [round(value, 3) for value in tests]
    assert set(numbers(reliance)) <= {round(value, 3) for value in shortcut.values()}
    assert bool(reliance.strip()) == bool(shortcut)


def test_every_notebook_has_a_row() -> None:
    for path in (Path(__file__).resolve().parent.parent / "solutions").glob("*.ipynb"):
        assert f"| `{path.stem}` |" in README


def test_the_methods_that_always_point_at_the_object_are_those_of_the_scoreboard() -> None:
    names = {"DeepSHAP": "deep_shap", "SmoothGrad": "smooth_grad"}
    (said,) = re.findall(r"lies off the centre: (.*) point at it every time", README)
    told = {names.get(n) or n.lower().replace(" ", "_").replace("-", "_") for n in re.split(", | and ", said)}
    rows = {row.method: row for row in rows_in(BUNDLED) if row.world == "clean"}
    assert told == {name for name, row in rows.items() if row.values["off-centre"][0] == 1}
    parts = {"edge detector": "the edges", "deconvnet": "deconvnet", "middle of the picture": "the centre"}
    for words, name in parts.items():
        (number,) = re.findall(rf"{words} in (\.\d+)", README)
        assert float(number) == round(rows[name].values["off-centre"][0], 2)


def test_the_table_of_claims_says_what_the_verdicts_say() -> None:
    path = Path(__file__).resolve().parent / "claims" / "verdicts.toml"
    verdicts = {id: one["verdict"] for id, one in tomllib.loads(path.read_text("utf-8")).items()}
    kinds = ("holds", "holds, and so does its control", "does not hold")
    rows = re.findall(r"^\| \w+ \([A-Z]\) \|([^|]*)\|([^|]*)\|([^|]*)\|$", README, re.MULTILINE)
    told = {
        id: kind for cells in rows for kind, cell in zip(kinds, cells, strict=True)
        for id in re.findall(r"[A-Z]\d+", cell)
    }  # fmt: skip
    assert told == verdicts
