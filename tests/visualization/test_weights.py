"""The filter grid: colours where filters see colours, kernels in grey elsewhere, a sentence for the rest."""

from __future__ import annotations

import pytest
import torch
from asking import given_back
from torch import nn

from labkit.models import load_model
from labkit.visualization import filter_grid, filter_grid_result


def test_a_first_layer_is_in_colour_and_grey_is_zero() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 5, bias=False)).eval()
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[0, 0, 1, 2] = -4.0
        net[0].weight[0, 2, 0, 0] = 2.0
    found = filter_grid_result(net, "0")
    assert found.images.shape == (2, 3, 5, 5)
    assert found.images[0, :, 1, 2].tolist() == [0.0, 0.5, 0.5]
    assert found.images[0, :, 0, 0].tolist() == [0.5, 0.5, 0.75]
    assert (found.images[1] == 0.5).all()
    assert found.extent.tolist() == [4.0, 0.0]
    assert found.title == "0: 2 filters of 5 x 5 in colour"


def test_a_higher_layer_tells_its_number_of_input_channels() -> None:
    net = load_model("minivgg")
    found = filter_grid_result(net, "features.3", filters=5, kernels=8)
    assert found.images.shape == (40, 1, 3, 3)
    assert (found.channels, found.columns) == (32, 8)
    assert found.title == (
        "features.3: 48 filters (the first 5) of 3 x 3 with 32 input channels each, 8 of them shown"
    )
    weight = net.features[3].weight.detach()
    own = 0.5 + weight[1, 2] / (2 * weight[1].abs().max())
    assert torch.equal(found.images[8 + 2, 0], own)
    assert filter_grid(net, "features.3", kernels=None).shape == (48 * 32, 1, 3, 3)


def test_the_network_is_given_back_and_the_pictures_are_no_view_of_it() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 5), nn.BatchNorm2d(2)).eval()
    with given_back(net):
        found = filter_grid(net, "0")
        found.zero_()
    assert not found.requires_grad


def test_one_channel_is_said_in_the_singular() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3)).eval()
    assert filter_grid_result(net, "0").title == "0: 2 filters of 3 x 3 with 1 input channel each"


@pytest.mark.parametrize(
    ("layer", "error", "sentence"),
    [
        ("features.2", ValueError, "'features.2' is ReLU and has no weights.*convolutions are features.0, "),
        ("features.1", ValueError, "is BatchNorm2d and has weights without places"),
        ("classifier", ValueError, "is Linear and has weights without places"),
        ("features.0.1", KeyError, "nearest"),
    ],
)
def test_layers_without_pictures_are_refused(layer: str, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        filter_grid(load_model("minivgg"), layer)


def test_other_bad_calls_are_refused() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    with pytest.raises(ValueError, match="The model has no convolution"):
        filter_grid(plain, "1")
    with pytest.raises(ValueError, match="filters must be"):
        filter_grid(load_model("minivgg"), "features.0", filters=0)
    with pytest.raises(RuntimeError, match="training mode"):
        filter_grid(nn.Sequential(nn.Conv2d(3, 2, 5)), "0")
    broken = nn.Sequential(nn.Conv2d(3, 2, 5)).eval()
    with torch.no_grad():
        broken[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="the layer's weights must be finite"):
        filter_grid(broken, "0")
