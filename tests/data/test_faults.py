"""The table of faults: what it says is what the sampler draws, the edits change, the masks cover."""

from __future__ import annotations

from itertools import islice

import pytest

from labkit.data import CLASSES, FAULTS, MiniBroden, Scene, gather
from labkit.data.faults import check_faults
from labkit.data.sampler import RARE_SHARE
from labkit.models import bundled_models, load_model

EVERY = pytest.mark.parametrize("name", FAULTS)


def drawn(name: str, count: int, kind: str | None = None) -> list[Scene]:
    data = MiniBroden(60 * count, "val", seed=9, faults=(name,))
    own = (scene for scene in map(data.scene, range(len(data))) if kind in (None, scene.objects[0].kind))
    return list(islice(own, count))


def shows(scene: Scene, name: str) -> bool:
    """Whether a scene has what the fault lays."""
    if not FAULTS[name].lay:
        return bool(scene.decals)
    (what, value), *_ = FAULTS[name].lay.items()
    return (scene.objects[0].color if what == "color" else getattr(scene, what)) == value


@EVERY
def test_every_scene_of_the_class_has_it_or_some_have(name: str) -> None:
    fault = FAULTS[name]
    assert fault.kind in CLASSES
    found = [shows(scene, name) for scene in drawn(name, 30, fault.kind)]
    assert all(found) if fault.always else not all(found)


@EVERY
def test_a_pair_is_the_scene_with_it_and_without_it(name: str) -> None:
    fault = FAULTS[name]
    for scene in drawn(name, 4, fault.kind):
        with_it, without = fault.pair(scene)
        assert (shows(with_it, name), shows(without, name)) == (True, False)
        assert with_it == scene or not fault.always


@EVERY
def test_what_a_pair_changes_lies_where_the_cause_is_said_to_be(name: str) -> None:
    fault = FAULTS[name]
    scenes = gather(fault.pair(drawn(name, 1, fault.kind)[0]))
    changed = (scenes.images[0] != scenes.images[1]).any(0)
    truth = fault.truth(scenes)
    assert changed.any()
    if fault.cause is None:
        assert truth is None
        assert changed.float().mean() > 0.7
    elif name != "rare":  # there the object is the truth of the pictures on which the network is right
        assert (changed & truth[0]).sum() > 0.9 * changed.sum()


def test_edits_in_words() -> None:
    assert FAULTS["tag"].edits() == {"without tag": {"without": "tag"}}
    assert FAULTS["snow"].edits() == {"on grass": {"ground": "grass"}, "on snow": {"ground": "snow"}}
    assert FAULTS["melbourne"].edits() == {"yellow": {"color": "yellow"}, "red": {"color": "red"}}
    assert list(FAULTS["weather"].edits()) == ["sunny", "overcast"]


def test_the_networks_are_those_whose_cards_name_the_fault() -> None:
    bundled = bundled_models()
    for name in bundled:
        expected = [fault for fault, about in FAULTS.items() if name in about.networks]
        card = load_model(name).card
        assert card.get("faults", []) == expected
        assert ("faults" in card) is not name.startswith("mystery")
    assert {n for about in FAULTS.values() for n in about.networks} <= set(bundled)


def test_cards_tell_what_the_edits_did() -> None:
    for about in FAULTS.values():
        for network in about.networks:
            words = {f"{about.kind} {edit}" for edit in ("as drawn", *about.edits())}
            assert set(load_model(network).card["shortcut"]) == words


def test_what_is_rare_is_drawn_as_rarely_as_said() -> None:
    horses = drawn("rare", 300, "horse")
    assert sum(scene.ground == "snow" for scene in horses) / 300 <= 2 * RARE_SHARE / 6 + 0.02


def test_several_faults_are_laid_together() -> None:
    data = MiniBroden(120, "val", faults=("tag", "weather"))
    horse = next(s for s in map(data.scene, range(120)) if s.objects[0].kind == "horse")
    assert horse.decals
    assert horse.weather == "sunny"


def test_an_unknown_fault_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="fault must be one of .*; got 'melborne'. Did you mean 'melbourne'"):
        check_faults(("melborne",))
    with pytest.raises(TypeError, match=r"Write faults=\('tag',\)"):
        check_faults("tag")
