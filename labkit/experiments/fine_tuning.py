"""What becomes of units when a network is taught another task: top pictures and labels, before and after.

Fine-tuning begins from the weights of the first task, so that unit k is the same unit, moved: Bau et al.
2017, section 3.5, show top units of a network of scenes that became one of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.concepts import top_pictures_result
from labkit.core.checks import check_positive
from labkit.data import SceneStack
from labkit.experiments.dissected_layers import QUANTILE, Found, dissected
from labkit.experiments.net2vec_scenes import last_layer
from labkit.models.features import batches

__all__ = ["Side", "UnitPair", "before_and_after"]

DIM = 0.25  # of a picture's brightness where the unit is below its threshold


class Side(NamedTuple):
    """A unit of one of the networks: the ``label`` it fits best and of which ``kind``, the ``iou`` with its
    ``ceiling``, the best IoU with labels of other pictures (``chance``), and its top ``pictures`` (k, 3, S,
    S), dark where it is below its threshold."""

    label: str
    kind: str
    iou: float
    ceiling: float
    chance: float
    pictures: Float[Tensor, "k 3 S S"]

    def __str__(self) -> str:
        return f"{self.label} ({self.kind}), IoU {self.iou:.2f} of {self.ceiling:.2f}"


class UnitPair(NamedTuple):
    """Unit number ``unit`` ``before`` and ``after``, and how many top pictures are the same (``shared``)."""

    unit: int
    before: Side
    after: Side
    shared: int


def _side(found: Found, unit: int, pictures: Tensor) -> Side:
    best = int(found.iou[unit].argmax())
    kind, label = found.labels[best]
    numbers = (found.iou[unit, best], found.ceiling[unit, best], found.other_iou[unit].max())
    return Side(label, kind, *map(float, numbers), pictures)


def before_and_after(
    before: nn.Module,
    after: nn.Module,
    stack: SceneStack,
    *,
    units: Sequence[int] | None = None,
    count: int = 6,
    quantile: float = QUANTILE,
) -> list[UnitPair]:
    """Units of the last feature map of two networks, of which the second began as the first.

    ``units``: their numbers; None: the six that fit a label best afterwards. ``count``: pictures a row, empty
    ones where a unit fires in fewer. Raises ValueError for networks whose last feature maps differ in width.
    """
    check_positive("count", count)
    nets = (before, after)
    found = [dissected(net, stack, last_layer(net), quantile=quantile) for net in nets]
    widths = [len(one.iou) for one in found]
    if widths[0] != widths[1]:
        raise ValueError(
            f"after must have the units of before, moved: as many in its last feature map; got {widths[1]} "
            f"after {widths[0]}."
        )
    chosen = found[1].mean_best.argsort(descending=True)[:6].tolist() if units is None else list(units)
    given = {"units": chosen, "count": count, "quantile": quantile}
    tops = [top_pictures_result(net, stack.images, last_layer(net), **given) for net in nets]  # type: ignore[arg-type]
    pairs = []
    for row, unit in enumerate(chosen):
        shown = []
        for top in tops:
            pictures = torch.zeros(count, 3, *top.masks.shape[-2:])
            for place, number in enumerate(top.pictures[row].tolist()):
                if number >= 0:
                    image = next(batches(stack.images[number : number + 1]))[0]
                    pictures[place] = image * (DIM + (1 - DIM) * top.masks[row, place].float())
            shown.append(pictures)
        numbers = [set(top.pictures[row].tolist()) - {-1} for top in tops]
        sides = [_side(one, unit, pictures) for one, pictures in zip(found, shown, strict=True)]
        pairs.append(UnitPair(unit, *sides, len(numbers[0] & numbers[1])))
    return pairs
