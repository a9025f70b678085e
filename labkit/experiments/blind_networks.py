"""Networks that learned nothing and see little: random units on colour, on place, or on both.

What a concept's vector in them finds as well, colour and place explain. They have as many units as the last
layer of minivgg, so that only what units know differs, not how many there are.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_images
from labkit.evaluation import colour_features, position_features
from labkit.models.features import batches

__all__ = ["SIGHTS", "Blind", "UNITS"]

SIGHTS = ("colour", "position", "colour patches and position")
UNITS, GRID, FIRST = 160, 16, 128
"""Units and places a side, as of minivgg's last layer; how many pictures the spread is taken from."""


class Blind(nn.Module):
    """Random weighted sums, after a ReLU, of what each place of a 16 x 16 grid shows: the layer "units".

    ``sees``: "colour" (the mean red, green and blue of a place), "position" (its row and column), or "colour
    patches and position" (2 x 2 colours of each place, and where it is). As ``random_projections`` each
    feature is brought to mean 0 and spread 1, here over the first 128 ``pictures``, so that a picture's
    answer does not hang on the others. Raises ValueError for another sight.

    >>> blind = Blind("position", torch.rand(2, 3, 64, 64))
    >>> blind(torch.rand(1, 3, 64, 64)).shape
    torch.Size([1, 160, 16, 16])
    """

    middle: Tensor
    spread: Tensor
    weights: Tensor

    def __init__(self, sees: str, pictures: Tensor | ndarray, *, units: int = UNITS, seed: int = 0) -> None:
        super().__init__()
        check_choice("sees", sees, SIGHTS)
        self.sees, self.units = sees, nn.ReLU()
        seen = torch.cat([self.seen(part).double() for part in batches(pictures[:FIRST])])
        spread = seen.std((0, 2, 3), keepdim=True, correction=0)
        drawn = torch.randn(
            units, seen.shape[1] + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        self.register_buffer("middle", seen.mean((0, 2, 3), keepdim=True).float())
        self.register_buffer("spread", torch.where(spread > 0, spread, 1).float())
        self.register_buffer("weights", drawn.float())
        self.eval()

    def seen(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N F 16 16"]:
        """The features that it sees."""
        check_images(images)
        if self.sees == "position":
            return position_features(images, GRID)
        if self.sees == "colour":
            return colour_features(images, GRID)
        return torch.cat([colour_features(images, GRID, patch=2), position_features(images, GRID)], 1)

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N K 16 16"]:
        values = (self.seen(images) - self.middle) / self.spread
        summed = torch.einsum("nfhw,kf->nkhw", values, self.weights[:, 1:]) / values.shape[1] ** 0.5
        return self.units(summed + self.weights[:, 0].view(-1, 1, 1))
