"""Figures, and the one rule by which a map is scaled for the eye."""

from labkit.plots.embeddings import show_neighbors, show_points, show_scatter_of_pictures
from labkit.plots.figures import (
    CURVES,
    DIVERGING,
    INK,
    SEQUENTIAL,
    overlay,
    scale_of,
    show_curves,
    show_intervals,
    show_maps,
    show_pictures,
    show_scores,
)

__all__ = [
    "CURVES",
    "DIVERGING",
    "INK",
    "SEQUENTIAL",
    "overlay",
    "scale_of",
    "show_curves",
    "show_intervals",
    "show_maps",
    "show_neighbors",
    "show_pictures",
    "show_points",
    "show_scatter_of_pictures",
    "show_scores",
]
