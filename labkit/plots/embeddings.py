"""Pictures of a space of features: points in colour, pictures where their points lie, rows of neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

from labkit.plots.figures import INK

GREY = "#7a7f87"
# twelve that most eyes can part, and marks that part them where colours cannot
KINDS = (
    "#4c8bd6", "#d07030", "#3f9b5f", "#a05fc0", "#c0475a", GREY,
    "#1f9ea3", "#b08d2a", "#7fb2f0", "#e39ac0", "#8a6a4a", "#2f5f9e",
)  # fmt: skip
MARKS = "osD^vP"
TICKS = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # of shares
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


def show_against(
    points: Mapping[str, tuple[float, float]],
    *,
    xlabel: str,
    ylabel: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    only_x: Mapping[str, float] | None = None,
    shares: bool = False,
) -> Figure:
    """Named things as numbered points of a plane, a colour a group, their names beside in the order of x.

    ``only_x``: things of which only x is known, a broken line each. ``shares``: y is a share, drawn so that
    .9 and .99 are as far apart as .5 and .9. Raises ValueError for a group that names what is not there.

    >>> show_against({"a": (0.1, 0.9), "b": (0.2, 0.8)}, xlabel="x", ylabel="y").axes[0].get_xlabel()
    'x'
    """
    lines = dict(only_x or {})
    at = lines | {name: x for name, (x, _) in points.items()}
    color, hues = dict.fromkeys(at, INK), [hue for hue in KINDS if hue != GREY]
    for number, (group, names) in enumerate((groups or {}).items()):
        if unknown := [name for name in names if name not in at]:
            raise ValueError(f"the group {group!r} must name what is drawn; got {unknown[0]!r}.")
        color |= dict.fromkeys(names, hues[number % len(hues)])
    order = sorted(at, key=lambda name: at[name])
    figure = Figure(figsize=(9.2, max(3.4, 0.23 * len(order) + 0.8)), layout="constrained", dpi=110)
    figure.patch.set_alpha(0)
    axes, words = figure.subplots(1, 2, width_ratios=(3, 2))
    for number, name in enumerate(order, 1):
        high = (1.02, 1.06)[number % 2]
        if name in lines:
            axes.axvline(at[name], color=color[name], ls=(0, (4, 3)), lw=1.2)
            spot: Any = {"xy": (at[name], high), "xycoords": ("data", "axes fraction"), "ha": "center"}
        else:
            axes.scatter(*points[name], s=34, c=color[name], linewidths=0, alpha=0.9)
            spot = {"xy": points[name], "xytext": (4, 4 if number % 2 else -11)}
            spot |= {"textcoords": "offset points"}
        axes.annotate(str(number), fontsize=9, color=color[name], **spot)
        words.text(
            0, 1 - number / (len(order) + 1), f"{number}  {name}", fontsize=9.5, color=color[name],
            va="center",
        )  # fmt: skip
    words.set_axis_off()
    if shares:
        axes.set_yscale("logit")
        axes.yaxis.set_major_locator(FixedLocator(TICKS))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    for set_label, label in ((axes.set_xlabel, xlabel), (axes.set_ylabel, ylabel)):
        set_label(label, color=INK)
    axes.tick_params(colors=INK)
    axes.patch.set_alpha(0)
    for spine in axes.spines.values():
        spine.set_color(INK)
        spine.set_alpha(0.4)
    handles = [Line2D([], [], ls="", marker="o", color=color[names[0]]) for names in (groups or {}).values()]
    if handles:
        legend = figure.legend(
            handles, list(groups or {}), loc="outside lower center", ncols=4, frameon=False, fontsize=9
        )
        for text in legend.get_texts():
            text.set_color(INK)
    return figure
