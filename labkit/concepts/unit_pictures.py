"""Network dissection without labels: the pictures at which units fire most, with where they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.thresholds import LayerMaps, unit_thresholds
from labkit.core.checks import check_positive
from labkit.core.door import as_units, weight_of
from labkit.core.hooks import borrow
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.models.features import batches

__all__ = ["TopPictures", "top_pictures", "top_pictures_result"]

DIM = 0.25  # of a picture's brightness where its unit is below the threshold


class TopPictures(NamedTuple):
    """For each of ``units`` (U,) the k pictures with its largest activations, the largest first.

    ``values`` (U, k): that activation; 0 where there is none. ``pictures`` (U, k): the pictures' numbers, -1
    where the unit is above its threshold in fewer than k. ``masks`` (U, k, H, W): where it is above it.
    ``thresholds`` (U,): of the activations; infinity for a dead unit. ``names``: the files of a folder."""

    units: Int[Tensor, " U"]
    values: Float[Tensor, "U k"]
    pictures: Int[Tensor, "U k"]
    masks: Bool[Tensor, "U k H W"]
    thresholds: Float[Tensor, " U"]
    names: tuple[str, ...]


def _given(model: nn.Module, pictures: Any, side: int | None) -> tuple[Tensor | ndarray, tuple[str, ...]]:
    """Pictures as an array or a tensor; those of a folder as bytes, with the files' names."""
    if not isinstance(pictures, str | Path):
        return pictures, ()
    from labkit.data.photos import load_photo, photo_files

    files, size = photo_files(pictures), side or int(getattr(model, "input_size", None) or 224)
    check_positive("side", size)
    found = np.empty((len(files), size, size, 3), np.uint8)
    for row, file in enumerate(files):
        found[row] = (load_photo(file, size) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
    return found, tuple(file.stem for file in files)


def top_pictures_result(
    model: nn.Module,
    pictures: Tensor | ndarray | str | Path,
    layer: str,
    *,
    units: int | Sequence[int] | None = None,
    count: int = 6,
    quantile: float = 0.005,
    rotation: Float[Tensor, "K K"] | None = None,
    side: int | None = None,
    batch_size: int = 32,
    progress: Callable[[float], None] | None = None,
) -> TopPictures:
    """``top_pictures`` with the pictures' numbers, the activations and masks (see ``TopPictures``)."""
    return _sought(model, *_given(model, pictures, side), layer, units, count, quantile, rotation, batch_size,
                   progress)  # fmt: skip


def _sought(
    model: nn.Module, given: Tensor | ndarray, names: tuple[str, ...], layer: str,
    units: int | Sequence[int] | None, count: int, quantile: float, rotation: Tensor | None, batch_size: int,
    progress: Callable[[float], None] | None,
) -> TopPictures:  # fmt: skip
    check_positive("count", count)
    check_positive("batch_size", batch_size)
    half = None if progress is None else lambda done: progress(done / 2)
    every = unit_thresholds(
        model, given, layer=layer, quantile=quantile, rotation=rotation, batch_size=batch_size, progress=half
    )
    chosen = as_units(units, len(every))
    thresholds, peaks, done, size = every[chosen], [], 0, (0, 0)
    rest = None if progress is None else lambda share: progress(0.5 + share / 2)
    with borrow(model), working("top pictures", len(given), "picture", progress=rest) as work:
        maps_of = LayerMaps(model, layer, rotation)
        for part in batches(given, batch_size):
            peaks.append(maps_of(part)[:, chosen].amax((2, 3)))
            size, done = (part.shape[2], part.shape[3]), done + len(part)
            work.at(done)
        tops = torch.cat(peaks).T  # (U, N)
        best = tops.argsort(dim=1, descending=True, stable=True)[:, :count]
        values = tops.gather(1, best)
        best, values = (F.pad(t, (0, count - t.shape[1])) for t in (best, values))
        there = values > thresholds[:, None]
        there[:, len(given) :] = False
        masks = torch.zeros(*best.shape, *size, dtype=torch.bool)
        for picture in best[there].unique().tolist():
            (part,) = batches(given[picture : picture + 1], 1)
            small = maps_of(part)[0, chosen]
            rows, places = ((best == picture) & there).nonzero(as_tuple=True)
            large = F.interpolate(small[rows][:, None], size=size, mode="bilinear")[:, 0]
            masks[rows, places] = large > thresholds[rows].view(-1, 1, 1)
    return TopPictures(
        chosen, torch.where(there, values, 0), torch.where(there, best, -1), masks, thresholds, names
    )


@signature_of(top_pictures_result)
def top_pictures(*args: Any, **options: Any) -> Float[Tensor, "U k C H W"]:
    """The pictures at which each unit of a layer fires most, dark where it is below its threshold.

    What dissection shows of a unit, without any labels: for pictures of one's own, a folder of photographs
    for example. The threshold is ``dissect``'s, what a share ``quantile`` of the unit's activations exceed.

    ``pictures``: a tensor or bytes, as ``labkit.models.features`` takes them, or a folder, whose photographs
    are cut to ``side`` (default: ``model.input_size``) and held in memory as bytes. ``units``: the channels
    wanted, one or several, None for all. ``count``: pictures a unit; one that is above its threshold in fewer
    gets grey ones, and all do, with a warning, where the share of the layer's places is less than one place.
    ``rotation``: the channels are turned by it first. The result form says which picture, how strongly, and
    gives the masks, which is what to keep of a large layer.

    Unit: picture value. Raises KeyError for a wrong layer; ValueError for one that gives no feature map, for
    activations that are not finite and shares outside (0, 1); IndexError for a unit that is not there;
    FileNotFoundError for a folder without pictures.

    Labels: post hoc, specific to networks with feature maps, global.
    Source: Bau et al. 2017, "Network Dissection", figure 1 (the top images of a unit, masked).

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()
    >>> top_pictures(net, torch.rand(5, 3, 8, 8), "1", units=[0, 2], count=2, quantile=0.1).shape
    torch.Size([2, 2, 3, 8, 8])
    """
    with torch.inference_mode(False):
        given = dict(zip(("model", "pictures", "layer"), args, strict=False)) | options
        model, side = given["model"], given.pop("side", None)
        held, _ = _given(model, given["pictures"], side)
        found = top_pictures_result(**{**given, "pictures": held})
        own = weight_of(model, torch.zeros(())).dtype
        shown = torch.full((*found.pictures.shape, 3, *found.masks.shape[2:]), 0.5, dtype=own)
        for row, column in (found.pictures >= 0).nonzero().tolist():
            number = int(found.pictures[row, column])
            (one,) = batches(held[number : number + 1], 1)
            lit = DIM + (1 - DIM) * found.masks[row, column].to(own)
            shown[row, column] = one[0].detach().to("cpu", own) * lit
        return shown
