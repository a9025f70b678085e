"""The measuring body of each claim of the lectures, one file a lab, a function a claim."""

from labkit.experiments.bench import Bench, Measure, Result, experiments

__all__ = ["Bench", "Measure", "Result", "experiments"]
