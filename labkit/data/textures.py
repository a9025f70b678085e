"""Full-frame textures, drawn: style pictures and samples for texture synthesis, as many of each as wanted.

One seed gives one piece of a texture, another seed another piece of the same: equal colours, equal grain,
nothing in the same place. Coordinates are pixels, so that a larger side shows more of it, not a larger grain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from labkit.core.checks import check_choice, check_positive
from labkit.data.scenes import to_tensor

if TYPE_CHECKING:
    from torch import Tensor

Draw = np.random.Generator
FINE = 2  # points a pixel and direction; their mean is the pixel


class _Sheet:
    """The points of a picture, ``FINE`` a pixel: ``x`` and ``y`` in units of the grain, and what is drawn."""

    def __init__(self, height: int, width: int, scale: float, draw: Draw) -> None:
        self.draw, self.shape = draw, (height * FINE, width * FINE)
        line = [(np.arange(n, dtype=np.float32) + 0.5) / np.float32(FINE * scale) for n in self.shape]
        self.size = (height / scale, width / scale)
        self.y, self.x = line[0][:, None], line[1][None]

    def field(self, cell: float) -> Float[ndarray, "h w"]:
        """Smooth noise of grain ``cell``, its values spread nearly evenly over 0 to 1 in every picture."""
        sides = [int(length / cell) + 5 for length in self.size]
        down = _spline(self.draw.standard_normal(sides, dtype=np.float32), self.y.ravel() / np.float32(cell))
        found = _spline(down.T, self.x.ravel() / np.float32(cell)).T
        found *= np.float32(0.85) / (found.std() + np.float32(1e-9))
        found -= found.mean()
        return 0.5 + 0.5 * np.tanh(found)

    def grain(self) -> Float[ndarray, "h w 1"]:
        """Noise from point to point, about 0."""
        return self.draw.standard_normal((*self.shape, 1), dtype=np.float32)


def _spline(knots: Float[ndarray, "K n"], at: Float[ndarray, " P"]) -> Float[ndarray, "P n"]:
    """The cubic B-spline through rows of knots, at places counted in knots."""
    first = at.astype(np.intp)
    part = (at - first)[:, None]
    weights = (
        (1 - part) ** 3 / 6,
        2 / 3 - part**2 + part**3 / 2,
        2 / 3 - (1 - part) ** 2 + (1 - part) ** 3 / 2,
        part**3 / 6,
    )
    found = weights[0] * knots.take(first, 0)
    for k in (1, 2, 3):
        found += weights[k] * knots.take(first + k, 0)
    return found


def _ink(palette: Sequence[tuple[int, int, int]]) -> Float[ndarray, "K 3"]:
    return np.array(palette, np.float32) / 255


def _step(value: ndarray, low: float, high: float) -> ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    part = np.clip((value - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def _pick(palette: Float[ndarray, "K 3"], share: ndarray) -> Float[ndarray, "... 3"]:
    """The colour at a share of the palette's length."""
    return palette[np.clip((share * len(palette)).astype(np.int64), 0, len(palette) - 1)]


