"""Intervals: how far a measured number would move had other scenes been drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from labkit.core.checks import check_positive


class Interval(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95; got {level!r}.")


def bootstrap(
    values: Sequence[float] | Float[ndarray, "S ..."],
    statistic: Callable[[ndarray], float] = np.mean,  # type: ignore[assignment]
    *,
    level: float = 0.95,
    repeats: int = 2000,
    seed: int = 0,
) -> Interval:
    """A statistic of samples with its percentile bootstrap interval over the first axis.

    The unit is the first axis: one row a scene, or one a network where the claim is about networks. A row may
    hold several numbers of one scene, so that a ``statistic`` of two of them (a difference of means, a rank
    correlation) draws them together. The same ``seed`` gives the same interval. Raises ValueError for no or
    non-finite values and for a level outside (0, 1). Source: Efron 1979, "Bootstrap Methods".

    >>> bootstrap([1.0, 1.0, 1.0])
    Interval(value=1.0, low=1.0, high=1.0)
    >>> pairs = np.array([[3.0, 1.0], [5.0, 2.0], [4.0, 1.0]])
    >>> bootstrap(pairs, lambda rows: rows[:, 0].mean() / rows[:, 1].mean()).value
    3.0
    """
    _check_level(level)
    samples = np.asarray(values, float)
    check_positive("repeats", repeats)
    if len(samples) == 0 or not np.isfinite(samples).all():
        raise ValueError(
            f"values must be at least one finite number; got {len(samples)} values"
            f"{'' if len(samples) == 0 else ', some of them NaN or infinite'}. "
            "Drop what could not be measured first."
        )
    rng = np.random.default_rng(seed)
    drawn = [float(statistic(samples[rng.integers(0, len(samples), len(samples))])) for _ in range(repeats)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(samples)), float(low), float(high))


def share(hits: Sequence[bool] | ndarray, *, level: float = 0.95) -> Interval:
    """A share with its Wilson interval, which stays honest at 0 and 1. Source: Wilson 1927.

    Raises ValueError for an empty list and for a level outside (0, 1).

    >>> str(share([True] * 10))
    '1 [0.722, 1]'
    """
    from scipy.stats import norm

    _check_level(level)
    flags = np.asarray(hits, bool)
    if len(flags) == 0:
        raise ValueError("hits must hold at least one True or False; got none.")
    n, p, z = len(flags), flags.mean(), float(norm.ppf((1 + level) / 2))
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(float(p), float(max(0.0, middle - half)), float(min(1.0, middle + half)))
