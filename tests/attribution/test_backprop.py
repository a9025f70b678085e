"""Guided backpropagation and the deconvnet: by hand, formula, Captum, each way to write a ReLU, refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from awkward import LARGE, SMALL, build, pictures
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from labkit.attribution import (
    deconvnet,
    deconvnet_result,
    grad_cam,
    guided_backprop,
    guided_backprop_result,
    guided_grad_cam,
    saliency,
)
from labkit.models import unit

RULES = {"guided": guided_backprop_result, "deconvnet": deconvnet_result}


class Calls(nn.Module):
    """A module that is one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def network(first: nn.Module, second: nn.Module) -> nn.Sequential:
    """Two convolutions with what is given after each, and a linear layer; the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), first, nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), second, nn.Flatten(),
            nn.Linear(6 * 25, 4),
        ).double().eval()  # fmt: skip


def images() -> Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()


def test_by_hand() -> None:
    """One pixel, three hidden units: an active one, an inactive one, an active one with a negative weight."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3, 1)).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 2, -3], [4, 5, 6], [7, 8, 9]])[..., None, None])
        net[0].bias.copy_(torch.tensor([3.0, -100, 0]))
        net[3].weight.copy_(torch.tensor([[10.0, 1, -1]]))
    picture = torch.full((1, 3, 1, 1), 0.5)
    guided, projected = guided_backprop_result(net, picture, 0), deconvnet_result(net, picture, 0)
    assert guided.gradient.flatten().tolist() == [10, 20, -30]
    assert guided.map.item() == 30
    assert projected.gradient.flatten().tolist() == [14, 25, -24]
    assert projected.map.item() == 25
    assert saliency(net, picture, 0).item() == 39  # -30 - 9: the plain gradient lets the negative pass


@pytest.mark.parametrize("rule", RULES)
def test_by_the_formula(rule: str) -> None:
    net, x = network(nn.ReLU(), nn.ReLU()), images()
    with torch.no_grad():
        before_first = net[0](x)
        pooled, places = F.max_pool2d(before_first.relu(), 2, return_indices=True)
        before_second = net[3](pooled)
        signal = net[6].weight[2].expand(3, -1).view_as(before_second).relu()
        signal = signal * (before_second > 0) if rule == "guided" else signal
        signal = F.conv_transpose2d(signal, net[3].weight)
        signal = F.max_unpool2d(signal, places, 2, output_size=before_first.shape[2:]).relu()
        signal = signal * (before_first > 0) if rule == "guided" else signal
        expected = F.conv_transpose2d(signal, net[0].weight)
    done = RULES[rule](net, x, 2)
    assert expected.abs().max() > 0
    assert torch.allclose(done.gradient, expected, rtol=1e-10, atol=1e-14)
    assert torch.equal(done.map, done.gradient.abs().amax(1))


