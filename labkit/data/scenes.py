"""Scenes with their truth: one as an item, edited ones included, and stacks of them as tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from tqdm.auto import tqdm

from labkit.core.checks import check_choice
from labkit.data.objects import CLASSES
from labkit.data.picture import render
from labkit.data.surfaces import GROUNDS
from labkit.data.world import SIZE, Scene

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAPS = ("scene", "object", "part", "material", "texture", "color", "instance")


def label_of(scene: Scene, of: str = "object") -> int:
    """What a network is to name in a scene: the class of its first object, or its "ground".

    An index into ``CLASSES`` (-1 where the scene has no object) or into ``GROUNDS``. Raises ValueError for
    another word.

    >>> from labkit.data import MiniBroden
    >>> GROUNDS[label_of(MiniBroden(1).scene(0), "ground")] == MiniBroden(1).scene(0).ground
    True
    """
    check_choice("of", of, ("object", "ground"))
    if of == "ground":
        return GROUNDS.index(scene.ground)
    return CLASSES.index(scene.objects[0].kind) if scene.objects else -1


def to_tensor(picture: ndarray) -> torch.Tensor:
    """A drawn picture (H, W, 3) as the float32 tensor (3, H, W) that models take."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32))


def tag_box(scene: Scene) -> tuple[int, int, int, int]:
    """The copyright mark's x0, y0, x1, y1 in pixels, the end excluded; zeros where there is none."""
    boxes = [np.clip(decal.box, 0, SIZE) for decal in scene.decals if decal.name == "tag"]
    x0, y0, x1, y1 = (int(v) for v in boxes[0]) if boxes else (0, 0, 0, 0)
    return x0, y0, x1, y1


def item(scene: Scene) -> dict[str, Any]:
    """Picture and labels of any scene, edited ones included, as ``MiniBroden`` gives them."""
    import torch

    picture, labels = render(scene, buffers=True)
    kinds = [thing.kind for thing in scene.objects]
    present = torch.zeros(len(CLASSES), dtype=torch.bool)
    present[[CLASSES.index(kind) for kind in kinds]] = True
    mask = labels.instance == (scene.objects[0].id if scene.objects else -1)
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]
    x0, y0, x1, y1 = tag_box(scene)
    mark = np.zeros((SIZE, SIZE), bool)
    mark[y0:y1, x0:x1] = True
    return {
        "image": to_tensor(picture),
        "label": label_of(scene),
        "present": present,
        "box": torch.tensor([int(v) for v in box]),
        "tag": torch.from_numpy(mark),
        **{kind: torch.from_numpy(np.ascontiguousarray(getattr(labels, kind), np.int64)) for kind in MAPS},
    }


class Scenes(NamedTuple):
    """Scenes of the world with their truth: pictures, labels, masks of object and tag, descriptions."""

    images: Float[Tensor, "N 3 128 128"]
    labels: Int[Tensor, "N"]  # noqa: F821
    masks: Bool[Tensor, "N 128 128"]
    tags: Bool[Tensor, "N 128 128"]
    scenes: list[Scene]


def gather(scenes: Iterable[Scene]) -> Scenes:
    """Draw scenes, edited ones included, and stack them with their truth."""
    import torch

    found = list(scenes)
    items = [item(scene) for scene in tqdm(found, "drawing scenes", leave=False, delay=1.5)]
    return Scenes(
        torch.stack([i["image"] for i in items]),
        torch.tensor([i["label"] for i in items]),
        torch.stack([i["instance"] == 1 for i in items]),
        torch.stack([i["tag"] for i in items]),
        found,
    )
