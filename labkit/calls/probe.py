"""The state probe: what a call changes in its arguments, and the gradient of its result.

What a call left behind is measured where the student's code runs and could be forged, so it is worth one case
at most (`Exercise.cases`). A gradient is an answer like any other: it is sent back and compared.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["FAILS", "VALUE", "GRADIENT", "snapshot", "left_behind", "wanted", "gradient"]

FAILS = "this network fails at its last layer; the case wants to see what is left behind"
VALUE, GRADIENT = "its value", "its gradient"  # the parts of an answer that is differentiated
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
CURES = {
    "gradients in .grad": "take torch.autograd.grad(score, x)[0] instead of .backward()",
    "hooks": "keep the handle and call handle.remove(), in finally:",
}


def _find(value: Any, kind: type) -> list[Any]:
    """All objects of one kind among the arguments, in order."""
    if isinstance(value, kind):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [found for item in items for found in _find(item, kind)]


def _facts(network: Any) -> dict[str, list[Any]]:
    """What must be as before, by the words used for it, in plain comparable form."""
    parts = list(network.modules())
    return {
        "weights": [t.detach().clone() for t in (*network.parameters(), *network.buffers())],
        "gradients in .grad": [None if p.grad is None else p.grad.clone() for p in network.parameters()],
        "requires_grad flags": [p.requires_grad for p in network.parameters()],
        "training flags": [part.training for part in parts],
        "hooks": [len(getattr(part, hook)) for part in parts for hook in HOOKS],
    }


def _networks(args: Any, probe: str | None) -> list[Any]:
    import torch

    return _find(args, torch.nn.Module) if probe in ("model", "both") else []


def _tensors(args: Any, probe: str | None) -> list[Any]:
    import torch

    return _find(args, torch.Tensor) if probe in ("inputs", "both") else []


def snapshot(args: Any, probe: str | None) -> Any:
    """The state that `left_behind` compares with, before a call."""
    tensors = [(t, t.detach().clone(), t.requires_grad) for t in _tensors(args, probe)]
    return [_facts(network) for network in _networks(args, probe)], tensors


def _same(a: Any, b: Any) -> bool:
    import torch

    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
    return type(a) is type(b) and a == b


def left_behind(args: Any, before: Any, probe: str | None, function: Callable[..., Any] | None = None) -> str:
    """A sentence on what a call changed in its arguments, or the empty string."""
    networks, tensors = before
    for network, facts in zip(_networks(args, probe), networks, strict=True):
        now = _facts(network)
        for words, values in facts.items():
            if len(values) != len(now[words]) or not all(map(_same, values, now[words])):
                cure = f": {CURES[words]}" if words in CURES else ""
                return f"the network's {words} are not as they were before the call{cure}"
    if len(_tensors(args, probe)) != len(tensors):
        return "a list among the arguments is longer or shorter than before: build a new one"
    for tensor, (old, values, required) in zip(_tensors(args, probe), tensors, strict=True):
        which, name = _names(tensor, args, function)
        if tensor is not old:
            return f"{which} was put there instead of the one before: leave the list alone, build a new one"
        if not _same(values, tensor.detach()):
            return (
                f"{which} was changed in place: work on a copy (x = {name}.clone()), or avoid +=, -=, *=, "
                "clamp_() and x[...] = on what you are handed"
            )
        if tensor.requires_grad != required:
            return (
                f"{which} has been switched to requires_grad: do that to a copy "
                f"(x = {name}.clone().requires_grad_(True))"
            )
    return ""


def _names(tensor: Any, args: Any, function: Callable[..., Any] | None) -> tuple[str, str]:
    """What to call a tensor among the arguments in a sentence, and in code."""
    positional, keywords = args
    try:
        names = [*inspect.signature(function).parameters] if function is not None else []
    except (TypeError, ValueError):
        names = []
    for name, value in (*zip(names, positional, strict=False), *keywords.items()):
        if value is tensor:
            return name, name
        if isinstance(value, (list, tuple)) and any(one is tensor for one in value):
            return f"a tensor in {name}", "tensor"
    return "a tensor among the arguments", "tensor"


def wanted(args: Any) -> list[Any]:
    """The tensors among the arguments by which the result is to be differentiated, see `Case`."""
    return [tensor for tensor in _tensors(args, "inputs") if tensor.requires_grad]


def gradient(output: Any, leaves: list[Any]) -> Any:
    """The gradient of a result (of its sum) by the leaf, or a list of them; 0 where it knows of none."""
    import torch

    parts = [part.sum() for part in _tensors(output, "inputs") if part.requires_grad]
    found: Any = torch.autograd.grad(sum(parts), leaves, allow_unused=True) if parts else [None] * len(leaves)
    known = [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]
    return known if len(known) > 1 else known[0]
