"""What an instructor sets for a course: points, deadline, dropped exercises, the roster, the secret seed.

The course file is TOML; everything in it is optional::

    name = "Interpreting networks, autumn"
    notebooks = ["01_warm_up", "21_which_pixels_matter"]   # default: those that were handed in
    dropped = ["attribution.cam"]                            # not counted, not shown
    deadline = 2026-11-27T23:59:00
    late_percent_per_day = 10                                # default 0: lateness is reported, not punished

    [points]
    "attribution.saliency" = 8

    [words]                                                  # answers in words, marked by hand
    "which_pixels_free_1" = 3

    [extensions]                                             # a student's id, and until when
    "ada" = 2026-12-04T23:59:00
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

__all__ = ["Course", "Student", "check_ids", "read_course", "read_roster", "read_secret", "seed_for"]

KNOWN = {"name", "notebooks", "dropped", "deadline", "late_percent_per_day", "points", "extensions", "words"}


@dataclass(frozen=True)
class Course:
    """The settings of a course; see the module's docstring for the file."""

    name: str = ""
    notebooks: tuple[str, ...] = ()
    dropped: frozenset[str] = frozenset()
    deadline: datetime | None = None
    late_percent_per_day: float = 0.0
    points: Mapping[str, float] = field(default_factory=dict)
    extensions: Mapping[str, datetime] = field(default_factory=dict)
    words: Mapping[str, float] = field(default_factory=dict)

    def late_days(self, handed_in: float | None, student: str = "") -> int:
        """Whole days begun after the deadline, or a student's own one; 0 if in time or not known
        (``handed_in`` in seconds)."""
        deadline = self.extensions.get(student, self.deadline)
        if deadline is None or handed_in is None:
            return 0
        late = handed_in - deadline.timestamp()
        return math.ceil(late / 86400) if late > 0 else 0

    def factor(self, late_days: int) -> float:
        """What is left of the points after so many days."""
        return max(0.0, 1 - self.late_percent_per_day / 100 * late_days)


@dataclass(frozen=True)
class Student:
    """One row of the roster."""

    id: str
    name: str = ""
    email: str = ""


def _read(what: str, path: str | Path, encoding: str = "utf-8") -> str:
    """A file's text, or an error that says which file of the course it is."""
    try:
        return Path(path).read_text(encoding=encoding)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {what} at {path}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"the {what} {path} is not in UTF-8. Save it anew as UTF-8.") from None


def read_course(path: str | Path | None) -> Course:
    """The course file at ``path``, or the defaults for None.

    Raises ValueError naming the entry that is unknown or of the wrong kind, FileNotFoundError without a file.
    """
    if path is None:
        return Course()
    from labkit.core.checks import nearest

    try:
        raw = tomllib.loads(_read("course file", path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the course file {path} is not TOML: {error}.") from None
    for key in raw:
        if key not in KNOWN:
            raise ValueError(
                f"the course file {path} holds an unknown entry {key!r}. "
                f"Did you mean {nearest(key, KNOWN, n=1)[0]!r}?"
            )
    deadline, points = raw.get("deadline"), raw.get("points", {})
    if deadline is not None and not isinstance(deadline, datetime):
        raise ValueError(
            f"deadline in {path} must be a date with a time; got {deadline!r}. "
            "Write deadline = 2026-11-27T23:59:00, without quotes."
        )
    words = raw.get("words", {})
    for name, given in (("points", points), ("words", words)):
        if not isinstance(given, dict) or not all(
            isinstance(value, (int, float)) and value >= 0 for value in given.values()
        ):
            raise ValueError(
                f'{name} in {path} must be numbers of at least 0. Write [{name}] and "id" = 8 below it.'
            )
    extensions = raw.get("extensions", {})
    if not isinstance(extensions, dict) or not all(isinstance(d, datetime) for d in extensions.values()):
        raise ValueError(
            f"extensions in {path} must be dates with a time, one a student. "
            'Write [extensions] and "ada" = 2026-12-04T23:59:00 below it, the date without quotes.'
        )
    return Course(
        str(raw.get("name", "")),
        tuple(raw.get("notebooks", ())),
        frozenset(raw.get("dropped", ())),
        deadline,
        float(raw.get("late_percent_per_day", 0)),
        points,
        extensions,
        words,
    )


def check_ids(course: Course, exercises: Iterable[str], students: Iterable[str]) -> None:
    """See to it that the course's file names only exercises and students that there are.

    Raises ValueError naming the entry, and the nearest that there is.
    """
    from labkit.core.checks import nearest

    ids, people = sorted(exercises), sorted(students)
    for place, given, there, what in (
        ("dropped", sorted(course.dropped), ids, "exercise"),
        ("[points]", sorted(course.points), ids, "exercise"),
        ("[extensions]", sorted(course.extensions), people, "student"),
    ):
        for id in given:
            if id not in there:
                close = nearest(id, there, n=1)
                cure = f" Did you mean {close[0]!r}?" if close else ""
                raise ValueError(
                    f"{place} in the course file names {id!r}, and there is no {what} of this id.{cure}"
                )


def read_roster(path: str | Path | None) -> list[Student]:
    """The students of a CSV file with the columns id, name, e-mail (a header is recognised; order kept).

    Semicolons or tabs, which spreadsheets of some languages write, may stand for the commas. Raises
    ValueError for an id that stands there twice or a file that is not UTF-8, FileNotFoundError for none.
    """
    if path is None:
        return []
    text = _read("roster", path, "utf-8-sig")
    lines = [line for line in text.splitlines() if line.strip()]
    mark = max(",;\t", key=lines[0].count) if lines else ","  # of none, the first
    rows = [row for row in csv.reader(lines, delimiter=mark) if any(cell.strip() for cell in row)]
    order = [0, 1, 2]
    if rows:
        head = [re.sub(r"[\s_-]", "", cell.lower()) for cell in rows[0]]
        names = (("id", "student", "studentid", "sid"), ("name", "fullname"), ("email", "mail"))
        if any(cell in names[0] for cell in head):
            order = [next((head.index(n) for n in known if n in head), -1) for known in names]
            rows = rows[1:]
    students = []
    for row in rows:
        cells = [row[i].strip() if 0 <= i < len(row) else "" for i in order]
        if cells[0]:
            students.append(Student(*cells))
    seen: set[str] = set()
    for student in students:
        if student.id in seen:
            raise ValueError(
                f"the roster {path} holds the id {student.id!r} twice. Give each student one row."
            )
        seen.add(student.id)
    return students


def read_secret(path: str | Path) -> str:
    """The course's secret; made and kept (readable by its owner only) if there is none yet."""
    path = Path(path)
    if path.exists():
        secret = path.read_text(encoding="utf-8").strip()
        if len(secret) < 8:
            raise ValueError(
                f"the seed file {path} must hold at least 8 characters; got {len(secret)}. "
                "Delete it to get a new one."
            )
        return secret
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32) + "\n")
    try:
        os.link(part, path)  # whole or not at all, and never over another's: many parts may begin at once
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8").strip()


def seed_for(secret: str, student: str, exercise: str, digest: str = "") -> int:
    """The seed of a student's hidden cases: sha256(secret, student, exercise, digest of the work), 31 bits.

    >>> seed_for("course", "ada", "attribution.saliency") == seed_for("course", "bob", "attribution.saliency")
    False
    """
    whole = hashlib.sha256("\0".join((secret, student, exercise, digest)).encode()).digest()
    return int.from_bytes(whole[:4], "big") >> 1
