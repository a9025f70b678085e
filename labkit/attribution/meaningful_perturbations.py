"""Meaningful perturbation: masks with a price on their size, which destroy a class or keep it."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.attribution.gradient import confidence, lost
from labkit.core.checks import check_choice, check_weight
from labkit.core.door import NO_SLOPE, asked, finite, seeded
from labkit.core.registry import signature_of
from labkit.core.targets import rewarded, select
from labkit.models import Target, scores
from labkit.models.fast import memory_format
from labkit.optimize import gaussian_blur, minimize, shift, total_variation
from labkit.optimize.loop import warn_of_dead

_CELLS = 28  # the paper's mask has 28 x 28 cells on 224 pixels; its weights are sums over them


class MeaningfulPerturbation(NamedTuple):
    """``map`` (N, H, W): 1 where the picture matters; ``shown`` (N, C, H, W): the picture that the mask
    leaves; ``reward`` (N,): what the model gives it; ``whole`` (N,): the untouched picture's; ``losses``;
    ``sigma`` (N,): of the blur that hides, in pixels; ``blurred`` (N,): the reward of the whole picture
    blurred so: where it is near ``whole``, no mask can take the class; ``start`` (N,): how much of the blur
    the search began with, 0 to 1; ``alive`` (N,): False where the gradient was exactly zero in every step."""

    map: Float[Tensor, "N H W"]
    shown: Float[Tensor, "N C H W"]
    reward: Float[Tensor, " N"]
    whole: Float[Tensor, " N"]
    losses: Float[Tensor, " T"]
    sigma: Float[Tensor, " N"]
    blurred: Float[Tensor, " N"]
    start: Float[Tensor, " N"]
    alive: Bool[Tensor, " N"]


def _hiding(
    model: nn.Module, inputs: Float[Tensor, "N C H W"], target: Target
) -> tuple[Float[Tensor, "N C H W"], Float[Tensor, " N"]]:
    """The pictures blurred so that they hide their class, and each one's sigma.

    10 pixels of 224, doubled while half of the model's confidence outlasts it, up to half the shorter side;
    where none takes it, the first again.
    """
    side = min(inputs.shape[2:])
    tried = max(1.0, side * 10 / 224)
    now = gaussian_blur(inputs, tried)
    blurred, sigma = now.clone(), torch.full((len(inputs),), tried, dtype=inputs.dtype, device=inputs.device)
    whole = finite(scores(model, inputs.clone(), confidence(target)))
    rows = torch.arange(len(inputs), device=inputs.device)
    while True:
        gone = lost(scores(model, now.clone(), confidence(select(target, rows))), whole[rows])
        blurred[rows[gone]], sigma[rows[gone]] = now[gone], tried
        rows, tried = rows[~gone], 2 * tried
        if not len(rows) or tried > side / 2:
            return blurred, sigma
        now = gaussian_blur(inputs[rows], tried)


def meaningful_perturbation_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    version: int = 2,
    mode: str = "delete",
    reward: str = "probability",
    area_weight: float = 1e-4,
    tv_weight: float = 1e-2,
    steps: int = 150,
    rate: float = 0.1,
    generator: torch.Generator | None = None,
) -> MeaningfulPerturbation:
    """``meaningful_perturbation`` with the picture that is left and its reward. Errors as there.

    >>> net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> meaningful_perturbation_result(net, torch.rand(1, 3, 16, 16), 0, steps=2).shown.shape
    torch.Size([1, 3, 16, 16])
    """
    if version not in (1, 2):
        raise ValueError(f"version must be 1 or 2, the two of the paper; got {version!r}.")
    check_choice("mode", mode, ("delete", "preserve"))
    check_choice("reward", reward, ("probability", "logit"))
    for name, weight in {"area_weight": area_weight, "tv_weight": tv_weight}.items():
        check_weight(name, weight)
    generator, own = seeded(generator), rewarded(target, reward)
    with asked(model, images) as inputs:
        height, width = inputs.shape[2:]
        side = min(height, width)
        cells = (height, width) if version == 1 else tuple(max(4, round(s / 8)) for s in (height, width))
        # the sums of the paper run over 28 x 28 cells: here means, times as many
        # (and steps between cells, to the third power, grow with the size of a cell)
        scale = _CELLS**2 / (cells[0] * cells[1])
        roughness = (cells[0] * cells[1]) ** 0.5 / _CELLS
        with torch.no_grad():
            blurred, sigma = _hiding(model, inputs, target)
            whole, bare = (finite(scores(model, x.clone(), own)) for x in (inputs, blurred))
            # where the softmax is saturated at a half there is no slope to begin with
            start = torch.full_like(whole, 0.5)
            for share in (0.75, 0.9, 1.0):
                now = scores(model, inputs + start.view(-1, 1, 1, 1) * (blurred - inputs), own)
                moved = whole - now if mode == "delete" else now - bare
                flat = moved < 0.1 * (whole - bare)
                start = torch.where(flat, share if mode == "delete" else 1 - share, start)
        hidden = start.view(-1, 1, 1, 1).expand(-1, 1, *cells).clone()
        order = memory_format(model, inputs[:1])

        def full() -> Tensor:
            """Where the picture is hidden, 0 to 1, at its full size."""
            if version == 1:
                return hidden
            large = F.interpolate(hidden, (height, width), mode="bilinear", align_corners=False)
            return gaussian_blur(large, max(0.5, side * 5 / 224))

        def loss(_: int) -> tuple[Tensor, Tensor]:
            covered = full()
            shown = inputs + covered * (blurred - inputs)
            if version == 2:
                shown = shift(shown, max(1, round(side * 4 / 224)), generator)
            given = scores(model, shown.contiguous(memory_format=order), own)
            chosen = hidden if mode == "delete" else 1 - hidden
            price = area_weight * scale * chosen.sum((1, 2, 3))
            if version == 2:
                price = price + tv_weight * roughness * total_variation(hidden, 3.0)
            return (given if mode == "delete" else -given).sum(), price.sum()

        found = minimize(
            [hidden], loss, steps=steps, rate=rate, project=lambda _: hidden.clamp_(0, 1),
            refusal=NO_SLOPE, describe="meaningful perturbation",
        )  # fmt: skip
        with torch.no_grad():
            covered = full()
            shown = inputs + covered * (blurred - inputs)
            left = scores(model, shown.clone(), own)
        maps = covered[:, 0] if mode == "delete" else 1 - covered[:, 0]
        return MeaningfulPerturbation(
            finite(maps), shown.detach(), left, whole, found.losses, sigma, bare, start, found.alive
        )


@signature_of(meaningful_perturbation_result)
def meaningful_perturbation(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """The smallest part whose blurring destroys the score ("delete"), or that alone keeps it ("preserve").

    ``version`` 1 has one free cell a pixel and only the penalty on the area, and finds artefacts; version 2
    has coarse cells, a smoothness penalty (total variation with exponent 3), a blur of the mask and random
    shifts. Both weights multiply sums over a mask of 28 x 28 cells, whatever the picture's size. ``reward``
    is the "probability", as in the paper, or the "logit". The blur, 10 pixels of 224, is doubled for a
    picture whose class outlasts it. The mask starts at a half, where neither end is favoured; where the
    softmax is saturated there, at 3/4, 9/10 or all of the way to where it is not. Shifts are the same for all
    pictures of a batch, drawn from ``generator`` (None: seed 0).
    Unit: mask, 0 to 1, 1 where the picture matters. Warns of pictures whose mask is empty, which are not
    explained, and of those whose gradient is exactly zero. Raises ValueError for a bad option, else as
    ``saliency``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Fong and Vedaldi 2017, "Interpretable Explanations of Black Boxes by Meaningful Perturbation",
    sections 4.2 and 4.3, with Adam, rate .1; one blur serves all pictures there.

    >>> net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> meaningful_perturbation(net, torch.rand(1, 3, 16, 16), 0, steps=2).shape
    torch.Size([1, 16, 16])
    """
    done = meaningful_perturbation_result(*args, **options)
    warn_of_dead(done.alive)
    if empty := int((done.alive & (done.map.amax((1, 2)) < 0.01)).sum()):
        warnings.warn(
            f"the mask is empty for {empty} of {len(done.map)} pictures: no part was found that is worth its "
            "price. See the result's blurred and whole, what hiding can take, and lower area_weight, or ask "
            'for reward="logit".',
            RuntimeWarning,
            stacklevel=2,
        )
    return done.map
