"""Pixels and spectra: pictures come back, one wave is one wave, colours mix as the world's do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from labkit.data import MiniBroden, gather
from labkit.optimize import Fourier, Pixels, colour_matrix
from labkit.optimize.parameterizations import COLOURS

MATRIX = torch.tensor([[1.0, 0.2, 0.0], [0.9, -0.1, 0.1], [1.1, 0.0, -0.2]], dtype=torch.float64)


def pictures(height: int = 8, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.01 + 0.98 * torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("colours", [None, "decorrelated", MATRIX])
@pytest.mark.parametrize("side", [(8, 6), (7, 5), (1, 4)])
def test_pictures_come_back_from_their_numbers(colours: object, side: tuple[int, int]) -> None:
    images = pictures(*side)
    for space in (Pixels(colours), Fourier(side, colours)):
        values = space.values(images)
        space.project(values)
        assert torch.allclose(space.picture(values), images, atol=1e-9)


def test_one_number_of_a_spectrum_is_one_wave() -> None:
    space, values = Fourier((8, 16)), torch.zeros(1, 1, 8, 9, 2, dtype=torch.float64)
    values[0, 0, 2, 3, 0] = 0.7
    y, x = torch.meshgrid(torch.arange(8), torch.arange(16), indexing="ij")
    frequency = math.hypot(2 / 8, 3 / 16)
    # the half spectrum's wave stands for two; the transform divides by the root of the number of pixels
    wave = 0.7 / (4 * frequency) * 2 * torch.cos(2 * math.pi * (2 * y / 8 + 3 * x / 16)) / (8 * 16) ** 0.5
    assert torch.allclose(space.picture(values)[0, 0], wave.double().sigmoid(), atol=1e-7)


def test_the_gradient_in_fourier_space_is_that_of_the_pixels_turned() -> None:
    """On a single wave, where the sigmoid is a line: the slope is the wave's product with the pixels'."""
    space = Fourier((8, 8))
    values = torch.zeros(1, 1, 8, 5, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = torch.autograd.grad((space.picture(values)[0, 0] * weights).sum(), values)[0]
    x = torch.arange(8)[None, :].double()
    wave = torch.cos(2 * math.pi * x / 8).expand(8, 8) * 2 / 8 / (4 * 1 / 8)
    assert torch.allclose(slope[0, 0, 0, 1, 0], (weights * wave).sum() / 4)


def test_zero_is_grey_and_every_number_gives_a_picture() -> None:
    space = Fourier((5, 4), "decorrelated")
    values = torch.zeros(1, 3, 5, 3, 2)
    assert torch.equal(space.picture(values), torch.full((1, 3, 5, 4), 0.5))
    wild = space.picture(
        values + 100 * torch.randn(1, 3, 5, 3, 2, generator=torch.Generator().manual_seed(0))
    )
    assert 0 <= wild.min() <= wild.max() <= 1
    pixels = torch.tensor([[[[-1.0, 2.0, 0.3]]]])
    Pixels().project(pixels)
    assert pixels.flatten().tolist() == pytest.approx([0, 1, 0.3])


def test_colours_are_as_correlated_as_the_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    free = torch.randn(1, 3, 300, 300, generator=generator, dtype=torch.float64)
    mixed = torch.einsum("kc,nchw->nkhw", MATRIX, free)
    images = (mixed - mixed.min()) / (mixed.max() - mixed.min())
    found = colour_matrix(images)
    wanted = MATRIX @ MATRIX.T
    assert torch.allclose(found @ found.T / (found @ found.T)[0, 0], wanted / wanted[0, 0], atol=0.02)
    assert found.norm(dim=0).max() == pytest.approx(1.0)


def test_the_toy_world_s_colours_are_as_written_down() -> None:
    scenes = gather(MiniBroden(60, "train").scene(i) for i in range(60)).images
    own, written = colour_matrix(scenes), torch.tensor(COLOURS)
    assert torch.cosine_similarity(own, written, 0).min() > 0.95
    assert torch.allclose(own.norm(dim=0), written.norm(dim=0), atol=0.1)


@pytest.mark.parametrize(
    ("colours", "sentence"),
    [
        ("lab", r"colours must be None, .* got 'lab'"),
        (torch.ones(3, 3), r"invertible matrix \(3, 3\); got \(3, 3\)"),
        (torch.eye(2), r"got \(2, 2\)"),
    ],
)
def test_bad_colours_are_refused(colours: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Pixels(colours).values(pictures())


def test_grey_pictures_have_no_colours_to_decorrelate() -> None:
    with pytest.raises(ValueError, match="needs 3 channels; got 1"):
        Fourier((4, 4), "decorrelated").values(torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match="must have 3 channels"):
        colour_matrix(torch.rand(1, 1, 4, 4))
