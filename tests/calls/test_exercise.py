"""What makes no exercise is refused when it is written, in a sentence."""

import dataclasses

import pytest
from demo import SCALE

from labkit.calls.exercise import Case, Recipe


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
