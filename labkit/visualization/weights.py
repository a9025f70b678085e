"""Weights as pictures: the filter grid of a convolution, in colour where its filters see colours."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_finite, check_positive
from labkit.core.hooks import borrow, find_layer
from labkit.core.registry import signature_of
from labkit.models import layer_names


class FilterGrid(NamedTuple):
    """``images`` (R, 3 or 1, h, w), 0 to 1: the filters in order, in colour where they see three channels;
    otherwise each filter's kernels one after the other in grey, ``columns`` a filter. ``channels``: how many
    input channels a filter has; ``extent`` (K,): each filter's largest absolute weight, which is white, less
    it black, and grey 0; ``title``: all this in words."""

    images: Float[Tensor, "R C h w"]
    columns: int
    channels: int
    extent: Float[Tensor, " K"]
    title: str


def filter_grid_result(
    model: nn.Module, layer: str, *, filters: int | None = None, kernels: int | None = 16
) -> FilterGrid:
    """``filter_grid`` with its layout and a title (see ``FilterGrid``). Options and errors as there.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 4, 3)).eval()
    >>> filter_grid_result(net, "1").title
    '1: 4 filters of 3 x 3 with 8 input channels each'
    """
    for name, count in {"filters": filters, "kernels": kernels}.items():
        if count is not None:
            check_positive(name, count)
    with borrow(model):
        found = find_layer(model, layer)[0]
        weight = getattr(found, "weight", None)
        if not isinstance(found, nn.Conv2d) or not isinstance(weight, Tensor) or weight.ndim != 4:
            modules = dict(model.named_modules())
            convolutions = [name for name in layer_names(model) if isinstance(modules[name], nn.Conv2d)]
            what = "has no weights" if weight is None else "has weights without places"
            raise ValueError(
                f"layer must be a convolution, whose weights are pictures; {layer!r} is "
                f"{type(found).__name__} and {what}. "
                + (f"The model's convolutions are {', '.join(convolutions[:4])}"
                   f"{', ...' if len(convolutions) > 4 else ''}." if convolutions
                   else "The model has no convolution.")
            )  # fmt: skip
        values = weight.detach().clone()
    check_finite("the layer's weights", values)
    total, channels, height, width = values.shape
    values = values[:filters]
    extent = values.flatten(1).abs().amax(1)
    shown = 0.5 + values / (2 * extent.clamp(min=torch.finfo(values.dtype).tiny)).view(-1, 1, 1, 1)
    columns, of = 1, "" if len(values) == total else f" (the first {len(values)})"
    if channels != 3:
        shown = shown[:, :kernels]
        columns = shown.shape[1]
        shown = shown.reshape(-1, 1, height, width)
    words = "in colour" if channels == 3 else f"with {channels} input channel{'s' * (channels != 1)} each"
    if columns < channels != 3:
        words += f", {columns} of them shown"
    title = f"{layer}: {total} filters{of} of {height} x {width} {words}"
    return FilterGrid(shown, columns, channels, extent, title)


@signature_of(filter_grid_result)
def filter_grid(*args: Any, **options: Any) -> Float[Tensor, "R C h w"]:
    """A convolution's weights as pictures: grey is 0, and each filter's largest weight is white or black.

    The first layer's filters see colours and are drawn so (R, 3, h, w). A filter of a higher layer has a
    kernel for each of its input channels, which are no colours: they are drawn in grey (R, 1, h, w), one
    after the other, and say little by themselves; ``title`` of the ``_result`` form tells how many there are.
    ``filters``, ``kernels``: how many filters, and of each how many kernels, are shown at most (None: all).
    Weights are those of the layer: a normalization of the picture before it is not worked in.
    Raises KeyError for a wrong layer, ValueError for one without weights that are pictures (a ReLU, a linear
    layer), RuntimeError for a model in training mode.

    Unit: the filter's own largest weight, 0.5 being 0. Labels: intrinsic, specific to convolutions, global.
    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
    Networks", figure 3.

    >>> filter_grid(nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU()).eval(), "0").shape
    torch.Size([8, 3, 5, 5])
    """
    return filter_grid_result(*args, **options).images
