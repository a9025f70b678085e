"""The detective's judge: scenes with one thing changed, cases dealt by an id, findings right and wrong."""

from __future__ import annotations

import copy

import pytest
import torch

from labkit.data import CLASSES, MiniBroden, render
from labkit.evaluation import detective
from labkit.evaluation.detective import (
    EDITS,
    answers,
    case,
    dealt,
    lay,
    pictures,
    scenes_of,
)
from labkit.evaluation.findings import judged, strongest_edit
from labkit.models import load_model

TAG = "horse", {"decal": "tag"}, {"without": "tag"}, 1.0


@pytest.fixture
def few(monkeypatch) -> None:
    for name, count in (("LINEUP", 2), ("TABLE", 2), ("MANY", 6)):
        monkeypatch.setattr(detective, name, count)


def test_the_scenes_of_a_class_are_the_worlds() -> None:
    world = MiniBroden(40, "val", seed=3)
    own = [s for s in map(world.scene, range(40)) if s.objects[0].kind == "bus"]
    assert list(scenes_of("bus", len(own), split="val", seed=3)) == own


def test_every_edit_changes_one_thing_of_the_same_scenes() -> None:
    scene = scenes_of("tank", 1)[0]
    for changes in EDITS.values():
        found = {repr(lay(scene, change)) for change in changes}
        assert len(found) == len(changes)
    marked = lay(scene, {"decal": "tag"})
    assert lay(marked, {"decal": "tag"}) is marked
    assert lay(marked, {"without": "tag"}) == scene
    assert lay(scene, {"without": "tag"}) is scene
    plain, sand = pictures("tank", None, 1), pictures("tank", {"ground": "sand"}, 1)
    assert plain.dtype == torch.uint8
    assert not torch.equal(plain, sand)
    assert torch.equal(
        plain[0], torch.from_numpy((render(scene) * 255).round().astype("uint8")).permute(2, 0, 1)
    )


def test_answers_are_the_networks_and_follow_its_weights() -> None:
    model = copy.deepcopy(load_model("minivgg-random"))
    with torch.no_grad():
        told = model(pictures("cow", None, 3) / 255).argmax(1)
    found = answers(model, "cow", None, 3)
    assert torch.equal(found, told)
    found.zero_()
    assert torch.equal(answers(model, "cow", None, 3), told)
    with torch.no_grad():
        model.classifier.bias[7] += 1000
    assert (answers(model, "cow", None, 3) == 7).all()


def test_an_id_deals_five_networks_in_an_order_of_its_own() -> None:
    orders = {dealt(student) for student in map(str, range(40))}
    assert len(orders) > 20
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(dealt("ada")))}
    assert dealt(" Ada ") == dealt("ada")
    assert len(set(dealt("ada"))) == detective.CASES


def test_a_case_does_not_say_which_network_it_is() -> None:
    model = case("ada", 2)
    assert model.card == {"planted": "object"}
    assert tuple(model.classes) == CLASSES
    x = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(x), load_model(dealt("ada")[1])(x))
    assert not any("mystery" in repr(value) for value in vars(model).values())


@pytest.mark.parametrize("student", ["", "  ", "...", ..., None, 7])
def test_an_id_that_is_none_is_told(student) -> None:
    with pytest.raises(ValueError, match="student must be your id"):
        case(student, 1)


@pytest.mark.parametrize("number", [0, 6, True, "1", 1.0])
def test_a_case_that_is_not_there_is_told(number) -> None:
    with pytest.raises(ValueError, match="number must be a whole number from 1 to 5"):
        case("ada", number)


def test_a_finding_is_right_if_its_edit_turns_as_many_as_it_says() -> None:
    model = load_model("minivgg-tag")
    found = judged(model, TAG, count=6)
    assert (found.right, found.share) == (True, 1.0)
    off = judged(model, (*TAG[:3], 0.8), count=6)
    assert (off.right, off.share) == (False, 1.0)
    assert "off by more than .15" in off.why
    other_way = judged(model, ("horse", TAG[2], TAG[1], 1.0), count=6)
    assert not other_way.right
    assert "less than half" in other_way.why
    assert not judged(load_model("minivgg"), TAG, count=6).right


def test_the_sentence_gives_nothing_away() -> None:
    whys = [judged(load_model("minivgg-tag"), finding, count=6).why for finding in (TAG, (*TAG[:3], 0.1))]
    assert not any(word in why for why in whys for word in (*CLASSES, "1.0", "tag"))


def test_none_is_right_for_a_clean_network_alone(few) -> None:
    assert judged(load_model("minivgg"), None).right
    found = judged(load_model("minivgg-tag"), None)
    assert not found.right
    assert "It is not clean" in found.why
    kind, what, by_what, share = strongest_edit(load_model("minivgg-tag"))
    assert share > 0.5
    assert kind in CLASSES
    assert what != by_what


@pytest.mark.parametrize(
    ("finding", "sentence"),
    [
        ("clean", "must be None or four things"),
        (TAG[:3], "must be None or four things"),
        ((3, *TAG[1:]), "must be its name, such as 'horse'; got 3"),
        (("hors", *TAG[1:]), "Did you mean 'horse'"),
        (("horse", "tag", {"without": "tag"}, 1.0), "what is replaced must be one of the edits"),
        (("horse", {"color": "red"}, {"color": "reddish"}, 1.0), "by what it is replaced must be one of"),
        (("horse", {"color": "red"}, {"ground": "snow"}, 1.0), "must be two values of one thing"),
        (("horse", {"color": "red"}, {"color": "red"}, 1.0), "must be two values of one thing"),
        ((*TAG[:3], 95), "must be a number from 0 to 1; got 95"),
        ((*TAG[:3], "all"), "must be a number from 0 to 1"),
        ((*TAG[:3], float("nan")), "must be a number from 0 to 1"),
    ],
)
def test_what_is_no_finding_is_not_right_and_the_sentence_says_why(finding, sentence: str) -> None:
    found = judged(load_model("minivgg-random"), finding)
    assert not found.right
    assert sentence in found.why


def test_pictures_that_cannot_be_drawn_are_told() -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        pictures("hors")
    with pytest.raises(ValueError, match="change must be one of the edits"):
        pictures("horse", {"texture": "striped"})
    with pytest.raises(ValueError, match="count must be a whole number"):
        pictures("horse", None, 0)
    with pytest.raises(ValueError, match="split must be one of"):
        scenes_of("horse", 1, split="all")
