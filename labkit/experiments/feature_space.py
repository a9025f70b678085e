"""The space of features, lab 12: neighbours (V2), t-SNE beside PCA (V3), dimension and DeepMDS (V4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from labkit.core.statistics import Interval, bootstrap
from labkit.data import GROUNDS, MiniBroden, label_of
from labkit.evaluation import (
    colour_features,
    colour_histogram,
    edge_map,
    matched_gaussian,
    neighbor_accuracy,
    random_subspace,
    stress,
    twin,
)
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.models import features
from labkit.models.features import batches
from labkit.visualization import deep_mds_result, intrinsic_dimension_result, tsne

LAB = "12_feature_space"
CONV4, CONV6 = "features.13", "features.19"
FINE, COARSE = 32, 16  # pixels a side, as a picture's own features; places where edges are counted
DRAWS = (0, 1, 2)  # of a twin, of t-SNE
K, LOW, PERPLEXITY = 5, 5, 30.0
CHANCE = 1 / 12
Own = Callable[..., Any]


class Bank(NamedTuple):
    """Scenes as bytes, with the class of each and its ground."""

    pictures: ndarray
    labels: Int[Tensor, " N"]
    grounds: Int[Tensor, " N"]


def bank(bench: Bench, n: int, lesson: int, few: int = 60) -> Bank:
    """The first ``n`` test scenes, fewer in class and quick mode."""
    world = MiniBroden(bench.count(n, lesson=lesson, few=few), "test")
    pictures, labels = world.pictures()
    grounds = [label_of(world.scene(i), "ground") for i in range(len(world))]
    return Bank(pictures, torch.as_tensor(labels), torch.tensor(grounds))


def pooled(bench: Bench, name: str, pictures: ndarray, layer: str = CONV6) -> Float[Tensor, "N D"]:
    """The means of a layer's channels over all places."""
    return features(bench.network(name), pictures, layer, pool="mean")


def of_twin(bench: Bench, name: str, pictures: ndarray, draw: int) -> Float[Tensor, "N D"]:
    """The same of the network's twin."""
    return features(twin(bench.network(name), pictures, seed=draw), pictures, CONV6, pool="mean")


def plain(pictures: ndarray, kind: str) -> Float[Tensor, "N D"]:
    """Features without a network: "pixels", "edges" or "colours"."""
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "pixels": lambda part: colour_features(part, FINE).flatten(1),
        "edges": lambda part: F.adaptive_avg_pool2d(edge_map(part)[:, None], COARSE).flatten(1),
        "colours": colour_histogram,
    }
    return torch.cat([ways[kind](part) for part in batches(pictures)])


# ---- V2: neighbours


@experiment(
    "V2", LAB, nearest_neighbors="visualization.nearest_neighbors",
    precision_at_k="visualization.precision_at_k",
)  # fmt: skip
def v2(bench: Bench, *, nearest_neighbors: Own, precision_at_k: Own) -> Result:
    """Are neighbours in feature space semantic and in pixels not? By class, and the same ones by ground."""
    precision_at_k(nearest_neighbors(torch.eye(3), 1), torch.tensor([0, 1, 0]))  # unwritten: say so at once
    seen = bank(bench, 600, lesson=240)

    def found(rows: Tensor) -> tuple[ndarray, ndarray]:
        near = nearest_neighbors(rows, K)
        return precision_at_k(near, seen.labels).numpy(), precision_at_k(near, seen.grounds).numpy()

    without = {kind: found(plain(seen.pictures, kind)) for kind in ("pixels", "edges", "colours")}
    of_class, of_ground = without["pixels"]
    ratios, gaps, deep, by_ground = [], [], [], []
    for name in bench.seeds:
        own_class, own_ground = found(pooled(bench, name, seen.pictures))
        pairs = torch.tensor([own_class.tolist(), of_class.tolist()]).T.numpy()
        ratios.append(bootstrap(pairs, lambda rows: rows[:, 0].mean() / max(rows[:, 1].mean(), 1e-9)))
        gaps.append(bootstrap(own_ground - of_ground))
        deep.append(bootstrap(own_class))
        by_ground.append(bootstrap(own_ground))
    random = [found(of_twin(bench, bench.seeds[0], seen.pictures, draw)) for draw in DRAWS]
    beside = {kind: tuple(map(bootstrap, both)) for kind, both in without.items()}
    untrained = [extent(bootstrap(both[way]) for both in random) for way in (0, 1)]
    return Result(
        (
            Measure(
                "precision@5 by class, conv6 over pixels", extent(ratios), ">= 4 (lower bound)", unit="times"
            ),
            Measure(
                "precision@5 by class, conv6", extent(deep), f"> {2 * CHANCE:.2f} (lower bound)",
                control={"twin": untrained[0], **{kind: both[0] for kind, both in beside.items()}},
                must={"twin": f"<= {2 * CHANCE:.2f}"},
            ),
            Measure(
                "precision@5 by ground, conv6 minus pixels", extent(gaps), "> 0 (lower bound)",
                control={
                    "conv6": extent(by_ground), "twin": untrained[1],
                    **{kind: both[1] for kind, both in beside.items()},
                },
            ),
        ),
        notes=(f"chance by class {CHANCE:.2f}, by ground {1 / len(GROUNDS):.2f}",),
        show={
            "by class": {"conv6": extent(deep), "twin": untrained[0], **{k: v[0] for k, v in beside.items()}},
            "by ground": {
                "conv6": extent(by_ground), "twin": untrained[1], **{k: v[1] for k, v in beside.items()}
            },
        },
    )  # fmt: skip


