"""Every exercise of the course is sound; the audit that says so can say otherwise."""

import dataclasses
import time

import pytest
from demo import EXERCISES, SCALE

from labkit.calls.exercise import Case, Misconception, Recipe
from labkit.checking.audit import FEWEST, audit
from labkit.checking.check import _run
from labkit.exercises import all_exercises, by_notebook, find

COURSE = all_exercises()


@pytest.mark.parametrize("exercise", COURSE, ids=lambda e: e.id)
def test_each_exercise_of_the_course_is_sound(exercise):
    assert audit(exercise, seed=11, fewest=FEWEST) == []
    assert find(exercise.id) is exercise


@pytest.mark.parametrize("exercise", COURSE, ids=lambda e: e.id)
def test_each_check_takes_under_a_second(exercise):
    _run(exercise, exercise.reference)  # what the reference gives is kept from here on
    begun = time.process_time()
    _run(exercise, exercise.reference)
    assert time.process_time() - begun < 1


def test_ids_do_not_repeat():
    ids = [exercise.id for exercise in COURSE]
    assert len(set(ids)) == len(ids)


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
        ({"hidden": lambda seed: []}, "needs public and hidden cases"),
        ({"hidden": lambda seed: SCALE.public()}, "probes more than one case"),
        ({"hidden": lambda seed: SCALE.hidden(0)}, "do not depend on the seed"),
        ({}, "has 4 misconceptions; write at least 5"),
    ],
)
def test_the_audit_complains(change, complaint):
    import re

    said = audit(dataclasses.replace(SCALE, **change), fewest=5)
    assert any(re.search(complaint, line) for line in said), said


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Recipe("torch.nn.Linear"), "factory must read 'package.module:function'"),
        (lambda: Case("c", points=0), "points must be a whole number of at least 1"),
        (lambda: Case("c", probe="hooks"), "probe must be None, 'model', 'inputs' or 'both'"),
        (lambda: dataclasses.replace(SCALE, id="scale"), "id must read 'topic.function'"),
        (
            lambda: dataclasses.replace(SCALE, signature="f(x)"),
            "signature must begin with the id's last part",
        ),
        (lambda: dataclasses.replace(SCALE, difficulty=4), "difficulty must be 1, 2 or 3; got 4"),
        (lambda: dataclasses.replace(SCALE, compare="near"), "compare must be one of 'close', 'exact'"),
    ],
)
def test_what_makes_no_exercise_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_unknown_notebooks_are_named():
    with pytest.raises(KeyError, match="no exercises for the notebook '99_nothing.ipynb'"):
        by_notebook("99_nothing.ipynb")
