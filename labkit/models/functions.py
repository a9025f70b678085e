"""The one ``TorchFunctionMode``: while a model runs, its torch functions follow the rules of a table.

A network may write a ReLU as ``nn.ReLU``, ``F.relu``, ``x.relu_()`` or ``torch.relu(input=x)``: here all of
these are one ``Call`` with one name. Where no Python function is called (scripted parts), the graph that
autograd keeps says what ran.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from labkit.models.operations import canonical, spelling

HIDING = ("Attention", "Graph", "Rnn")  # parts of the names of autograd's steps in which many are one


def depending(values: Any) -> list[Tensor]:
    """The tensors among (nested) arguments that depend on the picture, that is, require a gradient and are no
    weights (those of a network that the model holds in a list or a closure are not known as its own)."""
    if isinstance(values, Tensor):
        return [values] if values.requires_grad and not isinstance(values, nn.Parameter) else []
    found: list[Tensor] = []
    if isinstance(values, list | tuple):
        for value in values:  # a loop, for it runs at every call
            if isinstance(value, Tensor):
                if value.requires_grad and not isinstance(value, nn.Parameter):
                    found.append(value)
            elif isinstance(value, list | tuple):
                found += depending(value)
    return found


class Call:
    """One call of a torch function, in one form however it was written.

    ``name``: its canonical name.
    ``args``, ``options``: what it was given; the tensor it is called on comes first, operands stand in the
    order of the formula (2 - x is ``sub`` of 2 and x), ``axis`` is ``dim``, ``inplace`` and ``out`` are gone.
    ``reached``: those of the tensors that depend on the picture.
    ``into``: the tensor that the result is written to (``x.relu_()``, ``inplace=True``, ``out=``), or None.
    """

    def __init__(
        self, function: Callable, args: tuple, kwargs: Mapping[str, Any], reached: list[Tensor]
    ) -> None:
        self.function, self.reached, self._given = function, reached, (args, kwargs)
        self.name, self._in_place, self._reflected = spelling(function)
        self.into: Tensor | None = None
        if self._in_place or kwargs.get("inplace"):
            given = (*args, *kwargs.values())
            self.into = next((value for value in given if isinstance(value, Tensor)), None)
        if isinstance(kwargs.get("out"), Tensor):
            self.into = kwargs["out"]
            self._given = args, {key: given for key, given in kwargs.items() if key != "out"}

    @cached_property
    def _one_form(self) -> tuple[tuple, dict[str, Any]]:
        """``args`` and ``options``; most functions have no rule, and nobody asks."""
        args, options = self._given[0], dict(self._given[1])
        for key in ("input", "self"):
            args = (options.pop(key), *args) if key in options else args
        for key in ("other", "mat2"):
            args = (*args, options.pop(key)) if key in options and len(args) == 1 else args
        if "axis" in options:
            options["dim"] = options.pop("axis")
        options.pop("inplace", None)
        return args[1::-1] + args[2:] if self._reflected else args, options

    @property
    def args(self) -> tuple:
        """What was given by place."""
        return self._one_form[0]

    @property
    def options(self) -> dict[str, Any]:
        """What was given by name."""
        return self._one_form[1]

    def get(self, name: str, at: int, preset: Any = None) -> Any:
        """A parameter by its name, or else by its place."""
        return self.options.get(name, self.args[at] if len(self.args) > at else preset)

    def run(self) -> Any:
        """What torch does, as it was written; to ``out`` writes the mode."""
        args, kwargs = self._given
        return self.function(*args, **kwargs)

    def unary(self) -> Callable[[Tensor], Any]:
        """The call as a function of the one tensor that depends on the picture, which it leaves as it is. It
        keeps neither that tensor nor the call."""
        function, in_place, old = self.function, self._in_place, self.reached[0]
        args = self.args[1::-1] + self.args[2:] if self._reflected else self.args
        before = next((n for n, a in enumerate(args) if a is old), len(args))
        left, right = args[:before], args[before + 1 :]
        options = {k: v for k, v in self.options.items() if v is not old}
        key = next((k for k, v in self.options.items() if v is old), None)
        del old, args

        def of(x: Tensor) -> Any:
            x = x.clone() if in_place else x
            return function(*left, **options, **{key: x}) if key else function(*left, x, *right, **options)

        return of

    def give(self, result: Any) -> Any:
        """The result, written to where the call writes."""
        if self.into is None or result is self.into or not isinstance(result, Tensor):
            return result
        if self.into.shape != result.shape:
            self.into.resize_(result.shape)
        return self.into.copy_(result)


Rule = Callable[[Call, Any], Any]


def as_torch(call: Call, _state: Any) -> Any:
    """The rule of a function that stays as it is."""
    return call.run()


class FunctionRules(TorchFunctionMode):
    """While a block runs, the functions of tensors that depend on the picture follow the rules of a table.

    Works on the level of functions, so that modules, ``F.relu``, in-place and reused activations are all
    seen; what a function or a rule calls itself is part of it. Under ``torch.no_grad`` nothing depends on the
    picture.

    ``table``: canonical name -> rule; a rule takes the ``Call`` and the state, and gives the result.
    ``otherwise``: the rule of all other functions.
    ``state``: what the rules are told or keep.
    ``every``: whether calls that do not depend on the picture follow the rules as well.
    """

    def __init__(
        self, table: Mapping[str, Rule], otherwise: Rule = as_torch, state: Any = None, *, every: bool = False
    ) -> None:
        super().__init__()
        self.table, self.otherwise, self.state, self.every = table, otherwise, state, every
        self.leaves = otherwise is as_torch  # all but the table's functions alone

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.leaves and "out" not in kwargs and spelling(func).name not in self.table:
            return func(*args, **kwargs)
        reached = depending((*args, *kwargs.values())) if torch.is_grad_enabled() else []
        if not reached and not self.every:
            return func(*args, **kwargs)
        call = Call(func, args, kwargs, reached)
        return call.give(self.table.get(call.name, self.otherwise)(call, self.state))

    def grad(
        self, outputs: Any, inputs: Tensor, grad_outputs: Any = None, *, retain_graph: bool = False,
        allow_unused: bool = False,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """``torch.autograd.grad`` by one tensor, while the rules hold: what was checkpointed runs again on
        the way back. (As a function of torch it would itself be handed to the mode, and leave it.)"""
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        slopes = tuple(map(torch.ones_like, outputs) if grad_outputs is None else grad_outputs)
        run: Any = torch.autograd.Variable._execution_engine.run_backward
        with self:
            return run(outputs, slopes, retain_graph, False, (inputs,), allow_unused, accumulate_grad=False)


@lru_cache(maxsize=4096)
def _hides(title: str) -> bool:
    return any(part in title for part in HIDING)


class Step(NamedTuple):
    """A step of autograd's graph: its node, its canonical name, autograd's own ``title`` for it, and the
    steps that its gradient goes to."""

    node: Any
    name: str
    title: str
    parents: list[Any]

    @property
    def hides(self) -> bool:
        """Whether many functions run as one here, out of a mode's sight."""
        return _hides(self.title)

    @property
    def is_own(self) -> bool:
        """Whether it is somebody's ``torch.autograd.Function``."""
        return isinstance(self.node, BackwardCFunction) and self.title != "BackwardHookFunction"


