"""The audit: what it says of an exercise that is not sound."""

import dataclasses
import re

import pytest
from demo import EXERCISES, SCALE

from labkit.calls.exercise import Case, Misconception
from labkit.checking.audit import audit


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
def test_the_demo_is_sound(exercise):
    assert audit(exercise) == []


def wrong(name, function):
    return Misconception(name, function, f"hint of {name}")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"reference": lambda x, factor: [][0]},
            "the reference of demo.scale_add fails its own case 'two rows'",
        ),
        ({"reference": lambda x, factor: x.mul_(factor)}, "changed in place"),
        ({"misconceptions": (wrong("same", SCALE.reference),)}, "'same' of demo.scale_add gets full marks"),
        ({"misconceptions": (wrong("flat", lambda x, factor: x.sum()),)}, "differs in its shape"),
        (
            {"misconceptions": (wrong("a", lambda x, factor: x), wrong("b", lambda x, factor: x + 0))},
            "'b' and 'a' of demo.scale_add are alike on the public cases",
        ),
        (
            {"misconceptions": (wrong("a", lambda x, f: x), wrong("b", lambda x, f: x + 0))},
            "'b' .* taken for 'a'",
        ),
        (
            {
                "misconceptions": (wrong("late", lambda x, f: x * f + (f < 9)),),
                "hidden": lambda seed: [Case("large", (SCALE.public()[0].args[0], 9.0 + seed))],
            },
            "'late' of demo.scale_add is not told by the public cases",
        ),
        ({"hidden": lambda seed: []}, "needs public and hidden cases"),
        ({"hidden": lambda seed: SCALE.public()[1:] * 2}, "probes more than one hidden case"),
        ({"hidden": lambda seed: SCALE.hidden(0)}, "do not depend on the seed"),
        ({}, "has 4 misconceptions; write at least 5"),
    ],
)
def test_the_audit_complains(change, complaint):
    said = audit(dataclasses.replace(SCALE, **change), fewest=5)
    assert any(re.search(complaint, line) for line in said), said
