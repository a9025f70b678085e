"""The reports of a graded class: tables, a page for the instructor and one a student, files for Gradescope.

A student's page holds the public cases, the hints and how many hidden cases passed; never a hidden case
itself. The pages are made from ``templates/``, which escape every value.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from labkit.checking.judge import UNREADABLE, CaseResult, ExerciseResult
from labkit.core.files import write_whole
from labkit.grading.export import feedback_zip
from labkit.grading.items import item_analysis
from labkit.grading.rows import ClassReport, Row, safe_name
from labkit.grading.tables import tame

__all__ = ["write_reports", "feedback_page", "class_page", "words_page", "gradescope", "WORDS"]

EXPLAINED = {
    "graded": "Graded: every question was found and run.",
    "partial": "Partial: a question is not written, or something could not be read; the rest was graded.",
    UNREADABLE: "Does not parse: Python cannot read a cell that defines a function; the rest was graded.",
    "untouched": "Untouched: no function is written yet.",
    "missing": "Missing: nothing was handed in.",
    "unreadable": "Unreadable: what was handed in could not be opened.",
    "timeout": "Timeout: a function did not come to an end in time; the others were graded.",
    "crashed": "Crashed: a function ended its process; the others were graded.",
}
WORDS = {  # what is said of an exercise: the word of the first check that it fails
    "right": "every check passes",
    "partly right": "some checks pass",
    "type": "the result is another kind of object, such as a list for a tensor",
    "shape": "the result has another shape",
    "dtype": "the result holds another kind of number, such as whole ones",
    "scale": "the result is right but for a factor",
    "sign": "the result is right but for its sign",
    "values": "the result has the right form and holds other numbers than the right answer",
    "left behind": "the result is right, but the call changed what it was given: inputs, gradients or hooks",
    "error": "the function stops with an error",
    "missing": "not tried: there is no function, its stub is untouched, or no notebook could be opened",
    UNREADABLE: "tried, but Python cannot read the cell (a syntax error)",
    "timeout": "the function did not come to an end in time",
    "crashed": "the function ended its process",
    "blocked": "the function calls the library's version of what it should do itself, which gives no points",
}
TICK, CROSS = "\u2713", "\u2717"


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("labkit.grading"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.globals.update(tick=TICK, cross=CROSS)
    return environment


def _number(value: float) -> str:
    return f"{value:g}" if value == round(value, 2) else f"{value:.2f}"


def _public(result: ExerciseResult) -> list[CaseResult]:
    return [case for case in result.cases if case.group == "public"]


def _hidden(result: ExerciseResult) -> str:
    """``3 of 5 hidden checks passed.``, all that is ever said of them."""
    passed = [case.verdict.passed for case in result.cases if case.group == "hidden"]
    return f"{sum(passed)} of {len(passed)} hidden checks passed."


def class_page(report: ClassReport, pages: Mapping[str, str]) -> str:
    """The page an instructor reads: a row per student, a column per exercise, and what cost the class most.

    ``pages``: the address of each student's own page, by the student's id.
    """
    totals = [row.total for row in report.rows if row.status != "missing"]
    statuses = Counter(row.status for row in report.rows)
    said = {result.word for row in report.rows for result in row.exercises}
    return (
        _templates()
        .get_template("class.html")
        .render(
            title=report.course.name or "Marks",
            report=report,
            pages=pages,
            statuses=statuses.most_common(),
            mean=round(sum(totals) / len(totals), 2) if totals else None,
            out_of=report.rows[0].out_of if report.rows else 0,
            items=item_analysis(report.rows),
            words={word: meaning for word, meaning in WORDS.items() if word in said},
            explained=[EXPLAINED[status] for status in EXPLAINED if status in statuses],
            notes=_to_look_at(report),
        )
    )


def _to_look_at(report: ClassReport) -> list[tuple[str, str, str]]:
    """Student, exercises and sentence of all that an instructor should see; one sentence once a student."""
    where: dict[tuple[str, str], list[str]] = {}
    notes = [(row.student, e.title, note) for row in report.rows for e in row.exercises for note in e.notes]
    doubts = [(row.student, "", doubt) for row in report.rows for doubt in row.doubts]
    for student, title, note in [*doubts, *notes, *report.alike]:
        where.setdefault((student, note), []).append(title)
    return [(student, ", ".join(titles), note) for (student, note), titles in where.items()]


def feedback_page(row: Row) -> str:
    """A student's page."""
    exercises = [(result, _public(result), _hidden(result)) for result in row.exercises]
    said = [case.verdict for _, cases, _ in exercises for case in cases]
    return (
        _templates()
        .get_template("feedback.html")
        .render(
            title=f"Feedback for {row.name or row.student}",
            row=row,
            exercises=exercises,
            explained=defaultdict(str, EXPLAINED),
            left_behind=any(
                "left behind" in (verdict.word, *verdict.difference.split(";")) for verdict in said
            ),
        )
    )


