"""Answers in words: collected on one page to be read, and marks by hand, kept in a plain file.

The file (``--marks marks.csv``) has the columns student, question, points, comment. A question is an answer
in words that the course file gives points to, ``[words]``, or an exercise, whose marks are then replaced.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from labkit.calls.notebook import WORDS_HERE, notebook_name, read_notebook
from labkit.core.files import write_whole
from labkit.grading.course import Course
from labkit.grading.rows import Row
from labkit.grading.submissions import Submission
from labkit.grading.tables import did_you_mean, places, read_table, tame, untame

__all__ = [
    "Mark",
    "answers_in_words",
    "check_marks",
    "not_marked_yet",
    "questions_in_words",
    "read_marks",
    "tell_lost_answers",
    "with_marks",
    "write_sheet",
]

HEADINGS = {
    "student": ("student", "studentid", "id", "matrikelnummer"),
    "question": ("question", "frage"),
    "points": ("points", "punkte"),
    "comment": ("comment", "kommentar"),
}


class Mark(NamedTuple):
    """A mark by hand, what is said of it, and the line of the file where it stands."""

    points: float
    comment: str
    line: int = 0


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


def questions_in_words(submissions: Sequence[Submission], kit: str | Path | None) -> dict[str, str]:
    """Each question in words and its text, of the kit's notebooks (a folder) and those handed in."""
    own = [read_notebook(path) for path in sorted(Path(kit).glob("*.ipynb"))] if kit is not None else []
    found: dict[str, str] = {}
    for book in [*own, *(book for submission in submissions for _, book in submission.notebooks)]:
        for id in book.answers:
            found[id] = found.get(id) or book.questions.get(id, "")
    return found


