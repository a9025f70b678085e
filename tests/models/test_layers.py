"""Layer names and shapes, and receptive fields against autograd."""

from __future__ import annotations

import pytest
import torch
from awkward import build, pictures
from torch import nn

from labkit.models import layer_names, layer_shapes, load_model, receptive_fields
from labkit.models.minivgg import MiniVGG


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


def test_shapes_leave_the_pictures_as_they_are() -> None:
    """Of a model that works in place, and of one in another precision."""
    for name in ("eats its input", "float64"):
        images = pictures(name)
        assert layer_shapes(build(name), images)["fc"] == (2, 5)
        assert torch.equal(images, pictures(name))


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
