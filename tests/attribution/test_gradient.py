"""Saliency against linear models solved by hand, finite differences and Captum."""

from __future__ import annotations

import pytest
import torch
from awkward import build, pictures
from torch import Tensor, nn

from labkit.attribution import saliency


def linear(classes: int = 3, side: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes)).double().eval()


def test_of_a_linear_model_it_is_the_largest_weight() -> None:
    model = linear()
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    weights = model[1].weight.detach().view(3, 3, 4, 4)
    maps = saliency(model, images, torch.tensor([2, 0]))
    assert torch.allclose(maps[0], weights[2].abs().amax(0))
    assert torch.allclose(maps[1], weights[0].abs().amax(0))
    assert (weights[2].abs().amax(0) > weights[2].abs().mean(0) * 1.01).all()  # max, not mean, and it shows


def test_it_is_the_score_before_the_softmax() -> None:
    model = linear()
    with torch.no_grad():
        model[1].weight *= 1e6  # the probability is saturated: its gradient is exactly 0
    images = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    top = int(model(images).argmax())
    assert not saliency(model, images, lambda out: out.softmax(1)[:, top]).any()
    assert saliency(model, images, top).min() > 0


def test_equals_finite_differences() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 4, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    model = model.double().eval()
    image = torch.rand(1, 3, 6, 6, dtype=torch.float64) * 0.8 + 0.1
    slopes = torch.zeros(108, dtype=torch.float64)
    with torch.no_grad():
        for i in range(108):
            step = torch.zeros(108, dtype=torch.float64)
            step[i] = 1e-6
            step = step.view_as(image)
            slopes[i] = (model(image + step) - model(image - step))[0, 1] / 2e-6
    expected = slopes.view(3, 6, 6).abs().amax(0)
    assert torch.allclose(saliency(model, image, 1)[0], expected, atol=1e-7)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["functional", "batch norm", "class maps", "transformer"])
def test_agrees_with_captum(name: str) -> None:
    captum = pytest.importorskip("captum.attr")
    model, images = build(name), pictures(name, 3)
    targets = torch.tensor([0, 4, 2])
    expected = captum.Saliency(model).attribute(images.clone(), target=targets, abs=True).amax(1)
    maps = saliency(model, images, targets)
    assert torch.allclose(maps, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


def test_a_constant_score_gives_an_all_zero_map() -> None:
    maps = saliency(build("functional"), torch.rand(2, 3, 32, 32), lambda out: 0 * out[:, 0])
    assert maps.shape == (2, 32, 32)
    assert not maps.any()


def without_gradient(out: Tensor) -> Tensor:
    return out[:, 0].detach()


@pytest.mark.parametrize("target", [without_gradient, lambda out: torch.ones(len(out), requires_grad=True)])
def test_refuses_a_score_that_no_gradient_reaches(target) -> None:
    with pytest.raises(ValueError, match=r"differentiated.*occlusion"):
        saliency(build("functional"), torch.rand(2, 3, 32, 32), target)
