"""Clouds of points, pictures where their points lie, rows of neighbours: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.plots import show_against, show_neighbors, show_points, show_scatter_of_pictures

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_every_point_is_drawn_once_in_its_colour_and_mark():
    points, labels = torch.rand(30, 2), torch.arange(30) % 3
    figure = show_points({"one": points, "two": points * 2}, labels, ["a", "b", "c"])
    one, two = figure.axes
    drawn = np.concatenate([group.get_offsets() for group in one.collections])
    assert np.allclose(np.sort(drawn[:, 0]), np.sort(points[:, 0].numpy()))
    assert (one.get_title(), two.get_title()) == ("one", "two")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    colours = {tuple(group.get_facecolor()[0]) for group in one.collections}
    assert len(colours) == 3
    assert not show_points({"one": points}).legends
    with pytest.raises(ValueError, match=r"the points of 'one' must be \(3, 2\); got \(30, 2\)"):
        show_points({"one": points}, labels[:3])


def test_neighbours_stand_in_their_order_bytes_or_numbers():
    near = torch.tensor([[1, 2], [3, 4]])
    for images in (IMAGES, (IMAGES * 255).round().byte().permute(0, 2, 3, 1).numpy()):
        figure = show_neighbors(images, {"here": near, "there": near.flip(1)}, [0, 5], list("abcdef"))
        shown = [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]
        assert len(shown) == 10
        for array, index in zip(shown, [0, 1, 2, 2, 1, 5, 3, 4, 4, 3], strict=True):
            assert np.allclose(array, IMAGES[index].permute(1, 2, 0), atol=3e-3)


def test_pictures_lie_where_their_points_do():
    points = torch.rand(6, 2)
    figure = show_scatter_of_pictures(points, IMAGES)
    assert np.allclose([box.xy for box in figure.axes[0].artists], points.numpy())
    with pytest.raises(ValueError, match="images must be one a point, 6; got 5"):
        show_scatter_of_pictures(points, IMAGES[:5])


def test_things_are_numbered_in_the_order_of_x_with_a_line_where_y_is_not_known():
    figure = show_against(
        {"far": (0.4, 0.99), "near": (0.1, 0.5)}, xlabel="x", ylabel="y", groups={"one": ["near"]},
        only_x={"between": 0.2}, shares=True,
    )  # fmt: skip
    axes, words = figure.axes
    assert [text.get_text() for text in words.texts] == ["1  near", "2  between", "3  far"]
    assert sorted(tuple(group.get_offsets()[0]) for group in axes.collections) == [(0.1, 0.5), (0.4, 0.99)]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.2, 0.2]]
    assert axes.get_yscale() == "logit"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one"]
    with pytest.raises(ValueError, match="the group 'two' must name what is drawn; got 'lost'"):
        show_against({"a": (0.1, 0.2)}, xlabel="x", ylabel="y", groups={"two": ["lost"]})
