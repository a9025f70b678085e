"""Run experiments in quick mode with the exercises' references, and see which of these they call."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any, NamedTuple

from labkit.exercises import find
from labkit.experiments.bench import EXPERIMENTS, Bench, Result


class Run(NamedTuple):
    """An experiment's result, and the ids of the exercises whose functions it called."""

    result: Result
    called: set[str]


def references(id: str, **wrong: Any) -> dict[str, Any]:
    """The functions that an experiment takes, by name: the exercises' own, but for those that are given."""
    own = EXPERIMENTS[id].own
    return {name: find(exercise).reference for name, exercise in own.items()} | wrong


@cache
def quick(id: str) -> Run:
    """An experiment in quick mode, run once."""
    called: set[str] = set()

    def watched(name: str, function: Any) -> Any:
        @wraps(function)
        def call(*args: Any) -> Any:
            called.add(EXPERIMENTS[id].own[name])
            return function(*args)

        return call

    functions = {name: watched(name, function) for name, function in references(id).items()}
    return Run(EXPERIMENTS[id].run(Bench("quick"), **functions), called)


class Locked(Bench):
    """A bench from which nothing is to be had: whoever asks it has begun to measure."""

    def scenes(self, *args: Any, **chosen: Any) -> Any:
        raise AssertionError("scenes were asked for before every function was called")

    def network(self, name: str) -> Any:
        raise AssertionError("a network was asked for before every function was called")


def unwritten(*args: Any) -> Any:
    """What a student's function is before it is written."""
    raise NotImplementedError
