"""Shapley values of any game, exact from all coalitions; a game's values, asked in batches."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import factorial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.checks import check_positive
from labkit.core.progress import working

MOST_PLAYERS = 16
Value = Callable[[Bool[Tensor, "B M"]], Any]


def fidelity(answers: Tensor, predicted: Tensor, weights: Tensor) -> Tensor:
    """Weighted R^2 of each column; 1 where the answers do not vary beyond rounding.

    >>> fidelity(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0]]), torch.ones(2))
    tensor([0.])
    """
    share = (weights / weights.sum())[:, None]
    spread = (share * (answers - (share * answers).sum(0)) ** 2).sum(0)
    missed = (share * (answers - predicted) ** 2).sum(0)
    level = torch.finfo(torch.float32).eps * answers.abs().amax(0)
    flat = spread <= level**2
    return torch.where(flat, torch.ones_like(spread), 1 - missed / torch.where(flat, 1.0, spread))


def values_of(
    value: Value, coalitions: Bool[Tensor, "B M"], batch_size: int, progress: Callable[[float], None]
) -> tuple[Float[Tensor, "B K"], Callable[[Tensor], Tensor]]:
    """The values of all coalitions in double precision, batch by batch, and a function that gives results the
    answers' precision, device and number of axes. ``progress`` is told the share done after each batch.

    Raises ValueError where ``value`` returns another shape, or NaN or infinity.
    """
    check_positive("batch_size", batch_size)
    found, done = [], 0
    for chunk in coalitions.split(int(batch_size)):
        answer = torch.as_tensor(value(chunk.clone())).detach()
        if answer.ndim not in (1, 2) or len(answer) != len(chunk):
            raise ValueError(
                f"value must return one number or one row of numbers a coalition, shape ({len(chunk)},) "
                f"or ({len(chunk)}, K); got {tuple(answer.shape)}. It is given a batch of coalitions."
            )
        if not torch.isfinite(answer).all():
            raise ValueError(
                "value must return finite numbers; got NaN or infinity. Look at value(coalitions) for "
                f"torch.ones(1, {chunk.shape[1]}, dtype=torch.bool) and for its zeros."
            )
        found.append(answer)
        done += len(chunk)
        progress(done / len(coalitions))
    device, dtype = answer.device, answer.dtype if answer.is_floating_point() else torch.float64
    single = answer.ndim == 1

    def as_given(result: Tensor) -> Tensor:
        return (result[..., 0] if single else result).to(dtype).to(device)

    table = torch.cat([part.cpu().double() for part in found])
    return (table[:, None] if single else table), as_given


def shapley_values(value: Value, n_players: int, *, batch_size: int = 1024) -> Float[Tensor, " M *K"]:
    """What each player adds to a coalition, on average over all orders in which the players could join.

    ``value`` takes coalitions, bool (B, M) with True where a player takes part, and returns (B,) numbers or
    (B, K), one column an output; it meets all 2^M of them, ``batch_size`` at a time. A player may be a
    superpixel, or a column of a table whose absent cells hold an average applicant's. The results (M,) or
    (M, K) sum to the value of all players minus that of none; a player who never changes the value gets 0,
    and two who are interchangeable get the same. Unit: that of ``value``. Raises ValueError for more than 16
    players, and where ``value`` returns another shape, or NaN or infinity.

    Labels: post hoc, model-agnostic, local.
    Source: Shapley 1953, "A Value for n-Person Games", section 3; Lundberg and Lee 2017, "A Unified Approach
    to Interpreting Model Predictions", section 2.4.

    >>> both = lambda coalitions: coalitions[:, :2].all(1).double()
    >>> shapley_values(both, 3)
    tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    check_positive("n_players", n_players)
    if n_players > MOST_PLAYERS:
        raise ValueError(
            f"n_players must be at most {MOST_PLAYERS}, because all 2^{n_players} coalitions are asked; got "
            f"{n_players}. Join players into groups, or sample with kernel_shap_values."
        )
    numbers = torch.arange(2**n_players)
    coalitions = (numbers[:, None] >> torch.arange(n_players)) % 2 == 1
    with working("Shapley values", 1) as work:
        answers, as_given = values_of(value, coalitions, batch_size, work.at)
    orders = factorial(n_players)
    share = torch.tensor(
        [float(Fraction(factorial(s) * factorial(n_players - s - 1), orders)) for s in range(n_players)],
        dtype=torch.float64,
    )
    sizes = coalitions.sum(1)
    values = []
    for player in range(n_players):
        without = numbers[~coalitions[:, player]]
        added = answers[without + 2**player] - answers[without]
        values.append((share[sizes[without]][:, None] * added).sum(0))
    return as_given(torch.stack(values))
