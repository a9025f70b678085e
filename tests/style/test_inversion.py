"""Inversion: features that hold everything give the picture back, deeper ones less of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.data import MiniBroden
from labkit.models import load_model, record
from labkit.style import invert, invert_result


def test_features_that_are_the_picture_give_the_picture_back() -> None:
    net = nn.Sequential(nn.Identity(), nn.Flatten()).eval()
    image = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    done = invert_result(net, "0", image, side=12, steps=300, alpha_weight=0.0, tv_weight=0.0)
    assert torch.allclose(done.images, image, atol=0.01)
    assert (done.error < 1e-4).all()
    assert done.complete


def test_a_deeper_layer_keeps_less() -> None:
    net, image = load_model("minivgg"), MiniBroden(4, "test")[0]["image"][None]
    away = []
    for layer in ("features.2", "features.19"):
        with torch.no_grad(), record(net, layer) as kept:
            net(image)
        done = invert_result(net, layer, kept[layer], steps=60)
        assert done.losses[-1] < 0.5 * done.losses[0]
        away.append(float((done.images - image).abs().mean()))
    assert away[0] < away[1]


def test_a_batch_is_its_pictures_and_the_seed_is_the_generators() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    with torch.no_grad():
        goal = net(torch.rand(2, 3, 10, 10))
    both = invert(net, "1", goal, side=10, steps=20)
    assert torch.allclose(both[1:], invert(net, "1", goal[1:], side=10, steps=20), atol=1e-4)
    other = invert(net, "1", goal, side=10, steps=20, generator=torch.Generator().manual_seed(5))
    assert not torch.allclose(both, other, atol=1e-4)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"side": None}, ValueError, "side must be given"),
        ({"side": 9}, ValueError, r"features must have the shape .*\(1, 4, 9, 9\); got \(1, 4, 8, 8\)"),
        ({"layer": "7"}, KeyError, "nearest"),
        ({"features": torch.full((1, 4, 8, 8), float("nan"))}, ValueError, "finite tensor"),
        ({"alpha_weight": -1.0}, ValueError, "alpha_weight must be"),
        ({"tv_weight": float("nan")}, ValueError, "tv_weight must be"),
        ({"channels": 0}, ValueError, "channels must be"),
        ({"side": 0}, ValueError, "side must be"),
    ],
)
def test_bad_arguments_are_refused(options: dict, error: type, sentence: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    given = {"layer": "1", "features": torch.rand(1, 4, 8, 8), "side": 8} | options
    with pytest.raises(error, match=sentence):
        invert(net, given.pop("layer"), given.pop("features"), steps=1, **given)


def test_features_that_no_gradient_of_the_picture_reaches_are_refused() -> None:
    class Cut(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    net = nn.Sequential(Cut(3, 4, 1), nn.ReLU()).eval()
    with pytest.raises(ValueError, match="no gradient of '1' reaches it"):
        invert(net, "1", torch.rand(1, 4, 8, 8), side=8, steps=2)
