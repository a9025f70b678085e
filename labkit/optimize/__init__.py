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
from labkit.optimize.parameterizations import Fourier, Pixels, colour_matrix
from labkit.optimize.regularizers import Regularizers, clip_contributions, clip_norms, diversity
from labkit.optimize.transforms import Transforms, centre_bias, rotated

__all__ = [
    "FILLS",
    "Descent",
    "Fill",
    "Fourier",
    "Hold",
    "Pixels",
    "Regularizers",
    "Transforms",
    "blur_pyramid",
    "centre_bias",
    "clip_contributions",
    "clip_norms",
    "colour_matrix",
    "diversity",
    "filling",
    "gaussian_blur",
    "masked",
    "minimize",
    "rotated",
    "shift",
    "total_variation",
]
