"""The references of notebook 22, held to answers known by hand and to the library's own methods."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from labkit.attribution import (
    deconvnet_result,
    guided_backprop_result,
    integrated_gradients_result,
    saliency,
)
from labkit.calls.recipes import deeper, linear
from labkit.exercises import find
from labkit.grading import check


def reference(name):
    return find(f"attribution.{name}").reference


def pictures(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "passed"),
    [("gradient", [0, 0, -5, 7]), ("deconvnet", [3, 0, 0, 7]), ("guided", [0, 0, 0, 7])],
)
def test_each_rule_at_four_relus_by_hand(rule, passed):
    x, gradient = torch.tensor([-1.0, 0.0, 2.0, 4.0]), torch.tensor([3.0, -2.0, -5.0, 7.0])
    assert reference("relu_backward")(x, gradient, rule).tolist() == passed


@pytest.mark.parametrize(
    ("rule", "result"), [("deconvnet", deconvnet_result), ("guided", guided_backprop_result)]
)
def test_the_rule_by_hand_through_one_layer_is_the_librarys(rule, result):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(27, 6), nn.ReLU(), nn.Linear(6, 2)).double().eval()
    x = pictures(2, 2, 3, 3, 3)
    with torch.no_grad():
        before = net[1](x.flatten(1))
        above = net[3].weight[1].expand(2, 6)
        own = reference("relu_backward")(before, above, rule) @ net[1].weight
    torch.testing.assert_close(own.view_as(x), result(net, x, 1).gradient)


def test_the_plain_rule_is_autograd():
    x, above = pictures(3, 4, 5).sub(0.5).requires_grad_(True), pictures(4, 4, 5) - 0.5
    slope = torch.autograd.grad(x.relu(), x, above)[0]
    torch.testing.assert_close(reference("relu_backward")(x.detach(), above, "gradient"), slope)


def test_a_walk_by_calculus_is_autograd_and_by_the_rule_the_librarys():
    net, x = deeper(seed=2), pictures(11, 2, 3, 8, 6)
    begin = torch.tensor([[0.0, 1.0, 0.0]] * 2).double()
    for rule, result in (("deconvnet", deconvnet_result), ("guided", guided_backprop_result)):
        walked = reference("walk_back")(net, x, begin, partial(reference("relu_backward"), rule=rule))
        torch.testing.assert_close(walked, result(net, x, 1).gradient)
    plain = reference("walk_back")(net, x, begin, partial(reference("relu_backward"), rule="gradient"))
    leaf = x.clone().requires_grad_(True)
    torch.testing.assert_close(plain, torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)[0])


def test_a_unit_is_asked_at_each_pictures_own_peak():
    answers = torch.tensor([[[[0.0, 9.0]], [[3.0, 1.0]]], [[[5.0, 5.0]], [[-2.0, -1.0]]]])
    begin = reference("ask_unit")(answers, 1)
    assert begin.tolist() == [[[[0, 0]], [[1, 0]]], [[[0, 0]], [[0, 1]]]]


def test_noise_changes_nothing_in_a_linear_network_and_none_is_the_gradient():
    x, noise = pictures(5, 2, 3, 4, 4), pictures(6, 7, 2, 3, 4, 4)
    net = linear(height=4, width=4, seed=3)
    weights = net[1].weight[2].view(3, 4, 4).detach()
    torch.testing.assert_close(reference("smooth_grad")(net, x, 2, noise), weights.expand(2, -1, -1, -1))
    bent, none = deeper(seed=4), torch.zeros(3, 2, 3, 8, 6).double()
    found = reference("smooth_grad")(bent, pictures(7, 2, 3, 8, 6), 1, none)
    torch.testing.assert_close(found.abs().amax(1), saliency(bent, pictures(7, 2, 3, 8, 6), 1))


def test_the_mean_over_a_bend_is_the_share_of_draws_on_its_slope():
    def bend(x):
        return x.flatten(1).relu()

    noise = torch.tensor([-2.0, -1.0, 1.0, 3.0]).view(4, 1, 1, 1, 1)
    assert reference("smooth_grad")(bend, torch.zeros(1, 1, 1, 1), 0, noise).item() == 0.5


def test_the_parts_of_a_saturated_score_add_up_where_its_gradient_is_zero():
    def saturates(x):
        return 1 - (1 - x.flatten(1)).relu()

    x = torch.full((1, 1, 1, 1), 2.0).double()
    assert torch.autograd.functional.jacobian(saturates, x).item() == 0
    found = reference("integrated_gradients")(saturates, x, torch.zeros_like(x), 0, 50)
    assert found.item() == pytest.approx(1, abs=1e-12)


def test_the_parts_add_up_and_are_the_librarys():
    net, x, start = deeper(seed=8), pictures(9, 2, 3, 8, 6), torch.zeros(2, 3, 8, 6).double()
    parts = reference("integrated_gradients")(net, x, start, 1, 2000)
    with torch.no_grad():
        way = (net(x) - net(start))[:, 1]
    torch.testing.assert_close(parts.sum((1, 2, 3)), way, rtol=0, atol=2e-3)  # a kink costs 1 / steps
    own = integrated_gradients_result(net, x, 1, baseline="black", steps=2048, tolerance=1e-9).values
    torch.testing.assert_close(parts, own, rtol=0, atol=2e-3)


def test_a_shift_is_undone_exactly_and_only_the_factor_notices():
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 2)).double()
    x, shift = pictures(10, 1, 3, 6, 6), torch.tensor([0.5, -1.0, 2.0]).double()
    seen = []
    for at in (x, x + shift[:, None, None]):
        p = at.clone().requires_grad_(True)
        score = net(p)[0, 1]
        slope = torch.autograd.grad(score, p)[0]
        seen.append((score.detach(), slope, slope * at))
        net[0].bias.data = reference("compensate")(net[0].weight.data, net[0].bias.data, shift)
    (score, slope, product), (score_2, slope_2, product_2) = seen
    torch.testing.assert_close(score, score_2)
    torch.testing.assert_close(slope, slope_2)
    torch.testing.assert_close(product_2 - product, slope * shift[:, None, None])


@pytest.mark.parametrize(
    ("name", "own", "hint"),
    [
        ("relu_backward", lambda x, g, rule: x * reference("relu_backward")(x, g, rule), "are not right"),
        ("relu_backward", lambda x, g, rule: g.relu() if rule == "deconvnet" else
            (g if rule == "gradient" else g.relu()) * x, "You multiply by x itself"),
        ("compensate", lambda w, b, shift: w.sum((2, 3)) @ shift, "Take that away from the bias"),
        ("compensate", lambda w, b, shift: -w.sum((2, 3)) @ shift, "The old bias is lost"),
    ],
)  # fmt: skip
def test_what_got_no_hint_gets_one(name, own, hint, capsys):
    exercise = find(f"attribution.{name}")
    assert check(exercise.id, own) < exercise.points
    assert hint in capsys.readouterr().out


def relu_by_autograd(x, gradient, rule):
    def passed(above):
        leaf = x.clone().requires_grad_(True)
        return torch.autograd.grad(leaf.relu(), leaf, above)[0]

    return {"gradient": passed, "deconvnet": torch.relu, "guided": lambda g: passed(g.relu())}[rule](gradient)


def smooth_at_once(model, images, target, noise):
    noisy = (images + noise).flatten(0, 1).requires_grad_(True)
    model(noisy)[:, target].sum().backward()
    for parameter in model.parameters():
        parameter.grad = None
    return noisy.grad.view_as(noise).mean(0)


def path_from_the_picture(model, images, baseline, target, steps):
    """The same points, walked the other way, in float32."""
    found = []
    for share in (torch.arange(steps) + 0.5) / steps:
        x = torch.lerp(images, baseline, share.to(images)).requires_grad_(True)
        found.append(torch.autograd.grad(model(x).sum(0)[target], x)[0])
    return (torch.stack(found).mean(0) * (images - baseline)).float()


class Bend(torch.autograd.Function):
    """A ReLU that walks back by a rule of one's own."""

    @staticmethod
    def forward(ctx, x, passes):
        ctx.save_for_backward(x)
        ctx.passes = passes
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.passes(ctx.saved_tensors[0], gradient), None


