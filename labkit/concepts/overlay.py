"""Similarity overlays: where in these pictures is what the network sees at one place?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_class, check_feature_map
from labkit.core.door import asked, finite
from labkit.core.hooks import find_layer
from labkit.models import record

__all__ = ["place_at", "similarity_map"]


def place_at(x: float, y: float, size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """The (row, column) of a layer's map that lies under a pixel of the picture.

    ``size``: the picture's height and width; ``grid``: the map's. Raises ValueError for a pixel outside.

    >>> place_at(127, 0, (128, 128), (16, 16))
    (0, 15)
    """
    height, width = size
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"x and y must lie in the picture of {width} x {height} pixels; got {x}, {y}.")
    return int(y * grid[0] / height), int(x * grid[1] / width)


def similarity_map(
    model: nn.Module,
    pictures: Float[Tensor, "N C H W"],
    *,
    layer: str,
    picture: int,
    place: tuple[int, int],
    upsample: str | None = None,
) -> Float[Tensor, "N h w"]:
    """The cosine of what a layer gives at one place of one picture with what it gives at every place of all.

    ``picture``, ``place``: the one asked about, (row, column) of the layer's map (``place_at`` finds it under
    a pixel). ``upsample``: None gives the layer's own size, "nearest" or "bilinear" the pictures'. Places
    where the layer gives nothing have 0. Raises IndexError for a picture or a place out of range, KeyError
    for a wrong layer, ValueError for a layer that is no feature map.

    Unit: cosine, -1 to 1. Labels: post hoc, specific to networks with feature maps, local.
    Source: Fong and Vedaldi 2018, "Net2Vec"; Olah et al. 2018, "The Building Blocks of Interpretability".

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> maps = similarity_map(net, torch.rand(2, 3, 4, 4) + 0.0, layer="0", picture=1, place=(2, 3))
    >>> maps.shape, round(maps[1, 2, 3].item(), 5)
    (torch.Size([2, 4, 4]), 1.0)
    """
    if upsample is not None:
        check_choice("upsample", upsample, ("nearest", "bilinear"))
    find_layer(model, layer)
    with asked(model, pictures) as inputs, torch.no_grad(), record(model, layer) as kept:
        model(inputs)
        maps = finite(check_feature_map(kept[layer], layer))
        check_class(picture, len(maps), "picture")
        for axis, index, length in zip(("row", "column"), place, maps.shape[2:], strict=True):
            check_class(index, length, axis)
        unit = F.normalize(maps, dim=1, eps=1e-30)
        cosines = torch.einsum("nkhw,k->nhw", unit, unit[picture, :, place[0], place[1]])
        if upsample is None:
            return cosines
        smooth = {} if upsample == "nearest" else {"align_corners": False}
        return F.interpolate(cosines[:, None], size=pictures.shape[2:], mode=upsample, **smooth)[:, 0]
