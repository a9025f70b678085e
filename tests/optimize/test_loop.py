"""The optimization loop and what it is fed."""

from __future__ import annotations

import pytest
import torch

from labkit.optimize import blur_pyramid, gaussian_blur, minimize, shift, total_variation


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.2), ("sgd", 0.1), ("lbfgs", 1.0)])
def test_a_parabola_is_descended_and_nothing_else_is_touched(optimizer: str, rate: float) -> None:
    x, other = torch.tensor([3.0, -2.0]), torch.ones(2, requires_grad=True)
    done = minimize([x], lambda _: ((x - other) ** 2).sum(), steps=150, rate=rate, optimizer=optimizer)
    assert torch.allclose(x, torch.ones(2), atol=1e-2)
    assert other.grad is None
    assert x.grad is None
    assert not x.requires_grad
    assert done.complete
    assert done.losses[-1] < 1e-3 < done.losses[0]


def test_what_is_projected_stays_where_it_was_put() -> None:
    x = torch.tensor([0.5])
    minimize([x], lambda _: x.sum(), steps=50, rate=0.1, project=lambda _: x.clamp_(min=0.2))
    assert float(x) == pytest.approx(0.2)


def test_bad_searches_are_refused() -> None:
    x = torch.tensor([1.0])
    with pytest.raises(ValueError, match="steps must be"):
        minimize([x], lambda _: x.sum(), steps=0, rate=1.0)
    with pytest.raises(ValueError, match="optimizer must be one of"):
        minimize([x], lambda _: x.sum(), steps=1, rate=1.0, optimizer="newton")
    with pytest.raises(ValueError, match="loss must be finite; it is nan at step 0"):
        minimize([x], lambda _: x.sum() * float("nan"), steps=1, rate=1.0)
    other = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="loss must depend"):
        minimize([x], lambda _: other.sum(), steps=1, rate=1.0)
    assert not x.requires_grad


def test_a_blur_keeps_the_mean_and_darkens_no_frame() -> None:
    from scipy.ndimage import gaussian_filter

    image = torch.rand(1, 1, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = gaussian_blur(image, 2.0)[0, 0].numpy()
    theirs = gaussian_filter(image[0, 0].numpy(), 2.0, mode="mirror", truncate=3.0)
    assert abs(ours - theirs).max() < 1e-9
    white = gaussian_blur(torch.ones(1, 3, 20, 20), 6.0)
    assert torch.allclose(white, torch.ones_like(white))


def test_a_pyramid_runs_from_the_strongest_blur_to_the_picture() -> None:
    image = torch.rand(1, 3, 32, 32)
    levels = blur_pyramid(image, 4.0, 5)
    assert torch.equal(levels[-1], image)
    assert torch.allclose(levels[0], gaussian_blur(image, 4.0))
    contrast = levels.std((1, 2, 3, 4))
    assert (contrast[1:] > contrast[:-1]).all()


def test_total_variation_by_hand() -> None:
    x = torch.tensor([[[[0.0, 3.0], [4.0, 3.0]]]])
    # top left: down 4, right 3; top right: down 0; bottom left: right -1
    assert float(total_variation(x)) == pytest.approx(25 + 0 + 1)
    assert float(total_variation(x, 1.0)) == pytest.approx(5 + 0 + 1, abs=1e-3)
    flat = torch.ones(1, 1, 3, 3, requires_grad=True)
    slope = torch.autograd.grad(total_variation(flat, 1.0).sum(), flat)[0]
    assert torch.isfinite(slope).all()


def test_a_shift_moves_every_picture_alike_and_reflects() -> None:
    images = torch.arange(36.0).view(1, 1, 6, 6).repeat(2, 1, 1, 1)
    moved = shift(images, 2, torch.Generator().manual_seed(3))
    assert torch.equal(moved[0], moved[1])
    assert set(moved.unique().tolist()) <= set(images.unique().tolist())
    assert torch.equal(shift(images, 0, torch.Generator()), images)


def test_a_blur_lets_every_slope_through_and_keeps_pictures_apart() -> None:
    flat = torch.full((2, 1, 16, 16), 0.5, requires_grad=True)
    slope = torch.autograd.grad(gaussian_blur(flat, 1.5).sum(), flat)[0]
    assert (slope > 0.3).all()  # the corners are mirrored less
    images = torch.rand(2, 3, 16, 16)
    images[1] *= 0.1
    assert torch.allclose(gaussian_blur(images, 2.0)[1:], gaussian_blur(images[1:], 2.0))
