"""Intervals: against formulas, and by how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labkit.evaluation import Interval, bootstrap, share


def test_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap(values, repeats=4000)
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """120 experiments each; the accepted range is the binomial's at 1 in 10,000."""
    rng = np.random.default_rng(1)
    means = sum(
        i.low <= 0 <= i.high for i in (bootstrap(rng.normal(0, 1, 40), repeats=300) for _ in range(120))
    )
    shares = sum(i.low <= 0.9 <= i.high for i in (share(rng.random(40) < 0.9) for _ in range(120)))
    assert 102 <= means <= 119
    assert 102 <= shares <= 120
    narrow = sum(
        i.low <= 0 <= i.high
        for i in (bootstrap(rng.normal(0, 1, 40), level=0.5, repeats=300) for _ in range(120))
    )
    assert 38 <= narrow <= 80


def test_rows_are_drawn_whole() -> None:
    """The second number is always the first plus 1: a difference of means has no spread."""
    first = np.random.default_rng(2).normal(0, 5, 50)
    rows = np.stack([first, first + 1], 1)
    found = bootstrap(rows, lambda r: float(r[:, 1].mean() - r[:, 0].mean()))
    assert found.high - found.low < 1e-9
    assert found.value == pytest.approx(1)


def test_the_same_seed_gives_the_same_interval_and_leaves_the_global_state() -> None:
    values = np.random.default_rng(3).random(30)
    before = str(np.random.get_state())
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)
    assert str(np.random.get_state()) == before


def test_wilson_by_hand() -> None:
    """7 of 10: centre (p + z2/2n) / (1 + z2/n), from Wilson's quadratic solved independently."""
    z = 1.959963984540054
    roots = np.roots([1 + z * z / 10, -(2 * 0.7 + z * z / 10), 0.49])
    found = share([True] * 7 + [False] * 3)
    assert found.value == 0.7
    assert (found.low, found.high) == pytest.approx((min(roots), max(roots)))


@pytest.mark.parametrize("n", [1, 5, 1000])
def test_a_share_of_none_or_all_keeps_an_interval(n: int) -> None:
    none, every = share([False] * n), share([True] * n)
    assert (none.value, none.low) == pytest.approx((0, 0), abs=1e-12)
    assert (every.value, every.high) == pytest.approx((1, 1), abs=1e-12)
    assert none.high > 0
    assert every.low < 1
    assert none.high == pytest.approx(1 - every.low)


def test_an_interval_reads_well() -> None:
    assert str(Interval(2.346, 2.0, 2.7012)) == "2.35 [2, 2.7]"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([], "got 0 values"), ([1.0, float("nan")], "2 values, some of them NaN"), ([float("inf")], "infinite")],
)
def test_refuses_values_without_a_meaning(values: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        bootstrap(values)


def test_refuses_other_arguments() -> None:
    with pytest.raises(ValueError, match="at least one True or False"):
        share([])
    with pytest.raises(ValueError, match="repeats"):
        bootstrap([1.0], repeats=0)
    for level in (0, 1, 95):
        with pytest.raises(ValueError, match=f"level must lie between 0 and 1.*got {level}"):
            bootstrap([1.0], level=level)
        with pytest.raises(ValueError, match=f"level must lie between 0 and 1.*got {level}"):
            share([True], level=level)
