"""Drawn textures: deterministic, full-frame, and two pieces of one are alike and not the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from labkit.data import STYLES, texture


def colours(picture: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation of the colours, in one row."""
    return torch.cat([picture.mean((1, 2)), picture.std((1, 2))])


@pytest.mark.parametrize("name", STYLES)
def test_a_seed_is_a_picture(name: str) -> None:
    first, again, other = texture(name, 48, 3), texture(name, 48, 3), texture(name, 48, 4)
    assert torch.equal(first, again)
    assert first.shape == (3, 48, 48)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first - other).abs().mean() > 0.08


@pytest.mark.parametrize("name", STYLES)
def test_two_seeds_are_two_pieces_of_one_texture(name: str) -> None:
    """Colours agree; what is in one place in both has nothing to do with each other."""
    pictures = torch.stack([texture(name, 96, seed) for seed in range(4)])
    assert (colours(pictures[0]) - colours(pictures[1])).abs().max() < 0.07
    away = F.normalize((pictures - pictures.mean((2, 3), keepdim=True)).flatten(1))
    assert (away @ away.T)[~torch.eye(4, dtype=torch.bool)].mean().abs() < 0.15


@pytest.mark.parametrize("name", STYLES)
def test_the_frame_is_full(name: str) -> None:
    """Each of the sixteen squares of the picture varies nearly as much as the whole."""
    picture = texture(name, 128, 2)
    squares = picture.unfold(1, 32, 32).unfold(2, 32, 32).flatten(3).std(3).mean(0)
    assert squares.min() > 0.25 * picture.flatten(1).std(1).mean()


def test_no_two_textures_are_alike_in_colour_or_in_grain() -> None:
    pictures = {name: texture(name, 96, 5) for name in STYLES}
    told = torch.stack([colours(picture) for picture in pictures.values()])
    apart = torch.cdist(told, told) + torch.eye(len(told))
    same = max(float((colours(texture(n, 96, 6)) - colours(p)).norm()) for n, p in pictures.items())
    assert apart.min() > 1.5 * same


@pytest.mark.parametrize("name", STYLES)
def test_scale_and_shape(name: str) -> None:
    assert texture(name, (17, 40), 1).shape == (3, 17, 40)
    assert texture(name, 1).shape == (3, 1, 1)

    def rough(picture: torch.Tensor) -> float:
        return float(picture.diff(dim=2).abs().mean())

    assert rough(texture(name, 96, 1, scale=3.0)) < 0.8 * rough(texture(name, 96, 1))


def test_the_global_random_state_is_left_alone_and_another_process_draws_the_same() -> None:
    before = torch.get_rng_state()
    here = float(texture("brush strokes", 32, 9).double().sum())
    assert torch.equal(before, torch.get_rng_state())
    code = "from labkit.data import texture; print(float(texture('brush strokes', 32, 9).double().sum()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == here


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"name": "mosaics"}, "name must be one of"),
        ({"side": 0}, "side must be"),
        ({"side": (4, -1)}, "the second side must be"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"scale": 0}, "scale must be"),
    ],
)
def test_bad_arguments_are_refused(given: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        texture(**{"name": "mosaic", "side": 8, **given})
