"""What an exercise is: a small declarative object, judged by its cases.

An exercise says what a student's function must do and how to tell. The reference and the misconceptions are
trusted code and only ever run in the judging process; the student's function runs elsewhere (a worker process
when a class is graded, the student's own kernel in a notebook) and sees nothing but the arguments of the
cases.

Arguments of a case are plain data: numbers, strings, booleans, None, arrays (NumPy or torch; they arrive as
torch tensors of the same dtype), lists, tuples and dicts of these, and `Recipe` for what cannot travel as
data (a network, a callable target).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["Recipe", "Case", "Misconception", "Verdict", "Exercise"]

PROBES = (None, "model", "inputs", "both")


@dataclass(frozen=True)
class Recipe:
    """How to build an object in another process: a factory, its keyword arguments, and weights.

    ``factory``: ``"package.module:function"``; its module holds builders only and imports nothing that knows
    the answers (``labkit.calls.recipes`` is the place). ``kwargs``: plain data for it. ``weights``: arrays
    for the strict ``load_state_dict`` of what it returns; none: its own stay. A network is put in eval mode.

    Raises ValueError for a factory that is not written so.

    >>> Recipe("datetime:timedelta", {"days": 1}).build()
    datetime.timedelta(days=1)
    """

    factory: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.]+:\w+", self.factory):
            raise ValueError(
                f"factory must read 'package.module:function'; got {self.factory!r}. "
                "Write for example Recipe('labkit.calls.recipes:linear', {'size': 8})."
            )

    def build(self) -> Any:
        """The object itself, fresh on every call."""
        module, _, name = self.factory.partition(":")
        made = getattr(importlib.import_module(module), name)(**self.kwargs)
        if self.weights:
            import torch

            made.load_state_dict({key: torch.as_tensor(value) for key, value in self.weights.items()})
        if hasattr(made, "named_parameters") and hasattr(made, "eval"):
            made.eval()
        return made


@dataclass(frozen=True)
class Verdict:
    """What a comparison found: passed or not, in a word, and what differs first.

    ``word``: one of ``"right"``, ``"shape"``, ``"dtype"``, ``"scale"``, ``"sign"``, ``"values"``, ``"type"``,
    ``"left behind"``, ``"error"``, ``"missing"``, ``"does not parse"``, ``"timeout"``, ``"crashed"``,
    ``"blocked"``;
    ``difference``: one sentence for the student that never states the expected value; ``shown``: what came
    and what was expected where they differ most, which is kept of public cases alone.
    """

    passed: bool
    word: str = "right"
    difference: str = ""
    shown: str = ""


@dataclass(frozen=True)
class Case:
    """One call of the student's function, worth some points.

    ``name``: shown to the student ("two images of different classes").
    ``args``, ``kwargs``: the arguments (see the module's docstring for what they may be).
    ``points``: the weight of this case within its exercise; 1 unless it matters more.
    ``probe``: None, or what is measured around the call beside its result: ``"model"`` (each network among
    the arguments is left as it was: parameters, buffers, gradients, training flags, hooks), ``"inputs"``
    (the tensors among the arguments are unchanged) or ``"both"``. Measured where the student's code runs and
    so forgeable: one public case of an exercise and one hidden one. Where none of these names a probe, the
    first is probed for both; only an exercise whose point is a change in place says less.
    ``compare``: a comparator for this case alone, see `Exercise`; None uses the exercise's.
    ``fails``: the network among the arguments raises an error, and so must the function; the probe tells
    whether it cleared up before.

    Where tensors among the arguments ask for a gradient (a `Recipe` of ``labkit.calls.recipes:learned``
    makes one), the case is answered by the result and the gradient of its sum by that tensor, or a list of
    them: so a result that does not know where it came from is seen, or one that does and should not, and
    nobody gains by forging.

    Write each case's arguments afresh in the function that makes the cases; no case sees another's.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    points: int = 1
    probe: str | None = None
    compare: str | Callable[[Case, tuple[Any, ...], Any, Any], Verdict] | None = None
    fails: bool = False

    def __post_init__(self) -> None:
        from labkit.core.checks import check_positive

        check_positive("points", self.points)
        if self.probe not in PROBES:
            raise ValueError(
                f"probe must be None, 'model', 'inputs' or 'both'; got {self.probe!r}. See Case."
            )
        object.__setattr__(self, "args", tuple(self.args))


@dataclass(frozen=True)
class Misconception:
    """A wrong implementation that people really write, and the sentence that helps.

    ``function``: has the student's signature, returns the right shape and dtype, and differs from the
    reference in one idea. Where a student's outputs equal its outputs (on cases where these differ from the
    reference's), the ``hint`` is shown.
    """

    name: str
    function: Callable[..., Any]
    hint: str


@dataclass(frozen=True)
class Exercise:
    """One function for the student to write, and all that is needed to judge it.

    ``id``: ``"attribution.saliency"``; the part after the last dot is the name of the student's function.
    ``title``, ``points``, ``minutes``, ``difficulty``: for headings and tables; difficulty is 1, 2 or 3. The
    points are shared over the hidden cases by the cases' own points; public cases are feedback.
    ``signature``: ``"saliency(model, images, target)"``.
    ``reference``: the right function (a labkit method, or a small one in the exercise's file).
    ``public``: ``() -> list[Case]``, shown in `check`; cheap (all of them well under a second).
    ``hidden``: ``seed -> list[Case]``, used when grading; a different seed for each student.
    ``compare``: ``"close"`` (default: same structure, shape, kind of number, and values to rtol 1e-3 + atol
    1e-5 of the reference's maximum), ``"exact"`` (integers, strings, sets of indices), or a function
    ``compare(case, args, output, expected) -> Verdict`` run in the judging process, for properties: the
    case's arguments, freshly built, and the reference's output; arrays are torch tensors.
    ``misconceptions``: at least four.
    ``imports``: top-level modules that the function may use; others are pointed out in the feedback.
    ``blocks``: dotted names of labkit's own versions, ``("labkit.attribution.saliency",)``; while the
    student's function is judged, calling one raises "write this one yourself" and the exercise scores zero. A
    name blocks every function of that name defined at or under its package, however it is reached.
    ``seconds``: wall time for one case when grading.
    ``answer``: head and body of the answer as written, see `labkit.calls.form.answer_of`; none for an
    exercise whose solution notebook is written by hand.
    ``signed``: whether the function hands back two things, the student's id and its answer, because cases are
    dealt by the id; one that is not that of the submission is told.

    Raises ValueError for an id, a signature, a number or a comparator that makes no exercise.
    """

    id: str
    title: str
    points: int
    minutes: int
    difficulty: int
    signature: str
    reference: Callable[..., Any]
    public: Callable[[], Sequence[Case]]
    hidden: Callable[[int], Sequence[Case]]
    compare: str | Callable[[Case, tuple[Any, ...], Any, Any], Verdict] = "close"
    misconceptions: tuple[Misconception, ...] = ()
    imports: tuple[str, ...] = ("torch", "numpy", "math")
    blocks: tuple[str, ...] = ()
    seconds: float = 10.0
    answer: tuple[str, ...] = ()
    signed: bool = False

    def __post_init__(self) -> None:
        from labkit.core.checks import check_choice, check_positive

        if not re.fullmatch(r"[a-z]\w*(\.[a-z]\w*)+", self.id):
            raise ValueError(
                f"id must read 'topic.function'; got {self.id!r}. Write for example 'attribution.saliency'."
            )
        if not re.match(rf"{re.escape(self.name)}\(.*\)", self.signature):
            raise ValueError(
                f"signature must begin with the id's last part, {self.name!r}; got {self.signature!r}. "
                f"Write for example '{self.name}(model, images, target)'."
            )
        check_positive("points", self.points)
        check_positive("minutes", self.minutes)
        if self.difficulty not in (1, 2, 3):
            raise ValueError(
                f"difficulty must be 1, 2 or 3; got {self.difficulty!r}. Most exercises are 1 or 2."
            )
        if isinstance(self.compare, str):
            check_choice("compare", self.compare, ("close", "exact"))
        for name in ("misconceptions", "imports", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def name(self) -> str:
        """The name of the student's function."""
        return self.id.rpartition(".")[2]

    def cases(self, seed: int | None = None) -> list[tuple[str, Case]]:
        """The public cases, then (with a seed) the hidden ones, each as ``("public"|"hidden", case)``.

        One case of either is probed: that which names a probe, otherwise the first one, for both.
        """
        public = [("public", case) for case in _probed(self.public())]
        return public if seed is None else public + [("hidden", c) for c in _probed(self.hidden(seed))]


def _probed(cases: Sequence[Case]) -> list[Case]:
    asked = list(cases)
    if asked and not any(case.probe for case in asked):
        asked[0] = replace(asked[0], probe="both")
    return asked
