"""Intervals and p values: against formulas, another library, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labkit.evaluation import Interval, bootstrap, permutation_test, rank_p, share


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
    assert (none.low, every.high) == (0, 1), "an end at 2.8e-17 would be printed"


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


def test_a_rank_p_counts_itself() -> None:
    null = np.arange(99.0)
    assert rank_p(99.0, null) == 0.01
    assert rank_p(98.0, null) == 0.02
    assert rank_p(-1.0, null) == 1.0
    assert rank_p(-1.0, null, side="less") == 0.01
    assert rank_p(-50.0, np.arange(-49.0, 50.0), side="both") == 0.01
    assert rank_p(49.0, np.arange(-49.0, 50.0), side="both") == 0.03
    assert rank_p(0.1 + 0.2, [0.3], side="greater") == 1.0  # rounding does not part equals


def test_flipped_signs_are_counted_by_hand() -> None:
    found = permutation_test([1.0, 2.0, 3.0])
    assert (found.value, found.p, found.exact) == (2.0, 2 / 8, True)
    assert sorted(found.null * 3) == [-6, -4, -2, 0, 0, 2, 4, 6]
    assert permutation_test([1.0, 2.0, 3.0], side="greater").p == 1 / 8
    assert permutation_test([1.0, 2.0, 3.0], side="less").p == 1.0


def test_labels_dealt_anew_are_counted_by_hand() -> None:
    found = permutation_test([5.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.value, found.exact, len(found.null)) == (3.5, True, 10)
    assert found.p == 1 / 10
    assert permutation_test([5.0, 6.0], [1.0, 2.0, 3.0], side="greater").p == 1 / 10
    assert permutation_test([1.0, 2.0], [4.0, 5.0, 6.0], side="less").p == 1 / 10


@pytest.mark.parametrize("side", ["greater", "less", "both"])
def test_another_library_finds_the_same(side: str) -> None:
    from scipy.stats import permutation_test as theirs

    rng = np.random.default_rng(3)
    a, b = rng.normal(0.6, 1, 9), rng.normal(0, 1, 7)

    def difference(x, y, axis):
        return x.mean(axis) - y.mean(axis)

    word = {"both": "two-sided"}.get(side, side)
    other = theirs((a, b), difference, alternative=word, n_resamples=20000, vectorized=True)
    found = permutation_test(a, b, side=side, repeats=20000)
    assert found.exact
    assert found.p == pytest.approx(other.pvalue, abs=0.01 if side == "both" else 1e-12)  # two-sided: doubled
    drawn = permutation_test(a, b, side=side, repeats=4000)
    assert not drawn.exact
    assert drawn.p == pytest.approx(found.p, abs=0.03)


def test_without_a_difference_p_is_small_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    small = [permutation_test(rng.normal(0, 1, 12), repeats=199, seed=i).p <= 0.1 for i in range(400)]
    assert 0.06 < np.mean(small) < 0.14


def test_drawn_permutations_are_the_same_again() -> None:
    values = np.random.default_rng(1).normal(0.2, 1, 30)
    assert np.array_equal(permutation_test(values).null, permutation_test(values).null)
    assert not np.array_equal(permutation_test(values).null, permutation_test(values, seed=1).null)


def test_what_has_no_p_value_is_refused() -> None:
    for null in ([], [float("nan")], [[1.0]]):
        with pytest.raises(ValueError, match="null must be finite numbers, at least one"):
            rank_p(1.0, null)
    with pytest.raises(ValueError, match="side must be one of 'greater', 'less', 'both'; got 'two'"):
        rank_p(1.0, [1.0], side="two")
    with pytest.raises(ValueError, match="at least one each"):
        permutation_test([1.0], [])
    with pytest.raises(ValueError, match="must be finite"):
        permutation_test([1.0, float("inf")])
    with pytest.raises(ValueError, match="repeats must be a whole number"):
        permutation_test([1.0], repeats=0)
