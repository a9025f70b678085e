"""What holds for every claim: whoever has not written a function is told before anything is measured."""

import pytest

from labkit.experiments.bench import Bench, experiments

from .spy import Locked, references, unwritten

OWN = [(id, name) for id, known in experiments().items() for name in known.own]
SMALL = ("A5",)  # which draws six pictures and asks for every function at the first of them


@pytest.mark.parametrize(("id", "name"), OWN)
def test_an_unwritten_function_says_so_before_anything_is_drawn(id, name):
    bench = (Bench if id in SMALL else Locked)("quick")
    with pytest.raises(NotImplementedError):
        experiments()[id].run(bench, **{**references(id), name: unwritten})