TWICE = nn.ReLU()
WAYS = {
    "module": (nn.ReLU(), nn.ReLU()),
    "one module twice": (TWICE, TWICE),
    "in place": (nn.ReLU(inplace=True), nn.ReLU(inplace=True)),
    "F.relu": (Calls(F.relu), Calls(lambda x: F.relu(x, inplace=True))),
    "by position": (Calls(lambda x: F.relu(x, True)), Calls(lambda x: F.relu(input=x))),
    "torch.relu": (Calls(torch.relu), Calls(torch.relu_)),
    "method": (Calls(lambda x: x.relu()), Calls(lambda x: x.relu_())),
    "F.relu_": (Calls(F.relu_), Calls(lambda x: F.hardtanh(x, 0, float("inf")))),
    "torch.ops": (Calls(torch.ops.aten.relu), Calls(torch.ops.aten.relu.default)),
    "of the class": (Calls(lambda x: torch.relu(input=x)), Calls(lambda x: Tensor.relu(x))),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("way", WAYS)
def test_all_ways_to_write_a_relu_are_one(rule: str, way: str) -> None:
    expected = RULES[rule](network(nn.ReLU(), nn.ReLU()), images(), 1).gradient
    assert torch.equal(RULES[rule](network(*WAYS[way]), images(), 1).gradient, expected)
    plain = network(nn.ReLU(), nn.ReLU())
    x = images().requires_grad_(True)
    gradient = torch.autograd.grad(plain(x)[:, 1].sum(), x)[0]
    assert (gradient - expected).abs().max() > 0.1 * expected.abs().max()  # and not the plain gradient


@pytest.mark.parametrize("rule", RULES)
def test_a_relu_written_into_a_part_is_one_too(rule: str) -> None:
    def in_parts(x: Tensor) -> Tensor:
        x = x * 1
        x[:, :3].relu_()
        torch.relu_(x[:, 3:])
        return x

    expected = RULES[rule](network(nn.ReLU(), nn.ReLU()), images(), 1).gradient
    found = RULES[rule](network(Calls(in_parts), Calls(in_parts)), images(), 1).gradient
    assert torch.allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("six", [
    (nn.ReLU6(), nn.ReLU6(inplace=True)), (Calls(F.relu6), Calls(lambda x: F.relu6(x, inplace=True))),
    (nn.Hardtanh(0, 6), nn.Hardtanh(0, 6, inplace=True)),
    (Calls(lambda x: F.hardtanh(x, min_val=0.0, max_val=6.0)), Calls(lambda x: F.hardtanh_(x, 0.0, 6.0))),
])  # fmt: skip
@pytest.mark.parametrize("rule", RULES)
def test_relu6_passes_between_its_ends(six: tuple[nn.Module, nn.Module], rule: str) -> None:
    net, x = network(*six), images()
    with torch.no_grad():
        net[0].weight.mul_(20)
        net[3].weight.mul_(5)
        first = net[0](x)
        pooled, places = F.max_pool2d(first.clamp(0, 6), 2, return_indices=True)
        second = net[3](pooled)
        signal = net[6].weight[2].expand(3, -1).view_as(second).relu()
        guided = rule == "guided"
        signal = signal * ((second > 0) & (second < 6)) if guided else signal
        signal = F.max_unpool2d(
            F.conv_transpose2d(signal, net[3].weight), places, 2, output_size=first.shape[2:]
        ).relu()
        signal = signal * ((first > 0) & (first < 6)) if guided else signal
        expected = F.conv_transpose2d(signal, net[0].weight)
    assert all(((a < 0).any() and (a > 6).any() and ((a > 0) & (a < 6)).any()) for a in (first, second))
    assert torch.allclose(RULES[rule](net, x, 2).gradient, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", ["GuidedBackprop", "Deconvolution"])
@pytest.mark.parametrize("name", ["module", "squeezenet", "vgg"])
def test_equals_captum_where_every_relu_is_a_module_of_its_own(kind: str, name: str) -> None:
    from captum import attr

    model = network(nn.ReLU(), nn.ReLU()) if name == "module" else build(name)
    x = images() if name == "module" else pictures(name)
    ours = (guided_backprop_result if kind == "GuidedBackprop" else deconvnet_result)(model, x, 1).gradient
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(attr, kind)(model).attribute(x.clone().requires_grad_(True), target=1)
    assert ours.abs().max() > 0
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().max()))


def test_without_a_relu_it_is_the_plain_gradient() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 49, 2)).double()
    assert torch.equal(guided_backprop(net.eval(), images(), 1), saliency(net, images(), 1))
    assert torch.equal(deconvnet(net, images(), 1), saliency(net, images(), 1))


def test_the_deconvnet_does_not_ask_which_units_were_active() -> None:
    """Without max pooling its result is the same for every picture, also where every unit is off."""
    model, x = build("functional"), pictures("functional")
    projected = deconvnet(model, x, 1)
    assert torch.equal(projected[0], projected[1])
    assert not torch.equal(*guided_backprop(model, x, 1))
    dead = build("dead")
    assert deconvnet(dead, x, 1).any()
    assert not guided_backprop(dead, x, 1).any()


def test_guided_grad_cam_is_the_product() -> None:
    model, x = build("squeezenet"), pictures("squeezenet")
    for options in ({}, {"layer": "features.7"}):
        product = guided_backprop_result(model, x, 1).gradient * grad_cam(model, x, 1, **options)[:, None]
        assert product.any()
        assert torch.equal(guided_grad_cam(model, x, 1, **options), product.abs().amax(1))
    with pytest.raises(KeyError, match="nearest"):
        guided_grad_cam(model, x, 1, layer="feature.7")


def test_a_unit_shows_its_own_pattern() -> None:
    model, x = build("inplace"), pictures("inplace")
    shown = guided_backprop_result(model, x, unit("conv2", 3, (2, 2))).gradient
    assert shown.any()
    assert not shown[..., 15:, :].any()  # outside its receptive field
    # what comes after the unit is no part of what is explained
    model.fc = nn.Sequential(nn.GELU(), model.fc).eval()
    assert torch.equal(guided_backprop_result(model, x, unit("conv2", 3, (2, 2))).gradient, shown)


