"""Accuracy by group, the average picture, BAM contrast, each by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from labkit.evaluation import accuracy_by_group, average_image, bam_contrast, share


def test_a_mean_hides_a_group() -> None:
    groups = ["grass"] * 90 + ["snow"] * 10
    found = accuracy_by_group(torch.tensor([1] * 92 + [0] * 8), torch.ones(100), groups)
    assert found.mean == share([True] * 92 + [False] * 8)
    assert found.table == {
        "grass": (share([True] * 90), 90),
        "snow": (share([True] * 2 + [False] * 8), 10),
    }
    assert (found.worst, found.gap) == ("snow", pytest.approx(0.72))


def test_the_average_picture_of_a_group() -> None:
    images = torch.stack([torch.full((3, 2, 2), v) for v in (0.0, 0.2, 1.0)])
    means = average_image(images, ["a", "a", "b"])
    assert {k: round(float(v.mean()), 6) for k, v in means.items()} == {"a": 0.1, "b": 1.0}


@pytest.mark.parametrize("swap", [False, True])
def test_the_contrast_has_the_sign_of_what_was_planted(swap: bool) -> None:
    masks = torch.zeros(4, 10, 10, dtype=torch.bool)
    masks[:, :5] = True
    on_objects = masks.float() * 3 - (~masks).float()  # the negative part does not count
    on_scenes = (~masks).float() * 0.01  # nor does the unit
    pair = (on_scenes, on_objects) if swap else (on_objects, on_scenes)
    assert bam_contrast(*pair, masks).value == pytest.approx(-1 if swap else 1)
    half = on_objects.clone()
    half[:, :5, 5:] = 1.5
    assert bam_contrast(half, on_scenes, masks).value == pytest.approx(0.75)


def test_a_flat_map_attends_to_nothing() -> None:
    masks = torch.ones(2, 4, 4, dtype=torch.bool)
    assert bam_contrast(torch.zeros(2, 4, 4), torch.zeros(2, 4, 4), masks).value == 0


def test_mistakes_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="must be as many, and at least one; got 2 .*, 1 groups"):
        accuracy_by_group([0, 1], [0, 1], ["a"])
    with pytest.raises(ValueError, match="must be as many"):
        accuracy_by_group([], [], [])
    with pytest.raises(ValueError, match="images and groups must be as many"):
        average_image(torch.rand(2, 3, 2, 2), ["a"])
    with pytest.raises(ValueError, match="must have the same shape"):
        bam_contrast(torch.rand(1, 2, 2), torch.rand(1, 2, 2), torch.ones(1, 3, 3).bool())
    with pytest.raises(ValueError, match="some are empty. Leave those out"):
        bam_contrast(torch.rand(1, 2, 2), torch.rand(1, 2, 2), torch.zeros(1, 2, 2).bool())


@pytest.mark.parametrize("form", [list, np.array, torch.tensor, lambda v: torch.tensor(v)[:, None]])
def test_what_is_listed_may_come_as_list_array_tensor_or_column(form: Callable[[list[int]], Any]) -> None:
    found = accuracy_by_group(form([0, 1, 0, 0]), form([0, 1, 1, 0]), form([5, 5, 7, 7]))
    assert found.mean.value == 0.75
    assert (found.worst, found.table[5][0].value, found.table[7][0].value) == (7, 1.0, 0.5)
    pictures = torch.arange(4.0).view(4, 1, 1, 1) / 4
    assert {g: float(x) for g, x in average_image(pictures, form([5, 5, 7, 7])).items()} == {
        5: 0.125,
        7: 0.625,
    }


def test_scores_in_place_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predictions must be one value a picture; got 4 rows of 3.*argmax"):
        accuracy_by_group(torch.rand(4, 3), [0, 1, 1, 0], "aabb")
