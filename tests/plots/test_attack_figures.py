"""The figure of an attack: picture, difference, ten times it, and what comes of it."""

from __future__ import annotations

import pytest
import torch

from labkit.plots import enlarged, show_attack


def drawn(figure, row, column, columns):
    return figure.axes[row * columns + column].images[0].get_array()


def test_it_draws_picture_difference_ten_times_it_and_the_sum():
    images = torch.full((2, 3, 4, 5), 0.5)
    attacked = images.clone()
    attacked[:, :, :, 1] += 0.02
    attacked[1, :, :, 2] -= 0.2
    figure = show_attack(images, attacked, ["bus", "cow"], ["cow .90", "bus .80"])
    assert len(figure.axes) == 8
    assert drawn(figure, 0, 0, 2)[0, 1, 0] == pytest.approx(0.5)
    assert drawn(figure, 1, 0, 2)[0, 1, 0] == pytest.approx(0.52)
    assert drawn(figure, 2, 0, 2)[0, 1, 0] == pytest.approx(0.7)
    assert drawn(figure, 2, 1, 2)[0, 2, 0] == 0  # cut off
    assert drawn(figure, 3, 0, 2)[0, 1, 0] == pytest.approx(0.52)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["bus", "cow"]
    assert [axes.get_xlabel() for axes in figure.axes[-2:]] == ["cow .90", "bus .80"]
    assert [figure.axes[k].get_ylabel() for k in (0, 2, 4, 6)] == [
        "picture", "difference", "10 times it", "picture + difference",
    ]  # fmt: skip


def test_one_picture_stands_for_all_and_grey_ones_are_drawn():
    figure = show_attack(torch.zeros(1, 1, 4, 4), torch.ones(3, 1, 4, 4), times=4)
    assert len(figure.axes) == 12
    assert figure.axes[6].get_ylabel() == "4 times it"


def test_no_change_is_grey():
    assert enlarged(torch.zeros(3, 2, 2), 10).eq(0.5).all()


def test_pictures_that_do_not_go_together_are_refused():
    with pytest.raises(
        ValueError, match=r"images must be as many as attacked and of their size \(2, 3, 4, 4\)"
    ):
        show_attack(torch.zeros(3, 3, 4, 4), torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="or one picture for all"):
        show_attack(torch.zeros(1, 3, 4, 5), torch.zeros(2, 3, 4, 4))
