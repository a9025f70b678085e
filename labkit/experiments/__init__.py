"""The measuring body of each claim of the lectures, one file a lab, a function a claim."""

from labkit.experiments.bench import Bench, experiments
from labkit.experiments.measures import Measure, Result

__all__ = ["Bench", "Measure", "Result", "experiments"]
