"""LIME from the two functions of the exercises, its kernel and its fit (lab 24).

With the references it draws and finds what `labkit.attribution.lime` does, which a test holds it to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.attribution import superpixels
from labkit.experiments.bench import Bench
from labkit.models import borrow
from labkit.models.fast import fast_copy

Own = Callable[..., Tensor]


def ask_first(lime_weights: Own, fit_surrogate: Own) -> None:
    """Call both functions on three rows, so that one not yet written says so before anything long."""
    rows = torch.eye(3, dtype=torch.float64)
    fit_surrogate(rows, rows[0], lime_weights(rows, 0.25), 1.0)


class OwnLime(NamedTuple):
    """``map`` (N, H, W): the weight of each pixel's superpixel; ``players`` (N,): how many superpixels there
    are; ``fidelity`` (N,): the share of the scores' weighted variance on fresh copies that the line explains,
    NaN where none were asked for."""

    map: Float[Tensor, "N H W"]
    players: Int[Tensor, " N"]
    fidelity: Float[Tensor, " N"]


def copies(count: int, players: int, seed: int) -> Bool[Tensor, "S M"]:
    """Which superpixels each covered copy shows: all in the first, each by a coin in the others.

    The draw is that of `labkit.attribution.lime` with a generator of this seed.
    """
    start = torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(seed))
    coin = torch.Generator().manual_seed(int(start))
    kept = torch.rand(count, players, generator=coin, dtype=torch.float64) < 0.5
    kept[0] = True
    kept[~kept.any(1), 0] = True  # nothing shown has no cosine
    return kept


def own_lime(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: int | Int[Tensor, " N"],
    *,
    lime_weights: Own,
    fit_surrogate: Own,
    samples: int = 300,
    fresh: int = 0,
    seed: int = 0,
) -> OwnLime:
    """LIME with the kernel and the fit that are handed in: width 0.25, penalty 1, covered with grey.

    ``samples``: copies that the line is fitted to. ``fresh``: further ones, on which its fidelity is told: on
    its own copies a line explains even dice. ``seed``: another draw of the copies.
    """
    ask_first(lime_weights, fit_surrogate)
    maps, numbers, explained = [], [], []
    classes = torch.as_tensor(target).expand(len(images)).tolist()
    with borrow(model), torch.no_grad():
        quick = fast_copy(model, images[:1], forwards=samples + fresh)
        jobs = zip(images, superpixels(images), classes, strict=True)
        for image, places, own in tqdm(jobs, "LIME", len(images), leave=False, delay=1.5):
            kept = copies(samples + fresh, int(places.max()) + 1, seed)
            shown = (torch.where(rows[:, places][:, None], image, 0.5) for rows in kept.split(8))
            scores = torch.cat([quick(part)[:, own] for part in shown]).double()
            masks = kept.double()
            weights = lime_weights(masks, 0.25)
            slopes = fit_surrogate(masks[:samples], scores[:samples], weights[:samples], 1.0)
            explained.append(_fidelity(scores - masks @ slopes, scores, weights, samples))
            maps.append(slopes[places].float())
            numbers.append(len(slopes))
    return OwnLime(torch.stack(maps), torch.tensor(numbers), torch.tensor(explained))


def _fidelity(off: Tensor, scores: Tensor, weights: Tensor, fitted: int) -> float:
    """Weighted R^2 on the copies after the ``fitted`` ones; the intercept comes from these as well."""
    level = (weights * off)[:fitted].sum() / weights[:fitted].sum()
    own, left, new = weights[fitted:], (off - level)[fitted:], scores[fitted:]
    return float(1 - (own * left**2).sum() / (own * (new - (own * new).sum() / own.sum()) ** 2).sum())


class LimeDraws(NamedTuple):
    """``maps``: of two draws; ``alike`` (N,): how their pixels correlate; ``fidelity`` (N,): of the first, on
    fresh copies; ``starved`` (N,): the same for a line that was fitted to 30 copies."""

    maps: dict[str, Float[Tensor, "N H W"]]
    alike: list[float]
    fidelity: list[float]
    starved: list[float]


def lime_draws(
    bench: Bench,
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Int[Tensor, " N"],
    *,
    lime_weights: Own,
    fit_surrogate: Own,
) -> LimeDraws:
    """Does another draw of LIME say the same, and does the line behave like the network at all?

    No claim: what to ask of a surrogate before one believes it.
    """
    many = 60 if bench.quick else 300
    run = partial(own_lime, model, images, target, lime_weights=lime_weights, fit_surrogate=fit_surrogate)
    first, second = run(samples=many, fresh=many), run(samples=many, seed=1)
    starved = run(samples=30, fresh=30)
    pairs = zip(first.map.flatten(1).numpy(), second.map.flatten(1).numpy(), strict=True)
    alike = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs]
    maps = {"LIME (yours)": first.map, "another draw": second.map}
    return LimeDraws(maps, alike, first.fidelity.tolist(), starved.fidelity.tolist())
