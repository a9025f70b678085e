"""``labkit grade``: a class in one command, interrupted and resumed as it may be.

Each student's result is written whole, by itself, as soon as it is there (a temporary file, then a rename);
the tables are made from these files at the end. A result is kept as long as the submission, the exercises,
the course's settings and the kit are the same.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

from labkit.calls.exercise import Exercise
from labkit.calls.notebook import notebook_name
from labkit.core.files import write_whole
from labkit.exercises import notebooks
from labkit.grading import course as courses
from labkit.grading.fingerprint import fingerprint
from labkit.grading.likeness import alike
from labkit.grading.report import write_reports
from labkit.grading.roster import read_roster
from labkit.grading.rows import ClassReport, Row, safe_name
from labkit.grading.student import grade_one, not_graded
from labkit.grading.submissions import Submission, find_submissions
from labkit.grading.tables import did_you_mean
from labkit.grading.times import all_late, read_times, set_times
from labkit.grading.words import (
    answers_in_words,
    check_marks,
    not_marked_yet,
    questions_in_words,
    read_marks,
    tell_lost_answers,
    with_marks,
    write_sheet,
)
from labkit.sandbox.sandbox import Sandbox

__all__ = ["grade_class", "part_of"]


def grade_class(
    submitted: str | Path,
    out: str | Path,
    *,
    jobs: int = 1,
    roster: str | Path | None = None,
    seed_file: str | Path | None = None,
    sandbox: str = "auto",
    course: str | Path | None = None,
    resume: bool = True,
    exercises: Mapping[str, Sequence[Exercise]] | None = None,
    progress: Callable[[str], None] | None = None,
    part: tuple[int, int] | None = None,
    collect: bool = False,
    marks: str | Path | None = None,
    times: str | Path | None = None,
    kit: str | Path | None = None,
) -> ClassReport:
    """Grade every submission in a folder and write the tables, the feedback and the item analysis.

    ``submitted``: a folder per student, nbgrader's tree, or a flat download (see `find_submissions`).
    ``out``: where the results go; made if it is not there. ``out/index.html`` is the page to open.
    ``jobs``: how many submissions at a time (threads that feed one fork server).
    ``roster``: CSV of id, name, e-mail; every row ends with a status. Without it, the students found.
    ``seed_file``: holds the course's secret; made if it is not there (default ``out/seed``). Keep it to
    yourself.
    ``sandbox``: ``"auto"``, ``"strict"`` or ``"none"``, see `Sandbox`.
    ``course``: a TOML file with points, deadline and dropped exercises, see `labkit.grading.course`.
    ``resume``: keep the results of an earlier run that are still good.
    ``exercises``: notebooks' names with their exercises; default: the kit's.
    ``progress``: called with a line after each student.
    ``part``: (3, 20) grades the third of twenty parts of the class and writes its results, no tables; the
    parts may run on several machines that share the folders and the seed file.
    ``collect``: grade nothing; write the tables of the results that are there, which must be all.
    ``marks``: a CSV file of marks by hand, see `labkit.grading.words`; the results on disk stay without.
    ``times``: a CSV file of when students handed in, see `labkit.grading.times`; else the files' times.
    ``kit``: the folder of the kit's notebooks, where the questions in words stand.

    Raises OSError without a folder of submissions, ValueError for settings that make no sense or if
    no exercise can be told from what was handed in, SandboxError where strict walls are not possible.
    """
    from labkit.core.checks import check_positive

    check_positive("jobs", jobs)
    if part is not None and not (1 <= part[0] <= part[1] and not collect):
        raise ValueError(
            f"part must be k of n with 1 <= k <= n, and not be given to collect; got {part[0]}/{part[1]}."
        )
    settings, people = courses.read_course(course), read_roster(roster)
    given, handed_in, out = read_marks(marks), read_times(times), Path(out)
    (out / "results").mkdir(parents=True, exist_ok=True)
    secret = courses.read_secret(seed_file or out / "seed")
    known = dict(exercises) if exercises is not None else notebooks()
    submissions = find_submissions(submitted, people, known)
    labs = {e.name: lab for lab, exercises in known.items() for e in exercises}
    for submission in submissions:
        submission.labs = labs
    every = [e.id for exercises in known.values() for e in exercises]
    students, questions = [s.student.id for s in submissions], questions_in_words(submissions, kit)
    courses.check_ids(settings, every, students, questions)
    set_times(submissions, handed_in, settings)
    asked = _asked(submissions, known, settings)
    worth = {e.id: float(settings.points.get(e.id, e.points)) for e in asked}
    check_marks(given, students, {**worth, **settings.words})
    tell_lost_answers(submissions, settings, known)
    identity = f"{secret} {sandbox} {fingerprint(asked, settings)}".encode()
    stamps = {s.student.id: _stamp(identity, s, settings) for s in submissions}
    places = {s.student.id: out / "results" / f"{safe_name(s.student.id)}.json" for s in submissions}
    rows = {id: row for id, path in places.items() if resume and (row := _earlier(path, stamps[id], secret))}
    resumed = len(rows)
    left = [submission for submission in submissions if submission.student.id not in rows]
    if collect:
        _all_there(left, places, secret, rows)
        left = []
    if part is not None:
        submissions = submissions[part[0] - 1 :: part[1]]
        here = {submission.student.id for submission in submissions}
        rows, left = {id: rows[id] for id in rows if id in here}, [s for s in left if s.student.id in here]
        resumed = len(rows)
    walls = {row.sandbox for row in rows.values()}
    if left:
        hidden = [
            submitted,
            out,
            *(path for path in (roster, seed_file, course) if path is not None),
        ]
        with Sandbox(sandbox, hidden=hidden) as box:
            walls.add(box.report)

            def one(submission: Submission) -> None:
                id = submission.student.id
                try:
                    row = grade_one(submission, asked, settings, secret, box)
                    row.stamp = stamps[id]
                except Exception as error:  # ours; whose row it is must not stop the others'
                    row = not_graded(submission, asked, settings, error)
                row.sandbox = box.report
                row.seal = _seal(row, secret)
                write_whole(places[id], row.to_json())
                rows[id] = row
                if progress:
                    progress(f"{id}: {row.status}, {row.total:g} of {row.out_of:g}")

            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(one, left))
    in_order = [rows[submission.student.id] for submission in submissions]
    report = ClassReport(out, in_order, asked, "; ".join(sorted(walls)), settings, resumed)
    if part is None:
        report.words, report.questions = answers_in_words(submissions), questions
        report.rows = with_marks(in_order, given, settings, report.words)
        report.alike = alike(submissions, asked)
        counted = {id: text for id, text in report.words.items() if id in (settings.words or report.words)}
        sheet = write_sheet(out / "words.csv", counted, given)
        told = [all_late(submissions, handed_in, settings), not_marked_yet(report.rows), sheet]
        report.notices = list(filter(None, told))
        write_reports(report)
    return report


def part_of(text: str) -> tuple[int, int] | None:
    """``"3/20"`` as two numbers, None for no part."""
    if not text:
        return None
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal()):
        raise ValueError(f"--part must be two numbers, as 3/20; got {text!r}.")
    return int(first), int(last)


def _all_there(
    left: Sequence[Submission], places: Mapping[str, Path], secret: str, rows: dict[str, Row]
) -> None:
    """Take in the rows in which labkit itself failed, which have no stamp. Raises ValueError where others are
    missing."""
    gone = []
    for submission in left:
        id = submission.student.id
        if (row := _earlier(places[id], "", secret)) is not None:
            rows[id] = row
        else:
            gone.append(id)
    if gone:
        some = ", ".join(gone[:5]) + (" and others" if len(gone) > 5 else "")
        raise ValueError(
            f"{len(gone)} of {len(places)} students have no result that is still good ({some}). Grade the "
            "parts that are missing with the same settings, then collect again."
        )


def _asked(
    submissions: Sequence[Submission], known: Mapping[str, Sequence[Exercise]], settings: courses.Course
) -> list[Exercise]:
    """The exercises to grade: the course's notebooks, else those handed in, else by the functions defined."""
    if settings.notebooks:
        names = set()
        for wanted in settings.notebooks:
            name = notebook_name(wanted, known)
            if name is None:
                raise ValueError(
                    f"the course file asks for the notebook {wanted!r}, which has no exercises. "
                    f"{did_you_mean(wanted, known)} There are {', '.join(known)}."
                )
            names.add(name)
    else:
        names = _handed_in(submissions, known)
    asked = [e for name in known if name in names for e in known[name] if e.id not in settings.dropped]
    if not asked and not settings.notebooks and all(s.empty for s in submissions):
        raise ValueError(
            "nothing was handed in: the folder of submissions holds no notebook (.ipynb) and no zip of one. "
            "Give the folder that holds one folder per student."
        )
    if not asked:
        raise ValueError(
            "no exercise can be told from the names of the notebooks or the functions in them. "
            f"Name the notebooks in the course file: notebooks = {sorted(known)}."
        )
    return asked


