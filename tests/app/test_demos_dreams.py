"""Pages of inversions and dreams: what follows the slider, in numbers and pictures, beside the twin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from labkit.app import demos_dreams
from labkit.app.demos import DEMOS
from labkit.app.frames import Choice, frames_html
from labkit.app.sheets import Panel, Sheet


def data_of(page: str) -> dict:
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from PIL import Image

    for name, colour in (("207_golden_retriever", "gold"), ("bus", "red")):
        Image.new("RGB", (90, 70), colour).save(tmp_path / f"{name}.png")
    return tmp_path


def test_a_page_holds_each_picture_once_and_a_cell_for_each_choice() -> None:
    grey = torch.full((3, 4, 4), 0.5)

    def cell(layer: int, step: int) -> Sheet:
        shown = torch.full((3, 4, 4), (2 * layer + step) / 9)
        bars = [("bus", step / 3)] if layer else []
        panels = [Panel("same", grey, "grey"), Panel("own", shown, "<own>", bars)]
        return Sheet("", f"{layer}, {step}", panels)

    page = frames_html("What?", [Choice("Layer", ["a", "b"])], Choice("Step", ["0", "1", "2"]), cell, [1, 2])
    data = data_of(page)
    assert data["sizes"] == [2, 3]
    assert data["start"] == [1, 2]
    assert [one["says"] for one in data["cells"]] == ["0, 0", "0, 1", "0, 2", "1, 0", "1, 1", "1, 2"]
    assert {one["panels"][0]["picture"] for one in data["cells"]} == {0}
    assert [one["panels"][1]["bars"] for one in data["cells"][2:5]] == [[], [["bus", 0.0]], [["bus", 0.333]]]
    assert len(data["pictures"]) == 6  # of seven: two are alike
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_large_picture_is_sent_as_a_photograph() -> None:
    picture = torch.rand(3, 200, 200)
    page = frames_html("?", [], Choice("Step", ["0"]), lambda _: Sheet("", "", [Panel("a", picture, "a")]))
    assert data_of(page)["pictures"][0].startswith("data:image/jpeg;base64,")


def test_inversions_of_photographs(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demos_dreams, "INVERTED", 2)
    data = data_of(DEMOS["invert"]("minivgg", photos=photos))
    assert data["sizes"] == [2, 4]
    assert data["ticks"] == ["conv1", "conv2", "conv4", "conv6"]
    for cell in data["cells"]:
        assert "correlation with the picture" in cell["says"]
        assert "The untrained twin" in cell["says"]
        assert len(cell["panels"]) == 3


def test_dreams_of_photographs(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SIDE", 64), ("OCTAVES", 2), ("STEPS", 2), ("EVERY", 1)):
        monkeypatch.setattr(demos_dreams, name, value)
    data = data_of(DEMOS["dream"]("minivgg", photos=photos))
    assert data["sizes"] == [2, 3, 5]
    assert data["ticks"] == [
        "the picture", "octave 1, step 1", "octave 1, step 2", "octave 2, step 1", "octave 2, step 2"
    ]  # fmt: skip
    assert data["start"] == [0, 2, 4]
    assert data["cells"][0]["says"].startswith(
        "The length of conv2's answer is 1.0 times that to the picture"
    )
    assert data["cells"][0]["says"].endswith("by the same rule: 1.0 times.")
    assert data["cells"][1]["says"].endswith("as every step has one size, whatever it gains.")
    assert len(data["pictures"]) == 2 + 2 * 3 * 2 * 4
