"""``check("attribution.saliency", saliency)``: the answer at once, in the notebook.

The student's function runs here, in the student's own kernel, on the public cases. What is said names what
differs first, in kind and at one place what came and what was expected, and, where the mistake is a known
one, the hint that helps. Marks rest on other, hidden cases, so nothing is given away.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from labkit.calls.call import Outcome, perform, realize
from labkit.calls.exercise import Exercise
from labkit.calls.guard import blocked
from labkit.checking.judge import ExerciseResult, Judge
from labkit.core.progress import display_or_print

__all__ = ["check", "run_public", "CheckText", "RED"]

RED: set[str] = set()  # exercises whose last check in this kernel did not pass; `claim` says so
TICK, CROSS = "\u2713", "\u2717"
LATER = "hidden checks run at grading"
PAGE = """\
<table>
{% for case in result.cases %}
<tr><td style="text-align:left"><b>{{ tick if case.verdict.passed else cross }} {{ case.verdict.word }}</b>
</td><td style="text-align:left">{{ case.name }}
{%- for line in case.verdict.difference.splitlines() %}<br>{{ line }}{% endfor %}
{%- if case.verdict.shown %}<br><code>{{ case.verdict.shown }}</code>{% endif %}</td></tr>
{% endfor %}
</table>
{% for note in result.notes %}<p><b>Note.</b> {{ note }}</p>{% endfor %}
{% if result.hint %}<p><b>Hint.</b> {{ result.hint }}</p>{% endif %}
<p>{{ summary }}</p>
"""


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
            if case.verdict.shown:
                lines.append(f"    {case.verdict.shown}")
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
        return _page().render(result=self.result, summary=self.summary, tick=TICK, cross=CROSS)


@lru_cache(maxsize=1)
def _page() -> Any:
    import jinja2

    return jinja2.Environment(autoescape=True, trim_blocks=True).from_string(PAGE)


@lru_cache(maxsize=64)
def _judge(exercise: Exercise) -> Judge:
    return Judge(exercise)


def run_public(exercise: Exercise, function: Callable[..., Any]) -> ExerciseResult:
    """Judge a function of this very process on the public cases, within the exercise's time."""
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
    """Interrupts the main thread, as Stop does, if what is inside computes for longer than ``seconds``.

    Time of the processor counts, of all threads: a first import on a busy machine is slow and no endless
    loop. What does not even compute is interrupted after six times as long.
    """

    def __init__(self, seconds: float) -> None:
        self.rang, self._over, self._lock = False, False, threading.Lock()
        self._seconds, self._begun = seconds, (time.process_time(), time.monotonic())
        self._before: Any = None
        self._arm(seconds)

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    def _ring(self) -> None:
        with self._lock:
            if self._over:
                return
            left = self._seconds - (time.process_time() - self._begun[0])
            if left > 0 and time.monotonic() - self._begun[1] < 6 * self._seconds:
                self._arm(max(left, 0.05))
                self._timer.start()
                return
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


def check(exercise: str | Exercise, function: Callable[..., Any]) -> float:
    """Run the public cases of an exercise on a function and say, case by case, what is right and what is not.

    The exercise is named by its id, such as ``"attribution.saliency"``. Gives the points of the exercise
    times the share that the public cases give, as a Python float, so that a school that grades with nbgrader
    can read it. What the function does wrong is said, not raised.

    Raises KeyError for an unknown id, with the nearest ones, and TypeError if ``function`` is not callable.
    """
    from labkit.exercises import find

    found = exercise if isinstance(exercise, Exercise) else find(exercise)
    if not callable(function):
        raise TypeError(
            f"function must be the function itself; got {type(function).__name__}. "
            f"Write check({found.id!r}, {found.name}), without calling it."
        )
    result = run_public(found, function)
    (RED.discard if result.passed == len(result.cases) else RED.add)(found.id)
    display_or_print(CheckText(result))
    return Points(result.points)


class Points(float):
    """A float that a notebook does not print below the table; nbgrader reads it from the plain text."""

    def _repr_html_(self) -> str:
        return "<span></span>"
