"""The call of a student's function on a case: arguments built afresh, an outcome whatever happens."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from labkit.calls.exercise import Recipe
from labkit.calls.probe import GRADIENT, VALUE, gradient, left_behind, snapshot, wanted

__all__ = ["realize", "Outcome", "another_id", "perform", "describe_error"]

STAY = "\n  Something is to be learned by this result: stay in torch, without .numpy() and without .detach()."


def realize(value: Any) -> Any:
    """``value`` ready for a call: each `Recipe` built, each array a fresh torch tensor, the rest as it is."""
    import numpy as np
    import torch

    if isinstance(value, Recipe):
        return value.build()
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, (list, tuple)):
        return type(value)(realize(item) for item in value)
    if isinstance(value, dict):
        return {key: realize(item) for key, item in value.items()}
    return value


@dataclass
class Outcome:
    """What one call gave: `output` if `kind` is ``"ok"``, otherwise `message` says what happened instead.

    `kind` is ``ok``, ``error``, ``missing``, ``does not parse``, ``blocked``, ``timeout`` or ``crashed``;
    `left` says what the call left behind, if that was probed and anything was.
    """

    kind: str
    output: Any = None
    message: str = ""
    left: str = ""


def another_id(outcomes: Iterable[Outcome], student: str) -> str:
    """A sentence where a function that hands back an id before its answer gives a strange one, else the empty
    string. Capitals do not count.

    >>> another_id([Outcome("ok", ("Ada", None)), Outcome("missing")], "ada")
    ''
    """
    given = [
        o.output[0] for o in outcomes if o.kind == "ok" and isinstance(o.output, tuple | list) and o.output
    ]
    strange = {id.strip()[:60] for id in given if isinstance(id, str)}
    strange = {id for id in strange if id.lower() != student.strip().lower()}
    if not strange:
        return ""
    found = ", ".join(repr(id) for id in sorted(strange)[:3])
    return f"the cases are those dealt to {found}, and not to {student!r}, under whose id it is handed in"


def perform(function: Callable[..., Any], args: Any, kwargs: Any, probe: str | None = None) -> Outcome:
    """Call ``function`` on realized arguments and say how it went; what it raises is an outcome.

    Where tensors among the arguments ask for a gradient, the output holds the result and its gradient.
    """
    import torch

    before, leaves = snapshot((args, kwargs), probe), wanted((args, kwargs))
    grad_mode = torch.is_grad_enabled()
    try:
        output = function(*args, **kwargs)
        if leaves and output is not None:
            output = {VALUE: output, GRADIENT: gradient(output, leaves)}
    except NotImplementedError as error:
        return Outcome("missing", message=str(error)[:300] or "not written yet")
    except SystemExit:
        return Outcome("error", message="SystemExit: the function ends the program instead of returning")
    except RecursionError:
        return Outcome("error", message="RecursionError: the function calls itself without end")
    except Exception as error:
        if getattr(error, "labkit_blocked", False):
            return Outcome("blocked", message=str(error))
        stay = STAY if leaves and "numpy()" in str(error) else ""
        left = left_behind((args, kwargs), before, probe, function)
        return Outcome("error", message=describe_error(error) + stay, left=left)
    finally:
        torch.set_grad_enabled(grad_mode)
    if output is None:
        return Outcome("error", message="the function returned None: does it end with `return`?")
    return Outcome("ok", output, left=left_behind((args, kwargs), before, probe, function))


def _cure_for_a_name(error: NameError) -> str:
    """The name that was meant, if one like it was at hand where the error arose."""
    import difflib

    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    there = [*frame.tb_frame.f_locals, *frame.tb_frame.f_globals] if frame is not None else []
    close = difflib.get_close_matches(str(error.name), [n for n in there if not n.startswith("_")], 1, 0.75)
    if close:
        return f"did you mean {close[0]}?"
    return f"hand it to the function as an argument, or define {error.name} in a cell of its own"


def describe_error(error: BaseException) -> str:
    """One or two lines: what was raised, and the student's line that raised it."""
    text = f"{type(error).__name__}: {error}".strip().rstrip(":")
    if isinstance(error, NameError) and getattr(error, "name", None):
        text += f" ({_cure_for_a_name(error)})"
    text = text if len(text) <= 400 else text[:397] + "..."
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if (
            frame.filename.startswith(("<cell", "<ipython", "/tmp/ipykernel"))
            or "ipykernel_" in frame.filename
        ):
            line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
            return f"{text}\n  in {frame.name}: {line}" if line else text
    return text
