"""The form of an exercise: the answer is written once, misconceptions are edits of it, cases are drawn.

The function under `Sheet.exercise` is the answer: its signature, docstring and body are what ``labkit
release`` writes into the solution notebook. A misconception is an edit of its body, run among the names of
its file. Cases come from a `Draw`, the public ones from one seed, hidden ones from two that differ for each
student: so public cases show in kind whatever hidden ones test.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from labkit.calls.exercise import Case, Exercise, Misconception, Recipe

__all__ = ["Draw", "Sheet", "answer_of", "edited"]

NETS = "labkit.calls.recipes:"
Mistake = tuple[Any, ...]


class Draw:
    """What the arguments of cases are drawn from: one generator, and the dtype whose turn it is.

    >>> draw = Draw("doctest")
    >>> draw.pictures(2, 3, 4, 4).shape, draw.index(3) in range(3)
    (torch.Size([2, 3, 4, 4]), True)
    """

    def __init__(self, seed: int | str, dtype: torch.dtype = torch.float64) -> None:
        digest = hashlib.sha256(str(seed).encode()).digest()
        self.generator = torch.Generator().manual_seed(int.from_bytes(digest[:6], "big"))
        self.dtype = dtype

    def numbers(self, *shape: int) -> Tensor:
        """Normally distributed numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def pictures(self, *shape: int) -> Tensor:
        """Numbers from 0 to 1."""
        return torch.rand(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def masks(self, *shape: int, share: float = 0.5) -> Tensor:
        """Booleans, True with the probability ``share``."""
        return torch.rand(shape, generator=self.generator) < share

    def index(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(torch.randint(n, (), generator=self.generator))

    def number(self, low: float, high: float) -> float:
        """A number between the two, with two digits behind the point."""
        return round(low + (high - low) * float(torch.rand((), generator=self.generator)), 2)

    def pick(self, *options: Any) -> Any:
        """One of the options."""
        return options[self.index(len(options))]

    def net(self, name: str, **kwargs: Any) -> Recipe:
        """A network of ``labkit.calls.recipes`` with weights of its own, in the draw's dtype."""
        dtype = str(self.dtype).removeprefix("torch.")
        return Recipe(NETS + name, {"seed": self.index(10**6), "dtype": dtype, **kwargs})


Cases = Callable[[Draw], Iterator[Case]]


def drawn(cases: Cases, seed: int | str) -> list[Case]:
    """The cases of one seed; float32 and float64 take turns, for students meet both."""
    draw, found = Draw(seed, torch.float32), []
    for case in cases(draw):
        found.append(case)
        draw.dtype = torch.float64 if draw.dtype == torch.float32 else torch.float32
    return found


def hidden(cases: Cases, id: str, seed: int) -> list[Case]:
    """Twice the cases of one student's seed. What is probed can be forged, so one of them asks for it.

    Where a case fails on purpose, that is the one: whoever never clears up loses it, too.
    """
    first, second = (drawn(cases, f"{id} hidden {seed} {turn}") for turn in (0, 1))
    if any(case.fails for case in first):
        first = [case if case.fails else replace(case, probe=None) for case in first]
    return [*first, *(replace(case, probe=None) for case in second if not case.fails)]


@cache
def answer_of(function: Callable[..., Any]) -> tuple[str, str]:
    """The source of a function without decorators: down to its docstring, and the body below.

    Raises ValueError for a function whose body is a docstring alone.
    """
    text = textwrap.dedent(inspect.getsource(function))
    node = next(part for part in ast.parse(text).body if isinstance(part, ast.FunctionDef))
    first = node.body[1 if ast.get_docstring(node) is not None else 0 :]
    if not first:
        raise ValueError(f"{node.name} must have a body below its docstring, the answer; it has none.")
    lines, above = text.splitlines(), first[0].lineno - 1
    return "\n".join(lines[node.lineno - 1 : above]), "\n".join(lines[above : node.end_lineno])


def edited(function: Callable[..., Any], changes: dict[str, str]) -> Callable[..., Any]:
    """The function with its body edited, run among the names of its file.

    ``changes``: text of the body that stands there once, and what stands there instead. Raises ValueError for
    text that is not there, or not once: a misconception must not miss when the answer is mended.
    """
    head, body = answer_of(function)
    for old, new in changes.items():
        if body.count(old) != 1:
            raise ValueError(
                f"an edit of {function.__name__} must match its body once; {old!r} stands there "
                f"{body.count(old)} times."
            )
        body = body.replace(old, new)
    space: dict[str, Any] = {}
    code = compile(f"{head}\n{body}", f"<edit of {function.__name__}>", "exec", dont_inherit=True)
    exec(code, function.__globals__, space)
    made: Callable[..., Any] = space[function.__name__]
    return made


def misconception(function: Callable[..., Any], mistake: Mistake) -> Misconception:
    """A mistake as written: ``(old, new, hint)``, ``({old: new, ...}, hint)`` or ``(function, hint)``."""
    what, hint = mistake[0], mistake[-1]
    if callable(what):
        return Misconception(what.__name__.strip("_"), what, hint)
    changes = what if isinstance(what, dict) else {what: mistake[1]}
    name = "; ".join(new.strip() or f"no {old.strip()}" for old, new in changes.items())
    return Misconception(name, edited(function, changes), hint)


class Sheet:
    """The exercises of one notebook, in its order: ``sheet = Sheet("21_which_pixels_matter")``."""

    def __init__(self, notebook: str) -> None:
        self.notebook = notebook
        self.exercises: list[Exercise] = []

    def exercise(
        self, id: str, title: str, *, points: int, minutes: int, difficulty: int, cases: Cases,
        mistakes: Sequence[Mistake], **more: Any,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # fmt: skip
        """Make the function below the answer of an exercise; what it does stays as it is.

        ``cases``: a generator of `Case` from a `Draw`. ``mistakes``: what people write instead, see
        `misconception`. The rest, and ``more`` (compare, imports, blocks, seconds), as in `Exercise`. Raises
        ValueError for two mistakes of one name, and what `Exercise` and `edited` raise.
        """

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            wrong = [misconception(function, mistake) for mistake in mistakes]
            names = [one.name for one in wrong]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"the mistakes of {id} must differ; {twice[0]!r} stands there twice.")
            arguments = ", ".join(inspect.signature(function).parameters)
            self.exercises.append(
                Exercise(
                    id, title, points, minutes, difficulty, f"{function.__name__}({arguments})", function,
                    public=lambda: drawn(cases, f"{id} public"),
                    hidden=lambda seed: hidden(cases, id, seed),
                    misconceptions=tuple(wrong), answer=answer_of(function), **more,
                )
            )  # fmt: skip
            return function

        return add
