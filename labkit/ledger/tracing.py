"""What ran while a number was measured: functions that have golden answers, others, and networks loaded.

A profile function sees every call, in every thread. Where one with a golden answer is entered, its name is
noted, and what it calls in turn counts as part of it; a function of the library that runs outside any of them
is noted by its place, for then only its text can tell that it has changed.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from labkit.ledger.code import ROOT

LIBRARY = ROOT / "labkit"
# Experiments and references are taken by their text anyway; checks and the registry only refuse; the rest
# computes nothing.
OUTSIDE = (
    "experiments",
    "exercises",
    "ledger",
    "app",
    "calls",
    "core/checks.py",
    "core/files.py",
    "core/progress.py",
    "core/registry.py",
)


@dataclass
class Ran:
    """What ran: names of golden answers, places of other code ("labkit/data/x.py::name"), networks loaded."""

    golden: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)


def codes_of(thing: Any) -> Iterator[CodeType]:
    """The code of a function, or of all methods of a class."""
    if inspect.isclass(thing):
        for value in vars(thing).values():
            inner = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if inspect.isfunction(inner):
                yield from codes_of(inner)
    else:
        own = inspect.unwrap(thing)
        if hasattr(own, "__code__"):
            yield own.__code__


def place_of(code: CodeType) -> str | None:
    """Where in the library some code stands; None for what lies outside it or does not count."""
    path = Path(code.co_filename)
    if not path.is_relative_to(LIBRARY):
        return None
    inside = path.relative_to(LIBRARY).as_posix()
    if any(inside == part or inside.startswith(f"{part}/") for part in OUTSIDE):
        return None
    return f"labkit/{inside}::{code.co_qualname.split('.')[0]}"


class _Watch:
    """The profile functions of all threads, which fill one ``Ran``."""

    def __init__(self, covered: Mapping[CodeType, tuple[str, ...]], door: CodeType | None) -> None:
        self.ran, self.covered, self.door = Ran(), covered, door

    def start(self, frame: FrameType, event: str, arg: Any) -> None:
        """What a new thread calls first: it gets a watcher with a depth of its own."""
        watch = self.watcher()
        sys.setprofile(watch)
        watch(frame, event, arg)

    def watcher(self) -> Callable[[FrameType, str, Any], None]:
        depth = 0
        known: dict[CodeType, tuple[str, ...] | None] = {}

        def watch(frame: FrameType, event: str, arg: Any) -> None:
            nonlocal depth
            if event == "call":
                code = frame.f_code
                names = known[code] if code in known else known.setdefault(code, self.names(code))
                if names is not None:
                    depth += 1
                    self.ran.golden.update(names)
                    if code is self.door:
                        self.ran.networks.add(str(frame.f_locals[code.co_varnames[0]]))
                elif depth == 0:
                    place = place_of(code)
                    if place is not None:
                        self.ran.places.add(place)
            elif event == "return" and known.get(frame.f_code) is not None:
                depth -= 1

        return watch

    def names(self, code: CodeType) -> tuple[str, ...] | None:
        """The golden answers of some code; () for what is entered without one: an import, the door."""
        entered = code.co_name == "<module>" or code is self.door
        return self.covered.get(code, () if entered else None)


@contextmanager
def traced(covers: Mapping[str, tuple[Any, ...]] | None = None, door: Any = None) -> Iterator[Ran]:
    """Note what runs in the block, in this thread and in those that it starts; see ``Ran``.

    ``covers``: name of a golden answer -> functions and classes that it answers for, by default those of all
    golden calls; ``door`` loads networks, by default ``labkit.models.load_model``. A network that was loaded
    before, and kept, is not seen: measure in a fresh process.
    """
    if covers is None:
        from labkit.ledger.golden_calls import calls
        from labkit.models import load_model

        covers, door = {name: call.covers for name, call in calls().items()}, load_model
    covered: dict[CodeType, tuple[str, ...]] = {}
    for name, things in covers.items():
        for code in (code for thing in things for code in codes_of(thing)):
            covered[code] = (*covered.get(code, ()), name)
    watch = _Watch(covered, next(codes_of(door), None) if door is not None else None)
    before = sys.getprofile()
    threading.setprofile(watch.start)
    sys.setprofile(watch.watcher())
    try:
        yield watch.ran
    finally:
        sys.setprofile(before)
        threading.setprofile(None)  # type: ignore[arg-type]
