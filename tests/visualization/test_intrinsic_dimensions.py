"""Estimators of dimension: data of known dimension, the formula by hand, and the correction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.visualization import intrinsic_dimension, intrinsic_dimension_result, nearest_neighbors_result


def flat(dimension, n=400, width=50, seed=5):
    """A Gaussian of this dimension, turned within many."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    return torch.randn(n, dimension, generator=generator) @ turn[:dimension]


@pytest.mark.parametrize("estimator", ["mle", "two_nn"])
@pytest.mark.parametrize("dimension", [1, 2, 5, 12])
def test_it_finds_the_dimension_that_was_planted(estimator, dimension):
    found = intrinsic_dimension_result(flat(dimension), estimator=estimator)
    assert found.value == pytest.approx(dimension, rel=0.2)
    assert found.low - 0.6 <= dimension <= found.high + 0.6
    assert found.low <= found.value < found.high
    assert not found.beyond


@pytest.mark.parametrize("estimator", ["mle", "two_nn"])
def test_uncorrected_it_says_too_little_of_many_dimensions(estimator):
    plain = intrinsic_dimension(flat(25), estimator=estimator, corrected=False)
    assert plain < 20
    mended = intrinsic_dimension_result(flat(25), estimator=estimator)
    assert (mended.raw, mended.curve[0][0], mended.curve[-1][0]) == (plain, 1, 40)
    assert mended.value == pytest.approx(25, rel=0.2)
    said = [value for _, value in mended.curve]
    assert all(a < b for a, b in zip(said, said[1:], strict=False))


def test_maximum_likelihood_by_hand():
    rows = flat(3, n=30).double()
    distances = nearest_neighbors_result(rows, k=4).distances.numpy()
    inverses = [np.mean([np.log(t[3] / t[j]) for j in range(3)]) for t in distances]
    assert intrinsic_dimension(rows, k=4, corrected=False) == pytest.approx(1 / np.mean(inverses))


def test_two_neighbours_follow_their_law():
    """Ratios drawn from Facco's law, P(mu) = 1 - mu^-d, give the slope d."""
    from labkit.visualization.intrinsic_dimensions import _of_line

    logs = -np.log(np.random.default_rng(0).random(4000)) / 6.0
    assert _of_line(logs) == pytest.approx(6.0, rel=0.05)


def test_scale_turn_and_a_shift_change_nothing():
    rows = flat(4, n=120).double()
    one = intrinsic_dimension(rows, corrected=False)
    assert intrinsic_dimension(7 * rows.flip(1) - 3, corrected=False) == pytest.approx(one)
    assert intrinsic_dimension(rows.numpy(), corrected=False) == pytest.approx(one)


def test_past_the_curve_s_end_it_says_so():
    found = intrinsic_dimension_result(
        torch.randn(60, 400, generator=torch.Generator().manual_seed(0)), draws=1
    )
    assert found.beyond
    assert found.value == 40


@pytest.mark.parametrize(
    ("features", "options", "sentence"),
    [
        (torch.rand(5), {}, "shape"),
        (torch.full((30, 2), float("nan")), {}, "finite"),
        (torch.rand(10, 2), {}, "k must be below the 10 rows of features; got 10"),
        (torch.rand(30, 2), {"k": 1}, "k must be at least 2"),
        (torch.rand(30, 2), {"estimator": "pca"}, "estimator must be one of 'mle', 'two_nn'"),
        (torch.cat([torch.rand(30, 2), torch.ones(2, 2)]), {}, "2 of 32 lie at distance 0 from another"),
        (torch.eye(20), {}, "must have neighbours at different distances"),
        (torch.rand(30, 2), {"draws": 0}, "draws must be"),
        (torch.rand(30, 2), {"repeats": 0}, "repeats must be"),
    ],
)
def test_bad_arguments_are_refused(features, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        intrinsic_dimension(features, **options)
