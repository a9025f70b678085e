"""Shapley values against games solved by hand, all orders of joining, Captum, and each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from labkit.attribution import kernel_shap_values, kernel_shap_values_result, shapley_values
from labkit.attribution.kernelshap import design

BOTH = [shapley_values, kernel_shap_values]


def game(players: int, seed: int = 0, outputs: int | None = None):
    """A random table of values, one row a coalition, as a value function and as the table itself."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2**players,) if outputs is None else (2**players, outputs)
    table = torch.randn(shape, generator=generator, dtype=torch.float64)
    places = 2 ** torch.arange(players)
    return (lambda coalitions: table[(coalitions * places).sum(1)]), table


def by_orders(value, players: int) -> Tensor:
    """By the definition: the mean contribution over every order in which the players could join."""
    total = torch.zeros(players, dtype=torch.float64)
    for order in itertools.permutations(range(players)):
        inside = torch.zeros(1, players, dtype=torch.bool)
        before = value(inside)[0]
        for player in order:
            inside[0, player] = True
            after = value(inside)[0]
            total[player] += after - before
            before = after
    return total / math.factorial(players)


def gloves(coalitions: Tensor) -> Tensor:
    """Player 0 holds a left glove, 1 and 2 a right one each; a pair is worth 1."""
    return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()


def majority(coalitions: Tensor) -> Tensor:
    return (coalitions.sum(1) >= 2).double()


def weighted_majority(coalitions: Tensor) -> Tensor:
    """Votes 2, 1, 1 and a quota of 3: the first is in every winning coalition, but cannot win alone."""
    return ((coalitions * torch.tensor([2, 1, 1])).sum(1) >= 3).double()


