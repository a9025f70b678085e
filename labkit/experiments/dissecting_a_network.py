"""Dissecting a network, lab 32: units and concepts (C3), rotations (C4), kinds by layer (C5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.rotations import rotation_power
from labkit.core.hooks import edit
from labkit.core.statistics import Interval, bootstrap
from labkit.data import MiniBroden, SceneStack
from labkit.evaluation import twin
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.dissected_layers import (
    BAU,
    DETECTS,
    KINDS,
    Found,
    Interpretability,
    dissected,
    interpretability,
)
from labkit.experiments.measures import Measure, Result
from labkit.models.features import batches

__all__ = ["LAYERS", "Interpretability", "c3", "c4", "c5", "interpretability", "rotation_of", "scenes"]

LAB = "32_dissecting_a_network"
LAYERS = {
    "conv1": "features.2", "conv2": "features.5", "conv3": "features.9", "conv4": "features.13",
    "conv5": "features.16", "conv6": "features.19",
}  # fmt: skip
DRAWS = (0, 1, 2)  # of a twin
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
Own = Callable[..., Any]


def scenes(bench: Bench, n: int, lesson: int) -> SceneStack:
    """The first ``n`` test scenes with their label maps, fewer in class and quick mode."""
    return MiniBroden(bench.count(n, lesson=lesson, few=12), "test").stack()


def _twins(bench: Bench, stack: SceneStack, draws: Sequence[int]) -> list[nn.Module]:
    return [twin(bench.network(bench.seeds[0]), stack.images, seed=draw) for draw in draws]


def _range(values: Sequence[float]) -> Interval:
    return Interval(sum(values) / len(values), min(values), max(values))


# ---- C3: units align with concepts


@experiment(
    "C3", LAB, iou_and_ceiling="concepts.iou_and_ceiling", unique_detectors="concepts.unique_detectors"
)
def c3(bench: Bench, *, iou_and_ceiling: Own, unique_detectors: Own) -> Result:
    """Do late units detect objects and parts, and does training make it so? Beside the cap and the floor."""
    iou_and_ceiling(torch.ones(1, 2), torch.ones(1), torch.ones(2))  # unwritten: say so at once
    unique_detectors(torch.ones(2, 2), 0.5)
    stack, own = scenes(bench, 1000, 120), {"iou_and_ceiling": iou_and_ceiling}
    kinds, random = ("object", "part"), _twins(bench, stack, DRAWS if bench.mode == "full" else DRAWS[:1])
    measures, show = [], {}
    for title in ("conv5", "conv6"):
        trained = [dissected(bench.network(name), stack, LAYERS[title], **own) for name in bench.seeds]  # type: ignore[arg-type]
        untrained = [dissected(net, stack, LAYERS[title], **own) for net in random]  # type: ignore[arg-type]

        def count(each: Sequence[Found], *kinds: str, **how: Any) -> list[float]:
            return [float(len(one.unique(unique_detectors, *kinds, **how))) for one in each]

        twins = count(untrained, *kinds)
        level = 2 * sum(twins) / len(twins)
        measures.append(
            Measure(
                f"unique detectors of objects and parts above an IoU of {DETECTS:.2f}, {title}, minus twice "
                "the twin's",
                _range([one - level for one in count(trained, *kinds)]), ">= 0 (lower bound)",
                control={
                    "labels of other pictures": _range(count(trained, *kinds, other=True)),
                    "unique": _range(count(trained, *kinds)), "twin": _range(twins),
                    "cap": _range([float(one.cap(*kinds)) for one in trained]),
                    "units": _range([float(one.units(*kinds)) for one in trained]),
                    "twin's units": _range([float(one.units(*kinds)) for one in untrained]),
                    "share of the ceiling": _range([one.share(*kinds) for one in trained]),
                    "twin's share": _range([one.share(*kinds) for one in untrained]),
                    "other pictures' share": _range([one.share(*kinds, other=True) for one in trained]),
                },
                must={"labels of other pictures": "<= 1 (upper bound)"},
            )
        )  # fmt: skip
        show[title] = {
            f"{iou:.2f}": {
                "trained": count(trained, iou=iou), "twin": count(untrained, iou=iou),
                "other pictures": count(trained, iou=iou, other=True),
                "cap": [float(one.cap(iou=iou)) for one in trained],
            }
            for iou in (BAU, DETECTS)
        }  # fmt: skip
    found = show["conv6"][f"{BAU:.2f}"]
    said = ", ".join(f"{name} {sum(found[name]) / len(found[name]):.0f}" for name in found)
    return Result(
        tuple(measures), notes=(f"all kinds at Bau's {BAU}, conv6, unique on average: {said}",), show=show
    )


# ---- C4: rotations


def rotation_of(rotate_units: Own, units: int, seed: int) -> Float[Tensor, "K K"]:
    """The matrix of a student's rotation for numbers by lot, from what it does to each unit alone."""
    gaussian = torch.randn(units, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    alone = torch.eye(units, dtype=torch.float64)[:, :, None, None]
    return rotate_units(alone, gaussian)[:, :, 0, 0].T


def _same_logits(model: nn.Module, pictures: ndarray, layer: str, turn: Tensor) -> float:
    """How far the logits are when a layer is turned and the next one turns it back."""
    apart = 0.0
    turned: Own = lambda x: torch.einsum("jk,bkhw->bjhw", turn.to(x), x)  # noqa: E731
    back: Own = lambda x: torch.einsum("kj,bkhw->bjhw", turn.to(x), turned(x))  # noqa: E731
    for part in batches(pictures):
        with torch.no_grad():
            before = model(part)
            with edit(model, {layer: back}):
                apart = max(apart, float((model(part) - before).abs().max()))
    return apart


@experiment(
    "C4", LAB, rotate_units="concepts.rotate_units", iou_and_ceiling="concepts.iou_and_ceiling",
    unique_detectors="concepts.unique_detectors",
)  # fmt: skip
def c4(bench: Bench, *, rotate_units: Own, iou_and_ceiling: Own, unique_detectors: Own) -> Result:
    """Is a layer as interpretable in any other basis, as its use by the next layer would allow?"""
    rotation_of(rotate_units, 2, 0)  # unwritten: say so at once
    iou_and_ceiling(torch.ones(1, 2), torch.ones(1), torch.ones(2))
    unique_detectors(torch.ones(2, 2), 0.5)
    stack, layer = scenes(bench, 150, 60), LAYERS["conv4"]
    turns = range({"quick": 1, "class": 2, "full": 5}[bench.mode])
    draws = DRAWS if bench.mode == "full" else DRAWS[:1]

    def found(
        model: nn.Module, rotation: Tensor | None = None, where: str = layer, of: SceneStack = stack
    ) -> Found:
        given: dict[str, Any] = {"rotation": rotation, "iou_and_ceiling": iou_and_ceiling}
        return dissected(model, of, where, floor=False, **given)

    def lost(model: nn.Module) -> tuple[Tensor, Found, list[Found]]:
        plain = found(model)
        turned = [found(model, rotation_of(rotate_units, len(plain.iou), seed)) for seed in turns]
        return plain.mean_best - torch.stack([one.mean_best for one in turned]).mean(0), plain, turned

    each = [lost(bench.network(name)) for name in bench.seeds]
    random = [lost(model) for model in _twins(bench, stack, draws)]
    net, (_, plain, _) = bench.network(bench.seeds[0]), each[0]
    width = len(plain.iou)
    order = torch.randperm(width, generator=torch.Generator().manual_seed(0))
    shuffled = found(net, torch.eye(width, dtype=torch.float64)[order])
    permuted = float((shuffled.mean_best - plain.mean_best[order]).abs().max())
    gaps = [bootstrap(gap.numpy()) for gap, *_ in each]
    apart = _same_logits(net, stack.images[:64], layer, rotation_of(rotate_units, width, 0))

    def unique(all_: Sequence[Found]) -> Interval:
        return _range([float(len(one.unique(unique_detectors))) for one in all_])

    return Result(
        (
            Measure(
                "mean best IoU of conv4's units minus that of turned ones", extent(gaps),
                "> 0 (lower bound)",
                control={
                    "twin": bootstrap(torch.cat([gap for gap, *_ in random]).numpy()),
                    "permutation": Interval(permuted, permuted, permuted),
                    "unique, units": unique([one for _, one, _ in each]),
                    "unique, turned": unique([one for _, _, turned in each for one in turned]),
                    "mean best IoU": _range([float(one.mean_best.mean()) for _, one, _ in each]),
                    "mean best IoU, twin": _range([float(one.mean_best.mean()) for _, one, _ in random]),
                },
                must={"twin": "within 0.005", "permutation": "within 1e-6"},
            ),
            Measure(
                "the same, the smallest of the networks", _range([gap.value for gap in gaps]),
                ">= 0.01 (lower bound)",
            ),
            Measure(
                "largest change of a logit when a layer is turned and turned back",
                Interval(apart, apart, apart), "<= 1e-4",
            ),
        ),
        show={
            "powers": POWERS if not bench.quick else POWERS[::4],
            "curves": _strengths(bench, found, rotate_units),
        },
    )  # fmt: skip


def _strengths(bench: Bench, found: Own, rotate_units: Own) -> dict[str, list[float]]:
    """The mean best IoU of each layer as it is turned further and further, on the first network."""
    net, few, curves = bench.network(bench.seeds[0]), scenes(bench, 100, 40), dict[str, list[float]]()
    chosen = LAYERS if bench.mode == "full" else {title: LAYERS[title] for title in ("conv4", "conv6")}
    powers = (POWERS[0], POWERS[-1]) if bench.quick else POWERS
    for title, where in chosen.items():
        first = found(net, None, where, few).mean_best
        turn = rotation_of(rotate_units, len(first), 0)
        turned = [found(net, rotation_power(turn, power), where, few) for power in powers[1:]]
        rest = [one.mean_best for one in turned]
        curves[title] = [float(best.mean()) for best in (first, *rest)]
    return curves


# ---- C5: kinds by layer


def _slope(values: Sequence[float]) -> float:
    """The rise a layer of a straight line through the values."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


@experiment("C5", LAB, iou_and_ceiling="concepts.iou_and_ceiling")
def c5(bench: Bench, *, iou_and_ceiling: Own) -> Result:
    """Do early layers hold colour, and late ones parts and objects? Slopes over six layers by kind."""
    iou_and_ceiling(torch.ones(1, 2), torch.ones(1), torch.ones(2))  # unwritten: say so at once
    stack = scenes(bench, 150, 60)

    def curves(model: nn.Module, other: bool = False) -> dict[str, list[float]]:
        each = [dissected(model, stack, layer, iou_and_ceiling=iou_and_ceiling) for layer in LAYERS.values()]
        rows = {kind: [one.share(kind) for one in each] for kind in KINDS}
        return rows | {f"{kind}, other": [one.share(kind, other=True) for one in each] for kind in KINDS}

    seeds = bench.seeds if bench.mode == "full" else bench.seeds[:1]
    trained = [curves(bench.network(name)) for name in seeds]
    random = [curves(model) for model in _twins(bench, stack, DRAWS if bench.mode == "full" else DRAWS[:1])]
    measures = []
    for kind, threshold in (
        ("object", "> 0 (lower bound)"), ("part", "> 0 (lower bound)"), ("color", "< 0 (upper bound)")
    ):  # fmt: skip
        own = [_slope(rows[kind]) for rows in trained]
        twins = [_slope(rows[kind]) for rows in random]
        level = sum(twins) / len(twins)
        flat = [one / (sum(own) / len(own) or 1e-9) for one in twins]
        measures.append(
            Measure(
                f"rise of the share of the ceiling from layer to layer, {kind}, minus the twin's",
                _range([one - level for one in own]), threshold,
                control={
                    "twin's rise over the trained one's": _range(flat), "trained": _range(own),
                    "twin": _range(twins),
                    "labels of other pictures": _range([_slope(rows[f"{kind}, other"]) for rows in trained]),
                },
                must={"twin's rise over the trained one's": "within 0.25"},
            )
        )  # fmt: skip
    ground = curves(bench.network("minivgg-scenes"))
    return Result(
        tuple(measures),
        show={
            "layers": list(LAYERS), "trained": trained[0], "twin": random[0],
            "named by the ground": {kind: ground[kind] for kind in KINDS},
        },
    )  # fmt: skip
