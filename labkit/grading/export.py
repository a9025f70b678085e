"""What a learning system takes back: marks in its own table, and the students' pages named as it names them.

The table is the template that Moodle or Canvas gave, with its column filled. Moodle's is the grading
worksheet (columns Identifier, Full name, Grade; in German ID, Vollständiger Name, Bewertung), Canvas' the
exported gradebook (columns Student, ID, and one per assignment). All else in it stays as it was.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from labkit.calls.notebook import plain
from labkit.core.files import write_whole
from labkit.grading.rows import ClassReport, Row
from labkit.grading.tables import read_text

__all__ = ["Filled", "feedback_zip", "fill_template"]

BY_ID = {"idnumber", "username", "emailaddress", "sisloginid", "sisuserid", "id", "identifier", "idnummer",
         "anmeldename", "benutzername", "emailadresse", "matrikelnummer"}  # fmt: skip
BY_NAME = {"fullname", "student", "vollständigername", "vollstaendigername"}
GRADE = {"grade", "bewertung"}
MAXIMUM = {"maximumgrade", "bestwertung", "höchstebewertung", "maximalebewertung"}
THE_SAME_TIME = (2000, 1, 1, 0, 0, 0)  # of every member: the same pages give the same zip


def feedback_zip(report: ClassReport, pages: Mapping[str, str]) -> Path:
    """Write ``feedback.zip`` into the report's folder, to be uploaded where the submissions came from.

    ``pages``: each student's page as HTML. It lies in the folder that the system gave the submission, or is
    called as the file was, by which Moodle ("upload multiple feedback files in a zip"), Canvas and ILIAS know
    whose it is. Who handed in nothing has none.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for row in report.rows:
            if row.label:
                name = f"{row.label}feedback.html" if row.label.endswith("/") else f"{row.label}.html"
                text = pages[row.student].encode("utf-8", "backslashreplace")
                archive.writestr(zipfile.ZipInfo(name, THE_SAME_TIME), text, zipfile.ZIP_DEFLATED)
    return write_whole(report.out / "feedback.zip", made.getvalue())


class Filled(NamedTuple):
    """A filled table: its file, the ids of students who are not in it, and what an instructor must know."""

    path: Path
    absent: list[str]
    warnings: list[str]


def fill_template(report: ClassReport, template: str | Path, scale: bool = False) -> Filled:
    """Write the template with the totals into the report's folder.

    Students are matched by id or e-mail, else by name where only one has it; the missing get no mark. A total
    above the table's own maximum is left out, unless ``scale`` brings all to that maximum.

    Raises ValueError for a table that is neither Moodle's nor Canvas', or in which the column is not clear,
    and for ``scale`` where the table names no maximum.
    """
    text = read_text("table for --export", template)
    first = text.split("\n", 1)[0]
    mark = max(",;\t", key=first.count)
    table = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    head = table[0] if table else []
    column = _column(head, report.course.name, template)
    given = _maximum(table, column)
    most, comma = _number(given), "," in given
    out_of = max((row.out_of for row in report.rows), default=0.0)
    if scale and (most is None or not out_of):
        raise ValueError(f"{template} names no maximum that totals could be scaled to. Leave out --scale.")
    factor = most / out_of if scale and most is not None else 1.0
    left = {row.student: row for row in report.rows if row.status != "missing"}
    above = []
    for cells in table[1:]:
        row = _row_of(dict(zip(head, cells, strict=False)), list(left.values()))
        if row is None or column >= len(cells):
            continue
        total = round(left.pop(row.student).total * factor, 2)
        if most is not None and total > most:
            above.append(row.student)
        else:
            cells[column] = f"{total:g}".replace(".", "," if comma else ".")
    written = io.StringIO()
    csv.writer(written, delimiter=mark, lineterminator="\n").writerows(table)
    path = write_whole(report.out / f"export-{Path(template).name}", written.getvalue())
    warnings = []
    if most is not None and most != out_of:
        told = f"The maximum in {Path(template).name} is {most:g}, and the course's is {out_of:g}: "
        if scale:
            told += f"the totals were multiplied by {most:g}/{out_of:g}."
        else:
            told += f"set it to {out_of:g} in the learning system, or scale the totals with --scale."
        if above:
            told += f" The totals above {most:g} were left out: {', '.join(above)}."
        warnings.append(told)
    return Filled(path, sorted(left), warnings)


def _maximum(table: list[list[str]], column: int) -> str:
    """The most points as the table has them: Moodle's column of them, Canvas' row; empty without one."""
    head = [plain(cell) for cell in table[0]]
    for place in (at for at, cell in enumerate(head) if cell in MAXIMUM):
        return next((cells[place] for cells in table[1:] if place < len(cells) and cells[place].strip()), "")
    for cells in table[1:]:
        if cells and plain(cells[0]) == "pointspossible" and column < len(cells):
            return cells[column]
    return ""


def _number(text: str) -> float | None:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return None


def _column(head: list[str], course: str, template: str | Path) -> int:
    """Where the marks go: Moodle's Grade; of Canvas' assignments the one called as the course file is."""
    letters = [plain(cell) for cell in head]
    if set(letters) & {"identifier", "id"}:
        for place in (at for at, cell in enumerate(letters) if cell in GRADE):
            return place
    asked = [name for name in head if re.search(r"\(\d+\)\s*$", name)]
    if "Student" not in head or not asked:
        raise ValueError(
            f"{template} is neither Moodle's grading worksheet nor Canvas' gradebook: it has the columns "
            f"{', '.join(head[:6])}. Export it from the system anew, as CSV."
        )
    named = [name for name in asked if course and plain(name).startswith(plain(course))]
    fits = named or asked
    if len(fits) > 1:
        raise ValueError(
            f"{template} has {len(fits)} assignments ({', '.join(fits[:4])}). Give the course file the "
            'name of the one that is meant: name = "Lab 1".'
        )
    return head.index(fits[0])


def _row_of(cells: dict[str, str], rows: list[Row]) -> Row | None:
    given = {plain(cell) for name, cell in cells.items() if plain(name) in BY_ID and plain(cell)}
    found = [row for row in rows if {plain(row.student), plain(row.email)} & given]
    if not found:
        names = [_words(cell) for name, cell in cells.items() if plain(name) in BY_NAME and cell.strip()]
        found = [row for row in rows if row.name and _words(row.name) in names]
    return found[0] if len(found) == 1 else None


def _words(name: str) -> list[str]:
    """A name's words in whatever order they stand."""
    return sorted(plain(word) for word in re.split(r"[\s,]+", name) if plain(word))