def _mosaic(sheet: _Sheet) -> Float[ndarray, "h w 3"]:
    """Small stones in bent rows, set in dark mortar; the colours run in veins."""
    cell, reach = 7.0, 4
    u = (sheet.x + 22 * sheet.field(30)) / cell + reach + sheet.draw.random()
    v = (sheet.y + 22 * sheet.field(30)) / cell + reach + sheet.draw.random()
    rows, columns = (int((length + 22) / cell) + 2 * reach + 2 for length in sheet.size)
    spots = sheet.draw.uniform(0.33, 0.67, (rows, columns, 2)).astype(np.float32)
    stone, column, row = np.zeros(u.shape, np.intp), u.astype(np.intp), v.astype(np.intp)
    first, second, u, v = np.full(u.shape, 9, np.float32), np.float32(9), u - column, v - row
    middle, flat = row * columns + column, spots.reshape(-1, 2).T.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            one = middle + (down * columns + right)
            away = (u - right - flat[0].take(one)) ** 2 + (v - down - flat[1].take(one)) ** 2
            second = np.minimum(second, np.maximum(away, first))
            np.copyto(stone, one, where=away < first)
            np.minimum(first, away, out=first)
    palette = _ink(
        [(178, 74, 44), (224, 164, 72), (246, 232, 196), (43, 118, 118), (24, 48, 66), (120, 42, 34)]
    )
    grid = np.indices((rows, columns)).reshape(2, -1) * cell
    vein = sum(np.sin(grid[0] * a + grid[1] * b + sheet.draw.uniform(0, 6.3)) for a, b in _VEINS)
    share = (np.argsort(np.argsort(vein + sheet.draw.normal(0, 0.4, vein.shape))) + 0.5) / len(vein)
    tint = sheet.draw.normal(1, 0.09, (len(vein), 1)).astype(np.float32)
    colour = (_pick(palette, share) * tint)[stone]
    edge = np.sqrt(second) - np.sqrt(first)
    light = 0.86 + 0.2 * _step(edge, 0.1, 0.6) + 0.02 * sheet.grain()[..., 0]
    mortar = _step(edge, 0.06, 0.18)[..., None]
    return colour * light[..., None] * mortar + np.array([0.16, 0.13, 0.12], np.float32) * (1 - mortar)


_VEINS = ((0.19, 0.07), (-0.11, 0.17), (0.05, -0.21), (0.16, 0.15))


def _hatching(sheet: _Sheet) -> Float[ndarray, "h w 3"]:
    """Pen on paper: up to four directions of line, one above the other where it is dark."""
    tone, shake, rough = sheet.field(11), sheet.field(9) + 0.5 * sheet.field(4), 0.2 * sheet.field(3) - 0.1
    ink = np.zeros(sheet.shape, np.float32)
    for turn, begin in ((0.9, 0.12), (-0.62, 0.46), (1.75, 0.7), (0.12, 0.86)):
        across = (sheet.x * np.float32(np.cos(turn)) + sheet.y * np.float32(np.sin(turn))) / np.float32(4.6)
        place = np.abs((across + 0.35 * shake + sheet.draw.random()) % 1 - 0.5)
        wide = 0.06 + 0.15 * _step(tone, begin, begin + 0.6)
        here = _step(tone + rough, begin, begin + 0.09)
        ink = np.maximum(ink, (1 - np.clip((place - wide) / 0.12, 0, 1)) * here)
    paper = np.array([0.95, 0.92, 0.84], np.float32) * (1 - 0.012 * sheet.grain())
    return paper + (np.array([0.13, 0.10, 0.11], np.float32) - paper) * (0.93 * ink[..., None])


def _marbling(sheet: _Sheet) -> Float[ndarray, "h w 3"]:
    """Colours floating on a bath, drawn through it with a comb and laid on paper."""
    bend = 60 * sheet.field(30) + 16 * sheet.field(12)
    pull = 60 * sheet.field(30) + 16 * sheet.field(12)
    comb = 9 * np.abs(((sheet.x + pull) / 17) % 2 - 1)
    phase = ((sheet.y + bend + comb) / 30) % 1
    palette = _ink([(122, 12, 36), (246, 236, 220), (203, 44, 60), (30, 26, 62), (246, 236, 220),
                    (232, 146, 134), (96, 8, 30), (217, 164, 88)])  # fmt: skip
    ends = np.array([0, 0.2, 0.29, 0.47, 0.62, 0.66, 0.8, 0.93, 1.0], np.float32)
    band = np.digitize(phase, ends[1:-1])
    near = np.minimum(phase - ends.take(band), ends.take(band + 1) - phase)
    light = (1 - 0.22 * np.exp(-near / 0.02))[..., None] * (1 + 0.012 * sheet.grain())
    return palette.take(band, 0) * light


