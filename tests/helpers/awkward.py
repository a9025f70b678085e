"""A zoo of awkward models: small, random, each with one habit that breaks careless methods."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, CLASSES = 32, 5


class Head(nn.Module):
    """Two convolutions and a linear layer; the children below fill in what happens between them."""

    channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(self.channels, 6, 3, 2, 1)
        self.conv2 = nn.Conv2d(6, 8, 3, 2, 1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class Inplace(Head):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.relu(self.conv1(x))))
        return self.fc(self.pool(x).flatten(1))


class EatsItsInput(Head):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.5).mul_(2))


class ReusedReLU(Head):
    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv2(self.relu(self.conv1(x))))
        return self.fc(torch.flatten(self.pool(x), 1))


class ReLU6(Head):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.conv2(F.relu6(self.conv1(x * 20))))
        return self.fc(x.mean((2, 3)))


class BatchNorm(Head):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.norm(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


class OneChannel(Head):
    channels = 1


class Flattens(Head):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8 * (SIDE // 4) ** 2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(1))


class MaxPools(Head):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv2(F.relu(self.conv1(x)))).amax((2, 3)))


class ClassMaps(Head):
    """Ends conv -> ReLU -> pooling, as SqueezeNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(8, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.pool(F.relu(self.fc(x), inplace=True)).flatten(1)


class Gambler(Head):
    """Draws from all three global generators, also in eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        nothing = 0.0 * (torch.rand(()) + float(np.random.rand()) + random.random())
        return super().forward(x + nothing.to(x))


class Counter(Head):
    """Writes into a buffer at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Dead(Head):
    """Every unit of the last feature map is off: all maps are zero, which is legal."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))) - 1000)
        return self.fc(x.mean((2, 3)))


def frozen() -> nn.Module:
    return Head().requires_grad_(False)


def hooked() -> nn.Module:
    """With the user's own hooks and gradients, which belong to the user."""
    model = Head()
    model.conv1.register_forward_hook(lambda *_: None)
    model.register_forward_pre_hook(lambda *_: None)
    model.conv2.register_full_backward_hook(lambda *_: None)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    return model


def transformer() -> nn.Module:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(SIDE, 8, 2, 2, 16, 32, num_classes=CLASSES)
    nn.init.normal_(model.heads.head.weight)  # torchvision starts it at zero, and so every map
    return model


def from_torchvision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models

        options = {"init_weights": False} if name.startswith(("vgg", "densenet_")) else {}
        return models.get_model(name, weights=None, num_classes=CLASSES, **options)

    return make


SMALL: dict[str, Callable[[], nn.Module]] = {
    "functional": Head, "inplace": Inplace, "eats its input": EatsItsInput, "reused relu": ReusedReLU,
    "relu6": ReLU6, "batch norm": BatchNorm, "one channel": OneChannel, "flattens": Flattens,
    "max pools": MaxPools, "class maps": ClassMaps, "gambler": Gambler, "counter": Counter, "dead": Dead,
    "frozen": frozen, "hooked": hooked, "float64": lambda: Head().double(), "transformer": transformer,
}  # fmt: skip
LARGE = {
    n: from_torchvision(n) for n in ("squeezenet1_1", "resnet18", "vgg11", "densenet121", "mobilenet_v2")
}

NO_SPACE = {"transformer"}
NO_GAP = {"transformer", "flattens", "max pools", "vgg11"}


def build(name: str) -> nn.Module:
    """The same random model of that name every time, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(len(name))
        model = (SMALL | LARGE)[name]()
    return model.eval()


def pictures(name: str, n: int = 2, seed: int = 0) -> Tensor:
    side = 64 if name in LARGE else SIDE
    channels = 1 if name == "one channel" else 3
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, side, side, generator=generator)
