"""What do the units know? Concepts as directions of a layer, and units held against label maps."""

from labkit.concepts.cav import Cav, cav, cav_result, directional_derivatives, layer_gradients, sort_by_cav
from labkit.concepts.dissection import (
    Counts,
    Dissection,
    dissect,
    dissect_result,
    unit_counts,
)
from labkit.concepts.rotations import random_rotation, rotation_power
from labkit.concepts.tcav import PairedCav, Tcav, paired_cav, paired_cav_result, tcav, tcav_result
from labkit.concepts.thresholds import unit_thresholds
from labkit.core.registry import Method

METHODS: dict[str, Method] = {}

__all__ = [
    "METHODS", "Cav", "Counts", "Dissection", "PairedCav", "Tcav", "cav", "cav_result",
    "directional_derivatives", "dissect", "dissect_result", "layer_gradients", "paired_cav",
    "paired_cav_result", "random_rotation", "rotation_power", "sort_by_cav", "tcav", "tcav_result",
    "unit_counts", "unit_thresholds",
]  # fmt: skip
