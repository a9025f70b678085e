"""Maps that know nothing: the centre, the edges, chance."""

from __future__ import annotations

import pytest
import torch

from labkit.evaluation import centre_map, edge_map, random_map


def test_the_centre_is_highest_in_the_middle_and_the_same_for_all() -> None:
    maps = centre_map(torch.rand(2, 3, 9, 15))
    assert torch.equal(maps[0], maps[1])
    assert maps[0].argmax().item() == 4 * 15 + 7
    assert maps[0, 4, 7] == 1
    assert torch.allclose(maps, maps.flip(1))
    assert torch.allclose(maps, maps.flip(2))
    # one spread from the middle, along either side: exp(-1/2)
    assert centre_map(torch.rand(1, 3, 9, 9))[0, 4, 6] == pytest.approx(2.718281828**-0.5)


def test_the_edge_is_the_slope_of_the_luminance() -> None:
    ramp = torch.arange(6.0).div(10).expand(1, 3, 6, 6)
    assert torch.allclose(edge_map(ramp)[0, :, 1:-1], torch.tensor(0.1), atol=1e-6)
    assert torch.allclose(edge_map(ramp.mT)[0, 1:-1], torch.tensor(0.1), atol=1e-6)
    assert edge_map(torch.full((1, 3, 5, 5), 0.7)).abs().max() < 1e-6  # and no edge along the border
    green = torch.zeros(1, 3, 4, 4)
    green[:, 1, :, 2:] = 1
    assert edge_map(green).max() == pytest.approx(0.587 / 2)


def test_chance_is_drawn_anew_for_each_picture_and_the_same_again() -> None:
    pictures = torch.rand(2, 3, 4, 4)
    before = torch.get_rng_state()
    maps = random_map(pictures)
    assert not torch.equal(maps[0], maps[1])
    assert torch.equal(maps, random_map(pictures))
    assert not torch.equal(maps, random_map(pictures, torch.Generator().manual_seed(1)))
    assert torch.equal(before, torch.get_rng_state())


def test_a_spread_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"spread must be above 0, a share of the side such as 0\.25; got 0"):
        centre_map(torch.rand(1, 3, 4, 4), spread=0)


@pytest.mark.parametrize("make", [centre_map, edge_map, random_map])
@pytest.mark.parametrize("shape", [(2, 3, 6, 9), (1, 1, 5, 5), (3, 4, 8, 4)], ids=["wide", "grey", "tall"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_baseline_has_the_shape_of_a_methods_map(make, shape: tuple[int, ...], kind: torch.dtype) -> None:
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(kind).requires_grad_(True)
    before = pictures.detach().clone()
    maps = make(pictures)
    assert maps.shape == (shape[0], *shape[2:])
    assert maps.dtype == kind
    assert not maps.requires_grad
    assert maps.isfinite().all()
    assert maps.min() >= 0
    assert torch.equal(pictures, before)
    maps[0] += 1  # its own memory: one picture's map may be changed alone
    assert shape[0] == 1 or not torch.equal(maps[0], maps[1])


@pytest.mark.parametrize("make", [centre_map, edge_map])
def test_what_is_not_drawn_is_the_same_alone_and_in_a_batch(make) -> None:
    pictures = torch.rand(3, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([make(picture[None]) for picture in pictures])
    assert torch.allclose(make(pictures), alone, atol=1e-6)


def test_a_slanted_edge_is_as_strong_as_its_slope() -> None:
    """A plane that rises by .03 a column and .04 a row has the slope .05 everywhere."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    plane = (0.04 * rows + 0.03 * columns).expand(1, 3, 8, 8)
    assert torch.allclose(edge_map(plane)[0, 1:-1, 1:-1], torch.tensor(0.05), atol=1e-6)


@pytest.mark.parametrize("make", [centre_map, edge_map, random_map])
def test_a_single_picture_is_told_of_its_batch_axis(make) -> None:
    with pytest.raises(ValueError, match=r"images must have the shape \(N, C, H, W\)"):
        make(torch.rand(3, 8, 8))
