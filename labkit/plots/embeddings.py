"""Pictures of a space of features: points in colour, pictures where their points lie, rows of neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import Tensor

from labkit.plots.figures import INK

# twelve that most eyes can part, and marks that part them where colours cannot
KINDS = (
    "#4c8bd6", "#d07030", "#3f9b5f", "#a05fc0", "#c0475a", "#7a7f87",
    "#1f9ea3", "#b08d2a", "#7fb2f0", "#e39ac0", "#8a6a4a", "#2f5f9e",
)  # fmt: skip
MARKS = "osD^vP"
FEW = 150  # points that leave room for larger marks


def _picture(image: Tensor | np.ndarray) -> np.ndarray:
    # an array is copied, for torch warns of one that cannot be written
    found = image.detach().cpu() if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    found = found.float() / 255 if found.dtype == torch.uint8 else found.float()
    return (found.permute(1, 2, 0) if found.shape[0] in (1, 3) else found).clamp(0, 1).numpy()


def show_points(
    points: Mapping[str, Float[Tensor, "N 2"]],
    labels: Int[Tensor, " N"] | None = None,
    names: Sequence[str] = (),
    *,
    columns: int = 3,
) -> Figure:
    """Clouds of points side by side, a colour and a mark a label (grey without ``labels``).

    Axes have no numbers: a t-SNE has no unit. Raises ValueError for labels that do not go with the points.

    >>> show_points({"a": torch.rand(5, 2)}).axes[0].get_title()
    'a'
    """
    for name, cloud in points.items():
        if cloud.ndim != 2 or cloud.shape[1] != 2 or (labels is not None and len(labels) != len(cloud)):
            want = "N" if labels is None else len(labels)
            raise ValueError(f"the points of {name!r} must be ({want}, 2); got {tuple(cloud.shape)}.")
    across = min(columns, len(points))
    down = -(-len(points) // across)
    figure = Figure(figsize=(3.1 * across + (1.4 if names else 0), 3.1 * down), layout="constrained", dpi=110)
    figure.patch.set_alpha(0)
    size = 26 if max(len(cloud) for cloud in points.values()) <= FEW else 14
    for number, (name, cloud) in enumerate(points.items()):
        axes = figure.add_subplot(down, across, number + 1)
        spots = cloud.detach().cpu().double().numpy()
        kinds = [None] if labels is None else torch.as_tensor(labels).unique().tolist()
        for kind in kinds:
            own = spots if kind is None else spots[(torch.as_tensor(labels) == kind).numpy()]
            k = 5 if kind is None else int(kind)
            mark = "o" if kind is None else MARKS[k % len(MARKS)]
            title = names[k] if kind is not None and k < len(names) else None
            axes.scatter(
                own[:, 0], own[:, 1], s=size, c=KINDS[k % len(KINDS)], marker=mark,
                linewidths=0, alpha=0.85, label=title,
            )  # fmt: skip
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.patch.set_alpha(0)
        for spine in axes.spines.values():
            spine.set_color(INK)
            spine.set_alpha(0.4)
    if names and labels is not None:
        handles, words = figure.axes[0].get_legend_handles_labels()
        legend = figure.legend(
            handles, words, loc="outside right upper", fontsize=9, frameon=False, markerscale=1.6
        )
        for text in legend.get_texts():
            text.set_color(INK)
    return figure


def show_scatter_of_pictures(points: Float[Tensor, "N 2"], images: Any, *, side: float = 6.0) -> Figure:
    """Every picture small where its point lies, so that the eye can judge what is near.

    ``images``: tensor (N, 3, H, W), 0 to 1, or bytes (N, H, W, 3). Raises ValueError where there is not one
    a point.

    >>> len(show_scatter_of_pictures(torch.rand(3, 2), torch.rand(3, 3, 8, 8)).axes[0].artists)
    3
    """
    if len(points) != len(images):
        raise ValueError(f"images must be one a point, {len(points)}; got {len(images)}.")
    figure = Figure(figsize=(side, side), layout="constrained", dpi=110)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    spots = points.detach().cpu().double().numpy()
    zoom = 72 * side / 22 / max(np.shape(images)[1:3])
    for spot, image in zip(spots, images, strict=True):
        axes.add_artist(AnnotationBbox(OffsetImage(_picture(image), zoom=zoom), spot, frameon=False, pad=0))
    axes.set_xlim(spots[:, 0].min(), spots[:, 0].max())
    axes.set_ylim(spots[:, 1].min(), spots[:, 1].max())
    axes.margins(0.05)
    axes.set_axis_off()
    return figure


def show_neighbors(
    images: Any, rows: Mapping[str, Int[Tensor, "M k"]], queries: Sequence[int], names: Sequence[str] = ()
) -> Figure:
    """Some pictures, and below each its neighbours by several ways, the nearest first, with their names.

    ``rows``: title -> the neighbours' numbers, one row of them for each of ``queries``.

    >>> show_neighbors(torch.rand(4, 3, 8, 8), {"pixels": torch.tensor([[1, 2]])}, [0]).axes[0].get_title()
    'asked'
    """
    ways, count = list(rows), next(iter(rows.values())).shape[1]
    figure = Figure(
        figsize=(0.95 * (1 + len(ways) * count) + 0.3 * len(ways), 1.15 * len(queries) + 0.3),
        layout="constrained", dpi=110,
    )  # fmt: skip
    figure.patch.set_alpha(0)
    widths = [1.0] + [w for _ in ways for w in [0.25] + [1.0] * count]
    grid = figure.subplots(len(queries), len(widths), squeeze=False, gridspec_kw={"width_ratios": widths})
    for axes in grid.flat:
        axes.set_axis_off()
    for row, query in enumerate(queries):
        shown = [(0, query, "asked" if row == 0 else "")]
        for way, title in enumerate(ways):
            for place, index in enumerate(rows[title][row].tolist()):
                first = row == 0 and place == count // 2
                shown.append((2 + way * (count + 1) + place, index, title if first else ""))
        for column, index, title in shown:
            axes = grid[row, column]
            axes.imshow(_picture(images[index]))
            if names:
                axes.text(0.5, -0.04, names[index], transform=axes.transAxes, ha="center", va="top",
                          fontsize=7, color=INK)  # fmt: skip
            if title:
                axes.set_title(title, fontsize=10, color=INK)
    return figure
