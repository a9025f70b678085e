"""Local surrogates, simple models in place of the network around one picture: LIME on superpixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.attribution.shapley import Value, fidelity, values_of
from labkit.attribution.slic import numbered
from labkit.core.checks import check_positive, check_weight
from labkit.core.door import asked, finite, seeded
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.core.targets import reads_layers, select
from labkit.models import Target, scores
from labkit.models.fast import fast_copy
from labkit.optimize.images import Fill, filling

# (the score of coalitions of superpixels, their number, draws, progress) -> weights (M,), intercept, fidelity
Fit = Callable[[Value, int, torch.Generator, Callable[[float], None]], tuple[Tensor, Tensor, Tensor]]


class Surrogate(NamedTuple):
    """All that ``lime`` and ``kernel_shap`` found.

    ``map`` (N, H, W): the weight of each pixel's superpixel; ``segments`` (N, H, W): its number, from 0;
    ``weights``: one tensor (M,) a picture, for its M superpixels; ``intercept`` (N,): the surrogate's score
    with every superpixel covered (for KernelSHAP the network's own); ``fidelity`` (N,): the surrogate's
    weighted R^2 on the covered pictures it was fitted to, 1 where the score never changes.
    """

    map: Float[Tensor, "N H W"]
    segments: Int[Tensor, "N H W"]
    weights: tuple[Tensor, ...]
    intercept: Float[Tensor, " N"]
    fidelity: Float[Tensor, " N"]


def score_of_parts(
    model: nn.Module,
    image: Float[Tensor, "C H W"],
    hidden: Float[Tensor, "C H W"],
    segments: Int[Tensor, "H W"],
    target: Target,
) -> Value:
    """The score as a function of the superpixels that are left to be seen; the others show ``hidden``."""

    def value(kept: Tensor) -> Float[Tensor, " B"]:
        seen = kept.to(segments.device)[:, segments][:, None]
        return finite(scores(model, torch.where(seen, image, hidden), target))

    return value


def fitted(
    name: str,
    fit: Fit,
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    segments: Int[Tensor, "N H W"] | None,
    fill: Fill,
    samples: int,
    generator: torch.Generator | None,
) -> Surrogate:
    """A surrogate for each picture by ``fit``, which draws alike for each; ``name`` stands on the bar.

    ``samples`` is about how often a picture is asked about.
    """
    with asked(model, images) as inputs, torch.no_grad(), working(name, len(inputs)) as work:
        parts = numbered(segments, inputs)
        finite(scores(model, inputs.clone(), target))  # refuses an illegal target and a broken model at once
        quick = fast_copy(model, inputs[:1], forwards=samples, folded=not reads_layers(target))
        hidden, chance = filling(inputs, fill), seeded(generator)
        seed = int(torch.randint(2**62, (1,), generator=chance, device=chance.device))
        found = []
        for number, own in enumerate(parts):

            def progress(share: float, before: int = number) -> None:
                work.at(before + share)

            value = score_of_parts(quick, inputs[number], hidden[number], own, select(target, number))
            found.append(fit(value, int(own.max()) + 1, torch.Generator().manual_seed(seed), progress))
        weights, intercepts, explained = (
            tuple(part.to(inputs) for part in column) for column in zip(*found, strict=True)
        )
        maps = torch.stack([weight[own] for weight, own in zip(weights, parts, strict=True)])
        return Surrogate(
            finite(maps), torch.stack(parts), weights, torch.stack(intercepts), torch.stack(explained)
        )


def ridge(
    rows: Float[Tensor, "B M"], answers: Float[Tensor, " B"], weights: Float[Tensor, " B"], alpha: float
) -> tuple[Float[Tensor, " M"], Float[Tensor, ""]]:
    """Weighted ridge regression with an intercept that is not penalised; the shortest solution at alpha 0."""
    share = weights / weights.sum()
    centre, level = share @ rows, share @ answers
    root = weights.sqrt()[:, None]
    penalty = alpha**0.5 * torch.eye(rows.shape[1], dtype=rows.dtype)
    left = torch.cat([root * (rows - centre), penalty])
    right = torch.cat([root * (answers - level)[:, None], torch.zeros(rows.shape[1], 1, dtype=rows.dtype)])
    slopes = torch.linalg.lstsq(left, right, driver="gelsd").solution[:, 0]
    return slopes, level - centre @ slopes


def lime_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    segments: Int[Tensor, "N H W"] | None = None,
    samples: int = 512,
    fill: Fill = "grey",
    kernel_width: float = 0.25,
    alpha: float = 1.0,
    generator: torch.Generator | None = None,
    batch_size: int = 8,
) -> Surrogate:
    """``lime`` with all that it found (see ``Surrogate``). Options and errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> result = lime_result(net, torch.full((1, 3, 4, 4), 0.7), 0, samples=32)
    >>> bool((result.weights[0][result.segments[0]] == result.map[0]).all())
    True
    """
    check_positive("samples", samples)
    check_positive("kernel_width", kernel_width, integer=False)
    check_weight("alpha", alpha, "Ribeiro et al. take 1.")

    def fit(
        value: Value, players: int, draws: torch.Generator, progress: Callable[[float], None]
    ) -> tuple[Tensor, Tensor, Tensor]:
        if samples <= players:
            raise ValueError(
                f"samples must be more than the number of superpixels ({players}); got {samples}. "
                f"Pass for example samples={20 * players}, or fewer superpixels."
            )
        kept = torch.rand(int(samples), players, generator=draws, dtype=torch.float64) < 0.5
        kept[0] = True
        answers, _ = values_of(value, kept, batch_size, progress)
        near = torch.exp(-(((1 - kept.double().mean(1).sqrt()) / kernel_width) ** 2)).sqrt()
        change = answers - answers[:1]  # a score that never changes then gives exact zeros
        slopes, level = ridge(kept.double(), change[:, 0], near, float(alpha))
        explained = fidelity(change, (level + kept.double() @ slopes)[:, None], near)[0]
        return slopes, answers[0, 0] + level, explained

    return fitted("LIME", fit, model, images, target, segments, fill, samples, generator)


@signature_of(lime_result)
def lime(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """What each superpixel adds to the score by a linear model that was fitted to covered copies.

    ``segments`` are the superpixels (default: ``superpixels(images)``), (N, H, W) or one (H, W) for all. In
    each of ``samples`` copies every superpixel is covered with probability 1/2, in the first none; ``fill``
    as in ``occlusion``. Copies close to the picture count more: the kernel is the root of exp(-d^2 /
    ``kernel_width``^2), d the cosine distance to all of them, 1 - the root of the share kept. The ridge
    penalty ``alpha`` leaves the intercept free. ``generator`` draws the copies (None: seed 0), the same draw
    for each picture; the segmentation has no chance in it. Signed. Unit: score (before the softmax) a
    superpixel, not a pixel. Raises ValueError for one superpixel, for no more samples than superpixels and
    for illegal numbers, TypeError for segments of another kind, else as ``occlusion``.

    Labels: post hoc, model-agnostic, local.
    Source: Ribeiro, Singh and Guestrin 2016, "Why Should I Trust You?", sections 3.3 and 3.4. They explain
    the probability, choose few superpixels by K-lasso and cover with each superpixel's own mean; their code
    draws 1000 copies. Here all keep their weight, and the score before the softmax is explained.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> lime(net, torch.full((1, 3, 4, 4), 0.7), 0, samples=32).shape
    torch.Size([1, 4, 4])
    """
    return lime_result(*args, **options).map
