"""Class activation maps, CAM and Grad-CAM: where the features that speak for a class lie."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_feature_map
from labkit.core.door import NO_INFLUENCE, asked, derivative, finite
from labkit.core.hooks import find_layer
from labkit.core.targets import class_indices, is_class, reads_layers
from labkit.models import Target, gap_head, pick, record, scores
from labkit.models.dataflow import Flow
from labkit.models.heads import trace_head
from labkit.optimize.images import enlarge


def cam(
    model: nn.Module, images: Float[Tensor, "N C H W"], target: int | Tensor, *, upsample: bool = True
) -> Float[Tensor, "N H W"]:
    """The class's own map: the last features before global average pooling, weighted by the class's row.

    Signed. Unit: score; its mean over the feature map plus the class's bias is the logit. For networks that
    end conv -> ReLU -> pooling (SqueezeNet) it is the class's channel. ``upsample=False`` gives the map at
    the features' own size. Raises ValueError for a network without global average pooling
    and one linear layer (use ``grad_cam``), else as ``saliency``.

    Labels: post hoc, specific to networks with global average pooling, local.
    Source: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", section 2.

    >>> from labkit.models import load_model
    >>> cam(load_model("minivgg-random"), torch.full((1, 3, 64, 64), 0.5), 3).shape
    torch.Size([1, 64, 64])
    """
    if not is_class(target):
        raise TypeError(
            "target must be a class index or a tensor of them: only a class has a row of weights."
        )
    with asked(model, images) as inputs:
        features, weight, outputs = gap_head(model, inputs.requires_grad_(True))
        classes = class_indices(outputs, target)
        features = features.detach().to(inputs.dtype)
        if weight is None:
            maps = features[torch.arange(len(features)), classes]
        else:
            maps = torch.einsum("nkhw,nk->nhw", features, weight[classes].detach().to(features))
        maps = finite(maps)
        return enlarge(maps, images.shape[2:]) if upsample else maps


def grad_cam(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    layer: str | None = None,
    relu: bool = True,
    upsample: bool = True,
) -> Float[Tensor, "N H W"]:
    """Where the features of a layer raise the score: ReLU of the features weighted by their mean gradients.

    ``layer`` is a dotted name; by default the last spatial tensor before global pooling or flattening, found
    by tracing. ``relu=False`` keeps the sign, ``upsample=False`` the layer's own size; enlarged bilinearly.
    Unit: score per place of the feature map. On the tensor that enters global average pooling, ReLU(CAM) =
    h w Grad-CAM. Raises KeyError for a wrong layer name, ValueError for a layer without space or without
    influence on the target, else as ``saliency``.

    Labels: post hoc, specific to convolutional networks, local.
    Source: Selvaraju et al. 2017, "Grad-CAM", section 3.

    >>> from labkit.models import load_model
    >>> grad_cam(load_model("minivgg-random"), torch.full((1, 3, 64, 64), 0.5), 3).shape
    torch.Size([1, 64, 64])
    """
    with asked(model, images, frozen=False) as inputs:
        inputs = inputs.requires_grad_(True).clone()
        if layer is not None:
            find_layer(model, layer)
            with Flow(inputs) as flow, record(model, layer, cut=True) as kept:
                score = scores(model, inputs, target)
            features = check_feature_map(kept[layer], layer)
            axis = flow.axis_of_map(features, layer)
        elif reads_layers(target):
            raise ValueError(
                "layer must be named where the target is a unit: pass a layer before the unit's own."
            )
        else:
            features, outputs, _, axis = trace_head(model, inputs, target)
            score = pick(outputs, target)
        gradient = derivative(score, features, NO_INFLUENCE.format(repr(layer or "the last feature map")))
        gradient, features = (t.movedim(axis, 1).to(inputs.dtype) for t in (gradient, features))
        maps = finite((gradient.mean((2, 3), keepdim=True) * features).sum(1))
        maps = maps.relu() if relu else maps
        return enlarge(maps, images.shape[2:]) if upsample else maps
