"""Excitation backprop's rules: how each torch function shares out the probability of being the winner.

While they hold, what autograd carries back is no gradient but the probability that a unit is the winner. A
negative number is the probability of the unit's dual, the unit with all its weights negated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from labkit.models.functions import Call, FunctionRules, Rule, as_torch, depending, refusal
from labkit.models.operations import operations

refuse = refusal(
    "consist of functions that excitation_backprop has a rule for (convolution, linear, ReLU, pooling, batch "
    "norm, sums, concatenation)",
    "integrated_gradients, which needs gradients alone",
)


class Walk:
    """What is kept of a walk: ``maps``, the feature maps after each ReLU and pooling, each with the copy of
    it that flows on, and ``lost`` (N,), the probability lost on the way back."""

    def __init__(self, images: Tensor) -> None:
        self.maps: list[tuple[Tensor, Tensor]] = []
        self.lost = images.new_zeros(len(images))

    def step(self, rule: Any, x: Tensor, value: Tensor, *more: Any) -> Tensor:
        """``value``, with ``rule`` for the way back to ``x``."""
        if x.shape[:1] != self.lost.shape or value.shape[:1] != self.lost.shape:
            refuse(f"a step whose first axis is not the pictures', shape {tuple(x.shape)}")
        return rule.apply(x, value, *more, self.lost)


def _of_each(mass: Tensor) -> Tensor:
    return mass.reshape(len(mass), -1).sum(1)


def _shared(excite: Callable[[Tensor], Tensor], x: Tensor, mass: Tensor, lost: Tensor) -> Tensor:
    """Each unit's ``mass`` to its inputs ``x`` >= 0 by their parts of ``excite(x)``; ``lost`` counts what
    belongs to units that nothing excites."""
    with torch._C.DisableTorchFunction(), torch.enable_grad():  # the rules may hold on the way back, too
        x = x.detach().requires_grad_(True)
        total = excite(x)
        alive = total.detach() > torch.finfo(x.dtype).tiny
        lost += _of_each(mass.masked_fill(alive, 0))
        quotient = mass.masked_fill(~alive, 0) / total.detach().masked_fill(~alive, 1)
        return x.detach() * torch.autograd.grad(total, x, quotient)[0]


class Weighted(torch.autograd.Function):
    """A layer with weights: to each input by its activation times the positive part of its weight. ``dual``,
    set on the node, negates the weights once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, excite: Callable, lost: Tensor) -> Tensor:
        ctx.x, ctx.excite, ctx.lost, ctx.dual = x.clamp(min=0), excite, lost, False
        return value.clone()

    @staticmethod
    def backward(ctx: Any, mass: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        mass = -mass if ctx.dual else mass
        given = torch.zeros_like(ctx.x)
        for sign in (1, -1):
            part = (sign * mass).clamp(min=0)
            if part.any():
                given = given + _shared(partial(ctx.excite, sign), ctx.x, part, ctx.lost)
        return given, None, None, None


class Averaged(torch.autograd.Function):
    """A mean or a sum: to each input by its activation; of a dual, to what is negative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, average: Callable, lost: Tensor) -> Tensor:
        ctx.x, ctx.average, ctx.lost = x.clone(), average, lost
        return value.clone()

    @staticmethod
    def backward(ctx: Any, mass: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        given = torch.zeros_like(ctx.x)
        for sign in (1, -1):
            part = (sign * mass).clamp(min=0)
            if part.any():
                active = (sign * ctx.x).clamp(min=0)
                given = given + sign * _shared(ctx.average, active, part, ctx.lost)
        return given, None, None, None


class OneToOne(torch.autograd.Function):
    """One input a unit: all goes to it where ``sign`` is 1, as the dual where it is -1; 0 is a loss. A ReLU
    has no negative activation, so that its dual is lost."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, sign: Tensor, relu: bool, lost: Tensor) -> Tensor:
        ctx.sign, ctx.relu, ctx.lost = sign, relu, lost
        return value.clone()

    @staticmethod
    def backward(ctx: Any, mass: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        given = mass * ctx.sign
        given = given.clamp(min=0) if ctx.relu else given
        ctx.lost.add_(_of_each(mass.abs() - given.abs()))
        return given, None, None, None, None


def _weighted(call: Call, walk: Walk) -> Tensor:
    x, function = call.args[0], call.function
    weight = call.get("weight", 1)
    if len(call.reached) > 1 or not depending(x):
        refuse(f"{call.name} of weights that depend on the picture (attention)")
    # matmul has no bias
    rest = () if call.name == "matmul" else (None, *call.args[3:])
    options = {k: v for k, v in call.options.items() if k not in ("weight", "bias")}

    def excite(sign: int, t: Tensor) -> Tensor:
        return function(t, (sign * weight.detach()).clamp(min=0).to(t.dtype), *rest, **options)

    with torch.no_grad():
        value = call.unary()(x.detach())
    return walk.step(Weighted, x, value, excite)


def _averaged(call: Call, walk: Walk) -> Tensor:
    average = call.unary()
    return walk.step(Averaged, call.args[0], average(call.args[0].detach()), average)


def _relu(call: Call, walk: Walk) -> Tensor:
    low, x = call.get("min_val", 1, -1.0), call.args[0]
    if call.name == "hardtanh" and low < 0:
        refuse(f"hardtanh from {low:g}")
    return walk.step(OneToOne, x, call.unary()(x.detach()), (x.detach() > 0).to(x), True)


def _batch_norm(call: Call, walk: Walk) -> Tensor:
    if call.get("training", 5):
        refuse("batch_norm over the pictures of a batch (track_running_stats=False)")
    x = call.args[0]
    value, weight = call.unary()(x.detach()), call.get("weight", 1)
    sign = torch.ones_like(value)
    if weight is not None:  # a negative one turns the layer below round
        sign = sign * weight.detach().sign().to(value).view(1, -1, *(1,) * (value.ndim - 2))
    return walk.step(OneToOne, x, value, sign, False)


def _scaled(call: Call, walk: Walk) -> Any:
    x, factor = call.args[:2]
    if len(call.reached) > 1 or "rounding_mode" in call.options or (call.name == "div" and not depending(x)):
        return _without(call, walk)
    x, factor = (x, factor) if depending(x) else (factor, x)
    value = call.unary()(x.detach())
    sign = torch.as_tensor(factor, device=x.device).sign().to(value).expand_as(value)
    return walk.step(OneToOne, x.expand_as(value), value, sign, False)


def _summed(call: Call, walk: Walk) -> Any:
    if "alpha" in call.options:
        return _without(call, walk)
    if len(call.reached) == 1:
        return call.run()
    x, other = call.args
    both = torch.stack(torch.broadcast_tensors(x, other if call.name == "add" else -other), 1)
    return walk.step(Averaged, both, both.detach().sum(1), lambda t: t.sum(1))


def _dropped(call: Call, _walk: Walk) -> Any:
    if call.get("training", 2) or call.options.get("train"):
        refuse(f"{call.name} in training mode")
    return call.run()


def _without(call: Call, _walk: Walk) -> Any:
    """What has no rule may run, but nothing that depends on the picture may come of it."""
    out, several = call.run(), len(call.reached)
    if depending(out):
        refuse(call.name + (f" of {several} tensors that depend on the picture" if several > 1 else ""))
    return out


def _mapped(rule: Rule) -> Rule:
    """The same rule; a feature map that comes of it is kept."""

    def ruled(call: Call, walk: Walk) -> Any:
        out = rule(call, walk)
        first = out[0] if isinstance(out, tuple) else out
        if isinstance(first, Tensor) and first.ndim == 4:
            # a copy flows on, lest a later step in place changes what is kept
            copy = first.clone()
            walk.maps.append((first, copy))
            out = (copy, *out[1:]) if isinstance(out, tuple) else copy
        return out

    return ruled


RULES: dict[str, Rule] = {
    # autograd's own way back moves every probability to one place, or changes its sign
    **dict.fromkeys(operations("reshape", "cast", "move", "join", "sign", "largest"), as_torch),
    **dict.fromkeys(operations("max_pool"), _mapped(as_torch)),
    **dict.fromkeys(operations("dropout"), _dropped),
    **dict.fromkeys(operations("weights") - {"addmm"} | {"matmul"}, _weighted),
    **{name: _mapped(_averaged) if "pool" in name else _averaged for name in operations("average")},
    **dict.fromkeys(operations("relu"), _mapped(_relu)),
    "batch_norm": _batch_norm,
    "mul": _scaled, "div": _scaled,
    "add": _summed, "sub": _summed,
}  # fmt: skip


def winner_take_all(walk: Walk) -> FunctionRules:
    """While the block runs a model, its functions have excitation backprop's way back.

    The picture alone may require a gradient, no parameter: that tells what depends on it. Raises ValueError
    for a function without a rule.
    """
    return FunctionRules(RULES, _without, walk)
