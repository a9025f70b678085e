"""Extents: which pixels each value of a tensor comes of, while a model runs, torch function by function.

Beside a tensor stand four of its shape: the first row, the first column, and, with their signs turned, the
ends of the rows and of the columns that a value sees. So what sees several values is always a minimum. A
window that hangs over the border sees pixels that are not there: fields go on beyond the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.models.dataflow import tensors_among
from labkit.models.functions import Call
from labkit.models.operations import operations

Four = tuple[Tensor, Tensor, Tensor, Tensor]
_ALIKE = operations("relu", "bend", "comparison", "sum", "sign", "dropout", "cast", "extreme") | {
    "addcdiv", "addcmul", "alias", "batch_norm", "clone", "contiguous", "detach", "div", "masked_fill", "mul",
    "nan_to_num", "pow", "requires_grad", "where",
}  # fmt: skip
_CAST = operations("cast")
_MOVING = operations("reshape", "move") | {"get", "transpose", "swapaxes"}
_ATTENDING = operations("attention") | {"einsum"}
_PRODUCTS = {"addmm", "bmm", "linear", "matmul", "mm"}
_OF_CHANNELS = operations("softmax") | {"layer_norm", "local_response_norm", "normalize"}
_SLOPES = ((1, 0), (0, 1), (-1, 0), (0, -1))  # by row and by column, of the four


class Extent(NamedTuple):
    """``four``: the bounds, or None where ``lost`` names the function behind which they are not known;
    ``step``: pixels from place to place; ``because``: the function that first saw all of the picture."""

    four: Four | None
    step: tuple[int, int] = (1, 1)
    because: str = ""
    lost: str = ""


class Extents:
    """The extents of all tensors that come of a picture (1, C, H, W); they are kept, so that ids stay."""

    def __init__(self, images: Tensor) -> None:
        height, width = images.shape[2:]
        rows, columns = torch.arange(float(height)), torch.arange(float(width))
        firsts = rows[:, None], columns[None], -(rows + 1)[:, None], -(columns + 1)[None]
        self.least = (0.0, 0.0, -float(height), -float(width))
        four = [first.expand(images.shape) for first in firsts]
        self.seen: dict[int, tuple[Tensor, Extent]] = {id(images): (images, Extent(tuple(four)))}  # type: ignore[arg-type]

    def of(self, tensor: Tensor) -> Extent | None:
        """The extent of a tensor; None for one that does not come of the picture."""
        if id(tensor) in self.seen:
            return self.seen[id(tensor)][1]
        return Extent(None, lost="a part out of reach of Python") if tensor.grad_fn is not None else None

    def follow(self, call: Call) -> Any:
        """Run a function and note the extents of what it gives."""
        given = list(dict.fromkeys(tensors_among((*call.args, *call.options.values()))))
        known = [(t, found) for t in given if (found := self.of(t)) is not None]
        if call.name in _CAST | _MOVING:  # the others say what to be like, or where
            known = [(t, e) for t, e in known if t is next(iter(call.args), None)]
        shapes = [t.shape for t, _ in known]
        out = call.run()
        made = list(tensors_among(out)) + list(tensors_among(call.into))
        made_anew = call.name.startswith("new_") or call.name.endswith("_like")
        if not known or not made or made_anew:
            return out
        because = next((e.because for _, e in known if e.because), "")
        lost = next((e.lost for _, e in known if e.lost), "")
        if lost:
            extents = [Extent(None, lost=lost)] * len(made)
        else:
            extents = self._rule(call, known, shapes, made, because)
        for tensor, extent in zip(made, extents, strict=True):
            self.seen[id(tensor)] = tensor, extent
        return out

    def _rule(
        self,
        call: Call,
        known: list[tuple[Tensor, Extent]],
        shapes: list[Any],
        made: list[Tensor],
        because: str,
    ) -> list[Extent]:
        tensor, first = known[0]
        step, name = first.step, call.name
        if call.into is not None:
            made = made[:1]
        if name in _ALIKE and not (name == "batch_norm" and call.get("training", 5, False)):
            four = _least([e.four for _, e in known], made[0].shape)
            return [Extent(four, step, because)] * (1 + (call.into is not None))
        if name in _MOVING:
            moved = [[*tensors_among(_with(call, tensor, part))] for part in first.four or ()]
            found = [
                Extent(tuple(parts), _measured(parts, step), because) for parts in zip(*moved, strict=True)
            ]  # type: ignore[arg-type]
        elif name in ("cat", "stack", "concat", "hstack", "vstack"):
            found = [Extent(_joined(call, known), step, because)]
        elif name in _WINDOWS:
            four, step = _WINDOWS[name](call, first, made[0])
            found = [Extent(four, step, because)]
        elif (reduce := _reductions(call, known, shapes, made[0])) is not None:
            four = reduce
            if name not in _OF_CHANNELS and not (name == "linear" and tensor.ndim == 4):
                # a value of many places sees no pixels that are not there
                four = tuple(p.clamp(min=low) for p, low in zip(reduce, self.least, strict=True))  # type: ignore[assignment]
            new = self._everything(four) and not all(self._everything(e.four or ()) for _, e in known)
            found = [Extent(four, step, because or (name if new else ""))] * len(made)
        else:
            found = [Extent(None, lost=name)] * len(made)
        return found if call.into is None else found[:1] * 2

    def _everything(self, four: Sequence[Tensor]) -> bool:
        return all(bool((p <= low).all()) for p, low in zip(four, self.least, strict=True))


def _least(several: Sequence[Four | None], shape: Sequence[int]) -> Four:
    parts = [
        [p.expand(shape) if p.ndim == len(shape) else p.broadcast_to(shape) for p in four or ()]
        for four in several
    ]
    found = parts[0]
    for more in parts[1:]:
        found = [torch.minimum(a, b) for a, b in zip(found, more, strict=True)]
    return tuple(found)  # type: ignore[return-value]


def _with(call: Call, tensor: Tensor, part: Tensor) -> Any:
    """The call with another tensor in the place of the one that comes of the picture."""
    call.reached = [tensor]
    return call.unary()(part.contiguous())


def _measured(parts: Sequence[Tensor], step: tuple[int, int]) -> tuple[int, int]:
    """The pixels from place to place, after values were moved."""
    top, left = parts[:2]
    if top.ndim != 4:
        return step
    rows = int(top[0, 0, 1, 0] - top[0, 0, 0, 0]) if top.shape[2] > 1 and top.shape[3] else step[0]
    columns = int(left[0, 0, 0, 1] - left[0, 0, 0, 0]) if left.shape[3] > 1 and left.shape[2] else step[1]
    return rows or step[0], columns or step[1]


def _joined(call: Call, known: list[tuple[Tensor, Extent]]) -> Four:
    extents, tensors = {id(t): e.four for t, e in known}, call.get("tensors", 0)
    parts = []
    for k in range(4):
        # what does not come of the picture sees nothing of it
        each = [
            four[k] if (four := extents.get(id(t))) is not None else torch.full(t.shape, torch.inf)
            for t in tensors
        ]
        parts.append(
            call.function(each, *call.args[1:], **{k: v for k, v in call.options.items() if k != "tensors"})
        )
    return tuple(parts)  # type: ignore[return-value]


# ---- windows


def _extended(
    part: Tensor, slope: tuple[float, float], before: Sequence[int], after: Sequence[int]
) -> Tensor:
    """A bound carried on beyond the border, by so much a row and a column; cut where a number is negative."""
    for axis, (d, first, last) in enumerate(zip(slope, before, after, strict=True), 2):
        if first < 0 or last < 0:
            part = part.narrow(axis, max(0, -first), part.shape[axis] + min(0, first) + min(0, last))
        shape = [-1 if a == axis else 1 for a in range(4)]
        ahead = part.narrow(axis, 0, 1) - d * torch.arange(max(0, first), 0, -1.0).view(shape)
        behind = part.narrow(axis, part.shape[axis] - 1, 1) + d * torch.arange(1.0, max(0, last) + 1).view(
            shape
        )
        part = torch.cat([ahead, part, behind], axis)
    return part


def _pair(value: Any) -> tuple[int, int]:
    values = [int(v) for v in (value if isinstance(value, list | tuple) else [value])]
    return (values[0], values[-1])


def _window(
    extent: Extent, out: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any = 1
) -> tuple[Four, tuple[int, int]]:
    """What windows see; how many there are says ``out``, so that what hangs over the end is known."""
    kernel, stride, dilation = _pair(kernel), _pair(stride), _pair(dilation)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    before = [0, 0] if padding == "valid" else [(s - 1) // 2 for s in spans]
    before = before if isinstance(padding, str) else list(_pair(padding))
    found = []
    for part, slope in zip(extent.four or (), _SLOPES, strict=True):
        sides = part.shape[2:]
        needed = [(n - 1) * s + span for n, s, span in zip(out.shape[2:], stride, spans, strict=True)]
        after = [need - side - first for need, side, first in zip(needed, sides, before, strict=True)]
        by = (slope[0] * extent.step[0], slope[1] * extent.step[1])
        wide = _extended(part, by, before, after)
        found.append(-F.max_pool2d(-wide, kernel, stride, 0, dilation))
    return tuple(found), (extent.step[0] * stride[0], extent.step[1] * stride[1])  # type: ignore[return-value]


def _convolution(call: Call, extent: Extent, out: Tensor) -> tuple[Four, tuple[int, int]]:
    weight, groups = call.get("weight", 1), int(call.get("groups", 6, 1))
    each = out.shape[1] // groups
    merged = tuple(p.unflatten(1, (groups, -1)).amin(2) for p in extent.four or ())
    stride, padding, dilation = (
        call.get(n, at, p) for n, at, p in (("stride", 3, 1), ("padding", 4, 0), ("dilation", 5, 1))
    )
    four, step = _window(
        extent._replace(four=merged), out, tuple(weight.shape[2:]), stride, padding, dilation
    )  # type: ignore[arg-type]
    return tuple(p.repeat_interleave(each, 1) for p in four), step  # type: ignore[return-value]


def _pooling(call: Call, extent: Extent, out: Tensor) -> tuple[Four, tuple[int, int]]:
    kernel = call.get("kernel_size", 1)
    stride = call.get("stride", 2) or kernel
    dilation = call.get("dilation", 4, 1) if call.name == "max_pool2d" else 1
    return _window(extent, out, kernel, stride, call.get("padding", 3, 0), dilation)


def _padding(call: Call, extent: Extent, out: Tensor) -> tuple[Four, tuple[int, int]]:
    pad, mode = list(call.get("pad", 1)), call.get("mode", 2, "constant")
    if mode != "constant":
        return tuple(F.pad(p, pad, mode=mode) for p in extent.four or ()), extent.step  # type: ignore[return-value]
    left, right, top, bottom = (*pad, 0, 0, 0, 0)[:4]
    found = []
    for part, slope in zip(extent.four or (), _SLOPES, strict=True):
        by = (slope[0] * extent.step[0], slope[1] * extent.step[1])
        wide = (
            _extended(part, by, (top, left), (bottom, right))
            if part.ndim == 4
            else F.pad(part, pad[:4], value=torch.inf)
        )
        found.append(F.pad(wide, [0, 0, 0, 0, *pad[4:]], value=torch.inf) if pad[4:] else wide)
    return tuple(found), extent.step  # type: ignore[return-value]


_WINDOWS: dict[str, Callable[[Call, Extent, Tensor], tuple[Four, tuple[int, int]]]] = {
    "conv2d": _convolution, "max_pool2d": _pooling, "avg_pool2d": _pooling, "pad": _padding,
}  # fmt: skip


# ---- what sees many values at once


def _axes(call: Call, ndim: int) -> list[int]:
    dim = call.get("dim", 1)
    dims = list(range(ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return [d % ndim for d in dims]


def _reductions(
    call: Call, known: list[tuple[Tensor, Extent]], shapes: list[Any], out: Tensor
) -> Four | None:
    """The bounds of sums, products, statistics and attention; None for a function that is not known."""
    (_, extent), name, shape = known[0], call.name, shapes[0]
    four = extent.four or ()
    if name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        found = [-F.adaptive_max_pool2d(-p, out.shape[2:]) for p in four]
    elif name in operations("average", "largest") and (name in ("mean", "sum", "amax", "max")):
        found = [p.amin(_axes(call, p.ndim), keepdim=True).reshape(out.shape) for p in four]
    elif name in _PRODUCTS:
        sides = [_product_side(call, t, e, out) for t, e in known]
        found = [torch.stack([s[k].broadcast_to(out.shape) for s in sides]).amin(0) for k in range(4)]
    elif name in operations("softmax") or name == "normalize":
        found = [p.amin(_axes(call, p.ndim), keepdim=True).expand(out.shape) for p in four]
    elif name == "layer_norm":
        last = tuple(range(-len(call.get("normalized_shape", 1)), 0))
        found = [p.amin(last, keepdim=True).expand(out.shape) for p in four]
    elif name in ("group_norm", "instance_norm", "batch_norm", "local_response_norm"):
        groups = (
            call.get("num_groups", 1)
            if name == "group_norm"
            else 1
            if name == "local_response_norm"
            else shape[1]
        )
        over = (2,) if name == "local_response_norm" else tuple(range(2, len(shape) + 1))
        split = [p.unflatten(1, (groups, -1)) for p in four]
        found = [p.amin(over, keepdim=True).expand(p.shape).flatten(1, 2) for p in split]
    elif name in _ATTENDING:
        every = [torch.stack([e.four[k].amin() for _, e in known if e.four]).amin() for k in range(4)]
        found = [least.expand(out.shape) for least in every]
    else:
        return None
    return tuple(found)  # type: ignore[return-value]


def _product_side(call: Call, tensor: Tensor, extent: Extent, out: Tensor) -> list[Tensor]:
    """What one factor of a matrix product adds: its rows where it stands on the left, else its columns."""
    args = call.args[1:] if call.name == "addmm" else call.args
    axis = -1 if args[0] is tensor else -2
    return [p.amin(axis, keepdim=p.ndim > 1) for p in extent.four or ()]
