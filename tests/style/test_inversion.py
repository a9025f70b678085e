"""Inversion: features that hold everything give the picture back, deeper ones less of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.data import MiniBroden
from labkit.models import load_model, record
from labkit.optimize import total_variation
from labkit.style import invert, invert_result
from labkit.style.inversion import alpha_norm


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
        ({"alpha": 0.5}, ValueError, "alpha is an exponent of at least 1"),
        ({"beta": 0}, ValueError, "beta must be"),
        ({"every": 0}, ValueError, "every must be"),
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


def test_a_layer_that_gives_no_tensor_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two = Two()

        def forward(self, x: Tensor) -> Tensor:
            return self.two(x)[0].mean((2, 3))

    with pytest.raises(ValueError, match="must give one tensor of numbers; 'two' gives tuple"):
        invert(Net().eval(), "two", torch.rand(1, 3, 8, 8), side=8, steps=1)


def test_the_loss_is_the_one_that_is_written() -> None:
    """At a rate of nothing the first loss is that of the start, with both priors."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    with torch.no_grad():
        goal = net(torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(3)))
    start: list[Tensor] = []
    given = {"side": 9, "alpha": 3.0, "beta": 1.5, "alpha_weight": 0.7, "tv_weight": 0.02}
    found = invert_result(
        net, "1", goal, steps=1, rate=1e-7, on_frame=lambda _, shown: start.append(shown), **given
    )
    away = ((net(start[0]) - goal) ** 2).sum() / (goal**2).sum()
    prior = 0.7 * alpha_norm(start[0], 3.0) + 2.0 * total_variation(start[0], 1.5) / (3 * 81)
    assert torch.allclose(found.losses, (away + prior).detach())


def test_a_layer_without_places_may_be_inverted_and_frames_are_told() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 6)).eval()
    seen: list[int] = []
    with torch.no_grad():
        goal = net(torch.rand(2, 3, 8, 8))
    found = invert_result(
        net, "1", goal, side=8, steps=30, every=10, on_frame=lambda step, _: seen.append(step)
    )
    assert seen == [1, 11, 21, 30]
    assert (found.error < 0.05).all()
