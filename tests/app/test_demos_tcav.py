"""The demo of testing with concepts: scenes painted anew, every class and concept, one page."""

from __future__ import annotations

import torch

from labkit.app import demos_tcav
from labkit.app.demos_tcav import COLOURS, PATTERNS, tcav_explorer
from labkit.data import CLASSES, MiniBroden


def test_a_scene_without_concepts_has_another_colour_and_no_texture() -> None:
    world = MiniBroden(6, "test")
    for scene in demos_tcav._plain(map(world.scene, range(6))):
        thing = scene.objects[0]
        assert thing.color not in COLOURS
        assert thing.texture == "plain"


def test_every_class_has_its_scenes() -> None:
    scenes = demos_tcav._first_of_each(2)
    assert [scene.objects[0].kind for scene in scenes] == [kind for kind in CLASSES for _ in range(2)]


def test_a_network_s_explorer_begins_at_the_class_of_its_fault_with_pairs_of_all_concepts(
    monkeypatch,
) -> None:
    few = [s for s in demos_tcav._first_of_each(2) if s.objects[0].kind in ("fire engine", "bus")]
    monkeypatch.setattr(demos_tcav, "_first_of_each", lambda count: few)
    explorer = tcav_explorer("minivgg-melbourne", pictures=2, pool=4)
    explorer.wait_idle()
    assert [caption["name"] for caption in explorer.captions] == [*COLOURS, *PATTERNS]
    assert explorer.classes[explorer.target] == "fire engine"
    row = explorer.rows["red"]
    assert row["moved"][0] > 1  # it fell for red
    assert row["effect"] > 0
    assert 0 <= row["score"] <= 1
    assert torch.isfinite(torch.tensor(row["null"])).all()
