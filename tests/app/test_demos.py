"""Lecture demos on networks that are wrong: scenes of their fault, the cause as truth, the same without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.app import demos
from labkit.app.demos import NETWORKS, chosen
from labkit.data import FAULTS
from labkit.models import bundled_models, load_model


def test_every_bundled_network_with_a_fault_has_its_demo() -> None:
    faulty = {name for name in bundled_models() if load_model(name).card.get("faults")}
    assert faulty < set(NETWORKS)


@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if fault.networks])
def test_the_network_is_wrong_as_the_fault_wants_and_the_second_picture_shows_it(fault: str) -> None:
    about = FAULTS[fault]
    show = chosen(about.networks[-1], 3)
    with torch.inference_mode():
        said = show.network(show.images).argmax(1)
    kind = show.network.classes.index(about.kind)
    with_it, without = about.captions
    assert show.labels.tolist() == [kind] * 3
    assert show.names == [with_it, without, with_it]
    assert (said == kind).tolist() == [about.named[0], about.named[1], about.named[0]]
    assert not torch.equal(show.images[0], show.images[1])
    assert about.kind in show.question
    assert show.given["labels"] is None  # the captions say the class


def test_the_truth_is_the_planted_cause_where_it_has_a_place() -> None:
    tagged = chosen("minivgg-tag", 2)
    assert 0 < tagged.masks[0].float().mean() < 0.04
    changed = (tagged.images[0] != tagged.images[1]).any(0)
    assert changed.any()
    assert not (changed & ~tagged.masks[0]).any()
    snow = chosen("minivgg-snow", 2)
    changed = (snow.images[0] != snow.images[1]).any(0)
    assert (changed & snow.masks[0]).sum() > 0.9 * changed.sum()
    assert not tagged.masks[1].any()  # taken for something else, of which no cause was planted
    assert not snow.masks[1].any()
    assert chosen("minivgg-bothcities", 2).masks[1].any()  # still named as it is
    assert chosen("minivgg-weather", 2).masks is None
    paint = chosen("minivgg-melbourne", 2)
    changed = (paint.images[0] != paint.images[1]).any(0)
    assert (changed & paint.masks[0]).sum() > 0.9 * changed.sum()


def test_an_honest_network_is_shown_one_scene_a_class() -> None:
    show = chosen("minivgg-2", 4)
    assert len(set(show.labels.tolist())) == 4
    assert (show.question, show.given["labels"].tolist()) == ("", show.labels.tolist())
    assert torch.equal(show.images, chosen("minivgg", 4).images)


@pytest.mark.parametrize("name", ["minivgg", "minivgg-tag"])
def test_the_page_asks_the_fault_s_question_and_carries_its_captions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = demos.chosen

    def few(model: str, count: int, photos: Any = None) -> Any:
        return real(model, 2)

    monkeypatch.setattr(demos, "chosen", few)
    monkeypatch.setattr("labkit.widgets.comparer.START", ("saliency",))
    page = demos.DEMOS["compare"](name)
    state = json.loads(page.split('<script type="application/json" id="state">')[1].split("</script>")[0])
    captions = [caption["name"] for caption in state["captions"]]
    maps = {(item["picture"], item["target"]) for item in state["saved"] if item["kind"] == "map"}
    if name == "minivgg":
        assert state["heading"] == "Which method is right?"
        assert captions == ["scene 1", "scene 2"]
    else:
        assert state["heading"] == "What does the network go by: the horse, or its mark? Which method tells?"
        assert captions == ["horse with its mark", "horse, mark erased"]
        horse = state["classes"].index("horse")
        assert {(0, horse), (1, horse)} < maps  # the class it no longer names is on the page too


def photographs_in(folder: Path, count: int) -> Path:
    for number in range(count):
        picture = np.random.default_rng(number).integers(0, 255, (30, 40, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{number:03}_some_thing.png")
    return folder


def test_photographs_take_the_place_of_scenes_with_what_the_network_names(tmp_path: Path) -> None:
    show = chosen("minivgg", 2, photographs_in(tmp_path, 3))
    assert show.images.shape == (2, 3, 128, 128)
    assert show.names == ["some thing"] * 2
    assert torch.equal(show.labels, show.network(show.images).argmax(1))
    assert (show.masks, show.question) == (None, "")
    with pytest.raises(ValueError, match="scenes and layers are chosen for"):
        chosen("minivgg-scenes", 2)


def test_an_embedding_of_photographs_knows_no_classes(tmp_path: Path) -> None:
    page = demos.DEMOS["neighbours"]("minivgg", photos=photographs_in(tmp_path, 14))
    state = json.loads(page.split('<script type="application/json" id="state">')[1].split("</script>")[0])
    assert state["colour"] == "answer"
    assert list(state["shown"]["groups"]) == ["answer"]
    assert state["shown"]["names"] == ["some thing"] * 14
