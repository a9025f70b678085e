"""Pictures of maps: the one place that rescales a map for the eye.

Everything draws into a fresh ``Figure`` (never pyplot, which is not safe while a widget's thread draws too).
Signed maps get a diverging scale with zero in the middle, others a sequential one; panels that are compared
share one scale, and each scale has numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
INK = "#7f8792"  # a grey that reads on light and on dark ground


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    figure.patch.set_alpha(0)
    return figure


def _bare(axes, title: str = "", color: str = INK) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=9, color=color)


def _picture(image: Float[Tensor, "3 H W"]) -> np.ndarray:
    array = image.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    return array.repeat(3, 2) if array.shape[2] == 1 else array


def scale_of(maps: Sequence[Tensor] | Tensor) -> tuple[float, float, str]:
    """Smallest and largest value to show, and the colour map: symmetric and diverging if any is negative.

    >>> scale_of(torch.tensor([[[0.0, 2.0]]]))
    (0.0, 2.0, 'viridis')
    """
    values = torch.cat([m.detach().flatten().float().cpu() for m in maps])
    low, high = float(values.min()), float(values.max())
    if low < 0:
        reach = max(-low, high) or 1.0
        return -reach, reach, DIVERGING
    return 0.0, high if high > 0 else 1.0, SEQUENTIAL


def show_pictures(images: Float[Tensor, "N 3 H W"], titles: Sequence[str] = (), columns: int = 6) -> Figure:
    """A contact sheet of pictures with a title each."""
    count = len(images)
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = _figure(1.75 * columns, 1.95 * rows)
    for number in range(rows * columns):
        axes = figure.add_subplot(rows, columns, number + 1)
        _bare(axes, titles[number] if number < min(len(titles), count) else "")
        if number < count:
            axes.imshow(_picture(images[number]))
    return figure


def show_maps(
    images: Float[Tensor, "N 3 H W"],
    maps: Mapping[str, Float[Tensor, "N H W"]],
    titles: Sequence[str] = (),
    *,
    shared: bool = False,
) -> Figure:
    """Pictures in the first row and one row of maps a method below, each row with its scale in numbers.

    ``shared`` puts all rows on one scale (for maps of the same unit only). Raises ValueError where maps and
    pictures do not go together.
    """
    for name, value in maps.items():
        if value.ndim != 3 or len(value) != len(images):
            raise ValueError(
                f"the maps of {name!r} must have the shape ({len(images)}, H, W), one a picture; "
                f"got {tuple(value.shape)}."
            )
    rows, columns = len(maps) + 1, len(images)
    figure = _figure(1.75 * columns + 0.9, 1.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for column in range(columns):
        grid[0, column].imshow(_picture(images[column]))
        _bare(grid[0, column], titles[column] if column < len(titles) else "")
    whole = scale_of(list(maps.values())) if shared else None
    for row, (name, value) in enumerate(maps.items(), 1):
        low, high, colours = whole or scale_of(value)
        for column in range(columns):
            values = value[column].detach().cpu()
            drawn = grid[row, column].imshow(values, vmin=low, vmax=high, cmap=colours)
            _bare(grid[row, column])
        grid[row, 0].set_ylabel(name, fontsize=9, color=INK)
        bar = figure.colorbar(drawn, ax=list(grid[row]), fraction=0.04, pad=0.01)
        bar.ax.tick_params(labelsize=7, colors=INK)
        bar.outline.set_visible(False)
    return figure


def overlay(
    image: Float[Tensor, "3 H W"], values: Float[Tensor, "H W"], strength: float = 0.55
) -> np.ndarray:
    """A map laid over its picture in grey: uint8 (H, W, 3). Signed maps show red above, blue below zero."""
    from matplotlib import colormaps

    low, high, name = scale_of(values[None])
    scaled = ((values.detach().cpu().float() - low) / (high - low)).numpy()
    grey = _picture(image).mean(2, keepdims=True).repeat(3, 2)
    mixed = grey * (1 - strength) + colormaps[name](scaled)[..., :3] * strength
    return (mixed.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def show_scores(logits: Float[Tensor, " C"], classes: Sequence[str], top: int = 5) -> Figure:
    """The ``top`` classes of one picture as bars of probability, with their logits in numbers."""
    probabilities = torch.softmax(logits.detach().cpu().float(), 0)
    best = probabilities.argsort(descending=True)[:top].tolist()
    figure = _figure(4.2, 0.36 * len(best) + 0.5)
    axes = figure.add_subplot()
    axes.barh(range(len(best)), [float(probabilities[i]) for i in best], color="#4c8bd6", height=0.66)
    for row, index in enumerate(best):
        text = f" {float(probabilities[index]):.1%}   logit {float(logits[index]):.1f}"
        axes.text(float(probabilities[index]), row, text, va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(best)), [classes[i] for i in best], fontsize=9, color=INK)
    axes.set_xlim(0, 1.45)
    axes.set_xticks([])
    axes.invert_yaxis()
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.patch.set_alpha(0)
    return figure


def show_intervals(
    rows: Mapping[str, tuple[float, float, float]], *, baseline: float | None = None, unit: str = ""
) -> Figure:
    """Values with their intervals, one a row, and the baseline they are to be compared with."""
    figure = _figure(5.2, 0.38 * len(rows) + 0.7)
    axes = figure.add_subplot()
    for number, (value, low, high) in enumerate(rows.values()):
        axes.plot([low, high], [number, number], color="#4c8bd6", lw=5, alpha=0.45, solid_capstyle="round")
        axes.plot(value, number, "o", color="#4c8bd6", ms=6)
        axes.text(high, number - 0.28, f"{value:.2f}", fontsize=8, color=INK, ha="right")
    if baseline is not None:
        axes.axvline(baseline, color="#d07030", lw=1.2, ls="--")
    axes.set_yticks(range(len(rows)), list(rows), fontsize=9, color=INK)
    axes.tick_params(axis="x", labelsize=8, colors=INK)
    axes.set_xlabel(unit, fontsize=9, color=INK)
    axes.invert_yaxis()
    axes.margins(y=0.25)
    for name in ("top", "right", "left"):
        axes.spines[name].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    axes.patch.set_alpha(0)
    return figure
