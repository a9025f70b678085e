"""Figures of units: every channel and patch at its place, on the scale that is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.image import AxesImage

from labkit.plots import for_the_eye, show_channels, show_patches, show_sheet, tiled


def shown(figure) -> list[np.ndarray]:
    return [
        image.get_array()
        for axes in figure.axes
        for image in axes.get_images()
        if isinstance(image, AxesImage)
    ]


def test_channels_lie_row_by_row_on_one_scale() -> None:
    channels = torch.arange(5.0)[:, None, None].expand(5, 2, 3).clone()
    figure = show_channels(channels, columns=3, title="five")
    (sheet,) = shown(figure)
    assert sheet.shape == (5, 11)
    assert (sheet[0, 0], sheet[0, 4], sheet[3, 0], sheet[3, 4]) == (0, 1, 3, 4)
    assert np.ma.getmaskarray(np.ma.masked_invalid(sheet))[3, 8:].all()
    assert figure.axes[0].get_title() == "five"
    (own,) = shown(show_channels(channels, columns=3, each=True))
    assert (own[0, 4], own[3, 4]) == (1, 1)


def test_signed_pictures_keep_zero_grey_and_their_colours() -> None:
    eye = for_the_eye(torch.tensor([[[[-2.0]], [[0.0]], [[1.0]]], [[[0.0]], [[0.0]], [[0.0]]]]))
    assert eye[0].flatten().tolist() == [0.0, 0.5, 0.75]
    assert (eye[1] == 0.5).all()


def test_patches_stand_over_their_guided_ones() -> None:
    patches, guided = torch.rand(3, 4, 3, 6, 6), torch.randn(3, 4, 3, 6, 6)
    figure = show_patches(patches, ["a", "b", "c"], guided=guided, columns=2)
    strips = shown(figure)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]
    assert [strip.shape for strip in strips] == [(13, 27, 3)] * 3
    np.testing.assert_allclose(strips[1][:6, 7:13], patches[1, 1].permute(1, 2, 0), atol=1e-6)
    np.testing.assert_allclose(strips[1][7:, 7:13], for_the_eye(guided)[1, 1].permute(1, 2, 0), atol=1e-6)
    assert len(shown(show_patches(torch.rand(1, 2, 1, 4, 4)))) == 1


def test_a_sheet_shows_every_pixel_as_it_is() -> None:
    sheet = torch.rand(1, 3, 5)
    figure = show_sheet(sheet, "filters", 4.0)
    (image,) = shown(figure)
    np.testing.assert_allclose(image[..., 1], sheet[0], atol=1e-6)
    assert figure.axes[0].get_images()[0].get_interpolation() == "nearest"
    assert figure.axes[0].get_title() == "filters"


def test_refusals_and_tiles() -> None:
    with pytest.raises(ValueError, match=r"channels must be one picture's, \(K, h, w\); got \(1, 2, 3, 4\)"):
        show_channels(torch.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match="guided must have the shape of the patches"):
        show_patches(torch.rand(1, 2, 3, 4, 4), guided=torch.rand(1, 3, 3, 4, 4))
    sheet = tiled(torch.zeros(3, 1, 2, 2), 2)
    assert sheet.shape == (1, 5, 5)
    assert (sheet[0, 3:, 3:] == 1).all()
