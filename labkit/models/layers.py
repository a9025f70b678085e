"""What a model is made of: layer names, output shapes, receptive fields, and where space ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_images
from labkit.core.door import own_copy
from labkit.core.hooks import borrow, record
from labkit.models.functions import Call, FunctionRules
from labkit.models.operations import operations


class ReceptiveField(NamedTuple):
    """In pixels: the side of the square a place sees, the step between places, the centre of place 0."""

    size: int
    stride: int
    center: float


def layer_names(model: nn.Module) -> list[str]:
    """The dotted names of all layers that hold no other layer, in the order they were defined."""
    return [name for name, module in model.named_modules() if name and not list(module.children())]


def layer_shapes(model: nn.Module, images: Float[Tensor, "N C H W"]) -> dict[str, tuple[int, ...]]:
    """Layer name -> shape of its output for these images, in execution order (layers that ran only)."""
    check_images(images)
    with borrow(model), torch.no_grad(), record(model, *layer_names(model)) as kept:
        model(own_copy(model, images))
    return {name: tuple(value.shape) for name, value in kept.items() if isinstance(value, Tensor)}


def _pair(value: int | Sequence[int]) -> int:
    sides = (value, value) if isinstance(value, int) else tuple(value)
    if len(set(sides)) != 1:
        raise ValueError(f"receptive fields need equal steps in both directions; got {sides}.")
    return int(sides[0])


def receptive_fields(features: nn.Sequential) -> dict[str, ReceptiveField]:
    """The receptive field after each layer of a plain stack of convolutions and poolings, by arithmetic.

    After Araujo, Norris and Sim (Distill 2019): size r += (k - 1) j, stride j *= s,
    centre += ((k - 1)/2 - p) j.
    Raises ValueError for a layer whose field is not known (branches, attention).

    >>> receptive_fields(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2)))["1"]
    ReceptiveField(size=4, stride=2, center=1.0)
    """
    size, stride, center = 1, 1, 0.5
    fields = {}
    for name, layer in features.named_children():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            sizes: tuple[Any, ...] = (layer.kernel_size, layer.stride, layer.padding)
            kernel, step, pad = map(_pair, sizes)
            kernel = (kernel - 1) * _pair(getattr(layer, "dilation", 1)) + 1
            size += (kernel - 1) * stride
            center += ((kernel - 1) / 2 - pad) * stride
            stride *= step
        elif not isinstance(layer, nn.ReLU | nn.ReLU6 | nn.BatchNorm2d | nn.Identity | nn.Dropout):
            raise ValueError(f"the receptive field of {type(layer).__name__} (layer {name!r}) is not known.")
        fields[name] = ReceptiveField(size, stride, center)
    return fields


class Head(NamedTuple):
    """The last spatial tensor (N, K, h, w), the outputs it leads to, and the functions called in between."""

    features: Float[Tensor, "N K h w"]
    outputs: Any
    steps: list[Call]


def _ends_space(call: Call, out: Tensor, batch: int) -> bool:
    """Whether a function turned a tensor with space into one without."""
    pooled = out.ndim == 4 and out.shape[2:] == (1, 1)
    if not (out.ndim == 2 or pooled) or out.shape[0] != batch or not call.args:
        return False
    x = call.args[0]
    if not (isinstance(x, Tensor) and x.ndim == 4 and x.shape[0] == batch and x.shape[2] * x.shape[3] > 1):
        return False
    return not pooled or out.numel() < x.numel()


def trace_head(model: nn.Module, images: Float[Tensor, "N C H W"]) -> Head:
    """Run the model once and find the last spatial tensor before global pooling or flattening, in the graph.

    Works on the level of torch's functions, so that modules, ``F.relu``, ``x.mean((2, 3))`` and reused layers
    are all seen. Raises ValueError for a model without such a tensor (a vision transformer).
    """
    features: list[Tensor] = []
    steps: list[Call] = []

    def watched(call: Call, _state: Any) -> Any:
        out = call.run()
        if isinstance(out, Tensor):
            if _ends_space(call, out, len(images)):
                features[:] = [call.args[0]]
                steps.clear()
            steps.append(call)
        return out

    with FunctionRules({}, watched, every=True):
        outputs = model(images)
    if not features:
        raise ValueError(
            "the model has no spatial feature map before its head (a vision transformer has tokens instead). "
            "Pass layer= with the dotted name of a layer that gives (N, C, H, W)."
        )
    return Head(features[0], outputs, [step for step in steps if step.args])


def last_spatial(model: nn.Module, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
    """The tensor that enters global pooling or flattening; see ``trace_head``."""
    return trace_head(model, images).features


# what may stand between the pooling and the scores
_HARMLESS = operations("reshape", "cast", "dropout") | {"get", "getitem"}


class GapHead(NamedTuple):
    """Features entering the global average pooling, one weight row a class (None: each class has its own
    map already), and the outputs."""

    features: Float[Tensor, "N K h w"]
    weight: Float[Tensor, "C K"] | None
    outputs: Float[Tensor, "N C"]


def gap_head(model: nn.Module, images: Float[Tensor, "N C H W"]) -> GapHead:
    """The features and class weights of a network that ends in global average pooling and one linear layer.

    Networks that end conv -> ReLU -> pooling (SqueezeNet) have ``weight`` None. Raises ValueError for every
    other head, for which CAM is not defined, and points to Grad-CAM.
    """
    features, outputs, steps = trace_head(model, images)
    weight, reason = None, None
    for number, call in enumerate(steps):
        if number == 0:
            averaged = call.name in operations("average") - {"sum"}
            reason = (
                None
                if averaged
                else f"its last feature map goes into {call.name}, not into global average pooling"
            )
        elif call.name == "linear" and weight is None:
            weight = call.get("weight", 1)
        elif call.name not in _HARMLESS:
            reason = f"between the pooling and the scores there is {call.name}"
        if reason:
            raise ValueError(
                f"CAM is defined for networks that end in global average pooling and one linear layer; here "
                f"{reason}. Use labkit.attribution.grad_cam, which needs neither."
            )
    return GapHead(features, weight, outputs)
