"""Answers in words: collected on one page to be read, and marks by hand, kept in a plain file.

The file (``--marks marks.csv``) has the columns student, question, points, comment. A question is an answer
in words that the course file gives points to, ``[words]``, or an exercise, whose marks are then replaced.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from labkit.calls.notebook import WORDS_HERE, notebook_name
from labkit.core.checks import nearest
from labkit.grading.course import Course
from labkit.grading.rows import Row
from labkit.grading.submissions import Submission

__all__ = ["Mark", "answers_in_words", "read_marks", "tell_lost_answers", "with_marks"]


class Mark(NamedTuple):
    """A mark by hand and what is said of it."""

    points: float
    comment: str


def answers_in_words(submissions: Sequence[Submission]) -> dict[str, list[tuple[str, str]]]:
    """For each question in words, students and what they wrote; placeholders left standing are not told."""
    found: dict[str, list[tuple[str, str]]] = {}
    for submission in submissions:
        written = {
            id: text
            for _, book in submission.notebooks
            for id, text in book.answers.items()
            if text.strip() and WORDS_HERE not in text
        }
        for id, text in written.items():
            found.setdefault(id, []).append((submission.student.id, text))
    return dict(sorted(found.items()))


def tell_lost_answers(submissions: Sequence[Submission], course: Course, known: Iterable[str]) -> None:
    """Put a doubt to each student whose notebook has lost cells for answers in words, as Colab may strip what
    tells them from others: those that half of the class has, or the course gives points to.
    """
    known = list(known)
    cells: dict[str, dict[str, set[str]]] = {}
    for submission in submissions:
        for file, book in submission.notebooks:
            if lab := notebook_name(PurePosixPath(file).name, known):
                cells.setdefault(lab, {}).setdefault(submission.student.id, set()).update(book.answers)
    for lab, found in cells.items():
        counts = Counter(id for ids in found.values() for id in ids)
        worth = set(course.words) if len(cells) == 1 else set(course.words) & set(counts)
        asked = worth | {id for id, count in counts.items() if 2 * count >= len(found)}
        for submission in submissions:
            if lost := sorted(asked - found.get(submission.student.id, asked)):
                submission.doubts.append(
                    f"the cells of the answers in words were not found in {lab} ({', '.join(lost)}): read "
                    "them in the notebook itself"
                )


def read_marks(path: str | Path | None) -> dict[tuple[str, str], Mark]:
    """The marks of a CSV file, by student and question; a row without points is skipped.

    Raises ValueError naming the line that makes no sense, FileNotFoundError without a file.
    """
    if path is None:
        return {}
    marks: dict[tuple[str, str], Mark] = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"student", "question", "points"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"the marks {path} have no column {', '.join(sorted(missing))}. "
                "The first line must be student,question,points,comment."
            )
        for number, row in enumerate(reader, start=2):
            given = (row["points"] or "").strip().replace(",", ".")
            if not given:
                continue
            try:
                points = float(given)
            except ValueError:
                points = -1.0
            if not 0 <= points < 1e6:
                raise ValueError(
                    f"line {number} of the marks {path} gives the points {given!r}. "
                    "Write a number of 0 or more."
                )
            key = ((row["student"] or "").strip(), (row["question"] or "").strip())
            marks[key] = Mark(points, (row.get("comment") or "").strip())
    return marks


def with_marks(rows: Sequence[Row], marks: Mapping[tuple[str, str], Mark], course: Course) -> list[Row]:
    """The rows with what was marked by hand; those given stay as they are.

    Raises ValueError for a student or a question that there is not.
    """
    students = {row.student for row in rows}
    questions = {*course.words, *(result.id for row in rows for result in row.exercises)}
    for student, question in marks:
        for id, there, what in ((student, students, "student"), (question, questions, "question")):
            if id not in there:
                close = nearest(id, sorted(there), n=1)
                cure = f" Did you mean {close[0]!r}?" if close else ""
                raise ValueError(
                    f"the marks by hand name the {what} {id!r}, whom nothing knows. A question in words is "
                    f"given its points in the course file, under [words].{cure}"
                )
    return [_marked(row, marks, course) for row in rows]


def _marked(row: Row, marks: Mapping[tuple[str, str], Mark], course: Course) -> Row:
    results = []
    for result in row.exercises:
        mark = marks.get((row.student, result.id))
        said = f"marked by hand{': ' if mark and mark.comment else ''}{mark.comment if mark else ''}"
        results.append(
            replace(result, points=mark.points, notes=[*result.notes, said]) if mark is not None else result
        )
    by_hand = []
    for question, worth in course.words.items():
        mark = marks.get((row.student, question), Mark(0.0, ""))
        by_hand.append((question, mark.points, float(worth), mark.comment))
    points = sum(result.points for result in results) + sum(given for _, given, _, _ in by_hand)
    worth = sum(result.out_of for result in results) + sum(most for _, _, most, _ in by_hand)
    total = round(points * course.factor(row.late_days), 2)
    return replace(row, exercises=results, by_hand=by_hand, total=total, out_of=round(worth, 2))
