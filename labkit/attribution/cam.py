"""Class activation maps: where the features that speak for a class lie."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_images
from labkit.core.door import derivative, finite, own_copy
from labkit.core.hooks import find_layer
from labkit.models import Target, Unit, borrow, gap_head, pick, record, scores
from labkit.models.layers import trace_head


def _enlarge(maps: Float[Tensor, "N h w"], side: Sequence[int]) -> Float[Tensor, "N H W"]:
    return F.interpolate(maps[:, None], size=tuple(side), mode="bilinear", align_corners=False)[:, 0]


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
    check_images(images)
    if callable(target) or isinstance(target, Unit):
        raise TypeError(
            "target must be a class index or a tensor of them: only a class has a row of weights."
        )
    with borrow(model), torch.no_grad():
        features, weight, outputs = gap_head(model, own_copy(model, images))
        pick(outputs, target)
        classes = torch.as_tensor(target, device=features.device).long().expand(len(features))
        if weight is None:
            maps = features[torch.arange(len(features)), classes]
        else:
            maps = torch.einsum("nkhw,nk->nhw", features, weight[classes])
        maps = finite(maps)
        return _enlarge(maps, images.shape[2:]) if upsample else maps


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
    check_images(images)
    with borrow(model):
        inputs = own_copy(model, images).requires_grad_(True).clone()
        if layer is not None:
            find_layer(model, layer)
            with record(model, layer) as kept:
                score = scores(model, inputs, target)
            features = kept[layer]
        elif isinstance(target, Unit):
            raise ValueError(
                "layer must be named where the target is a unit: pass a layer before the unit's own."
            )
        else:
            head = trace_head(model, inputs)
            features, score = head.features, pick(head.outputs, target)
        if not isinstance(features, Tensor) or features.ndim != 4:
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(
                f"layer must give a feature map (N, K, h, w); {layer!r} gives {got}. "
                "Name a layer before pooling and flattening."
            )
        none = (
            f"layer must have an influence on the target; {layer or 'the last feature map'!r} has none: "
            "it comes after the target, beside it, or a detach() lies between. Name an earlier layer."
        )
        gradient = derivative(score, features, none)
        maps = finite((gradient.mean((2, 3), keepdim=True) * features).sum(1))
        maps = maps.relu() if relu else maps
        return _enlarge(maps, images.shape[2:]) if upsample else maps
