"""Layer names and shapes, receptive fields against autograd, and where space ends."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.models import gap_head, last_spatial, layer_names, layer_shapes, load_model, receptive_fields
from labkit.models.heads import trace_head
from labkit.models.minivgg import MiniVGG

X = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions, then whatever ``end`` does with the maps, then a linear layer."""

    def __init__(self, end: Callable[[Tensor], Tensor], width: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 3, padding=1)
        self.fc, self.end = nn.Linear(width, 3), end
        self.eval()

    def maps(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(x).relu()))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.end(self.maps(x)))


AVERAGES = {
    "mean": lambda m: m.mean((2, 3)),
    "mean over [-2, -1]": lambda m: torch.mean(m, dim=[-2, -1]),
    "adaptive": lambda m: F.adaptive_avg_pool2d(m, 1).flatten(1),
    "adaptive, squeezed": lambda m: F.adaptive_avg_pool2d(m, (1, 1))[:, :, 0, 0],
    "window": lambda m: F.avg_pool2d(m, 8).view(len(m), -1),
    "keepdim": lambda m: torch.flatten(m.mean((2, 3), keepdim=True), 1),
    "after a single number": lambda m: (m - 0 * m.max()).mean((2, 3)),
    "dropout": lambda m: F.dropout(F.adaptive_avg_pool2d(m, 1).squeeze(), 0.5, False),
}
OTHERS = {
    "flatten": (lambda m: m.flatten(1), 320),
    "view": (lambda m: m.view(len(m), -1), 320),
    "reshape": (lambda m: torch.reshape(m, (len(m), -1)), 320),
    "amax": (lambda m: m.amax((2, 3)), 5),
    "max pooling": (lambda m: F.adaptive_max_pool2d(m, 1).flatten(1), 5),
}


def test_names_and_shapes_in_the_order_they_run() -> None:
    net = load_model("minivgg-random")
    assert layer_names(net)[0] == "features.0"
    assert layer_names(net)[-2:] == ["pool", "classifier"]
    shapes = layer_shapes(net, torch.rand(2, 3, 64, 64))
    assert list(shapes) == layer_names(net)
    assert shapes["features.0"] == (2, 32, 32, 32)
    assert shapes["features.19"] == (2, 160, 8, 8)
    assert shapes["pool"] == (2, 160, 1, 1)
    assert shapes["classifier"] == (2, 12)
    with pytest.raises(ValueError, match=r"\[None\]"):
        layer_shapes(net, torch.rand(3, 64, 64))


def stack(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


STACKS = {
    "one": stack(nn.Conv2d(1, 2, 3)),
    "even window": stack(nn.Conv2d(1, 2, 4, 2, 1), nn.AvgPool2d(2), nn.ReLU()),
    "dilation": stack(nn.Conv2d(1, 2, 3, 1, 2, dilation=2), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 5, 3, 2)),
    "minivgg": MiniVGG(widths=(2, 2, 2, 2, 2, 2)).features,
}


def seen_by(features: nn.Sequential, name: str, side: int, channels: int) -> tuple[int, int, list[int]]:
    """First and last column that reach the middle place of a layer and its neighbour, by autograd.

    All weights are positive and max pooling becomes an average, so that no gradient is zero by chance.
    """
    layers = []
    for number, layer in features.named_children():
        if isinstance(layer, nn.Conv2d):
            layer = nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
                layer.dilation, bias=False,
            ).requires_grad_(False)  # fmt: skip
            layer.weight.fill_(1.0)
        elif isinstance(layer, nn.MaxPool2d):
            layer = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding)
        elif not isinstance(layer, nn.AvgPool2d):
            layer = nn.Identity()
        layers.append(layer)
        if number == name:
            break
    x = torch.ones(1, channels, side, side, requires_grad=True)
    out = nn.Sequential(*layers)(x)
    middle = out.shape[-1] // 2
    found = []
    for place in (middle, middle + 1):
        (slope,) = torch.autograd.grad(out[0, 0, middle, place], x, retain_graph=True)
        columns = slope[0].sum((0, 1)).nonzero()[:, 0]
        found.append([int(columns[0]), int(columns[-1])])
    return middle, found[1][0] - found[0][0], found[0]


@pytest.mark.parametrize("kind", STACKS)
def test_receptive_fields_are_what_autograd_sees(kind: str) -> None:
    features = STACKS[kind]
    channels = next(iter(features)).in_channels
    for name, field in receptive_fields(features).items():
        middle, step, (first, last) = seen_by(features, name, 160, channels)
        assert last - first + 1 == field.size, name
        assert step == field.stride, name
        assert (first + last + 1) / 2 == field.center + middle * field.stride, name


