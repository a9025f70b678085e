"""Crops: the boxes that units see, cut out of pictures in memory, on the disk or in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.door import sides_of, weight_of
from labkit.data.photos import load_photo, photo_files
from labkit.models.features import batches

if TYPE_CHECKING:
    from labkit.visualization.patches import TopPatches

__all__ = ["NONE", "Source", "crops", "cut"]

NONE = -1  # the number of a picture where a unit has fired in too few


class Source:
    """Pictures from wherever they are: in memory, on the disk, in a stack of scenes, in a folder."""

    def __init__(self, model: nn.Module, pictures: Any, side: int | None) -> None:
        self.files: list[Path] = []
        self.array: Any = getattr(pictures, "images", pictures)
        if isinstance(pictures, str | Path):
            self.files = photo_files(pictures)
            self.side = sides_of(model, side)[0]

    def __len__(self) -> int:
        return len(self.files) or len(self.array)

    def batches(self, size: int) -> Iterator[Tensor]:
        """All of them, in batches."""
        if not self.files:
            yield from batches(self.array, size)
        for first in range(0, len(self.files), size):
            yield self.rows(range(first, min(first + size, len(self.files))))

    def rows(self, numbers: Sequence[int]) -> Float[Tensor, "B C H W"]:
        """Those with these numbers."""
        if self.files:
            return torch.stack([load_photo(self.files[n], self.side) for n in numbers])
        return torch.cat([next(batches(self.array[n : n + 1], 1)) for n in numbers])


def cut(picture: Float[Tensor, "C H W"], box: Int[Tensor, "4"], size: tuple[int, int], fill: float) -> Tensor:
    """A box of a picture, ``fill`` where there is none, in the middle of a patch of the size."""
    top, left, bottom, right = box.tolist()
    patch = torch.full((picture.shape[0], *size), fill, dtype=picture.dtype)
    down, across = (size[0] - (bottom - top)) // 2, (size[1] - (right - left)) // 2
    (r0, r1), (c0, c1) = (
        (max(top, 0), min(bottom, picture.shape[1])),
        (max(left, 0), min(right, picture.shape[2])),
    )
    if r1 > r0 and c1 > c0:
        part = picture[:, r0:r1, c0:c1]
        patch[:, down + r0 - top : down + r1 - top, across + c0 - left : across + c1 - left] = part
    return patch


def crops(
    model: nn.Module, pictures: Any, found: TopPatches, *, side: int | None = None, fill: float = 0.5
) -> Float[Tensor, "U k C s t"]:
    """The patches of ``top_patches_result``, each picture read once; options as there."""
    with torch.inference_mode(False):
        return _crops(model, Source(model, pictures, side), found, fill)


def _crops(model: nn.Module, source: Source, found: TopPatches, fill: float) -> Float[Tensor, "U k C s t"]:
    numbers = found.pictures
    first = source.rows([0])
    size = (*numbers.shape, first.shape[1], *found.field.size)
    patches = torch.full(size, fill, dtype=weight_of(model, first).dtype)
    for number in numbers[numbers != NONE].unique().tolist():
        picture = source.rows([number])[0].detach().to("cpu", patches.dtype)
        for unit, k in (numbers == number).nonzero().tolist():
            patches[unit, k] = cut(picture, found.boxes[unit, k], found.field.size, fill)
    return patches
