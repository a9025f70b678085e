"""Filters and activations, lab 11: do the patches that a unit fires at most share a concept (V5)?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.core.progress import working
from labkit.core.statistics import Interval, bootstrap
from labkit.data import MiniBroden, SceneStack
from labkit.evaluation.controls import twin
from labkit.experiments.bench import Bench, experiment
from labkit.experiments.measures import Measure, Result
from labkit.models import features, receptive_fields, record
from labkit.models.features import batches

LAB = "11_filters_and_activations"
LAYERS = {"conv3": "features.9", "conv5": "features.16", "conv6": "features.19"}
COUNT = 9  # patches a unit
KINDS = ("object", "part")
BATCH = 50


class Peaks(NamedTuple):
    """Where the units of a layer fire most, (U, 9) each: the picture's number, and the row and column of
    the pixel in the middle of what the unit sees there."""

    pictures: Int[Tensor, "U 9"]
    rows: Int[Tensor, "U 9"]
    columns: Int[Tensor, "U 9"]


def stacked(bench: Bench) -> SceneStack:
    """The test scenes that patches are taken from, with the truth of every pixel."""
    return MiniBroden(bench.count(1000, lesson=200, few=24), "test").stack()


def heard(
    model: nn.Module, layer: str, pictures: Tensor | ndarray, batch: int = BATCH
) -> Iterator[Float[Tensor, "B K h w"]]:
    """What a layer gives for many pictures, a batch at a time, with a bar."""
    with working("listening", len(pictures), "picture") as work:
        for part in batches(pictures, batch):
            with torch.no_grad(), record(model, layer) as kept:
                model(part)
            yield kept[layer]
            work.at(work.done + len(part))


def peaks(
    model: nn.Module,
    layers: Sequence[str],
    scenes: SceneStack,
    *,
    strongest: Callable[..., tuple[Tensor, Tensor, Tensor]],
) -> list[Peaks]:
    """The strongest nine places of every unit of some layers, no two in one picture, by the exercise."""
    side, found = scenes.images.shape[1], []
    fields = receptive_fields(model, layers, side=side)
    for layer, maps in features(model, scenes.images, layers).items():  # of all layers in one pass
        _, pictures, places = strongest(maps.split(BATCH), COUNT)
        ends = [fields[layer].rows[0], fields[layer].columns[0]]  # all channels of these networks see alike
        rows, columns = (((e[:, 0] + e[:, 1]) // 2).clamp(0, side - 1) for e in ends)
        found.append(Peaks(pictures, rows[places // len(columns)], columns[places % len(columns)]))
    return found


def under(scenes: SceneStack, kind: str, at: Peaks) -> Int[Tensor, "U 9"]:
    """What a label map says at the peaks' pixels; 0 for none."""
    labels = scenes.maps[kind][at.pictures.numpy(), at.rows.numpy(), at.columns.numpy()]
    return torch.from_numpy(labels.astype("int64"))


def shared(scenes: SceneStack, at: Peaks, commonest: Callable[..., Tensor]) -> dict[str, Float[Tensor, " U"]]:
    """For each unit the share of its commonest object or part, whichever is larger, and of its colour."""
    concept = torch.stack([commonest(under(scenes, kind, at)) for kind in KINDS]).amax(0)
    return {"concept": concept, "colour": commonest(under(scenes, "color", at))}


def elsewhere(at: Peaks, count: int, generator: torch.Generator) -> Peaks:
    """The same places in other pictures."""
    moved = (at.pictures + torch.randint(1, count, at.pictures.shape, generator=generator)) % count
    return at._replace(pictures=moved)


