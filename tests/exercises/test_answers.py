"""What `check` said to 297 wrong answers before exercises had one form, and what it says now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.exercises import find

ROWS = [
    json.loads(line) for line in Path(__file__).with_name("answers.jsonl").read_text("utf-8").splitlines()
]


def test_every_wrong_answer_of_then_is_answered_as_well() -> None:
    assert len(ROWS) == 297
    assert not [row["answer"] for row in ROWS if row["passed"] == row["of"]]
    assert [row["answer"] for row in ROWS if row["hint before"] and not row["hint"]] == ["counted_through"]


@pytest.mark.parametrize("id", sorted({row["exercise"] for row in ROWS}))
def test_the_hints_recorded_are_still_given(id: str) -> None:
    given = {wrong.hint for wrong in find(id).misconceptions}
    assert {row["hint"] for row in ROWS if row["exercise"] == id} - given <= {""}
