"""Pictures of maps: the one place that rescales a map for the eye.

Everything draws into a fresh ``Figure`` (never pyplot, which is not safe while a widget's thread draws too).
Signed maps get a diverging scale with zero in the middle, others a sequential one; panels that are compared
share one scale, and each scale has numbers. One bright pixel must not darken all others: a scale may end
below the largest value, and its bar then ends in an arrow.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from labkit.core.statistics import Interval

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
INK = "#767f8b"  # a grey that reads on light and on dark ground
LETTERS = 24  # so many fit above a picture of a contact sheet


def blank(width: float, height: float) -> Figure:
    """A figure of so many inches, on no ground."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    figure.patch.set_alpha(0)
    return figure


def bare(axes, title: str = "", color: str = INK, size: int = 10) -> None:
    """Take ticks and frame from axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=size, color=color)


def _picture(image: Float[Tensor, "3 H W"]) -> np.ndarray:
    array = image.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    return array.repeat(3, 2) if array.shape[2] == 1 else array


def scale_of(maps: Sequence[Tensor] | Tensor) -> tuple[float, float, str]:
    """Smallest and largest value to show, and the colour map: symmetric and diverging if any is negative.

    Where a few pixels (0.5%) stand out to more than 1.5 times the rest, the scale ends at the rest.

    >>> scale_of(torch.tensor([[[0.0, 2.0]]]))
    (0.0, 2.0, 'viridis')
    """
    values = np.concatenate([m.detach().flatten().float().cpu().numpy() for m in maps])
    reach, usual = float(np.abs(values).max()), float(np.quantile(np.abs(values), 0.995))
    reach = (usual if 0 < usual < reach / 1.5 else reach) or 1.0
    return (-reach, reach, DIVERGING) if values.min() < 0 else (0.0, reach, SEQUENTIAL)


def _arrows(maps: Sequence[Tensor] | Tensor, low: float, high: float) -> str:
    """Where a colour bar needs arrows, because values lie beyond its ends (in matplotlib's words)."""
    below = any(float(m.detach().min()) < low for m in maps)
    above = any(float(m.detach().max()) > high for m in maps)
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")


def _in_two(title: str) -> str:
    """A title that fits above its picture: a long one goes on below, behind its colon if it has one."""
    if len(title) <= LETTERS:
        return title
    first, colon, rest = title.partition(": ")
    return f"{first}:\n{rest}" if colon else textwrap.fill(title, LETTERS)


def show_pictures(images: Float[Tensor, "N 3 H W"], titles: Sequence[str] = (), columns: int = 6) -> Figure:
    """A contact sheet of pictures with a title each; a title wider than its picture takes two lines."""
    count = len(images)
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = blank(1.75 * columns, 1.95 * rows)
    for number in range(rows * columns):
        axes = figure.add_subplot(rows, columns, number + 1)
        title = titles[number] if number < min(len(titles), count) else ""
        bare(axes, _in_two(title))
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
    # two threads that take slices of one tensor that asks for gradients can lock each other out within torch
    images, maps = images.detach(), {name: value.detach() for name, value in maps.items()}
    rows, columns = len(maps) + 1, len(images)
    figure = blank(1.75 * columns + 1.0, 1.8 * rows)
    widths = [1.0] * columns + [0.07]
    grid = figure.subplots(rows, columns + 1, squeeze=False, gridspec_kw={"width_ratios": widths})
    grid[0, columns].set_axis_off()
    for column in range(columns):
        grid[0, column].imshow(_picture(images[column]))
        bare(grid[0, column], titles[column] if column < len(titles) else "", size=12)
    whole = scale_of(list(maps.values())) if shared else None
    for row, (name, value) in enumerate(maps.items(), 1):
        low, high, colours = whole or scale_of(value)
        for column in range(columns):
            values = value[column].detach().cpu().float().numpy()
            drawn = grid[row, column].imshow(values, vmin=low, vmax=high, cmap=colours)
            bare(grid[row, column])
        grid[row, 0].set_ylabel(name, fontsize=12, color=INK)
        shown = list(maps.values()) if shared else [value]
        bar = figure.colorbar(drawn, cax=grid[row, columns], extend=_arrows(shown, low, high))
        bar.ax.tick_params(labelsize=10, colors=INK)
        bar.outline.set_visible(False)
    return figure


def overlay(image: Float[Tensor, "3 H W"], values: Float[Tensor, "H W"], strength: float = 0.8) -> np.ndarray:
    """A map laid over its picture in grey: uint8 (H, W, 3). Red above zero, blue below, bare at it."""
    _, high, _ = scale_of(values[None])
    scaled = (values.detach().cpu().float() / high).clamp(-1, 1).numpy()[..., None]
    grey = _picture(image).mean(2, keepdims=True).repeat(3, 2)
    colour = np.where(scaled < 0, (0.13, 0.40, 0.85), (0.90, 0.16, 0.12))
    weight = strength * np.abs(scaled)
    return ((grey * (1 - weight) + colour * weight).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def show_scores(logits: Float[Tensor, " C"], classes: Sequence[str], top: int = 5) -> Figure:
    """The ``top`` classes of one picture as bars of probability, with their logits in numbers."""
    probabilities = torch.softmax(logits.detach().cpu().float(), 0)
    best = probabilities.argsort(descending=True)[:top].tolist()
    figure = blank(4.2, 0.36 * len(best) + 0.5)
    axes = figure.add_subplot()
    axes.barh(range(len(best)), [float(probabilities[i]) for i in best], color="#4c8bd6", height=0.66)
    for row, index in enumerate(best):
        text = f" {float(probabilities[index]):.1%}   logit {float(logits[index]):.1f}"
        axes.text(float(probabilities[index]), row, text, va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(best)), [classes[i] for i in best], fontsize=10, color=INK)
    axes.tick_params(length=0)
    axes.set_xlim(0, 1.5)
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
    figure = blank(5.2, 0.42 * len(rows) + 0.7)
    axes = figure.add_subplot()
    for number, (value, low, high) in enumerate(rows.values()):
        axes.plot([low, high], [number, number], color="#4c8bd6", lw=5, alpha=0.45, solid_capstyle="round")
        axes.plot(value, number, "o", color="#4c8bd6", ms=6)
        axes.text(value, number - 0.2, f"{value:.3g}", fontsize=9, color=INK, ha="center")
    if baseline is not None:
        axes.axvline(baseline, color="#d07030", lw=1.2, ls="--")
    axes.set_yticks(range(len(rows)), list(rows), fontsize=10, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9, colors=INK)
    axes.set_xlabel(unit, fontsize=9, color=INK)
    axes.set_ylim(len(rows) - 0.6, -0.75)
    for name in ("top", "right", "left"):
        axes.spines[name].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    axes.patch.set_alpha(0)
    return figure


CURVES = ("#4c8bd6", "#d07030", "#3f9b5f", "#a05fc0", "#c0475a", "#7a7f87", "#1f9ea3", "#b08d2a")


def show_curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float] | Sequence[Interval]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    ticks: Sequence[str] | None = None,
    baseline: float | None = None,
    here: float | None = None,
) -> Figure:
    """Curves over ``x`` with their names beside them; where points are intervals, with a band.

    ``ticks`` are words for the places of ``x``; ``baseline`` is a dashed line to compare with,
    ``here`` an upright one at the place that is spoken of. Raises ValueError for a line that has not one
    point for each of ``x``.
    """
    figure = blank(5.6, 3.1)
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(lines.items()):
        if len(points) != len(x):
            raise ValueError(
                f"the line {name!r} must have one point for each of {len(x)} x; got {len(points)}."
            )
        rows = np.array([p if isinstance(p, tuple) else (p, p, p) for p in points], float)
        colour = CURVES[number % len(CURVES)]
        axes.plot(x, rows[:, 0], color=colour, lw=2, marker="o", ms=3.5, label=name)
        axes.fill_between(x, rows[:, 1], rows[:, 2], color=colour, alpha=0.16, lw=0)
    if baseline is not None:
        axes.axhline(baseline, color=INK, lw=1, ls="--")
    if here is not None:
        axes.axvline(here, color=INK, lw=1.2)
    if ticks is not None:
        axes.set_xticks(list(x), list(ticks))
    axes.set_xlabel(xlabel, fontsize=9, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    for name in ("top", "right"):
        axes.spines[name].set_visible(False)
    for name in ("left", "bottom"):
        axes.spines[name].set_color(INK)
    legend = axes.legend(fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for text in legend.get_texts():
        text.set_color(INK)
    axes.patch.set_alpha(0)
    return figure
