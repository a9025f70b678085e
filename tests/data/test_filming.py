"""A printed square in the world: filmed as the renderer draws it, right way round, on every side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.data import CLASSES, decal_views, sample_scene
from labkit.data.carriers import Carrier, with_carrier
from labkit.data.filming import BLANK
from labkit.data.picture import exposed, lens, trace
from labkit.data.scenes import to_tensor

KINDS = ("crate", "T-shirt")


@pytest.mark.parametrize("colour", [(0.9, 0.2, 0.1), BLANK])
def test_a_square_of_one_colour_is_what_the_renderer_draws(colour) -> None:
    views = decal_views("crate", 2)
    shown = views(views.square(colour), range(2))
    for number, carrier in enumerate(views.carriers):
        painted = exposed(trace(carrier.scene, carrier.solids(colour)[0]))
        corners, grain = lens(carrier.scene)
        wanted = to_tensor(np.clip(painted * corners + grain, 0, 1))
        # the strip between the square and the frame is always grey
        spots = torch.zeros(128 * 128)
        own = slice(views.starts[number], views.starts[number + 1])
        full = spots.index_add(0, views.pixel[own], torch.ones(own.stop - own.start)).view(128, 128) == 4
        off = (shown[number] - wanted).abs().amax(0)
        assert off[full].max() < 2e-4
        if colour == BLANK:
            assert off.max() < 2e-4


def test_a_crate_s_square_is_upright_and_not_mirrored() -> None:
    views = decal_views("crate", 6, area=(0.02, 0.3))
    square = views.square((0.1, 0.1, 0.1), 4)
    square[0, :, 2:] = 0.95  # its right half is red
    square[2, 2:] = 0.95  # its lower half is blue
    for number, shown in enumerate(views(square, range(6))):
        own = slice(views.starts[number], views.starts[number + 1])
        row, column = (x.float() for x in (views.pixel[own] // 128, views.pixel[own] % 128))
        across, down = views.spot[own].T
        for near in (across > 0.2, across < -0.2):
            assert near.any()
        assert torch.corrcoef(torch.stack([row, down]))[0, 1] > 0.6
        # along one side of the crate, to the right on the picture is to the right on the square
        line = row == row.unique()[len(row.unique()) // 2]
        means = torch.stack([across[line & (column == c)].mean() for c in column[line].unique()])
        assert (means.diff() > 0).float().mean() > 0.85  # but for the corner
        assert shown.shape == (3, 128, 128)


def test_derivatives_reach_the_square_and_only_from_the_views_asked_for() -> None:
    views = decal_views("T-shirt", 2, area=(0.01, 0.3))
    square = views.square(BLANK, 6).requires_grad_()
    views(square, [1])[0].sum().backward()
    assert (square.grad > 0).float().mean() > 0.5
    assert views(square.detach().double(), [0]).dtype == torch.float64


def test_a_view_is_drawn_alike_each_time_and_leaves_out_a_class() -> None:
    first, again = (decal_views("crate", 3, "val", without=("tree",)) for _ in range(2))
    assert torch.equal(first.spot, again.spot)
    assert CLASSES.index("tree") not in first.labels.tolist()
    assert ((first.area >= 0.04) & (first.area <= 0.12)).all()
    later = decal_views("crate", 2, "val", first=40)
    assert not {c.scene.key for c in later.carriers} & {c.scene.key for c in first.carriers}


def test_waves_bend_a_t_shirt_and_not_a_crate() -> None:
    unit = np.stack([np.cos(np.linspace(-1, 1, 50)), np.sin(np.linspace(-1, 1, 50)), np.zeros(50)], 1)
    scene = with_carrier(sample_scene(0), "T-shirt", np.random.default_rng(0)).scene
    flat, bent = (Carrier(scene, "T-shirt", (size, 0.1, 0.3, 0.0)).spots(unit) for size in (0.0, 0.14))
    assert np.allclose(flat[0][:, 1], 0)
    assert np.abs(bent[0][:, 1]).max() > 0.05
    assert np.allclose(flat[2], 1)
    assert bent[2].min() < 0.95
    for size in (0.0, 0.14):
        _, _, lit = Carrier(scene, "crate", (size, 0.1, 0.3, 0.0)).spots(unit)
        assert (lit == 1).all()


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        decal_views("flag", 1)
    with pytest.raises(ValueError, match="area and size must fit each other"):
        decal_views("crate", 1, area=(0.9, 1.0))
    with pytest.raises(ValueError, match="without must be one of"):
        decal_views("crate", 1, without=("lion",))
    with pytest.raises(ValueError, match="count must be"):
        decal_views("crate", 0)
