"""The head of a network: its last feature map, what leads from there to the outputs, and CAM's weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.hooks import as_written, borrow, record
from labkit.core.target_algebra import tensors_of
from labkit.core.targets import Target, beginnings
from labkit.models.dataflow import Flow, Point
from labkit.models.functions import Call
from labkit.models.operations import operations

_CONVOLUTIONS = {"conv2d", "convolution"}
_WEIGHTED = operations("weights", "attention") | {"layer_norm", "rms_norm"}
_POOLING = operations("average", "largest", "max_pool", "product", "attention") | {"einsum"}


class Head(NamedTuple):
    """The last feature map as the model has it, the outputs it leads to, the functions called in between, and
    the ``axis`` of the map's channels: 1, or 3 where they lie last."""

    features: Tensor
    outputs: Any
    steps: list[Call]
    axis: int


def _refuse(
    why: str, cure: str = "Pass layer= with the dotted name of a layer that gives (N, K, h, w)."
) -> None:
    raise ValueError(f"the model has no spatial feature map before its head: {why}. {cure}")


def _between(start: Point, end: Point) -> list[Point]:
    """The points on the ways from one that everything passes to another, in the order they were made."""
    found: dict[Point, None] = {}
    waiting = [end]
    while waiting:
        point = waiting.pop()
        if point is not start and point not in found:
            found[point] = None
            waiting += point.before
    return sorted(found, key=lambda point: point.number)


def _one_place(point: Point, pictures: int) -> bool:
    """Whether a function made, or worked on, a feature map of one place, as no head does."""
    call, out = point.call, point.tensor
    if call is None or not call.args or not isinstance(call.args[0], Tensor):
        return False
    single = out.ndim == 4 and point.places(pictures) == 1
    if call.name in _CONVOLUTIONS:
        x, kernel = call.args[0], call.get("weight", 1).shape[2:]
        if x.ndim != 4 or x.shape[2:] == kernel:  # a linear layer, written as a convolution
            return False
        return single and (x.shape[2:].numel() > 1 or kernel.numel() > 1)
    before = [p.places(pictures) or 0 for p in point.before if p.tensor.ndim == 4]
    return single and call.name not in _POOLING and bool(before) and min(before) > 1


def _layer_that_gives(model: nn.Module, images: Tensor, features: Tensor) -> str:
    """The last layer that gives these features, or else some of their shape."""
    names = [name for name, _ in model.named_modules() if name]
    with borrow(model), torch.no_grad(), record(model, *names) as kept:
        model(images.detach().clone())
        alike = [n for n, t in reversed(kept.items()) if getattr(t, "shape", None) == features.shape]
        return next((n for n in alike if torch.allclose(kept[n], features)), alike[0] if alike else "")


def _features(model: nn.Module, images: Tensor, end: Point) -> Point:
    """The last feature map that all of the picture passes on its way to the ``end``."""
    n, point, tokens = len(images), end, False
    while point.places(n) in (None, 1) or point.tensor.ndim != 4 or len(point.tensor) != n:
        out = point.tensor
        if point.name in _WEIGHTED and out.ndim > 2:
            channels = out.shape[1] if point.name.startswith("conv") else out.shape[-1]
            tokens = tokens or out.numel() > n * channels and point.places(n) != 1
        if point.above is None:
            break
        point = point.above
    if any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()) and point.above is None:
        _refuse(
            "it is out of reach in a part that torch.jit scripted or traced",
            "Use the model as it was before.",
        )
    if tokens:
        _refuse("what comes behind the last map works on tokens (a vision transformer has these instead)")
    if point is end:
        _refuse(f"what it gives, {tuple(end.tensor.shape)}, is a map itself")
    steps = _between(point, end)
    if any(_one_place(step, n) for step in steps):
        name = _layer_that_gives(model, images, point.tensor)
        _refuse(
            f"for pictures of {tuple(images.shape[2:])} pixels the last map has a single place",
            f"Show it larger pictures, or name an earlier layer; the last with more places is {name!r}.",
        )
    sizes = {s.places(n) for s in steps if s.name in _CONVOLUTIONS} - {None, 1, point.places(n)}
    if sizes:
        _refuse(f"maps of several sizes meet in it (of {sizes.pop()} places and of {point.places(n)})")
    return point


def trace_head(model: nn.Module, images: Float[Tensor, "N C H W"], target: Target | None = None) -> Head:
    """Run the model once and find the last feature map that all of the picture passes, in the graph.

    That is the last tensor (N, K, h, w) or (N, h, w, K) of more than one place from which all that the head
    reads is made, however it is pooled or flattened. ``target``: says which of several outputs is meant; by
    default it is the first of the shape (N, classes).
    Raises ValueError for a model without such a tensor (a vision transformer), for one whose last map has a
    single place for these pictures, and where maps of several sizes meet.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> trace_head(net, torch.rand(1, 3, 8, 8)).features.shape
    torch.Size([1, 4, 6, 6])
    """
    shown = images.clone()  # a model may work in place
    with as_written(model), Flow(shown, cut=True) as flow:
        outputs = model(shown)
    given = sorted(tensors_of(outputs), key=lambda t: t.ndim != 2)[:1]  # (N, classes), rather than a map
    if not isinstance(outputs, Tensor) and target is not None:
        given = [tensor for tensor, _ in beginnings(outputs, target)]
    ends = [point for point in map(flow.at, given) if point is not None]
    if not ends:
        _refuse("its outputs do not come of the picture")
    end = ends[0] if len(ends) == 1 else Point(given[0], None, ends, flow.state.last.number + 1)
    point = _features(model, images, end)
    steps = [step.call for step in _between(point, end) if step.call is not None]
    return Head(point.tensor, outputs, [call for call in steps if call.args], point.axis or 1)


