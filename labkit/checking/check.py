"""``check("attribution.saliency", saliency)``: the answer at once, in the notebook.

The student's function runs here, in the student's own kernel, on the public cases. What is said names what
differs first and, where the mistake is a known one, the hint that helps; never the expected value.
"""

from __future__ import annotations

import _thread
import html
import signal
import sys
import threading
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from labkit.calls.call import Outcome, perform, realize
from labkit.calls.guard import blocked
from labkit.checking.judge import ExerciseResult, Judge

__all__ = ["check", "check_notebook", "CheckText", "NotebookReport"]

RED: set[str] = set()  # exercises whose last check in this kernel did not pass; `claim` says so
TICK, CROSS = "\u2713", "\u2717"
LATER = "hidden checks run at grading"


class CheckText:
    """What `check` shows: plain text, with an HTML form for notebooks."""

    def __init__(self, result: ExerciseResult):
        self.result = result

    def __str__(self) -> str:
        lines = []
        for case in self.result.cases:
            mark = TICK if case.verdict.passed else CROSS
            lines.append(f"{mark} {case.verdict.word:<11} {case.name}")
            if case.verdict.difference:
                lines += [f"    {line}" for line in case.verdict.difference.splitlines()]
        lines += [f"Note: {note}" for note in self.result.notes]
        if self.result.hint:
            lines.append(f"Hint: {self.result.hint}")
        return "\n".join([*lines, self.summary])

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """``public checks 2/3; hidden checks run at grading``."""
        return f"public checks {self.result.passed}/{len(self.result.cases)}; {LATER}"

    def _repr_html_(self) -> str:
        rows = []
        for case in self.result.cases:
            mark = TICK if case.verdict.passed else CROSS
            said = "<br>" + html.escape(case.verdict.difference).replace("\n", "<br>")
            rows.append(
                f"<tr><td style='text-align:left'><b>{mark} {html.escape(case.verdict.word)}</b></td>"
                f"<td style='text-align:left'>{html.escape(case.name)}{said}</td></tr>"
            )
        extra = "".join(f"<p><b>Note.</b> {html.escape(note)}</p>" for note in self.result.notes)
        if self.result.hint:
            extra += f"<p><b>Hint.</b> {html.escape(self.result.hint)}</p>"
        return f"<table>{''.join(rows)}</table>{extra}<p>{html.escape(self.summary)}</p>"


@lru_cache(maxsize=64)
def _judge(exercise: Any) -> Judge:
    return Judge(exercise)


def _run(exercise: Any, function: Callable[..., Any]) -> ExerciseResult:
    judge = _judge(exercise)
    outcomes: list[Outcome] = []
    judge.expected  # noqa: B018  computed before labkit's own version is blocked
    clock = _Clock(exercise.seconds)
    try:
        with clock, blocked(exercise.blocks):
            for _, case in judge.cases:
                outcomes.append(perform(function, realize(case.args), realize(dict(case.kwargs)), case.probe))
    except KeyboardInterrupt:
        if not clock.rang:  # the student's own
            raise
        late = Outcome("timeout", message=f"not done after {exercise.seconds:g} s: does a loop never end?")
        outcomes = (outcomes + [late] * len(judge.cases))[: len(judge.cases)]
    return judge.result(outcomes)


