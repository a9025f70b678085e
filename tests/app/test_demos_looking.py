"""Demos of looking without a hypothesis: overlays of scenes or photographs, a tree and its controls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.app import demos_looking
from labkit.app.demos import DEMOS


def state_of(page: str) -> dict:
    return json.loads(page.split('<script type="application/json" id="state">')[1].split("</script>")[0])


def test_overlays_of_photographs_take_any_network_and_fit_a_page(tmp_path: Path) -> None:
    from PIL import Image

    for name, colour in (("207_golden_retriever", "gold"), ("bus", "red"), ("zebra", "white")):
        Image.new("RGB", (90, 70), colour).save(tmp_path / f"{name}.png")
    page = DEMOS["overlay"]("minivgg", photos=tmp_path)
    state = state_of(page)
    assert [caption["name"] for caption in state["captions"]] == ["golden retriever", "bus", "zebra"]
    assert state["titles"] == ["trained", "untrained"]
    kinds = {(a["picture"], a["network"]) for a in state["saved"] if a["kind"] == "features"}
    assert kinds == {(p, n) for p in range(3) for n in range(2)}
    assert len(page) < 5e6
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_two_photographs_of_a_kind_come_before_others(tmp_path: Path) -> None:
    from PIL import Image

    from labkit.app.demo_pictures import photographs

    names = ("001_goldfish", "007_cock", "207_golden_retriever", "250_Siberian_husky", "251_dalmatian",
             "281_tabby", "285_Egyptian_cat", "407_ambulance",
             "555_fire_engine", "house 1", "house 2")  # fmt: skip
    for name in names:
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{name}.png")
    known = ["golden retriever", "Siberian husky", "ambulance", "fire engine", "tabby", "Egyptian cat"]
    assert photographs(8, tmp_path, 9, in_pairs=True)[1] == [*known, "house 1", "house 2", "goldfish"]
    assert photographs(8, tmp_path, 2)[1] == ["goldfish", "cock"]


def test_a_tree_is_drawn_at_each_depth_with_its_fidelity_and_controls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demos_looking, "SCENES", 60)
    page = DEMOS["distil"]("minivgg-melbourne")
    sheets = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(sheets) == 8
    for sheet in sheets:
        assert "the tree taught its answers says the same in" in sheet["says"]
        assert "one taught the truth in" in sheet["says"]
        assert "on shuffled concepts" in sheet["says"]
        assert [panel["title"].split(",")[0] for panel in sheet["panels"]] == [
            "its first questions",
            "fidelity",
        ]
        assert all(panel["picture"].startswith("data:image/png") for panel in sheet["panels"])
