"""Localization: does a map point at what it should? Pointing game, energy inside, IoU and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from labkit.core.checks import as_masks, as_tensor, check_choice, check_finite

__all__ = [
    "Localization",
    "area_share",
    "box_iou",
    "box_localization",
    "boxes_of",
    "energy_inside",
    "iou",
    "peaks",
    "pointing_game",
    "pointing_hits",
]


def _check(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    maps, masks = as_tensor("maps", maps), as_masks("masks", masks)
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise ValueError(
            f"maps and masks must have the same shape (N, H, W); got {tuple(maps.shape)} and "
            f"{tuple(masks.shape)}."
        )
    check_finite("maps", maps)
    return maps, masks.to(maps.device)


def energy_inside(maps: Float[Tensor, "N H W"], masks: Bool[Tensor, "N H W"]) -> Float[Tensor, " N"]:
    """The share of a map's positive part that lies inside the mask, 0 to 1; NaN where nothing is positive.

    Compare it with the mask's own share of the picture (``area_share``): a flat map reaches just that.
    Raises ValueError for shapes that differ and for maps with NaN. Source: Wang et al. 2020, "Score-CAM",
    section 4.2 (energy-based pointing game), with a mask in place of a box.

    >>> energy_inside(torch.ones(1, 2, 2), torch.tensor([[[True, False], [False, False]]]))
    tensor([0.2500])
    """
    maps, inside = _check(maps, masks)
    positive = maps.clamp(min=0)
    return (positive * inside).sum((1, 2)) / positive.sum((1, 2))


def area_share(masks: Bool[Tensor, "N H W"]) -> Float[Tensor, " N"]:
    """The share of the picture that each mask covers.

    >>> area_share(torch.eye(2)[None].bool())
    tensor([0.5000])
    """
    return as_masks("masks", masks).float().mean((1, 2))


def peaks(maps: Float[Tensor, "N H W"]) -> Tensor:
    """Row and column of each map's largest value, int64 (N, 2).

    >>> peaks(torch.tensor([[[0.0, 0.0], [3.0, 1.0]]]))
    tensor([[1, 0]])
    """
    maps = as_tensor("maps", maps)
    flat = maps.flatten(1).argmax(1)
    return torch.stack([flat // maps.shape[2], flat % maps.shape[2]], 1)


def pointing_hits(
    maps: Float[Tensor, "N H W"], masks: Bool[Tensor, "N H W"], *, tolerance: float = 15 / 224
) -> tuple[Bool[Tensor, " N"], Bool[Tensor, " N"]]:
    """Whether each map's peak lies within ``tolerance`` of the mask, and which pictures count.

    ``tolerance`` is a share of the side (15 pixels at 224). A constant map is a miss; a picture whose mask is
    empty does not count. Raises ValueError for a ``tolerance`` below 0.

    Source: Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop", section 4.1.

    >>> hit, counts = pointing_hits(torch.ones(1, 4, 4), torch.ones(1, 4, 4).bool())
    >>> hit.tolist(), counts.tolist()
    ([False], [True])
    """
    maps, inside = _check(maps, masks)
    if not tolerance >= 0:
        raise ValueError(
            f"tolerance must be at least 0, a share of the side such as 15 / 224; got {tolerance}."
        )
    reach = tolerance * min(maps.shape[1:])
    rows, columns = torch.meshgrid(
        *(torch.arange(s, device=maps.device) for s in maps.shape[1:]), indexing="ij"
    )
    hits = []
    for (row, column), mask, single in zip(peaks(maps).tolist(), inside, maps, strict=True):
        near = (rows - row) ** 2 + (columns - column) ** 2 <= reach**2
        hits.append(bool((near & mask).any()) and bool(single.max() > single.min()))
    return torch.tensor(hits, device=maps.device), inside.flatten(1).any(1)


def pointing_game(
    maps: Float[Tensor, "N H W"],
    masks: Bool[Tensor, "N H W"],
    labels: Tensor | Sequence[int] | None = None,
    *,
    tolerance: float = 15 / 224,
) -> float:
    """The mean over classes of the share of maps whose peak hits the mask (see ``pointing_hits``).

    Without ``labels``, over all pictures as one class. Raises ValueError if no mask holds a pixel, and for
    ``labels`` that are not one a picture.

    >>> mask = torch.zeros(1, 50, 50).bool(); mask[0, 10, 10] = True
    >>> pointing_game(mask.float(), mask)
    1.0
    """
    hits, counts = pointing_hits(maps, masks, tolerance=tolerance)
    if not counts.any():
        raise ValueError("masks must hold a pixel in at least one picture; all of them are empty.")
    groups = torch.zeros(len(maps), dtype=torch.long) if labels is None else torch.as_tensor(labels).cpu()
    if groups.shape != (len(maps),):
        raise ValueError(
            f"labels must be one class a picture, shape ({len(maps)},); got {tuple(groups.shape)}."
        )
    hits, counts = hits.cpu(), counts.cpu()
    shares = [hits[counts & (groups == g)].float().mean() for g in groups[counts].unique()]
    return float(torch.stack(shares).mean())


class Localization(NamedTuple):
    """``hits`` (N,): whether the IoU is at least a half; ``overlaps`` (N,); ``boxes`` (N, 4) found, as x0,
    y0, x1, y1 with the end exclusive (all 0 where the map is flat)."""

    hits: Bool[Tensor, " N"]
    overlaps: Float[Tensor, " N"]
    boxes: Int[Tensor, "N 4"]


def iou(first: Bool[Tensor, "N H W"], second: Bool[Tensor, "N H W"]) -> Float[Tensor, " N"]:
    """Intersection over union of masks, picture by picture; NaN where both are empty.

    Raises ValueError for shapes that differ and for soft masks. Source: Jaccard 1901.

    >>> iou(torch.ones(1, 2, 2).bool(), torch.tensor([[[True, False], [False, False]]]))
    tensor([0.2500])
    """
    first, second = as_masks("first", first), as_masks("second", second)
    if first.shape != second.shape:
        raise ValueError(
            f"first and second must have the same shape; got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    a, b = first.flatten(1), second.to(first.device).flatten(1)
    return (a & b).sum(1) / (a | b).sum(1).float()


def box_iou(first: Tensor, second: Tensor) -> Float[Tensor, " N"]:
    """Intersection over union of boxes (N, 4) as x0, y0, x1, y1, the end exclusive; 0 for an empty box.

    >>> box_iou(torch.tensor([[0, 0, 2, 2]]), torch.tensor([[1, 0, 3, 2]]))
    tensor([0.3333])
    """
    first, second = as_tensor("first", first), as_tensor("second", second)
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 4:
        raise ValueError(
            f"boxes must both have the shape (N, 4); got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    a, b = first.float(), second.float().to(first.device)
    sides = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    shared = sides.prod(1)
    total = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).clamp(min=0).prod(1) - shared
    return torch.where(total > 0, shared / total.clamp(min=1e-9), torch.zeros_like(shared))


def boxes_of(masks: Bool[Tensor, "N H W"]) -> Int[Tensor, "N 4"]:
    """The tight box x0, y0, x1, y1 (end exclusive) around each mask; all 0 where it is empty.

    >>> boxes_of(torch.tensor([[[False, False, False], [False, True, True]]])).tolist()
    [[1, 1, 3, 2]]
    """
    masks = as_masks("masks", masks)
    columns, rows = masks.any(1).int(), masks.any(2).int()
    height, width = masks.shape[1:]
    last = [width - columns.flip(1).argmax(1), height - rows.flip(1).argmax(1)]
    boxes = torch.stack([columns.argmax(1), rows.argmax(1), *last], 1)
    return torch.where(masks.flatten(1).any(1, keepdim=True), boxes, 0)


def box_localization(
    maps: Float[Tensor, "N H W"], boxes: Tensor, *, level: float = 0.2, of: str = "maximum"
) -> Localization:
    """Does the box around the map's strongest part overlap the true box by at least a half?

    The map's positive part is cut off at ``level`` times its "maximum" (CAM's rule, with .2), or its "mean"
    or "energy" (the highest pixels that hold the share ``level`` of it); the box is that of the largest
    connected part (8 neighbours). A flat map is a miss. ``boxes`` are x0, y0, x1, y1, the end exclusive.
    Which ``level`` is best differs from method to method: compare methods each at its own best, chosen on
    other pictures. Raises ValueError for shapes that do not fit, maps with NaN and a ``level`` outside (0, 1)
    (above 0 for "mean").

    Source: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", section 3.2; the other
    rules: Fong and Vedaldi 2017, "Interpretable Explanations of Black Boxes", section 5.4.

    >>> box_localization(torch.eye(4)[None], torch.tensor([[0, 0, 4, 4]])).hits
    tensor([True])
    """
    from scipy import ndimage

    check_choice("of", of, ("maximum", "mean", "energy"))
    maps, boxes = as_tensor("maps", maps), as_tensor("boxes", boxes)
    if maps.ndim != 3 or boxes.shape != (len(maps), 4):
        raise ValueError(
            f"maps must be (N, H, W) with one box each, (N, 4); got {tuple(maps.shape)} and "
            f"{tuple(boxes.shape)}."
        )
    check_finite("maps", maps)
    if not 0 < level < (float("inf") if of == "mean" else 1):
        raise ValueError(f"level must lie between 0 and 1 (above 0 for of='mean'); got {level}.")
    found = torch.zeros(len(maps), 4, dtype=torch.long)
    for number, values in enumerate(maps.cpu().clamp(min=0)):
        if values.max() <= values.min():
            continue
        high = values >= _cut(values, level, of)
        parts, count = ndimage.label(high.numpy(), structure=[[1] * 3] * 3)
        sizes = ndimage.sum_labels(high.numpy(), parts, range(1, count + 1))
        found[number] = boxes_of(torch.from_numpy(parts == sizes.argmax() + 1)[None])[0]
    found = found.to(boxes.device)
    overlaps = box_iou(found, boxes)
    return Localization(overlaps >= 0.5, overlaps, found)


def _cut(values: Float[Tensor, "H W"], level: float, of: str) -> float:
    """The value from which on a pixel belongs to the map's strong part."""
    if of == "maximum":
        return float(level * values.max())
    if of == "mean":
        return min(float(level * values.mean()), float(values.max()))
    ordered = values.flatten().sort(descending=True).values
    held = ordered.cumsum(0) / ordered.sum()
    return float(ordered[int((held < level).sum().clamp(max=len(held) - 1))])
