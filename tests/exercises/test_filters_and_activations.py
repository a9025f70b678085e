"""The references of notebook 11, held to answers known by hand and to the library's own methods."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.exercises import find
from labkit.grading import check
from labkit.models import load_model, receptive_fields, record
from labkit.visualization import top_patches, top_patches_result


def reference(name):
    return find(f"visualization.{name}").reference


def test_a_sheet_by_hand():
    weight = torch.tensor(
        [[[[2.0]], [[0.0]], [[-1.0]]], [[[-0.5]], [[0.25]], [[0.0]]], [[[0.0]], [[4.0]], [[0.0]]]]
    )
    sheet = reference("filter_grid")(weight, 2)
    assert sheet.shape == (3, 3, 3)
    assert sheet[:, 0, 0].tolist() == [1.0, 0.5, 0.25]
    assert sheet[:, 0, 2].tolist() == [0.0, 0.75, 0.5]
    assert sheet[:, 2, 0].tolist() == [0.5, 1.0, 0.5]
    assert (sheet[:, 1] == 1).all()
    assert (sheet[:, 2, 2] == 1).all()


@pytest.mark.parametrize("side", [64, 65])
def test_the_recurrence_is_the_library_s_field(side):
    shapes = [(5, 2, 2), (3, 1, 1), (2, 2, 0), (3, 1, 0), (3, 3, 2)]
    stack = nn.Sequential(
        *(nn.Conv2d(3, 3, k, s, p) if k != 2 else nn.AvgPool2d(2) for k, s, p in shapes)
    ).eval()
    for last, field in enumerate(receptive_fields(stack, [str(k) for k in range(5)], side=side).values()):
        size, stride, start = reference("receptive_field")([list(s) for s in shapes[: last + 1]])
        assert (size, stride, start) == (field.size[0], field.stride[0], field.start[0])


def test_the_pass_and_the_crop_are_the_library_s():
    model, images = (
        load_model("minivgg"),
        torch.rand(7, 3, 128, 128, generator=torch.Generator().manual_seed(0)),
    )
    with torch.no_grad(), record(model, "features.9") as kept:
        model(images)
    values, numbers, places = reference("strongest")(kept["features.9"].split(3), 2)
    found = top_patches_result(model, images, "features.9", count=2)
    torch.testing.assert_close(values, found.values, atol=1e-5, rtol=1e-4)
    alive = found.values > 0
    assert torch.equal(numbers[alive], found.pictures[alive])
    wide = len(found.field.columns[0])
    assert torch.equal(places[alive], (found.places[..., 0] * wide + found.places[..., 1])[alive])
    patches, field = top_patches(model, images, "features.9", units=[0, 1], count=2), found.field
    for unit in (0, 1):
        n, (row, column) = int(numbers[unit, 0]), divmod(int(places[unit, 0]), wide)
        cut = reference("crop")(images[n], row, column, field.size[0], field.stride[0], field.start[0], 0.5)
        assert torch.equal(cut, patches[unit, 0])


def test_the_commonest_concept_by_hand():
    labels = torch.tensor([[1, 1, 2, 0], [0, 0, 0, 0], [3, 3, 3, 3], [0, 0, 0, 5]])
    assert reference("commonest")(labels).tolist() == [0.5, 0.0, 1.0, 0.25]


def other_filter_grid(weight, columns):
    k, c, h, w = weight.shape
    rows = (k + columns - 1) // columns
    tiles = torch.ones(rows * columns, c, h + 1, w + 1, dtype=weight.dtype)
    tiles[:k, :, :h, :w] = weight / weight.abs().flatten(1).max(1).values.view(-1, 1, 1, 1) / 2 + 0.5
    sheet = tiles.view(rows, columns, c, h + 1, w + 1).permute(2, 0, 3, 1, 4)
    return sheet.reshape(c, rows * (h + 1), columns * (w + 1))[:, :-1, :-1]


def other_strongest(batches, count):
    kept = []
    for maps in batches:
        flat = maps.reshape(*maps.shape[:2], -1)
        kept.append((flat.amax(2), flat.argmax(2)))
    values, places = (torch.cat(part) for part in zip(*kept, strict=True))
    best = values.topk(count, dim=0)
    return best.values.T, best.indices.T, places.gather(0, best.indices).T


def other_crop(picture, row, column, size, stride, start, fill):
    wide = torch.nn.functional.pad(picture, (40,) * 4, value=fill)
    top, left = 40 + start + row * stride, 40 + start + column * stride
    return wide[:, top : top + size, left : left + size]


def other_commonest(labels):
    shares = [max([(row == c).sum() for c in row if c > 0], default=torch.tensor(0)) for row in labels]
    return torch.stack(shares) / labels.shape[1]


@pytest.mark.parametrize("own", [other_filter_grid, other_strongest, other_crop, other_commonest])
def test_another_right_way_of_writing_it_gets_all_points(own):
    exercise = find("visualization." + own.__name__.removeprefix("other_"))
    assert check(exercise.id, own) == exercise.points
