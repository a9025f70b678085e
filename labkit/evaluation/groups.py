"""Accuracy by group, which a mean hides, and BAM: importance that is known by construction."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.checks import check_images
from labkit.core.statistics import Interval, bootstrap, share

__all__ = ["GroupAccuracy", "accuracy_by_group", "average_image", "bam_contrast"]


class GroupAccuracy(NamedTuple):
    """``table``: group -> (accuracy with its interval, count); ``mean`` accuracy over all pictures; ``worst``
    group; ``gap``: how far it lies below the mean."""

    table: dict[Hashable, tuple[Interval, int]]
    mean: Interval
    worst: Hashable
    gap: float


def _alike(**given: int) -> None:
    if len(set(given.values())) != 1 or 0 in given.values():
        counts = ", ".join(f"{count} {name}" for name, count in given.items())
        raise ValueError(f"{' and '.join(given)} must be as many, and at least one; got {counts}.")


def accuracy_by_group(
    predictions: Tensor | Sequence[int], labels: Tensor | Sequence[int], groups: Sequence[Hashable]
) -> GroupAccuracy:
    """The accuracy of every group beside the mean that hides it, with Wilson intervals.

    Raises ValueError for lists of different lengths, or empty ones. Source: Buolamwini and Gebru 2018,
    "Gender Shades", section 4; Shankar et al. 2017, "No Classification without Representation".

    >>> found = accuracy_by_group([0, 1, 1, 1], [0, 1, 1, 0], ["grass", "grass", "grass", "snow"])
    >>> found.mean.value, found.worst, found.gap
    (0.75, 'snow', 0.75)
    """
    _alike(predictions=len(predictions), labels=len(labels), groups=len(groups))
    right = torch.as_tensor(predictions).cpu() == torch.as_tensor(labels).cpu()
    table: dict[Hashable, tuple[Interval, int]] = {}
    for group in dict.fromkeys(groups):
        own = right[torch.tensor([g == group for g in groups])]
        table[group] = (share(own.numpy()), len(own))
    mean = share(right.numpy())
    worst = min(table, key=lambda group: table[group][0].value)
    return GroupAccuracy(table, mean, worst, mean.value - table[worst][0].value)


def average_image(
    images: Float[Tensor, "N C H W"], groups: Sequence[Hashable]
) -> dict[Hashable, Float[Tensor, "C H W"]]:
    """The mean picture of each group: what all its pictures share shows, such as a white ground.

    Raises ValueError for groups that are not as many as the pictures. Source: Torralba and Efros 2011,
    "Unbiased Look at Dataset Bias", section 2.

    >>> pair = average_image(torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)]), ["a", "a"])
    >>> pair["a"].unique()
    tensor([0.5000])
    """
    check_images(images)
    _alike(images=len(images), groups=len(groups))
    return {
        group: images[torch.tensor([g == group for g in groups])].mean(0) for group in dict.fromkeys(groups)
    }


def bam_contrast(
    on_objects: Float[Tensor, "N H W"], on_scenes: Float[Tensor, "N H W"], masks: Bool[Tensor, "N H W"]
) -> Interval:
    """How much more a network that must name the object attends to it than one that must name the scene.

    Both networks see the same pictures; ``masks`` are the objects' pixels. Each map's positive part is cut
    off at its 99th percentile and divided by it (a flat map stays 0); the concept's attribution is the mean
    over the mask, and the contrast its mean difference, with a bootstrap interval over pictures. It must be
    above 0. Raises ValueError for shapes that differ and for empty masks.

    Source: Yang and Kim 2019, "Benchmarking Attribution Methods with Relative Feature Importance", section
    4.1 (model contrast score).

    >>> mask = torch.tensor([[[True, False]]])
    >>> bam_contrast(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]), mask).value
    1.0
    """
    if on_objects.shape != on_scenes.shape or on_objects.shape != masks.shape or on_objects.ndim != 3:
        raise ValueError(
            "on_objects, on_scenes and masks must have the same shape (N, H, W); got "
            f"{tuple(on_objects.shape)}, {tuple(on_scenes.shape)} and {tuple(masks.shape)}."
        )
    if not masks.flatten(1).any(1).all():
        raise ValueError("masks must hold a pixel in every picture; some are empty. Leave those out.")

    def attended(maps: Tensor) -> Tensor:
        values = maps.detach().cpu().double().clamp(min=0)
        top = values.flatten(1).quantile(0.99, 1)[:, None, None]
        top = torch.where(top > 0, top, values.amax((1, 2), keepdim=True))
        scaled = torch.where(top > 0, values / top.clamp(min=1e-300), torch.zeros_like(values)).clamp(max=1)
        inside = masks.cpu()
        return (scaled * inside).sum((1, 2)) / inside.sum((1, 2))

    return bootstrap((attended(on_objects) - attended(on_scenes)).numpy())
