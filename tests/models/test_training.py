"""Training learns, is reproducible, and writes its card whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from labkit.models import training
from labkit.models.minivgg import MiniVGG
from labkit.models.training import Recipe, accuracy, fit, predict, save_network

TINY = Recipe(epochs=3, batch=16, shift=2, rate=1e-2)


def bars(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Upright against lying bars of random grey on random grey, 16 px: flips leave the class as it is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    wave = np.sin(np.arange(16) * np.pi / 2 + rng.uniform(0, 6, (n, 1))) > 0
    grid = np.where(labels[:, None, None] == 0, wave[:, None, :], wave[:, :, None])
    low, high = rng.integers(0, 100, (n, 1, 1)), rng.integers(130, 255, (n, 1, 1))
    return np.repeat(np.where(grid, high, low)[..., None], 3, 3).astype(np.uint8), labels


def network(seed: int = 0) -> MiniVGG:
    torch.manual_seed(seed)
    return MiniVGG(2, widths=(8, 8, 8, 8))


def test_training_learns_and_keeps_its_word() -> None:
    images, labels = bars(240, 0)
    before, chance = images.copy(), torch.get_rng_state()
    net, told = network(), []
    chance = torch.get_rng_state()
    history = fit(
        net, images, labels, TINY._replace(epochs=6), on_epoch=lambda e, loss: told.append((e, loss))
    )
    assert torch.equal(torch.get_rng_state(), chance)
    assert np.array_equal(images, before)
    assert told == list(enumerate(history))
    assert history[-1] < history[0]
    assert accuracy(net, *bars(200, 1)) >= 0.95
    assert not any(m.training for m in net.modules())
    assert net.features[0].weight.is_contiguous()


def test_the_same_seed_gives_the_same_network_and_another_another() -> None:
    images, labels = bars(64, 0)
    nets = []
    for seed in (0, 0, 1):
        nets.append(network())
        fit(nets[-1], images, labels, TINY._replace(epochs=1, seed=seed))
    a, b, c = (n.state_dict() for n in nets)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["features.0.weight"], c["features.0.weight"])


def test_pictures_and_labels_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture holds its label as its grey level; without augmentation both arrive in one order."""
    seen = []

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.extend((x.amax((1, 2, 3)) * 255).round().long().tolist())
            return self.w + torch.zeros(len(x), 10)

    labels = np.arange(40) % 10
    images = np.broadcast_to(labels[:, None, None, None], (40, 4, 4, 3)).astype(np.uint8)
    asked = []

    class Loss(nn.CrossEntropyLoss):
        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            asked.extend(target.tolist())
            return super().forward(logits, target)

    monkeypatch.setattr(training.nn, "CrossEntropyLoss", Loss)
    fit(Reads(), images, labels, Recipe(epochs=2, batch=8, flip=False, shift=0, light=0, noise=0))
    assert seen == asked
    assert sorted(seen[:40]) == sorted(labels.tolist())
    assert seen[:40] != seen[40:]


def test_augmentation_step_by_step() -> None:
    still = Recipe(flip=False, shift=0, light=0, noise=0)
    x = torch.rand(64, 3, 12, 12, generator=torch.Generator().manual_seed(0))

    def run(**changes: object) -> torch.Tensor:
        return training._augment(x.clone(), still._replace(**changes), torch.Generator().manual_seed(3))

    assert torch.equal(run(), x)
    turned = (run(flip=True) == x.flip(3)).flatten(1).all(1)
    kept = (run(flip=True) == x).flatten(1).all(1)
    assert bool((turned ^ kept).all())
    assert 16 < int(turned.sum()) < 48
    moved = run(shift=4)
    assert moved.shape == x.shape
    assert not torch.equal(moved, x)
    assert torch.isin(moved, x).all(), "reflected at the border, no new values"
    noise = run(noise=0.02) - x
    inside = (x > 0.1) & (x < 0.9)
    assert abs(float(noise[inside].std()) - 0.02) < 0.002
    bright = run(light=0.15)
    assert 0 <= bright.min() < bright.max() <= 1
    assert len({round(float(v), 4) for v in (bright - x).mean((1, 2, 3))}) > 32, "another light each picture"
    half = run(coarse=0.5)
    same = (half == x).flatten(1).all(1)
    assert 16 < int(same.sum()) < 48
    small = torch.nn.functional.avg_pool2d(x, 2)
    large = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    assert torch.allclose(half[~same], large[~same], atol=1e-6)


