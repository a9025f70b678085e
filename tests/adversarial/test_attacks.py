"""FGSM against what is known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.adversarial import fgsm
from labkit.data import MiniBroden
from labkit.models import load_model


def linear() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.linspace(-1, 1, 24).view(2, 12))
        net[1].weight[:, 4] = 0
    return net


def grey() -> Tensor:
    return torch.full((2, 3, 2, 2), 0.5, dtype=torch.float64)


def test_on_a_linear_network_the_step_is_the_weights_sign() -> None:
    net, images = linear(), grey()
    away = net[1].weight[1] - net[1].weight[0]
    moved = fgsm(net, images, torch.tensor([0, 1]), epsilon=0.1) - images
    sign = away.sign().view(3, 2, 2) * 0.1
    assert torch.allclose(moved[0], sign)
    assert torch.allclose(moved[1], -sign)
    assert moved[0].flatten()[4] == 0  # no gradient, no step
    assert torch.allclose(fgsm(net, images, 1, epsilon=0.1, targeted=True) - images, sign.expand(2, 3, 2, 2))


def test_the_picture_stays_a_picture_and_the_callers() -> None:
    net, images = linear(), torch.rand(3, 3, 2, 2, dtype=torch.float64)
    kept = images.clone()
    moved = fgsm(net, images, 0, epsilon=0.7)
    assert torch.equal(images, kept)
    assert 0 <= moved.min() <= moved.max() <= 1
    assert not moved.requires_grad
    assert torch.equal(fgsm(net, images, 0, epsilon=0.0), images)
    assert all(p.grad is None for p in net.parameters())


def test_a_saturated_network_is_attacked_too() -> None:
    net = linear()
    with torch.no_grad():
        net[1].weight.mul_(30)
    images = grey() + 0.2
    assert (fgsm(net, images, 1) != images).any()


def test_it_fools_the_bundled_network_and_noise_of_the_same_size_does_not() -> None:
    net, data = load_model("minivgg"), MiniBroden(24, "test")
    items = [data[i] for i in range(24)]
    images, labels = torch.stack([i["image"] for i in items]), torch.tensor([i["label"] for i in items])
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).sign() * 8 / 255

    def wrong(x: Tensor) -> int:
        with torch.no_grad():
            return int((net(x).argmax(1) != labels).sum())

    assert wrong(fgsm(net, images, labels)) >= 3 * max(1, wrong((images + noise).clamp(0, 1)))


@pytest.mark.parametrize(
    ("labels", "options", "error", "sentence"),
    [
        (0, {"epsilon": -0.1}, ValueError, "epsilon must be"),
        (0, {"epsilon": 8}, ValueError, "8 / 255"),
        (2, {}, IndexError, "labels must be a class index"),
        (torch.tensor([0]), {}, ValueError, "one class index a picture"),
        (torch.tensor([0.0, 1.0]), {}, ValueError, "int64"),
        ("horse", {}, TypeError, "class index"),
    ],
)
def test_bad_arguments_are_refused(labels, options: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        fgsm(linear(), grey(), labels, **options)


def test_a_network_without_class_scores_or_with_nan_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"as labels needs outputs of shape \(N, classes\); the model gives \(2, 2, "
    ):
        fgsm(nn.Sequential(nn.Conv2d(3, 2, 1)).double().eval(), grey(), 0)
    net = linear()
    with torch.no_grad():
        net[1].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="gradient must be finite"):
        fgsm(net, grey(), 0)
