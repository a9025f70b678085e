"""What ran is noted by its golden answers, in all threads, through wrappers and classes; networks by name."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, wraps

import pytest
import torch

from labkit import attribution, evaluation
from labkit.core import statistics
from labkit.data import sample_scene
from labkit.ledger.tracing import Ran, traced
from labkit.models import load_model, record


def inner() -> int:
    return 1


def outer() -> int:
    return inner() + 1


@cache
def kept(x: int) -> int:
    return inner() + x


def decorated(function):
    @wraps(function)
    def run():
        return function()

    return run


@decorated
def wrapped() -> int:
    return inner()


@contextmanager
def managed() -> Iterator[int]:
    yield inner()


class Thing:
    @property
    def size(self) -> int:
        return 2

    @staticmethod
    def made() -> Thing:
        return Thing()

    def grow(self) -> int:
        return inner()


COVERS = {
    "outer": (outer,), "inner": (inner,), "kept": (kept,), "wrapped": (wrapped,), "managed": (managed,),
    "Thing": (Thing,), "both": (outer, inner),
}  # fmt: skip


def ran(function) -> set[str]:
    with traced(COVERS) as found:
        function()
    return found.golden


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (outer, {"outer", "inner", "both"}),
        (inner, {"inner", "both"}),
        (lambda: kept(3), {"kept", "inner", "both"}),
        (wrapped, {"wrapped", "inner", "both"}),
        (lambda: managed().__enter__(), {"managed", "inner", "both"}),
        (lambda: Thing().size, {"Thing"}),
        (Thing.made, {"Thing"}),
        (lambda: Thing().grow(), {"Thing", "inner", "both"}),
        (lambda: None, set()),
    ],
)
def test_what_ran_is_noted(function, names: set[str]) -> None:
    assert ran(function) == names


def test_what_other_threads_run_is_noted() -> None:
    def start() -> None:
        threads = [threading.Thread(target=f) for f in (outer, lambda: kept(4))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert ran(start) == {"outer", "inner", "both", "kept"}


def test_afterwards_nothing_is_noted_and_errors_pass() -> None:
    before = sys.getprofile()
    with pytest.raises(ZeroDivisionError), traced(COVERS) as found:
        1 / 0  # noqa: B018
    outer()
    assert found == Ran()
    assert sys.getprofile() is before


def test_networks_are_noted_by_the_name_that_was_asked_for() -> None:
    with traced({}, load_model) as found:
        for kind in ("random", "tag"):
            load_model(f"minivgg-{kind}")
    assert found.networks == {"minivgg-random", "minivgg-tag"}


def test_of_the_library_only_what_has_no_golden_answer_is_noted_by_its_place() -> None:
    with traced() as found:
        statistics.bootstrap([1.0, 2.0], repeats=10)
    assert found.golden == {"evaluation.bootstrap"}
    assert not found.places
    with traced({"evaluation.share": (evaluation.share,)}) as found:
        statistics.bootstrap([1.0, 2.0], repeats=10)
        statistics.share([True])
    assert found.golden == {"evaluation.share"}
    assert found.places == {"labkit/core/statistics.py::bootstrap", "labkit/core/statistics.py::_check_level"}


def test_a_method_is_noted_with_what_it_uses() -> None:
    model = load_model("minivgg")
    images = torch.rand(1, 3, 128, 128)
    with traced() as found:
        with record(model, "features.5"):
            attribution.occlusion(model, images, 0, window=64, stride=64)
        sample_scene(3)
    assert {"attribution.occlusion", "models.record", "data.sample_scene", "optimize.filling"} <= found.golden
    assert not {"attribution.saliency", "attribution.rise", "evaluation.deletion"} & found.golden
    assert not found.places
