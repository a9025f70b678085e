"""Least squares: linear problems as by hand, the best of several starts, bounds, r2."""

from __future__ import annotations

import pytest
import torch

from labkit.optimize.least_squares import between, explained, inverse_between, least_squares

X = torch.linspace(0, 1, 20).double()


def test_a_linear_problem_is_solved_as_by_the_normal_equations() -> None:
    basis = torch.stack([torch.ones_like(X), X, X**2], 1)
    goal = torch.randn(4, 20, generator=torch.Generator().manual_seed(0)).double()
    found, values = least_squares(lambda p: basis @ p, torch.zeros(4, 1, 3), goal, steps=30)
    by_hand = torch.linalg.lstsq(basis, goal.T).solution.T
    assert torch.allclose(found, by_hand, atol=1e-4)
    assert torch.allclose(values, by_hand @ basis.T, atol=1e-5)


def test_of_several_starts_the_best_end_is_taken_for_each_problem() -> None:
    goal = torch.stack([torch.sin(21 * X), torch.sin(4 * X)])
    starts = torch.tensor([[[20.0], [5.0]], [[20.0], [5.0]]])
    found, _ = least_squares(lambda p: torch.sin(p * X), starts, goal, steps=40)
    assert torch.allclose(found[:, 0], torch.tensor([21.0, 4.0]).double(), atol=1e-3)
    one, values = least_squares(lambda p: torch.sin(p * X), starts[:, 1:], goal, steps=40)
    assert ((values - goal) ** 2).sum(1)[0] > 1  # from 5 alone it stays where it is


def test_a_search_never_ends_farther_than_it_began() -> None:
    goal = torch.randn(3, 20, generator=torch.Generator().manual_seed(2)).double()
    starts = torch.randn(3, 1, 2, generator=torch.Generator().manual_seed(3)).double() * 5

    def model(p: torch.Tensor) -> torch.Tensor:
        return p[0] * torch.exp(-p[1] * X)

    before = torch.stack([model(p) for p in starts[:, 0]])
    _, values = least_squares(model, starts, goal, steps=5)
    assert (((values - goal) ** 2).sum(1) <= ((before - goal) ** 2).sum(1) + 1e-9).all()


def test_bounds_and_back() -> None:
    value = torch.tensor([0.6, 2.0, 3.4])
    assert torch.allclose(between(inverse_between(value, 0.5, 3.5), 0.5, 3.5), value, atol=1e-4)
    assert (between(torch.tensor([-1e9, 1e9]), 0.5, 3.5) == torch.tensor([0.5, 3.5])).all()
    assert torch.isfinite(inverse_between(torch.tensor([0.5, 3.5]), 0.5, 3.5)).all()


def test_explained_is_r2() -> None:
    goal = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    assert explained(goal, goal).tolist() == [1.0, 0.0]  # where nothing varies, nothing is explained
    assert explained(torch.full((2, 3), 2.0), goal)[0] == 0
    assert explained(goal.flip(1), goal)[0] == -3


def test_steps_must_be_a_number_of_them() -> None:
    with pytest.raises(ValueError, match="steps must be"):
        least_squares(lambda p: p * X, torch.zeros(1, 1, 1), X[None], steps=0)
