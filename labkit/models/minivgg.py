"""The kit's own small networks: convolutions, batch norm and ReLU, global average pooling, a linear layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_channels

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
WIDTHS = (32, 48, 96, 96, 128, 160)


class MiniVGG(nn.Module):
    """Convolutions with batch norm and ReLU (the first with stride 2), poolings, GAP, a linear layer.

    Takes RGB in [0, 1], float (N, 3, H, W), sides divisible by 8 (128 where it was trained); returns logits
    (N, classes). Normalization lives inside. The last feature map, ``features.19`` after its ReLU, is an
    eighth of the picture's side: 16 x 16 at 128. With 12 classes it has 438,604 parameters. ``pools`` are the
    numbers of the convolutions (from 0) that a pooling follows: a third one makes the last map 8 x 8.
    ``widths`` has one entry a convolution; ``stem`` is the odd side of the first one's filters: 5 cannot show
    an edge's form, 11 can. ``norm``: False gives each convolution a bias in place of its batch norm;
    ``dropout``: the share of pooled features that training hides. Neither changes a layer's name. ``grey``:
    whether the network sees its pictures without their colours.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: int = 12,
        widths: Sequence[int] = WIDTHS,
        pools: Collection[int] = (1, 2),
        stem: int = 5,
        norm: bool = True,
        dropout: float = 0.0,
        grey: bool = False,
    ) -> None:
        super().__init__()
        self.grey = grey
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        layers: list[nn.Module] = []
        channels = 3
        for number, width in enumerate(widths):
            size = stem if number == 0 else 3
            stride = 2 if number == 0 else 1
            layers += [nn.Conv2d(channels, width, size, stride, size // 2, bias=not norm)]
            layers += [nn.BatchNorm2d(width) if norm else nn.Identity(), nn.ReLU()]
            if number in pools:
                layers += [nn.MaxPool2d(2)]
            channels = width
        self.features = nn.Sequential(*layers)
        pool = nn.AdaptiveAvgPool2d(1)
        self.pool = nn.Sequential(pool, nn.Dropout(dropout)) if dropout else pool
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C"]:
        check_channels(images, 3)
        if self.grey:
            images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        x = (images - self.mean) / self.std
        x = self.pool(self.features(x))
        return self.classifier(torch.flatten(x, 1))
