"""What makes units interpretable, lab 32 (C6): one thing about a network changed, and its accuracy beside.

Bau et al. 2017, sections 3.3 to 3.6, compare architectures, supervision, training length, width, dropout,
batch norm, initialisation and fine-tuning; each of their comparisons is one network, and so is a point here.
Only two pairs, named before, are judged: three trainings each, against the spread of five of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from labkit.core.statistics import Interval, bootstrap
from labkit.data import SceneStack
from labkit.evaluation import rank_correlation, twin
from labkit.experiments.bench import SEEDS, Bench, experiment
from labkit.experiments.dissected_layers import Found, dissected
from labkit.experiments.dissecting_a_network import LAB, scenes
from labkit.experiments.measures import Measure, Result
from labkit.experiments.net2vec_scenes import last_layer

__all__ = ["FACTORS", "PAIRS", "PLAIN", "UNITS", "Point", "apart", "c6", "point"]

PLAIN = (*SEEDS, "minivgg-4", "minivgg-5")  # one configuration, five trainings: their spread is the yardstick
PAIRS = {"without batch norm": "minivgg-unnormed", "with dropout": "minivgg-dropout"}
WIDE = "minivgg-wide"
UNITS = 112  # the fewest that one of these networks has in its last feature map: what all are compared by
FACTORS = {
    "initialisation": PLAIN,
    "batch norm, dropout": tuple(PAIRS.values()),
    "architecture": ("miniresnet", "minivgg-11"),
    "width": (WIDE,),
    "training length": tuple(f"minivgg-4-after-{epoch}" for epoch in (1, 2, 4)),
    "task": ("minivgg-scenes", "minivgg-finetuned"),
    "supervision": ("selfsup-rotation", "selfsup-colour", "supervised-short"),
}
TWIN = "twin of "
TRAINED = 0.9  # accuracy from which a network counts as trained to the end
Own = Callable[..., Any]


class Point(NamedTuple):
    """A network by its last feature map: mean best IoU as a ``share`` of its ceiling over testable labels;
    the ``floor``, the same with label maps of other pictures; how many ``units``; what ``UNITS`` of them,
    drawn by lot, reach (``drawn``); and the ``accuracy`` on its card, None where it names no objects."""

    share: float
    floor: float
    units: int
    drawn: float
    accuracy: float | None


def _drawn(found: Found, units: int, draws: int = 20) -> float:
    """The share of the ceiling that ``units`` of a layer's units reach, the mean of ``draws``."""
    if len(found.iou) <= units:
        return found.share()
    generator, shares = torch.Generator().manual_seed(0), []
    for _ in range(draws):
        rows = torch.randperm(len(found.iou), generator=generator)[:units]
        shares.append(found._replace(iou=found.iou[rows], ceiling=found.ceiling[rows]).share())
    return sum(shares) / draws


def point(model: nn.Module, stack: SceneStack, *, named: bool = True, **own: Own) -> Point:
    """Where a network stands by its last feature map. ``named``: whether it has the accuracy that its card
    tells (a twin has not); ``own``: the student's ``iou_and_ceiling``."""
    found, card = dissected(model, stack, last_layer(model), **own), getattr(model, "card", {})
    right = card["accuracy"]["clean test"] if named and card.get("planted") == "object" else None
    return Point(found.share(), found.share(other=True), len(found.iou), _drawn(found, UNITS), right)


def apart(first: ndarray, second: ndarray, spread: ndarray) -> Interval:
    """How far pairs of trainings differ in two measures and in opposite directions, in spreads.

    ``first``, ``second``: (P, 2), a row a training: interpretability and accuracy; ``spread``: of each. For
    each pair the smaller of the two differences over its spread, below 0 where both go the same way; mean,
    smallest and largest of the pairs.

    >>> here, there = np.array([[0.3, 0.9]]), np.array([[0.2, 0.95]])
    >>> round(apart(here, there, np.array([0.05, 0.01])).value, 3)
    2.0
    """
    steps = (second - first) / spread
    sizes = np.abs(steps).min(1) * np.where(steps.prod(1) <= 0, 1, -1)
    return _over(sizes)


