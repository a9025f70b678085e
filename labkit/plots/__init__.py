"""Figures, and the one rule by which a map is scaled for the eye."""

from labkit.plots.attacks import enlarged, show_attack
from labkit.plots.embeddings import show_against, show_neighbors, show_points, show_scatter_of_pictures
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
from labkit.plots.tables import show_table
from labkit.plots.trees import show_tree
from labkit.plots.units import for_the_eye, show_channels, show_patches, show_sheet, tiled

__all__ = [
    "CURVES",
    "DIVERGING",
    "INK",
    "SEQUENTIAL",
    "enlarged",
    "for_the_eye",
    "overlay",
    "scale_of",
    "show_against",
    "show_attack",
    "show_channels",
    "show_curves",
    "show_intervals",
    "show_maps",
    "show_neighbors",
    "show_patches",
    "show_pictures",
    "show_points",
    "show_scatter_of_pictures",
    "show_scores",
    "show_sheet",
    "show_table",
    "show_tree",
    "tiled",
]
