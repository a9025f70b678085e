"""Lecture demos: explorers with all their answers computed, as pages that need no kernel and no network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["DEMOS"]


def _scenes(count: int) -> Any:
    """The first scene of each of the first ``count`` classes that come, with its truth."""
    from labkit.data import MiniBroden
    from labkit.lab import gather

    world = MiniBroden(200, split="test")
    chosen: dict[str, Any] = {}
    for index in range(len(world)):
        scene = world.scene(index)
        chosen.setdefault(scene.objects[0].kind, scene)
        if len(chosen) == count:
            break
    return gather(chosen.values())


def _given(scenes: Any) -> dict[str, Any]:
    """What all explorers take of scenes: their classes, and captions."""
    return {"labels": scenes.labels, "names": [f"scene {i + 1}" for i in range(len(scenes.images))]}


def _occlusion() -> str:
    """Cover a part of the picture and watch the score of the class; the map follows the sliders."""
    from labkit.models import load_model
    from labkit.widgets import OcclusionExplorer

    scenes = _scenes(3)
    # finer ones would take minutes
    stops: dict[str, Any] = {"windows": (16, 24, 32, 48), "strides": (8, 16, 24, 32)}
    explorer = OcclusionExplorer(load_model("minivgg"), scenes.images, **_given(scenes), **stops)
    explorer.precompute(pictures=range(len(scenes.images)))
    return explorer.to_html(title="What does the score lose where a patch covers the picture?")


def _compare() -> str:
    """Six methods side by side on one picture, with the truth: which of them is right?"""
    from labkit.models import load_model
    from labkit.widgets import Comparer

    scenes = _scenes(4)
    explorer = Comparer(load_model("minivgg"), scenes.images, masks=scenes.masks, **_given(scenes))
    explorer.precompute(pictures=range(len(scenes.images)))
    return explorer.to_html(title="Which method is right?")


def _masks() -> str:
    """Drag the area: which part of the picture suffices for the class, and which is needed?"""
    from labkit.models import load_model
    from labkit.widgets import MaskExplorer

    scenes = _scenes(2)
    explorer = MaskExplorer(load_model("minivgg"), scenes.images, masks=scenes.masks, **_given(scenes))
    explorer.precompute(pictures=range(len(scenes.images)))
    return explorer.to_html(title="Which part of the picture suffices?")


def _sanity() -> str:
    """Let the network forget, layer by layer: which maps notice?"""
    from labkit.models import load_model
    from labkit.widgets import SanityExplorer

    scenes = _scenes(2)
    explorer = SanityExplorer(load_model("minivgg"), scenes.images, **_given(scenes))
    explorer.precompute(pictures=range(len(scenes.images)))
    return explorer.to_html(title="Does the map notice that the network forgets?", limit_mb=8)


DEMOS: dict[str, Callable[[], str]] = {
    "compare": _compare,
    "masks": _masks,
    "occlusion": _occlusion,
    "sanity": _sanity,
}
