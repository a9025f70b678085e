"""When each student handed in, and what speaks against it.

The time of a submission is its newest file's own time of change, as the learning system's zip keeps it and a
copy may lose it; a table (``--times times.csv``, with the columns student and time) is believed instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from labkit.grading.course import Course
from labkit.grading.submissions import Submission
from labkit.grading.tables import did_you_mean, places, read_table, untame

__all__ = ["all_late", "read_times", "set_times"]

HEADINGS = {
    "student": ("student", "id", "studentid", "idnumber", "matrikelnummer", "idnummer"),
    "time": ("time", "handedin", "submitted", "submittedat", "date", "zeit", "zeitpunkt", "abgabe", "datum"),
}
FORMS = ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y, %H:%M", "%d.%m.%Y, %H:%M:%S")


def read_times(path: str | Path | None) -> dict[str, float]:
    """When each student handed in, in seconds, of a CSV file; a row without a time is skipped.

    A time is 2026-11-27 23:10 or 27.11.2026 23:10, in this machine's zone unless it names another. Raises
    ValueError naming the line that makes no sense, FileNotFoundError without a file.
    """
    if path is None:
        return {}
    rows = read_table("times", path)
    found = places(rows[0][1] if rows else [], HEADINGS)
    if not all(found.values()):
        got = ",".join(rows[0][1]) if rows else "nothing"
        raise ValueError(f"the times {path} need the first line student,time; got {got}.")
    who, when = found["student"][0], found["time"][0]
    times: dict[str, float] = {}
    for number, cells in rows[1:]:
        student, given = (untame(cells[at]) if at < len(cells) else "" for at in (who, when))
        if not given:
            continue
        if (moment := _moment(given)) is None:
            raise ValueError(
                f"line {number} of the times {path} gives {student!r} the time {given!r}. "
                "Write it as 2026-11-27 23:10."
            )
        times[student] = max(times.get(student, 0.0), moment)
    return times


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if len(text) > 10 else None  # a day is no time
    except ValueError:
        pass
    for form in FORMS:
        try:
            return datetime.strptime(text, form).timestamp()
        except ValueError:
            continue
    return None


def set_times(submissions: Sequence[Submission], times: Mapping[str, float], settings: Course) -> None:
    """Put the times that are given in the place of the files'; note where Canvas says late and they do not.

    Raises ValueError for a student whom nothing knows.
    """
    known = {submission.student.id: submission for submission in submissions}
    for student, moment in times.items():
        if student not in known:
            raise ValueError(f"the times name the student {student!r}, whom nothing knows."
                             f"{did_you_mean(student, known)}")  # fmt: skip
        known[student].handed_in = moment
    for id, submission in known.items():
        own = id in times or id in settings.extensions
        late = settings.deadline is None or settings.late_days(submission.handed_in, id) > 0
        if re.search(r"_LATE_", submission.label) and not (own or late):
            submission.doubts.append(
                f"Canvas calls {submission.label} late, and its time is before the deadline: was the time of "
                "the file lost in a copy? --times gives times"
            )


def all_late(submissions: Sequence[Submission], times: Mapping[str, float], settings: Course) -> str:
    """What to ask where every submission, of three or more, is late by its file's time; else empty."""
    there = [s for s in submissions if s.handed_in is not None and s.student.id not in times]
    late = [s for s in there if settings.late_days(s.handed_in, s.student.id)]
    if len(there) < 3 or len(late) < len(there):
        return ""
    return (
        f"All {len(late)} submissions are late by the times of their files: were these lost in a copy? "
        "Unpack the learning system's zip anew, or give the times as a table: "
        "--times times.csv with student,time."
    )
