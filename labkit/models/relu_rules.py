"""Rules at a ReLU: only what is positive passes back, as guided backpropagation and the deconvnet want."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.models.functions import Call, FunctionRules, refusal, steps_between
from labkit.models.operations import operations

refuse = refusal(
    "bend its signal by ReLU (or ReLU6) alone, for only that has a rule here",
    "saliency or smooth_grad, which need no rule",
)


class _Gate(torch.autograd.Function):
    """ReLU cut off at ``high``; backwards what is positive, whether the unit was active or not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float) -> Tensor:
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient.clamp(min=0), None


def _positive(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.clamp(min=0)


def _at_a_relu(call: Call, seen: set[Any], *, guided: bool) -> Tensor:
    low, high = 0.0, 6.0 if call.name == "relu6" else torch.inf
    if call.name == "hardtanh":
        low, high = float(call.get("min_val", 1, -1.0)), float(call.get("max_val", 2, 1.0))
    if low != 0:
        refuse(f"hardtanh from {low:g} to {high:g}")
    if not guided:
        return _Gate.apply(call.args[0], high)
    if call.into is None or not call.into._is_view():
        out = call.run()
    else:  # the gradient of a view that is written to goes by its base
        out = F.hardtanh(call.args[0].clone(), 0.0, high)
    out.register_hook(_positive)
    seen.add(out.grad_fn)
    return out


def _by_hand(call: Call, _state: Any) -> Any:
    if call.reached[0].numel() > 1:
        refuse(f"a gate made by hand from {call.name!r} of an activation (write it as torch.relu)")
    return call.run()


def relu_rule(guided: bool) -> FunctionRules:
    """While the block runs a model, each ReLU is guided backprop's (or else the deconvnet's). The ``state``
    is the set of the graph's nodes that are such ReLUs."""
    table = dict.fromkeys(operations("relu"), partial(_at_a_relu, guided=guided))
    return FunctionRules(table | dict.fromkeys(operations("comparison"), _by_hand), state=set())


BENDS, PRODUCTS = operations("relu", "bend", "gate"), operations("product")


def check_relus(outputs: list[Tensor], relus: set[Any]) -> None:
    """Raise ValueError for steps between picture and outputs that have no rule, also where no Python function
    was called (scripted parts); ``relus`` are those that have."""
    for step in steps_between(outputs):
        if step.node in relus:
            continue
        if step.name == "relu":
            refuse("a ReLU out of reach in a scripted part")
        if step.name in BENDS or step.hides:
            refuse(step.title)
        if step.name in PRODUCTS and (len(step.parents) > 1 or step.name == "prod"):
            refuse(f"{step.title} of two activations (a gate or attention)")
        if step.name in ("maximum", "minimum") and len(step.parents) == 1:
            refuse(f"{step.title} of an activation and a constant (write a ReLU as torch.relu)")
        if step.is_own and step.title != _Gate.__name__:
            refuse(f"the model's own function {step.title}")
