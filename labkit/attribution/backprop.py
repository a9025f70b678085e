"""Guided backpropagation, guided Grad-CAM and the deconvnet: a gradient with another rule at each ReLU."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.attribution.cam import grad_cam
from labkit.core.door import asked, derivative, finite
from labkit.core.targets import beginnings, reads_layers
from labkit.models import Target, pick, scores
from labkit.models.relu_rules import check_relus, relu_rule


class ModifiedGradient(NamedTuple):
    """``map`` (N, H, W), the largest absolute value over the colours, and the signed ``gradient``
    (N, C, H, W) it comes from: the picture that lectures show."""

    map: Float[Tensor, "N H W"]
    gradient: Float[Tensor, "N C H W"]


def _modified(model: nn.Module, images: Tensor, target: Target, guided: bool) -> ModifiedGradient:
    with asked(model, images) as inputs:
        inputs.requires_grad_(True)
        rules = relu_rule(guided)
        with rules:
            outputs = scores(model, inputs, target) if reads_layers(target) else model(inputs.clone())
        if reads_layers(target):
            tops, score = [outputs], outputs
        else:  # a callable's own steps are no part of the network
            score = pick(outputs, target)
            tops = [outputs] if isinstance(outputs, Tensor) else [t for t, _ in beginnings(outputs, target)]
        check_relus(tops, rules.state)
        gradient = derivative(score, inputs, grad=rules.grad)
        return ModifiedGradient(finite(gradient.abs().amax(1)), gradient.detach())


def guided_backprop_result(
    model: nn.Module, images: Float[Tensor, "N C H W"], target: Target
) -> ModifiedGradient:
    """``guided_backprop`` with the signed gradient in colour that the map is reduced from.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    >>> guided_backprop_result(net, torch.rand(1, 3, 2, 2), 0).gradient.shape
    torch.Size([1, 3, 2, 2])
    """
    return _modified(model, images, target, guided=True)


def deconvnet_result(model: nn.Module, images: Float[Tensor, "N C H W"], target: Target) -> ModifiedGradient:
    """``deconvnet`` with the signed projection in colour that the map is reduced from.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    >>> deconvnet_result(net, torch.rand(1, 3, 2, 2), 0).gradient.shape
    torch.Size([1, 3, 2, 2])
    """
    return _modified(model, images, target, guided=False)


def guided_backprop(
    model: nn.Module, images: Float[Tensor, "N C H W"], target: Target
) -> Float[Tensor, "N H W"]:
    """The gradient of the score when each ReLU lets only positive gradients of active units pass.

    Sharp, and hardly specific to the class: it shows which edges the network sees (see the sanity checks).
    A ReLU passes a gradient where its input and the gradient are positive; a ReLU6 or hardtanh(0, b) where
    the input lies between its two ends. ``nn.ReLU``, ``F.relu``, ``x.relu_()`` and a module used twice count
    alike. Without any ReLU it is the plain gradient. The map is the largest absolute value over the colours;
    ``guided_backprop_result`` has the signed one. Unit: score per picture value without a ReLU, else none
    that means anything, for the rule is no derivative. Raises ValueError for a model with steps that have no
    such rule (GELU, SiLU, leaky ReLU, clamp, sigmoid gates, attention), which some libraries pass over in
    silence, else as ``saliency``. Pooling, normalization, softmax and the steps of a callable target are
    differentiated as they are.

    Labels: post hoc, specific to ReLU networks, local.
    Source: Springenberg et al. 2015, "Striving for Simplicity", section 3.4. ReLU6 is our addition.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    >>> guided_backprop(net, torch.rand(1, 3, 2, 2), 0).shape
    torch.Size([1, 2, 2])
    """
    return guided_backprop_result(model, images, target).map


def deconvnet(model: nn.Module, images: Float[Tensor, "N C H W"], target: Target) -> Float[Tensor, "N H W"]:
    """The score projected back to the pixels, with a ReLU of the signal itself at each ReLU of the network.

    A ReLU (ReLU6) passes what is positive, whether the unit was active or not: apart from the switches of
    max pooling, the result does not depend on the picture. The map is the largest absolute value over the
    colours; ``deconvnet_result`` has the signed one. Unit: none that means anything. Errors as in
    ``guided_backprop``.

    Labels: post hoc, specific to ReLU networks, local.
    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 2.1. They
    start from one unit; here any target starts it with its own gradient.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    >>> deconvnet(net, torch.rand(1, 3, 2, 2), 0).shape
    torch.Size([1, 2, 2])
    """
    return deconvnet_result(model, images, target).map


def guided_grad_cam(
    model: nn.Module, images: Float[Tensor, "N C H W"], target: Target, *, layer: str | None = None
) -> Float[Tensor, "N H W"]:
    """Guided backpropagation's detail where Grad-CAM sees the class: the product of the two.

    ``layer`` is Grad-CAM's, by default the last feature map. The map is the largest absolute value over the
    colours. Unit: none that means anything (see ``guided_backprop``). Errors as in ``guided_backprop`` and
    ``grad_cam``.

    Labels: post hoc, specific to convolutional ReLU networks, local.
    Source: Selvaraju et al. 2017, "Grad-CAM", section 3.2.

    >>> from labkit.models import load_model
    >>> guided_grad_cam(load_model("minivgg-random"), torch.full((1, 3, 64, 64), 0.5), 3).shape
    torch.Size([1, 64, 64])
    """
    where = grad_cam(model, images, target, layer=layer)
    gradient = guided_backprop_result(model, images, target).gradient
    with torch.inference_mode(False):
        return finite((gradient * where[:, None]).abs().amax(1))
