"""What lab 12 draws beside its claims: its space, points that descend, a Gaussian, known dimensions.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.data import CLASSES, GROUNDS, sample_photos
from labkit.evaluation import matched_gaussian, precision_at_k
from labkit.experiments.bench import SEEDS, Bench
from labkit.experiments.feature_space import bank, plain, pooled
from labkit.models import last_spatial
from labkit.models.features import batches
from labkit.visualization import nearest_neighbors, tsne

Own = Callable[..., Any]
HASTE = 4.0  # how many times as large the affinities are in the first quarter of a descent


class Space(NamedTuple):
    """Pictures (bytes or 0 to 1) with the features of the network and without one; ``labels`` and ``grounds``
    with their names where the truth is planted, else the network's answers."""

    pictures: ndarray | Tensor
    features: Float[Tensor, "N D"]
    pixels: Float[Tensor, "N F"]
    labels: Int[Tensor, " N"]
    grounds: Int[Tensor, " N"]
    classes: Sequence[str]
    names: list[str]

    @property
    def groups(self) -> dict[str, tuple[Sequence[str], Tensor]]:
        """What the points of an explorer may be coloured by."""
        planted = {"ground": (list(GROUNDS), self.grounds)} if len(self.grounds) else {}
        return {"class": (self.classes, self.labels), **planted}

    def perplexity(self, wanted: float) -> float:
        """This perplexity, or what so few pictures allow."""
        return min(wanted, (len(self.labels) - 1) / 3.1)


def space_of(bench: Bench, model: nn.Module) -> Space:
    """The lab's pictures and their features: some hundred scenes, or the guest's photographs."""
    if bench.guest is not None:
        pictures: Any = torch.stack([p.image for p in sample_photos(int(model.input_size))])  # type: ignore[arg-type]
        shares = [last_spatial(model, part).mean((2, 3)) for part in batches(pictures)]
        with torch.no_grad():
            said = torch.cat([model(part).argmax(1) for part in batches(pictures)])
        none, deep, classes = torch.zeros(0, dtype=torch.long), torch.cat(shares), list(model.classes)  # type: ignore[arg-type]
        return Space(pictures, deep, _pixels(pictures), said, none, classes, [classes[int(k)] for k in said])
    seen = bank(bench, 300, lesson=300)
    deep = pooled(bench, SEEDS[0], seen.pictures)
    names = [
        f"{CLASSES[k]}, {GROUNDS[g]}"
        for k, g in zip(seen.labels.tolist(), seen.grounds.tolist(), strict=True)
    ]
    return Space(
        seen.pictures, deep, plain(seen.pictures, "pixels"), seen.labels, seen.grounds, list(CLASSES), names
    )


def _pixels(pictures: Any) -> Tensor:
    return plain(pictures, "pixels")


class Descent(NamedTuple):
    """Points (N, 2) at some steps, by title."""

    points: dict[str, Float[Tensor, "N 2"]]

    def purity(self, labels: Tensor) -> dict[str, float]:
        """At each of them the mean precision at 5."""
        found = {}
        for title, points in self.points.items():
            near = nearest_neighbors(points, k=min(5, len(points) - 1))
            found[title] = float(precision_at_k(near, labels).mean())
        return found


def descent(
    features: Float[Tensor, "N D"], perplexity: float, *, affinities: Own, tsne_step: Own, steps: int = 400,
    shown: Sequence[int] = (0, 40, 100, 400),
) -> Descent:  # fmt: skip
    """t-SNE with the student's affinities and step: plain descent from a faint cloud, hasty at first."""
    tsne_step(torch.rand(3, 2), (torch.ones(3, 3) - torch.eye(3)) / 6, 1.0)  # unwritten: say so at once
    rows = features.double()
    squares = torch.cdist(rows, rows) ** 2
    p = affinities(squares / squares.mean(), perplexity)
    points = 1e-2 * torch.randn(len(rows), 2, generator=torch.Generator().manual_seed(0), dtype=rows.dtype)
    kept, rate = {}, len(rows) / 2
    with working("descending", steps, "step") as work:
        for step in range(steps + 1):
            if step in shown or step == steps:
                kept[f"step {step}"] = points.float()
            points = tsne_step(points, p * (HASTE if step < steps // 4 else 1), rate / HASTE)
            work.at(step)
    return Descent(kept)


class Guess(NamedTuple):
    """Two clouds without their names, and which of them was drawn from one Gaussian."""

    points: dict[str, Float[Tensor, "N 2"]]
    gaussian: str


def gaussian_or_not(bench: Bench, space: Space, perplexity: float) -> Guess:
    """t-SNE of the features, and of one Gaussian with their mean and covariance, in an order by lot."""
    steps = 40 if bench.quick else 500
    clouds = {"features": space.features, "gaussian": matched_gaussian(space.features)}
    order = ["features", "gaussian"] if torch.initial_seed() % 2 else ["gaussian", "features"]
    points = {
        title: tsne(
            clouds[kind], perplexity=space.perplexity(perplexity), early_steps=steps // 3, steps=steps
        )
        for title, kind in zip("AB", order, strict=True)
    }
    return Guess(points, "AB"[order.index("gaussian")])


def known_dimensions(
    bench: Bench, *, mle_dimension: Own, k: int = 10
) -> tuple[list[int], dict[str, list[float]]]:
    """What the student's estimator says of Gaussians of known dimension, with 200 rows and with 1,000."""
    mle_dimension(torch.rand(5, 2), 3)  # unwritten: say so at once
    truth, found = [2, 5, 10, 20, 30, 40], dict[str, list[float]]()
    for n in (200, bench.count(1000, lesson=1000, few=300)):
        line = []
        for dimension in truth:
            rows = torch.randn(n, dimension, generator=torch.Generator().manual_seed(dimension))
            line.append(float(mle_dimension(rows, k)))
        found[f"{n} rows"] = line
    return truth, {**found, "the truth": [float(d) for d in truth]}


def shares(space: Space, ways: Mapping[str, Tensor], *, precision_at_k: Own) -> dict[str, list[float]]:
    """For each way of finding neighbours the mean precision by class and, where planted, by ground."""
    labels = [space.labels, *([space.grounds] if len(space.grounds) else [])]
    return {way: [float(precision_at_k(near, of).mean()) for of in labels] for way, near in ways.items()}