def _brush_strokes(sheet: _Sheet) -> Float[ndarray, "h w 3"]:
    """Thick short strokes that follow a turning flow, laid one over the other."""
    angle = 2 * np.pi * sheet.field(34)
    share, light = sheet.field(15), sheet.field(8)
    palette = _ink([(16, 30, 88), (24, 66, 150), (38, 108, 190), (86, 158, 208), (26, 50, 116),
                    (158, 202, 206), (244, 214, 92), (240, 170, 48)])  # fmt: skip
    height, width = sheet.shape
    unit = height / sheet.size[0]  # points in one of the grain's units
    count = int(1.4 * height * width / (20 * unit**2))
    y, x = (sheet.draw.uniform(0, n, count).astype(np.float32) for n in sheet.shape)
    tone = share[y.astype(int), x.astype(int)] + sheet.draw.normal(0, 0.09, count).astype(np.float32)
    colour = _pick(palette, tone) * sheet.draw.normal(1, 0.08, (count, 1)).astype(np.float32)
    across = np.linspace(-1, 1, int(3.6 * unit * 1.15))
    bristle = 1 + 0.16 * np.float32(sheet.draw.standard_normal((count, len(across)))) + 0.14 * -across
    picture = np.tile(palette[1], (height * width, 1))
    length, steps = 13 * unit, int(13 * unit)
    for step in range(steps):
        row, column = np.clip(y, 0, height - 1).astype(int), np.clip(x, 0, width - 1).astype(int)
        turn = angle[row, column]
        dy, dx = np.sin(turn), np.cos(turn)
        y, x = y + dy * (length / steps), x + dx * (length / steps)
        wide = 1.8 * unit * np.sqrt(1 - (2 * step / steps - 1) ** 4)
        rows = (y[:, None] + across * wide * dx[:, None]).astype(int)
        columns = (x[:, None] - across * wide * dy[:, None]).astype(int)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        shade = colour[:, None] * (bristle * (1.06 - 0.14 * step / steps))[..., None]
        picture[rows[inside] * width + columns[inside]] = shade[inside]
    return picture.reshape(height, width, 3) * (0.9 + 0.2 * light[..., None])


def _scales(sheet: _Sheet) -> Float[ndarray, "h w 3"]:
    """Rows of round scales, each over the next, in the colours of a beetle."""
    wide, high, reach = 12.0, 6.5, 3
    u = (sheet.x + 12 * sheet.field(34)) / wide + reach + sheet.draw.random()
    v = (sheet.y + 12 * sheet.field(34)) / high + reach + sheet.draw.random()
    rows, columns = int((sheet.size[0] + 12) / high) + 9, int((sheet.size[1] + 12) / wide) + 9
    palette = _ink([(6, 62, 58), (12, 118, 92), (64, 172, 104), (172, 206, 92), (14, 92, 122), (62, 60, 124)])
    wave = sheet.draw.uniform(0, 6.3, 2)
    grid = np.indices((rows, columns)).reshape(2, -1)
    hue = np.sin(grid[0] * 0.5 + wave[0]) + np.sin(grid[1] * 0.9 - grid[0] * 0.2 + wave[1])
    share = (np.argsort(np.argsort(hue + sheet.draw.normal(0, 0.5, hue.shape))) + 0.5) / hue.size
    base = _pick(palette, share) * sheet.draw.normal(1, 0.07, (hue.size, 1)).astype(np.float32)
    row = np.floor(v).astype(np.intp)
    chosen, light = np.zeros(v.shape, np.int64), np.zeros(v.shape, np.float32)
    for up in (2, 1, 0):  # a lower row's scale lies under the one above it
        one = row - up
        shift = (one % 2) * np.float32(0.5)
        column = np.floor(u - shift).astype(np.intp)
        across, down = (u - shift - column - 0.5) * wide, (v - one) * high
        away = np.hypot(across, down) / np.float32(0.56 * wide)
        shine = 0.55 + 0.6 * _step(away, 0.0, 0.85) - 0.75 * _step(away, 0.86, 1.0)
        shine = shine + 0.30 * np.exp(-(((away - 0.66) / 0.12) ** 2) - (across / 3) ** 2)
        shine = shine * (1 + 0.06 * np.sin(14 * np.arctan2(across, down + 2)))
        covers = away < 1
        np.copyto(chosen, one * columns + column, where=covers)
        np.copyto(light, shine, where=covers)
    return np.maximum(base.take(chosen, 0) * light[..., None], 0.02)


