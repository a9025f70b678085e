"""Pixels of pictures with what units say there and which concepts lie there; weights fitted to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from labkit.concepts.label_maps import check_labels
from labkit.core.checks import check_positive
from labkit.core.door import seeded
from labkit.core.progress import working

__all__ = ["Pixels", "fit_weights", "pixels_of", "strongest", "unit_ious"]

GRID = tuple(step / 20 for step in range(1, 20))  # where the cut-off of a probability is looked for


@dataclass(frozen=True)
class Pixels:
    """P pixels of each of N pictures, K units and C concepts.

    ``level`` (N, P, K): how many of the thresholds the unit exceeds there, the loosest first; ``label``
    (N, P, C): whether the concept lies there; ``shown`` (N, C): whether it lies anywhere in the picture.
    """

    level: UInt8[Tensor, "N P K"]
    label: Bool[Tensor, "N P C"]
    shown: Bool[Tensor, "N C"]

    def select(self, rows: Tensor) -> Pixels:
        """The pictures with these numbers."""
        return Pixels(self.level[rows], self.label[rows], self.shown[rows])

    @property
    def area(self) -> Float[Tensor, " C"]:
        """The mean share of the pixels that a concept covers, over the pictures that show it; 0 for none."""
        covered = self.label.float().mean(1).sum(0)
        return covered / self.shown.sum(0).clamp(min=1)

    def ious(
        self, weights: Float[Tensor, "C K"], cut: float | Float[Tensor, " C"] = 0.5, *, at: int = 1
    ) -> Float[Tensor, " C"]:
        """The set IoU of each concept with the pixels at which its combination's probability exceeds ``cut``,
        over the pictures that show it; nan where none does. ``at``: units count above the threshold with this
        number, the loosest is 1."""
        limit = torch.as_tensor(cut, dtype=torch.float32).expand(len(weights)).logit()
        return _ratio(*self._counted(weights, limit[:, None], at))[:, 0]

    def best_cut(self, weights: Float[Tensor, "C K"], *, at: int = 1) -> Float[Tensor, " C"]:
        """The cut-off, of .05 to .95, at which each concept's IoU is largest here."""
        limits = torch.tensor(GRID).logit().expand(len(weights), -1)
        found = _ratio(*self._counted(weights, limits, at)).nan_to_num(nan=-1)
        middle = torch.tensor([abs(cut - 0.5) for cut in GRID])
        order = middle.argsort(stable=True)  # of equal ones that nearest to the paper's one half
        return torch.tensor(GRID)[order[found[:, order].argmax(1)]]

    def _counted(self, weights: Tensor, limits: Float[Tensor, "C L"], at: int) -> tuple[Tensor, Tensor]:
        both, either = (torch.zeros(limits.shape, dtype=torch.int64) for _ in range(2))
        for first in range(0, len(self.level), 16):
            rows = slice(first, first + 16)
            sums = (self.level[rows] >= at).float() @ weights.T.float()
            said = sums[..., None] > limits
            label = self.label[rows][..., None]
            own = self.shown[rows][:, None, :, None]
            both += (said & label).sum((0, 1))
            either += ((said | label) & own).sum((0, 1))
        return both, either


def _ratio(both: Tensor, either: Tensor) -> Tensor:
    return torch.where(either > 0, both / either.clamp(min=1), torch.nan)


def unit_ious(pixels: Pixels, *, at: int = 1) -> Float[Tensor, "K C"]:
    """The set IoU of each unit by itself, above the threshold with this number, with each concept, over the
    pictures that show it; nan for a concept that none shows."""
    units, concepts = pixels.level.shape[2], pixels.label.shape[2]
    both, own = (torch.zeros(units, concepts, dtype=torch.float64) for _ in range(2))
    for first in range(0, len(pixels.level), 16):
        rows = slice(first, first + 16)
        on = (pixels.level[rows] >= at).float()
        both += torch.einsum("npk,npc->kc", on, pixels.label[rows].float())
        own += on.sum(1).T.double() @ pixels.shown[rows].double()
    either = own + pixels.label.sum((0, 1)) - both
    seen = pixels.shown.any(0)
    return torch.where(seen, both / either.clamp(min=1), torch.nan).float()


def _enlarging(small: int, large: int) -> Float[Tensor, "large small"]:
    """A row or a column of a map enlarged linearly, as a matrix, whose rows may be taken one by one."""
    return F.interpolate(torch.eye(small)[None], size=large, mode="linear")[0].T