@lru_cache(maxsize=4096)
def _names(own: str) -> tuple[str, str]:
    title = re.sub(r"Backward\d*$", "", own)
    return canonical(title), title


def _is_weight(node: Any) -> bool:
    return isinstance(getattr(node, "variable", None), nn.Parameter)


def steps_between(
    outputs: Tensor | Sequence[Tensor], stop: Tensor | None = None, *, ends: str = ""
) -> list[Step]:
    """The steps of autograd's graph from the outputs down, also where no Python function was called.

    ``stop``: a tensor; the step that made it and what is reached through that alone are left out.
    ``ends``: the title of steps that the walk does not pass.
    """
    seen: set[Any] = {None, *([] if stop is None else [stop.grad_fn])}
    starts = {t.grad_fn for t in ([outputs] if isinstance(outputs, Tensor) else outputs)} - seen
    waiting = list(starts)
    seen |= starts
    found = []
    while waiting:
        node: Any = waiting.pop()
        own = node.name()
        name, title = _names(own)
        # the second step before a copy is what was written; the first, overwritten, counts no longer
        before = node.next_functions[own.endswith("CopyBackwards") :]
        parents = [parent for parent, _ in before if parent is not None and not _is_weight(parent)]
        found.append(Step(node, name, title, parents))
        if title != ends:
            waiting += [parent for parent in dict.fromkeys(parents) if parent not in seen]
            seen.update(parents)
    return found


def refusal(must: str, instead: str) -> Callable[[str], NoReturn]:
    """What raises the one sentence about a function without a rule, given what came.

    >>> refusal("be linear", "saliency, which needs no rule")("a sigmoid")
    Traceback (most recent call last):
    ...
    ValueError: the model must be linear; got a sigmoid. Use labkit.attribution.saliency, which needs no rule.
    """

    def refuse(what: str) -> NoReturn:
        raise ValueError(f"the model must {must}; got {what}. Use labkit.attribution.{instead}.")

    return refuse
