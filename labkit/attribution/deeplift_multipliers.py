"""DeepLIFT's multipliers: each function counts by its difference between a picture and its baseline.

Every non-linear function gets the true value and, for the way back, a linear stand-in with the same
coefficients for a picture and its baseline, so that the stand-in's difference is the function's difference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from labkit.models.functions import refusal

refuse = refusal(
    "consist of functions that deep_shap has a rule for",
    "integrated_gradients, which needs gradients alone, or kernel_shap",
)


class _StandIn(torch.autograd.Function):
    """The value forwards, the stand-in backwards."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


def _itself(t: Tensor) -> Tensor:
    return t


def _twice(t: Tensor) -> Tensor:
    return torch.cat([t, t])


def _mean(t: Tensor) -> Tensor:
    a, b = t.detach().chunk(2)
    return _twice((a + b) / 2)


def _quotient(rise: Tensor, step: Tensor) -> Tensor:
    return rise / torch.where(step == 0, 1, step)


def elementwise(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """The rescale rule: difference of the outputs over that of the inputs; the slope midway where the two
    agree but for rounding, because a quotient of two tiny differences is noise."""
    here = x.detach()
    with torch.enable_grad(), saved_tensors_hooks(_itself, _itself):  # a checkpoint around would run again
        middle = _mean(here).chunk(2)[0].requires_grad_(True)
        slope = torch.autograd.grad(function(middle).sum(), middle)[0]
    with torch.no_grad():
        value = function(here)
        (a, b), (fa, fb) = here.chunk(2), value.chunk(2)
        step, rise = a - b, fa - fb
        sizes = fa.abs() + fb.abs() + slope.abs() * (a.abs() + b.abs())
        smooth = (rise - slope * step).abs() <= 8 * torch.finfo(x.dtype).eps * sizes
        multiplier = torch.where(smooth, slope, _quotient(rise, step))
    return _StandIn.apply(_twice(multiplier) * x, value)


def product(function: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Half the difference to each factor: each is multiplied by the mean of the other."""
    with torch.no_grad():
        value = function(x, y)
    return _StandIn.apply(function(x, _mean(y)) + function(_mean(x), y), value)


def _route(flat: Tensor, index: Tensor) -> Tensor:
    """The largest along the last axis, found at ``index``. The window's difference goes to one place: the
    picture's maximum where the window rose, the baseline's where it fell. That place changed in the same
    direction and by at least as much, so that the multiplier lies in [0, 1] whatever other windows do."""
    with torch.no_grad():
        value = flat.gather(-1, index)
        (a, b), (first, second) = value.chunk(2), index.chunk(2)
        place = _twice(torch.where(a >= b, first, second))
        at, before = flat.gather(-1, place).chunk(2)
        share = torch.where(at == before, 1, _quotient(a - b, at - before))
    return _StandIn.apply(_twice(share) * flat.gather(-1, place), value)


def max_pool(name: str, indices: bool, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Max pooling, overlapping windows too, with ``indices`` where asked for."""
    if x.ndim != int(name[-2]) + 2:
        refuse(f"{name} of a tensor without the axis of pictures, shape {tuple(x.shape)}")
    value, index = getattr(F, name)(x.detach(), *args, **kwargs, return_indices=True)
    out = _route(x.flatten(2), index.flatten(2)).view_as(value)
    return (out, index) if indices else out


def amax(x: Tensor, dim: int | tuple[int, ...] = (), keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The largest along one or several axes, and where it is."""
    dims = sorted(d % x.ndim for d in ((dim,) if isinstance(dim, int) else dim or range(x.ndim)))
    if 0 in dims:
        refuse("a maximum over the pictures of a batch")
    others = [d for d in range(x.ndim) if d not in dims]
    flat = x.permute(*others, *dims).flatten(len(others))
    index = flat.detach().argmax(-1, keepdim=True)
    shape = [1 if d in dims else side for d, side in enumerate(x.shape) if keepdim or d not in dims]
    return _route(flat, index).reshape(shape), index.reshape(shape)


def softmax(name: str, x: Tensor, dim: int | None = None, dtype: Any = None, **_: Any) -> Tensor:
    """With L the logarithmic mean of a probability p and its baseline q, p - q = L (log p - log q) and all
    p - q add up to 0; so the log of the sum changes by the mean of the inputs' changes weighted by L."""
    if dim is None or dim % x.ndim == 0:
        refuse(f"a {name} over the pictures of a batch")
    x = x if dtype is None else x.to(dtype)
    with torch.no_grad():
        logs = x.log_softmax(dim)
        a, b = logs.chunk(2)
        apart = (a - b).abs()
        mean = torch.maximum(a, b).exp() * torch.where(apart == 0, 1, _quotient(-torch.expm1(-apart), apart))
        mean = mean.nan_to_num(0.0)  # both are masked by -infinity
        weight = _twice(mean / mean.sum(dim, keepdim=True))
    relative = x - (weight * x).sum(dim, keepdim=True)
    if name == "log_softmax":
        return _StandIn.apply(relative, logs)
    return _StandIn.apply(_twice(mean) * relative, logs.exp())
