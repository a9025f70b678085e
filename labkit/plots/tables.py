"""Tables of shares or scores as coloured squares with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from labkit.plots.figures import DIVERGING, INK, SEQUENTIAL, blank

__all__ = ["show_table"]

TOO_MANY = 16  # columns, from which on numbers no longer fit into squares
DARK = 0.55  # share of the scale, up to which the colours of viridis are dark


def show_table(
    values: Float[Tensor, "R C"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    xlabel: str = "",
    ylabel: str = "",
) -> Figure:
    """A table as squares: colour and number say the same. Shares lie on a scale from 0 to 1.

    Where a value is negative, the scale is symmetric about 0; where one is above 1, it ends at the largest.
    Raises ValueError where names and values do not go together.

    >>> show_table(torch.eye(2), ["a", "b"], ["a", "b"]).axes[0].get_xlabel()
    ''
    """
    numbers = torch.as_tensor(values).detach().cpu().float().numpy()
    if numbers.ndim != 2 or numbers.shape != (len(rows), len(columns)):
        raise ValueError(
            f"values must have a row for each of the {len(rows)} names and a column for each of the "
            f"{len(columns)}; got {tuple(numbers.shape)}."
        )
    reach = max(1.0, float(np.abs(numbers).max(initial=0.0)))
    signed = bool((numbers < 0).any())
    figure = blank(0.52 * len(columns) + 1.9, 0.36 * len(rows) + 1.3)
    axes = figure.add_subplot()
    axes.imshow(
        numbers, vmin=-reach if signed else 0.0, vmax=reach, cmap=DIVERGING if signed else SEQUENTIAL,
        aspect="auto",
    )  # fmt: skip
    if len(columns) <= TOO_MANY:
        for (row, column), value in np.ndenumerate(numbers):
            pale = abs(value) < DARK * reach if signed else value > DARK * reach
            text = f"{value:.1f}" if reach > 1 else f"{value:.2f}".replace("0.", ".", 1)
            axes.text(
                column, row, text, ha="center", va="center", fontsize=8, color="black" if pale else "white"
            )
    axes.set_xticks(range(len(columns)), list(columns), rotation=45, ha="right", fontsize=9, color=INK)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=9, color=INK)
    axes.tick_params(length=0)
    axes.set_xlabel(xlabel, fontsize=9, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
