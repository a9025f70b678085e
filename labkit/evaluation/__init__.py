"""Was the explanation right? Measures against planted truth, with intervals."""

from labkit.core.statistics import Interval, bootstrap, share
from labkit.evaluation.baselines import centre_map, control_maps, edge_map, random_map
from labkit.evaluation.boxes import Localization, box_iou, box_localization, boxes_of, iou
from labkit.evaluation.deletion import Course, deletion, insertion
from labkit.evaluation.groups import (
    Falsification,
    GroupAccuracy,
    accuracy_by_group,
    average_image,
    bam_contrast,
    falsification,
)
from labkit.evaluation.localization import area_share, energy_inside, peaks, pointing_game, pointing_hits
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
    "Course",
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
