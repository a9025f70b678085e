"""Guided backpropagation, guided Grad-CAM and the deconvnet: a gradient with another rule at each ReLU."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.attribution.cam import grad_cam
from labkit.core.door import asked, derivative, finite
from labkit.core.targets import beginnings, reads_layers
from labkit.models import Target, pick, scores
from labkit.models.functions import Call, FunctionRules, refusal, steps_between
from labkit.models.operations import operations

refuse = refusal(
    "bend its signal by ReLU (or ReLU6) alone, for only that has a rule here",
    "saliency or smooth_grad, which need no rule",
)


class ModifiedGradient(NamedTuple):
    """``map`` (N, H, W), the largest absolute value over the colours, and the signed ``gradient``
    (N, C, H, W) it comes from: the picture that lectures show."""

    map: Float[Tensor, "N H W"]
    gradient: Float[Tensor, "N C H W"]


class _Gate(torch.autograd.Function):
    """ReLU cut off at ``high``; backwards what is positive, whether the unit was active or not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float) -> Tensor:
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient.clamp(min=0), None


def _positive(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.clamp(min=0)


def _at_a_relu(call: Call, seen: set[Any], *, guided: bool) -> Tensor:
    low, high = 0.0, 6.0 if call.name == "relu6" else torch.inf
    if call.name == "hardtanh":
        low, high = float(call.get("min_val", 1, -1.0)), float(call.get("max_val", 2, 1.0))
    if low != 0:
        refuse(f"hardtanh from {low:g} to {high:g}")
    if not guided:
        return _Gate.apply(call.args[0], high)
    if call.into is None or not call.into._is_view():
        out = call.run()
    else:  # the gradient of a view that is written to goes by its base
        out = F.hardtanh(call.args[0].clone(), 0.0, high)
    out.register_hook(_positive)
    seen.add(out.grad_fn)
    return out


def _by_hand(call: Call, _state: Any) -> Any:
    if call.reached[0].numel() > 1:
        refuse(f"a gate made by hand from {call.name!r} of an activation (write it as torch.relu)")
    return call.run()


def relu_rule(guided: bool) -> FunctionRules:
    """While the block runs a model, each ReLU is guided backprop's (or else the deconvnet's). The ``state``
    is the set of the graph's nodes that are such ReLUs."""
    table = dict.fromkeys(operations("relu"), partial(_at_a_relu, guided=guided))
    return FunctionRules(table | dict.fromkeys(operations("comparison"), _by_hand), state=set())


BENDS, PRODUCTS = operations("relu", "bend", "gate"), operations("product")


def _check_graph(outputs: list[Tensor], relus: set[Any]) -> None:
    """Raise ValueError for steps between picture and outputs that have no rule, also where no Python function
    was called (scripted parts); ``relus`` are those that have."""
    for step in steps_between(outputs):
        if step.node in relus:
            continue
        if step.name == "relu":
            refuse("a ReLU out of reach in a scripted part")
        if step.name in BENDS or step.hides:
            refuse(step.title)
        if step.name in PRODUCTS and (len(step.parents) > 1 or step.name == "prod"):
            refuse(f"{step.title} of two activations (a gate or attention)")
        if step.name in ("maximum", "minimum") and len(step.parents) == 1:
            refuse(f"{step.title} of an activation and a constant (write a ReLU as torch.relu)")
        if step.is_own and step.title != _Gate.__name__:
            refuse(f"the model's own function {step.title}")


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
        _check_graph(tops, rules.state)
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
