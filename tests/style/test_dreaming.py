"""DeepDream against what is known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.models import direction, unit
from labkit.style import deepdream, deepdream_result
from labkit.style.dreaming import layer_norm


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1)).eval()


def pictures(side: int = 24) -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_the_gradient_by_the_layer_is_its_activation() -> None:
    model, kept = net().double(), []

    def keep(module, given, out):
        out.retain_grad()
        kept.append(out)

    handle = model[2].register_forward_hook(keep)
    images = pictures().double().requires_grad_(True)
    layer_norm(model, images, "2").sum().backward()
    handle.remove()
    assert (kept[0].grad - kept[0]).abs().max() <= 1e-5 * kept[0].abs().max()


def test_one_step_is_the_gradient_over_its_mean_size() -> None:
    model, images = net(), pictures()
    leaf = images.clone().requires_grad_(True)
    slope = torch.autograd.grad(layer_norm(model, leaf, "2").sum(), leaf)[0]
    wanted = (images + 0.02 * slope / slope.abs().mean((1, 2, 3), keepdim=True)).clamp(0, 1)
    made = deepdream(model, images, "2", octaves=1, steps=1, rate=0.02, jitter=0)
    assert torch.allclose(made, wanted, atol=1e-6)


def test_the_layer_grows_and_a_channel_may_be_asked_for() -> None:
    model, images = net(), pictures()
    made = deepdream(model, images, "2", steps=4)
    assert (layer_norm(model, made, "2") > 1.5 * layer_norm(model, images, "2")).all()
    seen: list[int] = []
    found = deepdream_result(
        model, images, unit("2", 3), octaves=2, steps=3, on_frame=lambda step, _: seen.append(step)
    )
    assert found.scores.shape == (6, 2)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert (model(found.images)[:, 3].mean((1, 2)) > model(images)[:, 3].mean((1, 2))).all()


def test_a_class_and_a_direction_may_be_dreamt_of() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*net(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()
    images, along = pictures(), torch.tensor([0.0, 1.0, 0.0, 0.0, -1.0])
    for target, seen in (
        (2, lambda x: model(x)[:, 2]),
        (direction("2", along), lambda x: model[:3](x).mean((2, 3)) @ along),
    ):
        made = deepdream(model, images, target, octaves=2, steps=4)
        assert (seen(made) > seen(images)).all()


def test_a_layer_that_is_no_map_is_refused_and_a_class_named() -> None:
    model = nn.Sequential(*net(), nn.Flatten()).eval()
    with pytest.raises(ValueError, match=r"must give a feature map \(N, K, h, w\); '3' gives \(2, 720\)"):
        deepdream(model, pictures(), "3")
    cut = nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 3)).eval()
    cut[0].forward = lambda x: x.detach()
    with pytest.raises(ValueError, match="no gradient reaches"):
        deepdream(cut, pictures(), "1")


def test_stopped_it_gives_a_picture_of_the_whole_size() -> None:
    asked: list[int] = []
    found = deepdream_result(
        net(), pictures(), "2", steps=3, should_stop=lambda: len(asked) == 2 or bool(asked.append(1))
    )
    assert not found.complete
    assert found.images.shape == (2, 3, 24, 24)
    assert 0 <= found.images.min() <= found.images.max() <= 1


@pytest.mark.parametrize(
    ("target", "options", "error", "sentence"),
    [
        ("nine", {}, KeyError, "nine"),
        ("2", {"octaves": 0}, ValueError, "octaves must be"),
        ("2", {"octave_scale": 1.0}, ValueError, "octave_scale must be above 1"),
        ("2", {"rate": -1}, ValueError, "rate"),
        ("2", {"jitter": -1}, ValueError, "jitter"),
        ("2", {"steps": 0}, ValueError, "steps must be"),
    ],
)
def test_bad_arguments_are_refused(target: str, options: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        deepdream(net(), pictures(), target, **options)
