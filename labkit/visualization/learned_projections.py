"""DeepMDS: a small network that learns to lower the dimension of features and to keep their distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_positive, check_weight
from labkit.core.door import seeded
from labkit.core.registry import signature_of
from labkit.optimize import minimize
from labkit.visualization.neighbors import as_rows
from labkit.visualization.projections import PCA, check_dimensions, pca_result

Rows = Float[Tensor, "N D"] | Float[ndarray, "N D"]
HIDDEN, BATCH, MINED, WIDEST = 128, 128, 2048, 256


class Stage(nn.Module):
    """One lowering: the first coordinates stay as they are, and a small network adds what bends them."""

    def __init__(self, inside: int, outside: int, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__()
        first = torch.randn(HIDDEN, inside, generator=generator, dtype=torch.float64, device=generator.device)
        bias = torch.randn(HIDDEN, generator=generator, dtype=torch.float64, device=generator.device)
        straight = torch.eye(outside, inside, dtype=torch.float64)
        self.straight = nn.Parameter(straight.to(dtype))
        self.inner = nn.Parameter((first.cpu() * (2 / inside) ** 0.5).to(dtype))
        self.bias = nn.Parameter((0.1 * bias.cpu()).to(dtype))
        self.outer = nn.Parameter(torch.zeros(outside, HIDDEN, dtype=dtype))

    def forward(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "N k"]:
        return rows @ self.straight.T + (rows @ self.inner.T + self.bias).relu() @ self.outer.T


class DeepMDS(NamedTuple):
    """``points`` (N, k) in the unit of the features; ``stress`` that is left: squared differences of the
    distances over their squares; ``losses`` of the search; ``complete``: False if ``should_stop`` ended it;
    ``stages``: the dimensions on the way down; ``axes``, ``net``, ``scale``: what ``project`` uses."""

    points: Float[Tensor, "N k"]
    stress: float
    losses: Float[Tensor, " T"]
    complete: bool
    stages: tuple[int, ...]
    axes: PCA
    net: nn.Sequential
    scale: float

    def project(self, features: Rows) -> Float[Tensor, "M k"]:
        """Other rows, by what was learned. Raises ValueError for another number of columns."""
        with torch.no_grad():
            found = self.net(self.axes.project(features).to(self.points) / self.scale)
        return found * self.scale


def distances(rows: Float[Tensor, "N D"], others: Float[Tensor, "M D"] | None = None) -> Tensor:
    """Euclidean distances of all rows to all others, with a slope that is finite at 0.

    >>> distances(torch.tensor([[0.0], [3.0]]))[0, 1]
    tensor(3.)
    """
    others = rows if others is None else others
    squares = (rows**2).sum(1, keepdim=True) + (others**2).sum(1) - 2 * rows @ others.T
    return squares.clamp(min=1e-12).sqrt()


def halved(most: int, dimensions: int) -> tuple[int, ...]:
    """The dimensions on the way down, each half of the one before: the stages.

    >>> halved(160, 5)
    (160, 80, 40, 20, 10, 5)
    """
    found = [most]
    while found[-1] > 2 * dimensions:
        found.append(found[-1] // 2)
    return tuple(found) if found[-1] == dimensions and len(found) > 1 else (*found, dimensions)


class _Pairs:
    """Which rows a step sees: some by lot, and of each the partner whose distance is missed most."""

    def __init__(self, rows: Tensor, generator: torch.Generator) -> None:
        self.rows, self.own = rows, generator
        self.partner: Int[Tensor, " N"] = torch.zeros(len(rows), dtype=torch.long)
        self.mined = torch.zeros(len(rows), dtype=torch.bool)

    def some(self, count: int) -> Int[Tensor, " B"]:
        """Row numbers by lot, each once."""
        order = torch.randperm(len(self.rows), generator=self.own, device=self.own.device)
        return order[:count].to(self.rows.device)

    @torch.no_grad()
    def mine(self, net: nn.Module) -> None:
        """Seek each row's partner anew."""
        chosen = self.some(MINED)
        rows = self.rows[chosen]
        missed = (distances(rows) - distances(net(rows))).abs().fill_diagonal_(0)
        self.mined.zero_()
        self.partner[chosen.cpu()], self.mined[chosen.cpu()] = chosen[missed.argmax(1)].cpu(), True

    def draw(self, count: int) -> Int[Tensor, " B"]:
        """Rows by lot; where their partners are known, these follow in the same order."""
        rows = self.some(count)
        rows = rows[self.mined[rows.cpu()]] if self.mined.any() else rows
        return torch.cat([rows, self.partner[rows.cpu()].to(rows.device)]) if self.mined.any() else rows


