"""The demo of attacks: its picture and classes, its sheets over epsilon, and the bars of the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from labkit.app import demos_attack
from labkit.app.demos_attack import attack_html, attacked_case
from labkit.models import load_model


def sheets(page: str) -> list[dict]:
    return json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def test_a_fire_engine_is_to_become_a_bus_and_a_zebra() -> None:
    case = attacked_case("minivgg")
    classes = load_model("minivgg").classes
    assert case.name == "fire engine"
    assert [classes[k] for k in case.wanted] == ["bus", "zebra"]
    assert not torch.equal(case.image, case.other)


def test_the_page_has_a_sheet_an_epsilon_with_bars_and_says_what_did_not_move(monkeypatch) -> None:
    monkeypatch.setattr(demos_attack, "LEVELS", (8,))
    page = attack_html("minivgg")
    none, most = sheets(page)
    assert "How small a step makes this fire engine another class?" in page
    assert [panel["title"] for panel in most["panels"]] == [
        "towards bus", "towards zebra", "another picture's step", "a step by lot",
    ]  # fmt: skip
    assert all(panel["bars"][0][0] == "fire engine" for panel in none["panels"])
    assert [panel["bars"][0][0] for panel in most["panels"][:2]] == ["bus", "zebra"]
    assert most["panels"][3]["bars"][0][0] == "fire engine"
    assert all(1 >= panel["bars"][0][1] >= panel["bars"][1][1] for panel in most["panels"])
    assert "exactly zero for 0 of 2 pictures" in most["says"]


def test_an_elephant_is_taken_from_photographs_and_the_likeliest_classes_where_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, colour in (("001_cat", 60), ("386_African_elephant", 200)):
        Image.new("RGB", (150, 140), (colour, 90, 30)).save(tmp_path / f"{name}.png")
    case = attacked_case("minivgg", tmp_path)
    assert case.name == "African elephant"
    assert case.image.mean() > case.other.mean()
    with torch.inference_mode():
        likely = case.network(case.image[None])[0].argsort(descending=True).tolist()
    assert case.wanted == likely[1:3]
    (tmp_path / "001_cat.png").unlink()
    alone = attacked_case("minivgg", tmp_path)
    assert not torch.equal(alone.image, alone.other)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    net.classes = ["koala", "schooner", "tusker"]
    assert demos_attack._case(net, case.image[:, :2, :2], case.other, "", ("koala", "none")).wanted[0] in (
        0,
        1,
        2,
    )
