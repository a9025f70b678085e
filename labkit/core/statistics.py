"""Statistics: bootstrap and Wilson intervals, permutation tests and rank p values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from labkit.core.checks import check_choice, check_positive


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
    low, high = middle - half, middle + half  # at 0 and 1 the ends are exact, but for rounding
    return Interval(float(p), 0.0 if p == 0 else float(low), 1.0 if p == 1 else float(high))


SIDES = ("greater", "less", "both")


def _extreme(value: float, null: ndarray, side: str) -> ndarray:
    """Which of the null's values are at least as extreme; rounding does not part equal ones."""
    check_choice("side", side, SIDES)
    least = 1e-12 * max(abs(value), float(np.abs(null).max(initial=0.0)))
    if side == "both":
        return np.abs(null) >= abs(value) - least
    return null >= value - least if side == "greater" else null <= value + least


def rank_p(value: float, null: Sequence[float] | Float[ndarray, " K"], *, side: str = "greater") -> float:
    """The p value of a number among those that chance gave: (1 + how many are as extreme) / (1 + how many).

    The 1 counts the number itself, so that p is never 0: among 99 the least is .01. ``side``: "greater",
    "less", or "both" for distances from 0. Raises ValueError for an empty or non-finite null and another
    side. Source: Phipson and Smyth 2010, "Permutation P-values Should Never Be Zero".

    >>> rank_p(3.0, [1.0, 2.0, 3.0]), rank_p(4.0, [1.0, 2.0, 3.0])
    (0.5, 0.25)
    """
    drawn = np.asarray(null, float)
    if drawn.ndim != 1 or len(drawn) == 0 or not (np.isfinite(drawn).all() and np.isfinite(value)):
        raise ValueError(
            f"null must be finite numbers, at least one, and so must the value; got {drawn.size} and {value}."
        )
    return float((1 + _extreme(value, drawn, side).sum()) / (1 + len(drawn)))


class Permutation(NamedTuple):
    """``value``: the difference of means; ``p``; ``null`` (K,): the differences that chance gave; ``exact``:
    whether these are all there are, the value's own among them."""

    value: float
    p: float
    null: Float[ndarray, " K"]
    exact: bool


def permutation_test(
    first: Sequence[float] | Float[ndarray, " N"],
    second: Sequence[float] | Float[ndarray, " M"] | None = None,
    *,
    side: str = "both",
    repeats: int = 9999,
    seed: int = 0,
) -> Permutation:
    """Would the difference of means be as large had the labels been dealt by lot?

    With ``second`` the numbers of both groups are dealt anew; without it ``first`` holds differences of
    pairs, whose signs are flipped. Where there are no more than ``repeats`` ways, all are tried and p is
    exact; else ``repeats`` are drawn, and p counts the value itself (see ``rank_p``). ``side``: "greater",
    "less" or "both". Raises ValueError for numbers that are not finite or too few, and another side.

    Source: Fisher 1935, "The Design of Experiments", section 21; Pitman 1937.

    >>> permutation_test([3.0, 1.0, 2.0], side="greater").p
    0.125
    """
    check_choice("side", side, SIDES)
    check_positive("repeats", repeats)
    a = np.asarray(first, float)
    b = np.zeros(0) if second is None else np.asarray(second, float)
    if a.ndim != 1 or b.ndim != 1 or len(a) == 0 or (second is not None and len(b) == 0):
        raise ValueError("first and second must be lists of numbers, at least one each.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("first and second must be finite; got NaN or infinity. Drop what was not measured.")
    rng, n, m = np.random.default_rng(seed), len(a), len(b)
    if second is None:
        value, exact = float(a.mean()), n < 60 and 2**n <= repeats
        if exact:
            signs = 1 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        else:
            signs = rng.choice([-1.0, 1.0], (repeats, n))
        null = signs @ a / n
    else:
        value, both = float(a.mean() - b.mean()), np.concatenate([a, b])
        exact = math.comb(n + m, n) <= repeats
        if exact:
            chosen = np.array(list(itertools.combinations(range(n + m), n)))
        else:
            chosen = np.array([rng.permutation(n + m)[:n] for _ in range(repeats)])
        sums = both[chosen].sum(1)
        null = sums / n - (both.sum() - sums) / m
    p = float(_extreme(value, null, side).mean()) if exact else rank_p(value, null, side=side)
    return Permutation(value, p, null, exact)