def test_fit_refuses_what_does_not_fit() -> None:
    images, labels = bars(20, 0)
    with pytest.raises(ValueError, match="go together.*20 images and 19 labels"):
        fit(network(), images, labels[:-1], TINY)
    with pytest.raises(ValueError, match="fill a batch of 64.*Lower the recipe's batch"):
        fit(network(), images, labels)
    with pytest.raises(ValueError, match="epochs must be"):
        fit(network(), images, labels, TINY._replace(epochs=0))


def test_predictions_do_not_depend_on_the_batch() -> None:
    images, _ = bars(30, 0)
    net = network().eval()
    found = predict(net, images, batch=7)
    assert np.array_equal(found, predict(net, images))
    assert found.shape == (30,)
    assert accuracy(net, images, found) == 1.0
    assert accuracy(net, images, 1 - found) == 0.0


def test_the_same_seed_gives_the_same_network_with_dropout_too() -> None:
    images, labels = bars(32, 0)
    nets = []
    for _ in range(2):
        nets.append(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(768, 2)))
        nn.init.zeros_(nets[-1][2].weight)
        nn.init.zeros_(nets[-1][2].bias)
        torch.rand(1)
        chance = torch.get_rng_state()
        fit(nets[-1], images, labels, TINY._replace(epochs=1))
        assert torch.equal(torch.get_rng_state(), chance)
    assert torch.equal(nets[0][2].weight, nets[1][2].weight)
    assert nets[0][2].weight.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_training_and_prediction_in_the_network_s_own_precision(dtype: torch.dtype) -> None:
    images, labels = bars(32, 0)
    net = network().to(dtype)
    assert np.isfinite(fit(net, images, labels, TINY._replace(epochs=1))).all()
    assert predict(net, images).shape == (32,)
    assert net.features[0].weight.dtype == dtype


def test_prediction_leaves_the_network_and_refuses_training_mode() -> None:
    images, _ = bars(8, 0)
    net = network().train()
    before = net.features[1].running_mean.clone()
    with pytest.raises(RuntimeError, match="eval mode"):
        predict(net, images)
    assert torch.equal(net.features[1].running_mean, before)


def test_a_network_is_saved_with_its_card(tmp_path: Path) -> None:
    net = network().eval()
    path = save_network(net, tmp_path / "weights", "small", {"seed": 3, "accuracy": {"test": 0.5}})
    assert sorted(p.name for p in path.parent.iterdir()) == ["small.json", "small.safetensors"]
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["name"] == "small"
    assert (card["seed"], card["accuracy"]) == (3, {"test": 0.5})
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["parameters"] == sum(p.numel() for p in net.parameters())
    assert {"labkit", "date"} <= set(card)
    state = load_file(path)
    assert state["features.0.weight"].dtype == torch.float16
    assert state["features.1.num_batches_tracked"].dtype == torch.int64
    assert set(state) == set(net.state_dict())
    assert torch.equal(state["classifier.weight"].float(), net.classifier.weight.half().float())


def test_a_write_that_fails_leaves_the_old_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network().eval()
    path = save_network(net, tmp_path, "small", {})
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left")

    with torch.no_grad():
        net.classifier.weight.zero_()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        save_network(net, tmp_path, "small", {})
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.json", "small.safetensors"]


def test_minivgg_is_small_plain_and_takes_pictures_from_0_to_1() -> None:
    net = MiniVGG().eval()
    assert sum(p.numel() for p in net.parameters()) == 438_604
    with torch.no_grad():
        assert net.features(torch.rand(1, 3, 128, 128)).shape == (1, 160, 16, 16)
        x = torch.rand(1, 3, 32, 32)
        by_hand = net.classifier(net.features((x - 0.5) / 0.25).mean((2, 3)))
        assert torch.allclose(net(x), by_hand, atol=1e-6)
    kinds = {type(m).__name__ for m in net.features}
    assert kinds == {"Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"}
    assert "mean" not in net.state_dict()


def test_a_stem_is_as_wide_as_asked_for() -> None:
    net = MiniVGG(widths=(48, 64, 96, 128, 176), pools=(0, 2), stem=11).eval()
    assert net.features[0].weight.shape == (48, 3, 11, 11)
    assert sum(p.numel() for p in net.parameters()) <= 500_000
    with torch.no_grad():
        assert net.features(torch.rand(1, 3, 128, 128)).shape == (1, 176, 16, 16)
