"""What the dissection explorer shows of a layer: units against labels at some quantiles, and top pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy import ndarray
from torch import Tensor, nn

from labkit.widgets.kit.cache import Answer

__all__ = ["sheet", "units_answer"]

FINE = 32  # a unit's map is sent with so many places a side at most
FEW, LARGE, SMALL = 160, 112, 64  # pictures up to which they are sent large; a side then, and else
COLUMNS = 20
Report = Callable[[float], None]


def sheet(images: Any) -> dict[str, Any]:
    """All pictures in one JPEG: ``side`` of each, ``columns``, ``count``, ``data``.

    >>> found = sheet(torch.zeros(3, 3, 8, 8))
    >>> found["side"], found["columns"], found["count"]
    (112, 3, 3)
    """
    from labkit.data.photos import encode
    from labkit.models.features import batches

    count = len(images)
    side, columns = (LARGE if count <= FEW else SMALL), min(COLUMNS, count)
    rows = -(-count // columns)
    cells = torch.zeros(rows * columns, 3, side, side)
    done = 0
    for part in batches(images):
        small = F.interpolate(part.float(), (side, side), mode="bilinear", antialias=True)
        cells[done : done + len(part)] = small.expand(-1, 3, -1, -1).clamp(0, 1).cpu()
        done += len(part)
    grid = cells.view(rows, columns, 3, side, side).permute(2, 0, 3, 1, 4)
    data = encode(grid.reshape(3, rows * side, columns * side), "jpeg", 84)
    return {"side": side, "columns": columns, "count": count, "data": data}


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def _table(
    model: nn.Module, images: Any, thresholds: Tensor, labels: Mapping[str, ndarray],
    names: Mapping[str, Sequence[str]], given: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Each unit's best label with its IoU and ceiling, the same with the label maps of other pictures, and
    the best ceiling of each label."""
    from labkit.concepts.dissection import unit_counts
    from labkit.evaluation import other_pictures

    if not labels:
        return {"label": [], "iou": [], "ceiling": [], "other": [], "other_iou": [], "top": []}
    order = other_pictures(len(images)).numpy()
    maps = dict(labels) | {f"{kind}, other": values[order] for kind, values in labels.items()}
    called = {kind: tuple(names[kind.removesuffix(", other")]) for kind in maps}
    counts = unit_counts(model, images, maps=maps, names=called, thresholds=thresholds, **given)
    own = counts.kind < len(labels)
    iou, ceiling = counts.iou, counts.ceiling
    best, label = iou[:, own].max(1)
    other, fits = iou[:, ~own].max(1)
    return {
        "label": label.tolist(), "iou": _rounded(best),
        "ceiling": _rounded(ceiling[:, own].gather(1, label[:, None])[:, 0]),
        "other": fits.tolist(), "other_iou": _rounded(other), "top": _rounded(ceiling[:, own].amax(0)),
    }  # fmt: skip


def _small(model: nn.Module, images: Any, layer: str, rotation: Tensor | None, wanted: Tensor) -> Tensor:
    """The maps of each unit in its own pictures, (K, k, h, w), at most so many places a side."""
    from labkit.concepts.thresholds import LayerMaps
    from labkit.core.hooks import borrow
    from labkit.models.features import batches

    found = torch.empty(0)
    with borrow(model):
        maps_of = LayerMaps(model, layer, rotation)
        for picture in wanted[wanted >= 0].unique().tolist():
            (part,) = batches(images[picture : picture + 1], 1)
            maps = maps_of(part)[0]
            step = math.ceil(max(maps.shape[1:]) / FINE)
            if step > 1:
                maps = F.avg_pool2d(maps, step, ceil_mode=True)
            if not len(found):
                found = torch.zeros(*wanted.shape, *maps.shape[1:])
            rows, places = (wanted == picture).nonzero(as_tuple=True)
            found[rows, places] = maps[rows]
    return found if len(found) else torch.zeros(*wanted.shape, 1, 1)


def units_answer(
    model: nn.Module, images: Any, layer: str, *, maps: Mapping[str, ndarray],
    names: Mapping[str, Sequence[str]], quantiles: Sequence[float], rotation: Tensor | None, count: int,
    report: Report,
) -> Answer:  # fmt: skip
    """All units of a layer at some quantiles, with the pictures at which each fires most, as a page takes it.

    A map is sent in bytes, from the unit's least activation in these pictures to its largest; its threshold
    likewise, -1 for a dead unit.
    """
    from labkit.concepts import top_pictures_result
    from labkit.concepts.thresholds import unit_thresholds

    given: dict[str, Any] = {"layer": layer, "rotation": rotation}
    top = top_pictures_result(model, images, layer, count=count, quantile=max(quantiles), rotation=rotation)
    report(0.2)
    small = _small(model, images, layer, rotation, top.pictures)
    lows, peaks = small.flatten(1).amin(1), small.flatten(1).amax(1)
    span = (peaks - lows).clamp(min=1e-12)
    levels = (small - lows.view(-1, 1, 1, 1)) / span.view(-1, 1, 1, 1) * 255
    tables = []
    for done, quantile in enumerate(quantiles):
        thresholds = unit_thresholds(model, images, quantile=quantile, **given)
        cut = torch.where(thresholds.isfinite(), (255 * (thresholds - lows) / span).clamp(min=0), -1.0)
        tables.append(_table(model, images, thresholds, maps, names, given) | {"cut": _rounded(cut)})
        report(0.2 + 0.8 * (done + 1) / len(quantiles))
    return {
        "units": len(small), "height": small.shape[2], "width": small.shape[3], "per_unit": count,
        "tables": tables, "pictures": top.pictures.flatten().tolist(), "peaks": _rounded(peaks),
        "data": levels.round().byte().contiguous().numpy().astype(np.uint8).tobytes(),
    }  # fmt: skip
