"""``labkit grade``: a class in one command, interrupted and resumed as it may be.

Each student's result is written whole, by itself, as soon as it is there (a temporary file, then a rename);
the tables are made from these files at the end. A result is kept as long as the submission, the exercises,
the course's settings and the kit are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labkit.calls.call import Outcome, another_id
from labkit.calls.exercise import Exercise
from labkit.calls.notebook import Notebook, notebook_name
from labkit.checking.judge import ExerciseResult, Judge
from labkit.core.files import write_whole
from labkit.exercises import notebooks
from labkit.grading import course as courses
from labkit.grading.fingerprint import fingerprint
from labkit.grading.likeness import alike
from labkit.grading.report import write_reports
from labkit.grading.rows import ClassReport, Row, safe_name
from labkit.grading.submissions import Submission, find_submissions
from labkit.sandbox.job import Done, Job
from labkit.sandbox.sandbox import Sandbox, SandboxError

__all__ = ["grade_class"]

REACHING = {"exec", "eval", "compile", "open", "read_text", "__import__", "import_module", "__file__",
            "__loader__", "__code__", "__globals__", "_getframe", "getsource", "meta_path"}  # fmt: skip


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

    Raises FileNotFoundError without a folder of submissions, ValueError for settings that make no sense or if
    no exercise can be told from what was handed in, SandboxError where strict walls are not possible.
    """
    from labkit.core.checks import check_positive

    check_positive("jobs", jobs)
    settings, people = courses.read_course(course), courses.read_roster(roster)
    out = Path(out)
    (out / "results").mkdir(parents=True, exist_ok=True)
    secret = courses.read_secret(seed_file or out / "seed")
    known = dict(exercises) if exercises is not None else notebooks()
    submissions = find_submissions(submitted, people, known)
    asked = _asked(submissions, known, settings)
    identity = f"{secret} {sandbox} {fingerprint(asked, settings)}".encode()
    stamps = {s.student.id: hashlib.sha256(b"\0".join([identity, *s.raw])).hexdigest() for s in submissions}
    places = {s.student.id: out / "results" / f"{safe_name(s.student.id)}.json" for s in submissions}
    rows = {id: row for id, path in places.items() if resume and (row := _earlier(path, stamps[id]))}
    resumed = len(rows)
    left = [submission for submission in submissions if submission.student.id not in rows]
    walls = {row.sandbox for row in rows.values()}
    if left:
        hidden = [submitted, out, *(path for path in (roster, seed_file, course) if path is not None)]
        with Sandbox(sandbox, hidden=hidden) as box:
            walls.add(box.report)

            def one(submission: Submission) -> None:
                id = submission.student.id
                try:
                    row = _grade_one(submission, asked, settings, secret, box)
                    row.stamp = stamps[id]
                except Exception as error:  # ours; whose row it is must not stop the others'
                    row = _not_graded(submission, asked, settings, error)
                row.sandbox = box.report
                write_whole(places[id], row.to_json())
                rows[id] = row
                if progress:
                    progress(f"{id}: {row.status}, {row.total:g} of {row.out_of:g}")

            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(one, left))
    in_order = [rows[submission.student.id] for submission in submissions]
    report = ClassReport(out, in_order, asked, "; ".join(sorted(walls)), settings, resumed)
    report.alike = alike(submissions, asked)
    write_reports(report)
    return report


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
                    f"There are {', '.join(known)}."
                )
            names.add(name)
    else:
        books = [item for submission in submissions for item in submission.notebooks]
        names = {name for file, _ in books if (name := notebook_name(file, known))}
        for _, book in books if not names else ():
            names |= {name for name, asked in known.items() if any(book.defines(e.name) for e in asked)}
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


def _earlier(path: Path, stamp: str) -> Row | None:
    """The row of an earlier run, if it rests on what this one would."""
    try:
        row = Row.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if row.stamp == stamp else None


