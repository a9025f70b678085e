"""Comparing an output with the expected one, and saying what differs first.

The order is type, shape, dtype, then values; what differs in values is said in kind, by
`labkit.checking.differences`. No sentence of a verdict states the expected value, or a factor that gives it;
what came and what was expected stands in ``shown`` alone, which is for public cases.
"""

from __future__ import annotations

import math
from typing import Any

from labkit.calls.call import Outcome
from labkit.calls.exercise import Case, Exercise, Verdict
from labkit.calls.probe import FAILS, GRADIENT, VALUE

__all__ = ["RTOL", "ATOL", "close", "exact", "near", "judge"]

RTOL = 1e-3  # two right implementations differ by up to 9e-5 relative in float32 ...
ATOL = 1e-5  # ... and by 3e-7 of the maximum where the value is near zero

RIGHT = Verdict(True)


def _kind(value: Any) -> str:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, np.ndarray):
        return "NumPy array"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return type(value).__name__


def _at(place: str) -> str:
    return f"{place}: " if place else ""


def _structure(output: Any, expected: Any, place: str) -> Verdict | None:
    """A verdict if the two are built differently, None if they can be compared leaf by leaf."""
    got, want = _kind(output), _kind(expected)
    if got != want and {got, want} != {"list", "tuple"}:  # several results are several results
        scalar = {"tensor", "number", "bool"}
        if {got, want} <= scalar and all(getattr(v, "numel", lambda: 1)() == 1 for v in (output, expected)):
            return None
        cure = ""
        if want == "tensor" and got == "NumPy array":
            cure = "; stay in torch, or end with torch.as_tensor(...)"
        elif got in ("max", "min", "sort", "topk", "median", "mode"):
            cure = f"; .{got}(dim) gives values and indices: take .values"
        elif want == "number" and got == "tensor":
            cure = "; reduce it to one value, for example with .sum() or .item()"
        return Verdict(False, "type", f"{_at(place)}the result is a {got}, a {want} is asked for{cure}")
    if isinstance(expected, (list, tuple)) and len(output) != len(expected):
        words = f"the result has {len(output)} parts, {len(expected)} are asked for"
        return Verdict(False, "shape", _at(place) + words)
    if isinstance(expected, dict) and set(output) != set(expected):
        odd = sorted(map(repr, set(output) ^ set(expected)))
        return Verdict(False, "type", f"{_at(place)}the result's keys differ in {', '.join(odd[:4])}")
    return None


def _leaves(output: Any, expected: Any, place: str = "") -> Any:
    """Pairs of leaves in order, as (place, output, expected), or a Verdict where the structures differ."""
    verdict = _structure(output, expected, place)
    if verdict:
        yield verdict
    elif isinstance(expected, (list, tuple)):
        for number, pair in enumerate(zip(output, expected, strict=True), start=1):
            part = f"part {number} of {len(expected)}"
            yield from _leaves(*pair, f"{place}, {part}" if place else part)
    elif isinstance(expected, dict):
        for key in expected:
            named = key if key in (VALUE, GRADIENT) else f"key {key!r}"
            yield from _leaves(output[key], expected[key], f"{place}[{key!r}]" if place else named)
    else:
        yield place, output, expected


def _shape(output: Any, expected: Any, place: str) -> Verdict:
    got, want = tuple(output.shape), tuple(expected.shape)
    cure = ""
    if sorted(got) == sorted(want):
        cure = "; the axes are in another order"
    elif [n for n in got if n != 1] == [n for n in want if n != 1]:
        cure = "; an axis of length 1 is too many or missing (squeeze, unsqueeze or keepdim)"
    elif len(got) == len(want) + 1:
        cure = "; one axis has not been reduced"
    elif len(got) == len(want) - 1:
        cure = "; one axis has been reduced that should stay"
    return Verdict(False, "shape", f"{_at(place)}the result has the shape {got}, {want} is asked for{cure}")


def _values(output: Any, expected: Any, place: str, rtol: float, atol: float) -> Verdict:
    import torch

    from labkit.checking.differences import difference, place_of

    out, ref = output.detach().double(), expected.detach().double()
    finite = ref[ref.isfinite()]
    top = float(finite.abs().max()) if finite.numel() else 0.0
    if torch.isclose(out, ref, rtol=rtol, atol=atol * top, equal_nan=True).all():
        return RIGHT
    odd = ~out.isfinite() & ref.isfinite()
    if odd.any():
        what = "NaN" if out[odd].isnan().any() else "infinity"
        cause = "a division by zero, or a logarithm of zero?"
        word, words = "values", f"{int(odd.sum())} of {out.numel()} values are {what} ({cause})"
    else:
        word, words = difference(out, ref, rtol, atol)
    where = place_of(out, ref)
    came, wanted = (f"{float(t[where]):.5g}" for t in (output.detach(), expected.detach()))
    at = f"at {list(where)} " if where else ""
    return Verdict(False, word, _at(place) + words, f"{_at(place)}{at}came {came}, expected {wanted}")


