"""Golden calls of spaces of features: neighbours, projections, dimensions, and what is measured of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labkit import evaluation, visualization
from labkit.data import label_of
from labkit.ledger.golden_calls import Golden, draw, ground
from labkit.models.features import batches
from labkit.visualization.learned_projections import Stage
from labkit.visualization.neighbors import as_rows

COUNT, WIDTH = 60, 6
LABELS = torch.arange(COUNT) % 4


def _rows() -> Tensor:
    """A cloud that is wide in few directions, its kinds a little apart."""
    cloud = torch.randn(COUNT, WIDTH, generator=draw(), dtype=torch.float64)
    cloud[:, 0] += 3 * (LABELS % 2)
    return cloud * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.3, 0.2], dtype=torch.float64)


def _visualization() -> dict[str, Golden]:
    v, rows = visualization, _rows()

    def searched() -> Any:
        frames: list[Tensor] = []
        whole = v.tsne_result(rows, perplexity=8, early_steps=4, steps=4, every=2)
        half = v.tsne_result(rows, perplexity=8, early_steps=4, steps=1, init="random", metric="cosine")
        on = v.tsne_result(
            rows, early_steps=4, steps=3, resume=half, on_frame=lambda _, points: frames.append(points)
        )
        return [whole.points, whole.divergence, on.points, on.steps, len(frames)]

    def lowered() -> Any:
        done = v.deep_mds_result(rows, dimensions=2, steps=9, mine_every=3)
        plain = v.deep_mds(rows, dimensions=1, steps=2, hard_weight=0.0)
        return [done.points, done.stress, done.losses, done.stages, done.project(rows[:5]), plain]

    def counted() -> Any:
        ways = [v.intrinsic_dimension_result(rows, estimator=e, draws=1, k=6) for e in ("mle", "two_nn")]
        return [[*map(float, way[:4]), len(way.curve)] for way in ways] + [
            v.intrinsic_dimension(rows, corrected=False)
        ]

    def near() -> Any:
        plain = v.nearest_neighbors_result(rows, k=3, chunk=7)
        return [*plain, *v.nearest_neighbors_result(rows, k=2, queries=rows[:9] + 0.1, metric="cosine")]

    def turned() -> Any:
        found = v.pca_result(rows, dimensions=3)
        return [*found, found.project(rows[:4] + 1)]

    return {
        "deep_mds": Golden(lowered, (v.deep_mds, v.deep_mds_result, v.DeepMDS, Stage), 1e-3),
        "intrinsic_dimension": Golden(counted, (v.intrinsic_dimension, v.intrinsic_dimension_result)),
        "nearest_neighbors": Golden(near, (v.nearest_neighbors, v.nearest_neighbors_result, as_rows)),
        "pca": Golden(turned, (v.pca, v.pca_result, v.PCA)),
        "tsne": Golden(searched, (v.tsne, v.tsne_result), 1e-3),
    }


def _evaluation() -> dict[str, Golden]:
    e, rows, g = evaluation, _rows(), ground()
    return {
        "colour_histogram": Golden(lambda: e.colour_histogram(g.images, 3)),
        "neighbor_accuracy": Golden(
            lambda: e.neighbor_accuracy(rows[:40], LABELS[:40], rows[40:], LABELS[40:])
        ),
        "neighbor_precision": Golden(lambda: e.neighbor_precision(rows, LABELS, k=4)),
        "precision_at_k": Golden(
            lambda: e.precision_at_k((torch.arange(60)[:, None] + torch.tensor([1, 4, 9])) % 60, LABELS)
        ),
        "stress": Golden(lambda: e.stress(rows, rows[:, :2] * 3)),
    }


def _pictures() -> dict[str, Golden]:
    g = ground()
    bytes_ = (g.images[:3] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return {
        "label_of": Golden(lambda: [label_of(s, of) for s in g.scenes for of in ("object", "ground")]),
        "stacks.batches": Golden(lambda: list(batches(bytes_, 2)), (batches,), 1e-3),
    }


TABLES: dict[str, Callable[[], dict[str, Golden]]] = {
    "data": _pictures,
    "evaluation": _evaluation,
    "visualization": _visualization,
}
