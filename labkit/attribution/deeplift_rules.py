"""DeepLIFT's rules: which torch function passes on the difference between picture and baseline, and how.

What a rule does to the way back is in ``deeplift_multipliers``; here stands which function has which, and how
some are written in functions that have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.attribution.deeplift_multipliers import amax, elementwise, max_pool, product, refuse, softmax
from labkit.models.functions import Call, FunctionRules, Rule, as_torch, depending
from labkit.models.operations import operations


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


def _check_rows(call: Call, rows: int) -> None:
    for t in call.reached:
        if t.ndim == 0 or t.shape[0] % rows:
            refuse(f"{call.name} of a tensor whose first axis is not the pictures', shape {tuple(t.shape)}")


def _unexplained(call: Call, _rows: int) -> Any:
    refuse(call.name)


def _linear(call: Call, _rows: int) -> Any:
    """Of one tensor it is linear, as far as is known; what is not leaves a residual."""
    out, several = call.run(), len(call.reached)
    if several > 1 and depending(out):
        refuse(f"{call.name} of {several} tensors that depend on the picture")
    return out


def _elementwise(call: Call, rows: int) -> Tensor:
    _check_rows(call, rows)
    x = call.reached[0]
    if len(call.reached) > 1 or not (x is call.args[0] or call.name == "pow"):
        refuse(f"{call.name} of {len(call.reached)} tensors that depend on the picture")
    return elementwise(x, call.unary())


def _product(call: Call, rows: int) -> Any:
    if len(call.reached) == 1:
        return call.run()
    _check_rows(call, rows)
    x, other = call.args[:2]
    if call.name == "matmul" and min(x.ndim, other.ndim) < 3:
        refuse("matmul of two tensors that depend on the picture, one of them without an axis of pictures")
    return product(getattr(torch, call.name), x, other)


def _quotient(call: Call, rows: int) -> Any:
    if call.options.get("rounding_mode"):
        refuse(call.name)
    x, other = call.args
    if len(call.reached) == 1 and depending(x):
        return call.run()
    _check_rows(call, rows)
    with rescale_rule(rows):
        return x * other.reciprocal()


def _batch_norm(call: Call, rows: int) -> Any:
    if call.get("training", 5):
        refuse("batch_norm over the pictures of a batch (track_running_stats=False)")
    return _linear(call, rows)


def _largest(call: Call, rows: int) -> Tensor:
    _check_rows(call, rows)
    return amax(*call.args, **call.options)[0]


def _max_pool(call: Call, rows: int) -> Any:
    _check_rows(call, rows)
    options = dict(call.options)
    indices = options.pop("return_indices", False) or "with_indices" in call.function.__name__
    return max_pool(call.name, indices, *call.args, **options)


def _softmax(call: Call, rows: int) -> Tensor:
    _check_rows(call, rows)
    return softmax(call.name, *call.args, **call.options)


def _written(function: Callable[..., Any], *, pictures_first: bool = True) -> Rule:
    """The rule of a function that is written in others: these follow their own."""

    def ruled(call: Call, rows: int) -> Any:
        if pictures_first:
            _check_rows(call, rows)
        with rescale_rule(rows):
            return function(*call.args, **call.options)

    return ruled


RULES: dict[str, Rule] = {
    # linear in all of their tensors together
    **dict.fromkeys(operations("sum", "reshape", "cast", "move", "join", "write"), as_torch),
    **dict.fromkeys(operations("relu", "bend"), _elementwise),
    **dict.fromkeys(operations("max_pool"), _max_pool),
    **dict.fromkeys(operations("other") | {"prod"}, _unexplained),
    **dict.fromkeys(("bmm", "matmul", "mul"), _product),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    "amax": _largest,
    "amin": _written(lambda x, *args, **kwargs: -torch.amax(-x, *args, **kwargs)),
    "batch_norm": _batch_norm,
    "div": _quotient,
    "glu": _written(lambda x, dim=-1: x.chunk(2, dim)[0] * x.chunk(2, dim)[1].sigmoid()),
    "group_norm": _written(_group_norm),
    "instance_norm": _written(_instance_norm),
    "layer_norm": _written(_layer_norm),
    "max": _written(_max),
    "maximum": _written(_max),
    "min": _written(_min),
    "minimum": _written(_min),
    "multi_head_attention_forward": _written(_multi_head, pictures_first=False),
    "normalize": _written(_normalize),
    "scaled_dot_product_attention": _written(_attention),
    "softmin": _written(lambda x, dim, **_: (-x).softmax(dim)),
}


def rescale_rule(rows: int) -> FunctionRules:
    """While the block runs a model, its functions follow DeepLIFT's rules.

    The batch holds ``rows`` rows: pictures first, then the baseline of each. The picture alone may require a
    gradient, no parameter: that tells what depends on it. Raises ValueError for a function without a rule.
    """
    return FunctionRules(RULES, _linear, rows)