def test_the_steps_of_a_callable_target_are_differentiated_as_they_are() -> None:
    model, x = network(nn.ReLU(), nn.ReLU()), images()
    with torch.no_grad():
        outputs = model(x)
        p = outputs.softmax(1)[:, 2]
    each = torch.stack([guided_backprop_result(model, x, i).gradient for i in (1, 2)])
    assert torch.allclose(
        guided_backprop_result(model, x, lambda out: out[:, 1] ** 2).gradient,
        guided_backprop_result(model, x, lambda out: out[:, 1] * (2 * outputs[:, 1])).gradient,
    )
    assert each.any()
    assert bool(((p > 0) & (p < 1)).all())
    assert guided_backprop(model, x, lambda out: out.softmax(1)[:, 2]).any()


def glu(x: Tensor) -> Tensor:
    return torch.cat([F.glu(x, 1), F.glu(x, 1)], 1)


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.relu()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


def scripted_relu() -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated, and still met
        return torch.jit.script(nn.ReLU())


REFUSED = {
    "Gelu": F.gelu, "Silu": F.silu, "LeakyRelu": F.leaky_relu, "Elu": F.elu, "Hardswish": F.hardswish,
    "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Softplus": F.softplus, "Mish": F.mish, "Celu": F.celu,
    "Hardsigmoid": F.hardsigmoid, "Threshold": lambda x: F.threshold(x, 0, 0), "PreluKernel": nn.PReLU(),
    "Clamp": lambda x: x.clamp(min=0), "ClampMin": lambda x: x.clamp_min(0), "Abs": torch.abs, "Glu": glu,
    r"hardtanh from -1 to 1": F.hardtanh, r"hardtanh from -2 to 6": lambda x: F.hardtanh(x, -2, max_val=6),
    "Maximum of an activation and a constant": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "Mul of two activations": lambda x: x * x.mean((2, 3), keepdim=True),
    "Div of two activations": lambda x: x / x.sum((2, 3), keepdim=True),
    "a gate made by hand from 'gt'": lambda x: x * (x > 0), "from 'ge'": lambda x: torch.where(x >= 0, x, 0),
    "from 'lt'": lambda x: x * torch.lt(torch.zeros_like(x), x), "Sinh": torch.sinh,
    "a ReLU out of reach in a scripted part": scripted_relu(), "the model's own function Own": Own.apply,
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("method", [guided_backprop, deconvnet, guided_grad_cam])
def test_refuses_what_has_no_rule(method: Callable, what: str) -> None:
    bent = REFUSED[what]
    net = network(nn.ReLU(), Calls(bent).double())
    with pytest.raises(ValueError, match=rf"model must bend its signal by ReLU.*{what}.*saliency"):
        method(net, images(), 1, **({"layer": "3"} if method is guided_grad_cam else {}))
    assert not _get_current_function_mode_stack()


def test_refuses_a_transformer() -> None:
    with pytest.raises(ValueError, match="got Gelu"):
        guided_backprop(build("transformer"), pictures("transformer"), 1)


@pytest.mark.parametrize("name", [n for n in [*SMALL, *LARGE] if n != "transformer"])
def test_the_rules_do_not_change_what_the_network_computes(name: str) -> None:
    model, x = build(name), pictures(name)
    seen = []
    with torch.no_grad():
        expected = model(x.to(next(model.parameters()).dtype, copy=True))

    def target(out: Tensor) -> Tensor:
        seen.append(out.detach())
        return out[:, 1]

    guided_backprop(model, x, target)
    assert torch.allclose(seen[0], expected, rtol=1e-5, atol=1e-7)


def test_an_exception_leaves_nothing_behind() -> None:
    def breaks(_: Tensor) -> Tensor:
        raise ZeroDivisionError("in the last layer")

    net = network(nn.ReLU(), Calls(breaks))
    with pytest.raises(ZeroDivisionError):
        guided_backprop(net, images(), 1)
    assert not _get_current_function_mode_stack()
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    assert torch.autograd.grad((-x.relu()).sum(), x)[0].tolist() == [0, -1]  # a plain ReLU again


def test_refuses_a_target_without_gradient() -> None:
    with pytest.raises(ValueError, match=r"target must depend on the picture.*occlusion"):
        guided_backprop(build("inplace"), pictures("inplace"), lambda out: out.detach()[:, 0])
