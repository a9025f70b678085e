"""Which pixels of a map lie above a threshold once it is enlarged, without enlarging all of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["pixels_above"]

CELLS = 1 << 22  # pixels that are looked at together


def _groups(small: int, large: int) -> tuple[Int[Tensor, " n"], Float[Tensor, "n g"], Tensor]:
    """For each gap between two places of a side, border included: its first pixel, how far each of its pixels
    lies between the two, and which of the columns are pixels at all."""
    at = (torch.arange(large, dtype=torch.float64) + 0.5) * small / large + 0.5  # on the bordered map
    gap = at.floor().long()
    counts = torch.bincount(gap, minlength=small + 1)
    first = counts.cumsum(0) - counts
    columns = torch.arange(int(counts.max()))
    real = columns < counts[:, None]
    pixel = (first[:, None] + columns).clamp(max=large - 1)
    return first, (at[pixel] - gap[pixel]).float(), real


def pixels_above(
    maps: Float[Tensor, "P h w"], thresholds: Float[Tensor, " P"], side: tuple[int, int]
) -> Iterator[tuple[Int[Tensor, " M"], Int[Tensor, " M"], Int[Tensor, " M"]]]:
    """Map number, row and column of every pixel above its map's threshold, if maps were enlarged to ``side``.

    As ``F.interpolate(..., mode="bilinear") > threshold`` has it: a pixel between four places lies above only
    where one of these does, so that all other gaps are left out. In portions of bounded memory. Two ways of
    rounding may part pixels that lie within a millionth of the threshold.

    Raises ValueError for maps that are larger than ``side``: they would have to be made smaller.

    >>> maps = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    >>> [part[2].tolist() for part in pixels_above(maps, torch.tensor([0.7]), (4, 4))]
    [[2, 3, 3]]
    """
    (height, width), (rows, columns) = maps.shape[1:], side
    if height > rows or width > columns:
        raise ValueError(f"side must be at least the maps' {height} x {width}; got {rows} x {columns}.")
    first_y, down, real_y = _groups(height, rows)
    first_x, along, real_x = _groups(width, columns)
    padded = F.pad(maps[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0]
    highest = F.max_pool2d(padded[:, None], 2, 1)[:, 0]
    active = (highest > thresholds.view(-1, 1, 1)).nonzero()
    for gaps in active.split(max(1, CELLS // (down.shape[1] * along.shape[1]))):
        number, r, c = gaps.unbind(1)
        u, v = down[r], along[c]
        left = padded[number, r, c][:, None] * (1 - u) + padded[number, r + 1, c][:, None] * u
        right = padded[number, r, c + 1][:, None] * (1 - u) + padded[number, r + 1, c + 1][:, None] * u
        values = left[:, :, None] * (1 - v[:, None]) + right[:, :, None] * v[:, None]
        above = (values > thresholds[number].view(-1, 1, 1)) & real_y[r][:, :, None] & real_x[c][:, None]
        m, a, b = above.nonzero(as_tuple=True)
        yield number[m], first_y[r[m]] + a, first_x[c[m]] + b
