"""Accuracy by group, which a mean hides, and BAM: importance that is known by construction."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.checks import as_masks, as_tensor, check_images
from labkit.core.statistics import Interval, bootstrap, share

__all__ = ["GroupAccuracy", "accuracy_by_group", "average_image", "bam_contrast"]


class GroupAccuracy(NamedTuple):
    """``table``: group -> (accuracy with its interval, count); ``mean`` accuracy over all pictures; ``worst``
    group; ``gap``: how far it lies below the mean."""

    table: dict[Hashable, tuple[Interval, int]]
    mean: Interval
    worst: Hashable
    gap: float


def _listed(name: str, given: Any) -> list[Hashable]:
    """One value a picture, as Python's own: a tensor, an array or a column of either may come."""
    values = [value.tolist() if hasattr(value, "tolist") else value for value in given]
    if values and all(isinstance(value, list) and len(value) == 1 for value in values):
        values = [value[0] for value in values]
    if any(isinstance(value, list) for value in values):
        raise ValueError(
            f"{name} must be one value a picture; got {len(values)} rows of {len(values[0])}. "
            "Scores become classes with .argmax(1)."
        )
    return values


def _alike(**given: list[Hashable] | Tensor) -> None:
    if len({len(values) for values in given.values()}) != 1 or not all(map(len, given.values())):
        counts = ", ".join(f"{len(values)} {name}" for name, values in given.items())
        raise ValueError(f"{' and '.join(given)} must be as many, and at least one; got {counts}.")


def accuracy_by_group(
    predictions: Tensor | Sequence[Hashable],
    labels: Tensor | Sequence[Hashable],
    groups: Tensor | Sequence[Hashable],
) -> GroupAccuracy:
    """The accuracy of every group beside the mean that hides it, with Wilson intervals.

    Each is one value a picture: a list, an array, a tensor, or a column (N, 1) of these. Raises ValueError
    for different lengths, empty ones and scores in place of classes.

    Source: Buolamwini and Gebru 2018, "Gender Shades", section 4; Shankar et al. 2017, "No Classification
    without Representation".

    >>> found = accuracy_by_group([0, 1, 1, 1], [0, 1, 1, 0], ["grass", "grass", "grass", "snow"])
    >>> found.mean.value, found.worst, found.gap
    (0.75, 'snow', 0.75)
    """
    said, true = _listed("predictions", predictions), _listed("labels", labels)
    kinds = _listed("groups", groups)
    _alike(predictions=said, labels=true, groups=kinds)
    right = [a == b for a, b in zip(said, true, strict=True)]
    table: dict[Hashable, tuple[Interval, int]] = {}
    for group in dict.fromkeys(kinds):
        own = [fine for fine, kind in zip(right, kinds, strict=True) if kind == group]
        table[group] = (share(own), len(own))
    mean = share(right)
    worst = min(table, key=lambda group: table[group][0].value)
    return GroupAccuracy(table, mean, worst, mean.value - table[worst][0].value)


def average_image(
    images: Float[Tensor, "N C H W"], groups: Tensor | Sequence[Hashable]
) -> dict[Hashable, Float[Tensor, "C H W"]]:
    """The mean picture of each group: what all its pictures share shows, such as a white ground.

    Raises ValueError for groups that are not as many as the pictures. Source: Torralba and Efros 2011,
    "Unbiased Look at Dataset Bias", section 2.

    >>> pair = average_image(torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)]), ["a", "a"])
    >>> pair["a"].unique()
    tensor([0.5000])
    """
    check_images(images)
    kinds = _listed("groups", groups)
    _alike(images=images, groups=kinds)
    return {g: images[torch.tensor([kind == g for kind in kinds])].mean(0) for g in dict.fromkeys(kinds)}


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
    on_objects, on_scenes = as_tensor("on_objects", on_objects), as_tensor("on_scenes", on_scenes)
    masks = as_masks("masks", masks)
    if on_objects.shape != on_scenes.shape or on_objects.shape != masks.shape or on_objects.ndim != 3:
        raise ValueError(
            "on_objects, on_scenes and masks must have the same shape (N, H, W); got "
            f"{tuple(on_objects.shape)}, {tuple(on_scenes.shape)} and {tuple(masks.shape)}."
        )
    if not masks.flatten(1).any(1).all():
        raise ValueError("masks must hold a pixel in every picture; some are empty. Leave those out.")

    def attended(maps: Tensor) -> Tensor:
        values = maps.cpu().double().clamp(min=0)
        top = values.flatten(1).quantile(0.99, 1)[:, None, None]
        top = torch.where(top > 0, top, values.amax((1, 2), keepdim=True))
        scaled = torch.where(top > 0, values / top.clamp(min=1e-300), torch.zeros_like(values)).clamp(max=1)
        inside = masks.cpu()
        return (scaled * inside).sum((1, 2)) / inside.sum((1, 2))

    return bootstrap((attended(on_objects) - attended(on_scenes)).numpy())
