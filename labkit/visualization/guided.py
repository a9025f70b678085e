"""Guided patches: beside a unit's top patches, what in them it fires at by guided backpropagation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.door import asked, derivative, finite, weight_of
from labkit.core.hooks import record
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.models.relu_rules import check_relus, relu_rule
from labkit.visualization.cropping import NONE, Source, cut
from labkit.visualization.patches import TopPatches, top_patches_result

__all__ = ["guided_crops", "guided_patches"]


@signature_of(top_patches_result)
def guided_patches(*args: Any, **options: Any) -> Float[Tensor, "U k C s t"]:
    """The guided gradient of each unit at its top patches: what in the patch the unit fires at.

    Beside each patch of ``top_patches``, of the same cut: the gradient of the unit's activation at its peak
    by the picture, with the rule of guided backpropagation at each ReLU; 0 beyond the border. Signed, never
    rescaled. Options as there. Sharp, and hardly specific: the sanity checks say how far to trust it. Unit:
    none that means anything, for the rule is no derivative. Errors as there, and ValueError for a network
    with other bends than ReLU.

    Labels: post hoc, specific to ReLU networks, global.
    Source: Springenberg et al. 2015, "Striving for Simplicity", section 4.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()
    >>> guided_patches(net, torch.rand(5, 3, 8, 8), "1", units=[0, 2], count=2).shape
    torch.Size([2, 2, 3, 3, 3])
    """
    found = top_patches_result(*args, **options)
    pictures = args[1] if len(args) > 1 else options["pictures"]
    return guided_crops(args[0] if args else options["model"], pictures, found, side=options.get("side"))


def guided_crops(
    model: nn.Module,
    pictures: Any,
    found: TopPatches,
    *,
    side: int | None = None,
    batch_size: int = 32,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Float[Tensor, "U k C s t"]:
    """The guided gradients of ``top_patches_result``'s units at their patches; options as there."""
    source = Source(model, pictures, side)
    total = int((found.pictures != NONE).sum())
    with (
        torch.inference_mode(False),
        working("guided patches", total, "patch", progress=progress, should_stop=should_stop) as work,
    ):
        first, jobs = source.rows([0]), (found.pictures != NONE).nonzero()
        size = (*found.pictures.shape, first.shape[1], *found.field.size)
        patches = torch.zeros(size, dtype=weight_of(model, first).dtype)
        for part in jobs.split(batch_size):
            if work.stopped():
                break
            units, ks = part.unbind(1)
            shown = source.rows(found.pictures[units, ks].tolist())
            slopes = _guided(model, shown, found, units, found.places[units, ks])
            for (unit, k), slope in zip(part.tolist(), slopes.cpu(), strict=True):
                patches[unit, k] = cut(slope, found.boxes[unit, k], found.field.size, 0.0)
            work.at(work.done + len(part))
    return patches


def _guided(model: nn.Module, images: Tensor, found: TopPatches, units: Tensor, places: Tensor) -> Tensor:
    """The guided gradient of one unit a picture, at a place of its own."""
    layer, (channels, rows, columns) = found.field.layer, (found.units[units], *places.unbind(1))
    with asked(model, images) as inputs:
        inputs.requires_grad_(True)
        rules = relu_rule(True)
        with rules, record(model, layer) as heard:
            model(inputs.clone())
        field = found.field
        last = heard[layer].shape[1:] == (field.rows.shape[1], field.columns.shape[1], len(field.rows))
        maps = heard[layer].movedim(3, 1) if last else heard[layer]
        value = maps[torch.arange(len(maps)), channels, rows, columns]
        check_relus([value], rules.state)
        return finite(derivative(value, inputs, grad=rules.grad))
