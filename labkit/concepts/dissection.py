"""Network dissection: each unit's strongest places held against label maps, beside its ceiling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.enlarging import pixels_above
from labkit.concepts.label_maps import check_kinds, check_values, side_of
from labkit.concepts.thresholds import LayerMaps, unit_thresholds
from labkit.core.checks import check_fraction, check_positive
from labkit.core.hooks import borrow
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.models.features import batches

__all__ = [
    "Counts", "Dissection", "dissect", "dissect_result", "summary_of", "unit_counts", "unit_thresholds",
]  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """Pixels counted for units and labels; counts of other pictures with the same thresholds may be added.

    ``both`` (K, C): where a unit is above its threshold and the label lies; ``unit`` (K, G): where the unit
    is, in pictures in which the kind of label occurs; ``label`` (C,): where the label lies; ``seen`` (G,):
    all pixels of these pictures; ``kind`` (C,): each label's kind, an index into ``kinds``."""

    both: Int[Tensor, "K C"]
    unit: Int[Tensor, "K G"]
    label: Int[Tensor, " C"]
    seen: Int[Tensor, " G"]
    kind: Int[Tensor, " C"]
    kinds: tuple[str, ...]

    def __add__(self, other: Counts) -> Counts:
        if self.kinds != other.kinds or self.both.shape != other.both.shape:
            raise ValueError("counts must be of the same units and labels to be added.")
        return Counts(
            self.both + other.both, self.unit + other.unit, self.label + other.label, self.seen + other.seen,
            self.kind, self.kinds,
        )  # fmt: skip

    @property
    def iou(self) -> Float[Tensor, "K C"]:
        """Intersection over union, over pictures in which the label's kind occurs; 0 where it never does."""
        either = self.unit[:, self.kind] + self.label - self.both
        return self.both / either.clamp(min=1)

    @property
    def ceiling(self) -> Float[Tensor, "K C"]:
        """The most that the IoU can be, by the two areas alone: the smaller over the larger."""
        unit, label = self.unit[:, self.kind].double(), self.label.double().expand(len(self.unit), -1)
        return (torch.minimum(unit, label) / torch.maximum(unit, label).clamp(min=1)).float()


def _integers(values: ndarray | Tensor) -> Int[Tensor, "B H W"]:
    """A batch of label maps, read now; bytes stay bytes."""
    read = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.array(values)
    return torch.from_numpy(read if read.dtype == np.uint8 else read.astype(np.int64))


