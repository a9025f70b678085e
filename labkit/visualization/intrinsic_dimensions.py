"""Intrinsic dimension: in how many directions features vary, by the distances to their nearest neighbours."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from labkit.core.checks import check_choice, check_positive
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.core.statistics import Interval, bootstrap
from labkit.visualization.neighbors import as_rows, nearest_neighbors_result

ESTIMATORS = ("mle", "two_nn")
KNOWN = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40)
"""The dimensions of the Gaussians by which an estimate is corrected."""
EQUAL = 1e-6  # logarithms of ratios below this are rounding
KEPT = 0.9  # share of the ratios that the two neighbours' line is laid through


class Dimension(NamedTuple):
    """``value`` with the ends of its 95 % interval, ``low`` and ``high`` (bootstrap over rows); ``raw``: the
    estimate before it was corrected; ``curve``: (true dimension, what the estimator says) of the data by
    which it was corrected, empty where it was not; ``beyond``: whether the value lies past the curve's end,
    so that it is only known to be at least that."""

    value: float
    low: float
    high: float
    raw: float
    curve: tuple[tuple[float, float], ...]
    beyond: bool


def _ratios(rows: Float[Tensor, "N D"], k: int) -> Float[ndarray, "N k"]:
    """The distances to the ``k`` nearest neighbours of each row; refuses rows that are there twice."""
    distances = nearest_neighbors_result(rows.double(), k=k, progress=lambda share: None).distances
    twice = int((distances[:, 0] == 0).sum())
    if twice:
        raise ValueError(
            f"features must differ from row to row: {twice} of {len(rows)} lie at distance 0 from another, "
            "and the logarithm of 0 is no number. Drop them: torch.unique(features, dim=0)."
        )
    return distances.cpu().numpy()


def _mle(rows: Tensor, k: int) -> Float[ndarray, " N"]:
    """1 over the dimension about each row: the mean of log(T_k / T_j) over its k - 1 nearer neighbours."""
    distances = _ratios(rows, k)
    return np.log(distances[:, -1:] / distances[:, :-1]).mean(1)


def _two_nn(rows: Tensor) -> Float[ndarray, " N"]:
    """The logarithms of the second neighbour's distance over the first's."""
    distances = _ratios(rows, 2)
    return np.log(distances[:, 1] / distances[:, 0])


def _of_inverses(inverses: ndarray) -> float:
    return float(1 / inverses.mean())


def _of_line(logs: ndarray) -> float:
    """The slope of -log(1 - F) over log(mu), through the origin, without the largest tenth."""
    logs = np.sort(logs)
    kept = max(2, int(KEPT * len(logs)))
    height = -np.log(1 - np.arange(1, len(logs) + 1) / len(logs), where=np.arange(len(logs)) < kept,
                     out=np.zeros(len(logs)))  # fmt: skip
    return float((logs[:kept] * height[:kept]).sum() / (logs[:kept] ** 2).sum())


@functools.cache
def _known(estimator: str, k: int, count: int, dimension: int, draws: int) -> float:
    """What the estimator says of ``count`` points of a Gaussian of this dimension, over a few draws."""
    found = []
    for seed in range(draws):
        points = np.random.default_rng([seed, dimension]).standard_normal((count, dimension))
        rows = torch.from_numpy(points)
        found.append(_of_inverses(_mle(rows, k)) if estimator == "mle" else _of_line(_two_nn(rows)))
    return float(np.mean(found))


def _corrected(value: float, curve: tuple[tuple[float, float], ...]) -> float:
    truth, said = np.array(curve).T
    return float(np.interp(value, np.maximum.accumulate(said), truth))


def intrinsic_dimension_result(
    features: Float[Tensor, "N D"] | Float[ndarray, "N D"],
    *,
    estimator: str = "mle",
    k: int = 10,
    corrected: bool = True,
    draws: int = 3,
    repeats: int = 500,
) -> Dimension:
    """``intrinsic_dimension`` with its interval and the curve by which it was corrected (see ``Dimension``).

    ``draws``: how many known data sets of each dimension the curve is a mean of. ``repeats`` of the
    bootstrap. Errors as in ``intrinsic_dimension``.

    >>> flat = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) @ torch.ones(2, 9).tril()
    >>> round(intrinsic_dimension_result(flat, draws=1).value)
    2
    """
    check_choice("estimator", estimator, ESTIMATORS)
    for name, number in {"k": k, "draws": draws, "repeats": repeats}.items():
        check_positive(name, number)
    if k < 2:
        raise ValueError(f"k must be at least 2: distances are compared with the k-th; got {k}.")
    rows = as_rows(features, least=3)
    need = k if estimator == "mle" else 2
    if need >= len(rows):
        raise ValueError(f"k must be below the {len(rows)} rows of features; got {need}. Take more pictures.")
    statistic = _of_inverses if estimator == "mle" else _of_line
    values = _mle(rows, k) if estimator == "mle" else _two_nn(rows)
    if values.mean() < EQUAL:
        raise ValueError(
            "features must have neighbours at different distances; all are equal, as on the corners of a "
            "simplex. Take the features before rounding."
        )
    found = bootstrap(values, statistic, repeats=repeats)
    if not corrected:
        return Dimension(*found, found.value, (), False)
    curve = []
    with working("known dimensions", len(KNOWN)) as work:
        for done, dimension in enumerate(KNOWN):
            curve.append((float(dimension), _known(estimator, k, len(rows), dimension, draws)))
            work.at(done + 1)
    told = tuple(curve)
    ends = Interval(*(_corrected(value, told) for value in found))
    return Dimension(*ends, found.value, told, bool(found.value > told[-1][1]))


@signature_of(intrinsic_dimension_result)
def intrinsic_dimension(*args: Any, **options: Any) -> float:
    """In how many directions the features vary about a typical row: their intrinsic dimension.

    ``estimator``: "mle", maximum likelihood from the distances T_1 ... T_k to the nearest neighbours of each
    row, whose inverses are averaged over rows (MacKay and Ghahramani); or "two_nn", from the second
    neighbour's distance over the first's (Facco et al.), without the largest tenth. Both say too little where
    there are many dimensions and few rows; ``corrected``: read the answer off the curve of the same estimator
    on as many rows of Gaussians of known dimension, 1 to 40. Past its end the answer is 40.

    Raises ValueError for NaN, other shapes, fewer rows than neighbours, and rows that are there twice.

    Unit: dimensions. Labels: post hoc, agnostic, global.
    Source: Levina and Bickel 2004, "Maximum Likelihood Estimation of Intrinsic Dimension", equation 8;
    MacKay and Ghahramani 2005, comments on it; Facco et al. 2017, "Estimating the intrinsic dimension of
    datasets by a minimal neighborhood information". Gong et al. 2019 fit the distribution of distances
    along a graph instead.

    >>> line = torch.rand(100, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(5)
    >>> round(intrinsic_dimension(line, draws=1))
    1
    """
    return intrinsic_dimension_result(*args, **options).value
