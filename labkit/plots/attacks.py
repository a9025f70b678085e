"""Figures of attacks as the lectures draw them: picture, difference, ten times the difference, what came."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from labkit.plots.figures import INK, bare, blank

__all__ = ["enlarged", "show_attack"]


def enlarged(change: Float[Tensor, "... C H W"], times: float = 1.0) -> Float[Tensor, "... C H W"]:
    """A difference of two pictures as a picture: no change is grey, brighter is brighter; so many times it.

    What then lies beyond black or white is cut off.

    >>> import torch
    >>> enlarged(torch.tensor([[[-0.02, 0.0, 0.1]]]), 10).tolist()
    [[[0.30000001192092896, 0.5, 1.0]]]
    """
    return (0.5 + times * change.detach()).clamp(0, 1)


def show_attack(
    images: Float[Tensor, "N C H W"],
    attacked: Float[Tensor, "N C H W"],
    titles: Sequence[str] = (),
    said: Sequence[str] = (),
    *,
    times: float = 10.0,
) -> Figure:
    """Each picture above its change, so many times the change, and the picture that comes of it.

    ``titles`` stand above the pictures, ``said`` (what the network answers then) below the last row; the
    difference is drawn about grey, as ``enlarged`` does, once as it is and once ``times`` as large. One
    picture (1, C, H, W) may stand for all. Raises ValueError where the two do not go together.
    """
    if images.ndim != 4 or images.shape[1:] != attacked.shape[1:] or len(images) not in (1, len(attacked)):
        raise ValueError(
            f"images must be as many as attacked and of their size {tuple(attacked.shape)}, or one picture "
            f"for all; got {tuple(images.shape)}."
        )
    first = images.detach().cpu().float().expand(len(attacked), -1, -1, -1)
    last = attacked.detach().cpu().float()
    change = last - first
    rows = {
        "picture": first,
        "difference": enlarged(change),
        f"{times:g} times it": enlarged(change, times),
        "picture + difference": last,
    }
    count, ratio = len(first), first.shape[2] / first.shape[3]
    side = min(2.1, 9.2 / max(count, 3))
    figure = blank(side * count + 0.4, len(rows) * (side * ratio + 0.08) + 0.75)
    grid = figure.subplots(len(rows), count, squeeze=False)
    for row, (name, pictures) in enumerate(rows.items()):
        for column in range(count):
            axes = grid[row, column]
            shown = pictures[column].clamp(0, 1).permute(1, 2, 0).numpy()
            axes.imshow(shown.repeat(3, 2) if shown.shape[2] == 1 else shown)
            bare(axes, titles[column] if not row and column < len(titles) else "")
            if row == len(rows) - 1 and column < len(said):
                axes.set_xlabel(said[column], fontsize=10, color=INK)
        grid[row, 0].set_ylabel(name, fontsize=10, color=INK)
    return figure
