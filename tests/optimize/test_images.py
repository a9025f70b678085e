"""Operations on pictures: the pyramid of blurs that hides, and what a mask leaves of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.optimize import blur_pyramid, gaussian_blur, masked
from labkit.optimize.images import filling, perturbed


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 56, 70, generator=torch.Generator().manual_seed(0))


def test_levels_are_read_between_one_another() -> None:
    levels = torch.tensor([0.0, 1.0, 4.0]).view(3, 1, 1, 1, 1).expand(3, 1, 3, 2, 2)
    masks = torch.tensor([[[0.0, 0.25], [0.75, 1.0]]])
    assert torch.allclose(perturbed(levels, masks)[0, 0], torch.tensor([[0.0, 0.5], [2.5, 4.0]]))


def test_the_pyramid_hides_by_20_pixels_of_224(images: torch.Tensor) -> None:
    levels = blur_pyramid(images)
    assert torch.equal(levels, blur_pyramid(images, 56 * 20 / 224))
    assert torch.equal(levels[0], gaussian_blur(images, 5.0))
    assert torch.equal(levels[-1], images)
    small = images[..., :8, :8]  # never less than a pixel, or nothing would be hidden
    assert torch.equal(blur_pyramid(small)[0], gaussian_blur(small, 1.0))


@pytest.mark.parametrize("fill", ["pyramid", "grey", "mean", 0.25])
def test_a_mask_shows_where_it_is_one_and_hides_where_it_is_zero(images: torch.Tensor, fill: object) -> None:
    masks = torch.zeros(2, 56, 70)
    masks[:, :, 35:] = 1
    hidden = blur_pyramid(images)[0] if fill == "pyramid" else filling(images, fill)
    left = masked(images, masks, fill)
    assert torch.allclose(left[..., 35:], images[..., 35:])
    assert torch.equal(left[..., :35], hidden[..., :35])


def test_fills(images: torch.Tensor) -> None:
    for fill, value in (
        ("grey", 0.5),
        ("black", 0),
        ("white", 1),
        (0.3, 0.3),
        (np.float32(0.25), 0.25),
        (1, 1),
    ):
        assert torch.equal(filling(images, fill), torch.full_like(images, float(value)))
    mean = images.mean((2, 3), keepdim=True)
    assert torch.equal(filling(images, "mean"), mean.expand_as(images))
    colour = torch.tensor([0.1, 0.5, 0.9])[:, None, None]
    assert torch.equal(filling(images, colour), colour.expand_as(images))
    assert torch.equal(filling(images, images.flip(3)), images.flip(3))
    blurred = filling(images, "blur")
    assert blurred.std() < images.std() / 3
    assert torch.allclose(blurred.mean(), images.mean(), atol=0.01)
    for tiny in (1, 2, 3):
        assert filling(images[:, :, :tiny, :tiny], "blur").shape == (2, 3, tiny, tiny)


def test_a_blur_to_hide_with_does_not_depend_on_how_a_picture_is_turned() -> None:
    wide = torch.rand(1, 3, 44, 110, dtype=torch.float64)
    assert torch.allclose(filling(wide, "blur"), gaussian_blur(wide, 2.0))  # the shorter side over 22
    assert torch.allclose(filling(wide.mT, "blur").mT, filling(wide, "blur"))
    assert torch.allclose(blur_pyramid(wide.mT).mT, blur_pyramid(wide))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_pictures_are_blurred_in_float32(dtype: torch.dtype) -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    blurred = gaussian_blur(x, 4.0)
    assert blurred.dtype == dtype
    assert torch.equal(blurred, gaussian_blur(x.float(), 4.0).to(dtype))
