"""KernelSHAP: Shapley values by regression on a sample of the coalitions, of any game and of superpixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from math import comb
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.attribution.shapley import Value, fidelity, values_of
from labkit.attribution.surrogate import Surrogate, fitted
from labkit.core.checks import check_positive
from labkit.core.door import seeded
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.models import Target
from labkit.optimize.images import Fill


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


def _of_size(players: int, size: int) -> Bool[Tensor, "B M"]:
    members = torch.tensor(list(itertools.combinations(range(players), size)))
    return torch.zeros(len(members), players, dtype=torch.bool).scatter_(1, members, True)


def design(
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
        lots = torch.rand(pairs, players, dtype=torch.float64, generator=generator, device=where).cpu()
        half = lots.argsort(1).argsort(1) < members[:, None]
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
    progress: Callable[[float], None] | None = None,
) -> KernelShapValues:
    """``kernel_shap_values`` with all that it measured (see ``KernelShapValues``). Errors as there.

    ``progress`` is called with the share done (0 to 1) after each batch; without it, a bar is shown if it
    takes more than a moment.

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
    ends = torch.tensor([[False], [True]]).expand(2, n_players)
    between, weights, exact = ends[:0], torch.ones(0, dtype=torch.float64), True
    if n_players > 1:
        between, weights, exact = design(n_players, int(samples), seeded(generator))
    coalitions = torch.cat([ends, between])
    with working("KernelSHAP", 1, progress=progress) as work:
        answers, as_given = values_of(value, coalitions, batch_size, work.at)
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


@signature_of(kernel_shap_values_result)
def kernel_shap_values(*args: Any, **options: Any) -> Float[Tensor, " M *K"]:
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
    return kernel_shap_values_result(*args, **options).values


def kernel_shap_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    segments: Int[Tensor, "N H W"] | None = None,
    samples: int | None = None,
    fill: Fill = "grey",
    generator: torch.Generator | None = None,
    batch_size: int = 8,
) -> Surrogate:
    """``kernel_shap`` with all that it found (see ``Surrogate``). Options and errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval().double()
    >>> images = torch.rand(1, 3, 4, 4)
    >>> result = kernel_shap_result(net, images, 0, samples=64)
    >>> score = net(images.double())[0, 0].item()
    >>> abs(float(result.intercept[0] + result.weights[0].sum()) - score) < 1e-9
    True
    """

    def fit(
        value: Value, players: int, draws: torch.Generator, progress: Callable[[float], None]
    ) -> tuple[Tensor, Tensor, Tensor]:
        found = kernel_shap_values_result(
            value, players, samples=samples, generator=draws, batch_size=batch_size, progress=progress
        )
        return found.values, found.base, found.fidelity

    return fitted("KernelSHAP", fit, model, images, target, segments, fill, samples or 600, generator)


@signature_of(kernel_shap_result)
def kernel_shap(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """The Shapley value of each superpixel in the game whose value is the score, estimated by KernelSHAP.

    The superpixels' values sum to the score of the picture minus that of the fill, exactly. ``segments`` and
    ``fill`` as in ``lime``; ``samples`` and the regression as in ``kernel_shap_values``; ``generator`` (None:
    seed 0) draws the same for each picture. Signed. Unit: score (before the softmax) a superpixel, not a
    pixel. Raises ValueError for one superpixel or too few samples, else as ``lime``.

    Labels: post hoc, model-agnostic, local.
    Source: Lundberg and Lee 2017, "A Unified Approach to Interpreting Model Predictions", section 4.1; the
    absent superpixel shows the fill, where the paper takes an expectation over the data.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> kernel_shap(net, torch.full((1, 3, 4, 4), 0.7), 0, samples=64).shape
    torch.Size([1, 4, 4])
    """
    return kernel_shap_result(*args, **options).map
