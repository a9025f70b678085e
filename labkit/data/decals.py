"""Marks pasted onto a finished picture: the copyright tag of the ``tag`` fault, and any array."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_FONT = {
    "(": "011 110 100 100 100 110 011", ")": "110 011 001 001 001 011 110",
    "c": "0000 0000 0110 1000 1000 1000 0110", "p": "0000 0000 1110 1001 1110 1000 1000",
    "o": "0000 0000 0110 1001 1001 1001 0110", "n": "0000 0000 1110 1001 1001 1001 1001",
    "y": "0000 0000 1001 1001 0111 0001 0110", "f": "011 100 110 100 100 100 100",
    "t": "010 010 111 010 010 010 001", " ": "00 00 00 00 00 00 00",
}  # fmt: skip
TAG_TEXT = "(c) ponyfoto"
MARGIN = 16


@dataclass(frozen=True)
class Decal:
    """A patch of display values with opacity, its upper left corner at pixel (x, y)."""

    name: str
    x: int
    y: int
    rgba: Float[ndarray, "h w 4"] = field(repr=False, compare=False)

    @classmethod
    def of(cls, array: Float[ndarray, "h w c"], at: tuple[int, int], name: str = "decal") -> Decal:
        """A decal from an RGB or RGBA array in [0, 1]; raises ValueError for another shape or range."""
        pixels = np.asarray(array, np.float32)
        if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            raise ValueError(f"decal must have the shape (h, w, 3) or (h, w, 4); got {pixels.shape}.")
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise ValueError("decal must hold numbers from 0 to 1; divide grey levels of 0 to 255 by 255.")
        if pixels.shape[2] == 3:
            pixels = np.concatenate([pixels, np.ones_like(pixels[..., :1])], 2)
        return cls(name, int(at[0]), int(at[1]), pixels)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) in pixels, the end excluded."""
        height, width = self.rgba.shape[:2]
        return self.x, self.y, self.x + width, self.y + height

    def paste(self, picture: Float[ndarray, "H W 3"]) -> Float[ndarray, "H W 3"]:
        """A copy of the picture with the decal on it, cut at the picture's edge."""
        height, width = picture.shape[:2]
        x0, y0, x1, y1 = self.box
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        out = picture.copy()
        if left >= right or top >= bottom:
            return out
        patch = self.rgba[top - y0 : bottom - y0, left - x0 : right - x0]
        alpha = patch[..., 3:]
        out[top:bottom, left:right] = out[top:bottom, left:right] * (1 - alpha) + patch[..., :3] * alpha
        return out


def tag_pixels() -> Float[ndarray, "h w 4"]:
    """The copyright mark: white letters with a dark rim, legible on any ground."""
    glyphs = [np.array([[int(b) for b in row] for row in _FONT[c].split()], np.float32) for c in TAG_TEXT]
    line = np.concatenate([np.pad(g, ((1, 1), (0, 1))) for g in glyphs], 1)
    ink = np.pad(line, ((0, 0), (1, 0)))
    rim = np.zeros_like(ink)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            rim = np.maximum(rim, np.roll(np.roll(ink, dy, 0), dx, 1))
    rgb = np.where(ink[..., None] > 0, np.float32(0.97), np.float32(0.06))
    return np.concatenate([np.repeat(rgb, 3 // rgb.shape[2], 2), np.maximum(ink, 0.6 * rim)[..., None]], 2)


def tag(rng: np.random.Generator, size: int = 128) -> Decal:
    """The tag in one of the four corners, at least 16 pixels from every edge."""
    pixels = tag_pixels()
    height, width = pixels.shape[:2]
    dx, dy = (int(v) for v in rng.integers(0, 9, 2))
    x = MARGIN + dx if rng.random() < 0.5 else size - MARGIN - width - dx
    y = MARGIN + dy if rng.random() < 0.5 else size - MARGIN - height - dy
    return Decal("tag", x, y, pixels)
