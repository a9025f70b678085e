"""What a share of a unit's activations exceeds, counted in constant memory over any number of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_feature_map, check_share
from labkit.core.door import own_copy
from labkit.core.hooks import borrow, find_layer, record
from labkit.core.progress import working
from labkit.core.registry import warn_caller
from labkit.models.features import batches

__all__ = ["LayerMaps", "thresholds_of", "unit_thresholds"]

_CODES = 1 << 16  # of float16: as many bins, in the order of the numbers


def _codes(values: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Numbers as float16, numbered in their order from the least to the largest."""
    bits = values.to(torch.float16).view(torch.int16).int()
    return torch.where(bits < 0, -1 - (bits & 0x7FFF), bits) + _CODES // 2


def _values(codes: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    signed = codes - _CODES // 2
    bits = torch.where(signed < 0, (-1 - signed) | -0x8000, signed)
    return bits.to(torch.int16).view(torch.float16).float()


class LayerMaps:
    """What a layer gives, batch by batch, as (B, K, h, w) float32, turned by a rotation of the channels."""

    def __init__(self, model: nn.Module, layer: str, rotation: Tensor | None) -> None:
        find_layer(model, layer)
        self.model, self.layer, self.rotation = model, layer, rotation

    def __call__(self, pictures: Tensor) -> Float[Tensor, "B K h w"]:
        with torch.no_grad(), record(self.model, self.layer) as kept:
            self.model(own_copy(self.model, pictures))
        maps = check_feature_map(kept[self.layer], self.layer).detach().cpu().float()
        if not torch.isfinite(maps).all():
            raise ValueError(f"activations of {self.layer!r} must be finite; got NaN or infinity.")
        if self.rotation is None:
            return maps
        if self.rotation.shape != (maps.shape[1],) * 2:
            raise ValueError(
                f"rotation must be a matrix of {maps.shape[1]} x {maps.shape[1]}, the channels of "
                f"{self.layer!r}; got {tuple(self.rotation.shape)}."
            )
        return torch.einsum("jk,bkhw->bjhw", self.rotation.to(maps), maps)


def _warn_of_few(quantile: float, pictures: int, total: int, place: str) -> None:
    """Warn where a share of all places is less than one place: then nothing exceeds the threshold."""
    if quantile * total >= 1:
        return
    step = 10.0 ** (math.floor(-math.log10(total)) - 1)
    enough = math.ceil(1 / total / step - 1e-9) * step
    cure = f"quantile={enough:.2g} leaves one; more" if enough < 1 else "More"
    warn_caller(
        f"quantile={quantile:g} leaves no place above the thresholds: of the {total} places{place}, over "
        f"{pictures} {'pictures' if pictures != 1 else 'picture'}, it is less than one. {cure} pictures or "
        "an earlier layer leave more."
    )


def unit_thresholds(
    model: nn.Module,
    images: Tensor | ndarray,
    *,
    layer: str,
    quantile: float = 0.005,
    rotation: Float[Tensor, "K K"] | None = None,
    batch_size: int = 32,
    progress: Callable[[float], None] | None = None,
) -> Float[Tensor, " K"]:
    """For each unit the number that a share ``quantile`` of its activations exceed, over all places of all
    pictures.

    The activations are counted as float16, in constant memory: the threshold is one of these numbers, and at
    most the share lies above it. A unit that never gives two different numbers gets infinity: it is dead.
    Warns where the share of all places is less than one place. Errors as in ``dissect``.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU()).eval()
    >>> nn.init.ones_(net[0].weight)[0, 0, 0, 0].item()
    1.0
    >>> pictures = torch.arange(100.0).view(1, 1, 10, 10) / 128
    >>> unit_thresholds(net, pictures, layer="0", quantile=0.1) * 128
    tensor([89.])
    """
    check_share("quantile", quantile, "0.005 is the paper's.")
    histogram: Tensor | None = None
    with borrow(model), working("thresholds", len(images), "picture", progress=progress) as work:
        maps_of, done = LayerMaps(model, layer, rotation), 0
        for part in batches(images, batch_size):
            codes = _codes(maps_of(part)).movedim(1, 0).flatten(1).long()
            if histogram is None:
                histogram = torch.zeros(len(codes), _CODES, dtype=torch.int32)
            for unit, row in enumerate(codes):
                histogram[unit] += torch.bincount(row, minlength=_CODES).int()
            done += len(part)
            work.at(done)
    assert histogram is not None  # batches() refuses no pictures
    above = histogram.flip(1).cumsum(1).flip(1)  # how many are at least this number
    total = int(histogram[0].sum())
    _warn_of_few(quantile, done, total, f" in {layer!r}")
    lowest = (above <= quantile * total).int().argmax(1) - 1  # the last number that more reach
    thresholds = _values(lowest)
    alive = (histogram > 0).sum(1) > 1
    return torch.where(alive, thresholds, torch.inf)


def thresholds_of(activations: Float[Tensor, "N K h w"], quantiles: Sequence[float]) -> Float[Tensor, "Q K"]:
    """The thresholds of ``unit_thresholds``, for several shares, from activations that are there already.

    >>> thresholds_of(torch.arange(100.0).view(1, 1, 10, 10) / 128, [0.1, 0.5]) * 128
    tensor([[89.],
            [49.]])
    """
    for quantile in quantiles:
        check_share("quantile", quantile, "0.005 is the paper's.")
    values = activations.movedim(1, 0).flatten(1).half().float()
    total = values.shape[1]
    _warn_of_few(min(quantiles), len(activations), total, "")
    # as many as may lie above, and the next one: of equal ones none lies above
    found = [values.kthvalue(total - int(quantile * total), dim=1).values for quantile in quantiles]
    alive = values.amax(1) > values.amin(1)
    return torch.where(alive, torch.stack(found), torch.inf)
