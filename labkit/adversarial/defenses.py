"""Defences that hide gradients, and the adaptive attack's way around them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_positive

__all__ = ["HotSoftmax", "Quantized", "straight_through"]


def _dressed_as(model: nn.Module, inner: nn.Module) -> None:
    """Give a defended network what the kit's contract says of the one within."""
    for name in ("classes", "input_size", "layers", "card"):
        if hasattr(inner, name):
            object.__setattr__(model, name, getattr(inner, name))


class _StraightThrough(torch.autograd.Function):
    """Rounded to levels on the way in; backwards as if nothing had been done."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: int) -> Tensor:
        return (x * (levels - 1)).round() / (levels - 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


def straight_through(images: Float[Tensor, "N C H W"], levels: int) -> Float[Tensor, "N C H W"]:
    """Pictures rounded to ``levels`` values, whose gradient is that of the pictures before.

    Source: Bengio, Leonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic
    Neurons"; as an attack: Athalye, Carlini and Wagner 2018, "Obfuscated Gradients Give a False Sense of
    Security", section 4.1 (BPDA).

    >>> x = torch.tensor([[[[0.2, 0.9]]]], requires_grad=True)
    >>> straight_through(x, 2).sum().backward()
    >>> x.grad.flatten().tolist()
    [1.0, 1.0]
    """
    return _StraightThrough.apply(images, levels)


class Quantized(nn.Module):
    """A network behind pictures rounded to ``levels`` values: small changes vanish, and every gradient is 0.

    ``adaptive`` is the network as an attacker puts it up who knows: the rounding stays, its gradient is let
    through. Raises ValueError for fewer than two levels. Source: Xu, Evans and Qi 2018, "Feature Squeezing",
    section 3.1.

    >>> net = Quantized(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), levels=4).eval()
    >>> net(torch.rand(1, 3, 2, 2)).shape
    torch.Size([1, 2])
    """

    def __init__(self, model: nn.Module, levels: int = 8) -> None:
        super().__init__()
        check_positive("levels", levels)
        if levels < 2:
            raise ValueError(f"levels must be at least 2; got {levels}. Two are black and white.")
        self.inner, self.levels, self.through = model, levels, False
        _dressed_as(self, model)
        self.train(model.training)

    @property
    def adaptive(self) -> Quantized:
        """The same network, its gradient let through the rounding."""
        known = Quantized(self.inner, self.levels)
        known.through = True
        return known

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        if self.through:
            return self.inner(straight_through(images, self.levels))
        return self.inner((images * (self.levels - 1)).round() / (self.levels - 1))


class HotSoftmax(nn.Module):
    """A network whose scores are multiplied so far that its softmax is saturated: in float32 the loss of a
    right answer is exactly 0, and so is its gradient.

    The answers stay. ``adaptive`` is the network within, whose scores an attacker asks. Raises ValueError for
    a factor that is not above 0. Source: the distillation of Papernot et al. 2016, as taken apart by Carlini
    and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks", section 4.

    >>> net = HotSoftmax(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), factor=50).eval()
    >>> net(torch.rand(1, 3, 2, 2)).shape
    torch.Size([1, 2])
    """

    def __init__(self, model: nn.Module, factor: float = 100.0) -> None:
        super().__init__()
        if not factor > 0:
            raise ValueError(f"factor must be above 0; got {factor!r}.")
        self.inner, self.factor = model, float(factor)
        _dressed_as(self, model)
        self.train(model.training)

    @property
    def adaptive(self) -> nn.Module:
        """The network within."""
        return self.inner

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        return self.inner(images) * self.factor
