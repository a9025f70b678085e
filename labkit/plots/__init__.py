"""Figures, and the one rule by which a map is scaled for the eye."""

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
    "show_pictures",
    "show_scores",
]