def walk_by_autograd(layers, images, gradient, passes):
    x = start = images.clone().requires_grad_(True)
    for layer in layers:
        x = Bend.apply(x, passes) if type(layer) is nn.ReLU else layer(x)
    return torch.autograd.grad(x, start, gradient)[0]


def walk_by_vjp(layers, images, gradient, passes):
    entered = [images]
    for layer in list(layers)[:-1]:
        entered.append(layer(entered[-1]).detach())
    for layer in reversed(layers):
        x = entered.pop()
        if isinstance(layer, nn.ReLU):
            gradient = passes(x, gradient)
        else:
            gradient = torch.func.vjp(layer, x)[1](gradient)[0]
    return gradient.detach()


def unit_at_once(answers, channel):
    peak = answers[:, channel].flatten(1).argmax(1)
    hot = nn.functional.one_hot(peak, answers[0, 0].numel()).view(len(answers), *answers.shape[2:])
    begin = 0 * answers
    begin[:, channel] = hot.to(answers)
    return begin


def bias_by_a_convolution(weight, bias, shift):
    colour = shift.view(1, -1, 1, 1).expand(1, -1, *weight.shape[2:])
    return bias - nn.functional.conv2d(colour, weight)[0, :, 0, 0]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("relu_backward", relu_by_autograd),
        ("walk_back", walk_by_autograd),
        ("walk_back", walk_by_vjp),
        ("ask_unit", unit_at_once),
        ("smooth_grad", smooth_at_once),
        ("integrated_gradients", path_from_the_picture),
        ("compensate", bias_by_a_convolution),
        ("compensate", lambda weight, bias, shift: bias - weight.sum((2, 3)) @ shift),
    ],
)
def test_another_right_way_of_writing_it_gets_all_points(name, own):
    exercise = find(f"attribution.{name}")
    assert check(exercise.id, own) == exercise.points
