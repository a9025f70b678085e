"""The rows of a graded class: one a student, as kept in ``results/*.json``, and the report they make up."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labkit.calls.exercise import Exercise, Verdict
from labkit.checking.judge import UNREADABLE, CaseResult, ExerciseResult
from labkit.grading.course import Course

__all__ = ["Row", "ClassReport", "STATUSES", "safe_name"]

STATUSES = ("graded", "partial", UNREADABLE, "untouched", "missing", "unreadable", "timeout", "crashed")


@dataclass
class Row:
    """What grading found for one student.

    ``status``: one of `STATUSES`; ``total``: the points, lateness taken off; ``problems``: what could not be
    read; ``files``: the notebooks' names; ``exercises``: their results; ``stamp``: a hash of all that the row
    rests on; ``sandbox``: how far the worker was locked in; ``doubts``: what an
    instructor should look at, not shown to the student; ``seal``: a hash of the row and the course's secret;
    ``by_hand``: question in words, points (None: answered, not marked yet), worth, comment; ``label``: as in
    `Submission`.
    """

    student: str
    name: str
    email: str
    status: str
    total: float
    out_of: float
    late_days: int
    problems: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    exercises: list[ExerciseResult] = field(default_factory=list)
    stamp: str = ""
    sandbox: str = ""
    doubts: list[str] = field(default_factory=list)
    seal: str = ""
    by_hand: list[tuple[str, float | None, float, str]] = field(default_factory=list)
    label: str = ""

    @property
    def open_words(self) -> list[str]:
        """The questions in words that are answered and not marked yet."""
        return [question for question, points, _, _ in self.by_hand if points is None]

    def to_json(self) -> str:
        """The row as text; each exercise is given its word as well, for whoever reads the file."""
        data = asdict(self)
        for item, result in zip(data["exercises"], self.exercises, strict=True):
            item["word"] = result.word
        return json.dumps(data, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Row:
        """The row of `to_json`'s text. Raises ValueError for one that this version did not write."""
        try:
            data = json.loads(text)
            return cls(**{**data, "exercises": [_result(item) for item in data["exercises"]]})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this result was written by another version of labkit: {error!r}") from None


def _result(item: Mapping[str, Any]) -> ExerciseResult:
    known = {key: value for key, value in item.items() if key not in ("word", "cases")}
    cases = [CaseResult(**{**case, "verdict": Verdict(**case["verdict"])}) for case in item["cases"]]
    return ExerciseResult(**known, cases=cases)


@dataclass
class ClassReport:
    """What `grade_class` did: a row per student, and the folder it wrote; ``resumed`` rows were there before.

    ``sandbox``: a sentence on how far the workers were locked in; ``alike``: answers that are like others,
    as student, exercise and sentence; ``words``: the answers in words, by question; ``questions``: these
    questions' texts; ``notices``: what an instructor is to be told of the class as a whole.
    """

    out: Path
    rows: list[Row]
    exercises: list[Exercise]
    sandbox: str
    course: Course
    resumed: int = 0
    alike: list[tuple[str, str, str]] = field(default_factory=list)
    words: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    questions: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def row(self, student: str) -> Row:
        """The row of one student. Raises KeyError for one who is not there."""
        for row in self.rows:
            if row.student == student:
                return row
        raise KeyError(f"no row for the student {student!r}")


def safe_name(student: str) -> str:
    """A file name for a student's id; different ids never share one.

    >>> safe_name("ada"), safe_name("../ada")[:4]
    ('ada', '.._a')
    """
    safe = re.sub(r"[^\w.@+-]", "_", student)
    if safe == student and not safe.startswith(".") and len(safe) < 100 and safe == safe.lower():
        return safe
    return f"{safe[:80]}-{hashlib.sha256(student.encode()).hexdigest()[:8]}"
