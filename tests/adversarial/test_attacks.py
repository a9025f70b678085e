"""FGSM against what is known by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from labkit.adversarial import fgsm, fgsm_result, minimal_perturbation, pgd
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
    assert torch.allclose(fgsm(net, images, 0, epsilon=0.1, targeted=True) - images, -sign.expand(2, 3, 2, 2))


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
        (0, {"epsilon": 1.01}, ValueError, "0 to 1; got 1.01"),
        (2, {}, IndexError, "labels must be a class index"),
        (torch.tensor([0]), {}, ValueError, "one class index a picture"),
        (torch.tensor([0.0, 1.0]), {}, ValueError, "int64"),
        (0, {"step": 8}, ValueError, "step must be a step in picture values"),
        (
            0,
            {"start": torch.zeros(1, 3, 2, 2)},
            ValueError,
            "start must have the pictures' shape",
        ),
        (0, {"start": grey() * 3}, ValueError, r"start must lie within \[0, 1\]"),
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


class Curved(nn.Module):
    """The second score rises with the squared distance from grey: at grey there is no slope."""

    def forward(self, x: Tensor) -> Tensor:
        far = ((x - 0.5) ** 2).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(far), far], 1)


def test_a_start_is_where_the_gradient_is_taken_and_the_ball_is_the_picture_s() -> None:
    images = grey()
    start = images + 0.05 * torch.linspace(-1, 1, 12, dtype=torch.float64).view(1, 3, 2, 2)
    found = fgsm_result(Curved().eval(), images, 0, epsilon=0.1, start=start, step=0.02)
    sign = (start - 0.5).sign()
    assert torch.allclose(found.images, start + 0.02 * sign)
    assert torch.equal(found.gradient.sign(), sign)
    assert torch.allclose(found.moved, torch.tensor(0.07).double())
    far = fgsm(Curved().eval(), images, 0, epsilon=0.1, start=start, step=0.5)
    assert torch.allclose(far, images + 0.1 * sign)
    near = fgsm(Curved().eval(), images, 0, epsilon=0.1, start=start)
    assert torch.allclose(near, images + 0.1 * sign)


def test_iterated_it_goes_where_one_step_does_not() -> None:
    """Twenty steps of a fourth each stay in the ball and get at least as far as one."""
    net, data = load_model("minivgg-2"), MiniBroden(6, "test")
    items = [data[i] for i in range(6)]
    images, labels = torch.stack([i["image"] for i in items]), torch.tensor([i["label"] for i in items])
    shown = images
    for _ in range(6):
        shown = fgsm(net, images, labels, epsilon=4 / 255, start=shown, step=1 / 255)
    assert (shown - images).abs().max() <= 4 / 255 + 1e-6

    def loss(x: Tensor) -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(net(x), labels))

    assert loss(shown) > loss(fgsm(net, images, labels, epsilon=4 / 255)) > loss(images)


def test_a_gradient_of_exactly_zero_is_counted_and_said() -> None:
    images = torch.cat([grey()[:1], grey()[:1] + 0.1])
    with pytest.warns(UserWarning, match="exactly zero for 1 of 2 pictures, which did not move"):
        moved = fgsm(Curved().eval(), images, 0, epsilon=0.1)
    assert torch.equal(moved[0], images[0])
    found = fgsm_result(Curved().eval(), images, 0, epsilon=0.1)
    assert found.still.tolist() == [1.0, 0.0]
    assert found.moved.tolist() == pytest.approx([0.0, 0.1])
    half = fgsm_result(linear(), grey(), 1).still  # one value of a pixel has no slope
    assert half.tolist() == [0.0, 0.0]


def test_a_gradient_that_does_not_reach_the_picture_is_refused() -> None:
    class Rounds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)[:, :2]

    with pytest.raises(ValueError, match="no gradient reaches the picture. Remove detach"):
        fgsm(Rounds().eval(), grey(), 0)

    with pytest.raises(ValueError, match="labkit.adversarial.substitute learns a network like it"):
        fgsm(Rounds().eval(), grey(), 0)


def test_a_class_wanted_that_is_the_answer_is_refused_unless_a_start_is_given() -> None:
    net, images = linear(), grey()
    named = int(net(images).argmax(1)[0])
    with pytest.raises(
        ValueError,
        match=rf"for a targeted attack; 2 of 2 pictures are, first number 0, named {named}",
    ):
        fgsm(net, images, named, targeted=True)
    with pytest.raises(
        ValueError, match="1 of 2 pictures is, first number 1.*Want another class of it, or leave"
    ):
        fgsm(net, images, torch.tensor([1 - named, named]), targeted=True)
    fgsm(net, images, named, targeted=True, start=images, step=0.01)  # the loop goes on from where it is
    fgsm(net, images, named)  # not targeted, it is the class to be lost


def test_the_model_is_borrowed_and_training_mode_refused() -> None:
    net = linear()
    net[1].weight.grad = torch.ones_like(net[1].weight)
    fgsm(net, grey(), 0)
    assert net[1].weight.grad.eq(1).all()
    with pytest.raises(RuntimeError, match="eval mode"):
        fgsm(net.train(), grey(), 0)


def test_one_output_has_no_cross_entropy_and_the_cure_attacks_its_sigmoid() -> None:
    single = nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).double().eval()
    with pytest.raises(ValueError, match=r"at least two classes; the model gives \(2, 1\)"):
        fgsm(single, grey(), 0)

    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            out = single(x)
            return torch.cat([torch.zeros_like(out), out], 1)

    moved = fgsm(Both().eval(), grey(), 1, epsilon=0.1) - grey()
    assert torch.allclose(moved, -0.1 * single[1].weight[0].sign().view(3, 2, 2).expand(2, -1, -1, -1))


class Told(nn.Module):
    """A network that gives its scores in some other form."""

    def __init__(self, form: Callable) -> None:
        super().__init__()
        self.net, self.form = linear(), form

    def forward(self, x: torch.Tensor) -> object:
        return self.form(self.net(x))


@pytest.mark.parametrize(
    ("form", "got"),
    [
        (lambda scores: (scores, None), "tuple"),
        (lambda scores: {"hidden": 0, "logits": scores}, "dict"),
        (lambda scores: SimpleNamespace(logits=scores), "SimpleNamespace"),
        (lambda scores: scores[:, :, None, None].expand(-1, -1, 3, 3), r"\(2, 2, 3, 3\)"),
        (lambda scores: scores[:, 1], r"\(2,\)"),
    ],
)
@pytest.mark.parametrize("attack", [fgsm, pgd, minimal_perturbation])
def test_other_outputs_are_told_the_line_that_makes_scores_of_them(form, got, attack) -> None:
    model = Told(form).double().eval()
    with pytest.raises(ValueError, match=f"gives {got}\\. Wrap the model so that it returns") as told:
        attack(model, grey(), 0)
    exec(str(told.value).partition("alone: ")[2].removesuffix("."), {"model": model, "torch": torch})
    assert attack(model, grey(), 0).shape == grey().shape
    with pytest.raises(TypeError, match="class index, or a tensor of them .* got a callable. The loss is"):
        attack(Told(form).double().eval(), grey(), lambda outputs: outputs[0][:, 1])
