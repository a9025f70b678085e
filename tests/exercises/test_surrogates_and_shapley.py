"""The references of notebook 24, held to answers known by hand and to other right ways of writing them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from labkit.attribution import shapley_values
from labkit.checking.check import run_public
from labkit.checking.judge import Judge
from labkit.exercises import by_notebook, find
from labkit.experiments.surrogates_and_shapley import regression_shares
from labkit.grading import check


def reference(name):
    return find(f"attribution.{name}").reference


def test_the_whole_picture_weighs_one_and_a_quarter_of_it_by_hand():
    masks = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    found = reference("lime_weights")(masks, 0.5)
    torch.testing.assert_close(found, torch.tensor([1.0, math.exp(-0.5)]))


def test_a_straight_line_is_found_whatever_the_weights_and_shrinks_by_the_penalty():
    masks = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]).double()
    scores, weights = (
        7 + masks @ torch.tensor([2.0, -3.0]).double(),
        torch.tensor([1.0, 2.0, 1.0, 3.0]).double(),
    )
    fit = reference("fit_surrogate")
    torch.testing.assert_close(fit(masks, scores, weights, 0.0), torch.tensor([2.0, -3.0]).double())
    shrunk = fit(masks, scores, torch.ones(4).double(), 1.0)  # the matrix is the identity: halved
    torch.testing.assert_close(shrunk, torch.tensor([1.0, -1.5]).double())


def test_a_game_that_needs_both_players_is_shared_evenly():
    assert reference("shapley_values")(torch.tensor([0.0, 0.0, 0.0, 1.0]), 2).tolist() == [0.5, 0.5]
    worth = torch.tensor([0.0, 1.0, 0.0, 1.0])  # player 0, the last digit, makes everything
    assert reference("shapley_values")(worth, 2).tolist() == [1.0, 0.0]


def test_the_kernel_of_three_players_by_hand():
    assert reference("kernel_shap_weight")(3, 1) == pytest.approx(1 / 3)


def test_the_regression_over_all_coalitions_is_shapleys_and_one_game_by_hand():
    shown = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weight = reference("kernel_shap_weight")
    found = reference("kernel_shap")(shown, torch.tensor([3.0, 5.0]), 1.0, 9.0, weight)
    assert found.tolist() == [3.0, 5.0]  # alone they add 2 and 4; the 2 that are left are shared evenly
    game = torch.randn(32, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    bits = (torch.arange(32)[:, None] >> torch.arange(5) & 1).double()
    found = reference("kernel_shap")(bits[1:-1], game[1:-1], float(game[0]), float(game[-1]), weight)
    torch.testing.assert_close(found, reference("shapley_values")(game, 5))


def test_the_multiplier_by_hand():
    x, baseline = torch.tensor([2.0, 2.0, -1.0, 3.0, -3.0]), torch.tensor([-2.0, 1.0, -4.0, 3.0, -3.0])
    assert reference("rescale_multiplier")(x, baseline).tolist() == [0.5, 1.0, 0.0, 1.0, 0.0]


def test_the_shares_are_the_librarys_on_every_case_and_those_of_the_weighted_regression():
    exercise = find("attribution.shapley_values")
    for _, case in exercise.cases(5):
        value, players = case.args
        bits = torch.arange(2**players)[:, None] >> torch.arange(players) & 1
        own = exercise.reference(value, players).double()
        powers = 2 ** torch.arange(players)
        library = shapley_values(lambda rows: value[(rows * powers).sum(1)], players)  # noqa: B023
        torch.testing.assert_close(own, library.double(), rtol=1e-5, atol=1e-6)
        regression = regression_shares(value.double(), bits.double(), reference("kernel_shap_weight"))
        torch.testing.assert_close(own, regression, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exercise", by_notebook("surrogates_and_shapley"), ids=lambda e: e.id)
@pytest.mark.parametrize("seed", [0, 1, 123456789])
def test_no_hidden_case_takes_one_mistake_for_another(exercise, seed):
    judge = Judge(exercise, seed)
    for wrong in exercise.misconceptions:
        assert judge.result(judge.mistakes(wrong)).misconception == wrong.name


def weights_of_a_gaussian(masks, width):
    distance = 1 - torch.cosine_similarity(masks, torch.ones_like(masks))
    return torch.exp(-(distance**2) / (2 * width**2))


def weights_one_by_one(masks, width):
    cosines = [math.sqrt(float(row.mean())) for row in masks]
    return torch.tensor([math.exp(-((1 - c) ** 2) / width**2) ** 0.5 for c in cosines])


def fit_with_a_free_column(masks, scores, weights, alpha):
    x = torch.cat([masks, torch.ones(len(masks), 1, dtype=masks.dtype)], 1)
    penalty = alpha * torch.eye(x.shape[1], dtype=masks.dtype)
    penalty[-1, -1] = 0
    return torch.linalg.solve(x.T @ torch.diag(weights) @ x + penalty, x.T @ (weights * scores))[:-1]


def fit_by_appended_rows(masks, scores, weights, alpha):
    x, y = masks - (weights @ masks) / weights.sum(), scores - (weights @ scores) / weights.sum()
    parts, root = masks.shape[1], weights.sqrt()
    x = torch.cat([root[:, None] * x, alpha**0.5 * torch.eye(parts, dtype=x.dtype)])
    y = torch.cat([root * y, torch.zeros(parts, dtype=y.dtype)])
    return torch.linalg.lstsq(x, y[:, None]).solution[:, 0]


def fit_with_scores_as_they_are(masks, scores, weights, alpha):
    """The mean of the scores falls out, for the centred masks are orthogonal to the weights."""
    masks, scores, weights = masks.float(), scores.float(), weights.float()
    x = masks - weights @ masks / weights.sum()
    return torch.inverse(x.T * weights @ x + alpha * torch.eye(x.shape[1])) @ x.T @ (weights * scores)


def fit_by_ridge(masks, scores, weights, alpha):
    from sklearn.linear_model import Ridge

    return torch.tensor(Ridge(alpha=alpha).fit(masks, scores, sample_weight=weights).coef_)


def shares_over_all_orders(value, players):
    shares = torch.zeros(players)
    for order in itertools.permutations(range(players)):
        members = 0
        for player in order:
            shares[player] += value[members | 1 << player] - value[members]
            members |= 1 << player
    return shares / math.factorial(players)


def shares_from_those_with(value, players):
    rows = []
    for i in range(players):
        with_i = [c for c in range(2**players) if c & (1 << i)]
        weigh = [1 / (players * math.comb(players - 1, c.bit_count() - 1)) for c in with_i]
        rows.append(sum(w * (value[c] - value[c - (1 << i)]) for w, c in zip(weigh, with_i, strict=True)))
    return torch.stack(rows)


def weight_by_factorials(players, size):
    ways = math.factorial(players) / math.factorial(size) / math.factorial(players - size)
    return torch.tensor((players - 1) / ways / size / (players - size))


def regression_by_a_multiplier(coalitions, worth, empty, full, weight):
    """The two conditions by a multiplier of Lagrange."""
    players = coalitions.shape[1]
    weights = torch.tensor([weight(players, int(row.sum())) for row in coalitions]).to(worth)
    matrix = torch.ones(players + 1, players + 1, dtype=worth.dtype)
    matrix[:-1, :-1] = coalitions.T @ torch.diag(weights) @ coalitions
    matrix[-1, -1] = 0
    right = torch.cat([coalitions.T @ (weights * (worth - empty)), worth.new_tensor([full - empty])])
    return torch.linalg.solve(matrix, right)[:-1]


def regression_without_the_first(coalitions, worth, empty, full, weight):
    rows = coalitions.numpy()
    root = np.sqrt([weight(rows.shape[1], row.sum()) for row in rows])
    x, y = rows[:, 1:] - rows[:, :1], worth.numpy() - empty - rows[:, 0] * (full - empty)
    others = np.linalg.lstsq(root[:, None] * x, root * y, rcond=None)[0]
    return torch.tensor([full - empty - others.sum(), *others])


def multiplier_by_a_mask(x, baseline):
    found = (x > 0).float()
    far = (x - baseline).abs() >= 1e-6
    found[far] = ((x.clamp(min=0) - baseline.clamp(min=0))[far] / (x - baseline)[far]).float()
    return found


def multiplier_without_nan(x, baseline):
    ratio = (torch.relu(x) - torch.relu(baseline)) / (x - baseline)
    return torch.where(torch.isclose(x, baseline, rtol=0, atol=1e-6), 1.0 * (x > 0), ratio)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("kernel_shap", regression_by_a_multiplier),
        ("kernel_shap", regression_without_the_first),
        ("rescale_multiplier", multiplier_by_a_mask),
        ("rescale_multiplier", multiplier_without_nan),
        ("lime_weights", weights_of_a_gaussian),
        ("lime_weights", weights_one_by_one),
        ("fit_surrogate", fit_with_a_free_column),
        ("fit_surrogate", fit_by_appended_rows),
        ("fit_surrogate", fit_with_scores_as_they_are),
        ("fit_surrogate", fit_by_ridge),
        ("shapley_values", shares_over_all_orders),
        ("shapley_values", shares_from_those_with),
        ("kernel_shap_weight", weight_by_factorials),
    ],
)
def test_another_right_way_of_writing_it_gets_all_points(name, own):
    exercise = find(f"attribution.{name}")
    assert check(exercise.id, own) == exercise.points


def shares_with_the_player_counted(value, players):
    shares = torch.zeros(players)
    for c in range(2**players):
        size = c.bit_count()
        weight = math.factorial(size) * math.factorial(max(players - size - 1, 0)) / math.factorial(players)
        for i in range(players):
            if c >> i & 1:
                shares[i] += weight * (value[c] - value[c - 2**i])
    return shares


def test_a_size_counted_after_joining_is_told():
    found = run_public(find("attribution.shapley_values"), shares_with_the_player_counted)
    assert found.hint.startswith("You count the player itself into |S|")


def test_a_vector_of_ones_of_another_dtype_fails_where_the_masks_are_float64_and_says_so():
    def weights_by_dot(masks, width):
        ones = torch.ones(masks.shape[1])
        cosines = [row @ ones / (row.norm() * ones.norm()) for row in masks]
        return torch.stack([torch.exp(-((1 - c) ** 2) / width**2).sqrt() for c in cosines])

    single, double = run_public(find("attribution.lime_weights"), weights_by_dot).cases
    assert single.verdict.passed
    assert "same dtype" in double.verdict.difference