def test_what_has_no_plain_receptive_field_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear.*'0'.*not known"):
        receptive_fields(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(ValueError, match=r"equal steps.*\(3, 1\)"):
        receptive_fields(nn.Sequential(nn.Conv2d(3, 3, (3, 1))))


@pytest.mark.parametrize("end", [*AVERAGES, *OTHERS])
def test_the_last_spatial_tensor_is_found_in_the_graph(end: str) -> None:
    net = Net(AVERAGES[end]) if end in AVERAGES else Net(*OTHERS[end])
    head = trace_head(net, X)
    assert torch.equal(head.features, net.maps(X))
    assert torch.equal(head.outputs, net(X))
    assert torch.autograd.grad(head.outputs.sum(), head.features)[0].abs().sum() > 0
    assert torch.equal(last_spatial(net, X), head.features)


def test_a_traced_run_is_gone_with_its_head() -> None:
    """No circle keeps the activations until the next garbage collection."""
    gc.disable()
    try:
        head = trace_head(Net(AVERAGES["mean"]), X)
        gone = weakref.ref(head.features)
        del head
        assert gone() is None
    finally:
        gc.enable()


def test_a_pooling_within_a_gate_is_not_the_last() -> None:
    """Squeeze-and-excitation pools on the way; the maps after the gate are meant."""
    net = Net(lambda m: (m * torch.sigmoid(m.mean((2, 3), keepdim=True))).mean((2, 3)))
    maps = net.maps(X)
    gated = maps * torch.sigmoid(maps.mean((2, 3), keepdim=True))
    assert torch.equal(last_spatial(net, X), gated)
    assert gap_head(net, X).weight is net.fc.weight


@pytest.mark.parametrize("end", AVERAGES)
def test_gap_heads_give_the_logits_back(end: str) -> None:
    head = gap_head(Net(AVERAGES[end]), X)
    assert head.weight is not None
    logits = head.features.mean((2, 3)) @ head.weight.T + Net(AVERAGES[end]).fc.bias
    assert torch.allclose(logits, head.outputs, atol=1e-6)


@pytest.mark.parametrize("end", OTHERS)
def test_cam_is_not_defined_for_other_heads(end: str) -> None:
    with pytest.raises(ValueError, match="global average pooling and one linear layer.*grad_cam"):
        gap_head(Net(*OTHERS[end]), X)


def test_what_lies_between_pooling_and_scores_is_named() -> None:
    with pytest.raises(ValueError, match="between the pooling and the scores there is relu"):
        gap_head(Net(lambda m: F.relu(m.mean((2, 3)))), X)
    deep = nn.Sequential(Net(AVERAGES["mean"]), nn.Linear(3, 3)).eval()
    with pytest.raises(ValueError, match="between the pooling and the scores there is linear"):
        gap_head(deep, X)


def test_class_maps_have_no_weights_and_average_to_the_logits() -> None:
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    net = squeezenet1_1(weights=None, num_classes=6).eval()
    head = gap_head(net, torch.rand(2, 3, 64, 64))
    assert head.weight is None
    assert head.features.shape[1] == 6
    assert torch.allclose(head.features.mean((2, 3)), head.outputs, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet18", 512), ("densenet121", 1024), ("mobilenet_v2", 1280)]
)
def test_torchvision_heads(name: str, channels: int) -> None:
    from torchvision import models

    torch.manual_seed(0)
    net = models.get_model(name, weights=None, num_classes=4).eval()
    with torch.no_grad():
        head = gap_head(net, torch.rand(1, 3, 64, 64))
    last = net.fc if name == "resnet18" else net.classifier
    last = last if isinstance(last, nn.Linear) else last[-1]
    assert head.features.shape == (1, channels, 2, 2)
    assert head.features.min() >= 0, "the tensor after the last ReLU, not before it"
    assert head.weight is last.weight
    expected = head.features.mean((2, 3)) @ last.weight.T + last.bias
    assert torch.allclose(expected, head.outputs, atol=1e-5)


def test_a_network_without_space_is_refused_with_a_sentence() -> None:
    from torchvision.models import VisionTransformer

    net = VisionTransformer(16, 8, 1, 2, 16, 32, num_classes=3).eval()
    for find in (last_spatial, gap_head):
        with pytest.raises(ValueError, match="no spatial feature map.*vision transformer.*layer="):
            find(net, X)