class _Clock:
    """Interrupts the main thread, as Stop does, if what is inside takes longer than ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.rang, self._over, self._lock = False, False, threading.Lock()
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._before: Any = None

    def _ring(self) -> None:
        with self._lock:
            if not self._over:
                self.rang = True
                _thread.interrupt_main()

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            # an event loop of this process may have taken the interrupt for itself
            self._before = signal.signal(signal.SIGINT, signal.default_int_handler)
            self._timer.start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


def check(exercise: str | Any, function: Callable[..., Any]) -> float:
    """Run the public cases of an exercise on a function and say, case by case, what is right and what is not.

    Parameters
    ----------
    exercise : the id, such as ``"attribution.saliency"`` (or an `Exercise`).
    function : the student's function.

    Returns the points of the exercise times the share that the public cases give, as a Python float, so
    that a school that grades with nbgrader can read it. What the function does wrong is said, not raised.

    Raises KeyError for an unknown id, with the nearest ones, and TypeError if ``function`` is not callable.
    """
    from labkit.calls.exercise import Exercise
    from labkit.exercises import find

    found = exercise if isinstance(exercise, Exercise) else find(exercise)
    if not callable(function):
        raise TypeError(
            f"function must be the function itself; got {type(function).__name__}. "
            f"Write check({found.id!r}, {found.name}), without calling it."
        )
    result = _run(found, function)
    (RED.discard if result.passed == len(result.cases) else RED.add)(found.id)
    _show(CheckText(result))
    return float(result.points)


def _show(text: CheckText) -> None:
    """As a rich output where a notebook is listening, otherwise printed."""
    if "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import display

        shell = get_ipython()  # type: ignore[no-untyped-call]
        if shell is not None and hasattr(shell, "kernel"):
            display(text)  # type: ignore[no-untyped-call]
            return
    print(text)


@dataclass
class NotebookReport:
    """What `check_notebook` found: a result per exercise and what a clean run would stumble over."""

    notebook: str
    results: list[ExerciseResult]
    stale: list[str]

    @property
    def passed(self) -> bool:
        """Whether every public case of every exercise passes."""
        return all(result.passed == len(result.cases) for result in self.results)

    @property
    def summary(self) -> dict[str, str]:
        """``{"attribution.saliency": "3/3"}``."""
        return {result.id: f"{result.passed}/{len(result.cases)}" for result in self.results}

    def __str__(self) -> str:
        blocks = [f"{result.title} ({result.id})\n{CheckText(result)}" for result in self.results]
        return "\n\n".join([*blocks, "\n".join(f"Note: {line}" for line in self.stale)]).rstrip()


def check_notebook(path: str | Path, exercises: Sequence[Any] | None = None) -> NotebookReport:
    """Run the public cases of a notebook's exercises in a clean process.

    Parameters
    ----------
    path : the notebook. Its name tells which exercises it holds; a renamed one is told by its functions.
    exercises : the exercises, where they are not the kit's.

    The report's ``str`` is what ``labkit check`` prints; it also points out cells that were run out of order,
    definitions that stand there twice, and names that only a later cell defines. Raises ValueError for a file
    that is not a notebook or holds no exercise.
    """
    from labkit.calls.notebook import read_notebook, stale_state
    from labkit.sandbox.job import Job
    from labkit.sandbox.sandbox import plain_sandbox

    book = read_notebook(path)
    asked = list(exercises) if exercises is not None else _exercises_of(Path(path).name, book)
    blocks = sorted({name for exercise in asked for name in exercise.blocks})
    results = []
    files = {p.name: p.read_text("utf-8", "replace") for p in sorted(Path(path).parent.glob("*.py"))}
    for exercise in asked:
        judge = Judge(exercise)
        if not book.defines(exercise.name):
            missing = Outcome("missing", message=book.why_missing(exercise.name))
            results.append(judge.result([missing] * len(judge.cases)))
            continue
        cases = [case for _, case in judge.cases]
        steps = book.slice(exercise.name)
        work = Job(exercise.name, steps, cases, blocks, exercise.seconds, files=files)
        done = plain_sandbox().run(work)
        result = judge.result(done.outcomes)
        result.notes += done.notes
        results.append(result)
    notes = [*stale_state(book, [e.name for e in asked]), *_unwritten(path)]
    return NotebookReport(Path(path).name, results, notes)


def _unwritten(path: str | Path) -> list[str]:
    """A sentence if answers in words still hold their placeholder."""
    import json

    from labkit.calls.notebook import WORDS_HERE

    cells = json.loads(Path(path).read_text("utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    count = sum(WORDS_HERE in text for text in texts)
    return [f"{count} answer(s) in words still say {WORDS_HERE!r}"] if count else []


def _exercises_of(filename: str, book: Any) -> list[Any]:
    from labkit.calls.notebook import notebook_name
    from labkit.exercises import notebooks

    known = notebooks()
    name = notebook_name(filename, known)
    if name is None:
        counts = {n: sum(book.defines(e.name) for e in exercises) for n, exercises in known.items()}
        name = max(counts, key=lambda n: counts[n]) if any(counts.values()) else None
    if name is None:
        raise ValueError(
            f"no exercise belongs to {filename}: neither its name nor a function in it is known. "
            f"The notebooks with exercises are {', '.join(known)}."
        )
    return list(known[name])


class _Callable(types.ModuleType):
    """`labkit.checking.check` is the name of this module and of its function; either may be called."""

    def __call__(self, exercise: str | Any, function: Callable[..., Any]) -> float:
        return check(exercise, function)


sys.modules[__name__].__class__ = _Callable
