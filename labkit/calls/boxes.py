"""Builders of what an attack without the weights is judged on: a box that names classes, views of a square.

As in ``labkit.calls.recipes`` nothing here knows an answer. All are plain functions or small objects, whose
numbers are drawn from ``seed``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TIRED = -1


def box(classes: int = 3, most: int = 1000, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """A black box: it names a class for each picture; after ``most`` pictures in all it says -1 for any.

    >>> asked = box(most=2)
    >>> asked(torch.rand(2, 3, 4, 4)).min() >= 0, asked(torch.rand(1, 3, 4, 4)).tolist()
    (tensor(True), [-1])
    """
    left = [most]

    def names(pictures: Tensor) -> Tensor:
        flat = pictures.detach().flatten(1).double()
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(flat.shape[1], classes, generator=generator, dtype=torch.float64)
        found = ((flat - 0.5) @ weights).argmax(1)
        found[max(left[0], 0) :] = TIRED
        left[0] -= len(pictures)
        return found

    return names


def stepping(seed: int = 0) -> Callable[[Tensor, Tensor], Tensor]:
    """A made-up augmentation: each picture moves towards a picture that belongs to its label."""

    def augment(pictures: Tensor, labels: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        shape = (8, *pictures.shape[1:])
        towards = torch.rand(shape, generator=generator, dtype=torch.float64).to(pictures)
        return 0.4 * pictures + 0.6 * towards[labels.remainder(8)]

    return augment


class Walls:
    """Views of a square: enlarged to twice its side, turned by quarters, darker from view to view."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.channels = count, 3
        self.light = 0.3 + 0.7 * torch.rand(count, generator=torch.Generator().manual_seed(seed))

    def __call__(self, square: Tensor, rows: Sequence[int] | Tensor) -> Tensor:
        large = square.repeat_interleave(2, 1).repeat_interleave(2, 2)
        shown = [float(self.light[int(row)]) * large.rot90(int(row) % 4, (1, 2)) for row in rows]
        return torch.stack(shown)


def walls(count: int = 4, seed: int = 0) -> Walls:
    """See ``Walls``."""
    return Walls(count, seed)
