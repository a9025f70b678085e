"""Controls: what could explain a finding away, written once for all labs."""

from labkit.core.statistics import permutation_test, rank_p
from labkit.evaluation.controls.features import (
    colour_features,
    colour_histogram,
    matched_gaussian,
    position_features,
    random_directions,
    random_projections,
    random_subspace,
)
from labkit.evaluation.controls.maps import centre_map, control_maps, edge_map, random_map
from labkit.evaluation.controls.networks import phase_shuffled, twin
from labkit.evaluation.controls.pictures import equal_norm_noise, of_another, other_pictures

__all__ = [
    "centre_map",
    "colour_features",
    "colour_histogram",
    "control_maps",
    "edge_map",
    "equal_norm_noise",
    "matched_gaussian",
    "of_another",
    "other_pictures",
    "permutation_test",
    "phase_shuffled",
    "position_features",
    "random_directions",
    "random_map",
    "random_projections",
    "random_subspace",
    "rank_p",
    "twin",
]
