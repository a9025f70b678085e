"""What lab 32 draws beside its claims: a layer with its label maps, strips of pictures, a table of units.

A function that takes a student's calls it on something tiny before it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.data import MiniBroden, sample_photos
from labkit.experiments.bench import Bench
from labkit.experiments.dissected_layers import DETECTS, QUANTILE
from labkit.experiments.dissecting_a_network import LAYERS
from labkit.experiments.training_factors import UNITS, Point
from labkit.models import features, last_spatial, layer_shapes
from labkit.models.features import batches

Own = Callable[..., Any]
KINDS = ("object", "part")
DIM = 0.25  # of a picture's brightness where the unit is below its threshold


class World(NamedTuple):
    """A layer's ``activations`` of all ``pictures``, with a label map of each kind and the labels' names;
    photographs have none."""

    pictures: ndarray | Tensor
    activations: Float[Tensor, "N K h w"]
    maps: Mapping[str, Int[Tensor, "N H W"]]
    names: Mapping[str, Sequence[str]]

    @property
    def side(self) -> int:
        """The pictures' side in pixels."""
        return int(next(batches(self.pictures[:1])).shape[-1])


def world_of(bench: Bench, model: nn.Module, layer: str = LAYERS["conv6"]) -> World:
    """Test scenes with their truth, or the guest's photographs, and what a late layer says of them."""
    if bench.guest is not None:
        pictures: Any = torch.stack([p.image for p in sample_photos(int(model.input_size))])  # type: ignore[arg-type]
        deep = torch.cat([last_spatial(model, part) for part in batches(pictures)])
        return World(pictures, deep, {}, {})
    stack = MiniBroden(bench.count(120, lesson=120, few=24), "test").stack()
    deep = features(model, stack.images, layer, pool=None)
    maps = {kind: torch.from_numpy(stack.maps[kind].astype("int64")) for kind in KINDS}
    return World(stack.images, deep, maps, {kind: MiniBroden.names[kind][1:] for kind in KINDS})


def _unwritten(unit_thresholds: Own, unit_masks: Own) -> None:
    maps = torch.arange(8.0).view(1, 2, 2, 2)
    unit_masks(maps, unit_thresholds(maps, 0.25), 4)


def strips(
    world: World, units: Sequence[int], *, unit_thresholds: Own, unit_masks: Own, count: int = 6,
    quantile: float = QUANTILE,
) -> Float[Tensor, "U k 3 S S"]:  # fmt: skip
    """The pictures at which some units fire most, dark where a unit is below the student's threshold."""
    _unwritten(unit_thresholds, unit_masks)
    chosen = [unit for unit in units if unit < world.activations.shape[1]]
    thresholds, shown = unit_thresholds(world.activations, quantile), []
    for unit in chosen:
        best = world.activations[:, unit].amax((1, 2)).argsort(descending=True)[:count]
        own = world.activations[best, unit : unit + 1]
        masks = unit_masks(own, thresholds[unit : unit + 1], world.side)
        pictures = torch.cat([next(batches(world.pictures[int(i) : int(i) + 1])) for i in best])
        shown.append(pictures * (DIM + (1 - DIM) * masks.float()))
    return torch.stack(shown)


class Table(NamedTuple):
    """Each unit against each label: IoU and its ceiling (K, C)."""

    labels: list[str]
    iou: Float[Tensor, "K C"]
    ceiling: Float[Tensor, "K C"]

    def best(self, count: int = 8) -> list[str]:
        """The units that fit best, a line each: unit, label, IoU, ceiling."""
        return self.of(self.iou.amax(1).argsort(descending=True)[:count].tolist())

    def of(self, units: Sequence[int]) -> list[str]:
        """Some units, a line each: unit, the label it fits best, IoU, ceiling."""
        value, label = self.iou.max(1)
        return [
            f"unit {k:3}: {self.labels[int(label[k])]:18} IoU {float(value[k]):.2f}, at most "
            f"{float(self.ceiling[k, label[k]]):.2f}"
            for k in units
        ]

    def report(self, units: Sequence[int]) -> list[str]:
        """Some units, those that fit best, and what no unit could detect."""
        least = f"no unit could detect: {', '.join(self.untestable())}"
        return [*self.of(units), "the best of all:", *self.best(6), least]

    def untestable(self, threshold: float = DETECTS) -> list[str]:
        """The labels whose best ceiling is below 1.5 times the threshold: no unit could detect them."""
        return [
            name for name, top in zip(self.labels, self.ceiling.amax(0), strict=True) if top < 1.5 * threshold
        ]


