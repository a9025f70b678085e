"""Parameterizations: what a search changes, pixels or a spectrum, in plain or decorrelated colours."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_channels, check_images, check_positive

__all__ = ["COLOURS", "Fourier", "Pixels", "colour_matrix"]

# `colour_matrix` of 2,000 training scenes: light and dark, blue against orange, green against the rest
COLOURS = (
    (0.6069, -0.1985, -0.1008),
    (0.5513, -0.0663, 0.1493),
    (0.5725, 0.2742, -0.0369),
)
_EDGE = 1e-3  # a sigmoid never reaches 0 and 1: as near as a picture's values are taken
Colours = str | Tensor | None


def colour_matrix(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "3 3"]:
    """The square root of the colours' covariance, scaled so that its longest column has length 1.

    Independent numbers of variance 1, multiplied by it, are colours as correlated as those of the pictures:
    a step of equal size along each is mostly one of light and dark. Columns go by variance, the largest
    first, and each has its largest entry positive. Source: Olah, Mordvintsev and Schubert 2017, "Feature
    Visualization", section "Preconditioning".

    >>> grey = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    >>> colour_matrix(grey)[:, 0]
    tensor([0.5774, 0.5774, 0.5774])
    """
    check_channels(check_images(images), 3)
    pixels = images.detach().double().movedim(1, 0).flatten(1)
    variances, axes = torch.linalg.eigh(torch.cov(pixels))
    root = (axes * variances.clamp(min=0).sqrt()).flip(1)
    largest = root.gather(0, root.abs().argmax(0, keepdim=True))
    root = root * torch.where(largest < 0, -1.0, 1.0)
    return (root / root.norm(dim=0).max().clamp(min=1e-12)).to(images.dtype)


def _matrix(colours: Colours, channels: int, like: Tensor) -> Tensor | None:
    """The matrix that a choice of colours means; raises ValueError for another one."""
    if colours is None:
        return None
    if isinstance(colours, str) and colours == "decorrelated":
        if channels != 3:
            raise ValueError(f'colours="decorrelated" needs 3 channels; got {channels}. Pass colours=None.')
        return torch.tensor(COLOURS).to(like)
    shape = (channels, channels)
    if not isinstance(colours, Tensor) or colours.shape != shape or not torch.linalg.det(colours.double()):
        got: Any = tuple(colours.shape) if isinstance(colours, Tensor) else repr(colours)
        raise ValueError(
            f'colours must be None, "decorrelated" or an invertible matrix {shape}; got {got}. '
            "labkit.optimize.colour_matrix(images) measures one."
        )
    return colours.detach().to(like)


def _mixed(values: Tensor, matrix: Tensor | None) -> Tensor:
    return values if matrix is None else torch.einsum("kc,nchw->nkhw", matrix, values)


def _logits(images: Tensor) -> Tensor:
    return images.clamp(_EDGE, 1 - _EDGE).logit()


class Pixels(NamedTuple):
    """A picture by its pixels: themselves, kept in [0, 1], or with ``colours`` the sigmoid of mixed numbers.

    ``colours``: None, "decorrelated" (as measured on the toy world) or a matrix (see ``colour_matrix``).

    >>> images = torch.rand(2, 3, 4, 4)
    >>> torch.equal(Pixels().picture(Pixels().values(images)), images)
    True
    """

    colours: Colours = None

    def values(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The numbers that give these pictures."""
        matrix = _matrix(self.colours, images.shape[1], images)
        if matrix is None:
            return images.clone()
        return _mixed(_logits(images), torch.linalg.inv(matrix))

    def picture(self, values: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The pictures in [0, 1], differentiable by the numbers."""
        matrix = _matrix(self.colours, values.shape[1], values)
        return values if matrix is None else _mixed(values, matrix).sigmoid()

    def project(self, values: Float[Tensor, "N C H W"]) -> None:
        """Bring the numbers back to where they give a picture, in place."""
        if self.colours is None:
            values.clamp_(0, 1)


class Fourier(NamedTuple):
    """A picture by its spectrum: the sigmoid of the inverse transform, each wave scaled by its wavelength.

    The numbers (N, C, H, W // 2 + 1, 2) are the real and imaginary parts of a half spectrum, divided by
    1 / (4 f), with f the frequency in cycles a pixel, at least 1 / the longer side: a step of equal size in
    each of them changes a picture as pictures differ, coarse waves most. All zero is grey.

    ``side``: height and width. ``colours`` as in ``Pixels``.

    Source: Olah, Mordvintsev and Schubert 2017, "Feature Visualization", section "Preconditioning"; the scale
    is that of their code, written for a transform that keeps the norm.

    >>> space = Fourier((8, 6))
    >>> images = torch.rand(2, 3, 8, 6) * 0.9 + 0.05
    >>> torch.allclose(space.picture(space.values(images)), images, atol=1e-5)
    True
    """

    side: tuple[int, int]
    colours: Colours = None

    def scale(self, like: Tensor) -> Float[Tensor, "H F 1"]:
        """How much a number of each wave counts."""
        height, width = self.side
        for length in self.side:
            check_positive("side", length)
        down = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)[:, None]
        across = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)
        frequency = (down**2 + across**2).sqrt().clamp(min=1 / max(height, width))
        return (1 / (4 * frequency))[..., None]

    def values(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H F 2"]:
        """The numbers that give these pictures; values are taken within .001 to .999."""
        matrix = _matrix(self.colours, images.shape[1], images)
        logits = _logits(images)
        logits = logits if matrix is None else _mixed(logits, torch.linalg.inv(matrix))
        return torch.view_as_real(torch.fft.rfft2(logits, norm="ortho")) / self.scale(images)

    def picture(self, values: Float[Tensor, "N C H F 2"]) -> Float[Tensor, "N C H W"]:
        """The pictures in [0, 1], differentiable by the numbers."""
        spectrum = torch.view_as_complex((values * self.scale(values)).contiguous())
        waves = torch.fft.irfft2(spectrum, s=self.side, norm="ortho")
        return _mixed(waves, _matrix(self.colours, values.shape[1], values)).sigmoid()

    def project(self, values: Float[Tensor, "N C H F 2"]) -> None:
        """Nothing: all numbers give a picture."""
