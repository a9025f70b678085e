"""Training on attacks: what is shown lies in the ball, and it learns what training on noise does not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from labkit.adversarial import fgsm, pgd_result
from labkit.adversarial.hardening import SHOWN, harden, worsened
from labkit.models.training import Recipe


def linear() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([torch.zeros(12), torch.linspace(-1, 1, 12)]))
        net[1].bias.zero_()
    return net


def grey(count: int = 2) -> torch.Tensor:
    return torch.full((count, 3, 2, 2), 0.5)


@pytest.mark.parametrize("shown", SHOWN)
def test_what_is_shown_lies_in_the_ball_and_is_drawn_from_the_generator(shown: str) -> None:
    labels = torch.tensor([0, 1])
    draws = [
        worsened(linear(), grey(), labels, shown, epsilon=0.1, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert (draws[0] - grey()).abs().max() <= 0.1 + 1e-6
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2]) is (shown != "noise")  # the others end in the corner
    assert not draws[0].requires_grad


def test_on_a_linear_network_pgd_ends_in_the_corner_and_fgsm_is_fgsm() -> None:
    net, labels = linear(), torch.tensor([0, 1])
    corner = worsened(net, grey(), labels, "pgd", epsilon=0.1, steps=4)
    sign = net[1].weight[1].sign().view(1, 3, 2, 2)
    torch.testing.assert_close(corner - grey(), torch.cat([sign, -sign]) * 0.1)
    torch.testing.assert_close(
        worsened(net, grey(), labels, "fgsm", epsilon=0.1), fgsm(net, grey(), labels, epsilon=0.1)
    )


def two_ways() -> tuple[np.ndarray, np.ndarray]:
    """Pictures told by one clear pixel, and more surely by many faint ones, which a small step turns."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 256)
    sign = 2 * labels[:, None, None, None] - 1
    pattern = np.where(np.arange(108).reshape(6, 6, 3) % 2, 1, -1)
    pictures = 128 + sign * 6 * pattern + draw.integers(-3, 4, (256, 6, 6, 3))
    clear = np.where(draw.random(256) < 0.97, labels, 1 - labels)
    pictures[:, 0, 0] = 128 + 20 * (2 * clear[:, None] - 1)
    return pictures.astype(np.uint8), labels


def test_it_learns_what_a_small_step_cannot_turn_and_training_on_noise_does_not() -> None:
    pictures, labels = two_ways()
    torch.manual_seed(0)
    before = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    recipe = Recipe(epochs=12, batch=32, rate=0.3, flip=False, weight_decay=0.0)
    given = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    stood = {}
    for shown in ("pgd", "noise"):
        net = copy.deepcopy(before)
        losses = harden(net, pictures, labels, shown, epsilon=8 / 255, recipe=recipe)
        assert losses[-1] < losses[0]
        assert not net.training
        found = pgd_result(net, given, torch.from_numpy(labels), epsilon=8 / 255, steps=8)
        stood[shown] = 1 - float(found.fooled.float().mean())
    assert stood["pgd"] > 0.9
    assert stood["noise"] < 0.5


def test_the_same_recipe_gives_the_same_network_and_leaves_the_global_state() -> None:
    pictures, labels = two_ways()
    recipe, made = Recipe(epochs=1, batch=32), []
    for _ in range(2):
        torch.manual_seed(3)
        net = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(108, 2))
        state = torch.get_rng_state()
        harden(net, pictures, labels, recipe=recipe)
        assert torch.equal(state, torch.get_rng_state())
        made.append(net[2].weight.detach().clone())
    assert torch.equal(*made)


def test_it_tells_each_update_and_can_be_stopped() -> None:
    pictures, labels = two_ways()
    told: list[int] = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    harden(
        net, pictures, labels, recipe=Recipe(epochs=2, batch=32), on_update=lambda n, _: told.append(n),
        should_stop=lambda: len(told) >= 3,
    )  # fmt: skip
    assert told == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shown": "clean"}, r"shown must be one of .*; got 'clean'"),
        ({"epsilon": 8}, "epsilon must be a step in picture values, 0 to 1; got 8"),
        ({"steps": 0}, "steps must be"),
        (
            {"labels": np.zeros(3, int)},
            "images and labels must go together and fill a batch of 4; got 8 images",
        ),
        ({"recipe": Recipe(epochs=0, batch=4)}, "epochs must be"),
    ],
)
def test_what_cannot_be_is_refused(given: dict, message: str) -> None:
    pictures = np.zeros((8, 6, 6, 3), np.uint8)
    options = {"labels": np.zeros(8, int), "recipe": Recipe(epochs=1, batch=4), **given}
    net = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    with pytest.raises(ValueError, match=message):
        harden(net, pictures, options.pop("labels"), **options)
