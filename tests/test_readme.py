"""The README's tables say what is there: networks with their cards' numbers, notebooks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.models import load_model

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
NETWORKS = {
    name: cells
    for name, *cells in re.findall(
        r"^\| `(minivgg[\w-]*)` \|[^|]*\|([^|]*)\|([^|]*)\|$", README, re.MULTILINE
    )
}
WEIGHTS = Path(__file__).resolve().parent.parent / "labkit" / "models" / "weights"


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d?\.\d+", text)]


def test_every_bundled_network_has_a_row() -> None:
    assert set(NETWORKS) == {path.stem for path in WEIGHTS.glob("*.json")}


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
