"""Excitation backprop's rules: while a model runs, each torch function learns how to share out probability.

What autograd carries back is then no gradient but the probability that a unit is the winner. A negative
number is the probability of the unit's dual, the unit with all its weights negated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from labkit.attribution.differences import ALIASES, _reached


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# autograd's own way back moves every probability to one place, or changes its sign
MOVES = _names(
    """adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d add amax cat channel_shuffle chunk clone
    concat concatenate contiguous copy cuda double dropout dropout1d dropout2d dropout3d expand expand_as
    feature_dropout flatten flip float gather get getitem index_select max max_pool1d max_pool2d max_pool3d
    max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices moveaxis movedim narrow neg
    negative pad permute pixel_shuffle pixel_unshuffle positive repeat reshape reshape_as roll rsub select
    setitem split split_with_sizes squeeze stack sub swapaxes t tile to transpose type_as unbind unflatten
    unfold unsqueeze view view_as"""
)
WEIGHTED = _names(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution linear matmul"
)
AVERAGES = _names(
    """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d avg_pool3d mean
    sum"""
)
RELUS = _names("hardtanh relu relu6")
OWN = ALIASES | {
    "iadd": "add", "radd": "add", "isub": "sub", "subtract": "sub", "idiv": "div",
}  # fmt: skip


def refuse(what: str) -> NoReturn:
    """Raise the ValueError that names what has no rule, and the methods that need none."""
    raise ValueError(
        "the model must consist of functions that excitation_backprop has a rule for (convolution, linear, "
        f"ReLU, pooling, batch norm, sums, concatenation); got {what}. "
        "Use labkit.attribution.integrated_gradients, which needs gradients alone."
    )


def _of_each(mass: Tensor) -> Tensor:
    return mass.reshape(len(mass), -1).sum(1)


def _shared(excite: Callable[[Tensor], Tensor], x: Tensor, mass: Tensor, lost: Tensor) -> Tensor:
    """Each unit's ``mass`` to its inputs ``x`` >= 0 by their parts of ``excite(x)``; ``lost`` counts what
    belongs to units that nothing excites."""
    with torch.enable_grad():
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


class Winning(TorchFunctionMode):
    """Excitation backprop's rules for all torch functions of the block.

    The picture alone may require a gradient, no parameter: that tells what depends on it. Works on the level
    of functions, so that modules, ``F.relu``, in-place and reused activations are all seen. ``maps`` holds
    the feature maps after each ReLU and pooling, ``lost`` (N,) the probability lost on the way back. Raises
    ValueError for a function without a rule.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.lost = images.new_zeros(len(images))
        self.maps: list[Tensor] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        reached = _reached([*args, *kwargs.values()])
        raw = getattr(func, "__name__", "").partition(".")[0]  # torch.ops name their overload after a dot
        name = OWN.get(raw.strip("_"), raw.strip("_"))
        if not reached or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        for key in ("input", "self"):
            args = (kwargs.pop(key), *args) if key in kwargs else args
        last = args[-1] if name in RELUS and isinstance(args[-1], bool) else False
        written = kwargs.get("inplace", last) or (raw.endswith("_") and raw[-2:] != "__") or raw[:3] == "__i"
        out: Any = self._rule(name, args, kwargs, len(reached))
        if out is None:
            out = func(*args, **kwargs)
            training = "dropout" in name and any(v is True for v in (*args, kwargs.get("training")))
            if _reached(out) and (name not in MOVES or training or "alpha" in kwargs):
                several = f" of {len(reached)} tensors that depend on the picture" if len(reached) > 1 else ""
                refuse(f"{name} in training mode" if training else name + several)
            written = False
        first = out[0] if isinstance(out, tuple) else out
        if isinstance(first, Tensor) and first.ndim == 4 and (name in RELUS or "pool" in name):
            self.maps.append(first)
            # a copy flows on, lest a later step in place changes what is kept
            out = (first.clone(), *out[1:]) if isinstance(out, tuple) else first.clone()
        return args[0].copy_(out) if written else out

    def _rule(self, name: str, args: tuple, kwargs: dict[str, Any], reached: int) -> Tensor | None:
        """What the function gives, with the rule for the way back; None where autograd's own will do."""
        x: Tensor = args[0]
        other: Any = args[1] if len(args) > 1 else kwargs.get("other")
        if name in WEIGHTED:
            return self._weighted(name, args, kwargs, reached)
        if name in AVERAGES:
            value = _plain(name, x.detach(), *args[1:], **kwargs)
            return self._apply(Averaged, x, value, lambda t: _plain(name, t, *args[1:], **kwargs), self.lost)
        if name in RELUS:
            low = kwargs.get("min_val", other if name == "hardtanh" and other is not None else -1.0)
            if name == "hardtanh" and low < 0:
                refuse(f"hardtanh from {low:g}")
            options = {k: v for k, v in kwargs.items() if k != "inplace"}
            rest = args[1:] if name == "hardtanh" else ()
            value = getattr(F, name)(x.detach(), *(a for a in rest if not isinstance(a, bool)), **options)
            return self._apply(OneToOne, x, value, (x.detach() > 0).to(x), True, self.lost)
        if name == "batch_norm":
            if kwargs.get("training"):
                refuse("batch_norm over the pictures of a batch (track_running_stats=False)")
            value = F.batch_norm(x.detach(), *args[1:], **kwargs)
            weight = kwargs.get("weight", args[3] if len(args) > 3 else None)
            sign = torch.ones_like(value) if weight is None else _per_channel(weight, value)
            return self._apply(OneToOne, x, value, sign, False, self.lost)
        if name in ("mul", "div") and reached == 1 and "rounding_mode" not in kwargs:
            x, factor = (x, other) if _reached(x) else (other, x)
            if name == "mul" or x is args[0]:
                value = getattr(torch, name)(x.detach(), factor)
                sign = torch.as_tensor(factor, device=x.device).sign().to(value).expand_as(value)
                return self._apply(OneToOne, x.expand_as(value), value, sign, False, self.lost)
        if name in ("add", "sub", "rsub") and reached == 2 and "alpha" not in kwargs:
            x, other = (other, x) if name == "rsub" else (x, other)
            both = torch.stack(torch.broadcast_tensors(x, other if name == "add" else -other), 1)
            return self._apply(Averaged, both, both.detach().sum(1), lambda t: t.sum(1), self.lost)
        return None

    def _weighted(self, name: str, args: tuple, kwargs: dict[str, Any], reached: int) -> Tensor:
        x: Tensor = args[0]
        weight: Any = args[1] if len(args) > 1 else kwargs.get("weight", kwargs.get("other"))
        if reached > 1 or not _reached(x):
            refuse(f"{name} of weights that depend on the picture (attention)")
        bias = name != "matmul"
        rest = args[3:] if bias else ()
        options = {k: v for k, v in kwargs.items() if k not in ("weight", "bias", "other")}
        function = getattr(torch, name) if name in ("convolution", "matmul") else getattr(F, name)

        def excite(sign: int, t: Tensor) -> Tensor:
            positive = (sign * weight.detach()).clamp(min=0)
            return function(t, positive, None, *rest, **options) if bias else function(t, positive)

        with torch.no_grad():
            value = function(x.detach(), *args[1:], **kwargs)
        return self._apply(Weighted, x, value, excite, self.lost)

    def _apply(self, rule: Any, x: Tensor, value: Tensor, *more: Any) -> Tensor:
        if x.shape[:1] != self.lost.shape or value.shape[:1] != self.lost.shape:
            refuse(f"a step whose first axis is not the pictures', shape {tuple(x.shape)}")
        return rule.apply(x, value, *more)


def _plain(name: str, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A mean, sum or average pooling by its name, outside the rules; of a detached tensor without a graph."""
    function = getattr(torch, name) if name in ("mean", "sum") else getattr(F, name)
    return function(x, *args, **kwargs)


def _per_channel(weight: Tensor, value: Tensor) -> Tensor:
    """The sign of a batch norm's weight at every place: a negative one turns the layer below round."""
    return weight.detach().sign().to(value).view(1, -1, *(1,) * (value.ndim - 2)).expand_as(value)
