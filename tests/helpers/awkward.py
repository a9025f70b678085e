"""A zoo of awkward models: small, random, each with one habit that breaks careless methods."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from functools import partial

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


class NarrowVGG(nn.Module):
    """VGG-11 an eighth as wide: linear layers behind a flattening, in-place ReLUs, dropout."""

    def __init__(self) -> None:
        from torchvision.models.vgg import make_layers

        super().__init__()
        self.features = make_layers([8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"])
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(64 * 49, 512), nn.ReLU(True), nn.Dropout(), nn.Linear(512, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def from_torchvision(name: str) -> nn.Module:
    """An architecture of torchvision, as narrow and shallow as keeps its habits."""
    from torchvision import models
    from torchvision.models.resnet import BasicBlock

    if name == "resnet":
        return models.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)
    if name == "densenet":
        return models.DenseNet(8, (2, 3, 2, 2), 16, num_classes=CLASSES)
    if name == "mobilenet":
        return models.MobileNetV2(CLASSES, width_mult=0.25)
    return models.SqueezeNet("1_1", CLASSES)


SMALL: dict[str, Callable[[], nn.Module]] = {
    "functional": Head, "inplace": Inplace, "eats its input": EatsItsInput, "reused relu": ReusedReLU,
    "relu6": ReLU6, "batch norm": BatchNorm, "one channel": OneChannel, "flattens": Flattens,
    "max pools": MaxPools, "class maps": ClassMaps, "gambler": Gambler, "counter": Counter, "dead": Dead,
    "frozen": frozen, "hooked": hooked, "float64": lambda: Head().double(), "transformer": transformer,
}  # fmt: skip
LARGE: dict[str, Callable[[], nn.Module]] = {"vgg": NarrowVGG} | {
    name: partial(from_torchvision, name) for name in ("squeezenet", "resnet", "densenet", "mobilenet")
}

# What of labkit.core.registry.NEEDS a model lacks.
LACKS = {
    "transformer": {"gap", "space", "relu"},
    "flattens": {"gap"},
    "max pools": {"gap"},
    "vgg": {"gap"},
    "one channel": {"colour"},
}
# A layer with a feature map, not at the end.
LAYER = {
    "transformer": "conv_proj", "vgg": "features.3", "squeezenet": "features.3", "resnet": "layer1",
    "densenet": "features.transition1", "mobilenet": "features.3",
}  # fmt: skip


def build(name: str) -> nn.Module:
    """The same random model of that name every time, in eval mode, made anew: for tests that change it."""
    with torch.random.fork_rng():
        torch.manual_seed(len(name))
        model = (SMALL | LARGE)[name]()
    return model.eval()


shared = functools.cache(build)  # made once: for tests that leave a model as it is


def layer_of(name: str) -> str:
    """A layer of that model with a feature map, before its end."""
    return LAYER.get(name, "conv1")


def pictures(name: str, n: int = 2, seed: int = 0) -> Tensor:
    side = 64 if name in LARGE else SIDE
    channels = 1 if name == "one channel" else 3
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, side, side, generator=generator)
