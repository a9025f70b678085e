"""Graph cuts seeded by a map: squares found whole, seeds kept, and what no map can seed."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from labkit.attribution import grabcut, threshold


def scene(side: int = 32, noise: float = 0.05, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A bright square on a dark ground, a map with a blurred peak within it, and the square's pixels."""
    generator = torch.Generator().manual_seed(seed)
    low, high = side // 4, side * 3 // 4
    truth = torch.zeros(1, side, side, dtype=torch.bool)
    truth[:, low:high, low:high] = True
    picture = 0.15 + 0.6 * truth[:, None].float() * torch.tensor([1.0, 0.8, 0.4])[:, None, None]
    picture = (picture + noise * torch.randn(1, 3, side, side, generator=generator)).clamp(0, 1)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    middle, reach = (side - 1) / 2, side / 6
    distance = (rows - middle - 1) ** 2 + (columns - middle + 1) ** 2
    return picture, torch.exp(-distance / (2 * reach**2))[None], truth


def overlap(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("side", [32, 128])
@pytest.mark.parametrize("iterations", [1, 5])
def test_finds_the_object_that_the_map_only_points_at(side: int, iterations: int) -> None:
    picture, maps, truth = scene(side)
    found = grabcut(picture, maps, iterations=iterations)
    assert found.shape == maps.shape
    assert found.dtype == torch.bool
    assert overlap(found, truth) > 0.95
    best = max(overlap(threshold(maps, q), truth) for q in (0.5, 0.7, 0.75, 0.8, 0.9, 0.95))
    assert overlap(found, truth) > best
    assert overlap(threshold(maps), truth) < 0.3


def test_sure_pixels_stay_what_they_are() -> None:
    picture, maps, _ = scene()
    maps = maps.roll((9, -5), (1, 2))  # points beside the square as well
    found = grabcut(picture, maps, largest=False)
    flat = maps.flatten()
    assert found.flatten()[flat > flat.quantile(0.95)].all()
    assert not found.flatten()[flat < flat.quantile(0.3)].any()


def test_the_first_cut_learns_colours_from_sure_pixels_only() -> None:
    """Most unsure pixels have a third colour; were they counted as ground, it would be the ground's."""
    picture, maps, truth = scene(noise=0.01)
    ground = maps[0] <= maps.quantile(0.3)
    picture[:, :, ~truth[0] & ~ground] = torch.tensor([0.7, 0.55, 0.3])[:, None]  # near the square's own
    found = grabcut(picture, maps, iterations=1)
    assert (found[0] == ~ground).float().mean() > 0.97


def test_further_cuts_learn_colours_that_no_sure_pixel_has() -> None:
    """The object darkens away from its sure pixels: each cut reaches the next shade."""
    picture, maps, truth = scene(64, noise=0.02)
    shade = (1 - 0.6 * (-maps.log()).sqrt()).clamp(0, 1)
    picture = picture * torch.where(truth, shade, 1.0)[:, None]
    first, second, fifth = (overlap(grabcut(picture, maps, iterations=i), truth) for i in (1, 2, 5))
    assert first < 0.8 < 0.95 < second <= fifth


def test_keeps_the_largest_part() -> None:
    picture, maps, truth = scene(noise=0.0)
    picture[:, :, 2:5, 14:17] = picture[:, :, 16:17, 16:17]  # a speck of the same colour
    speck = torch.zeros_like(truth)
    speck[:, 2:5, 14:17] = True
    maps = maps + 0.4 * speck  # no sure background
    both, one = grabcut(picture, maps, largest=False), grabcut(picture, maps)
    assert (both & speck).sum() == 9
    assert not (one & speck).any()
    assert torch.equal(one, both & ~speck)
    level = float((maps > 0.39).float().mean())
    assert (threshold(maps, 1 - level) & speck).any()
    assert not (threshold(maps, 1 - level, largest=True) & speck).any()


def test_corners_connect() -> None:
    maps = torch.eye(5)[None]
    maps[0, 0, 4] = 1
    assert torch.equal(threshold(maps, 0.5, largest=True)[0], torch.eye(5, dtype=torch.bool))


def test_a_batch_equals_its_pictures_and_every_call_the_last() -> None:
    scenes = [scene(noise=0.3, seed=seed) for seed in range(3)]
    pictures, maps = (torch.cat([s[i] for s in scenes]) for i in (0, 1))
    kept, chance = (pictures.clone(), maps.clone()), torch.get_rng_state()
    together = grabcut(pictures, maps)
    assert torch.equal(together, torch.cat([grabcut(*s[:2]) for s in scenes]))
    assert all(torch.equal(together, grabcut(pictures, maps)) for _ in range(5))
    assert torch.equal(grabcut(pictures.double(), maps.double()), together)
    assert torch.equal(grabcut(pictures.requires_grad_(), maps.requires_grad_()), together)
    assert torch.equal(pictures, kept[0])
    assert torch.equal(maps, kept[1])
    assert torch.equal(chance, torch.get_rng_state())


def test_does_not_depend_on_the_scale_of_the_map() -> None:
    picture, maps, _ = scene(noise=0.2)
    plain = grabcut(picture, maps)
    assert torch.equal(grabcut(picture, 1e-9 * maps.double() - 5e-8), plain)
    assert torch.equal(threshold(1000 * maps - 3), threshold(maps))


def test_takes_grey_pictures() -> None:
    picture, maps, truth = scene()
    assert overlap(grabcut(picture.mean(1, keepdim=True), maps), truth) > 0.95


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_a_constant_map_gives_nothing(value: float) -> None:
    picture, maps, truth = scene()
    both = torch.cat([torch.full_like(maps, value), maps])
    found = grabcut(picture.expand(2, -1, -1, -1), both)
    assert not found[0].any()
    assert overlap(found[1:], truth) > 0.95
    assert not threshold(both)[0].any()


@pytest.mark.parametrize("share", [0.02, 0.2, 0.6, 0.9])
def test_a_map_of_two_values_is_its_own_segmentation(share: float) -> None:
    maps = torch.zeros(1, 20, 20)
    maps.view(-1)[: int(400 * share)] = 1
    picture = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(threshold(maps), maps > 0)
    assert torch.equal(grabcut(picture, maps), maps > 0)


def test_a_map_that_is_mostly_zero_seeds_the_ground_by_its_zeros() -> None:
    picture, maps, truth = scene()
    sparse = (maps - 0.15).clamp(min=0)  # as of a method that ends in a ReLU
    assert (sparse == 0).float().mean() > 0.5
    found = grabcut(picture, sparse, largest=False)
    assert not (found & (sparse == 0)).any()
    assert overlap(found, truth & (sparse > 0)) > 0.95


def test_small_pictures() -> None:
    maps = torch.arange(4.0).view(1, 2, 2)
    for picture in (torch.zeros(1, 3, 2, 2), torch.rand(1, 3, 2, 2)):
        found = grabcut(picture, maps, foreground=0.7)
        assert found[0, 1, 1]
        assert not found[0, 0, 0]


PICTURE, MAPS, _ = scene()


@pytest.mark.parametrize(
    ("images", "maps", "options", "error", "sentence"),
    [
        (PICTURE, MAPS * float("nan"), {}, ValueError, "maps must be finite; got NaN"),
        (PICTURE, MAPS.numpy(), {}, TypeError, "maps must be a floating.*ndarray"),
        (PICTURE, MAPS > 0.5, {}, TypeError, r"maps must be a floating.*torch\.bool"),
        (PICTURE, MAPS[0], {}, ValueError, r"maps must have the shape.*\(32, 32\).*maps\[None\]"),
        (PICTURE, MAPS[:, :16], {}, ValueError, r"one map a picture, shape \(1, 32, 32\); got \(1, 16, 32\)"),
        (PICTURE, MAPS.expand(2, -1, -1), {}, ValueError, r"got \(2, 32, 32\)"),
        (PICTURE * 255, MAPS, {}, ValueError, r"images must lie within \[0, 1\]"),
        (PICTURE[:, :2], MAPS, {}, ValueError, r"images must have 1 or 3 channels.*\(1, 2, 32, 32\)"),
        (PICTURE, MAPS, {"foreground": 95}, ValueError, "foreground must be a quantile.*got 95"),
        (PICTURE, MAPS, {"background": 0.0}, ValueError, "background must be a quantile.*got 0.0"),
        (PICTURE, MAPS, {"background": float("nan")}, ValueError, "background must be a quantile.*nan"),
        (PICTURE, MAPS, {"foreground": 0.3}, ValueError, r"lower quantile than foreground \(0.3\); got 0.3"),
        (PICTURE, MAPS, {"iterations": 0}, ValueError, "iterations must be a whole number.*got 0"),
    ],
    ids=lambda x: str(x)[:40] if isinstance(x, str | dict) else "",
)
def test_refuses(images: Tensor, maps: Tensor, options: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        grabcut(images, maps, **options)


def test_threshold_refuses() -> None:
    with pytest.raises(ValueError, match="quantile must be a quantile above 0 and below 1; got 1"):
        threshold(MAPS, 1)
    with pytest.raises(ValueError, match="maps must be finite"):
        threshold(MAPS / 0 * 0)


def test_names_the_cure_where_opencv_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r'pip install "labkit\[grabcut\]"'):
        grabcut(PICTURE, MAPS)
    assert threshold(MAPS).any()