def _cells(path: str | Path) -> list[tuple[int, list[str]]]:
    """Student, question, points and comment of each row of a file of marks, with the line's number."""
    rows = read_table("marks", path)
    head = rows[0][1] if rows else []
    found = places(head, HEADINGS)
    if missing := [name for name in ("points", "question", "student") if not found[name]]:
        raise ValueError(
            f"the marks {path} have no column {', '.join(missing)}. "
            "The first line must be student,question,points,comment."
        )
    order = [there[0] if there else len(head) for there in found.values()]
    return [
        (line, [untame(row[at]) if at < len(row) else "" for at in order[:2]]
         + [row[at] if at < len(row) else "" for at in order[2:]])
        for line, row in rows[1:]
    ]  # fmt: skip


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

    Semicolons or tabs may stand for the commas. Raises ValueError naming the line that makes no sense,
    FileNotFoundError without a file.
    """
    marks: dict[tuple[str, str], Mark] = {}
    for line, (student, question, text, comment) in _cells(path) if path is not None else ():
        given = text.replace(",", ".")
        if not given:
            continue
        try:
            points = float(given)
        except ValueError:
            points = -1.0
        if not 0 <= points < 1e6:
            raise ValueError(
                f"line {line} of the marks {path} gives the points {text!r} to {student} for {question}. "
                "Write a number of 0 or more."
            )
        earlier = marks.setdefault((student, question), Mark(points, comment, line))
        if earlier.points != points:
            raise ValueError(
                f"the lines {earlier.line} and {line} of the marks {path} give {student} {earlier.points:g} "
                f"and {points:g} points for {question}. Leave one."
            )
    return marks


def check_marks(
    marks: Mapping[tuple[str, str], Mark], students: Iterable[str], worth: Mapping[str, float]
) -> None:
    """See to it that marks name students and questions that there are, and give what these are worth at most.

    ``worth``: the points of each exercise and each question in words. Raises ValueError naming the line.
    """
    people = list(students)
    for (student, question), mark in marks.items():
        for id, there, what in ((student, people, "student"), (question, list(worth), "question")):
            if id not in there:
                raise ValueError(
                    f"line {mark.line} of the marks by hand names the {what} {id!r}, whom nothing knows. A "
                    "question in words is given its points in the course file, under [words]."
                    f"{did_you_mean(id, there, n=1)}"
                )
        if mark.points > worth[question]:
            raise ValueError(
                f"line {mark.line} of the marks by hand gives {student} {mark.points:g} points for {question}"
                f", which is worth {worth[question]:g}. Mend the line, or the worth in the course file."
            )


def with_marks(
    rows: Sequence[Row],
    marks: Mapping[tuple[str, str], Mark],
    course: Course,
    answers: Mapping[str, Sequence[tuple[str, str]]],
) -> list[Row]:
    """The rows with what was marked by hand; those given stay as they are.

    ``answers``: as of `answers_in_words`. One that is there and has no mark yet counts 0 and has None for
    its points; one that is not there has 0.
    """
    answered = {(student, question) for question, given in answers.items() for student, _ in given}
    return [_marked(row, marks, course, answered) for row in rows]


def _marked(
    row: Row, marks: Mapping[tuple[str, str], Mark], course: Course, answered: Container[tuple[str, str]]
) -> Row:
    results = []
    for result in row.exercises:
        mark = marks.get((row.student, result.id))
        said = f"marked by hand{': ' if mark and mark.comment else ''}{mark.comment if mark else ''}"
        results.append(
            replace(result, points=mark.points, notes=[*result.notes, said]) if mark is not None else result
        )
    by_hand: list[tuple[str, float | None, float, str]] = []
    for question, worth in course.words.items():
        key = (row.student, question)
        mark = marks.get(key, Mark(0.0, "not answered"))
        points = None if key in answered and key not in marks else mark.points
        by_hand.append((question, points, float(worth), "" if points is None else mark.comment))
    points = sum(result.points for result in results) + sum(given or 0.0 for _, given, _, _ in by_hand)
    worth = sum(result.out_of for result in results) + sum(most for _, _, most, _ in by_hand)
    total = round(points * course.factor(row.late_days), 2)
    return replace(row, exercises=results, by_hand=by_hand, total=total, out_of=round(worth, 2))


def not_marked_yet(rows: Sequence[Row]) -> str:
    """A sentence on the answers in words that still count as 0 because nobody has marked them, else empty."""
    open_ones = Counter(question for row in rows for question in row.open_words)
    if not open_ones:
        return ""
    many = "1 answer in words is" if open_ones.total() == 1 else f"{open_ones.total()} answers in words are"
    which = ", ".join(f"{question} ({count})" for question, count in open_ones.items())
    return f"{many} not marked yet, and the totals count them as 0: {which}."


def write_sheet(
    path: Path, answers: Mapping[str, Sequence[tuple[str, str]]], marks: Mapping[tuple[str, str], Mark]
) -> str:
    """Write a file of marks to fill in, a row for each answer in words; gives what to say of it, or nothing.

    What is written in the file already stays in it, unless ``marks`` say otherwise; one that cannot be read
    is left as it is.
    """
    try:
        old = {(cells[0], cells[1]): cells[2:] for _, cells in _cells(path)} if path.exists() else {}
    except ValueError as error:
        return f"{path.name} is left as it is: {error}"
    fresh = {(student, question): ["", ""] for question, given in answers.items() for student, _ in given}
    told = {key: [f"{mark.points:g}", mark.comment] for key, mark in marks.items()}
    rows = {**fresh, **old, **told}
    if rows != old:  # else the file keeps whatever columns it has been given
        table = [("student", "question", "points", "comment"), *((*key, *rows[key]) for key in rows)]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([map(tame, row) for row in table])
        write_whole(path, text.getvalue().encode("utf-8-sig", "backslashreplace"))
    waiting = [key for key, cells in old.items() if cells[0] and key not in told]
    return f"{path.name} holds {len(waiting)} marks that do not count yet: --marks {path}." if waiting else ""
