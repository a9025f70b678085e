"""Gradient x input, SmoothGrad and integrated gradients against what is known exactly."""

from __future__ import annotations

import copy

import pytest
import torch
from awkward import build, pictures
from torch import Tensor, nn

from labkit.attribution import gradient_x_input, integrated_gradients, saliency, smooth_grad
from labkit.attribution.path_gradients import integrated_gradients_result


def linear() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 4, 3)).double().eval()


def small(n: int = 2) -> Tensor:
    return torch.rand(n, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_on_a_linear_model_all_is_weight_times_picture() -> None:
    model, images = linear(), small()
    weight = model[1].weight[2].detach().view(3, 5, 4)
    expected = (weight * images).sum(1)
    assert torch.allclose(gradient_x_input(model, images, 2), expected)
    assert torch.allclose(integrated_gradients(model, images, 2), expected)
    away = (weight * (images - 0.5)).sum(1)
    assert torch.allclose(integrated_gradients(model, images, 2, baseline="grey"), away)
    assert torch.allclose(smooth_grad(model, images, 2, samples=3), weight.abs().amax(0).expand(2, -1, -1))


def test_smooth_grad_without_noise_is_saliency_and_with_it_is_the_mean_of_gradients() -> None:
    model, images = build("inplace"), pictures("inplace")
    assert torch.allclose(smooth_grad(model, images, 1, samples=2, noise=0.0), saliency(model, images, 1))
    generator = torch.Generator().manual_seed(5)
    drawn = smooth_grad(model, images, 1, samples=3, noise=0.2, generator=generator)
    generator = torch.Generator().manual_seed(5)
    total = torch.zeros_like(images)
    spread = 0.2 * (images.amax((1, 2, 3)) - images.amin((1, 2, 3))).view(-1, 1, 1, 1)
    for _ in range(3):
        noisy = images + spread * torch.randn(1, *images.shape[1:], generator=generator)
        noisy.requires_grad_(True)
        total += torch.autograd.grad(model(noisy)[:, 1].sum(), noisy)[0]
    assert torch.allclose(drawn, (total / 3).abs().amax(1), rtol=1e-4, atol=1e-8)


def test_the_seed_is_the_generators() -> None:
    model, images = build("inplace"), pictures("inplace")
    one, again = (smooth_grad(model, images, 1, samples=2) for _ in range(2))
    other = smooth_grad(model, images, 1, samples=2, generator=torch.Generator().manual_seed(9))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("name", ["functional", "relu6", "batch norm", "flattens", "squeezenet", "resnet"])
def test_integrated_gradients_sum_to_the_difference(name: str) -> None:
    model, images = build(name).double(), pictures(name).double()[..., :32, :32]
    done = integrated_gradients_result(model, images, torch.tensor([1, 3]), steps=8192)
    with torch.no_grad():
        outputs, empty = model(images.clone()), model(torch.zeros_like(images))
    difference = (outputs - empty)[[0, 1], [1, 3]]
    assert torch.allclose(done.difference, difference)
    spread = outputs.amax(1) - outputs.amin(1)
    assert done.met.all()
    missed = (done.map.sum((1, 2)) - difference).abs()
    assert (missed <= 1e-3 * torch.maximum(difference.abs(), 0.1 * spread) + 1e-12).all()
    assert torch.allclose(done.values.sum(1), done.map)


def test_more_steps_are_taken_only_where_they_are_needed() -> None:
    done = integrated_gradients_result(linear(), small(), 1)
    assert done.steps.tolist() == [8, 8]
    bent = build("functional")
    hard = integrated_gradients_result(bent, pictures("functional"), 1, tolerance=1e-6, steps=64)
    assert all(56 < count <= 64 for count in hard.steps.tolist())


class Bend(nn.Module):
    """The score rises by 1 within the first tenth of the way from black, and is flat from there on."""

    def forward(self, x: Tensor) -> Tensor:
        own = (10 * x.mean((1, 2, 3))).clamp(max=1)
        return torch.stack([own, torch.zeros_like(own)], 1)


def test_steps_go_where_the_score_bends() -> None:
    white = torch.ones(1, 3, 5, 4, dtype=torch.float64)
    done = integrated_gradients_result(Bend().eval(), white, 0, tolerance=1e-3)
    assert done.met.all()
    assert done.steps < 300  # equal steps would need a thousand
    assert torch.allclose(done.map, torch.full_like(done.map, 1 / 20), rtol=2e-3)


class Waves(nn.Module):
    """Up and down again: with 8 equal steps both are missed, and the sum is right by chance."""

    def forward(self, x: Tensor) -> Tensor:
        way = x.mean((1, 2, 3))
        wave = torch.sin(8 * torch.pi * way)
        own = 3 * way + wave * (way < 0.25) - wave * (way > 0.75)
        return torch.stack([own, torch.zeros_like(own)], 1)


def test_a_sum_that_is_right_by_chance_is_not_enough() -> None:
    white = torch.ones(1, 3, 5, 4, dtype=torch.float64)
    few = integrated_gradients_result(Waves().eval(), white, 0, steps=8)
    assert few.residual.abs() < 1e-9
    assert not few.met.any()
    assert integrated_gradients_result(Waves().eval(), white, 0).met.all()


def test_the_path_is_the_same_as_captums() -> None:
    captum = pytest.importorskip("captum.attr")
    model, images = build("inplace"), pictures("inplace")
    theirs = captum.IntegratedGradients(model).attribute(
        images, torch.zeros_like(images), target=1, n_steps=400, method="riemann_trapezoid"
    )
    ours = integrated_gradients_result(model, images, 1, steps=512, tolerance=1e-9).map
    assert torch.allclose(ours, theirs.sum(1), rtol=0.01, atol=0.01 * float(ours.abs().max()))


def test_a_map_that_misses_the_difference_says_so() -> None:
    with pytest.warns(RuntimeWarning, match=r"misses .* of a difference of .* after 8 steps"):
        integrated_gradients(build("functional"), pictures("functional"), 1, steps=8, tolerance=1e-9)


def test_a_shift_that_the_first_bias_undoes_moves_gradient_x_input_and_not_the_gradient() -> None:
    """Kindermans et al. 2017, section 2: an exact identity."""
    model = build("functional").double()
    images = pictures("functional").double() * 0.8
    shifted = copy.deepcopy(model)
    kernel = shifted.conv1.weight.data
    shifted.conv1.padding = model.conv1.padding = (
        0,
        0,
    )  # a shift is the same everywhere only without a frame
    shifted.conv1.bias.data -= 0.2 * kernel.sum((1, 2, 3))
    with torch.no_grad():
        assert torch.allclose(model(images), shifted(images + 0.2))
    assert torch.allclose(saliency(model, images, 1), saliency(shifted, images + 0.2, 1))
    before, after = gradient_x_input(model, images, 1), gradient_x_input(shifted, images + 0.2, 1)
    assert (before - after).abs().max() > 0.05 * before.abs().max()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"samples": 0}, "samples must be a whole number"),
        ({"noise": -0.1}, "noise must be a number of at least 0.*share"),
        ({"noise": float("nan")}, "noise must be a number of at least 0.*share"),
    ],
)
def test_smooth_grad_refuses(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        smooth_grad(linear(), small(), 0, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps must be a whole number"),
        ({"tolerance": 0.0}, "tolerance must be a number above 0"),
        ({"baseline": "pink"}, "fill must be one of"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_integrated_gradients_refuses(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        integrated_gradients(linear(), small(), 0, **options)


@pytest.mark.parametrize("method", [gradient_x_input, smooth_grad, integrated_gradients])
def test_a_target_without_a_gradient_is_refused(method) -> None:
    with pytest.raises(ValueError, match="no gradient reaches"):
        method(linear(), small(), lambda out: out[:, 0].detach())
