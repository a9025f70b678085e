"""What do the units know? Concepts as directions of a layer, and units held against label maps."""

from labkit.concepts.cav import Cav, cav, cav_result, directional_derivatives, layer_gradients, sort_by_cav
from labkit.concepts.tcav import PairedCav, Tcav, paired_cav, paired_cav_result, tcav, tcav_result
from labkit.core.registry import Method

_DRAWN = {"others": 40}
METHODS: dict[str, Method] = {}

__all__ = [
    "METHODS", "Cav", "PairedCav", "Tcav", "cav", "cav_result", "directional_derivatives", "layer_gradients",
    "paired_cav", "paired_cav_result", "sort_by_cav", "tcav", "tcav_result",
]  # fmt: skip
