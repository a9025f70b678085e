"""Pointing game, energy inside, overlaps and boxes, on maps and masks small enough to count by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labkit.evaluation import (
    area_share,
    box_iou,
    box_localization,
    boxes_of,
    energy_inside,
    iou,
    peaks,
    pointing_game,
    pointing_hits,
)


def spot(row: int, column: int, side: int = 100) -> Tensor:
    grid = torch.zeros(1, side, side)
    grid[0, row, column] = 1
    return grid


@pytest.mark.parametrize(
    ("distance", "hit"), [((0, 0), True), ((6, 0), True), ((0, 6), True), ((7, 0), False), ((5, 5), False)]
)
def test_a_peak_counts_within_15_pixels_of_224(distance: tuple[int, int], hit: bool) -> None:
    """At 100 pixels the tolerance is 6.7; (5, 5) lies 7.07 away."""
    mask = spot(50, 50).bool()
    assert pointing_game(spot(50 + distance[0], 50 + distance[1]), mask) == float(hit)


@given(side=st.integers(20, 90), row=st.floats(0, 1), column=st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_the_tolerance_grows_with_the_side(side: int, row: float, column: float) -> None:
    y, x = int(row * (side - 1)), int(column * (side - 1))
    mask = spot(side // 2, side // 2, side).bool()
    near = (y - side // 2) ** 2 + (x - side // 2) ** 2 <= (side * 15 / 224) ** 2
    assert pointing_game(spot(y, x, side), mask) == float(near)
    assert pointing_game(spot(y, x, side), mask, tolerance=2.0) == 1
    assert pointing_game(spot(y, x, side), mask, tolerance=0) == float((y, x) == (side // 2, side // 2))


@pytest.mark.parametrize("level", [0.0, 1.0, -3.0])
def test_a_constant_map_is_a_miss(level: float) -> None:
    hit, counts = pointing_hits(torch.full((1, 10, 10), level), torch.ones(1, 10, 10).bool())
    assert not hit.item()
    assert counts.item()


def test_an_empty_mask_is_not_counted() -> None:
    maps = torch.cat([spot(10, 10), spot(20, 20), spot(90, 90)])
    masks = torch.cat([spot(10, 10), spot(80, 80), spot(90, 90) * 0]).bool()
    hit, counts = pointing_hits(maps, masks)
    assert hit.tolist() == [True, False, False]
    assert counts.tolist() == [True, True, False]
    assert pointing_game(maps, masks) == 0.5
    with pytest.raises(ValueError, match="all of them are empty"):
        pointing_game(maps[2:], masks[2:])


def test_the_score_is_the_mean_over_classes_not_pictures() -> None:
    """Class 0: 3 of 3; class 4: 0 of 1; class 9 has only an empty mask and does not count."""
    maps = torch.cat([spot(10, 10)] * 5)
    masks = torch.cat([spot(10, 10)] * 3 + [spot(80, 80), spot(0, 0) * 0]).bool()
    assert pointing_game(maps, masks, torch.tensor([0, 0, 0, 4, 9])) == 0.5
    assert pointing_game(maps, masks) == 0.75


def test_labels_are_one_a_picture_and_may_be_a_list() -> None:
    maps = torch.cat([spot(10, 10)] * 4)
    masks = torch.cat([spot(10, 10)] * 3 + [spot(80, 80)]).bool()
    assert pointing_game(maps, masks, [0, 0, 0, 4]) == 0.5
    for labels in (torch.tensor([1]), [0, 0, 0], torch.zeros(4, 1)):
        with pytest.raises(ValueError, match=r"labels must be one class a picture, shape \(4,\); got"):
            pointing_game(maps, masks, labels)


@pytest.mark.parametrize("tolerance", [-0.5, float("nan")])
def test_a_tolerance_is_not_negative(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance must be at least 0, a share of the side"):
        pointing_hits(spot(10, 10), spot(40, 40).bool(), tolerance=tolerance)


def test_a_map_may_be_negative_everywhere() -> None:
    maps = spot(10, 10) - 5
    assert peaks(maps).tolist() == [[10, 10]]
    assert pointing_game(maps, spot(10, 10).bool()) == 1


def test_peaks_are_row_and_column() -> None:
    maps = torch.zeros(2, 4, 9)
    maps[0, 3, 7] = maps[1, 0, 8] = 1
    assert peaks(maps).tolist() == [[3, 7], [0, 8]]


def test_energy_is_the_positive_part_only() -> None:
    maps = torch.tensor([[[3.0, -100.0], [1.0, 0.0]]])
    left = torch.tensor([[[True, False], [True, False]]])
    top = torch.tensor([[[True, True], [False, False]]])
    assert energy_inside(maps, left).item() == 1
    assert energy_inside(maps, top).item() == 0.75
    assert energy_inside(maps * 7, top).item() == 0.75


def test_energy_of_a_flat_map_is_the_masks_share() -> None:
    masks = torch.rand(5, 12, 12, generator=torch.Generator().manual_seed(0)) > 0.7
    assert torch.allclose(energy_inside(torch.full((5, 12, 12), 0.3), masks), area_share(masks))


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_energy_of_nothing_positive_is_not_a_number(level: float) -> None:
    assert energy_inside(torch.full((1, 3, 3), level), torch.ones(1, 3, 3).bool()).isnan().all()


@pytest.mark.parametrize("function", [energy_inside, pointing_hits, pointing_game])
@pytest.mark.parametrize(
    ("maps", "masks", "sentence"),
    [
        (torch.zeros(2, 4, 4), torch.zeros(2, 4, 5), r"\(2, 4, 4\) and \(2, 4, 5\)"),
        (torch.zeros(4, 4), torch.zeros(4, 4), r"\(N, H, W\)"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), r"\(N, H, W\)"),
        (torch.full((1, 4, 4), float("nan")), torch.ones(1, 4, 4), "finite"),
    ],
    ids=["sides", "one map", "channels", "nan"],
)
def test_refuses_what_does_not_go_together(function, maps: Tensor, masks: Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        function(maps, masks.bool())


def test_the_callers_tensors_stay_as_they_are() -> None:
    maps, masks = torch.randn(3, 20, 20).requires_grad_(True), torch.ones(3, 20, 20, dtype=torch.int64)
    before = maps.detach().clone()
    assert not energy_inside(maps, masks).requires_grad
    pointing_game(maps, masks)
    assert torch.equal(maps, before)
    assert masks.dtype == torch.int64


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


def test_boxes_refuse_with_a_sentence() -> None:
    boxes = torch.tensor([[0, 0, 4, 4]])
    with pytest.raises(ValueError, match=r"maps must be \(N, H, W\) with one box each"):
        box_localization(torch.rand(2, 4, 4), boxes)
    with pytest.raises(ValueError, match="maps must be finite"):
        box_localization(torch.full((1, 4, 4), float("inf")), boxes)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        box_localization(torch.rand(1, 4, 4), boxes, level=1.0)
    with pytest.raises(ValueError, match="of must be"):
        box_localization(torch.rand(1, 4, 4), boxes, of="median")


def test_a_soft_mask_has_no_border_of_its_own() -> None:
    soft = torch.tensor([[[0.2, 0.9]]])
    for measure in (lambda: iou(soft, soft > 0.5), lambda: energy_inside(soft, soft), lambda: boxes_of(soft)):
        with pytest.raises(ValueError, match=r"must hold True and False, or 0 and 1; got 0\.2.*> 0\.5"):
            measure()


def test_masks_of_whole_numbers_count_where_they_are_not_zero() -> None:
    stored = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert iou(stored, stored.float() / 255).item() == 1
    assert area_share(stored).item() == 0.5


def test_arrays_of_other_libraries_give_what_tensors_give() -> None:
    maps, masks = torch.rand(2, 4, 4), torch.rand(2, 4, 4) > 0.5
    assert torch.equal(energy_inside(maps.numpy(), masks.numpy()), energy_inside(maps, masks))
    assert pointing_game(maps.numpy(), masks.numpy()) == pointing_game(maps, masks)
    assert torch.equal(peaks(maps.numpy()), peaks(maps))
    with pytest.raises(TypeError, match="maps must be a tensor or an array of numbers; got list of"):
        energy_inside([["a"]], masks)