def _handed_in(submissions: Sequence[Submission], known: Mapping[str, Sequence[Exercise]]) -> set[str]:
    """The notebooks that the class handed in, by their names or else by the functions in them.

    One that at most a third as many students have handed in as the commonest is a stray: it would cost all
    the others its points. It is told, and the course file can ask for it.
    """
    by_name: dict[str, set[str]] = {}
    by_function: dict[str, set[str]] = {}
    for submission in submissions:
        for file, book in submission.notebooks:
            if name := notebook_name(PurePosixPath(file).name, known):
                by_name.setdefault(name, set()).add(submission.student.id)
            for name, asked in known.items():
                if any(book.defines(e.name) for e in asked):
                    by_function.setdefault(name, set()).add(submission.student.id)
    counts = by_name or by_function
    most = max((len(students) for students in counts.values()), default=0)
    strays = {name for name, students in counts.items() if most >= 3 and 3 * len(students) <= most}
    for submission in submissions:
        for name in sorted(strays):
            if submission.student.id in counts[name]:
                submission.doubts.append(
                    f"handed in {name} as well, as {len(counts[name])} of {most} did: it is not "
                    "counted. Name it among the notebooks of the course file if it is asked for"
                )
    return set(counts) - strays


def _stamp(identity: bytes, submission: Submission, settings: courses.Course) -> str:
    """A hash of all that a row rests on."""
    late = settings.late_days(submission.handed_in, submission.student.id)
    told = repr((submission.student, late, submission.problems, submission.doubts)).encode()
    return hashlib.sha256(b"\0".join([identity, told, *submission.raw])).hexdigest()


def _seal(row: Row, secret: str) -> str:
    """What only the holder of the secret can put on a row: a result that others have written is not kept."""
    whole = replace(row, seal="").to_json()
    return hmac.new(secret.encode(), whole.encode(), hashlib.sha256).hexdigest()


def _earlier(path: Path, stamp: str, secret: str) -> Row | None:
    """The row of an earlier run, if it rests on what this one would and nobody else has written it."""
    try:
        row = Row.from_json(path.read_text(encoding="utf-8"))
        sealed = hmac.compare_digest(row.seal, _seal(row, secret))
    except (OSError, ValueError, TypeError):
        return None
    return row if sealed and row.stamp == stamp else None