def words_page(report: ClassReport) -> str:
    """The page on which the answers in words are read."""
    return (
        _templates()
        .get_template("words.html")
        .render(
            title="Answers in words",
            sheet=report.out / "words.csv",
            questions=report.words,
            texts=report.questions,
            worth=report.course.words,
            names={row.student: row.name for row in report.rows},
        )
    )


def gradescope(row: Row) -> dict[str, Any]:
    """Gradescope's ``results.json`` for one student: a test per exercise, hidden cases not described."""
    tests = []
    for result in row.exercises:
        lines = [
            f"{TICK if case.verdict.passed else CROSS} {case.verdict.word}: {case.name}. "
            f"{case.verdict.difference}"
            for case in _public(result)
        ]
        lines.append(_hidden(result))
        if result.hint:
            lines.append(f"Hint: {result.hint}")
        tests.append(
            {
                "name": result.title,
                "score": result.points,
                "max_score": result.out_of,
                "status": "passed" if result.points >= result.out_of else "failed",
                "output": "\n".join(lines),
                "visibility": "visible",
            }
        )
    waiting = f"; not marked yet: {', '.join(row.open_words)}" if row.open_words else ""
    return {"score": row.total, "output": f"status: {row.status}{waiting}", "tests": tests}


def _table(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[tame(cell) for cell in row] for row in rows])
    return text.getvalue()


def _grades(report: ClassReport) -> str:
    heads = [exercise.id for exercise in report.exercises]
    table: list[list[Any]] = [
        ["student", "name", "email", *heads, *report.course.words, "total", "out_of", "late_days", "status"]
    ]
    for row in report.rows:
        marks: list[float | str] = [result.points for result in row.exercises]
        marks += ["" if points is None else points for _, points, _, _ in row.by_hand]
        whole = [row.total, row.out_of, row.late_days, row.status]
        table.append([row.student, row.name, row.email, *marks, *whole])
    return _table(table)


def _items(report: ClassReport) -> str:
    whole = ["exercise", "students", "mean_share", "points_lost", "results"]
    table: list[list[Any]] = [[*whole, "misconception", "hint", "count", "lost"]]
    for item in item_analysis(report.rows):
        results = ", ".join(f"{count} {word}" for word, count in item.words.most_common())
        mistakes = [[mistake.name, mistake.hint, mistake.count, mistake.lost] for mistake in item.mistakes]
        for cells in mistakes or [["", "", 0, 0]]:
            table.append([item.id, item.students, round(item.share, 3), item.lost, results, *cells])
    return _table(table)


def _write(path: Path, text: str) -> None:
    """Half a character, which no file can take, is written as its number."""
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def write_reports(report: ClassReport) -> None:
    """Write the tables, the pages and Gradescope's files into the report's folder."""
    pages, texts = {}, {}
    for row in report.rows:
        name = safe_name(row.student)
        pages[row.student] = f"feedback/{name}.html"
        texts[row.student] = feedback_page(row)
        _write(report.out / "feedback" / f"{name}.html", texts[row.student])
        _write(report.out / "gradescope" / f"{name}.json", json.dumps(gradescope(row), indent=1))
    _write(report.out / "words.html", words_page(report))
    feedback_zip(report, texts)
    _write(report.out / "grades.csv", _grades(report))
    _write(report.out / "items.csv", _items(report))
    _write(report.out / "index.html", class_page(report, pages))
