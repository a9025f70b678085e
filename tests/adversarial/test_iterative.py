"""PGD and the smallest perturbation against what is known by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from labkit.adversarial import (
    HotSoftmax,
    Quantized,
    fgsm,
    minimal_perturbation,
    minimal_perturbation_result,
    pgd,
    pgd_result,
)
from labkit.adversarial.defenses import straight_through
from labkit.adversarial.iterative import project


def linear() -> nn.Module:
    """Two classes; class 1 wins by the sum of (x - .5) times weights of which one is 0."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval()
    weights = torch.linspace(-1, 1, 12).double()
    weights[4] = 0
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([torch.zeros(12).double(), weights]))
        net[1].bias.copy_(torch.stack([torch.zeros(()).double(), -0.5 * weights.sum() - 0.3]))
    return net


def grey(count: int = 2) -> Tensor:
    return torch.full((count, 3, 2, 2), 0.5, dtype=torch.float64)


def test_on_a_linear_network_it_ends_in_the_corner_of_the_ball() -> None:
    net = linear()
    sign = net[1].weight[1].sign().view(1, 3, 2, 2)
    moved = pgd(net, grey(), torch.tensor([0, 1]), epsilon=0.1, steps=8)
    wanted = torch.cat([sign, -sign]) * 0.1
    flat = wanted != 0
    assert torch.allclose((moved - grey())[flat], wanted[flat])


def test_in_l2_it_goes_along_the_gradient() -> None:
    net = linear()
    weights = net[1].weight[1].view(1, 3, 2, 2)
    moved = pgd(net, grey(1), 0, epsilon=0.2, steps=8, norm="l2", random_start=False) - grey(1)
    assert torch.allclose(moved, 0.2 * weights / weights.norm(), atol=1e-9)


def test_targeted_it_lowers_the_loss_of_the_class_wanted() -> None:
    net = linear()
    found = pgd_result(net, grey(1), 1, epsilon=0.2, targeted=True)
    assert found.fooled.tolist() == [True]
    assert found.loss < nn.functional.cross_entropy(net(grey(1)), torch.tensor([1]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_projection_is_exact_and_the_nearest_point(norm: str) -> None:
    draw = torch.Generator().manual_seed(0)
    centre = torch.rand(4, 3, 5, 5, generator=draw, dtype=torch.float64)
    away = centre + torch.randn(centre.shape, generator=draw, dtype=torch.float64)
    radius = torch.tensor([0.0, 0.1, 0.3, 2.0]).double()
    back = project(away, centre, radius, norm)
    change = (back - centre).flatten(1)
    length = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert (length <= radius + 1e-12).all()
    assert 0 <= back.min() <= back.max() <= 1
    assert torch.equal(project(back, centre, radius + 1e-9, norm), back)
    free = centre * 0 + 0.5
    near = project(free + 0.01, free, 0.02 if norm == "linf" else 9.0, norm)
    assert torch.allclose(near, free + 0.01)


def test_a_pixel_without_a_gradient_keeps_its_value() -> None:
    moved = pgd(linear(), grey(1), 0, epsilon=0.1, random_start=False) - grey(1)
    assert moved.flatten()[4] == 0


def test_restarts_keep_what_fools_and_never_lose_to_one() -> None:
    net = Bumps().eval()
    images = grey(3)
    one = pgd_result(net, images, 0, epsilon=0.2, steps=5, random_start=False)
    four = pgd_result(net, images, 0, epsilon=0.2, steps=5, random_start=False, restarts=4)
    assert (four.loss >= one.loss).all()
    assert four.fooled.all()
    assert not one.fooled.any()


class Bumps(nn.Module):
    """Grey is a hollow: no gradient there, and class 1 a little off in either direction."""

    def forward(self, x: Tensor) -> Tensor:
        far = ((x - 0.5) ** 2).flatten(1).sum(1)
        return torch.stack([torch.full_like(far, 0.1), 3 * far], 1)


def test_a_gradient_of_exactly_zero_is_counted_and_said() -> None:
    with pytest.warns(UserWarning, match="exactly zero for 2 of 2 pictures in every step"):
        moved = pgd(Bumps().eval(), grey(), 0, random_start=False)
    assert torch.equal(moved, grey())


def test_the_smallest_perturbation_of_a_linear_network_is_its_distance_to_the_plane() -> None:
    net = linear()
    weights = net[1].weight[1]
    images = grey(2) + torch.tensor([0.0, 0.02]).double().view(2, 1, 1, 1)
    scores = net(images)
    distance = (scores[:, 1] - scores[:, 0]).abs() / weights.norm()
    named = scores.argmax(1)
    found = minimal_perturbation_result(net, images, named, most=1.0, halvings=16)
    assert torch.allclose(found.epsilon, distance.detach(), rtol=1e-3)
    assert found.fooled.all()
    sup = minimal_perturbation_result(net, images, named, most=1.0, halvings=16, norm="linf")
    assert torch.allclose(sup.epsilon, distance.detach() * weights.norm() / weights.abs().sum(), rtol=1e-3)


def test_what_is_misread_already_stays_and_what_is_not_fooled_is_said() -> None:
    net = linear()
    named = int(net(grey(1)).argmax(1))
    found = minimal_perturbation_result(net, grey(1), 1 - named)
    assert found.epsilon.tolist() == [0.0]
    assert torch.equal(found.images, grey(1))
    with pytest.warns(UserWarning, match="all but 1 of 1 pictures"):
        minimal_perturbation(net, grey(1), named, most=1e-3)
    assert math.isinf(float(minimal_perturbation_result(net, grey(1), named, most=1e-3).epsilon))


def test_stopped_it_hands_back_what_there_is() -> None:
    found = pgd_result(linear(), grey(), 0, should_stop=lambda: True)
    assert not found.complete
    assert (found.images - grey()).abs().max() <= 8 / 255 + 1e-9


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"epsilon": -0.1}, ValueError, "epsilon must be a step in picture values, 0 to 1"),
        ({"epsilon": 1.5}, ValueError, "0 to 1; got 1.5"),
        ({"epsilon": 8}, ValueError, "Eight grey levels are 8 / 255"),
        ({"epsilon": torch.tensor([0.1])}, ValueError, "one number or one a picture, 2; got 1"),
        ({"norm": "l1"}, ValueError, "norm must be one of"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"restarts": 0}, ValueError, "restarts must be"),
        ({"step": 3}, ValueError, "step must be a step"),
    ],
)
def test_bad_options_are_refused(options: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        pgd(linear(), grey(), 0, **options)


def test_a_class_wanted_that_is_the_answer_is_refused() -> None:
    net, images = linear(), grey()
    named = net(images).argmax(1)
    for attack in (pgd, minimal_perturbation):
        with pytest.raises(ValueError, match="classes that the network does not name already"):
            attack(net, images, named, targeted=True, steps=2)


def test_a_network_that_gives_no_gradient_is_sent_to_a_substitute() -> None:
    class Rounds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)[:, :2]

    for attack in (pgd, minimal_perturbation):
        with pytest.raises(ValueError, match="labkit.adversarial.substitute learns a network like it"):
            attack(Rounds().eval(), grey(), 0, steps=2)


