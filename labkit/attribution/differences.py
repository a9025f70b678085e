"""While a block runs, torch's functions follow DeepLIFT's rules: which function has which rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from labkit.attribution.rescale import amax, elementwise, max_pool, product, refuse, softmax


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE = _names(
    """abs arctan atan celu clamp clamp_max clamp_min clip cos elu erf exp exp2 expm1 gelu hardshrink
    hardsigmoid hardswish hardtanh leaky_relu log log10 log1p log2 logsigmoid mish pow prelu reciprocal
    relu relu6 rpow rrelu rsqrt selu sigmoid silu sin softplus softshrink softsign sqrt square tanh
    tanhshrink threshold"""
)
PRODUCTS = _names("bmm matmul mul")
SOFTMAXES = _names("log_softmax softmax")
# linear in all of their tensors together
SUMS = _names(
    """add broadcast_tensors cat column_stack concat concatenate copy dstack expand_as hstack iadd
    index_add index_copy index_put isub masked_fill masked_scatter meshgrid radd reshape_as rsub scatter
    scatter_add setitem stack sub subtract to type_as view_as vstack where"""
)
# of one tensor, not linear, and without a rule; what joins several and is in no list is refused as well
REFUSED = _names(
    """cosine_similarity cross_entropy cummax cummin cumprod det dist floor_divide fmod
    fractional_max_pool2d gru gumbel_softmax inverse kthvalue linalg_norm linalg_vector_norm
    local_response_norm logcumsumexp logsumexp lp_pool1d lp_pool2d lstm max_unpool2d median mode
    nanmedian norm pairwise_distance prod quantile remainder renorm rnn_relu rnn_tanh sort std std_mean
    svd topk var var_mean"""
)
RULES = ELEMENTWISE | PRODUCTS | SOFTMAXES | {"amax"}
ALIASES = {
    "imul": "mul", "rmul": "mul", "multiply": "mul", "itruediv": "div", "idiv": "div", "truediv": "div",
    "true_divide": "div", "divide": "div", "rtruediv": "rdiv", "ipow": "pow", "special_softmax": "softmax",
    "special_log_softmax": "log_softmax", "absolute": "abs", "imatmul": "matmul",
}  # fmt: skip


def _max(x: Tensor, dim: Any = (), keepdim: bool = False, other: Tensor | None = None) -> Any:
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return x + F.relu(other - x)
    return torch.return_types.max(amax(x, dim, keepdim))


def _min(x: Tensor, dim: Any = (), keepdim: bool = False, other: Tensor | None = None) -> Any:
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return x - F.relu(x - other)
    value, index = torch.max(-x, dim, keepdim)
    return torch.return_types.min((-value, index))


def _standardize(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    centred = x - x.mean(dims, keepdim=True)
    return centred * ((centred * centred).mean(dims, keepdim=True) + eps).rsqrt()


def _layer_norm(
    x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    x = _standardize(x, tuple(range(-len(shape), 0)), eps)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _group_norm(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    each = (1, -1) + (1,) * (x.ndim - 2)
    x = _standardize(x.reshape(len(x), groups, -1), (2,), eps).view(x.shape)
    x = x if weight is None else x * weight.view(each)
    return x if bias is None else x + bias.view(each)


def _instance_norm(
    x: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    if not use_input_stats:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    return _group_norm(x, x.shape[1], weight, bias, eps)


def _normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, **_: Any) -> Tensor:
    if p != 2:
        refuse(f"normalize with p={p}")
    return x * (x * x).sum(dim, keepdim=True).clamp_min(eps**2).rsqrt()


def _attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    if enable_gqa or dropout_p:
        refuse("scaled_dot_product_attention with dropout_p or enable_gqa")
    logits = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None:
        hide = attn_mask.dtype == torch.bool
        logits = logits.masked_fill(~attn_mask, -torch.inf) if hide else logits + attn_mask
    return logits.softmax(-1) @ v


def _multi_head(
    query: Tensor, key: Tensor, value: Tensor, _: int, heads: int, weight: Tensor, bias: Tensor | None,
    bias_k: Any, bias_v: Any, add_zero: bool, _dropout: float, out_weight: Tensor, out_bias: Tensor | None,
    key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    use_separate_proj_weight: bool = False, average_attn_weights: bool = True, **_more: Any,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    extras = (bias_k, bias_v, key_padding_mask, attn_mask)
    if query.ndim != 3 or add_zero or use_separate_proj_weight or any(e is not None for e in extras):
        refuse("multi_head_attention_forward with a mask, extra keys or keys of another width")
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    q, k, v = (
        F.linear(t, w, b).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
        for t, w, b in zip((query, key, value), weight.chunk(3), biases, strict=True)
    )
    looks = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
    mixed = F.linear((looks @ v).permute(2, 0, 1, 3).flatten(2), out_weight, out_bias)
    if not need_weights:
        return mixed, None
    return mixed, looks.mean(1) if average_attn_weights else looks


# written in functions that have a rule of their own
COMPOSED: dict[str, Callable[..., Any]] = {
    "amin": lambda x, *args, **kwargs: -torch.amax(-x, *args, **kwargs),
    "div": lambda x, y: x * y.reciprocal(),
    "rdiv": lambda x, y: x.reciprocal() * y,
    "glu": lambda x, dim=-1: x.chunk(2, dim)[0] * x.chunk(2, dim)[1].sigmoid(),
    "group_norm": _group_norm, "instance_norm": _instance_norm, "layer_norm": _layer_norm, "max": _max,
    "maximum": _max, "min": _min, "minimum": _min, "multi_head_attention_forward": _multi_head,
    "normalize": _normalize,
    "scaled_dot_product_attention": _attention, "softmin": lambda x, dim, **_: (-x).softmax(dim),
}  # fmt: skip


def _reached(values: Any) -> list[Tensor]:
    """The tensors among arguments that depend on the picture."""
    if isinstance(values, Tensor):
        return [values] if values.requires_grad else []
    return [t for v in values for t in _reached(v)] if isinstance(values, list | tuple) else []


class Differences(TorchFunctionMode):
    """DeepLIFT's rules for all torch functions of the block.

    The batch holds ``rows`` rows: pictures first, then the baseline of each. The picture alone may require a
    gradient, no parameter: that tells what depends on it. Works on the level of functions, so that modules,
    ``F.relu``, in-place and reused activations are all seen. Raises ValueError for a function without a rule.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        reached = _reached([*args, *kwargs.values()])
        raw = getattr(func, "__name__", "")
        name = ALIASES.get(raw.strip("_"), raw.strip("_"))
        if not reached or not torch.is_grad_enabled() or name in SUMS:
            return func(*args, **kwargs)
        if name in REFUSED or kwargs.get("rounding_mode"):
            refuse(name)
        if name == "batch_norm" and kwargs.get("training"):
            refuse("batch_norm over the pictures of a batch (track_running_stats=False)")
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        if "axis" in kwargs:
            kwargs["dim"] = kwargs.pop("axis")
        written = kwargs.get("inplace") or (raw.endswith("_") and raw[-2:] != "__") or raw[:3] == "__i"
        linear = len(reached) == 1 and (name in PRODUCTS or (name == "div" and reached[0] is args[0]))
        if linear or not (name in COMPOSED or name in RULES or "max_pool" in name):
            out = func(*args, **kwargs)
            if len(reached) > 1 and _reached(out):
                refuse(f"{name} of {len(reached)} tensors that depend on the picture")
            return out
        for t in reached:
            if name != "multi_head_attention_forward" and (t.ndim == 0 or t.shape[0] % self.rows):
                refuse(f"{name} of a tensor whose first axis is not the pictures', shape {tuple(t.shape)}")
        if name in COMPOSED:
            with self:
                out = COMPOSED[name](*args, **kwargs)
        else:
            out = self._rule(name, func, args, kwargs, len(reached))
        return args[0].copy_(out) if written else out

    def _rule(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any], n: int) -> Any:
        if "max_pool" in name:
            return max_pool(name, *args, **kwargs)
        if name in SOFTMAXES:
            return softmax(name, *args, **kwargs)
        if name == "amax":
            return amax(*args, **kwargs)[0]
        if name in ELEMENTWISE and n == 1 and _reached(args[0]):
            kwargs.pop("inplace", None)
            return elementwise(args[0], lambda t: func(t.clone(), *args[1:], **kwargs))
        if name in ELEMENTWISE:
            refuse(f"{name} of {n} tensors that depend on the picture")
        other = args[1] if len(args) > 1 else kwargs["mat2" if name == "bmm" else "other"]
        if name == "matmul" and min(args[0].ndim, other.ndim) < 3:
            refuse(
                "matmul of two tensors that depend on the picture, one of them without an axis of pictures"
            )
        return product(getattr(torch, name), args[0], other)
