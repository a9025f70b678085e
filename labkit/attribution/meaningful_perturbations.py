"""Meaningful perturbation: masks with a price on their size, which destroy a class or keep it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_weight
from labkit.core.door import asked, finite, seeded
from labkit.core.registry import signature_of
from labkit.core.targets import rewarded
from labkit.models import Target, scores
from labkit.models.fast import memory_format
from labkit.optimize import gaussian_blur, minimize, shift, total_variation

_CELLS = 28  # the paper's mask has 28 x 28 cells on 224 pixels; its weights are sums over them


class MeaningfulPerturbation(NamedTuple):
    """``map`` (N, H, W): 1 where the picture matters; ``shown`` (N, C, H, W): the picture that the mask
    leaves; ``reward`` (N,): what the model gives it; ``whole`` (N,): the untouched picture's; ``losses``."""

    map: Float[Tensor, "N H W"]
    shown: Float[Tensor, "N C H W"]
    reward: Float[Tensor, " N"]
    whole: Float[Tensor, " N"]
    losses: Float[Tensor, " T"]


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
        n, (height, width) = len(inputs), inputs.shape[2:]
        side = min(height, width)
        blurred = gaussian_blur(inputs, max(1.0, side * 10 / 224))
        cells = (height, width) if version == 1 else tuple(max(4, round(s / 8)) for s in (height, width))
        # the sums of the paper run over 28 x 28 cells: here means, times as many
        # (and steps between cells, to the third power, grow with the size of a cell)
        scale = _CELLS**2 / (cells[0] * cells[1])
        roughness = (cells[0] * cells[1]) ** 0.5 / _CELLS
        hidden = torch.full((n, 1, *cells), 0.5, dtype=inputs.dtype, device=inputs.device)
        with torch.no_grad():
            whole = finite(scores(model, inputs.clone(), own))
        order = memory_format(model, inputs[:1])

        def full() -> Tensor:
            """Where the picture is hidden, 0 to 1, at its full size."""
            if version == 1:
                return hidden
            large = F.interpolate(hidden, (height, width), mode="bilinear", align_corners=False)
            return gaussian_blur(large, max(0.5, side * 5 / 224))

        def loss(_: int) -> Tensor:
            covered = full()
            shown = inputs + covered * (blurred - inputs)
            if version == 2:
                shown = shift(shown, max(1, round(side * 4 / 224)), generator)
            given = scores(model, shown.contiguous(memory_format=order), own)
            chosen = hidden if mode == "delete" else 1 - hidden
            value = area_weight * scale * chosen.sum((1, 2, 3))
            if version == 2:
                value = value + tv_weight * roughness * total_variation(hidden, 3.0)
            return (value + (given if mode == "delete" else -given)).sum()

        found = minimize(
            [hidden], loss, steps=steps, rate=rate, project=lambda _: hidden.clamp_(0, 1),
            describe="meaningful perturbation",
        )  # fmt: skip
        with torch.no_grad():
            covered = full()
            shown = inputs + covered * (blurred - inputs)
            left = scores(model, shown.clone(), own)
        maps = covered[:, 0] if mode == "delete" else 1 - covered[:, 0]
        return MeaningfulPerturbation(finite(maps), shown.detach(), left, whole, found.losses)


@signature_of(meaningful_perturbation_result)
def meaningful_perturbation(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """The smallest part whose blurring destroys the score ("delete"), or that alone keeps it ("preserve").

    ``version`` 1 has one free cell a pixel and only the penalty on the area, and finds artefacts; version 2
    has coarse cells, a smoothness penalty (total variation with exponent 3), a blur of the mask and random
    shifts. Both weights multiply sums over a mask of 28 x 28 cells, whatever the picture's size. ``reward``
    is the "probability", as in the paper, or the "logit", which has a gradient where the softmax is
    saturated. Shifts are the same for all pictures of a batch, drawn from ``generator`` (None: seed 0).
    Unit: mask, 0 to 1, 1 where the picture matters. Raises ValueError for a bad option, else as ``saliency``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Fong and Vedaldi 2017, "Interpretable Explanations of Black Boxes by Meaningful Perturbation",
    sections 4.2 and 4.3. The mask starts at a half, where neither end is favoured; Adam, rate .1.

    >>> net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> meaningful_perturbation(net, torch.rand(1, 3, 16, 16), 0, steps=2).shape
    torch.Size([1, 16, 16])
    """
    return meaningful_perturbation_result(*args, **options).map