def _pixels(
    maps: Float[Tensor, "K h w"], thresholds: Float[Tensor, " K"], side: tuple[int, int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Unit and place of all of a picture's pixels above the thresholds, on the grid of the label maps."""
    reach = (maps.amax((1, 2)) > thresholds).nonzero()[:, 0]
    if maps.shape[1] > side[0] or maps.shape[2] > side[1]:  # label maps coarser than the layer
        large = F.interpolate(maps[reach][:, None], size=side, mode="bilinear")[:, 0]
        number, y, x = (large > thresholds[reach].view(-1, 1, 1)).nonzero(as_tuple=True)
        yield reach[number], y * side[1] + x
    elif len(reach):
        for number, y, x in pixels_above(maps[reach], thresholds[reach], side):
            yield reach[number], y * side[1] + x


def _combinations(
    values: Int[Tensor, "G P"], sizes: Sequence[int]
) -> tuple[Int[Tensor, " P"], Int[Tensor, "G U"]]:
    """A picture's pixels by what all kinds say together: each pixel's combination, and what each holds."""
    code, room = torch.zeros_like(values[0], dtype=torch.int64), 1
    for own, size in zip(values, sizes, strict=True):
        if room * (size + 1) >= 1 << 62:
            code = torch.unique(code, return_inverse=True)[1]
            room = int(code.max()) + 1
        code, room = code * (size + 1) + own, room * (size + 1)
    which = torch.unique(code, return_inverse=True)[1]
    example = torch.empty(int(which.max()) + 1, dtype=torch.int64)
    example[which] = torch.arange(len(which))
    return which, values[:, example].long()


def unit_counts(
    model: nn.Module,
    images: Tensor | ndarray,
    *,
    layer: str,
    maps: Mapping[str, ndarray],
    names: Mapping[str, tuple[str, ...]],
    thresholds: Float[Tensor, " K"],
    rotation: Float[Tensor, "K K"] | None = None,
    batch_size: int = 32,
    progress: Callable[[float], None] | None = None,
) -> Counts:
    """Count, for each unit above its threshold and each label, their pixels: a shard of ``dissect``.

    Maps are enlarged bilinearly to the label maps' size and *then* held against the threshold; where four
    neighbours stay below it they are not enlarged, which changes nothing. Arguments and errors as in
    ``dissect``.
    """
    check_kinds(maps, names, len(images), side_of(images))
    kinds = tuple(maps)
    sizes = [len(names[kind]) for kind in kinds]
    starts = torch.tensor([0, *sizes]).cumsum(0)
    units, labels = len(thresholds), int(starts[-1])
    both = torch.zeros(units, labels, dtype=torch.int64)
    unit = torch.zeros(units, len(kinds), dtype=torch.int64)
    label, seen = torch.zeros(labels, dtype=torch.int64), torch.zeros(len(kinds), dtype=torch.int64)
    with borrow(model), working("dissection", len(images), "picture", progress=progress) as work:
        maps_of, done = LayerMaps(model, layer, rotation), 0
        for part in batches(images, batch_size):
            found = maps_of(part)
            if found.shape[1] != units:
                raise ValueError(
                    f"thresholds must be one a unit, {found.shape[1]} of {layer!r}; got {units}."
                )
            rows = slice(done, done + len(part))
            own = {kind: _integers(values[rows]) for kind, values in maps.items()}
            for g, kind in enumerate(kinds):
                check_values(kind, own[kind], sizes[g])
            high, wide = next(iter(own.values())).shape[1:]
            for n in range(len(part)):
                which, held = _combinations(torch.stack([v[n].flatten() for v in own.values()]), sizes)
                table = torch.zeros(units, held.shape[1])
                for number, place in _pixels(found[n], thresholds, (high, wide)):
                    at = number * held.shape[1] + which[place]
                    table += torch.bincount(at, minlength=table.numel()).view_as(table)
                member = torch.zeros(held.shape[1], labels)
                kind_at, combination = (held > 0).nonzero(as_tuple=True)
                member[combination, starts[kind_at] + held[kind_at, combination] - 1] = 1
                both += (table @ member).long()  # whole numbers below 2^24: exact
                label += (torch.bincount(which).float() @ member).long()
                there = (held > 0).any(1)
                unit += table.sum(1).long()[:, None] * there
                seen += len(which) * there
            done += len(part)
            work.at(done)
    kind_of = torch.repeat_interleave(torch.arange(len(kinds)), torch.tensor(sizes))
    return Counts(both, unit, label, seen, kind_of, kinds)


class Dissection(NamedTuple):
    """``iou`` (K, C) with its ``ceiling`` (K, C) by the areas; ``best`` (K,): each unit's label, an index in
    ``labels``; ``detector`` (K,): whether its IoU exceeds the threshold; ``unique``: the labels that have a
    detector; ``testable``: those whose best ceiling is at least 1.5 times the threshold, the cap of unique;
    ``mean_best``: the units' mean best IoU; ``thresholds`` (K,): of the activations; ``counts``."""

    iou: Float[Tensor, "K C"]
    ceiling: Float[Tensor, "K C"]
    labels: tuple[tuple[str, str], ...]
    best: Int[Tensor, " K"]
    detector: Bool[Tensor, " K"]
    unique: tuple[tuple[str, str], ...]
    testable: tuple[tuple[str, str], ...]
    mean_best: float
    thresholds: Float[Tensor, " K"]
    counts: Counts


def summary_of(
    counts: Counts, thresholds: Float[Tensor, " K"], names: Mapping[str, tuple[str, ...]], *, iou: float
) -> Dissection:
    """What counts come to, for detectors above an IoU."""
    check_fraction("iou", iou)
    labels = tuple((kind, name) for kind in counts.kinds for name in names[kind])
    found, ceiling = counts.iou, counts.ceiling
    best = found.argmax(1)
    score = found.gather(1, best[:, None])[:, 0]
    detector = score > iou
    unique = sorted(set(best[detector].tolist()))
    testable = (ceiling.amax(0) >= 1.5 * iou).nonzero()[:, 0].tolist()
    return Dissection(
        found, ceiling, labels, best, detector, tuple(labels[c] for c in unique),
        tuple(labels[c] for c in testable), float(score.mean()), thresholds, counts,
    )  # fmt: skip


def dissect_result(
    model: nn.Module,
    images: Tensor | ndarray,
    *,
    layer: str,
    maps: Mapping[str, ndarray],
    names: Mapping[str, tuple[str, ...]],
    quantile: float = 0.005,
    iou: float = 0.04,
    rotation: Float[Tensor, "K K"] | None = None,
    batch_size: int = 32,
    progress: Callable[[float], None] | None = None,
) -> Dissection:
    """``dissect`` with every IoU, its ceiling, the unique detectors and the cap (see ``Dissection``)."""
    check_positive("batch_size", batch_size)
    check_fraction("iou", iou)
    check_kinds(maps, names, len(images), side_of(images))
    half = (
        None if progress is None else (lambda done: progress(done / 2), lambda done: progress(0.5 + done / 2))
    )
    given: dict[str, Any] = {"layer": layer, "rotation": rotation, "batch_size": batch_size}
    thresholds = unit_thresholds(model, images, quantile=quantile, progress=half and half[0], **given)
    counts = unit_counts(
        model, images, maps=maps, names=names, thresholds=thresholds, progress=half and half[1], **given
    )
    return summary_of(counts, thresholds, names, iou=iou)


@signature_of(dissect_result)
def dissect(*args: Any, **options: Any) -> list[tuple[str, str, float]]:
    """What each unit of a layer detects: (kind, label, IoU) of the label it fits best, a row a unit.

    A unit's threshold is what a share ``quantile`` of its activations exceed; its maps are enlarged
    bilinearly, then cut there; the IoU with each label is over all pictures in which the label's kind occurs.
    Above ``iou`` a unit is called a detector (``dissect_result``).

    A unit on a share q of the pixels has at most IoU q/p with a label on p: hold each IoU against its
    ``ceiling``, and counts of unique detectors against ``testable``, the labels that could have one. Labels
    of other pictures are the floor: with this kit's scenes units pass .04 there, not .10.

    ``images``: tensors or bytes, as ``labkit.models.features`` takes them. ``maps``: whole numbers (N, H, W)
    for each kind of label, 0 for none, over the whole picture, as fine as it is or coarser or finer alike in
    height and width; ``names``: a tuple of their names from 1 on (``MiniBroden.names`` without the first).
    ``rotation``: the channels are turned by it first. Shards: ``unit_thresholds`` on all, then
    ``unit_counts`` of each part, which add up. Warns where ``quantile`` of the layer's places is less than
    one: then next to nothing is above a threshold. Raises KeyError for a wrong layer, ValueError for one that
    is no feature map, maps that do not fit the pictures, labels without a name and shares outside (0, 1).

    Unit: share. Labels: post hoc, specific to networks with feature maps, global.
    Source: Bau et al. 2017, "Network Dissection", section 2; they sample the quantile.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False)).eval()
    >>> nn.init.ones_(net[0].weight)[0, 0, 0, 0].item()
    1.0
    >>> spot = np.zeros((1, 1, 8, 8), np.float32)
    >>> spot[0, 0, :2, :2] = 1
    >>> given = {"maps": {"thing": (spot[:, 0] > 0).astype(np.uint8)}, "names": {"thing": ("corner",)}}
    >>> dissect(net, spot, layer="0", quantile=0.07, **given)
    [('thing', 'corner', 1.0)]
    """
    found = dissect_result(*args, **options)
    rows = zip(found.best.tolist(), found.iou.amax(1).tolist(), strict=True)
    return [(*found.labels[best], value) for best, value in rows]
