"""Saliency against linear models solved by hand, finite differences and Captum."""

from __future__ import annotations

import pytest
import torch
from awkward import build, pictures
from torch import Tensor, nn

from labkit.attribution import saliency, smooth_grad_result


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


class Brittle(nn.Module):
    """Class 0 as long as neighbouring pixels are alike: noise of .03 leaves it, noise of .15 does not."""

    def forward(self, x: Tensor) -> Tensor:
        rough = (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3))
        return torch.stack([12 - 150 * rough, 0 * rough], 1)


def slope() -> Tensor:
    return torch.linspace(0, 1, 32).expand(1, 3, 32, 32)


def test_noise_is_halved_until_the_model_knows_the_picture_again() -> None:
    model = Brittle().eval()
    # |difference| of two noisy neighbours: 1.13 sigma; 12 - 150 * 1.13 * sigma > 0 below .07
    found = smooth_grad_result(model, slope(), 0)
    assert found.noise.tolist() == pytest.approx([0.0375])
    assert found.whole > 0.99
    assert found.whole / 2 < found.left < found.whole
    given = smooth_grad_result(model, slope(), 0, noise=0.15)
    assert given.noise.tolist() == pytest.approx([0.15])
    assert given.left < 0.01
    same = smooth_grad_result(model, slope(), 0, noise=0.0375)
    assert torch.allclose(found.map, same.map)
    assert torch.allclose(found.left, same.left)


def test_each_picture_gets_its_own_noise_and_other_targets_keep_half_their_score() -> None:
    model, flat = Brittle().eval(), 0.2 + 0.1 * slope()  # a tenth of the range: a tenth of the noise
    both = smooth_grad_result(model, torch.cat([slope(), flat]), 0)
    assert both.noise.tolist() == pytest.approx([0.0375, 0.15])
    alone = smooth_grad_result(model, flat, torch.tensor([0]))
    assert torch.allclose(alone.map, both.map[1:], atol=1e-5)
    logit = smooth_grad_result(model, slope(), lambda out: out[:, 0])
    assert logit.whole > 7
    assert logit.left >= logit.whole / 2
    assert logit.noise < 0.15


def test_copies_in_batches_are_the_copies_one_by_one() -> None:
    model, images = build("inplace"), pictures("inplace", 3)
    one = smooth_grad_result(model, images, torch.tensor([0, 4, 2]), samples=7, batch_size=1)
    many = smooth_grad_result(model, images, torch.tensor([0, 4, 2]), samples=7, batch_size=10)
    assert torch.allclose(one.map, many.map, rtol=1e-4, atol=1e-7)
    assert torch.equal(one.noise, many.noise)