def table_of(
    world: World, *, unit_thresholds: Own, unit_masks: Own, count_pixels: Own, iou_and_ceiling: Own,
    quantile: float = QUANTILE, batch: int = 4,
) -> Table:  # fmt: skip
    """Dissect the layer with the student's four functions, a few pictures at a time: counts add up."""
    _unwritten(unit_thresholds, unit_masks)
    little = torch.ones(1, 1, 2, 2, dtype=torch.bool), torch.ones(1, 2, 2, dtype=torch.long)
    iou_and_ceiling(*count_pixels(*little, 1))
    thresholds = unit_thresholds(world.activations, quantile)
    sums: dict[str, Any] = {}
    with working("dissecting", len(world.activations), "picture") as work:
        for first in range(0, len(world.activations), batch):
            rows = slice(first, first + batch)
            masks = unit_masks(world.activations[rows], thresholds, world.side)
            for kind, labels in world.maps.items():
                own = count_pixels(masks, labels[rows], len(world.names[kind]))
                before = sums.get(kind)
                sums[kind] = own if before is None else [a + b for a, b in zip(before, own, strict=True)]
            work.at(min(first + batch, len(world.activations)))
    tables = [iou_and_ceiling(*found) for found in sums.values()]
    names = [f"{name} ({kind})" for kind in world.maps for name in world.names[kind]]
    iou, ceiling = (torch.cat(part, 1) for part in zip(*tables, strict=True))
    return Table(names, iou, ceiling)


def counts(show: Mapping[str, Any]) -> list[str]:
    """What C3 draws, in lines: unique detectors of all kinds by layer and threshold, on average."""
    lines = []
    for layer, table in show.items():
        for iou, rows in table.items():
            said = ", ".join(f"{name} {sum(found) / len(found):.0f}" for name, found in rows.items())
            lines.append(f"{layer}, all kinds, IoU above {iou}: {said}")
    return lines


def rises(show: Mapping[str, Any]) -> dict[str, dict[str, Sequence[float]]]:
    """What C5 draws: of three networks the curves of four kinds over the layers."""
    kinds = ("object", "part", "color", "scene")
    return {
        title: {kind: show[title][kind] for kind in kinds}
        for title in ("trained", "twin", "named by the ground")
    }


def against(show: Mapping[str, Any]) -> dict[str, Any]:
    """What C6 draws, as ``labkit.plots.show_against`` takes it: a point a network; as lines those that name
    no objects, the untrained ones, and the most that labels of other pictures give to any."""
    points: dict[str, Point] = show["points"]
    known = {name: (p.drawn, p.accuracy) for name, p in points.items() if p.accuracy is not None}
    lines = {name: p.drawn for name, p in points.items() if p.accuracy is None}
    lines["labels of other pictures, the most"] = max(p.floor for p in points.values())
    return {
        "points": known, "only_x": lines, "groups": show["factors"], "ylabel": "accuracy", "shares": True,
        "xlabel": f"mean best IoU over its ceiling, of {UNITS} units",
    }  # fmt: skip


def layer_of(model: nn.Module) -> str:
    """The last layer that gives a feature map."""
    side = int(getattr(model, "input_size", None) or 224)
    shapes = layer_shapes(model, torch.zeros(1, 3, side, side))
    return [name for name, shape in shapes.items() if len(shape) == 4 and max(shape[2:]) > 1][-1]


def explored(world: World, model: nn.Module, count: int) -> dict[str, Any]:
    """How an explorer takes the first pictures of the world: last layer, two quantiles, label maps if any."""
    given: dict[str, Any] = {"layers": layer_of(model), "quantiles": (0.005, 0.02)}
    maps = {kind: values[:count].numpy() for kind, values in world.maps.items()}
    return given | ({"maps": maps, "names": world.names} if maps else {})
