"""The answers of lab 51 held to the library: the same variation, the same inversion, the same dream."""

from __future__ import annotations

import torch
from torch import nn

from labkit.exercises import find
from labkit.optimize import total_variation
from labkit.style import deepdream, invert_result
from labkit.style.inversion import alpha_norm


def reference(name: str):
    return find(f"style.{name}").reference


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1)).eval()


def pictures(count: int = 2, side: int = 24) -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_the_variation_is_the_library_s_over_the_number_of_values():
    for beta in (1.0, 2.0, 3.0):
        own = reference("total_variation")(pictures(), beta)
        torch.testing.assert_close(
            own, total_variation(pictures(), beta) / (3 * 24 * 24), rtol=1e-4, atol=1e-6
        )


def test_search_and_loss_are_the_library_s_inversion():
    model, given = net(), pictures(1, 12)
    with torch.no_grad():
        goal = model(given)
    starts: list[torch.Tensor] = []
    found = invert_result(
        model, "2", goal, side=12, steps=1, rate=1e-6, on_frame=lambda _, shown: starts.append(shown)
    )

    def loss(images: torch.Tensor) -> torch.Tensor:
        variation = reference("total_variation")(images, 2)
        return reference("inversion_loss")(model(images), goal, images, variation, 1e-2, 1e-1).sum()

    torch.testing.assert_close(loss(starts[0]).detach(), found.losses[0], rtol=1e-4, atol=1e-6)
    made = reference("search")(loss, starts[0], 20, 0.05)
    other = invert_result(model, "2", goal, side=12, steps=20, rate=0.05).images
    assert (made - other).abs().mean() < 0.02  # Adam's small constant differs
    bound = reference("inversion_loss")(goal, goal, given, torch.zeros(1), 1.0, 0.0)
    torch.testing.assert_close(bound, alpha_norm(given))


def test_the_correlation_of_a_picture_with_its_negative_is_minus_one():
    own = reference("correlation")(pictures(), 1 - pictures())
    torch.testing.assert_close(own, -torch.ones(2))


def test_octaves_of_steps_are_the_library_s_dream():
    model, given = net(), pictures()
    sides = [(round(24 / 1.4**k),) * 2 for k in (2, 1, 0)]
    own = reference("octaves")(lambda x: reference("dream_step")(model, x, 0.004), given, sides, 3)
    made = deepdream(model, given, "2", octaves=3, steps=3, rate=0.004, jitter=0)
    torch.testing.assert_close(own, made, rtol=1e-4, atol=1e-4)
