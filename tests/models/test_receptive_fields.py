"""Names and shapes of layers, and receptive fields against what autograd sees of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from awkward import build, pictures
from torch import Tensor, nn
from torchvision.models import ResNet, SqueezeNet, resnet18
from torchvision.models.resnet import BasicBlock

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


# ---- against autograd: weights are positive, averages stand for maxima, so that no slope is 0 by chance


def positive(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(
                    module,
                    name,
                    nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode),
                )
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.rand(p.shape, generator=generator) + 0.1)
            p /= p[0].numel()
    return model.double().eval()


def seen(model: nn.Module, layer: str, side: int, channel: int, row: int, column: int) -> tuple[int, ...]:
    """The box of the pixels that one unit's gradient reaches."""
    x = torch.rand(1, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x.requires_grad_(True)
    kept: list[Tensor] = []
    handle = dict(model.named_modules())[layer].register_forward_hook(
        lambda m, i, out: kept.append(out.clone())
    )
    model(x)
    handle.remove()
    (slope,) = torch.autograd.grad(kept[0][0, channel, row, column], x)
    rows, columns = (slope[0].abs().sum(0).sum(axis).nonzero()[:, 0] for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def within(box: tuple[int, ...], side: int) -> tuple[int, ...]:
    return (*(max(0, v) for v in box[:2]), *(min(side, v) for v in box[2:]))


class Strided(nn.Module):
    """Skips, a stride without padding, dilation, another step each way, a crop and a shorter branch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, (5, 3), (2, 1), (1, 2))
        self.wide, self.short = nn.Conv2d(4, 4, 3, 2, 2, dilation=2), nn.Conv2d(4, 4, 1, 2)
        self.low, self.high = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 3, 3, padding=1, groups=1)
        self.both, self.last = nn.Identity(), nn.Conv2d(5, 2, 3, padding=1)
        self.pool = nn.AvgPool2d(3, 2, 1, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = F.pad(self.wide(x), (1, 0, 0, 1))[:, :, :-1, 1:] + self.short(x)[:, :, : -(-x.shape[2] // 2)]
        x = self.both(torch.cat([self.low(x), self.high(x)], 1))
        return self.pool(self.last(x).transpose(2, 3).transpose(2, 3)).mean((2, 3))


NETS = {
    "minivgg": (lambda: MiniVGG(widths=(2, 2, 2, 2, 2, 2)), 64, ["features.0", "features.6", "features.17"]),
    "strided": (Strided, 43, ["first", "wide", "both", "last", "pool"]),
    "resnet": (
        lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2), 96,
        ["conv1", "layer1", "layer2.0.conv1", "layer3"],
    ),
    "squeezenet": (
        lambda: SqueezeNet("1_1", 2), 95, ["features.0", "features.3", "features.6", "features.9"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_every_unit_sees_what_autograd_sees(name: str) -> None:
    make, side, layers = NETS[name]
    model = positive(make())
    fields = receptive_fields(model, layers, side=side)
    assert list(fields) == layers
    for layer, field in fields.items():
        count, (h, w) = len(field.rows), (field.rows.shape[1], field.columns.shape[1])
        for channel in {0, count - 1}:
            for row, column in {(0, 0), (h // 2, w // 3), (h - 1, w - 1)}:
                box = within(field.box(row, column, channel), side)
                assert box == seen(model, layer, side, channel, row, column), (layer, channel, row, column)


def test_size_stride_and_start_of_resnet18() -> None:
    fields = receptive_fields(
        resnet18(weights=None).eval(), ["conv1", "maxpool", "layer1", "layer4", "avgpool"], side=224
    )
    found = {name: (field.size[0], field.stride[0], field.start[0]) for name, field in fields.items()}
    assert found == {  # as Araujo, Norris and Sim list them
        "conv1": (7, 2, -3), "maxpool": (11, 4, -5), "layer1": (43, 4, -21), "layer4": (435, 32, -217),
        "avgpool": (224, 32, 0),
    }  # fmt: skip


def test_a_unit_that_sees_everything_is_told_in_a_sentence() -> None:
    fields = receptive_fields(load_model("minivgg-random"), ["features.19", "pool", "classifier"])
    assert str(fields["features.19"]) == "a unit of 'features.19' sees 71 x 71 pixels, one every 8 pixels"
    assert fields["pool"].whole
    assert str(fields["classifier"]) == (
        "each unit of 'classifier' sees the whole picture of 128 x 128 (from adaptive_avg_pool2d on)"
    )
    tokens = receptive_fields(build("transformer"), ["conv_proj", "encoder.layers.encoder_layer_0"], side=32)
    assert tokens["conv_proj"].size == (8, 8)
    assert "sees the whole picture" in str(tokens["encoder.layers.encoder_layer_0"])


def test_all_layers_and_blocks_at_once() -> None:
    net = build("resnet")
    fields = receptive_fields(net, side=64)
    assert {"conv1", "layer1", "layer1.0", "layer4.0.bn2", "fc"} <= set(fields)
    assert fields["layer1"].size == fields["layer1.0"].size


@pytest.mark.parametrize("move", [
    lambda x: x.flip(3).flip(3), lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2), lambda x: torch.cat(x.chunk(2, 3), 3),
    lambda x: x.view(1, 3, 2, 4, 8).flatten(2, 3),
])  # fmt: skip
def test_what_moves_values_about_is_followed(move) -> None:
    class Moves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(move(x)).mean((2, 3))

    field = receptive_fields(Moves().eval(), ["conv"], side=8)["conv"]
    assert (field.size, field.stride, field.start) == ((3, 3), (1, 1), (-1, -1))


def test_channels_may_see_differently() -> None:
    field = receptive_fields(positive(SqueezeNet("1_1", 2)), ["features.3"], side=96)["features.3"]
    sizes = (field.rows[..., 1] - field.rows[..., 0])[:, 5]
    assert sizes[0] == 7
    assert sizes[-1] == field.size[0] == 15


def test_refusals() -> None:
    net = build("resnet")
    with pytest.raises(KeyError, match="nearest are 'layer1'"):
        receptive_fields(net, ["layer11"], side=64)
    with pytest.raises(ValueError, match="side must be given"):
        receptive_fields(net, ["layer1"])
    up = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ConvTranspose2d(2, 2, 2, 2), nn.ReLU()).eval()
    assert receptive_fields(up, ["0"], side=8)["0"].size == (3, 3)
    with pytest.raises(ValueError, match="'2' must have a receptive field .* behind conv_transpose2d"):
        receptive_fields(up, ["2"], side=8)
    turned = nn.Sequential(nn.Conv2d(3, 2, 3), Turned()).eval()
    with pytest.raises(ValueError, match="'1' must give a map that lies as the picture does"):
        receptive_fields(turned, ["1"], side=8)
    field = receptive_fields(net, ["layer1"], side=64)["layer1"]
    with pytest.raises(
        IndexError, match="row must be from 0 to 15; got 16. There are 16 rows in layer 'layer1'"
    ):
        field.box(16, 0)
    with pytest.raises(
        IndexError, match="channel must be from 0 to 63; got 64. There are 64 channels in layer"
    ):
        field.box(0, 0, 64)


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3)
