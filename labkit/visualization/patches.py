"""Top patches: what each unit of a layer fires at most, found for all units in one pass over the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_feature_map, check_finite, check_fraction, check_positive
from labkit.core.door import as_units, own_copy
from labkit.core.hooks import borrow, find_layer
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.models.features import Stream
from labkit.models.receptive_fields import ReceptiveField, receptive_fields
from labkit.visualization.cropping import NONE, Source, crops

__all__ = ["TopPatches", "top_patches", "top_patches_result"]


class TopPatches(NamedTuple):
    """Where units fired most: for each of ``units`` (U,) the k strongest places, the strongest first.

    ``values`` (U, k): the activation, above 0; 0 where there is none.
    ``pictures`` (U, k): the pictures' numbers; -1 where the unit fired in fewer than k.
    ``places`` (U, k, 2): row and column in the layer's map.
    ``boxes`` (U, k, 4): top, left, bottom and right of what the unit sees there, in pixels, the ends
    excluded; they may reach beyond the border.
    ``fired`` (U,): in how many of the ``seen`` pictures the unit fired; 0: it never does.
    ``field``: the layer's receptive field. ``complete``: False if ``should_stop`` ended it.
    """

    units: Int[Tensor, " U"]
    values: Float[Tensor, "U k"]
    pictures: Int[Tensor, "U k"]
    places: Int[Tensor, "U k 2"]
    boxes: Int[Tensor, "U k 4"]
    fired: Int[Tensor, " U"]
    seen: int
    field: ReceptiveField
    complete: bool

    @property
    def silent(self) -> list[int]:
        """The units that fired in no picture."""
        return self.units[self.fired == 0].tolist()

    def __str__(self) -> str:
        said = f"{len(self.units)} units over {self.seen} pictures; {self.field}"
        quiet = self.silent
        names = ", ".join(map(str, quiet[:12])) + (", ..." if len(quiet) > 12 else "")
        return said + (f"; {len(quiet)} never fire: {names}" if quiet else "; all fire")


class _Best:
    """The k strongest places of every channel, kept while batch after batch goes by."""

    def __init__(self, layer: str, count: int, per_picture: int) -> None:
        self.layer, self.count, self.per_picture = layer, count, per_picture
        self.values = self.pictures = self.places = self.fired = torch.empty(0)
        self.shape: tuple[int, ...] = ()

    def take(self, layer: str, activations: Tensor, rows: slice) -> None:
        """Look at a batch: (B, K, h, w)."""
        maps = check_feature_map(activations, layer)
        check_finite(f"the activations of {layer!r}", maps)
        if not self.shape:
            self.shape = tuple(maps.shape[1:])
            self.values = torch.zeros(self.shape[0], 0, dtype=maps.dtype, device=maps.device)
            self.pictures = self.places = self.values.long()
            self.fired = torch.zeros(self.shape[0], dtype=torch.long, device=maps.device)
        flat = maps.flatten(2)
        if self.per_picture == 1:
            best, at = (found[..., None] for found in flat.max(2))
        else:
            ranked = flat.sort(dim=2, descending=True, stable=True)
            best, at = ranked.values[..., : self.per_picture], ranked.indices[..., : self.per_picture]
        self.fired += (best[..., 0] > 0).sum(0)
        numbers = torch.arange(rows.start, rows.stop, device=maps.device)[:, None, None].expand(best.shape)
        # what was found first comes first among equals
        more = [t.movedim(0, 1).flatten(1) for t in (best, numbers, at)]
        old = (self.values, self.pictures, self.places)
        values, pictures, places = (torch.cat([a, b], 1) for a, b in zip(old, more, strict=True))
        order = values.argsort(dim=1, descending=True, stable=True)[:, : self.count]
        self.values, self.pictures, self.places = (t.gather(1, order) for t in (values, pictures, places))


def top_patches_result(
    model: nn.Module,
    pictures: Tensor | ndarray | str | Path | Any,
    layer: str,
    *,
    units: int | Sequence[int] | None = None,
    count: int = 9,
    per_picture: int = 1,
    side: int | None = None,
    fill: float = 0.5,
    batch_size: int = 64,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TopPatches:
    """``top_patches`` with values, pictures, places and boxes in place of pixels (see ``TopPatches``).

    It is what to keep of a large layer: the patches of all units may be more than the memory holds.
    ``crops`` and ``guided_crops`` of ``labkit.visualization`` cut out those of some.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()
    >>> top_patches_result(net, torch.rand(5, 3, 8, 8), "1", count=2).boxes.shape
    torch.Size([4, 2, 4])
    """
    for name, number in (("count", count), ("per_picture", per_picture), ("batch_size", batch_size)):
        check_positive(name, number)
    check_fraction("fill", fill)
    find_layer(model, layer)
    source, best, done, size = Source(model, pictures, side), _Best(layer, count, per_picture), 0, (3, 0, 0)
    stream = Stream([layer], take=best.take)
    with (
        borrow(model),
        torch.no_grad(),
        stream.on(model),
        working("top patches", len(source), "picture", progress=progress, should_stop=should_stop) as work,
    ):
        for part in source.batches(batch_size):
            if work.stopped():
                break
            size = tuple(part.shape[1:])  # type: ignore[assignment]
            stream.run(model, own_copy(model, part), slice(done, done + len(part)))
            done += len(part)
            work.at(done)
    if not done:
        raise RuntimeError("should_stop ended the search before the first picture; there is nothing to show.")
    with torch.inference_mode(False):
        field = receptive_fields(model, [layer], side=size[1:], channels=size[0])[layer]
        return _chosen(best, units, field, done, work.complete)


def _chosen(
    best: _Best, units: int | Sequence[int] | None, field: ReceptiveField, seen: int, complete: bool
) -> TopPatches:
    """The units asked for, padded to ``count``, with their boxes."""
    chosen = as_units(units, best.shape[0])
    lacking = max(0, best.count - best.values.shape[1])
    values, pictures, places = (
        F.pad(t.clone().cpu()[chosen], (0, lacking)) for t in (best.values, best.pictures, best.places)
    )
    there = values > 0
    places = torch.where(there, places, 0)
    at = torch.stack([places // best.shape[2], places % best.shape[2]], -1)
    ends = [field.rows[chosen[:, None], at[..., 0]], field.columns[chosen[:, None], at[..., 1]]]
    boxes = torch.stack([ends[0][..., 0], ends[1][..., 0], ends[0][..., 1], ends[1][..., 1]], -1)
    return TopPatches(
        chosen, torch.where(there, values, 0), torch.where(there, pictures, NONE), at, boxes,
        best.fired.cpu()[chosen], seen, field, complete,
    )  # fmt: skip


@signature_of(top_patches_result)
def top_patches(*args: Any, **options: Any) -> Float[Tensor, "U k C s t"]:
    """The patches of a data set at which each unit of a layer fires most, cut to what the unit sees.

    One pass over the pictures serves all units of the layer, and only the best are kept: the memory does not
    grow with the number of pictures. A patch is the unit's exact receptive field at its peak
    (``labkit.models.receptive_fields``); what of it lies beyond the border has the grey value ``fill``, and
    so has a patch of a unit that fired in fewer than ``count`` pictures. A unit that never fires has none.
    Where a layer joins branches, units see fields of several sizes: all patches have the largest, and one of
    a unit that sees less lies in its middle with a grey frame.

    ``pictures``: a tensor, an array in memory or on the disk (as ``labkit.models.features`` takes them), a
    stack of scenes, or a folder of photographs, which are cut to ``side`` (default: ``model.input_size``).
    ``units``: the channels wanted, one or several; None for all. ``count``: patches a unit.
    ``per_picture``: how many of them a picture may give. ``fill``: 0 to 1. The result
    form says which picture, where, how strongly.

    Unit: picture value. Raises KeyError for a wrong layer; ValueError for one that gives no map, for one
    whose receptive field is not known, and for activations that are not finite; IndexError for a unit that
    is not there; FileNotFoundError for a folder without pictures; RuntimeError for a model in training mode.

    Labels: post hoc, specific to networks with feature maps, global.
    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4 (the top
    nine of a feature map); Zhou et al. 2015, "Object Detectors Emerge in Deep Scene CNNs", estimate what a
    unit sees by occlusion, while here it is the box that it can see at all.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()
    >>> top_patches(net, torch.rand(5, 3, 8, 8), "1", units=[0, 2], count=2).shape
    torch.Size([2, 2, 3, 3, 3])
    """
    found = top_patches_result(*args, **options)
    pictures = args[1] if len(args) > 1 else options["pictures"]
    model = args[0] if args else options["model"]
    return crops(model, pictures, found, side=options.get("side"), fill=options.get("fill", 0.5))
