"""The judge: marks and hints for an exercise, from what the student's function returned.

References and misconceptions are run here, in the judging process, on the same cases; the student's
function is not. A misconception is recognised by its outputs: the student's equal its own wherever these
can be told from the right ones. So a hint names the mistake that was made, and not one that merely fails
the same cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from labkit.calls.call import Outcome, perform, realize
from labkit.calls.exercise import Case, Exercise, Misconception, Verdict
from labkit.checking.compare import close, judge

__all__ = ["CaseResult", "ExerciseResult", "Judge"]


@dataclass(frozen=True)
class CaseResult:
    """One case judged: whose it is (public or hidden), its points, its verdict."""

    name: str
    group: str
    points: int
    verdict: Verdict


@dataclass
class ExerciseResult:
    """An exercise judged: its cases, the hint that fits (or empty) and the misconception's name, and
    notes."""

    id: str
    title: str
    points: float
    out_of: float
    cases: list[CaseResult] = field(default_factory=list)
    misconception: str = ""
    hint: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> int:
        return sum(case.verdict.passed for case in self.cases)

    @property
    def word(self) -> str:
        """``right``, ``partly right``, or the first failure's word."""
        if self.cases and self.passed == len(self.cases):
            return "right"
        first = next((case.verdict.word for case in self.cases if not case.verdict.passed), "missing")
        return "partly right" if self.passed and first not in ("timeout", "crashed") else first


class Judge:
    """Judges one exercise on one set of cases: the public ones, or with a seed the hidden ones too.

    Expected outputs are computed once, misconceptions' only when something has failed.
    """

    def __init__(self, exercise: Exercise, seed: int | None = None):
        self.exercise = exercise
        self.cases = exercise.cases(seed)
        self._expected: list[Any] | None = None
        self._mistakes: dict[str, list[Outcome]] = {}

    def _call(self, function: Any, case: Case) -> Outcome:
        return perform(function, realize(case.args), realize(dict(case.kwargs)), case.probe)

    @property
    def expected(self) -> list[Any]:
        """The reference's output for each case. Raises RuntimeError where the reference itself fails."""
        if self._expected is None:
            self._expected = []
            for _, case in self.cases:
                outcome = self._call(self.exercise.reference, case)
                if outcome.kind != ("error" if case.fails else "ok") or outcome.left:
                    raise RuntimeError(
                        f"the reference of {self.exercise.id} fails its own case {case.name!r}: "
                        f"{outcome.message or outcome.left}. Mend the exercise; no submission was judged."
                    )
                self._expected.append(outcome.output)
        return self._expected

    def verdicts(self, outcomes: Sequence[Outcome]) -> list[Verdict]:
        """One verdict per case; of hidden ones nothing is kept that shows what was expected."""
        found = [
            self.verdict(case, outcome, expected)
            for (_, case), outcome, expected in zip(self.cases, outcomes, self.expected, strict=True)
        ]
        groups = [group for group, _ in self.cases]
        return [v if g == "public" else replace(v, shown="") for v, g in zip(found, groups, strict=True)]

    def verdict(self, case: Case, outcome: Outcome, expected: Any) -> Verdict:
        """The verdict on one case."""
        return judge(self.exercise, case, realize(case.args), outcome, expected)

    def mistakes(self, misconception: Misconception) -> list[Outcome]:
        """What a misconception gives on each case."""
        if misconception.name not in self._mistakes:
            self._mistakes[misconception.name] = [
                self._call(misconception.function, case) for _, case in self.cases
            ]
        return self._mistakes[misconception.name]

    def recognise(self, outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> Misconception | None:
        """The misconception whose outputs these are, or None.

        It must agree with the student on every case that the student's function answered, and at least one
        case that both fail must be among these; of several, the one that agrees on most of them. A right
        result that changed its arguments is failed by a mistake alone that changes them, too.
        """
        if all(verdict.passed for verdict in verdicts):
            return None
        best, most = None, 0
        for misconception in self.exercise.misconceptions:
            agreed = 0
            for (_, case), outcome, verdict, mistake, expected in zip(
                self.cases, outcomes, verdicts, self.mistakes(misconception), self.expected, strict=True
            ):
                if outcome.kind != "ok":
                    continue
                if mistake.kind != "ok" or not self._alike(case, outcome, mistake):
                    agreed = 0
                    break
                own = outcome.left and self.verdict(case, mistake, expected).passed
                agreed += not (verdict.passed or own)
            if agreed > most:
                best, most = misconception, agreed
        return best

    def _alike(self, case: Case, outcome: Outcome, mistake: Outcome) -> bool:
        if mistake.left and not outcome.left:
            return False
        try:
            return close(case, (), outcome.output, mistake.output).passed
        except Exception:
            return False

    def result(self, outcomes: Sequence[Outcome]) -> ExerciseResult:
        """Marks, verdicts and the hint. A blocked call makes the exercise zero.

        Marks rest on the hidden cases alone, whose answers nobody can have looked up; where there are none,
        as in `check`, the points tell the share of the public ones.
        """
        verdicts = self.verdicts(outcomes)
        exercise = self.exercise
        if any(outcome.kind == "blocked" for outcome in outcomes):
            sentence = next(
                (
                    outcome.message
                    for (group, _), outcome in zip(self.cases, outcomes, strict=True)
                    if outcome.kind == "blocked" and group == "public"
                ),
                "write this one yourself",  # what a hidden case's call says is not shown
            )
            verdicts = [Verdict(False, "blocked", sentence)] * len(verdicts)
        marked = "hidden" if any(group == "hidden" for group, _ in self.cases) else "public"
        total = sum(case.points for group, case in self.cases if group == marked)
        got = sum(
            case.points
            for (group, case), verdict in zip(self.cases, verdicts, strict=True)
            if verdict.passed and group == marked
        )
        known = self.recognise(outcomes, verdicts)
        blocked = bool(verdicts) and verdicts[0].word == "blocked"
        result = ExerciseResult(
            exercise.id,
            exercise.title,
            round(exercise.points * got / total, 2) if total else 0.0,
            exercise.points,
            [
                CaseResult(case.name, group, case.points, verdict)
                for (group, case), verdict in zip(self.cases, verdicts, strict=True)
            ],
        )
        if known and not blocked:
            result.misconception, result.hint = known.name, known.hint
        elif not blocked and self._only_public(result):
            result.misconception = "public cases only"
            result.hint = (
                "Every public case passes and no hidden one: the function seems to know the public cases' "
                "answers instead of computing them. Try it on inputs of your own."
            )
        return result

    @staticmethod
    def _only_public(result: ExerciseResult) -> bool:
        public = [case.verdict.passed for case in result.cases if case.group == "public"]
        hidden = [case.verdict.word for case in result.cases if case.group == "hidden"]
        return (
            bool(public) and bool(hidden) and all(public) and {"values", "scale", "sign"}.issuperset(hidden)
        )
