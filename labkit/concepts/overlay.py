"""Similarity overlays: where in these pictures is what the network sees at one place?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int8
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_feature_map, check_index, check_positive
from labkit.core.door import asked, finite
from labkit.core.hooks import find_layer
from labkit.models import record

__all__ = ["Codes", "cosine_error", "cosines_of_codes", "place_at", "similarity_codes", "similarity_map"]

QUERIES = 512  # places of which the error of a cosine is measured, evenly spread


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
    where the layer gives nothing have 0. Raises IndexError for a picture or a place out of range, TypeError
    for one that is no whole number, KeyError for a wrong layer, ValueError for one that is no feature map.

    Unit: cosine, -1 to 1. Labels: post hoc, specific to networks with feature maps, local.
    Source: Fong and Vedaldi 2018, "Net2Vec"; Olah et al. 2018, "The Building Blocks of Interpretability".

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> maps = similarity_map(net, torch.rand(2, 3, 4, 4) + 0.0, layer="0", picture=1, place=(2, 3))
    >>> maps.shape, round(maps[1, 2, 3].item(), 5)
    (torch.Size([2, 4, 4]), 1.0)
    """
    if upsample is not None:
        check_choice("upsample", upsample, ("nearest", "bilinear"))
    if not isinstance(place, Sequence | Tensor | ndarray) or len(place) != 2:
        raise ValueError(f"place must be (row, column) of the layer's map; got {place!r}.")
    find_layer(model, layer)
    with asked(model, pictures) as inputs, torch.no_grad(), record(model, layer) as kept:
        model(inputs)
        maps = finite(check_feature_map(kept[layer], layer))
        check_index("picture", picture, len(maps), "pictures")
        for axis, index, length in zip(("row", "column"), place, maps.shape[2:], strict=True):
            check_index(axis, index, length, f"{axis}s in the grid of layer {layer!r}")
        unit = F.normalize(maps, dim=1, eps=1e-30)
        cosines = torch.einsum("nkhw,k->nhw", unit, unit[picture, :, place[0], place[1]])
        if upsample is None:
            return cosines
        smooth = {} if upsample == "nearest" else {"align_corners": False}
        return F.interpolate(cosines[:, None], size=pictures.shape[2:], mode=upsample, **smooth)[:, 0]


# ---- the same from bytes: what is sent to where there is no network


class Codes(NamedTuple):
    """Features as bytes with, nearly, their cosines: ``values`` (N, h, w, k), and ``basis`` (k, K) of a
    projection or None where all K dimensions were kept."""

    values: Int8[Tensor, "N h w k"]
    basis: Float[Tensor, "k K"] | None


def similarity_codes(
    maps: Float[Tensor, "N K h w"], size: int | None = None, *, basis: Float[Tensor, "k K"] | None = None
) -> Codes:
    """A layer's features, each of length 1, as bytes: the cosines of the bytes are nearly theirs.

    ``size``: None keeps all K dimensions, fewer are the largest principal ones of the features about 0.
    ``basis``: of an earlier call, so that pictures which come later are comparable. A vector's bytes run up
    to 127 whatever its length; a zero vector has zeros. Raises ValueError for maps of another shape and a
    ``size`` that is no whole number above 0.

    >>> codes = similarity_codes(torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]]))
    >>> codes.values.tolist()
    [[[[95, 127], [0, 0]]]]
    """
    unit = F.normalize(check_feature_map(maps, None).detach().float(), dim=1, eps=1e-30).permute(0, 2, 3, 1)
    if size is not None:
        check_positive("size", size)
    if basis is None and size is not None and size < unit.shape[-1]:
        rows = unit.flatten(0, 2).double()
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        basis = vectors[:, values.argsort(descending=True)[:size]].T.float()
    kept = unit if basis is None else unit @ basis.T
    top = kept.abs().amax(-1, keepdim=True)
    return Codes((127 * kept / torch.where(top > 0, top, 1)).round().to(torch.int8), basis)


def cosines_of_codes(
    codes: Int8[Tensor, "N h w k"], picture: int, place: tuple[int, int]
) -> Float[Tensor, "N h w"]:
    """The cosines of the bytes at one place of one picture with those of every place of all.

    >>> cosines_of_codes(similarity_codes(torch.rand(1, 8, 2, 2) + 0.1).values, 0, (1, 1))[0, 1, 1].item()
    1.0
    """
    unit = F.normalize(codes.double(), dim=-1, eps=1e-30)
    return (unit @ unit[picture, place[0], place[1]]).float()


def cosine_error(maps: Float[Tensor, "N K h w"], codes: Int8[Tensor, "N h w k"]) -> float:
    """The largest difference between a cosine of the features and that of their bytes.

    Measured at 512 places, evenly spread over all pictures (at all if there are no more), each with every
    other place.

    >>> cosine_error(torch.ones(1, 2, 3, 3), similarity_codes(torch.ones(1, 2, 3, 3)).values) < 1e-5
    True
    """
    rows = [
        F.normalize(values.reshape(-1, values.shape[-1]).float(), dim=1, eps=1e-30)
        for values in (maps.detach().permute(0, 2, 3, 1), codes)
    ]
    asked = torch.linspace(0, len(rows[0]) - 1, min(QUERIES, len(rows[0]))).round().long()
    exact, sent = (one[asked] @ one.T for one in rows)
    return float((exact - sent).abs().max())
