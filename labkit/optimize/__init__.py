"""Searching by gradient descent in picture space: the loop, and operations on pictures."""

from labkit.optimize.constraint import Hold
from labkit.optimize.images import (
    FILLS,
    Fill,
    blur_pyramid,
    filling,
    gaussian_blur,
    masked,
    shift,
    total_variation,
)
from labkit.optimize.loop import Descent, minimize

__all__ = [
    "FILLS",
    "Descent",
    "Fill",
    "Hold",
    "blur_pyramid",
    "filling",
    "gaussian_blur",
    "masked",
    "minimize",
    "shift",
    "total_variation",
]
