"""One student's work: each exercise run behind the walls and judged, whatever goes wrong becomes a status."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

from labkit.calls.call import Outcome, another_id
from labkit.calls.exercise import Exercise
from labkit.calls.notebook import Notebook
from labkit.checking.judge import UNREADABLE, ExerciseResult, Judge, not_written
from labkit.grading.course import Course, seed_for
from labkit.grading.rows import Row
from labkit.grading.submissions import Submission
from labkit.sandbox.job import Done, Job
from labkit.sandbox.sandbox import Sandbox, SandboxError

__all__ = ["grade_one", "not_graded"]

REACHING = {"exec", "eval", "compile", "open", "read_text", "__import__", "import_module", "__file__",
            "__loader__", "__code__", "__globals__", "_getframe", "getsource", "meta_path"}  # fmt: skip


def grade_one(
    submission: Submission,
    asked: Sequence[Exercise],
    settings: Course,
    secret: str,
    box: Sandbox,
) -> Row:
    """One student's row; whatever goes wrong in a submission becomes a status."""
    results: list[ExerciseResult] = []
    kinds: set[str] = set()
    used: dict[str, list[Exercise]] = {}
    for exercise in asked:
        seed = seed_for(secret, submission.student.id, exercise.id, submission.digest)
        judge, trouble = _judge(exercise, seed)
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
            done = _run(box, work, [group for group, _ in judge.cases])
            result = judge.result(_told(exercise, submission, done.outcomes))
            result.notes += [*done.notes, *_notes(exercise, book)]
            used[exercise.id] = _own_functions(exercise, book, asked)
            if exercise.signed and (told := another_id(_public(judge, done), submission.student.id)):
                result.notes.append(told)
            kinds |= {outcome.kind for outcome in done.outcomes}
        result.notes += trouble
        worth = float(settings.points.get(exercise.id, exercise.points))
        result.points = round(result.points / result.out_of * worth, 2) if result.out_of else 0.0
        result.out_of = worth
        results.append(result)
    _tell_helpers(results, used)
    late = settings.late_days(submission.handed_in, submission.student.id)
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
        doubts=[*submission.doubts, *submission.choices(exercise.name for exercise in asked)],
        label=submission.label,
    )


def not_graded(submission: Submission, asked: Sequence[Exercise], settings: Course, error: Exception) -> Row:
    """The row of a student whom labkit itself failed; without a stamp, so that the next run tries again."""
    student, late = submission.student, settings.late_days(submission.handed_in, submission.student.id)
    worth = [(e, float(settings.points.get(e.id, e.points))) for e in asked]
    results = [ExerciseResult(e.id, e.title, 0.0, points) for e, points in worth]
    problem = f"labkit failed, not the submission ({type(error).__name__}: {error}); grade it again"
    out_of = round(sum(points for _, points in worth), 2)
    return Row(
        student.id,
        student.name,
        student.email,
        "crashed",
        0.0,
        out_of,
        late,
        [problem],
        exercises=results,
        label=submission.label,
    )


def _judge(exercise: Exercise, seed: int) -> tuple[Judge, list[str]]:
    """The judge; where the exercise is at fault on these hidden cases, the one for the public cases."""
    judge = Judge(exercise, seed)
    try:
        judge.expected  # noqa: B018
    except RuntimeError as error:
        return Judge(exercise), [f"judged on the public cases only: {error}"]
    return judge, []


def _run(box: Sandbox, work: Job, groups: Sequence[str]) -> Done:
    """The public cases in one worker, the hidden ones in another: what students are shown comes from a
    process that has never held a hidden case.

    A function that is not written, or whose loop never ends, is not asked again.
    """
    outcomes: dict[int, Outcome] = {}
    done = Done([])
    for group in ("public", "hidden"):
        places = [i for i, name in enumerate(groups) if name == group]
        given = [outcome.kind for outcome in outcomes.values()]
        if not places:
            continue
        if "timeout" in given:
            rest = Outcome("timeout", message="not run: an earlier case did not come to an end")
        elif given and set(given) <= {"missing"}:
            rest = Outcome("missing", message=outcomes[0].message)
        else:
            part = _one_run(box, replace(work, cases=[work.cases[i] for i in places]))
            outcomes.update(zip(places, part.outcomes, strict=True))
            done.notes, done.seconds = done.notes or part.notes, done.seconds + part.seconds
            continue
        outcomes.update(dict.fromkeys(places, rest))
    done.outcomes = [outcomes[i] for i in range(len(groups))]
    return done


def _one_run(box: Sandbox, work: Job) -> Done:
    try:
        return box.run(work)
    except (SandboxError, OSError) as error:
        return Done([Outcome("crashed", message=f"no worker: {error}")] * len(work.cases))


def _public(judge: Judge, done: Done) -> list[Outcome]:
    return [o for (group, _), o in zip(judge.cases, done.outcomes, strict=True) if group == "public"]


def _blocks(asked: Sequence[Exercise]) -> list[str]:
    return sorted({name for exercise in asked for name in exercise.blocks})


def _unanswered(exercise: Exercise, judge: Judge, submission: Submission) -> ExerciseResult:
    reason = f"no cell defines {exercise.name}" if submission.notebooks else "nothing handed in"
    if submission.problems and not submission.notebooks:
        reason = "what was handed in could not be read"
    missing = [Outcome("missing", message=reason)] * len(judge.cases)
    return judge.result(_told(exercise, submission, missing))


def _told(exercise: Exercise, submission: Submission, outcomes: Sequence[Outcome]) -> list[Outcome]:
    return not_written(exercise.name, [book for _, book in submission.notebooks], outcomes)


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


def _own_functions(exercise: Exercise, book: Notebook, asked: Sequence[Exercise]) -> list[Exercise]:
    """The other exercises whose functions, written in the notebook, an exercise's function uses."""
    written = {
        statement.name
        for step in book.slice(exercise.name)
        for statement in ast.parse(step.source).body
        if isinstance(statement, ast.FunctionDef)
    }
    return [other for other in asked if other.name != exercise.name and other.name in written]


def _tell_helpers(results: Sequence[ExerciseResult], used: Mapping[str, Sequence[Exercise]]) -> None:
    """Say at an exercise that fails which of the student's own functions it uses that fail as well."""
    wrong = {result.id for result in results if result.word != "right"}
    for result in results:
        names = [other.name for other in used.get(result.id, ()) if {result.id, other.id} <= wrong]
        if names:
            result.notes.append(
                f"it uses your own {' and '.join(names)}, which {'is' if len(names) == 1 else 'are'} not "
                "right either: mend that first, as the fault may lie there alone"
            )


def _status(submission: Submission, results: Sequence[ExerciseResult], kinds: set[str]) -> str:
    if submission.empty:
        return "missing"
    if not submission.notebooks:
        return "unreadable"
    for kind in ("timeout", "crashed"):
        if kind in kinds:
            return kind
    if any(result.word == UNREADABLE for result in results):
        return UNREADABLE
    missing = [result.word == "missing" for result in results]
    if missing and all(missing) and not submission.problems:
        return "untouched"
    unanswered = any(missing)
    return "partial" if unanswered or submission.problems else "graded"
