"""Builders of what exercises are judged on: tiny networks, a tensor to learn. Nothing here knows an answer.

Weights are drawn from ``seed``; ``dtype`` is "float64", in which results agree to many digits, or "float32".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from labkit.calls.probe import FAILS


def _draw(model: nn.Module, seed: int, dtype: str) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.6)
    return model.to(getattr(torch, dtype)).eval()


def linear(
    channels: int = 3,
    height: int = 4,
    width: int = 4,
    classes: int = 3,
    seed: int = 0,
    dtype: str = "float64",
) -> nn.Module:
    """One linear layer on the flattened picture: every answer can be worked out by hand."""
    return _draw(nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes)), seed, dtype)


def bends(
    channels: int = 3,
    hidden: int = 4,
    classes: int = 3,
    seed: int = 0,
    inplace: bool = False,
    dtype: str = "float64",
) -> nn.Module:
    """Convolution, ReLU, global average pooling, linear."""
    return _draw(
        nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.ReLU(inplace=inplace),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(hidden, classes),
        ),
        seed,
        dtype,
    )


def deeper(
    channels: int = 3, hidden: int = 4, classes: int = 3, seed: int = 0, dtype: str = "float64"
) -> nn.Module:
    """Convolution, ReLU, pooling, convolution, ReLU, and a linear layer on all places of an 8 x 6 picture."""
    return _draw(
        nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(hidden * 12, classes),
        ),
        seed,
        dtype,
    )


def largest(
    channels: int = 3,
    height: int = 4,
    width: int = 4,
    classes: int = 3,
    seed: int = 0,
    dtype: str = "float64",
) -> nn.Module:
    """One linear layer on the largest of every four pixels: the other three have no gradient."""
    sides = channels * (height // 2) * (width // 2)
    return _draw(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(sides, classes)), seed, dtype)


class Stumble(nn.Module):
    """Raises an error, as a network does that is given pictures of a wrong size."""

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError(FAILS)


def nested(
    channels: int = 3, hidden: int = 4, classes: int = 3, seed: int = 0, inplace: bool = False,
    stumbles: bool = False, dtype: str = "float64",
) -> nn.Module:  # fmt: skip
    """`bends` in blocks, so that layers have dotted names: "features.0" is the convolution."""
    first = nn.Sequential(nn.Conv2d(channels, hidden, 3, padding=1), nn.ReLU(inplace=inplace))
    last = Stumble() if stumbles else nn.Linear(hidden, classes)
    parts = {"features": first, "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "classifier": last}
    return _draw(nn.Sequential(OrderedDict(parts)), seed, dtype)


def learned(values: Tensor) -> Tensor:
    """A tensor that is to be learned: the case is answered by the result and its gradient by it."""
    return values.clone().requires_grad_(True)


def valley(floor: Tensor, steepness: Tensor) -> Callable[[Tensor], Tensor]:
    """A loss: squared distances from ``floor``, each times its ``steepness``, added up."""
    return lambda values: (steepness * (values - floor) ** 2).sum()


def hill(top: Tensor, steepness: Tensor) -> Callable[[Tensor], Tensor]:
    """A score of each picture of a batch: the higher the nearer to ``top``, some places steeper."""
    return lambda images: -(steepness * (images - top) ** 2).flatten(1).sum(1)


def softened(share: float) -> Callable[[Tensor], Tensor]:
    """A made-up blur: a share of each value is that of its neighbours to the left and right."""
    return lambda x: (1 - share) * x + share * (x.roll(1, 3) + x.roll(-1, 3)) / 2


def slopes() -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """A method of attribution: the score's slopes added up over the colours, and a little of the picture."""

    def method(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        x = images.detach().clone().requires_grad_()
        score = model(x)[torch.arange(len(x)), target].sum()
        return torch.autograd.grad(score, x)[0].sum(1) + 0.01 * images.mean(1)

    return method


def two_layers() -> Callable[[list[Tensor], Tensor], Tensor]:
    """A network as a function of its parameters and pictures: two linear layers with a ReLU between them."""

    def network(parameters: list[Tensor], images: Tensor) -> Tensor:
        first, bias, second, other = parameters
        return torch.relu(images.flatten(1) @ first.T + bias) @ second.T + other

    return network


def passing(seed: int = 0, dtype: str = "float64") -> Callable[[Tensor, Tensor], Tensor]:
    """A made-up rule of what a bend passes back, by what entered it and by the gradient from above.

    It opens a little below 0, and keeps the gradient's sign but not its size.
    """
    generator = torch.Generator().manual_seed(seed)
    opens, less = (0.2 + 0.3 * float(torch.rand((), generator=generator)) for _ in range(2))

    def passes(x: Tensor, gradient: Tensor) -> Tensor:
        return torch.where(gradient > 0, gradient, less * gradient) * (x > -opens)

    return passes


def by_size(seed: int = 0, dtype: str = "float64") -> Callable[[int, int], float]:
    """A made-up weight of a coalition by how many there are and how many take part, alike for both sides."""
    extra = 1 + float(torch.rand((), generator=torch.Generator().manual_seed(seed)))
    return lambda players, size: 0.2 + extra * (size - players / 2) ** 2 / players


def surprise() -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of scores and labels, one number a picture: the cross entropy, and a little of the scores."""

    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        rows = torch.arange(len(scores))
        return -scores.log_softmax(1)[rows, labels] + 0.05 * (scores**2).sum(1)

    return loss


def shoved(size: float = 0.2) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """A made-up attack: each picture goes ``size`` along its gradient, by its direction and not its sign."""

    def attack(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        x = images.detach().clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(x), labels, reduction="sum")
        slope = torch.autograd.grad(loss, x)[0]
        return images + size * slope / slope.abs().amax()

    return attack


def sure(
    channels: int = 3, height: int = 4, width: int = 4, classes: int = 3, seed: int = 0,
    dtype: str = "float64",
) -> nn.Module:  # fmt: skip
    """`linear` with weights a hundred times as large: its softmax is 1 for one class and 0 for the others."""
    network = linear(channels, height, width, classes, seed, dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(100)
    return network


def half_blind(
    channels: int = 3, height: int = 4, width: int = 4, classes: int = 3, seed: int = 0,
    dtype: str = "float64",
) -> nn.Module:  # fmt: skip
    """`linear` that does not see the right half of the picture: its weights there are exactly 0."""
    network = linear(channels, height, width, classes, seed, dtype)
    with torch.no_grad():
        network[1].weight.view(classes, channels, height, width)[..., width // 2 :] = 0  # type: ignore[index]
    return network


def gives_way(border: float) -> Callable[[float], bool]:
    """What an attack reports of one picture: whether a step of this size fools, from ``border`` on."""
    return lambda epsilon: float(epsilon) >= border