def _tensor(value: Any) -> Any:
    """A leaf as a tensor; a whole number that no tensor can hold as the nearest float."""
    import torch

    if isinstance(value, int) and abs(value) >= 2**63:
        return torch.tensor(float(value) if abs(value) < 1e308 else math.copysign(math.inf, value))
    return torch.as_tensor(value)


def near(
    output: Any, expected: Any, *, rtol: float = RTOL, atol: float = ATOL, dtype: bool = True
) -> Verdict:
    """Compare two outputs; ``atol`` is a share of the largest expected value of each array.

    >>> import torch
    >>> near(torch.tensor([2.0, 4.0, 6.0]), torch.tensor([1.0, 2.0, 3.0])).word
    'scale'
    """
    import torch

    found = list(_leaves(output, expected))
    for leaf in found:
        if isinstance(leaf, Verdict):
            return leaf
    for place, out, ref in found:
        if isinstance(ref, (str, type(None))):
            if out != ref:
                came, shown = f"{str(out)[:60]!r}", f"{_at(place)}came {out!r}, expected {ref!r}"
                return Verdict(False, "values", f"{_at(place)}{came} is not right", shown)
            continue
        plain = not (isinstance(out, torch.Tensor) and isinstance(ref, torch.Tensor))
        out, ref = _tensor(out), _tensor(ref)
        if plain and out.numel() == ref.numel() == 1:
            out, ref = out.reshape(()), ref.reshape(())
        if out.shape != ref.shape:
            return _shape(out, ref, place)
        width_only = out.is_floating_point() and ref.is_floating_point()  # values are compared to 1e-3 anyway
        if dtype and not plain and out.dtype != ref.dtype and not width_only:
            got, want = (str(t.dtype).removeprefix("torch.") for t in (out, ref))
            return Verdict(False, "dtype", f"{_at(place)}the result holds {got}, {want} is asked for")
        verdict = _values(out, ref, place, rtol, atol)
        if not verdict.passed:
            return verdict
    return RIGHT


def close(case: Case, args: tuple[Any, ...], output: Any, expected: Any) -> Verdict:
    """The usual comparator: same structure, shape and kind of number, values to RTOL and ATOL.

    float32 and float64 count alike: what a student builds with ``torch.zeros(n, h, w)`` is right.
    """
    return near(output, expected)


def exact(case: Case, args: tuple[Any, ...], output: Any, expected: Any) -> Verdict:
    """For integers, strings and booleans: every value equal; whole floats count as whole numbers."""
    return near(output, expected, rtol=0.0, atol=0.0, dtype=False)


COMPARATORS = {"close": close, "exact": exact}

SENTENCES = {
    "missing": "not written yet",
    "timeout": "did not come to an end in time",
    "crashed": "the process that ran the function broke down",
}


def _odd(output: Any, expected: Any, error: Exception) -> Verdict:
    """The verdict on an output that a comparator has tripped over: its type or shape, if that tells."""
    try:
        verdict = near(output, expected)
    except Exception:
        verdict = RIGHT
    if not verdict.passed:
        return verdict
    return Verdict(False, "values", f"the result could not be examined ({type(error).__name__})")


def _failed(outcome: Outcome) -> Verdict:
    """The verdict where the network raises an error: so must the function, and clear up before."""
    if outcome.kind == "ok":
        return Verdict(False, "values", "the network raises an error; let it pass, it must not be swallowed")
    if FAILS not in outcome.message:
        return Verdict(False, "error", outcome.message)
    if outcome.left:
        return Verdict(False, "left behind", f"the network raises an error, and {outcome.left}")
    return RIGHT


def judge(exercise: Exercise, case: Case, args: tuple[Any, ...], outcome: Outcome, expected: Any) -> Verdict:
    """The verdict on one outcome, whatever it holds: a comparator that trips over it is a verdict too."""
    if case.fails and outcome.kind in ("ok", "error"):
        return _failed(outcome)
    if outcome.kind != "ok":
        return Verdict(False, outcome.kind, outcome.message or SENTENCES.get(outcome.kind, ""))
    compare = case.compare or exercise.compare
    function = COMPARATORS[compare] if isinstance(compare, str) else compare
    try:
        verdict = function(case, args, outcome.output, expected)
    except Exception as error:
        return _odd(outcome.output, expected, error)
    if verdict.passed and outcome.left:
        return Verdict(False, "left behind", f"the result is right, but {outcome.left}")
    if outcome.left:
        return Verdict(False, verdict.word, f"{verdict.difference}; and {outcome.left}")
    return verdict