def deep_mds_result(
    features: Rows,
    *,
    dimensions: int = 2,
    steps: int = 800,
    rate: float = 3e-3,
    hard_weight: float = 0.5,
    mine_every: int = 20,
    generator: torch.Generator | None = None,
    on_frame: Callable[[int, Float[Tensor, "N k"]], object] | None = None,
    every: int = 20,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DeepMDS:
    """``deep_mds`` with the network that was learned, so that other rows can be projected (see ``DeepMDS``).

    ``on_frame``: called with the steps taken and the points of all rows, after the first step, after
    ``every`` steps more and after the last. Errors as in ``deep_mds``.

    >>> rows = torch.rand(30, 6, generator=torch.Generator().manual_seed(0))
    >>> done = deep_mds_result(rows, steps=5)
    >>> done.stages, done.project(rows[:3]).shape
    ((6, 3, 2), torch.Size([3, 2]))
    """
    for name, number in {"steps": steps, "mine_every": mine_every, "every": every}.items():
        check_positive(name, number)
    check_weight("hard_weight", hard_weight)
    rows = as_rows(features, least=4)
    check_dimensions(dimensions, rows)
    own = seeded(generator)
    with torch.enable_grad(), torch.inference_mode(False):
        rows = rows.clone()
        axes = pca_result(rows, dimensions=min(rows.shape[1], len(rows) - 1, max(WIDEST, dimensions)))
        scale = float((2 * axes.total) ** 0.5)  # root of the mean squared distance
        turned = axes.points / scale
        stages = halved(turned.shape[1], dimensions)
        pairs = zip(stages, stages[1:], strict=False)
        net = nn.Sequential(*(Stage(a, b, own, rows.dtype).to(rows.device) for a, b in pairs))
        batches = _Pairs(turned, own)

        def loss(step: int) -> Tensor:
            if step and step % mine_every == 0 and hard_weight:
                batches.mine(net)
            seen = batches.draw(BATCH)
            low, half = turned[seen], len(seen) // 2
            truth = distances(low)
            total = torch.zeros((), dtype=rows.dtype, device=rows.device)
            for stage in net:
                low = stage(low)
                missed = (distances(low) - truth) ** 2
                total = total + missed.sum() / (truth**2).sum()
                if batches.mined.any():  # the pairs of a row and its partner
                    first, second = torch.arange(half), torch.arange(half, len(seen))
                    hard = missed[first, second].sum() / (truth[first, second] ** 2).sum().clamp(min=1e-12)
                    total = total + hard_weight * hard
            return total / len(net)

        def frame(step: int, _: float) -> None:
            if on_frame is not None:
                on_frame(step + 1, net(turned) * scale)

        found = minimize(
            list(net.parameters()), loss, steps=steps, rate=rate, schedule="cosine", on_frame=frame,
            every=every, describe="DeepMDS", progress=progress, should_stop=should_stop,
        )  # fmt: skip
        with torch.no_grad():
            points = net(turned)
            some = batches.some(MINED)
            truth = distances(turned[some])
            stress = float(((distances(points[some]) - truth) ** 2).sum() / (truth**2).sum())
        net.requires_grad_(False)
    return DeepMDS(points * scale, stress, found.losses, found.complete, stages, axes, net.eval(), scale)


@signature_of(deep_mds_result)
def deep_mds(*args: Any, **options: Any) -> Float[Tensor, "N k"]:
    """Features in ``dimensions`` numbers a row, by a network that learns to keep all distances: DeepMDS.

    The dimension is halved stage by stage, and the loss at each stage is the stress, the squared differences
    of the distances before and after over the squares of those before. To pairs by lot come hard ones, with
    ``hard_weight``: of each row the partner whose distance is missed most, sought anew every ``mine_every``
    steps among up to 2,048 rows. Adam, ``rate`` falling to 0 over the ``steps``. ``generator``: None is
    seed 0. Where we differ: a stage begins as a projection on the first principal components and learns what
    bends it, so that no answer begins worse than PCA; distances are Euclidean; no weight decay.

    Raises ValueError for NaN, other shapes and more dimensions than the features have, or rows less one.

    Unit: that of the features. Labels: post hoc, agnostic, global.
    Source: Gong, Boddeti and Jain 2019, "On the Intrinsic Dimensionality of Image Representations",
    section 4.

    >>> deep_mds(torch.rand(30, 6), steps=5).shape
    torch.Size([30, 2])
    """
    return deep_mds_result(*args, **options).points
