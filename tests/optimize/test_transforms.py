"""Jitter, scale, rotation, bias to the centre: nothing at zero, known turns, gradients, a batch alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from labkit.optimize import Transforms, centre_bias, rotated, shift


def pictures(n: int = 2, height: int = 12, width: int = 12) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_all_are_the_identity_at_zero() -> None:
    images = pictures()
    assert rotated(images) is images
    assert Transforms()(images, draw()) is images
    assert centre_bias(images, None) is images
    turned = Transforms(rotation=1e-9)(images, draw())
    assert torch.allclose(turned, images, atol=1e-6)


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_right_angles_move_pixels(degrees: float, turns: int) -> None:
    images = pictures()
    assert torch.allclose(rotated(images, degrees), torch.rot90(images, turns, (2, 3)), atol=1e-6)


def test_half_a_turn_of_an_oblong_picture() -> None:
    images = pictures(height=10, width=16)
    assert torch.allclose(rotated(images, 180), images.flip(2, 3), atol=1e-6)


def test_a_move_is_in_pixels_down_and_right() -> None:
    images = pictures(height=10, width=16)
    moved = rotated(images, move=(2.0, 3.0))
    assert torch.allclose(moved[:, :, 2:, 3:], images[:, :, :-2, :-3], atol=1e-6)


def test_twice_as_large_shows_the_middle() -> None:
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    large = rotated(ramp, scale=2.0)
    assert torch.allclose(large.diff(dim=3)[..., 2:-2], ramp.diff(dim=3)[..., 2:-2] / 2, atol=1e-6)
    assert torch.allclose(large.mean(), ramp.mean())


def test_an_oblong_picture_turns_without_being_squeezed() -> None:
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(40.0), indexing="ij")
    blob = torch.exp(-(((y - 9.5) ** 2 + (x - 24.5) ** 2) / 8))[None, None].double()
    turned = rotated(blob, 90)[0, 0, :, 10:30]  # five to the right of the middle: five above it
    peak = divmod(int(turned.argmax()), 20)
    assert peak[0] in (4, 5)
    assert peak[1] in (9, 10)


def test_a_batch_is_turned_alike_and_the_generator_decides() -> None:
    images = pictures(1).expand(3, -1, -1, -1)
    for turn in (Transforms(3), Transforms(2, 0.2, 20.0)):
        found = turn(images, draw())
        assert torch.equal(found[0], found[2])
        assert torch.equal(found, turn(images, draw()))
        assert not torch.equal(found, turn(images, torch.Generator().manual_seed(8)))
    assert torch.equal(Transforms(3)(images, draw()), shift(images, 3, draw()))


def test_all_are_differentiable() -> None:
    images = pictures(1, 6, 5).requires_grad_(True)
    state = draw()

    def turned(x: Tensor) -> Tensor:
        return Transforms(1, 0.1, 10.0)(x, state.manual_seed(7))

    assert torch.autograd.gradcheck(turned, (images,))


def test_the_bias_weighs_the_gradient_and_leaves_the_picture() -> None:
    images = pictures(1, 5, 5).requires_grad_(True)
    seen = centre_bias(images, 0.2)
    assert torch.equal(seen, images)
    slope = torch.autograd.grad(seen.sum(), images)[0][0, 0]
    assert slope[2, 2] == 1
    assert slope[2, 0] == pytest.approx(float(torch.exp(torch.tensor(-(0.4**2) / (2 * 0.2**2)))))
    assert torch.equal(slope, slope.T)


@pytest.mark.parametrize(
    ("turn", "sentence"),
    [
        (Transforms(jitter=-1), "jitter must be a number of at least 0"),
        (Transforms(rotation=float("nan")), "rotation must be"),
        (Transforms(scale=1.5), "scale must lie below 1"),
    ],
)
def test_bad_transforms_are_refused(turn: Transforms, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        turn.check()


@pytest.mark.parametrize("radius", [0, -1.0, float("inf"), "wide"])
def test_a_bad_radius_is_refused(radius: object) -> None:
    with pytest.raises(ValueError, match="centre must be None or a share"):
        centre_bias(pictures(), radius)


def test_a_scale_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="scale above 0"):
        rotated(pictures(), scale=0.0)