# ---- V3: t-SNE beside PCA


@experiment(
    "V3", LAB, pca="visualization.pca", nearest_neighbors="visualization.nearest_neighbors",
    precision_at_k="visualization.precision_at_k",
)  # fmt: skip
def v3(bench: Bench, *, pca: Own, nearest_neighbors: Own, precision_at_k: Own) -> Result:
    """Does t-SNE show clusters that PCA does not, and does it make any?"""
    pca(torch.eye(3), 1)  # unwritten: say so at once
    precision_at_k(nearest_neighbors(torch.eye(3), 1), torch.tensor([0, 1, 0]))
    seen = bank(bench, 600, lesson=180)
    draws, steps = (DRAWS[:1], 20) if bench.quick else (DRAWS, 500)
    perplexity = min(PERPLEXITY, (len(seen.labels) - 1) // 4)

    def purity(rows: Tensor) -> ndarray:
        return precision_at_k(nearest_neighbors(rows, K), seen.labels).numpy()

    def drawn(rows: Tensor, draw: int, few: float = perplexity) -> Tensor:
        options = {"early_steps": max(10, steps // 2), "steps": steps}
        generator = torch.Generator().manual_seed(draw)
        return tsne(rows, perplexity=few, init="random", generator=generator, **options)  # type: ignore[arg-type]

    gains: dict[str, list[Interval]] = {CONV4: [], CONV6: []}
    makes: dict[str, list[Interval]] = {CONV4: [], CONV6: []}
    flat: dict[str, list[Interval]] = {CONV4: [], CONV6: []}
    for name in bench.seeds:
        for layer in gains:
            rows = pooled(bench, name, seen.pictures, layer)
            low, whole = purity(pca(rows, 2)[0]), purity(rows)
            flat[layer].append(bootstrap(low))
            for draw in draws:
                own = purity(drawn(rows, draw))
                gains[layer].append(bootstrap(own - low))
                makes[layer].append(bootstrap(whole - own))
    random = [of_twin(bench, bench.seeds[0], seen.pictures, draw) for draw in draws]
    pixels = plain(seen.pictures, "pixels")
    untrained = extent(bootstrap(purity(drawn(rows, 0))) for rows in random)
    raw = extent(bootstrap(purity(drawn(pixels, draw))) for draw in draws)
    none = f"<= {2 * CHANCE:.2f}"
    rows = pooled(bench, bench.seeds[0], seen.pictures)
    cloud = matched_gaussian(rows)
    return Result(
        tuple(
            Measure(
                f"purity of 5 neighbours in two dimensions, t-SNE minus PCA, {title}", extent(gains[layer]),
                f">= {least} (lower bound)",
                control={
                    "full space minus t-SNE": extent(makes[layer]), "PCA": extent(flat[layer]),
                    "twin, t-SNE": untrained, "pixels, t-SNE": raw,
                },
                must={"full space minus t-SNE": "within 0.03", "twin, t-SNE": none, "pixels, t-SNE": none},
            )
            for title, layer, least in (("conv6", CONV6, 0.3), ("conv4", CONV4, 0.15))
        ),
        show={
            "labels": seen.labels,
            "grounds": seen.grounds,
            "points": {
                "PCA": pca(rows, 2)[0], "t-SNE": drawn(rows, 0),
                "t-SNE of pixels": drawn(pixels, 0),
                "t-SNE of a Gaussian, perplexity 5": drawn(cloud, 0, 5.0),
            },
        },
    )  # fmt: skip


# ---- V4: dimension


def _apart(value: Interval, other: Interval) -> Interval:
    """The difference of two numbers of which each has an interval of its own: their ends, at the worst."""
    return Interval(value.value - other.value, value.low - other.high, value.high - other.low)


def _dimension(bench: Bench, rows: Tensor) -> Interval:
    found = intrinsic_dimension_result(rows, draws=1 if bench.quick else 3)
    return Interval(found.value, found.low, found.high)


def _share(found: Interval, width: int) -> Interval:
    return Interval(*(value / width for value in found))


@experiment("V4", LAB, pca="visualization.pca")
def v4(bench: Bench, *, pca: Own) -> Result:
    """Is the intrinsic dimension far below the width, and does DeepMDS reach it better than PCA?"""
    pca(torch.eye(3), 1)  # unwritten: say so at once
    seen = bank(bench, 2000, lesson=400)
    half, steps = len(seen.labels) // 2, {"quick": 12, "class": 300, "full": 800}[bench.mode]
    labels = seen.labels[:half], seen.labels[half:]
    shares, apart, cloud, gain, lost, lottery = [], [], [], [], [], []
    stresses: dict[str, list[float]] = {"DeepMDS": [], "random": []}
    dimensions: tuple[int, ...] = (LOW,) if bench.quick else (2, LOW, 10)
    curves: dict[str, list[float]] = {"DeepMDS": [], "PCA": [], "random projection": []}
    for name in bench.seeds:
        rows = pooled(bench, name, seen.pictures)
        fitted, new = rows[:half], rows[half:]
        width, own, gaussian = rows.shape[1], _dimension(bench, fitted), None
        gaussian = _dimension(bench, matched_gaussian(fitted))
        shares.append(_share(own, width))
        cloud.append(_share(gaussian, width))
        apart.append(_apart(own, gaussian))

        def right(low: Tensor, high: Tensor) -> ndarray:
            return neighbor_accuracy(low, labels[0], high, labels[1]).numpy()

        def projected(k: int, fitted: Tensor = fitted, new: Tensor = new) -> dict[str, tuple[Tensor, Tensor]]:
            learned = deep_mds_result(fitted, dimensions=k, steps=steps)
            _, components = pca(fitted, k)
            chance = random_subspace(fitted, k)
            straight = {"PCA": components, "random projection": chance}
            return {"DeepMDS": (learned.points, learned.project(new))} | {
                way: (fitted @ basis.T, new @ basis.T) for way, basis in straight.items()
            }

        for k in dimensions if name == bench.seeds[0] else (LOW,):
            found = projected(k)
            hits = {way: right(*both) for way, both in found.items()}
            if name == bench.seeds[0]:
                for way, line in curves.items():
                    line.append(float(hits[way].mean()))
            if k == LOW:
                gain.append(bootstrap(hits["DeepMDS"] - hits["PCA"]))
                lottery.append(bootstrap(hits["random projection"] - hits["PCA"]))
                lost.append(bootstrap(right(fitted, new) - hits["DeepMDS"]))
                left = {way: stress(new, both[1]) for way, both in found.items()}
                stresses["DeepMDS"].append(left["DeepMDS"] / left["PCA"])
                stresses["random"].append(left["random projection"] / left["PCA"])
    pixels = plain(seen.pictures[:half], "pixels")
    bare = {
        "twin": _share(_dimension(bench, of_twin(bench, bench.seeds[0], seen.pictures[:half], 0)), width),
        "pixels, over their number": _share(_dimension(bench, pixels), pixels.shape[1]),
    }
    worst, chance = (Interval(sum(v) / len(v), min(v), max(v)) for v in stresses.values())
    return Result(
        (
            Measure(
                "intrinsic dimension of conv6 over its width", extent(shares), "< 0.1 (upper bound)",
                control={"matched Gaussian": extent(cloud), **bare},
            ),
            Measure(
                "intrinsic dimension minus the matched Gaussian's", extent(apart), "< 0 (upper bound)"
            ),
            Measure(
                "1-NN accuracy in 5 dimensions, DeepMDS minus PCA", extent(gain), ">= 0.05 (lower bound)",
                control={"random projection minus PCA": extent(lottery)},
            ),
            Measure("1-NN accuracy, full space minus 5 dimensions of DeepMDS", extent(lost), "within 0.05"),
            Measure(
                "stress in 5 dimensions, DeepMDS over PCA", worst, "<= 0.85",
                control={"random projection over PCA": chance},
            ),
        ),
        show={"dimensions": dimensions, "accuracy": curves},
    )  # fmt: skip
