"""A row survives its file, in the keys that it has always had; a file of another version is told."""

import json

import pytest

from labkit.calls.exercise import Verdict
from labkit.checking.judge import CaseResult, ExerciseResult
from labkit.grading.rows import Row

CASES = [
    CaseResult("two rows", "public", 1, Verdict(False, "sign", "turned")),
    CaseResult("h", "hidden", 2, Verdict(True)),
]
RESULT = ExerciseResult("demo.scale_add", "Scale", 2.5, 4, CASES, "no add", "Add the one.", ["uses scipy"])
ROW = Row("ada", "Ada L", "a@x", "graded", 2.5, 4, 1, ["late"], ["05.ipynb"], [RESULT], "stamp", "no walls")


def test_a_row_comes_back_as_it_went():
    assert Row.from_json(ROW.to_json()) == ROW


def test_the_keys_on_disk_are_these():
    data = json.loads(ROW.to_json())
    assert list(data) == [
        "student", "name", "email", "status", "total", "out_of", "late_days", "problems", "files",
        "exercises", "stamp", "sandbox", "doubts", "seal", "by_hand", "label",
    ]  # fmt: skip
    assert list(data["exercises"][0]) == [
        "id", "title", "points", "out_of", "cases", "misconception", "hint", "notes", "word",
    ]  # fmt: skip
    assert data["exercises"][0]["word"] == "partly right"
    assert data["exercises"][0]["cases"][0] == {
        "name": "two rows", "group": "public", "points": 1,
        "verdict": {"passed": False, "word": "sign", "difference": "turned", "shown": ""},
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"exercises": [3]}',
        ROW.to_json().replace('"total"', '"sum"'),
        ROW.to_json().replace('"hint"', '"advice"'),
        ROW.to_json().replace('"word": "sign"', '"mark": "sign"'),
    ],
)  # fmt: skip
def test_a_file_of_another_version_is_told(text):
    with pytest.raises(ValueError, match="written by another version of labkit"):
        Row.from_json(text)
