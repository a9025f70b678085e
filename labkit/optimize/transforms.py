"""Transforms of a picture between steps of a search: jitter, scale, rotation, a bias to the centre."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_weight
from labkit.optimize.images import shift

__all__ = ["Transforms", "centre_bias", "rotated"]


def rotated(
    images: Float[Tensor, "N C H W"],
    degrees: float = 0.0,
    scale: float = 1.0,
    move: tuple[float, float] = (0.0, 0.0),
) -> Float[Tensor, "N C H W"]:
    """Pictures turned about their middle against the clock, enlarged, and moved by pixels down and right.

    Bilinear; what comes in at the border is reflected. Differentiable by the pictures. No turn, scale 1 and
    no move give the pictures themselves.

    >>> images = torch.rand(1, 3, 8, 8)
    >>> torch.allclose(rotated(images, 90), torch.rot90(images, 1, (2, 3)), atol=1e-5)
    True
    """
    if degrees == 0 and scale == 1 and move == (0, 0):
        return images
    if not (math.isfinite(degrees) and math.isfinite(scale) and scale > 0):
        raise ValueError(f"degrees must be finite and scale above 0; got {degrees} and {scale}.")
    height, width = images.shape[2:]
    turn = math.radians(degrees)
    cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
    # from a place of the result, in shares of half the sides, to the place that it shows
    right, down = -2 * move[1] / width, -2 * move[0] / height
    across, along = sin * height / width, sin * width / height
    rows = [
        [cos, -across, cos * right - across * down],
        [along, cos, along * right + cos * down],
    ]
    matrix = torch.tensor(rows, dtype=images.dtype, device=images.device)
    grid = F.affine_grid(matrix[None], [1, 1, height, width], align_corners=False)
    return F.grid_sample(
        images, grid.expand(len(images), -1, -1, -1), padding_mode="reflection", align_corners=False
    )


class Transforms(NamedTuple):
    """A random turn of all pictures of a batch alike, drawn anew at each step: what is found must bear it.

    ``jitter``: the largest move in pixels; without scale and rotation, whole pixels.
    ``scale``: the largest enlargement or reduction as a share, 0.1 for a tenth.
    ``rotation``: the largest turn in degrees.

    >>> images = torch.rand(1, 3, 8, 8)
    >>> Transforms()(images, torch.Generator()) is images
    True
    """

    jitter: int = 0
    scale: float = 0.0
    rotation: float = 0.0

    def check(self) -> None:
        """Raise ValueError for what is no number of at least 0, and for a scale of 1 and more."""
        for name, value in self._asdict().items():
            check_weight(name, value)
        if self.scale >= 1:
            raise ValueError(f"scale must lie below 1, such as 0.1 for a tenth; got {self.scale}.")

    def __call__(
        self, images: Float[Tensor, "N C H W"], generator: torch.Generator
    ) -> Float[Tensor, "N C H W"]:
        """The pictures after one turn."""
        if not (self.scale or self.rotation):
            return shift(images, int(self.jitter), generator) if self.jitter else images
        down, right, size, turn = (2 * torch.rand(4, generator=generator) - 1).tolist()
        scale = (1 + self.scale) ** size
        return rotated(images, turn * self.rotation, scale, (down * self.jitter, right * self.jitter))


def centre_bias(images: Float[Tensor, "N C H W"], radius: float | None) -> Float[Tensor, "N C H W"]:
    """The pictures as they are, but with a gradient that falls off from the middle as a Gaussian does.

    What is found then begins in the middle, where one thing has room, in place of many over the picture.
    ``radius``: the Gaussian's standard deviation as a share of the sides; None leaves the gradient.

    Source: Nguyen, Yosinski and Clune 2016, "Multifaceted Feature Visualization", section 2.3; they give the
    middle of a picture more steps, here each step is given with that weight.

    >>> image = torch.ones(1, 1, 3, 3, requires_grad=True)
    >>> torch.autograd.grad(centre_bias(image, 0.2).sum(), image)[0].argmax()
    tensor(4)
    """
    if radius is None:
        return images
    if not (isinstance(radius, int | float) and 0 < radius < math.inf):
        raise ValueError(f"centre must be None or a share of the side above 0, such as 0.3; got {radius!r}.")
    places = [
        (torch.arange(length, dtype=images.dtype, device=images.device) + 0.5) / length - 0.5
        for length in images.shape[2:]
    ]
    falls = [torch.exp(-(place**2) / (2 * radius**2)) for place in places]
    weights = falls[0][:, None] * falls[1]
    return images.detach() + weights * (images - images.detach())
