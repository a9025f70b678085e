"""Lecture demos: explorers with all their answers computed, as pages that need no kernel and no network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["DEMOS"]


def _occlusion() -> str:
    """Cover a part of the picture and watch the score of the class; the map follows the sliders."""
    import torch

    from labkit.data import CLASSES, MiniBroden
    from labkit.models import load_model
    from labkit.widgets import OcclusionExplorer

    model, world = load_model("minivgg"), MiniBroden(200, split="test")
    chosen: dict[int, int] = {}  # a scene for each of the first three classes that come
    for index in range(len(world)):
        kind = CLASSES.index(world.scene(index).objects[0].kind)
        chosen.setdefault(kind, index)
        if len(chosen) == 3:
            break
    images = torch.stack([world[index]["image"] for index in chosen.values()])
    names = [f"scene {index}" for index in chosen.values()]
    stops: dict[str, Any] = {
        "windows": (16, 24, 32, 48),
        "strides": (8, 16, 24, 32),
    }  # finer ones would take minutes
    explorer = OcclusionExplorer(model, images, labels=list(chosen), names=names, **stops)
    explorer.precompute(pictures=range(len(images)))
    return explorer.to_html(title="What does the score lose where a patch covers the picture?")


DEMOS: dict[str, Callable[[], str]] = {"occlusion": _occlusion}