def _grade_one(
    submission: Submission,
    asked: Sequence[Exercise],
    settings: courses.Course,
    secret: str,
    box: Sandbox,
) -> Row:
    """One student's row; whatever goes wrong in a submission becomes a status."""
    results: list[ExerciseResult] = []
    kinds: set[str] = set()
    for exercise in asked:
        judge, trouble = _judge(exercise, courses.seed_for(secret, submission.student.id, exercise.id))
        holder = submission.holder(exercise.name)
        if holder is None:
            result = _unanswered(exercise, judge, submission)
        else:
            file, book = holder
            work = Job(
                exercise.name,
                book.slice(exercise.name),
                [case for _, case in judge.cases],
                _blocks(asked),
                exercise.seconds,
                files=submission.files,
            )
            done = _run(box, work)
            result = judge.result(done.outcomes)
            result.notes += [*done.notes, *_notes(exercise, book)]
            if exercise.signed and (told := another_id(done.outcomes, submission.student.id)):
                result.notes.append(told)
            kinds |= {outcome.kind for outcome in done.outcomes}
        result.notes += trouble
        worth = float(settings.points.get(exercise.id, exercise.points))
        result.points = round(result.points / result.out_of * worth, 2) if result.out_of else 0.0
        result.out_of = worth
        results.append(result)
    late = settings.late_days(submission.handed_in)
    total = round(sum(result.points for result in results) * settings.factor(late), 2)
    student = submission.student
    return Row(
        student.id,
        student.name,
        student.email,
        _status(submission, results, kinds),
        total,
        round(sum(result.out_of for result in results), 2),
        late,
        list(submission.problems),
        [name for name, _ in submission.notebooks],
        results,
    )


def _not_graded(
    submission: Submission, asked: Sequence[Exercise], settings: courses.Course, error: Exception
) -> Row:
    """The row of a student whom labkit itself failed; without a stamp, so that the next run tries again."""
    student, late = submission.student, settings.late_days(submission.handed_in)
    worth = [(e, float(settings.points.get(e.id, e.points))) for e in asked]
    results = [ExerciseResult(e.id, e.title, 0.0, points) for e, points in worth]
    problem = f"labkit failed, not the submission ({type(error).__name__}: {error}); grade it again"
    out_of = round(sum(points for _, points in worth), 2)
    return Row(
        student.id, student.name, student.email, "crashed", 0.0, out_of, late, [problem], exercises=results
    )


def _judge(exercise: Exercise, seed: int) -> tuple[Judge, list[str]]:
    """The judge; where the exercise is at fault on these hidden cases, the one for the public cases."""
    judge = Judge(exercise, seed)
    try:
        judge.expected  # noqa: B018
    except RuntimeError as error:
        return Judge(exercise), [f"judged on the public cases only: {error}"]
    return judge, []


def _run(box: Sandbox, work: Job) -> Done:
    try:
        return box.run(work)
    except (SandboxError, OSError) as error:
        return Done([Outcome("crashed", message=f"no worker: {error}")] * len(work.cases))


def _blocks(asked: Sequence[Exercise]) -> list[str]:
    return sorted({name for exercise in asked for name in exercise.blocks})


def _unanswered(exercise: Exercise, judge: Judge, submission: Submission) -> ExerciseResult:
    why = [book.why_missing(exercise.name) for _, book in submission.notebooks]
    reason = next(
        (words for words in why if "cannot be read" in words), why[0] if why else "nothing handed in"
    )
    return judge.result([Outcome("missing", message=reason)] * len(judge.cases))


def _notes(exercise: Exercise, book: Notebook) -> list[str]:
    notes = []
    foreign = book.imports(exercise.name) - set(exercise.imports) - {"labkit", "torch", "numpy", "math"}
    if foreign:
        notes.append(f"the function uses {', '.join(sorted(foreign))}, which the exercise does not ask for")
    if reaching := book.words(exercise.name) & REACHING:
        notes.append(
            f"the function uses {', '.join(sorted(reaching))}, by which code can be run that does not stand "
            "in the notebook: read it"
        )
    return notes


def _status(submission: Submission, results: Sequence[ExerciseResult], kinds: set[str]) -> str:
    if submission.empty:
        return "missing"
    if not submission.notebooks:
        return "unreadable"
    for kind in ("timeout", "crashed"):
        if kind in kinds:
            return kind
    missing = [result.word == "missing" for result in results]
    if missing and all(missing) and not submission.problems:
        return "untouched"
    unanswered = any(missing)
    return "partial" if unanswered or submission.problems else "graded"