def _over(values: Sequence[float] | ndarray) -> Interval:
    return Interval(float(np.mean(values)), float(min(values)), float(max(values)))


def _ranks(points: Sequence[Point]) -> Interval:
    """Rank correlation of what ``UNITS`` units reach and accuracy, with its interval over the networks."""
    rows = np.array([[p.drawn, p.accuracy] for p in points if p.accuracy is not None])

    def correlation(some: ndarray) -> float:
        pair = torch.from_numpy(some.T)[:, None, None]
        return float(rank_correlation(pair[0], pair[1])[0].nan_to_num())

    return bootstrap(rows, correlation, repeats=500)


def _rows(points: Sequence[Point]) -> ndarray:
    """Interpretability and accuracy, a row a network: (P, 2)."""
    return np.array([[p.share, p.accuracy] for p in points])


@experiment("C6", LAB, iou_and_ceiling="concepts.iou_and_ceiling")
def c6(bench: Bench, *, iou_and_ceiling: Own) -> Result:
    """Is what classifies better also more interpretable, and what about a network decides?"""
    iou_and_ceiling(torch.ones(1, 2), torch.ones(1), torch.ones(2))  # unwritten: say so at once
    stack, seeds = scenes(bench, 400, 40), 3 if bench.mode == "full" else 1
    groups = {factor: names[: 1 if bench.quick else None] for factor, names in FACTORS.items()}
    points: dict[str, Point] = {}

    def at(name: str) -> Point:
        if name not in points:
            net, blank = bench.network(name.removeprefix(TWIN)), name.startswith(TWIN)
            net = twin(net, stack.images) if blank else net
            points[name] = point(net, stack, named=not blank, iou_and_ceiling=iou_and_ceiling)
        return points[name]

    rows = {factor: [at(name) for name in names] for factor, names in groups.items()}
    five, plain, blank = rows["initialisation"], _rows(rows["initialisation"]), at(TWIN + PLAIN[0])
    spread = np.maximum(np.ptp(plain, 0), 1e-3)  # a thousand pictures tell no smaller difference
    beside = {
        "five seeds": _over(plain[:, 0]),
        f"five seeds, {UNITS} of their units": _over([p.drawn for p in five]),
        "five seeds, accuracy": _over(plain[:, 1]),
        "twin": _over([blank.share]),
        "wide network": _over([at(WIDE).share]),
        f"wide network, {UNITS} of its units": _over([at(WIDE).drawn]),
        "rank correlation with accuracy, all": _ranks(list(points.values())),
        f"rank correlation from an accuracy of {TRAINED}": _ranks(
            [p for p in points.values() if (p.accuracy or 0) >= TRAINED]
        ),
    }
    measures = []
    for what, name in PAIRS.items():
        others = [at(name + (f"-{k + 1}" if k else "")) for k in range(seeds)]
        here, there = plain[:seeds], _rows(others)
        floors = [_rows([p._replace(share=p.floor) for p in each]) for each in (five[:seeds], others)]
        random = at(TWIN + name).share - blank.share
        measures.append(
            Measure(
                f"{what}: how far share of the ceiling and accuracy differ, in opposite directions, in "
                "spreads of seeds",
                apart(here, there, spread), "> 1 (lower bound)",
                control={
                    "with labels of other pictures": apart(*floors, spread),
                    "difference of the share": _over(there[:, 0] - here[:, 0]),
                    "difference of the untrained twins' share": _over([random]),
                    "difference of the accuracy": _over(there[:, 1] - here[:, 1]),
                    **(beside if not measures else {}),
                },
                must={"with labels of other pictures": "<= 1 (upper bound)"},
            )
        )  # fmt: skip
    return Result(
        tuple(measures),
        notes=(f"{len(points)} networks by their last feature map; but for the pairs one training a point",),
        show={"points": points, "factors": groups},
    )