def pixels_of(
    activations: Float[Tensor, "N K h w"],
    *,
    thresholds: Float[Tensor, "Q K"],
    maps: Mapping[str, ndarray],
    names: Mapping[str, Sequence[str]],
    stride: int = 4,
    batch_size: int = 32,
) -> Pixels:
    """Every ``stride``-th row and column of pictures: how many thresholds each unit exceeds, what lies there.

    ``activations``: of a layer, as ``labkit.models.features`` gives them; its maps are enlarged bilinearly to
    the label maps' size and *then* held against the thresholds, the loosest first. Memory: N x P x K bytes.
    Errors as in ``net2vec``.
    """
    check_positive("stride", stride)
    check_labels(maps, names, len(activations))
    if thresholds.ndim != 2 or thresholds.shape[1] != activations.shape[1]:
        raise ValueError(
            f"thresholds must be (Q, K), one a unit, of which there are {activations.shape[1]}; "
            f"got {tuple(thresholds.shape)}."
        )
    first, side = stride // 2, np.shape(next(iter(maps.values())))[1:]
    rows, columns = (
        _enlarging(*sizes)[first::stride] for sizes in zip(activations.shape[2:], side, strict=True)
    )
    levels = []
    for part in activations.float().split(batch_size):
        values = torch.einsum("yh,bkhw,xw->byxk", rows, part, columns).flatten(1, 2)
        levels.append(sum((values > limit).to(torch.uint8) for limit in thresholds))
    labels = []
    for kind, codes in maps.items():
        taken = torch.from_numpy(np.array(codes[:, first::stride, first::stride])).long().flatten(1)
        labels.append(taken[..., None] == torch.arange(1, len(names[kind]) + 1))
    label = torch.cat(labels, 2)
    return Pixels(torch.cat(levels), label, label.any(1))  # type: ignore[arg-type]


def fit_weights(
    pixels: Pixels,
    *,
    at: int = 1,
    allowed: Bool[Tensor, "C K"] | None = None,
    start: Float[Tensor, "C K"] | None = None,
    epochs: int = 30,
    batch: int = 16,
    rate: float = 3.0,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
) -> Float[Tensor, "C K"]:
    """Weights of all concepts at once: a pixel's probability is the sigmoid of the sum over the units on.

    The loss of a concept is the cross entropy over the pixels of the pictures that show it, its own pixels
    times alpha, all others times 1 - alpha, with alpha = 1 - ``area``. Descent with momentum .9 on ``batch``
    pictures at a time, its ``rate`` falling to 0 by a cosine. It is not to be replaced by a method that gives
    each weight a step of its own, such as Adam: that makes units that are hardly ever on as heavy as those
    that matter, and the strongest by size are then the wrong ones. ``allowed``: the weights that may differ
    from 0.

    >>> on = torch.tensor([[[1, 0], [0, 1], [0, 0]]]).to(torch.uint8)
    >>> found = fit_weights(Pixels(on, on[:, :, :1] > 0, torch.tensor([[True]])))
    >>> bool(found[0, 0] > 1), bool(found[0, 1] < -1)
    (True, True)
    """
    check_positive("epochs", epochs)
    check_positive("batch", batch)
    check_positive("rate", rate, integer=False)
    n, _, units = pixels.level.shape
    own, concepts = seeded(generator), pixels.label.shape[2]
    weights = torch.zeros(concepts, units) if start is None else start.clone().float()
    may = torch.ones(concepts, units) if allowed is None else allowed.float()
    alpha = 1 - pixels.area
    scale = n / pixels.shown.sum(0).clamp(min=1)
    velocity = torch.zeros_like(weights)
    steps, step = epochs * math.ceil(n / batch), 0
    with working("weights", steps, "step", progress=progress) as work:
        for _ in range(epochs):
            for rows in torch.randperm(n, generator=own).split(batch):
                on = (pixels.level[rows] >= at).float().flatten(0, 1)
                weigh = (pixels.shown[rows] * scale)[:, None] * torch.where(
                    pixels.label[rows], alpha, 1 - alpha
                )
                said = (on @ (weights * may).T).sigmoid()
                miss = (said - pixels.label[rows].flatten(0, 1).float()) * weigh.flatten(0, 1)
                gradient = (miss.T @ on) / len(on) * may
                step += 1
                size = rate * (1 + math.cos(math.pi * step / steps)) / 2
                velocity = 0.9 * velocity - size * gradient
                weights += velocity
                work.at(step)
    return weights * may


def strongest(weights: Float[Tensor, "C K"], count: int) -> Bool[Tensor, "C K"]:
    """Which weights are among each concept's ``count`` largest by size.

    >>> strongest(torch.tensor([[1.0, -3.0, 2.0]]), 2).tolist()
    [[False, True, True]]
    """
    chosen = weights.abs().topk(min(count, weights.shape[1]), dim=1).indices
    return torch.zeros_like(weights, dtype=torch.bool).scatter_(1, chosen, True)
