"""Does a map point at what it should? Measures against exact masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def _check(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise ValueError(
            f"maps and masks must have the same shape (N, H, W); got {tuple(maps.shape)} and "
            f"{tuple(masks.shape)}."
        )
    if not torch.isfinite(maps).all():
        raise ValueError("maps must be finite; got NaN or infinity.")
    return maps.detach(), masks.to(maps.device).bool()


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
    return masks.float().mean((1, 2))


def peaks(maps: Float[Tensor, "N H W"]) -> Tensor:
    """Row and column of each map's largest value, int64 (N, 2).

    >>> peaks(torch.tensor([[[0.0, 0.0], [3.0, 1.0]]]))
    tensor([[1, 0]])
    """
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
