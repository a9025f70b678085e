"""TCAV: does a concept matter to a class? The score, its test against random concepts, paired re-renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.concept_vectors import (
    CONSTANT,
    Pictures,
    is_constant,
    layer_gradients,
)
from labkit.concepts.directions import Directions, by_channel
from labkit.concepts.label_maps import side_of
from labkit.core.checks import check_positive
from labkit.core.door import own_copy, seeded
from labkit.core.hooks import borrow
from labkit.core.progress import working
from labkit.core.registry import signature_of, warn_caller
from labkit.core.statistics import permutation_test, rank_p
from labkit.core.targets import pick
from labkit.models import Target
from labkit.models.features import batches, features

__all__ = ["PairedCav", "Tcav", "paired_cav", "paired_cav_result", "tcav", "tcav_result"]


class Tcav(NamedTuple):
    """``score``: the share of pictures whose score rises along the concept, mean over ``scores`` (R,), one a
    draw of other pictures; ``null`` (K,): the same of random concepts; ``z`` and ``p``: the score among them,
    both sides; ``paper_p``: the paper's t-test; ``derivatives`` (N,): mean over draws, along unit vectors;
    ``constant``: whether the gradient is the same for all pictures: ``scores`` are then 0 or 1 by algebra."""

    score: float
    scores: Float[Tensor, " R"]
    null: Float[Tensor, " K"]
    z: float
    p: float
    paper_p: float
    derivatives: Float[Tensor, " N"]
    constant: bool


def z_among(score: float, means: Float[Tensor, " K"]) -> float:
    """How many standard deviations a score lies from the mean of those that chance gave.

    Infinite where these are all the same and the score another, and 0 where it is the same, too.

    >>> z_among(3.0, torch.tensor([0.0, 1.0, 2.0]))
    2.0
    """
    apart = score - float(means.mean())
    spread = float(means.std()) if len(means) > 1 else 0.0
    if spread:
        return apart / spread
    return float(np.copysign(np.inf, apart)) if apart else 0.0


def _check_pool(pool: str | None) -> None:
    if pool not in (None, "mean"):
        raise ValueError(f'pool must be None or "mean"; got {pool!r}.')


def _check_pictures(given: Mapping[str, Any]) -> None:
    for name, pictures in given.items():
        if not isinstance(pictures, Tensor | ndarray):
            raise TypeError(
                f"{name} must be pictures, a tensor or an array; got {type(pictures).__name__}. Read files "
                "first: torch.stack([labkit.data.load_photo(file, side) for file in files])."
            )


def _features(
    model: nn.Module, layer: str, pool: str | None, dtype: torch.dtype, images: Tensor, slopes: Tensor,
    sets: Mapping[str, Pictures],
) -> list[Float[Tensor, "N D"]]:  # fmt: skip
    """What a layer gives for sets of pictures, in rows as long as the slopes of the images; raises ValueError
    where the layer, or the model, does not take their sizes together."""
    sides = {name: side_of(pictures) for name, pictures in {"images": images, **sets}.items()}
    try:
        found = [features(model, one, layer, pool=pool, dtype=dtype).flatten(1) for one in sets.values()]
    except RuntimeError:
        if len(set(sides.values())) == 1:
            raise
        found = []
    if not found or any(rows.shape[1] != slopes.shape[1] for rows in found):
        got = ", ".join(f"{name} {high} x {wide}" for name, (high, wide) in sides.items())
        raise ValueError(
            f"{', '.join(sides)} must be of one size; got {got}. Cut them to one, "
            'or for a network that takes any size compare the means of channels: pool="mean".'
        )
    return found


def tcav_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    layer: str,
    concept: Pictures,
    others: Pictures,
    random_concepts: int = 100,
    draws: int = 10,
    pool: str | None = None,
    penalty: float = 0.01,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tcav:
    """``tcav`` with what chance gives and both tests (see ``Tcav``). Errors as there."""
    check_positive("random_concepts", random_concepts)
    check_positive("draws", draws)
    _check_pool(pool)
    _check_pictures({"concept": concept, "others": others})
    size = len(concept)
    if size < 2:
        raise ValueError(f"concept must be at least 2 pictures, better 30; got {size}.")
    if len(others) < 2 * size:
        raise ValueError(
            f"others must be at least twice as many as the concept's {size} pictures, so that a random "
            f"concept and what it is held against are not the same; got {len(others)}. Better is 2,000."
        )
    own = seeded(generator)
    slopes = layer_gradients(model, images, target, layer=layer)
    constant = is_constant(slopes)
    if constant:
        warn_caller(CONSTANT.format(repr(layer)))
    slopes = by_channel(slopes) if pool else slopes.flatten(1)
    half = torch.float16 if pool is None else torch.float32
    sets = {"concept": concept, "others": others}
    found = _features(model, layer, pool, half, images, slopes, sets)
    rows = torch.cat(found)
    vectors = Directions(rows, slopes, penalty)
    first, rest = torch.arange(size), torch.arange(size, len(rows))
    null = []
    with working("TCAV", draws * (1 + random_concepts), "vector", progress=progress) as work:
        every = vectors.of_concept(first, rest, draws, own)
        for number in range(random_concepts):
            null.append((vectors.of_chance(rest, size, draws, own) > 0).double().mean(1))
            work.at(draws * (number + 2))
    shares, chances = (every > 0).double().mean(1), torch.stack(null)
    means = chances.mean(1)
    score, middle = float(shares.mean()), float(means.mean())
    p = rank_p(score - middle, (means - middle).numpy(), side="both")
    return Tcav(
        score, shares.float(), means.float(), z_among(score, means), p, paper_p(shares, chances),
        every.mean(0).float(), constant,
    )  # fmt: skip


def paper_p(shares: Float[Tensor, " R"], chances: Float[Tensor, "K R"]) -> float:
    """The two-sided t-test of Kim et al. between a concept's scores and those of random concepts.

    All scores of one concept share its pictures, so this is no test: see ``tcav``.

    >>> paper_p(torch.tensor([0.5, 0.5]), torch.tensor([[0.5, 0.5]]))
    1.0
    """
    from scipy.stats import ttest_ind_from_stats

    first, second = shares.numpy(), chances.flatten().numpy()
    if len(first) < 2 or (first.std() == 0 and second.std() == 0):
        return 1.0 if first.mean() == second.mean() else 0.0
    facts = [(v.mean(), v.std(ddof=1), len(v)) for v in (first, second)]
    return float(ttest_ind_from_stats(*facts[0], *facts[1]).pvalue)


@signature_of(tcav_result)
def tcav(*args: Any, **options: Any) -> float:
    """Testing with a concept's vector: the share of pictures whose score rises along it, 0 to 1.

    The concept's pictures are parted from ``draws`` draws of as many ``others``; the score is the mean over
    the draws. At chance it is not .5: hold it against ``random_concepts`` concepts dealt from the others
    (``tcav_result``). All vectors of one concept share its pictures, so a t-test over draws, the paper's, is
    no test: on this kit's world it called .28 to .49 of random concepts significant at .05. Ours compares
    means with means.

    ``images``: of the class; ``concept``, ``others``: pictures, as ``labkit.models.features`` takes them,
    tensors or bytes. ``pool``: None takes the layer's numbers in a row (kept in float16), "mean" the means
    of channels. Warns where the derivative is the same for all pictures. Raises ValueError for too few
    pictures, sets of several sizes (unless pooled) and a concept that the layer does not tell from the
    others, TypeError for a folder, which is to be read first, else as ``layer_gradients``.

    Unit: share. Labels: post hoc, specific to differentiable networks, global.
    Source: Kim et al. 2018, "Interpretability Beyond Feature Attribution", section 3.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval()
    >>> dark, light = torch.rand(4, 3, 4, 4) / 2, torch.rand(9, 3, 4, 4)
    >>> 0 <= tcav(net, light, 0, layer="0", concept=dark, others=light, random_concepts=2, draws=2) <= 1
    True
    """
    return tcav_result(*args, **options).score


class PairedCav(NamedTuple):
    """``vector`` (D,): the pairs' mean difference, of its own length; ``effect``: the mean derivative along
    it, in score; ``z``, ``p`` and ``null`` (K,): the effect among those with the pairs' signs flipped by lot;
    ``counterfactual``: the score with the thing less the score without it, mean over the pairs."""

    vector: Float[Tensor, " D"]
    effect: float
    z: float
    p: float
    null: Float[Tensor, " K"]
    counterfactual: float


def paired_cav_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    layer: str,
    present: Pictures,
    absent: Pictures,
    pool: str | None = None,
    flips: int = 500,
    generator: torch.Generator | None = None,
) -> PairedCav:
    """``paired_cav`` with its effect on a target, the test, and what re-drawing does (see ``PairedCav``)."""
    check_positive("flips", flips)
    _check_pool(pool)
    _check_pictures({"present": present, "absent": absent})
    if len(present) != len(absent) or len(present) < 2:
        raise ValueError(
            "present and absent must be the same scenes with and without one thing, in the same order, at "
            f"least 2; got {len(present)} and {len(absent)}."
        )
    slopes = layer_gradients(model, images, target, layer=layer)
    slopes = by_channel(slopes) if pool else slopes.flatten(1)
    sets = {"present": present, "absent": absent}
    with_it, without = _features(model, layer, pool, torch.float32, images, slopes.flatten(1), sets)
    pairs = with_it.double() - without.double()
    if not pairs.any():
        raise ValueError(
            "present and absent must differ in what the layer gives; for every pair it is the same."
        )
    # the effect is a mean over pairs, so a flip of a pair is a flip of its number
    each = (pairs @ slopes.double().mean(0)).numpy()
    seed = int(torch.randint(2**31, (1,), generator=seeded(generator)))
    test = permutation_test(each, repeats=flips, seed=seed)
    null = np.asarray(test.null)
    spread = float(null.std())
    z = test.value / spread if spread else 0.0
    changes = [_mean_score(model, pictures, target) for pictures in (present, absent)]
    return PairedCav(pairs.mean(0).float(), float(test.value), z, test.p, torch.from_numpy(null).float(),
                     changes[0] - changes[1])  # fmt: skip


def _mean_score(model: nn.Module, pictures: Pictures, target: Target) -> float:
    total = 0.0
    with borrow(model), torch.no_grad():
        for part in batches(pictures):
            total += float(pick(model(own_copy(model, part)), target).double().sum())
    return total / len(pictures)


@signature_of(paired_cav_result)
def paired_cav(*args: Any, **options: Any) -> Float[Tensor, " D"]:
    """A concept's direction from the same scenes with and without it: the mean difference in a layer.

    All else is equal in a pair, so nothing else is in the direction; random pictures are the wrong null for a
    colour. It keeps its length: the derivative along it (``paired_cav_result``) is what the layer's change
    makes of the score to first order, to be held against ``counterfactual``, what re-drawing makes of it. Its
    null flips the signs of pairs. ``images``: whose derivative is asked; ``present``, ``absent``: pictures in
    the same order. ``pool``: None where the thing is at the same place in all pairs, "mean" (the means of
    channels, moved at all places alike) where it is not. ``target``: a class index or one callable. Raises
    ValueError for sets that are no pairs or do not differ, else as ``layer_gradients``.

    Unit: activation. Labels: post hoc, specific to differentiable networks, global.
    Source: no paper; after Kim et al. 2018, for scenes that can be drawn again.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> grey = torch.full((2, 3, 1, 1), 0.5)
    >>> red = grey + torch.tensor([0.25, 0.0, 0.0]).view(3, 1, 1)
    >>> paired_cav(net, grey, 0, layer="0", present=red, absent=grey)
    tensor([0.2500, 0.0000, 0.0000])
    """
    return paired_cav_result(*args, **options).vector
