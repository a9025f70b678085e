"""Demos of patches and defences: pages with every control, a patch that is learned once and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from labkit.app import demos_fooling
from labkit.app.demos import DEMOS


def state_of(page: str) -> dict:
    return json.loads(page.split('<script type="application/json" id="state">')[1].split("</script>")[0])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "LEARNED": 12, "STEPS": 2, "SIDE": 12, "SHOWN": 1, "COUNTED": 2, "LEVELS": (4,), "PGD_STEPS": 1,
        "TRIED": 3, "SEEN": 1,
    }.items():  # fmt: skip
        monkeypatch.setattr(demos_fooling, name, value)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))


def test_the_patch_s_page_has_its_controls_a_judge_and_places(small: None) -> None:
    page = DEMOS["patch-attack"]()
    state = state_of(page)
    assert state["classes"][state["aim"]] == "bus"
    assert state["titles"] == ["minivgg", "minivgg-11"]
    grids = [a for a in state["saved"] if a["kind"] == "laid"]
    assert {a["piece"] for a in grids} == {"learned", "cut", "texture", "grey"}
    assert all(len(a["axes"]["x"]) == 7 and len(a["axes"]["angle"]) == 5 for a in grids)
    tallies = [a for a in state["saved"] if a["kind"] == "tally"]
    assert [a["of"] for a in tallies] == [24] * 4  # two scenes of other classes
    assert len(page) < 5e6
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_patch_is_learned_once(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit import adversarial
    from labkit.models import load_model

    network, pictures = load_model("minivgg"), torch.rand(4, 3, 128, 128)
    first = demos_fooling.learned_patch(network, pictures, 1)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(adversarial, "adversarial_patch", never)
    assert torch.equal(demos_fooling.learned_patch(network, pictures, 1), first)
    with pytest.raises(AssertionError):
        demos_fooling.learned_patch(network, pictures, 2)


def test_defences_stand_beside_the_plain_network_with_their_zero_gradients(small: None) -> None:
    page = DEMOS["defend"]()
    state = state_of(page)
    assert state["networks"][:4] == ["plain", "8 levels", "8 levels, known", "hot softmax"]
    assert "trained on it" in state["networks"]
    counts = {(a["network"], a["way"]): a for a in state["saved"] if a["kind"] == "count"}
    assert {way for _, way in counts} == {"fgsm", "pgd", "sign", "other", "lent"}
    for hidden in (1, 3):
        found = counts[hidden, "fgsm"]
        assert found["dead"][1] == found["right"]
    for seen in (0, 2):
        assert counts[seen, "fgsm"]["dead"][1] == 0
    assert len(page) < 8e6


def test_photographs_are_attacked_too(small: None, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, colour in (("207_golden_retriever", "gold"), ("bus", "red")):
        Image.new("RGB", (90, 70), colour).save(folder / f"{name}.png")
    state = state_of(DEMOS["defend"]("minivgg", photos=folder))
    assert [caption["name"] for caption in state["captions"]] == ["golden retriever", "bus"]
    assert state["networks"] == ["plain", "8 levels", "8 levels, known", "hot softmax"]
    state = state_of(DEMOS["patch-attack"]("minivgg", photos=folder))
    assert state["titles"] == ["network"]
