"""Measuring a claim: its experiment is run, and what ran, what it read and how long it took is written down.

In a fresh process and on one thread, as ``labkit claims`` does: networks that were loaded before and kept
would not be seen.
"""

from __future__ import annotations

import datetime
import inspect
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labkit.core.statistics import Interval
from labkit.experiments.bench import Bench, Experiment, Result
from labkit.ledger.claims import Entry, Number, Triple
from labkit.ledger.code import ROOT
from labkit.ledger.staleness import resting
from labkit.ledger.tracing import traced

__all__ = ["measure", "place_of_function", "versions"]


def _triple(found: Interval) -> Triple:
    value, low, high = (float(f"{float(v):.6g}") for v in found)
    return value, low, high


def place_of_function(function: Callable[..., Any]) -> str:
    """Where a function is defined: "labkit/experiments/learned_masks.py::a12".

    Raises LookupError for one that stands in no file of labkit: its text could not be compared later.
    """
    own = inspect.unwrap(function)
    code = getattr(own, "__code__", None)
    path = Path(code.co_filename) if code is not None else Path()
    if code is None or not path.is_relative_to(ROOT):
        raise LookupError(f"a function must stand in a file of labkit to be measured by; got {function!r}.")
    return f"{path.relative_to(ROOT).as_posix()}::{code.co_qualname.split('.')[0]}"


def versions() -> dict[str, str]:
    """The versions that are kept beside a number; they make none stale."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


def commit(root: Path = ROOT) -> str:
    """The commit that is checked out, with a plus where files differ from it; empty outside a checkout."""
    done = [
        subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
        for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "labkit"))
    ]
    return done[0] + ("+" if done[0] and done[1] else "")


def measure(
    experiment: Experiment, own: Mapping[str, Callable[..., Any]], mode: str = "full"
) -> tuple[Entry, Result]:
    """Run a claim's experiment with the functions of ``own``, traced; its entry, and all that it gave.

    Errors are those of the experiment, and LookupError for a function that stands in no file of labkit.
    """
    places = [place_of_function(f) for f in (experiment.run, *own.values())]
    began = time.perf_counter()
    with traced() as ran:
        result = experiment.run(Bench(mode), **own)
    seconds = time.perf_counter() - began
    numbers = tuple(
        Number(
            m.what, _triple(m.value), m.threshold, m.holds, m.stands, m.unit,
            {name: _triple(found) for name, found in m.control.items()}, dict(m.must),
        )
        for m in result.measures
    )  # fmt: skip
    rests = resting(ran.golden, [*places, *ran.places], ran.networks)
    entry = Entry(
        experiment.lab, result.verdict, numbers, datetime.date.today().isoformat(), commit(),
        round(seconds, 1), rests, tuple(result.notes), versions(),
    )  # fmt: skip
    return entry, result
