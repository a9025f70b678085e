"""The audit: what every exercise must keep, whoever wrote it; in the tests and before a release."""

from __future__ import annotations

from labkit.calls.call import Outcome
from labkit.calls.exercise import Exercise
from labkit.calls.probe import FAILS
from labkit.checking.compare import near
from labkit.checking.judge import Judge

__all__ = ["audit", "FEWEST"]

FEWEST = 4  # misconceptions an exercise has at least


def audit(exercise: Exercise, seed: int = 0, fewest: int = 0) -> list[str]:
    """Complaints about an exercise, none if it is sound.

    The reference gets full marks on public and hidden cases and leaves nothing behind; an unwritten function
    gets nothing. Each misconception returns the reference's type, shape and dtype, gets less than full marks
    and its own hint, on the public cases alone too, where no two are alike. One public and one hidden case at
    most is probed. The cases are the same when they are made again, and hidden ones differ between seeds.

    ``seed``: for its hidden cases; ``fewest``: how many misconceptions it must have, `FEWEST` for those of
    the course.
    """
    faults: list[str] = []
    public, both = Judge(exercise), Judge(exercise, seed)
    try:
        expected = both.expected
    except RuntimeError as error:
        return [str(error)]
    kinds = ["error" if case.fails else "ok" for _, case in both.cases]
    right = both.result([Outcome(kind, out, FAILS) for kind, out in zip(kinds, expected, strict=True)])
    if right.passed != len(right.cases):
        first = next(case for case in right.cases if not case.verdict.passed)
        faults.append(f"the reference of {exercise.id} fails {first.name!r}: {first.verdict.difference}")
    if both.result([Outcome("missing")] * len(both.cases)).points:
        faults.append(f"an unwritten {exercise.name} gets points")
    if not exercise.public() or not exercise.hidden(seed):
        faults.append(f"{exercise.id} needs public and hidden cases")
    for kind in ("public", "hidden"):
        probed = [case for group, case in both.cases if group == kind and case.probe]
        if len([case for case in probed if kind == "hidden" or not case.fails]) > 1:
            faults.append(f"{exercise.id} probes more than one {kind} case; what is probed can be forged")
    if len(exercise.misconceptions) < fewest:
        faults.append(
            f"{exercise.id} has {len(exercise.misconceptions)} misconceptions; write at least {fewest}"
        )
    faults += _about_seeds(exercise, seed)
    seen: list[tuple[str, list[Outcome]]] = []
    for wrong in exercise.misconceptions:
        outcomes = both.mistakes(wrong)
        result = both.result(outcomes)
        if result.passed == len(result.cases):
            faults.append(f"the misconception {wrong.name!r} of {exercise.id} gets full marks")
        elif result.hint != wrong.hint:
            faults.append(
                f"the misconception {wrong.name!r} of {exercise.id} is taken for {result.misconception!r}"
            )
        odd = [case for case in result.cases if case.verdict.word in ("type", "shape", "dtype", "error")]
        if odd:
            words = f"{odd[0].verdict.word}: {odd[0].verdict.difference}"
            faults.append(f"the misconception {wrong.name!r} of {exercise.id} differs in its {words}")
        shown = public.mistakes(wrong)
        if public.result(shown).hint not in (wrong.hint, result.hint):
            faults.append(
                f"the misconception {wrong.name!r} of {exercise.id} is not told by the public cases"
            )
        for name, others in seen:
            if all(_equal(a, b) for a, b in zip(shown, others, strict=True)):
                faults.append(f"{wrong.name!r} and {name!r} of {exercise.id} are alike on the public cases")
        seen.append((wrong.name, shown))
    return faults


def _equal(a: Outcome, b: Outcome) -> bool:
    if a.kind != "ok" or b.kind != "ok":
        return a.kind == b.kind
    return bool(a.left) == bool(b.left) and near(a.output, b.output).passed


def _about_seeds(exercise: Exercise, seed: int) -> list[str]:
    from labkit.calls.wire import encode

    def bytes_of(made: list[tuple[str, object]]) -> list[bytes]:
        return [encode((case.args, dict(case.kwargs))) for _, case in made]  # type: ignore[attr-defined]

    first, again, other = (bytes_of(exercise.cases(s)) for s in (seed, seed, seed + 1))  # type: ignore[arg-type]
    faults = []
    if first != again:
        faults.append(
            f"the cases of {exercise.id} change from call to call; draw them from a fixed generator"
        )
    if first == other:
        faults.append(f"the hidden cases of {exercise.id} do not depend on the seed")
    return faults
