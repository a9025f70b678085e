"""Was the explanation right? Measures against planted truth, with intervals."""

from labkit.core.statistics import Interval, bootstrap, share
from labkit.evaluation.controls import centre_map, control_maps, edge_map, random_map
from labkit.evaluation.faithfulness import Curve, Falsification, deletion, falsification, insertion
from labkit.evaluation.groups import GroupAccuracy, accuracy_by_group, average_image, bam_contrast
from labkit.evaluation.localization import (
    Localization,
    area_share,
    box_iou,
    box_localization,
    boxes_of,
    energy_inside,
    iou,
    peaks,
    pointing_game,
    pointing_hits,
)
from labkit.evaluation.retraining import Roar, remove, roar
from labkit.evaluation.sanity import (
    Cascade,
    cascading_randomization,
    class_selectivity,
    execution_order,
    randomized,
    rank_correlation,
    ssim,
    ssim_floor,
)

__all__ = [
    "Cascade",
    "Curve",
    "Falsification",
    "GroupAccuracy",
    "Interval",
    "Localization",
    "Roar",
    "accuracy_by_group",
    "area_share",
    "average_image",
    "bam_contrast",
    "bootstrap",
    "box_iou",
    "box_localization",
    "boxes_of",
    "cascading_randomization",
    "centre_map",
    "class_selectivity",
    "control_maps",
    "deletion",
    "edge_map",
    "energy_inside",
    "execution_order",
    "falsification",
    "insertion",
    "iou",
    "peaks",
    "pointing_game",
    "pointing_hits",
    "random_map",
    "randomized",
    "rank_correlation",
    "remove",
    "roar",
    "share",
    "ssim",
    "ssim_floor",
]
