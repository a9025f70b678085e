"""What a model is made of: layer names, output shapes and receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_images
from labkit.core.door import own_copy
from labkit.core.hooks import borrow, record


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
