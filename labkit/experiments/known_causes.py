"""Causes known by re-rendering, lab 25: the weather (A9), one of two objects (A17), a hidden group (A18)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.attribution import METHODS
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import Scene, gather, item, replace
from labkit.evaluation import (
    accuracy_by_group,
    area_share,
    average_image,
    centre_map,
    edge_map,
    energy_inside,
    falsification,
    random_map,
)
from labkit.experiments.bench import Bench, answers, experiment
from labkit.experiments.can_you_trust_a_heatmap import THREE, in_batches
from labkit.experiments.measures import Measure, Result

LAB = "25_can_you_trust_a_heatmap"
SOME: dict[str, dict[str, Any]] = {  # the methods that are held to a prediction
    "saliency": {}, "smooth_grad": {}, "integrated_gradients": {"tolerance": 10.0}, "guided_backprop": {},
    "grad_cam": {}, "occlusion": {"window": 24, "stride": 8}, "deep_shap": {},
}  # fmt: skip


# ---- a cause without a place


@experiment("A9", LAB)
def a9(bench: Bench) -> Result:
    """The network that says tank under cloud: re-rendering shows the weather; does a map of the sky?

    Beside it, an honest network's flips, and how far the maps of two honest networks differ on the sky.
    """
    cloudy, honest, second = (bench.network(n) for n in ("minivgg-weather", "minivgg", "minivgg-2"))
    tanks = bench.scenes(100, kind="tank", faults=("weather",), lesson=30)
    tank, images = int(tanks.labels[0]), tanks.images
    sunny = gather(replace(s, weather="sunny") for s in tanks.scenes).images
    gone = gather(replace(s, without=1) for s in tanks.scenes).images

    def flips(network: nn.Module, changed: Tensor) -> Interval:
        named = answers(network, images) == tank
        return share((answers(network, changed) != tank)[named].numpy())

    measures = [
        Measure(
            what, flips(cloudy, changed), threshold, control={"the honest network": flips(honest, changed)}
        )
        for what, changed, threshold in (
            ("another weather flips", sunny, ">= 0.6"),
            ("removing the tank flips", gone, "< 0.2"),
        )
    ]
    high = torch.arange(128)[None, :, None] < 32
    places = {"sky": ~tanks.masks & high, "ground": ~tanks.masks & ~high, "tank": tanks.masks}
    shares, moved, seed = {}, {}, {}
    for name, method in THREE.items():
        maps = [method(network, images, tank) for network in (cloudy, honest, second)]
        for place, where in places.items():
            told, plain, other = ((energy_inside(m, where) / area_share(where)).nan_to_num(1.0) for m in maps)
            key = f"{name}: {place}"
            shares[key], moved[key] = bootstrap(told.numpy()), bootstrap((told - plain).numpy())
            seed[key] = bootstrap((other - plain).numpy())
    measures += [
        Measure(
            f"{name}: energy on the sky over its area share, weather network minus honest network",
            moved[f"{name}: sky"], "< 0.3 (upper bound)",
            control={
                "another honest network minus that one": seed[f"{name}: sky"],
                "on the tank instead": moved[f"{name}: tank"],
            },
        )
        for name in THREE
    ]  # fmt: skip
    return Result(tuple(measures), show={"shares": shares, "moved": moved})


# ---- predict, then re-render


@experiment("A17", LAB)
def a17(bench: Bench) -> Result:
    """Does a map name the object of two whose loss costs the network more? Blind maps are asked as well.

    A loss is that beyond a control: the same outline, moved to where no object is, filled with background.
    """
    model, x, named, parts, without, control = without_each(bench)

    def held(maps: Tensor) -> Interval:
        return share(falsification(maps, parts, without, control).right.numpy())

    judged = {}
    for name in ("saliency", "grad_cam") if bench.quick else SOME:
        judged[name] = held(in_batches(partial(METHODS[name].function, **SOME[name]), model, x, named))
    blind = {"the edges": held(edge_map(x)), "the centre": held(centre_map(x)), "chance": held(random_map(x))}
    best = max(judged, key=lambda name: judged[name].value)
    return Result(
        (Measure("right predictions, best method", judged[best], ">= 0.8", control=blind),),
        notes=(f"best: {best}",),
        show={"right": judged | blind},
    )


class WithoutEach(NamedTuple):
    """Scenes of two objects: the network, pictures, what it ``named``, the pixels of each of the ``parts``;
    its score ``without`` each, and without an equal outline where none is, the ``control``."""

    model: nn.Module
    images: Float[Tensor, "N 3 H W"]
    named: Int[Tensor, " N"]
    parts: Bool[Tensor, "N 2 H W"]
    without: Float[Tensor, "N 2"]
    control: Float[Tensor, "N 2"]


def without_each(bench: Bench) -> WithoutEach:
    """The scenes of A17 in which both objects are seen, drawn again without the one and without the other."""
    pairs = bench.scenes(100, objects=2, lesson=16)
    parts = torch.stack([torch.stack([item(s)["instance"] == k for k in (1, 2)]) for s in pairs.scenes])
    keep = parts.flatten(2).any(2).all(1).nonzero()[:, 0]
    model, x, parts = bench.network("minivgg"), pairs.images[keep], parts[keep]
    named = answers(model, x)
    scenes = [pairs.scenes[i] for i in keep.tolist()]
    return WithoutEach(model, x, named, parts, *_losses(model, x, named, parts, scenes))


def _losses(
    model: nn.Module, images: Tensor, named: Tensor, parts: Bool[Tensor, "N 2 H W"], scenes: list[Scene]
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2"]]:
    """The score of what the network named, without each object; and without its outline where none is."""

    def score(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            return model(pictures).gather(1, named[:, None])[:, 0]

    gone = [torch.stack([item(replace(s, without=k))["image"] for s in scenes]) for k in (1, 2)]
    empty = gather(replace(replace(s, without=1), without=2) for s in scenes).images
    both = parts.any(1)[:, None]
    moved = torch.stack(
        [parts.roll(step, 3) for step in range(0, 128, 4)]
    )  # each outline, moved sideways ...
    least = (moved & both).flatten(3).sum(3).argmin(0)  # ... to where it covers no object
    place = moved.gather(0, least[None, :, :, None, None].expand(1, *parts.shape))[0] & ~both
    filled = [torch.where(place[:, k, None], empty.flip(3), images) for k in (0, 1)]
    return torch.stack([score(g) for g in gone], 1), torch.stack([score(f) for f in filled], 1)


# ---- what a mean hides


@experiment("A18", LAB, worst_gap="evaluation.worst_gap")
def a18(bench: Bench, *, worst_gap: Callable[..., float]) -> Result:
    """A class that was almost never shown on snow: how far does its accuracy there lie below the mean?

    The honest network is asked about the same pictures.
    """
    worst_gap(*torch.zeros(3, 2, dtype=torch.long))  # unwritten: say so at once
    horses, others = bench.scenes(60, kind="horse"), bench.scenes(120, not_kind="horse")
    sets = {
        f"horses on {ground}": gather(replace(s, ground=ground) for s in horses.scenes)
        for ground in ("snow", "grass")
    } | {"all others": others}
    groups = [name for name, scenes in sets.items() for _ in scenes.labels]
    numbers = torch.tensor([list(sets).index(name) for name in groups])
    images, labels = (torch.cat([getattr(s, what) for s in sets.values()]) for what in ("images", "labels"))

    def gap(name: str) -> tuple[Interval, dict[str, Interval], Tensor]:
        told = answers(bench.network(name), images)
        counted = accuracy_by_group(told, labels, groups)
        worst = counted.table[counted.worst][0]
        ends = counted.mean.value - worst.high, counted.mean.value - worst.low
        table = {str(group): found for group, (found, _) in counted.table.items()}
        return Interval(worst_gap(told, labels, numbers), *ends), {"mean": counted.mean} | table, told

    found, table, told = gap("minivgg-rare")
    worst = min(sets, key=lambda name: table[name].value)
    few = images[:5]
    return Result(
        (
            Measure(
                f"mean minus worst group ({worst})", found, ">= 0.2",
                control={"the honest network": gap("minivgg")[0]},
            ),
        ),
        show={
            "mean": table.pop("mean").value,
            "accuracy": table,
            "pictures": few,
            "told": told[:5],
            "maps": {n: m(bench.network("minivgg-rare"), few, told[:5]) for n, m in THREE.items()},
            "means": average_image(images, groups),
        },
    )  # fmt: skip
