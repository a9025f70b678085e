"""Figures of units: the channels of a layer side by side, and the patches at which units fire most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from labkit.plots.figures import INK, bare, blank, scale_of

__all__ = ["for_the_eye", "show_channels", "show_patches", "show_sheet", "tiled"]


def for_the_eye(gradients: Float[Tensor, "... C H W"]) -> Float[Tensor, "... C H W"]:
    """Signed pictures as grey ones with colours: 0 is grey, in each the largest hundredth is black or white.

    >>> for_the_eye(torch.tensor([[[-1.0, 0.0, 0.5]]])).tolist()
    [[[0.0, 0.5, 0.75]]]
    """
    sizes = gradients.abs().flatten(-3)
    top = sizes.kthvalue(
        max(1, round(0.99 * sizes.shape[-1])), -1
    ).values  # one bright pixel greys all others
    top = torch.where(top > 0, top, sizes.amax(-1)).clamp(min=1e-12)[..., None, None, None]
    return (0.5 + 0.5 * gradients / top).clamp(0, 1)


def tiled(pictures: Float[Tensor, "K C h w"], columns: int, fill: float = 1.0) -> Float[Tensor, "C H W"]:
    """Pictures side by side as one, a line of ``fill`` between them, row by row.

    >>> tiled(torch.zeros(3, 1, 2, 2), 2).shape
    torch.Size([1, 5, 5])
    """
    count, channels, height, width = pictures.shape
    rows = -(-count // columns)
    sheet = torch.full((channels, rows * (height + 1) - 1, columns * (width + 1) - 1), fill)
    for k, picture in enumerate(pictures):
        y, x = k // columns * (height + 1), k % columns * (width + 1)
        sheet[:, y : y + height, x : x + width] = picture
    return sheet


def show_channels(
    channels: Float[Tensor, "K h w"], *, columns: int = 16, each: bool = False, title: str = ""
) -> Figure:
    """All channels of a layer for one picture, row by row, on one scale with its numbers.

    ``each``: every channel on a scale of its own, up to its largest size; which are loud is lost then. Raises
    ValueError for another shape.
    """
    if channels.ndim != 3:
        raise ValueError(
            f"channels must be one picture's, (K, h, w); got {tuple(channels.shape)}. Take one: grid[0]."
        )
    values = channels.detach().cpu().float()
    if each:
        values = values / values.abs().amax((1, 2), keepdim=True).clamp(min=1e-12)
    low, high, colours = scale_of(values)
    sheet = tiled(values[:, None], columns, float("nan"))[0].numpy()
    wide = 7.5
    figure = blank(wide + 0.8, wide * sheet.shape[0] / sheet.shape[1] + (0.4 if title else 0.1))
    axes = figure.add_subplot()
    drawn = axes.imshow(sheet, vmin=low, vmax=high, cmap=colours, interpolation="nearest")
    bare(axes, title)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.02)
    bar.ax.tick_params(labelsize=9, colors=INK)
    bar.outline.set_visible(False)
    if each:
        bar.set_label("share of the channel's own largest", fontsize=9, color=INK)
    return figure


def show_sheet(sheet: Float[Tensor, "C H W"], title: str = "", width: float = 6.0) -> Figure:
    """One small picture, grey or in colour, so many inches wide with its pixels seen: a sheet of filters."""
    colours = sheet.detach().cpu().float().clamp(0, 1).permute(1, 2, 0).numpy()
    figure = blank(width, width * sheet.shape[1] / sheet.shape[2] + (0.35 if title else 0.05))
    axes = figure.add_subplot()
    axes.imshow(np.repeat(colours, 3, 2) if colours.shape[2] == 1 else colours, interpolation="nearest")
    bare(axes, title)
    return figure


def show_patches(
    patches: Float[Tensor, "U k C s t"],
    titles: Sequence[str] = (),
    *,
    guided: Float[Tensor, "U k C s t"] | None = None,
    columns: int = 2,
) -> Figure:
    """The patches of some units, a strip a unit, with its guided patches below it.

    ``titles``: of the units.
    ``guided``: as ``labkit.visualization.guided_patches`` gives them, each scaled to its
    own largest size. ``columns``: how many strips stand side by side. Raises ValueError where the two do
    not go together.
    """
    if guided is not None and guided.shape != patches.shape:
        raise ValueError(
            f"guided must have the shape of the patches, {tuple(patches.shape)}; got {tuple(guided.shape)}."
        )
    strips = [tiled(row, len(row)) for row in patches.detach().cpu().float()]
    if guided is not None:
        below = [tiled(row, len(row)) for row in for_the_eye(guided.detach().cpu().float())]
        strips = [torch.cat([a, torch.ones_like(a[:, :1]), b], 1) for a, b in zip(strips, below, strict=True)]
    columns = max(1, min(columns, len(strips)))
    rows, ratio = -(-len(strips) // columns), strips[0].shape[1] / strips[0].shape[2]
    whole = 7.5 if columns == 1 else 9.2
    wide = (whole - 0.2) / columns
    figure = blank(whole, rows * (wide * ratio + 0.3))
    for number, strip in enumerate(strips):
        axes = figure.add_subplot(rows, columns, number + 1)
        colours = strip.clamp(0, 1).permute(1, 2, 0).numpy()
        axes.imshow(np.repeat(colours, 3, 2) if colours.shape[2] == 1 else colours)
        bare(axes, titles[number] if number < len(titles) else "", size=9)
    return figure
