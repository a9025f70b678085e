"""Boxes and overlaps, on maps small enough to count."""

from __future__ import annotations

import pytest
import torch

from labkit.evaluation import box_iou, box_localization, boxes_of, iou


def blob(*places: tuple[slice, slice, float]) -> torch.Tensor:
    grid = torch.zeros(1, 10, 10)
    for rows, columns, value in places:
        grid[0, rows, columns] = value
    return grid


def test_iou_by_hand() -> None:
    a = blob((slice(0, 4), slice(0, 4), 1)).bool()
    b = blob((slice(2, 6), slice(0, 4), 1)).bool()
    assert iou(a, b).item() == pytest.approx(8 / 24)
    assert iou(a, a).item() == 1
    assert iou(a, ~a).item() == 0
    assert iou(a & ~a, a & ~a).isnan().item()
    with pytest.raises(ValueError, match="first and second must have the same shape"):
        iou(a, b[:, :5])


def test_box_iou_by_hand() -> None:
    first = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 0, 0], [0, 0, 4, 4]])
    second = torch.tensor([[0, 2, 4, 6], [4, 4, 8, 8], [0, 0, 0, 0], [1, 1, 3, 3]])
    assert box_iou(first, second).tolist() == pytest.approx([8 / 24, 0, 0, 4 / 16])
    with pytest.raises(ValueError, match=r"boxes must both have the shape \(N, 4\)"):
        box_iou(first, second[:, :2])


def test_the_box_of_a_mask_has_an_exclusive_end() -> None:
    mask = blob((slice(2, 5), slice(1, 9), 1)).bool()
    assert boxes_of(mask).tolist() == [[1, 2, 9, 5]]
    assert boxes_of(mask & ~mask).tolist() == [[0, 0, 0, 0]]


def test_the_box_goes_around_the_largest_part_not_the_highest() -> None:
    maps = blob((slice(0, 1), slice(0, 1), 5.0), (slice(4, 8), slice(4, 9), 2.0))
    found = box_localization(maps, torch.tensor([[4, 4, 9, 8]]))
    assert found.boxes.tolist() == [[4, 4, 9, 8]]
    assert found.hits.tolist() == [True]
    assert found.overlaps.tolist() == [1]


def test_corners_that_touch_are_one_part() -> None:
    maps = blob((slice(0, 2), slice(0, 2), 1.0), (slice(2, 4), slice(2, 4), 1.0))
    assert box_localization(maps, torch.tensor([[0, 0, 4, 4]])).boxes.tolist() == [[0, 0, 4, 4]]


def test_a_half_is_enough_and_less_is_not() -> None:
    maps = blob((slice(0, 5), slice(0, 10), 1.0))
    assert box_localization(maps, torch.tensor([[0, 0, 10, 10]])).hits.tolist() == [True]
    assert box_localization(maps[:, :, :], torch.tensor([[0, 1, 10, 10]])).hits.tolist() == [False]


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0])
def test_a_flat_map_is_a_miss_even_of_the_whole_picture(value: float) -> None:
    found = box_localization(torch.full((1, 10, 10), value), torch.tensor([[0, 0, 10, 10]]))
    assert found.hits.tolist() == [False]
    assert found.boxes.tolist() == [[0, 0, 0, 0]]


def test_the_three_rules_cut_at_other_levels() -> None:
    maps = torch.tensor([[[8.0, 4.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0]]])
    boxes = torch.tensor([[0, 0, 8, 1]])

    def wide(**options: object) -> int:
        return int(box_localization(maps, boxes, **options).boxes[0, 2])

    assert wide(level=0.25) == 3  # from 2 on
    assert wide(level=0.5) == 2
    assert wide(level=1.5, of="mean") == 2  # the mean is 2
    assert wide(level=0.5, of="energy") == 1  # 8 of 16
    assert wide(level=0.8, of="energy") == 3


def test_mistakes_get_a_sentence() -> None:
    boxes = torch.tensor([[0, 0, 4, 4]])
    with pytest.raises(ValueError, match=r"maps must be \(N, H, W\) with one box each"):
        box_localization(torch.rand(2, 4, 4), boxes)
    with pytest.raises(ValueError, match="maps must be finite"):
        box_localization(torch.full((1, 4, 4), float("inf")), boxes)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        box_localization(torch.rand(1, 4, 4), boxes, level=1.0)
    with pytest.raises(ValueError, match="of must be"):
        box_localization(torch.rand(1, 4, 4), boxes, of="median")