def additive(coalitions: Tensor) -> Tensor:
    return coalitions.double() @ torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64) + 10


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (gloves, [2 / 3, 1 / 6, 1 / 6]),
        (majority, [1 / 3, 1 / 3, 1 / 3]),
        (weighted_majority, [2 / 3, 1 / 6, 1 / 6]),
        (additive, [3.0, -1.0, 0.5]),
    ],
)
def test_games_solved_by_hand(method, value, expected: list[float]) -> None:
    assert method(value, 3).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("players", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("method", BOTH)
def test_equals_the_mean_over_all_orders(method, players: int) -> None:
    value, _ = game(players, players)
    assert torch.allclose(method(value, players), by_orders(value, players), rtol=0, atol=1e-10)


@pytest.mark.parametrize("players", range(1, 13))
def test_kernel_shap_is_exact_where_all_coalitions_fit(players: int) -> None:
    value, _ = game(players, players)
    result = kernel_shap_values_result(value, players, samples=2**players)
    assert result.exact
    assert len(result.coalitions) == 2**players == len(result.coalitions.unique(dim=0))
    assert torch.allclose(result.values, shapley_values(value, players), rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", BOTH)
def test_many_outputs_are_as_many_games(method) -> None:
    value, table = game(5, outputs=3)
    together = method(value, 5, batch_size=7)
    assert together.shape == (5, 3)
    places = 2 ** torch.arange(5)
    for column in range(3):
        alone = method(lambda c, column=column: table[(c * places).sum(1), column], 5)
        assert alone.shape == (5,)
        assert torch.allclose(together[:, column], alone, rtol=0, atol=1e-12)


@given(players=st.integers(2, 20), extra=st.integers(0, 200), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_efficiency_holds_for_every_sample(players: int, extra: int, seed: int) -> None:
    weights = torch.randn(players, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def value(coalitions: Tensor) -> Tensor:
        return torch.tanh(coalitions.double() @ weights + coalitions.double()[:, 0] * coalitions.sum(1)) + 4

    result = kernel_shap_values_result(
        value, players, samples=2 * players + 2 + extra, generator=torch.Generator().manual_seed(seed)
    )
    every = torch.tensor([[False], [True]]).expand(2, players)
    none, all_ = value(every)
    assert float(result.values.sum() - (all_ - none)) == pytest.approx(0, abs=1e-12)
    assert float(result.base) == float(none)
    assert len(result.coalitions) <= 2 * players + 2 + extra
    assert len(result.coalitions) == len(result.coalitions.unique(dim=0))
    assert torch.equal(result.coalitions[:2], every)
    assert float(result.fidelity) <= 1 + 1e-12


@pytest.mark.parametrize("method", BOTH)
def test_symmetry_dummy_and_linearity(method) -> None:
    def value(coalitions: Tensor) -> Tensor:  # 0 and 1 alike, 3 without influence
        x = coalitions.double()
        return x[:, 0] * x[:, 1] * 3 + (x[:, 0] + x[:, 1]) * x[:, 2] - x[:, 2]

    found = method(value, 4)
    assert float(found[0]) == pytest.approx(float(found[1]), abs=1e-12)
    assert float(found[3]) == pytest.approx(0, abs=1e-12)
    assert torch.allclose(method(lambda c: 2 * value(c) + gloves(c[:, :3]), 4)[:3],
                          2 * found[:3] + method(gloves, 3), rtol=0, atol=1e-12)  # fmt: skip


def test_an_additive_game_is_solved_by_any_sample() -> None:
    weights = torch.linspace(-2, 3, 30, dtype=torch.float64)
    result = kernel_shap_values_result(lambda c: c.double() @ weights, 30, samples=100)
    assert not result.exact
    assert torch.allclose(result.values, weights, rtol=0, atol=1e-9)
    assert float(result.fidelity) == pytest.approx(1)


def test_a_sample_is_close_and_a_larger_one_closer() -> None:
    generator = torch.Generator().manual_seed(1)
    pairs = torch.randn(12, 12, generator=generator, dtype=torch.float64)

    def value(coalitions: Tensor) -> Tensor:
        x = coalitions.double()
        return torch.tanh(x @ pairs[0] / 2) * 3 + torch.einsum("bi,ij,bj->b", x, pairs, x) / 6

    exact, errors = shapley_values(value, 12), []
    for samples in (80, 2000):
        found = [
            kernel_shap_values(value, 12, samples=samples, generator=torch.Generator().manual_seed(seed))
            for seed in range(20)
        ]
        errors.append(float((torch.stack(found) - exact).square().mean().sqrt()))
    assert errors[1] < errors[0] / 4
    assert errors[0] < 0.1 * float(exact.abs().max())


def test_pairs_remove_what_even_interactions_would_add() -> None:
    """Complements in pairs solve every game of pairwise interactions exactly (Covert and Lee 2021)."""
    pairs = torch.randn(14, 14, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    value = lambda c: torch.einsum("bi,ij,bj->b", c.double(), pairs, c.double())  # noqa: E731
    by_hand = (pairs + pairs.T).sum(1) / 2
    assert torch.allclose(shapley_values(value, 14), by_hand, rtol=0, atol=1e-9)
    assert torch.allclose(kernel_shap_values(value, 14, samples=120), by_hand, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("players", "samples"), [(4, 11), (6, 40), (10, 22), (15, 300), (24, 2000)])
def test_the_design_comes_in_pairs_with_the_kernel_s_mass(players: int, samples: int) -> None:
    coalitions, weights, complete = design(players, samples, torch.Generator().manual_seed(0))
    assert not complete
    assert len(coalitions) <= samples - 2
    table = {tuple(row): w for row, w in zip(coalitions.tolist(), weights.tolist(), strict=True)}
    assert len(table) == len(coalitions)
    for row, weight in table.items():
        assert table[tuple(not x for x in row)] == pytest.approx(weight)
    assert not coalitions.all(1).any()
    assert coalitions.any(1).all()
    sizes = coalitions.sum(1)
    ones = float(weights[sizes == 1].sum())
    assert ones == pytest.approx(1 / (players - 1))
    if samples > 2 * players + 3:
        whole = sum(1 / (s * (players - s)) for s in range(1, players))
        assert float(weights.sum()) == pytest.approx(whole)


def test_equals_captum_on_a_network() -> None:
    captum = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double().eval()
    x, base = torch.rand(1, 6, dtype=torch.float64), torch.rand(1, 6, dtype=torch.float64)
    expected = captum.ShapleyValues(net).attribute(x, baselines=base, target=1)[0]
    value = lambda c: net(torch.where(c, x, base))  # noqa: E731
    for method in BOTH:
        found = method(value, 6)
        assert not found.requires_grad
        assert torch.allclose(
            found[:, 1], expected.detach().double(), rtol=0, atol=1e-6
        )  # it sums in float32


@pytest.mark.parametrize("method", BOTH)
def test_explains_a_loan_table_with_a_model_that_knows_no_tensors(method) -> None:
    from sklearn.linear_model import LinearRegression

    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 4))
    model = LinearRegression().fit(table, table @ [1.0, -2.0, 0.5, 0.0] + 3)
    row, average = table[7], table.mean(0)
    found = method(lambda c: model.predict(np.where(c.numpy(), row, average)), 4)
    assert found.dtype == torch.float64
    assert found.numpy() == pytest.approx(model.coef_ * (row - average), abs=1e-10)


@pytest.mark.parametrize("method", BOTH)
def test_keeps_the_precision_of_the_answers_and_asks_in_batches(method) -> None:
    sizes = []

    def value(coalitions: Tensor) -> Tensor:
        sizes.append(len(coalitions))
        assert coalitions.dtype == torch.bool
        answer = coalitions.float().sum(1)
        coalitions.zero_()  # what the function does to its coalitions is its own affair
        return answer

    found = method(value, 5, batch_size=6)
    assert found.dtype == torch.float32
    assert torch.allclose(found, torch.ones(5))
    assert sum(sizes) == 32
    assert max(sizes) == 6
    assert method(lambda c: c.sum(1), 5).dtype == torch.float64


def test_the_seed_decides_and_the_global_state_stays() -> None:
    value, _ = game(12)
    before = torch.get_rng_state()
    one, same = kernel_shap_values(value, 12, samples=60), kernel_shap_values(value, 12, samples=60)
    other = kernel_shap_values(value, 12, samples=60, generator=torch.Generator().manual_seed(5))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_constant_game_gives_nothing_to_anyone() -> None:
    result = kernel_shap_values_result(lambda c: torch.full((len(c),), 0.1), 6)
    assert torch.equal(result.values, torch.zeros(6))
    assert float(result.fidelity) == 1
    assert not shapley_values(lambda c: torch.full((len(c),), 0.1), 6).any()


def test_fidelity_is_lower_where_players_interact() -> None:
    assert float(kernel_shap_values_result(additive, 3).fidelity) == pytest.approx(1)
    # single players have 0, pairs 1, 1, 0, of equal weight: squares about the mean 12/9, residuals 24/36
    assert float(kernel_shap_values_result(gloves, 3).fidelity) == pytest.approx(1 / 2)


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (lambda c: c.double().sum(), r"value must return.*shape \(8,\) or \(8, K\); got \(\)"),
        (lambda c: c.double()[:3].sum(1), r"got \(3,\)"),
        (lambda c: c.double()[:, :, None], r"got \(8, 3, 1\)"),
        (lambda c: c.double().sum(1) / 0, "value must return finite numbers"),
    ],
)
def test_refuses_other_answers(method, value, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        method(value, 3)


@pytest.mark.parametrize("method", BOTH)
def test_refuses_numbers_that_are_none(method) -> None:
    for players in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="n_players must be a whole number of at least 1"):
            method(majority, players)
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        method(majority, 3, batch_size=0)


def test_refuses_too_many_players_and_too_few_samples() -> None:
    with pytest.raises(ValueError, match=r"at most 16.*2\^17.*got 17\..*kernel_shap_values"):
        shapley_values(lambda c: c.double().sum(1), 17)
    with pytest.raises(ValueError, match=r"samples must be at least 42 for 20 players.*got 41"):
        kernel_shap_values(majority, 20, samples=41)
    with pytest.raises(ValueError, match="samples must be at least 8 for 3 players"):
        kernel_shap_values(majority, 3, samples=7)
    with pytest.raises(ValueError, match="samples must be a whole number"):
        kernel_shap_values(majority, 3, samples=8.5)
