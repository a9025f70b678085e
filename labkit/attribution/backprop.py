"""Guided backpropagation and the deconvnet: a gradient with another rule at each ReLU, however written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from labkit.attribution.cam import grad_cam
from labkit.core.checks import check_images
from labkit.core.door import derivative, finite, own_copy
from labkit.models import Target, Unit, borrow, pick, scores


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# what autograd calls the functions that bend the signal and have no rule
BENDS = _names(
    """Abs Acos Asin Atan Celu Clamp ClampMax ClampMin Cos Elu Erf Exp Expm1 Gelu Glu Hardshrink Hardsigmoid
    Hardswish Hardtanh LeakyRelu Log Log10 Log1P Log2 LogSigmoid Mish Pow PreluKernel Reciprocal
    RreluWithNoise Rsqrt Sigmoid Silu Sin Softplus Softshrink Sqrt Tanh Threshold"""
)
PRODUCTS = _names("Addcdiv Addcmul Bmm Div Mm Mul Prod")
COMPARISONS = _names("ge greater greater_equal gt heaviside le less less_equal lt sign")


class ModifiedGradient(NamedTuple):
    """``map`` (N, H, W), the largest absolute value over the colours, and the signed ``gradient``
    (N, C, H, W) it comes from: the picture that lectures show."""

    map: Float[Tensor, "N H W"]
    gradient: Float[Tensor, "N C H W"]


class _Gate(torch.autograd.Function):
    """ReLU cut off at ``high``; backwards only what is positive, and if ``guided`` only where the input was
    within the sloping part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float, guided: bool) -> Tensor:
        ctx.save_for_backward((x > 0) & (x < high) if guided else None)
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (passes,) = ctx.saved_tensors
        positive = gradient.clamp(min=0)
        return positive if passes is None else positive * passes, None, None


def _refuse(what: str) -> NoReturn:
    raise ValueError(
        "the model must bend its signal by ReLU (or ReLU6) alone, for only that has a rule here; "
        f"got {what}. Use labkit.attribution.saliency or smooth_grad, which need no rule."
    )


class _Gates(TorchFunctionMode):
    """While a model runs, each ReLU of a tensor that depends on the picture is a ``_Gate``.

    Works on the level of functions, so that modules, ``F.relu``, ``x.relu_()`` and reused modules are alike.
    """

    def __init__(self, guided: bool) -> None:
        super().__init__()
        self.guided = guided

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        raw = getattr(func, "__name__", "").partition(".")[0]  # torch.ops name their overload after a dot
        name = raw.strip("_")
        x = args[0] if args else kwargs.get("input")
        if not isinstance(x, Tensor) or not x.requires_grad or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        if name in COMPARISONS and x.numel() > 1:
            _refuse(f"a gate made by hand from {name!r} of an activation (write it as torch.relu)")
        if name not in ("relu", "relu6", "hardtanh"):
            return func(*args, **kwargs)
        high = 6.0 if name == "relu6" else torch.inf
        if name == "hardtanh":
            low, high = (
                float(kwargs.get(key, args[at] if len(args) > at else preset))
                for at, key, preset in ((1, "min_val", -1.0), (2, "max_val", 1.0))
            )
            if low != 0:
                _refuse(f"hardtanh from {low:g} to {high:g}")
        out = _Gate.apply(x, high, self.guided)
        last = args[-1] if len(args) > 1 and isinstance(args[-1], bool) else False
        return x.copy_(out) if raw.endswith("_") or kwargs.get("inplace", last) else out


def _check_graph(outputs: Any) -> None:
    """Raise ValueError for steps between picture and outputs that have no rule, also where no Python function
    was called (scripted parts)."""
    start = outputs.grad_fn if isinstance(outputs, Tensor) else None
    waiting, seen = [start] if start is not None else [], {start}
    while waiting:
        node = waiting.pop()
        name = re.sub(r"Backward\d*$", "", node.name())
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if name == "Relu":
            _refuse("a ReLU out of reach in a scripted part")
        if name in BENDS or "Attention" in name or "Rnn" in name or "Graph" in name:
            _refuse(name)
        if name in PRODUCTS and (len(parents) > 1 or name == "Prod"):
            _refuse(f"{name} of two activations (a gate or attention)")
        if name in ("Maximum", "Minimum") and len(parents) == 1:
            _refuse(f"{name} of an activation and a constant (write a ReLU as torch.relu)")
        if isinstance(node, BackwardCFunction) and name not in (_Gate.__name__, "BackwardHookFunction"):
            _refuse(f"the model's own function {name}")
        waiting += [parent for parent in parents if parent not in seen]
        seen.update(parents)


def _modified(model: nn.Module, images: Tensor, target: Target, guided: bool) -> ModifiedGradient:
    check_images(images)
    with borrow(model):
        inputs = own_copy(model, images).requires_grad_(True)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.requires_grad_(False)  # so that what depends on the picture can be told
        with _Gates(guided):
            if isinstance(target, Unit):
                outputs = score = scores(model, inputs.clone(), target)
            else:
                outputs = model(inputs.clone())
        _check_graph(outputs)
        if not isinstance(target, Unit):
            score = pick(outputs, target)  # a callable's own steps are no part of the network
        gradient = derivative(score, inputs)
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