def test_a_rounding_hides_the_gradient_and_straight_through_finds_it() -> None:
    net = linear()
    defended = Quantized(net, 4).eval()
    images = grey(1) * 0 + 0.49
    label = int(defended(images).argmax(1))
    assert pgd_result(defended, images, label, epsilon=0.1).still.tolist() == [1.0]
    known = pgd_result(defended.adaptive, images, label, epsilon=0.3)
    assert known.still < 1
    assert defended(known.images).argmax(1) != label
    x = torch.rand(1, 3, 2, 2, requires_grad=True)
    assert torch.equal(straight_through(x, 4), (x * 3).round() / 3)
    with pytest.raises(ValueError, match="levels must be at least 2"):
        Quantized(net, 1)


def test_a_hot_softmax_has_no_gradient_and_the_scores_within_do() -> None:
    net = linear().float()
    images = grey(1).float() + 0.2
    label = int(net(images).argmax(1))
    hot = HotSoftmax(net, 1e4).eval()
    assert pgd_result(hot, images, label, epsilon=0.01, steps=2).still.tolist() == [1.0]
    assert pgd_result(hot.adaptive, images, label, epsilon=0.01, steps=2).still < 1
    assert torch.equal(hot(images).argmax(1), net(images).argmax(1))
    with pytest.raises(ValueError, match="factor must be above 0"):
        HotSoftmax(net, 0)


def test_the_smallest_perturbation_of_a_batch_is_that_of_its_pictures_and_no_inference_tensor() -> None:
    net, images = linear(), grey(3) + torch.tensor([0.0, 0.02, -0.05]).double().view(3, 1, 1, 1)
    named = net(images).argmax(1)
    with torch.inference_mode():
        together = minimal_perturbation_result(net, images, named)
    assert not together.images.is_inference()
    assert not together.images.requires_grad
    for k in range(3):
        alone = minimal_perturbation_result(net, images[k : k + 1], named[k : k + 1])
        assert torch.allclose(alone.images[0], together.images[k])


@pytest.mark.parametrize("wrong", ["8/255", None, True])
def test_what_is_no_number_is_no_step(wrong) -> None:
    net, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval(), torch.full((1, 3, 2, 2), 0.5)
    for ask in (fgsm, pgd):
        with pytest.raises(ValueError, match=f"epsilon must be a step .* got {wrong!r}. Eight grey levels"):
            ask(net, images, 0, epsilon=wrong)


def test_the_largest_ball_is_named_as_it_is_given() -> None:
    net, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval(), torch.full((1, 3, 2, 2), 0.5)
    for norm, most in {"linf": 300, "l2": 2000}.items():
        with pytest.raises(ValueError, match=f"most must be a step in picture values, .* got {most}"):
            minimal_perturbation(net, images, 0, norm=norm, most=most)
