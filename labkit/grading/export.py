"""What a learning system takes back: marks in its own table, and the students' pages named as it names them.

The table is the template that Moodle or Canvas gave, with its column filled. Moodle's is the grading
worksheet (columns Identifier, Full name, Grade), Canvas' the exported gradebook (columns Student, ID, and one
per assignment). All else in it stays as it was.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from labkit.calls.notebook import plain
from labkit.core.files import write_whole
from labkit.grading.rows import ClassReport, Row

__all__ = ["feedback_zip", "fill_template"]

BY_ID = ("ID number", "Username", "Email address", "SIS Login ID", "SIS User ID", "ID", "Identifier")
BY_NAME = ("Full name", "Student")


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


def fill_template(report: ClassReport, template: str | Path) -> tuple[Path, list[str]]:
    """Write the template with the totals into the report's folder; gives the file, and who is not in it.

    Students are matched by id or e-mail, else by name where only one has it; the missing get no mark.

    Raises ValueError for a table that is neither Moodle's nor Canvas', or in which the column is not clear.
    """
    text = Path(template).read_text(encoding="utf-8-sig")
    first = text.split("\n", 1)[0]
    mark = max(",;\t", key=first.count)
    table = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    head = table[0] if table else []
    column = _column(head, report.course.name, template)
    left = {row.student: row for row in report.rows if row.status != "missing"}
    for cells in table[1:]:
        row = _row_of(dict(zip(head, cells, strict=False)), list(left.values()))
        if row is not None and column < len(cells):
            cells[column] = f"{left.pop(row.student).total:g}"
    written = io.StringIO()
    csv.writer(written, delimiter=mark, lineterminator="\n").writerows(table)
    return write_whole(report.out / f"export-{Path(template).name}", written.getvalue()), sorted(left)


def _column(head: list[str], course: str, template: str | Path) -> int:
    """Where the marks go: Moodle's Grade; of Canvas' assignments the one called as the course file is."""
    if {"Identifier", "Grade"} <= set(head):
        return head.index("Grade")
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
    given = {plain(cells[name]) for name in BY_ID if plain(cells.get(name, ""))}
    found = [row for row in rows if {plain(row.student), plain(row.email)} & given]
    if not found:
        names = [_words(cells[name]) for name in BY_NAME if cells.get(name, "").strip()]
        found = [row for row in rows if row.name and _words(row.name) in names]
    return found[0] if len(found) == 1 else None


def _words(name: str) -> list[str]:
    """A name's words in whatever order they stand."""
    return sorted(plain(word) for word in re.split(r"[\s,]+", name) if plain(word))