def last_spatial(model: nn.Module, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
    """The last feature map before pooling or flattening, channels in front; see ``trace_head``."""
    head = trace_head(model, images)
    return head.features.movedim(head.axis, 1)


_PLAIN = operations("reshape", "cast", "dropout") | {"movedim", "permute", "transpose"}
_PICKING = {"get", "getitem", "index_select"}
_AVERAGING = operations("average") - {"sum"}


class GapHead(NamedTuple):
    """Features entering the global average pooling, one weight row a class (None: each class has its own
    map already), and the outputs."""

    features: Float[Tensor, "N K h w"]
    weight: Float[Tensor, "C K"] | None
    outputs: Float[Tensor, "N C"]


def _no_cam(reason: str) -> None:
    raise ValueError(
        "CAM is defined for networks that end in global average pooling and one linear layer; here "
        f"{reason}. Use labkit.attribution.grad_cam, which needs neither."
    )


def _after_pooling(steps: list[Call]) -> tuple[list[Call], Call | None]:
    """The steps behind the global average pooling, and the linear layer among them; refuses other heads."""
    pooled, layer = False, None
    after: list[Call] = []
    for call in steps:
        if call.name in _AVERAGING and layer is None:
            pooled, after = True, []
        elif not pooled and call.name not in _PLAIN:
            break
        elif pooled and call.name in {"linear", *_CONVOLUTIONS} and layer is None:
            layer = call
            after.append(call)
        elif call.name not in _PLAIN | _PICKING:
            _no_cam(f"between the pooling and the scores there is {call.name}")
        else:
            after.append(call)
    if not pooled:
        into = steps[0].name if steps else "nothing"
        _no_cam(f"its last feature map goes into {into}, not into global average pooling")
    return after, layer


def _through(after: list[Call], pooled: Tensor) -> Tensor:
    """What the steps behind the pooling make of other pooled features (M, K)."""
    ndim = after[0].args[0].ndim if after else 2
    x = pooled.view(*pooled.shape, *(1,) * (ndim - 2))
    for call in after:
        if call.name in operations("reshape"):
            x = x.flatten(1)
        elif call.name not in _PLAIN:
            x = call.function(x, *call.args[1:], **call.options)
    return x.flatten(1)


def gap_head(model: nn.Module, images: Float[Tensor, "N C H W"]) -> GapHead:
    """The features and class weights of a network that ends in global average pooling and one linear layer.

    Networks that end conv -> ReLU -> pooling (SqueezeNet) have ``weight`` None. Features that are picked
    before the linear layer, or classes behind it, are reckoned with. Raises ValueError for every other head,
    for which CAM is not defined, and points to Grad-CAM.
    """
    raw, outputs, steps, axis = trace_head(model, images)
    if not isinstance(outputs, Tensor):
        _no_cam(f"the model gives a {type(outputs).__name__} (pass target=lambda outputs: outputs[0][:, 1])")
    features = raw if axis == 1 else raw.movedim(axis, 1)  # a view is not in the graph
    after, layer = _after_pooling(steps)
    with torch.no_grad():
        mean = features.flatten(2).mean(2)
        weight = None if layer is None else layer.get("weight", 1)
        bias = None if layer is None else layer.get("bias", 2)
        if any(call.name in _PICKING for call in after):
            one = torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
            bias = _through(after, 0 * one[:1])[0]
            picked = (_through(after, one) - bias).T
            same = one if weight is None else weight.flatten(1)
            if picked.shape != same.shape or not torch.allclose(picked, same, 1e-3, 1e-5):
                weight = picked
        elif weight is not None and weight.ndim > 2:
            weight = weight.flatten(1)
        wide = torch.promote_types(mean.dtype, outputs.dtype)
        parts = [mean] if weight is None else [weight] if bias is None else [weight, bias]
        mean, *parts = (t.to(wide) for t in (mean, *parts))
        found = mean if weight is None else torch.nn.functional.linear(mean, *parts)
        size = mean if weight is None else mean.abs() @ parts[0].abs().T
        close = max(torch.finfo(t.dtype).eps for t in (raw, outputs)) ** 0.5 * (
            size.max() + outputs.abs().max()
        )
        if found.shape != outputs.shape or ((found - outputs).abs() > close).any():
            _no_cam("the scores are not weighted means of the last feature map")
    return GapHead(features, weight, outputs)
