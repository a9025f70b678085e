"""Groups and contrasts: accuracy that a mean hides, and importance that is known by construction."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from labkit.core.checks import check_images
from labkit.core.statistics import Interval, bootstrap, share

__all__ = [
    "Falsification",
    "GroupAccuracy",
    "accuracy_by_group",
    "average_image",
    "bam_contrast",
    "falsification",
]


class GroupAccuracy(NamedTuple):
    """``table``: group -> (accuracy with its interval, count); ``mean`` accuracy over all pictures; ``worst``
    group; ``gap``: how far it lies below the mean."""

    table: dict[Hashable, tuple[Interval, int]]
    mean: Interval
    worst: Hashable
    gap: float


class Falsification(NamedTuple):
    """``named`` (N,): the part that the map calls decisive, -1 where it names none; ``drops`` (N, K): what
    removing each part cost beyond its control; ``decisive`` (N,): the part that cost the most, -1 where none
    cost anything, or two the same; ``right`` (N,): whether a part was named and it was that one."""

    named: Int[Tensor, " N"]
    drops: Float[Tensor, "N K"]
    decisive: Int[Tensor, " N"]
    right: Bool[Tensor, " N"]


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


def falsification(
    maps: Float[Tensor, "N H W"],
    parts: Bool[Tensor, "N K H W"],
    without: Float[Tensor, "N K"],
    control: Float[Tensor, "N K"],
) -> Falsification:
    """Hold a map to what it predicts: that without the part it names, the score falls the most.

    ``parts`` are the pixels of K things in each picture; the map names the one with the highest mean of its
    positive part (the mean, so that a large thing does not win by its size). ``without`` and ``control`` are
    scores: of the same scene drawn again without each part, and without an equal area elsewhere. A part's
    drop is ``control - without``. A map that is highest on no single part names none, and is wrong, as is one
    where no single part cost the most, and more than nothing. Raises ValueError for shapes that do not fit,
    fewer than two parts (there is nothing to be wrong about), an empty part, and NaN or infinity.

    Source: Popper's demand, in the lectures' words; the measure is ours.

    >>> maps = torch.tensor([[[1.0, 0.0]]]); parts = torch.tensor([[[[True, False]], [[False, True]]]])
    >>> falsification(maps, parts, torch.tensor([[0.0, 1.0]]), torch.ones(1, 2)).right
    tensor([True])
    """
    if parts.ndim != 4 or parts.shape[1] < 2:
        raise ValueError(
            "parts must hold the pixels of at least two things in each picture, shape (N, K, H, W); got "
            f"{tuple(parts.shape)}. Of a single one every map would be right."
        )
    n, k = parts.shape[:2]
    if maps.shape != (n, *parts.shape[2:]) or not (without.shape == control.shape == (n, k)):
        raise ValueError(
            "maps (N, H, W), parts (N, K, H, W), without and control (N, K) must fit together; got "
            f"{', '.join(str(tuple(t.shape)) for t in (maps, parts, without, control))}."
        )
    if not parts.flatten(2).any(2).all():
        raise ValueError(
            "parts must hold a pixel each; some are empty, hidden perhaps. Leave those scenes out."
        )
    for name, values in (("maps", maps), ("without", without), ("control", control)):
        if not torch.isfinite(values).all():
            raise ValueError(f"{name} must be finite; got NaN or infinity. Look at the model's scores.")
    positive = maps.detach().clamp(min=0)[:, None]
    density, drops = (positive * parts).sum((2, 3)) / parts.sum((2, 3)), control - without
    named, decisive = _single_top(density), _single_top(drops)
    return Falsification(named, drops, decisive, (named == decisive) & (named >= 0))


def _single_top(values: Float[Tensor, "N K"]) -> Int[Tensor, " N"]:
    """The place of each row's largest value; -1 where that is not above 0, or stands there twice."""
    first, second = values.topk(2, 1).values.T
    return torch.where((first > 0) & (first > second), values.argmax(1), -1)
