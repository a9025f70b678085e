"""Was the explanation right? Measures against planted truth, with intervals."""

from labkit.evaluation.localization import area_share, energy_inside, peaks, pointing_game, pointing_hits
from labkit.evaluation.statistics import Interval, bootstrap, share

__all__ = [
    "Interval",
    "area_share",
    "bootstrap",
    "energy_inside",
    "peaks",
    "pointing_game",
    "pointing_hits",
    "share",
]