def at_random(scenes: SceneStack, draws: int, generator: torch.Generator) -> Peaks:
    """Nine random object pixels of nine random pictures, so many times."""
    chosen = torch.randint(len(scenes), (draws, COUNT), generator=generator)
    pixels = torch.zeros(draws, COUNT, 2, dtype=torch.long)
    for draw in range(draws):
        for k in range(COUNT):
            where = torch.zeros(0, 2)
            while not len(where):  # a scene may hide its object
                where = torch.from_numpy(scenes.maps["object"][int(chosen[draw, k])] > 0).nonzero()
                if not len(where):
                    chosen[draw, k] = torch.randint(len(scenes), (), generator=generator)
            pixels[draw, k] = where[torch.randint(len(where), (), generator=generator)]
    return Peaks(chosen, pixels[..., 0], pixels[..., 1])


def spread(values: list[float]) -> Interval:
    """The mean over the seeds between the smallest and the largest: three are no sample."""
    return Interval(sum(values) / len(values), min(values), max(values))


def _levels(levels: dict[str, dict[str, list[float]]], what: str) -> dict[str, Interval]:
    """Layer and network -> the mean share between the seeds' smallest and largest."""
    kinds = ("trained", "twin")
    return {f"{name}, {kind}": spread(levels[name][f"{what}, {kind}"]) for name in LAYERS for kind in kinds}


@experiment("V5", LAB, strongest="visualization.strongest", commonest="visualization.commonest")
def v5(
    bench: Bench,
    *,
    strongest: Callable[..., tuple[Tensor, Tensor, Tensor]],
    commonest: Callable[..., Tensor],
) -> Result:
    """Does the commonest object or part under a unit's nine peaks have a larger share than in the twin?"""
    strongest([torch.ones(2, 1, 1, 1)], 1)  # unwritten: say so at once
    commonest(torch.ones(1, 2, dtype=torch.long))
    scenes, generator = stacked(bench), torch.Generator().manual_seed(0)
    draws = range(1 if bench.quick else 3)
    gains: dict[str, dict[str, list[float]]] = {name: {} for name in LAYERS}
    levels: dict[str, dict[str, list[float]]] = {name: {} for name in LAYERS}
    for seed in tqdm(bench.seeds, "networks", leave=False):
        own = bench.network(seed)
        networks = [own, *(twin(own, scenes.images, seed=draw) for draw in draws)]
        by_network = [
            peaks(network, list(LAYERS.values()), scenes, strongest=strongest) for network in networks
        ]
        for name, *at in zip(LAYERS, *by_network, strict=True):
            here = [shared(scenes, one, commonest) for one in at]
            there = [shared(scenes, elsewhere(one, len(scenes), generator), commonest) for one in at]
            wanted = (("concept", here, "concept"), ("colour", here, "colour"), ("places", there, "concept"))
            for what, found, key in wanted:
                trained, others = float(found[0][key].mean()), torch.cat([f[key] for f in found[1:]])
                gains[name].setdefault(what, []).append(trained - float(others.mean()))
                levels[name].setdefault(f"{what}, trained", []).append(trained)
                levels[name].setdefault(f"{what}, twin", []).append(float(others.mean()))
    lot = at_random(scenes, bench.count(300, lesson=100), generator)
    floor = bootstrap(shared(scenes, lot, commonest)["concept"].numpy())
    return Result(
        tuple(
            Measure(
                f"{name}: share of the commonest object or part under nine peaks, trained minus twin",
                spread(gains[name]["concept"]), ">= 0.15 (lower bound)",
                control={
                    "the same places in other pictures": spread(gains[name]["places"]),
                    "the commonest colour": spread(gains[name]["colour"]),
                    "share, trained": spread(levels[name]["concept, trained"]),
                    "share, twin": spread(levels[name]["concept, twin"]),
                    "share, nine random object pixels": floor,
                },
                must={"the same places in other pictures": "< 0.15 (upper bound)"},
            )
            for name in ("conv5", "conv6")
        ),
        notes=(
            f"conv3, not judged: {spread(gains['conv3']['concept'])}, its colours "
            f"{spread(gains['conv3']['colour'])} (smallest and largest of the networks)",
        ),
        show={
            "share": {
                **_levels(levels, "concept"),
                "random object pixels": floor,
            },
            "colour": _levels(levels, "colour"),
        },
    )  # fmt: skip
