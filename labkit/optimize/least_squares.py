"""Many small least-squares problems at once: Levenberg and Marquardt's search from several starts each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_positive

__all__ = ["between", "explained", "inverse_between", "least_squares"]


def between(x: Float[Tensor, "..."], low: float, high: float) -> Float[Tensor, "..."]:
    """Any number as one between ``low`` and ``high``: how a parameter is kept within its bounds.

    >>> between(torch.tensor(0.0), 2.0, 4.0)
    tensor(3.)
    """
    return low + (high - low) * torch.sigmoid(x)


def inverse_between(value: Float[Tensor, "..."], low: float, high: float) -> Float[Tensor, "..."]:
    """The number that ``between`` brings to ``value``; a thousandth within the bounds at most."""
    return torch.logit(((value - low) / (high - low)).clamp(1e-3, 1 - 1e-3))


def explained(fitted: Float[Tensor, "K ... M"], goal: Float[Tensor, "K ... M"]) -> Float[Tensor, " K"]:
    """r2: the share of the variance about the mean over the last axis that a fit explains; 0 where there is
    none.

    >>> explained(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    tensor([1., 0.])
    """
    total = ((goal - goal.mean(-1, keepdim=True)) ** 2).flatten(1).sum(1)
    left = ((goal - fitted) ** 2).flatten(1).sum(1)
    return torch.where(total > 1e-20, 1 - left / total.clamp(min=1e-30), torch.zeros_like(total))


def least_squares(
    model: Callable[[Float[Tensor, " P"]], Float[Tensor, " M"]],
    starts: Float[Tensor, "K S P"],
    goal: Float[Tensor, "K M"],
    *,
    steps: int = 60,
) -> tuple[Float[Tensor, "K P"], Float[Tensor, "K M"]]:
    """The parameters whose values come nearest to each goal, of those its starts lead to, and the values.

    ``model``: turns the parameters of one problem (P,) into its values (M,), by functions that torch can map
    over a batch; its slopes are differences over 2e-5, so all is reckoned in double precision. ``starts``: S
    beginnings for each of K problems. ``steps``: how many are taken from each, of at most 2 a parameter; one
    that does not come nearer is taken back, and the damping grows. Raises ValueError for bad ``steps``.

    Source: Marquardt 1963, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters".

    >>> x = torch.linspace(0, 1, 5).double()
    >>> goal = torch.exp(-3 * x)[None]
    >>> found, values = least_squares(lambda p: torch.exp(-p * x), torch.ones(1, 1, 1), goal)
    >>> round(float(found), 3)
    3.0
    """
    check_positive("steps", steps)
    k, s, p = starts.shape
    run, ways = torch.func.vmap(model), 1e-5 * torch.eye(p, dtype=torch.float64)
    found, wanted = starts.double().reshape(k * s, p).clone(), goal.double().repeat_interleave(s, 0)
    damping = torch.full((k * s,), 1e-2, dtype=torch.float64)
    away = run(found) - wanted
    cost = (away**2).sum(1)
    for _ in range(steps):
        jacobian = torch.stack([(run(found + way) - run(found - way)) / 2e-5 for way in ways], 2)
        square = jacobian.mT @ jacobian
        damped = square + torch.diag_embed(damping[:, None] * square.diagonal(dim1=1, dim2=2) + 1e-12)
        step = torch.linalg.solve_ex(damped, jacobian.mT @ away[:, :, None])[0][:, :, 0]
        new = found - step.nan_to_num(0.0).clamp(-2, 2)
        off = run(new) - wanted
        price = (off**2).sum(1)
        better = price < cost
        found, away = torch.where(better[:, None], new, found), torch.where(better[:, None], off, away)
        cost = torch.where(better, price, cost)
        damping = (damping * torch.where(better, 0.3, 4.0)).clamp(1e-9, 1e9)
    best = torch.arange(k) * s + cost.view(k, s).nan_to_num(float("inf")).argmin(1)
    return found[best], away[best] + goal
