"""The private copy: same answers, and the model itself wherever a copy could differ."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from labkit.attribution import (
    extremal_perturbation,
    kernel_shap,
    lime,
    meaningful_perturbation,
    occlusion,
    rise,
)
from labkit.models import load_model, unit
from labkit.models.fast import fast_copy, memory_format


def stirred(model: nn.Module) -> nn.Module:
    """Batch norms with statistics of their own, one of them with a negative scale."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.normal_(1, 0.8)
            module.bias.data.normal_()
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


class Two(nn.Module):
    """A convolution whose output two layers read: folding its batch norm would change the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.flat = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        seen = self.conv(x)
        return self.flat(self.norm(seen).relu() + seen)


class Viewed(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).view(len(x), -1)  # fails where channels come last


@pytest.mark.parametrize(("name", "left"), [("resnet18", 0), ("squeezenet1_1", 0), ("densenet121", 62)])
def test_the_copy_answers_alike(name: str, left: int) -> None:
    torch.manual_seed(0)
    model, x = stirred(models.get_model(name, weights=None)), torch.rand(3, 3, 64, 64)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        twin = fast_copy(model, x[:1], forwards=1000)
        wanted, found = model(x), twin(x)
    assert twin is not model
    assert norms(twin) == left
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_model_itself_where_a_copy_would_differ() -> None:
    x = torch.rand(1, 3, 8, 8)
    plain = stirred(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()))
    assert fast_copy(plain, x, forwards=101) is not plain
    assert fast_copy(plain, x, forwards=100) is plain
    for odd in (stirred(Two()), Viewed(nn.Conv2d(3, 4, 3)).eval(), nn.Flatten().eval(), plain.half()):
        assert fast_copy(odd, x.to(next(iter(odd.parameters()), x).dtype), forwards=1000) is odd


@pytest.mark.parametrize("layer", ["", "0"])
def test_the_hooks_of_a_model_go_on_being_called(layer: str) -> None:
    model, calls = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), []
    with model.get_submodule(layer).register_forward_hook(lambda *_: calls.append(1)):
        assert (fast_copy(model, torch.rand(1, 3, 8, 8), forwards=1000) is model) == (layer != "")
        occlusion(model, torch.rand(1, 3, 16, 16), 0, window=2, stride=1)
    assert len(calls) > 225 // 8


def test_a_layer_run_twice_keeps_its_norm() -> None:
    shared = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    model = stirred(nn.Sequential(shared, shared, nn.Flatten()))
    assert norms(fast_copy(model, torch.rand(1, 3, 8, 8), forwards=1000)) == 1


@pytest.mark.parametrize("target", [1, unit("0", 2), unit("1", 2), lambda outputs: outputs[:, 0]])
def test_maps_are_those_of_the_model_itself(target: object, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    model = stirred(nn.Sequential(*body, nn.Flatten(), nn.Linear(16, 3))).double()
    x = torch.rand(2, 3, 24, 24, dtype=torch.float64)
    assert fast_copy(model, x[:1], forwards=200) is not model
    asked = {
        occlusion: {"window": 4, "stride": 2},
        rise: {"masks": 200},
        lime: {"samples": 200},
        kernel_shap: {},
    }
    found = {method: method(model, x, target, **options) for method, options in asked.items()}
    monkeypatch.setattr("labkit.models.fast._plain", lambda model: False)
    for method, options in asked.items():
        theirs = method(model, x, target, **options)
        assert (found[method] - theirs).abs().max() <= 1e-9 * theirs.abs().max(), method.__name__


class Changes(nn.Module):
    """Answers by the order in memory: what no network should do, and what must then be left alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :2] * (1 if x.is_contiguous() else 2)


def test_pictures_lie_channels_last_only_where_the_model_answers_alike() -> None:
    image, usual = torch.rand(1, 3, 16, 16), torch.contiguous_format
    nets = {"plain": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), "views": Viewed(nn.Conv2d(3, 4, 3)),
            "changes": Changes()}  # fmt: skip
    found = {name: memory_format(net.eval(), image) for name, net in nets.items()}
    assert found == {"plain": torch.channels_last, "views": usual, "changes": usual}
    assert image.is_contiguous()
    assert memory_format(nets["plain"], torch.rand(1, 3, 16, 16, device="meta")) is usual


def test_a_learned_mask_is_the_same_in_either_order(monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = load_model("minivgg").double(), torch.rand(1, 3, 32, 32, dtype=torch.float64)
    last = extremal_perturbation(net, images, 1, steps=5), meaningful_perturbation(net, images, 1, steps=5)
    for place in ("extremal_perturbations", "meaningful_perturbations"):
        module = f"labkit.attribution.{place}.memory_format"
        monkeypatch.setattr(module, lambda *_: torch.contiguous_format)
    first = extremal_perturbation(net, images, 1, steps=5), meaningful_perturbation(net, images, 1, steps=5)
    for a, b in zip(last, first, strict=True):
        assert torch.allclose(a, b, atol=1e-8)
