"""Packing: whether one unit holds several concepts, by what lies under its strongest activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.core.checks import as_tensor, check_finite, check_positive, check_share
from labkit.core.registry import signature_of

__all__ = ["Packing", "packing", "packing_result"]


class Packing(NamedTuple):
    """``overlap`` (K, M): for each unit and concept the share of the unit's top activations that lie on the
    concept. ``chance`` (M,): the concept's share of all places, what a blind unit would have. ``threshold``
    (K,): the activation above which one counts as top. ``fired`` (K,): whether the unit fires at all."""

    overlap: Float[Tensor, "K M"]
    chance: Float[Tensor, " M"]
    threshold: Float[Tensor, " K"]
    fired: Tensor

    def holds(
        self, unit: int, names: Sequence[str] = (), least: float = 0.15
    ) -> list[tuple[str | int, float]]:
        """The concepts that at least a share ``least`` of the unit's top activations lie on, and more than
        twice as many as by chance; the most frequent first. Several of them: the unit is packed."""
        row = self.overlap[unit]
        found = [
            k
            for k in row.argsort(descending=True).tolist()
            if row[k] >= least and row[k] > 2 * self.chance[k]
        ]
        return [(names[k] if names else k, float(row[k])) for k in found]


def packing_result(
    maps: Float[Tensor, "N K h w"],
    labels: Int[Tensor, "N H W"],
    *,
    concepts: int | None = None,
    top: float = 0.005,
) -> Packing:
    """``packing`` with what chance gives and with the thresholds (see ``Packing``). Errors as there.

    >>> maps = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])
    >>> packing_result(maps, torch.tensor([[[1, 0], [0, 2]]]), top=0.5).chance
    tensor([0.2500, 0.2500])
    """
    check_share("top", top, "The strongest half per cent of all places is top=0.005.")
    values, found = as_tensor("maps", maps), as_tensor("labels", labels)
    if values.ndim != 4 or found.ndim != 3 or len(values) != len(found):
        raise ValueError(
            "maps must have the shape (N, K, h, w) and labels (N, H, W), of the same pictures; "
            f"got {tuple(values.shape)} and {tuple(found.shape)}."
        )
    check_finite("maps", values)
    if found.is_floating_point() or found.dtype == torch.bool:
        raise TypeError(f"labels must hold whole numbers, 0 = none; got {found.dtype}. Write labels.long().")
    most = int(found.max()) if concepts is None else concepts
    check_positive("concepts", most)
    height, width = values.shape[2:]
    rows, columns = (
        ((torch.arange(n) + 0.5) * side / n).long()
        for n, side in zip((height, width), found.shape[1:], strict=True)
    )
    under = found[:, rows][:, :, columns].long().flatten().to(values.device)  # what each place's middle shows
    flat = values.movedim(1, 0).flatten(1)
    count = max(1, round(top * flat.shape[1]))
    best = flat.topk(count, dim=1)
    strong = best.values > 0
    codes = torch.where(strong, under[best.indices], 0)
    hits = torch.stack([(codes == code).sum(1) for code in range(1, most + 1)], 1)
    overlap = hits / strong.sum(1, keepdim=True).clamp(min=1)
    chance = torch.stack([(under == code).float().mean() for code in range(1, most + 1)])
    return Packing(
        overlap.to(values.dtype), chance.to(values.dtype), best.values[:, -1].clamp(min=0), strong.any(1)
    )


@signature_of(packing_result)
def packing(*args: Any, **options: Any) -> Float[Tensor, "K M"]:
    """How many of a unit's strongest activations lie on each concept: one number a unit and concept.

    A unit that fires at faces and at wheels has two large numbers in its row: it holds two concepts at once.
    Top are the strongest ``top`` of all places of all pictures, those above 0; a place is asked what the
    pixel in its middle shows. What is labelled 0 counts for no concept. ``packing_result`` has the concepts'
    share of all places beside it, and its ``holds(unit, names)`` names what a unit holds.

    ``maps``: what a layer gives, as ``labkit.models.features`` has it. ``labels``: whole numbers from 1 on,
    0 = none, a map a picture. ``concepts``: how many; None: as many as the largest label.

    Unit: share of the top activations. Raises ValueError for other shapes and for a ``top`` that is no share,
    TypeError for labels that are no whole numbers.

    Labels: post hoc, agnostic, global.
    Source: Fong and Vedaldi 2018, "Net2Vec", for units that take part in several concepts; the threshold over
    the data set is that of Bau et al. 2017, "Network Dissection", section 2.3, who ask for the intersection
    over the union with one concept, which hides a second one.

    >>> maps = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])
    >>> packing(maps, torch.tensor([[[1, 0], [0, 2]]]), top=0.5)
    tensor([[0.5000, 0.5000]])
    """
    return packing_result(*args, **options).overlap
