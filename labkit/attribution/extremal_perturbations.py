"""Extremal perturbation: the part, of a fixed size, that keeps a score best; channel attribution alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_feature_map, check_share
from labkit.core.door import NO_INFLUENCE, NO_SLOPE, asked, finite, seeded
from labkit.core.hooks import find_layer
from labkit.core.registry import signature_of
from labkit.core.targets import rewarded, select
from labkit.models import Target, edit, record, scores
from labkit.models.dataflow import Flow
from labkit.models.fast import memory_format
from labkit.optimize import minimize, shift
from labkit.optimize.images import Fill, hiding, perturbed
from labkit.optimize.loop import warn_of_dead

MODES = ("preserve", "delete", "dual")
_TEMPERATURE = 1 / 20
# Cells at the start, and the area's weight there: the picture is nearly whole in every mode, so that a small
# mark can still be read; to delete, the area must wait, or it fixes masks before they have found anything.
_START = {"preserve": (0.95, 1.0), "delete": (0.05, 0.01), "dual": (0.95, 1.0)}
_LAST = 1e4  # the area's weight at the last step


class SmoothMask(nn.Module):
    """Masks (B, H, W) from coarse grids: each pixel the smooth maximum of the cells around it.

    A cell acts through a kernel with a flat top that falls off over three cells, and the maximum is a
    softmax-weighted mean of temperature 1/20 over what all cells give. Divided by what full cells give, so
    that a grid of ones is a mask of exactly 1. Worked out at half the resolution and enlarged, for it is
    smooth. Source: Fong, Patrick and Vedaldi 2019, "Understanding Deep Networks via Extremal Perturbations
    and Smooth Masks", section 3.2.
    """

    def __init__(self, height: int, width: int, like: Tensor) -> None:
        super().__init__()
        self.side, self.reach = (height, width), 3
        self.step = max(1, round(min(height, width) * 7 / 448))
        half = [-(-s // 2) for s in self.side]
        self.cells = tuple(-(-s // self.step) + 2 * self.reach for s in half)
        # distance of a place within a cell from the centres of the cells around it
        inside = (torch.arange(self.step, dtype=like.dtype, device=like.device) + 0.5) / self.step
        centres = torch.arange(-self.reach, self.reach + 1, dtype=like.dtype, device=like.device) + 0.5
        square = (inside[:, None] - centres) ** 2
        distance = (square[:, None, :, None] + square[None, :, None, :]).sqrt() / self.reach
        self.kernel = torch.exp(-10 * (distance - 0.34).clamp(min=0) ** 2).flatten(2).flatten(0, 1)
        self.full = self._maximum(self.kernel)

    @staticmethod
    def _maximum(given: Float[Tensor, "... K"]) -> Float[Tensor, "..."]:
        return (torch.softmax(given / _TEMPERATURE, -1) * given).sum(-1)

    def forward(self, grids: Float[Tensor, "B h w"]) -> Float[Tensor, "B H W"]:
        around = F.unfold(grids[:, None], 2 * self.reach + 1).transpose(1, 2)  # B, cells, 49
        given = around[:, :, None, :] * self.kernel  # B, cells, places within a cell, 49
        values = (self._maximum(given) / self.full).clamp(max=1)
        rows, columns = (c - 2 * self.reach for c in self.cells)
        values = values.view(-1, rows, columns, self.step, self.step).transpose(2, 3)
        values = values.reshape(-1, 1, rows * self.step, columns * self.step)
        height, width = self.side
        large = F.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)
        return large[:, 0, :height, :width]


class ExtremalPerturbation(NamedTuple):
    """All that ``extremal_perturbation`` found.

    ``map`` (N, H, W): the mean over the areas' masks; ``masks`` (N, A, H, W), 0 to 1; ``areas``: those asked
    for; ``achieved`` (N, A): the masks' mean within the picture; ``shown`` (N, A, C, H, W): the pictures that
    the masks leave, preserved (for "delete" without the masked part); ``rewards`` (N, A): theirs; ``whole``
    (N,): the untouched picture's; ``losses``: of the search; ``complete``: False if ``should_stop`` ended it;
    ``alive`` (N,): False where the reward's gradient was exactly zero in every step: the mask says nothing.
    """

    map: Float[Tensor, "N H W"]
    masks: Float[Tensor, "N A H W"]
    areas: tuple[float, ...]
    achieved: Float[Tensor, "N A"]
    shown: Float[Tensor, "N A C H W"]
    rewards: Float[Tensor, "N A"]
    whole: Float[Tensor, " N"]
    losses: Float[Tensor, " T"]
    complete: bool
    alive: Bool[Tensor, " N"]


def _check_areas(area: float | Sequence[float]) -> tuple[float, ...]:
    areas = tuple(float(a) for a in area) if isinstance(area, Sequence) else (float(area),)
    if not areas:
        raise ValueError("area must hold at least one share; got none. A tenth of the picture is area=0.1.")
    for a in areas:
        check_share("area", a, "A tenth of the picture is area=0.1.")
    return areas


def area_loss(masks: Float[Tensor, "B P"], areas: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """How far the sorted mask is from zeros, then ones on the share asked for (equation 4 of the paper)."""
    rank = (torch.arange(masks.shape[1], dtype=masks.dtype, device=masks.device) + 0.5) / masks.shape[1]
    wanted = (rank > 1 - areas[:, None]).to(masks)
    return ((masks.sort(1).values - wanted) ** 2).mean(1)


def to_area(masks: Float[Tensor, "B H W"], areas: Float[Tensor, " B"]) -> Float[Tensor, "B H W"]:
    """Masks whose soft edges are made so steep, or so flat, that their mean is the area asked for.

    By a power between 1/8 and 8, found by halving; what is 0 or 1 stays.

    >>> round(float(to_area(torch.linspace(0, 1, 101)[None, None], torch.tensor([0.3])).mean()), 3)
    0.3
    """
    low, high = torch.full_like(areas, 1 / 8), torch.full_like(areas, 8.0)
    for _ in range(24):
        middle = (low * high).sqrt()
        large = (masks ** middle[:, None, None]).mean((1, 2)) > areas
        low, high = torch.where(large, middle, low), torch.where(large, high, middle)
    return masks ** (low * high).sqrt()[:, None, None]


def extremal_perturbation_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    area: float | Sequence[float] = (0.05, 0.1, 0.2, 0.4),
    mode: str = "preserve",
    reward: str = "logit",
    fill: Fill = "pyramid",
    steps: int = 100,
    rate: float = 0.1,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ExtremalPerturbation:
    """``extremal_perturbation`` with every area's mask, achieved area and reward (``ExtremalPerturbation``).

    ``progress`` gets the share done; ``should_stop`` is asked before each step. Errors as there.

    >>> net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> extremal_perturbation_result(net, torch.rand(1, 3, 16, 16), 0, area=[0.1, 0.3], steps=2).masks.shape
    torch.Size([1, 2, 16, 16])
    """
    areas = _check_areas(area)
    check_choice("mode", mode, MODES)
    generator, own = seeded(generator), rewarded(target, reward)
    with asked(model, images) as inputs:
        n, a, (height, width) = len(inputs), len(areas), inputs.shape[2:]
        side = min(height, width)
        with torch.no_grad():
            whole = finite(scores(model, inputs.clone(), own))
        rows = torch.arange(n, device=inputs.device).repeat_interleave(a)  # each picture once an area
        levels, many = hiding(inputs, fill)[:, rows], rewarded(select(target, rows), reward)
        wanted = torch.tensor(areas * n, dtype=inputs.dtype, device=inputs.device)
        smooth, jitter = SmoothMask(height, width, inputs), max(1, round(side / 45))
        start, first = _START[mode]
        grids = torch.full((n * a, *smooth.cells), start, dtype=inputs.dtype, device=inputs.device)
        scale, order = whole.abs()[rows].clamp(min=1e-3), memory_format(model, inputs[:1])

        def kept(masks: Tensor) -> Tensor:
            shown = shift(perturbed(levels, masks), jitter, generator)
            return scores(model, shown.contiguous(memory_format=order), many)

        def loss(step: int) -> tuple[Tensor, Tensor]:
            masks = smooth(grids)
            price = first * (_LAST / first) ** (step / steps) * area_loss(masks.flatten(1), wanted)
            shown = -kept(masks) if mode != "delete" else 0
            hidden = kept(1 - masks) if mode != "preserve" else 0
            return ((shown + hidden) / scale).sum(), price.sum()

        found = minimize(
            [grids], loss, steps=steps, rate=rate, project=lambda _: grids.clamp_(0, 1),
            refusal=NO_SLOPE, describe="extremal perturbation", progress=progress, should_stop=should_stop,
        )  # fmt: skip
        with torch.no_grad():
            masks = to_area(smooth(grids), wanted)
            shown = perturbed(levels, 1 - masks if mode == "delete" else masks)
            reached = scores(model, shown.clone(), many).view(n, a)
        masks = masks.view(n, a, height, width)
        return ExtremalPerturbation(
            finite(masks.mean(1)), masks, areas, masks.mean((2, 3)), shown.view(n, a, *inputs.shape[1:]),
            reached, whole, found.losses, found.complete, found.alive.view(n, a).any(1),
        )  # fmt: skip


@signature_of(extremal_perturbation_result)
def extremal_perturbation(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """The part of a fixed size that keeps the score best, or whose loss hurts it most: a smooth mask.

    ``area`` is a share of the picture, or several that are searched at once; the map is the mean of their
    masks. ``mode``: "preserve" shows the masked part alone, "delete" hides it, "dual" asks for both.
    ``reward``: the "logit", the "contrastive" logit minus the best other one, or the "probability". Hidden
    places are blurred by a pyramid of blurs (``fill="pyramid"``) or show a fill of ``occlusion``. Every
    picture of a batch meets the same shifts, drawn from ``generator`` (None: seed 0).
    Unit: mask, 0 to 1. Warns of pictures whose reward has a gradient of exactly zero. Raises ValueError for
    an area outside (0, 1), a bad option and a target that no gradient reaches, else as ``occlusion``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Fong, Patrick and Vedaldi 2019, "Understanding Deep Networks via Extremal Perturbations and Smooth
    Masks", sections 3.1 to 3.3. The area is that within the picture, met at the end by the slope of the
    edges; the search begins with the picture nearly whole in each mode; the reward is divided by the whole
    picture's, Adam takes the place of SGD, and the area's weight grows from small over 100 steps, not 800.

    >>> net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> extremal_perturbation(net, torch.rand(1, 3, 16, 16), 0, area=0.1, steps=2).shape
    torch.Size([1, 16, 16])
    """
    done = extremal_perturbation_result(*args, **options)
    if done.complete:
        warn_of_dead(done.alive)
    return done.map


def channel_attribution(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    layer: str,
    share: float = 0.1,
    steps: int = 100,
    rate: float = 0.1,
) -> Float[Tensor, "N K"]:
    """The share of a layer's channels that keeps the score best: one weight a channel, 0 to 1.

    The layer's channels are multiplied by a mask whose sorted values are pulled towards zeros and ones on
    ``share`` of the channels. Multiply the layer's output by it (``labkit.models.edit``) and invert both
    (``labkit.style.invert``) to see what was kept. Unit: mask. Warns of pictures whose score has a gradient
    of exactly zero. Raises KeyError for a wrong layer, ValueError for a share outside (0, 1), a layer that
    gives no feature map and one that the score does not depend on, else as ``saliency``.

    Labels: post hoc, specific to convolutional networks, local.
    Source: Fong, Patrick and Vedaldi 2019, "Understanding Deep Networks via Extremal Perturbations and Smooth
    Masks", section 4.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> net = net.append(nn.Linear(8, 2)).eval()
    >>> channel_attribution(net, torch.rand(1, 3, 4, 4), 0, layer="1", steps=2).shape
    torch.Size([1, 8])
    """
    check_share("share", share, "A tenth is share=0.1.")
    with asked(model, images) as inputs:
        find_layer(model, layer)
        with torch.no_grad(), Flow(inputs) as flow, record(model, layer) as kept:
            whole = finite(scores(model, inputs.clone(), target))
        shape, axis = check_feature_map(kept[layer], layer).shape, flow.axes(kept)[layer]
        masks = torch.full((shape[0], shape[axis]), 0.5, dtype=inputs.dtype, device=inputs.device)
        places = [slice(None) if a in (0, axis) else None for a in range(4)]
        wanted = torch.full(shape[:1], share, dtype=inputs.dtype, device=inputs.device)
        scale = whole.abs().clamp(min=1e-3)

        def loss(step: int) -> tuple[Tensor, Tensor]:
            given = scores(model, inputs.clone(), target)
            return -(given / scale).sum(), (1e4 ** (step / steps) * area_loss(masks, wanted)).sum()

        with edit(model, {layer: lambda out: out * masks[tuple(places)]}):
            found = minimize(
                [masks], loss, steps=steps, rate=rate, project=lambda _: masks.clamp_(0, 1),
                refusal=NO_INFLUENCE.format(repr(layer)), describe="channel attribution",
            )  # fmt: skip
        warn_of_dead(found.alive)
        return masks.detach()
