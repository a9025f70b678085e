"""Tables as squares: colour and number say the same, names stand at their rows and columns."""

from __future__ import annotations

import pytest
import torch

from labkit.plots import show_table
from labkit.plots.figures import DIVERGING, SEQUENTIAL


def test_a_table_of_shares_shows_each_number_on_a_scale_from_0_to_1() -> None:
    figure = show_table(torch.tensor([[0.0, 0.25], [1.0, 0.5]]), ["a", "b"], ["x", "y"], xlabel="by what")
    (axes,) = figure.axes
    (image,) = axes.get_images()
    assert image.get_clim() == (0.0, 1.0)
    assert image.get_cmap().name == SEQUENTIAL
    assert [text.get_text() for text in axes.texts] == [".00", ".25", "1.00", ".50"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y"]
    assert axes.get_xlabel() == "by what"


def test_signed_scores_lie_about_zero_and_many_columns_have_no_numbers() -> None:
    (axes,) = show_table(torch.tensor([[-4.0, 2.0]]), ["w"], ["x", "y"]).axes
    assert axes.get_images()[0].get_clim() == (-4.0, 4.0)
    assert axes.get_images()[0].get_cmap().name == DIVERGING
    assert [text.get_text() for text in axes.texts] == ["-4.0", "2.0"]
    (wide,) = show_table(torch.zeros(1, 20), ["w"], [str(k) for k in range(20)]).axes
    assert not wide.texts


def test_names_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match="a row for each of the 1 names and a column for each of the 2"):
        show_table(torch.zeros(2, 2), ["a"], ["x", "y"])
