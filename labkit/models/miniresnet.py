"""A small residual network on the plain one's contract, to compare architectures by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_channels
from labkit.models.minivgg import MEAN, STD

__all__ = ["MiniResNet", "Residual"]


class Residual(nn.Module):
    """ReLU(x' + norm(conv(ReLU(norm(conv(x)))))), where x' is x, or a 1 x 1 convolution of it to ``width``.

    He et al. 2016, the basic block of section 3.3. Takes (N, channels, h, w), gives (N, width, h, w); with
    ``stride`` 2 half as high and wide.

    >>> Residual(4, 6)(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 6, 8, 8])
    """

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)  # a block begins as its skip
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.skip = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N D i j"]:
        inner = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(inner + self.skip(x))


class MiniResNet(nn.Module):
    """A convolution with batch norm, ReLU and pooling, residual blocks, GAP, a linear layer.

    Takes RGB in [0, 1], float (N, 3, H, W), sides divisible by 8 (128 where it was trained); returns logits
    (N, classes). Normalization lives inside. ``widths``: of the stem and of each block; the second block has
    stride 2, so that the last feature map, ``features.7``, is an eighth of the picture's side.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classes: int = 12, widths: Sequence[int] = (32, 48, 80, 112, 112)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        first, *blocks = widths
        layers: list[nn.Module] = [nn.Conv2d(3, first, 5, 2, 2, bias=False), nn.BatchNorm2d(first), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
        channels = first
        for number, width in enumerate(blocks):
            layers += [Residual(channels, width, 2 if number == 1 else 1)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C"]:
        check_channels(images, 3)
        x = (images - self.mean) / self.std
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))
