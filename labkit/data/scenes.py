"""Stacks of scenes with their truth: pictures, labels, masks, and the descriptions they were drawn from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from labkit.data.minibroden import item
from labkit.data.world import Scene


class Scenes(NamedTuple):
    """Scenes of the world with their truth: pictures, labels, masks of object and tag, descriptions."""

    images: Float[Tensor, "N 3 128 128"]
    labels: Int[Tensor, "N"]  # noqa: F821
    masks: Bool[Tensor, "N 128 128"]
    tags: Bool[Tensor, "N 128 128"]
    scenes: list[Scene]


def gather(scenes: Iterable[Scene]) -> Scenes:
    """Draw scenes, edited ones included, and stack them with their truth."""
    kept = list(scenes)
    items = [item(scene) for scene in tqdm(kept, "drawing scenes", leave=False, delay=1.5)]
    return Scenes(
        torch.stack([i["image"] for i in items]),
        torch.tensor([i["label"] for i in items]),
        torch.stack([i["instance"] == 1 for i in items]),
        torch.stack([i["tag"] for i in items]),
        kept,
    )
