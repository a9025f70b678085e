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

import hashlib
import math
import os
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from labkit.grading.tables import did_you_mean, read_text

__all__ = ["Course", "Student", "check_ids", "read_course", "read_secret", "seed_for"]

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


def _texts(raw: Mapping[str, Any], key: str, path: str | Path) -> list[str]:
    """An entry that is a list of ids."""
    given = raw.get(key, [])
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        example = given if isinstance(given, str) else "01_warm_up" if key == "notebooks" else "warm_up.train"
        raise ValueError(
            f'{key} in {path} must be a list of texts; got {given!r}. Write {key} = ["{example}"].'
        )
    return given


def _is_number(value: Any, most: float = math.inf) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= most and math.isfinite(value)


def _under(raw: Mapping[str, Any], key: str, path: str | Path) -> dict[str, Any]:
    """The entries below a heading of the file: numbers of at least 0, or for the extensions dates."""
    given = raw.get(key, {})
    right, example = ("a number of at least 0", "8")
    if key == "extensions":
        right, example = ("a date with a time", "2026-12-04T23:59:00")
    if not isinstance(given, dict):
        raise ValueError(
            f'{key} in {path} must be a part of its own; got {given!r}. Write [{key}] and "id" = {example} '
            "below it."
        )
    for id, value in given.items():
        if isinstance(value, dict):
            raise ValueError(
                f"{id!r} under [{key}] in {path} is not {right}, but has parts of its own "
                f"({', '.join(value)}): an id with a dot needs quotes. Write "
                f'"{id}.{next(iter(value), "id")}" = {example}.'
            )
        if not (isinstance(value, datetime) if key == "extensions" else _is_number(value)):
            raise ValueError(
                f"{id!r} under [{key}] in {path} must be {right}; got {value!r}. "
                f'Write "{id}" = {example}, the {right.split()[1]} without quotes.'
            )
    return given


def read_course(path: str | Path | None) -> Course:
    """The course file at ``path``, or the defaults for None.

    Raises ValueError naming the entry that is unknown or of the wrong kind, FileNotFoundError without a file.
    """
    if path is None:
        return Course()
    from labkit.core.checks import nearest

    try:
        raw = tomllib.loads(read_text("course file", path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the course file {path} is not TOML: {error}.") from None
    for key in raw:
        if key not in KNOWN:
            raise ValueError(
                f"the course file {path} holds an unknown entry {key!r}. "
                f"Did you mean {nearest(key, KNOWN, n=1)[0]!r}?"
            )
    deadline, name, percent = raw.get("deadline"), raw.get("name", ""), raw.get("late_percent_per_day", 0)
    if deadline is not None and not isinstance(deadline, datetime):
        raise ValueError(
            f"deadline in {path} must be a date with a time; got {deadline!r}. "
            "Write deadline = 2026-11-27T23:59:00, without quotes."
        )
    if not isinstance(name, str):
        raise ValueError(f'name in {path} must be a text; got {name!r}. Write name = "{name}".')
    if not _is_number(percent, most=100):
        raise ValueError(
            f"late_percent_per_day in {path} must be a number from 0 to 100, what a day of lateness takes "
            f"off; got {percent!r}. Write late_percent_per_day = 10, without quotes."
        )
    return Course(
        name,
        tuple(_texts(raw, "notebooks", path)),
        frozenset(_texts(raw, "dropped", path)),
        deadline,
        float(percent),
        _under(raw, "points", path),
        _under(raw, "extensions", path),
        _under(raw, "words", path),
    )


def check_ids(
    course: Course, exercises: Iterable[str], students: Iterable[str], questions: Iterable[str] = ()
) -> None:
    """See to it that the course's file names only exercises, students and questions that there are.

    Raises ValueError naming the entry, and the nearest that there are.
    """
    ids, people, asked = set(exercises), set(students), set(questions)
    for place, given, there, what in (
        ("dropped", course.dropped, ids, "exercise"),
        ("[points]", course.points, ids, "exercise"),
        ("[words]", course.words, asked, "question in words"),
        ("[extensions]", course.extensions, people, "student"),
    ):
        for id in sorted(given):
            if id not in there:
                raise ValueError(
                    f"{place} in the course file names {id!r}, and there is no {what} of this id."
                    f"{did_you_mean(id, there)}"
                )


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