def _weave(sheet: _Sheet) -> Float[ndarray, "h w 3"]:
    """Thick threads, two over and two under, in bands of colour along both directions."""
    cell, reach = 4.6, 3
    palette = _ink(
        [(226, 64, 92), (246, 150, 42), (98, 28, 108), (250, 206, 110), (36, 18, 58), (204, 38, 120)]
    )

    def threads(length: float) -> ndarray:
        count = int((length + 6) / cell) + 2 * reach + 2
        order: list[tuple[int, int]] = []
        while sum(run for _, run in order) < count:
            order += [(k, (3, 2, 3, 1, 2, 2)[k]) for k in sheet.draw.permutation(6).tolist()]
        return np.repeat([k for k, _ in order], [run for _, run in order])

    u = (sheet.x + 6 * sheet.field(30)) / cell + reach + sheet.draw.random()
    v = (sheet.y + 6 * sheet.field(30)) / cell + reach + sheet.draw.random()
    column, row = u.astype(np.intp), v.astype(np.intp)
    over = (column + row) % 4 < 2
    up, across = np.abs(v - row - 0.5) * 2, np.abs(u - column - 0.5) * 2
    beside, along = np.where(over, across, up), np.where(over, v - row, u - column)
    bulge = np.sin(np.pi / 2 * (along + (column + row) % 2))
    light = (0.30 + 0.75 * np.sqrt(np.clip(1 - beside**2, 0, 1))) * (0.62 + 0.42 * bulge)
    twist = np.sin(2 * np.pi * (along * 2.0 + beside * 0.6))
    dye = np.where(over, threads(sheet.size[1])[column], threads(sheet.size[0])[row])
    return palette.take(dye, 0) * (light * (1 + 0.09 * twist))[..., None] * (1 + 0.04 * sheet.grain())


_DRAWN: dict[str, Callable[[_Sheet], ndarray]] = {
    "mosaic": _mosaic,
    "hatching": _hatching,
    "marbling": _marbling,
    "brush strokes": _brush_strokes,
    "scales": _scales,
    "weave": _weave,
}
STYLES = tuple(_DRAWN)


def texture(
    name: str, side: int | tuple[int, int] = 128, seed: int = 0, *, scale: float = 1.0
) -> Float[Tensor, "3 H W"]:
    """A piece of a drawn texture that fills the frame: float32 RGB in [0, 1].

    ``name`` is one of ``STYLES``; ``side``: of the picture, or (height, width), in pixels. Two seeds give two
    pieces of the same texture that have nothing in one place: equal colours and grain, as two crops far apart
    have. ``scale``: size of the grain; at 2 everything is twice as large. Raises ValueError for another name,
    sides below 1, a negative seed and a scale that is not above 0.

    >>> texture("weave", 64, seed=1).shape
    torch.Size([3, 64, 64])
    """
    check_choice("name", name, STYLES)
    height, width = (side, side) if isinstance(side, int) else side
    check_positive("side", height)
    check_positive("the second side", width)
    check_positive("scale", scale, integer=False)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0; got {seed!r}.")
    draw = np.random.Generator(np.random.PCG64([crc32(name.encode()), seed]))
    fine = np.clip(_DRAWN[name](_Sheet(height, width, float(scale), draw)), 0, 1)
    return to_tensor(fine.reshape(height, FINE, width, FINE, 3).mean((1, 3)))
