"""A network small enough for a ladder of occlusions to take a blink, and pictures for it."""

import pytest
import torch


class Tiny(torch.nn.Module):
    """Conv, ReLU, pooling, linear; four classes, 32 px."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.conv = torch.nn.Conv2d(3, 6, 5, stride=2)
        self.head = torch.nn.Linear(6, 4)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
        self.classes = ["fire engine", "horse", "tree", "wolf"]
        self.input_size = 32
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.head(torch.relu(self.conv(x)).mean((2, 3))) * 4


@pytest.fixture
def tiny():
    return Tiny().eval()


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
