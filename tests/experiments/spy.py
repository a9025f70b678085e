"""Experiments in quick mode with the exercises' references, run once, and which of these were called."""

from __future__ import annotations

from functools import cache
from math import isfinite

from labkit.exercises import find
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.measures import Result


def references(id: str) -> dict:
    """The argument names of an experiment with the references of the exercises that they come from."""
    return {name: find(exercise).reference for name, exercise in EXPERIMENTS[id].own.items()}


@cache
def quick(id: str) -> tuple[Result, set[str]]:
    """What an experiment finds in quick mode, and the ids of the exercises whose functions it called."""
    called = set()

    def spied(name, function):
        def own(*args, **options):
            called.add(EXPERIMENTS[id].own[name])
            return function(*args, **options)

        return own

    own = {name: spied(name, function) for name, function in references(id).items()}
    return EXPERIMENTS[id].run(Bench("quick"), **own), called


def unwritten(*args, **options):
    """A student's function that is not written yet."""
    raise NotImplementedError


class Locked(Bench):
    """A bench from which nothing is to be had: whoever asks it has begun to measure."""

    def scenes(self, *args, **chosen):
        raise AssertionError("scenes were asked for before every function was called")


def assert_sound(result: Result) -> None:
    """Every number is finite and lies within its interval, those of the controls too."""
    for measure in result.measures:
        for found in (measure.value, *measure.control.values()):
            assert all(map(isfinite, found)), measure.what
            assert found.low - 1e-6 <= found.value <= found.high + 1e-6, measure.what


def controls(result: Result) -> dict[str, tuple[str, list[str]]]:
    """Of each measure its threshold and the names of its controls."""
    return {m.what: (m.threshold, list(m.control)) for m in result.measures}
