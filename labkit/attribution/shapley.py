"""Shapley values of any game: exact from all coalitions, or by KernelSHAP from a sample of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from math import comb, factorial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm.auto import tqdm

from labkit.core.checks import check_positive

MOST_PLAYERS = 16
Value = Callable[[Bool[Tensor, "B M"]], Any]


class KernelShapValues(NamedTuple):
    """All that ``kernel_shap_values`` measured.

    ``values`` (M,) or (M, K): one number a player; ``base`` () or (K,): the value of the empty coalition;
    ``fidelity`` () or (K,): weighted R^2 of the additive model on the coalitions tried (1 where their value
    never changes); ``coalitions`` (B, M): those tried, the empty and the full one first; ``exact``: whether
    these are all.
    """

    values: Float[Tensor, " M *K"]
    base: Float[Tensor, " *K"]
    fidelity: Float[Tensor, " *K"]
    coalitions: Bool[Tensor, "B M"]
    exact: bool


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


@contextmanager
def bar(name: str, games: int = 1) -> Iterator[Callable[[float], Any]]:
    """One bar for all games, however many coalitions each takes: a function to be told the shares done."""
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=games, desc=name, bar_format=form, leave=False, delay=1.5) as shown:
        yield lambda share: shown.update(min(share, games - shown.n))


def ask(
    value: Value, coalitions: Bool[Tensor, "B M"], batch_size: int, done: Callable[[float], Any]
) -> tuple[Float[Tensor, "B K"], Callable[[Tensor], Tensor]]:
    """The values of all coalitions in double precision, batch by batch, and a function that gives results the
    answers' precision, device and number of axes. ``done`` is told the share of each batch (see ``bar``).

    Raises ValueError where ``value`` returns another shape, or NaN or infinity.
    """
    check_positive("batch_size", batch_size)
    found = []
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
        done(len(chunk) / len(coalitions))
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
    with bar("Shapley values") as tell:
        answers, as_given = ask(value, coalitions, batch_size, tell)
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


def _of_size(players: int, size: int) -> Bool[Tensor, "B M"]:
    members = torch.tensor(list(itertools.combinations(range(players), size)))
    return torch.zeros(len(members), players, dtype=torch.bool).scatter_(1, members, True)


def _design(
    players: int, samples: int, generator: torch.Generator
) -> tuple[Bool[Tensor, "B M"], Float[Tensor, " B"], bool]:
    """Coalitions between none and all, their weights, and whether these are all there are.

    The sizes s and M - s are taken whole while as many of them would be drawn anyway, the smallest size in
    any case; of the others, pairs of a coalition and its complement are drawn by the kernel.
    """
    mass = {size: Fraction(1, size * (players - size)) for size in range(1, players)}
    left, chosen, weights = samples - 2, [], []
    for size in range(1, players // 2 + 1):
        sizes = sorted({size, players - size})
        number = sum(comb(players, s) for s in sizes)
        if size > 1 and left * sum(mass[s] for s in sizes) < number * sum(mass.values()):
            break
        for s in sizes:
            chosen.append(_of_size(players, s))
            each = float(mass.pop(s) / len(chosen[-1]))
            weights.append(torch.full((len(chosen[-1]),), each, dtype=torch.float64))
        left -= number
    pairs = left // 2 if mass else 0
    if pairs:
        chances = torch.tensor([float(m) for m in mass.values()], dtype=torch.float64)
        where = generator.device
        drawn = torch.multinomial(chances.to(where), pairs, replacement=True, generator=generator).cpu()
        members = torch.tensor(list(mass))[drawn]
        luck = torch.rand(pairs, players, dtype=torch.float64, generator=generator, device=where).cpu()
        half = luck.argsort(1).argsort(1) < members[:, None]
        unique, counts = torch.cat([half, ~half]).to(torch.uint8).unique(dim=0, return_counts=True)
        chosen.append(unique.bool())
        weights.append(counts.double() * float(sum(mass.values())) / (2 * pairs))
    return torch.cat(chosen), torch.cat(weights), not mass


def kernel_shap_values_result(
    value: Value,
    n_players: int,
    *,
    samples: int | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 1024,
    done: Callable[[float], Any] | None = None,
) -> KernelShapValues:
    """``kernel_shap_values`` with all that it measured (see ``KernelShapValues``). Errors as there.

    ``done`` is told the share of the work after each batch; without it, a bar is shown if it takes a moment.

    >>> result = kernel_shap_values_result(lambda coalitions: coalitions.double().sum(1) + 7, 3)
    >>> float(result.base), result.exact, tuple(result.coalitions.shape)
    (7.0, True, (8, 3))
    """
    check_positive("n_players", n_players)
    samples = 2 * n_players + 512 if samples is None else samples
    check_positive("samples", samples)
    least = min(2**n_players, 2 * n_players + 2)
    if samples < least:
        raise ValueError(
            f"samples must be at least {least} for {n_players} players: none, all, each alone and each "
            f"missing; got {samples}. Pass samples=None for a sensible number."
        )
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    ends = torch.tensor([[False], [True]]).expand(2, n_players)
    between, weights, exact = ends[:0], torch.ones(0, dtype=torch.float64), True
    if n_players > 1:
        between, weights, exact = _design(n_players, int(samples), generator)
    coalitions = torch.cat([ends, between])
    with nullcontext(done) if done else bar("KernelSHAP") as tell:
        answers, as_given = ask(value, coalitions, batch_size, tell)
    base, gain = answers[0], answers[1] - answers[0]
    values = (gain / n_players).expand(n_players, -1)
    explained = torch.ones_like(gain)
    if n_players > 1:
        # Equal shares of the gain meet the constraint; the regression finds what departs from them, which
        # sums to 0: rows and answers are centred so, and the pseudo-inverse leaves that direction out.
        taken = between.double()
        rows = taken - taken.mean(1, keepdim=True)
        rest = answers[2:] - base - taken @ values
        normal = torch.linalg.pinv(rows.T @ (weights[:, None] * rows), rtol=1e-10, hermitian=True)
        values = values + normal @ (rows.T @ (weights[:, None] * rest))
        explained = fidelity(answers[2:], base + taken @ values, weights)
    return KernelShapValues(as_given(values), as_given(base), as_given(explained), coalitions, exact)


def kernel_shap_values(
    value: Value,
    n_players: int,
    *,
    samples: int | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 1024,
) -> Float[Tensor, " M *K"]:
    """Shapley values by a weighted linear regression on a sample of the coalitions.

    ``value`` as in ``shapley_values``. ``samples`` bounds the coalitions asked (default 2 M + 512; at least
    2 M + 2, or 2^M if that is less); where all 2^M fit, the result is the exact one. Both ends hold exactly:
    the results sum to the value of all players minus that of none, whatever the sample. ``generator`` draws
    it (None: seed 0). Unit: that of ``value``. Raises ValueError for too few samples, and where ``value``
    returns another shape, or NaN or infinity.

    Labels: post hoc, model-agnostic, local.
    Source: Lundberg and Lee 2017, "A Unified Approach to Interpreting Model Predictions", section 4.1;
    complements in pairs as in Covert and Lee 2021, "Improving KernelSHAP", section 4. There one player is
    eliminated to hold the ends; here all are treated alike. Interchangeable players may differ by chance of
    the sample.

    >>> both = lambda coalitions: coalitions[:, :2].all(1).double()
    >>> kernel_shap_values(both, 3).round(decimals=6).abs()
    tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    return kernel_shap_values_result(
        value, n_players, samples=samples, generator=generator, batch_size=batch_size
    ).values
