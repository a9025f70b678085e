"""Activations: the activation grid, what every channel of a layer says of a picture."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_feature_map, check_finite
from labkit.core.door import asked
from labkit.core.hooks import find_layer, record
from labkit.models.dataflow import Flow

__all__ = ["activation_grid", "loudest"]


def activation_grid(
    model: nn.Module, images: Float[Tensor, "N C H W"], layer: str
) -> Float[Tensor, "N K h w"]:
    """What all channels of a layer give for pictures: a small map a channel, to be drawn side by side.

    Channels stand in front, also of a layer that has them last. Nothing is rescaled;
    ``labkit.plots.show_channels`` draws a picture's channels on one scale, or each on its own.

    Unit: the layer's activation. Raises KeyError for a wrong layer, with the nearest right ones; ValueError
    for a layer that gives no map of the picture and for activations that are not finite; RuntimeError for a
    training mode.

    Labels: post hoc, specific to networks with feature maps, local.
    Source: Yosinski et al. 2015, "Understanding Neural Networks Through Deep Visualization", section 2.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> activation_grid(net, torch.rand(2, 3, 8, 8), "1").shape
    torch.Size([2, 4, 6, 6])
    """
    with asked(model, images) as inputs, torch.no_grad():
        find_layer(model, layer)
        with Flow(inputs) as flow, record(model, layer) as kept:
            model(inputs)
        features = check_feature_map(kept[layer], layer)
        found = features.movedim(flow.axis_of_map(features, layer), 1)
        check_finite(f"the activations of {layer!r}", found)
        return found.detach().contiguous()


def loudest(activations: Float[Tensor, "K h w"], count: int | None = None) -> list[int]:
    """The channels of one picture by their largest value, the loudest first: which to look at.

    ``count``: how many; None for all. Raises ValueError for another shape.

    >>> loudest(torch.tensor([[[1.0]], [[3.0]], [[2.0]]]), 2)
    [1, 2]
    """
    if activations.ndim != 3:
        raise ValueError(
            f"activations must be one picture's, (K, h, w); got {tuple(activations.shape)}. "
            "Take one: activation_grid(model, images, layer)[0]."
        )
    order = activations.flatten(1).amax(1).argsort(dim=0, descending=True, stable=True)
    return order[:count].tolist()
