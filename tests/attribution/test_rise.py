"""RISE against the definition mask by mask, constant models, and masks built as the paper draws them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from awkward import build, pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from labkit.attribution import rise, rise_result
from labkit.attribution.rise import cell_size, draw_grids, enlarge
from labkit.models import unit


class Constant(nn.Module):
    """The same outputs for every picture."""

    def __init__(self, *outputs: float) -> None:
        super().__init__()
        self.outputs = nn.Parameter(torch.tensor(outputs, dtype=torch.float64))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs.expand(len(x), -1)


class Spot(nn.Module):
    """The mean of a few rows and columns, and its negative."""

    def __init__(self, rows: slice, columns: slice) -> None:
        super().__init__()
        self.rows, self.columns, self.sizes = rows, columns, []
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        value = x[:, :, self.rows, self.columns].mean((1, 2, 3))
        return torch.stack([value, -value], 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_drawn(grid: Tensor, shift: Tensor, side: tuple[int, int]) -> Tensor:
    """The paper's steps with PyTorch's own enlargement: the whole mask, then the crop."""
    cells = grid.shape[-1] - 1
    high, wide = -(-side[0] // cells), -(-side[1] // cells)
    size = ((cells + 1) * high, (cells + 1) * wide)
    whole = F.interpolate(grid[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    row, column = shift.tolist()
    part = whole[row : row + side[0], column : column + side[1]]
    assert part.shape == side, "the crop left the mask"
    return part


@given(height=st.integers(2, 70), width=st.integers(2, 70), data=st.data())
@settings(deadline=None, max_examples=80)
def test_masks_are_enlarged_by_exactly_a_cell_and_cover_the_picture(
    height: int, width: int, data: st.DataObject
) -> None:
    cells = data.draw(st.integers(1, min(height, width, 9)))
    side = (height, width)
    cell = cell_size(side, cells)
    grids, shifts = draw_grids(6, cells, 0.5, cell, seeded())
    assert grids.shape == (6, cells + 1, cells + 1)
    assert (shifts >= 0).all()
    assert (shifts < torch.tensor(cell)).all()
    masks = enlarge(grids, shifts, side)
    expected = torch.stack([as_drawn(g, s, side) for g, s in zip(grids, shifts, strict=True)])
    assert torch.allclose(masks, expected, atol=1e-5)


def test_a_cell_is_not_stretched() -> None:
    """The centres of neighbouring cells lie a cell apart, also at the largest shift."""
    grid = torch.zeros(1, 8, 8)
    grid[0, 3, 5] = 1
    for shift in (0, 4):
        mask = enlarge(grid, torch.tensor([[shift, shift]]), (32, 32))[0]
        assert divmod(int(mask.argmax()), 32) == (3 * 5 + 2 - shift, 5 * 5 + 2 - shift)
        assert mask.max() == 1
        assert int((mask > 0).any(0).sum()) == int((mask > 0).any(1).sum()) == 9


def test_shifts_and_cells_are_drawn_evenly() -> None:
    grids, shifts = draw_grids(20000, 7, 0.3, (5, 5), seeded(3))
    assert set(grids.unique().tolist()) == {0.0, 1.0}
    assert abs(float(grids.mean()) - 0.3) < 0.002  # 5 standard errors
    assert sorted(shifts[:, 0].unique().tolist()) == [0, 1, 2, 3, 4]
    assert (shifts[:, 0].bincount() - 4000).abs().max() < 300
    assert not torch.equal(shifts[:, 0], shifts[:, 1])


@pytest.mark.parametrize("normalize", ["expected", "summed"])
@pytest.mark.parametrize("probability", [True, False])
@pytest.mark.parametrize("fill", ["black", "grey"])
def test_equals_the_definition_mask_by_mask(normalize: str, probability: bool, fill: str) -> None:
    model, images = build("float64"), pictures("float64").double()[..., :32, :27]
    result = rise_result(
        model, images, torch.tensor([3, 1]), masks=21, cells=3, p=0.4, probability=probability,
        normalize=normalize, fill=fill, generator=seeded(5), batch_size=8,
    )  # fmt: skip
    grids, shifts = draw_grids(21, 3, 0.4, (11, 9), seeded(5))
    back = {"black": 0.0, "grey": 0.5}[fill]
    for number, index in enumerate([3, 1]):
        total, shown = torch.zeros(32, 27).double(), torch.zeros(32, 27).double()
        for i in range(21):
            mask = as_drawn(grids[i].double(), shifts[i], (32, 27))
            with torch.no_grad():
                outputs = model((images[number] * mask + back * (1 - mask))[None])[0]
            score = (outputs.softmax(0) if probability else outputs)[index]
            assert torch.isclose(result.scores[number, i], score)
            total, shown = total + score * mask, shown + mask
        expected = total / (21 * 0.4) if normalize == "expected" else total / shown
        assert torch.allclose(result.map[number], expected, rtol=1e-9)
        assert torch.allclose(result.coverage, shown / 21, rtol=1e-9)
    assert result.map.dtype == torch.float64
    assert result.complete


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_a_constant_model_gives_a_flat_map_of_its_score(p: float) -> None:
    model, images = Constant(1.5, -0.5), torch.rand(2, 3, 24, 31)
    chance = float(model.outputs.detach().softmax(0)[0])
    for probability, score in ((True, chance), (False, 1.5)):
        options = {"masks": 3000, "p": p, "probability": probability, "batch_size": 500}
        result = rise_result(model, images, 0, **options)
        noise = score * ((1 - p) / p / 3000) ** 0.5  # of a pixel at a cell's centre; less elsewhere
        assert (result.map - score).abs().max() < 5 * noise
        assert abs(float(result.map.mean()) - score) < noise
        assert torch.allclose(result.map, score * result.coverage / p)
        flat = rise(model, images, 0, normalize="summed", **options)
        assert torch.allclose(flat, torch.full_like(flat, score), rtol=1e-12)


def test_a_dead_network_gives_a_flat_map_too() -> None:
    flat = rise(build("dead"), pictures("dead"), 1, masks=64, normalize="summed")
    assert flat.std((1, 2)).max() < 1e-6
    assert flat.min() > 0


def test_a_pixel_that_no_mask_shows_gets_the_mean_score() -> None:
    model, images = Constant(0.25), torch.rand(1, 3, 12, 12)
    options = {"masks": 2, "p": 0.02, "cells": 3, "probability": False}
    result = rise_result(model, images, 0, normalize="summed", **options)
    assert (result.coverage == 0).any()
    assert torch.allclose(result.map, torch.full_like(result.map, 0.25))


@pytest.mark.parametrize("side", [(32, 32), (128, 128), (64, 100)])
def test_finds_the_spot_at_every_size(side: tuple[int, int]) -> None:
    rows, columns = slice(side[0] // 2, side[0] * 3 // 4), slice(side[1] // 8, side[1] * 3 // 8)
    images = torch.full((1, 3, *side), 0.8)
    maps = rise(Spot(rows, columns), images, 0, masks=1000, probability=False, batch_size=100)
    row, column = divmod(int(maps.argmax()), side[1])
    assert rows.start <= row < rows.stop
    assert columns.start <= column < columns.stop
    assert torch.allclose(maps, -rise(Spot(rows, columns), images, 1, masks=1000, probability=False))


def test_the_masks_are_the_same_for_all_pictures_and_batch_sizes() -> None:
    model, images = build("functional"), pictures("functional", 3)
    whole = rise_result(model, images, 2, masks=50)
    for size in (1, 7, 50, 1000):
        other = rise_result(model, images[1:2], 2, masks=50, batch_size=size)
        assert torch.allclose(other.map[0], whole.map[1], rtol=1e-4)
        assert torch.allclose(other.scores[0], whole.scores[1], rtol=1e-4)
    spot = Spot(slice(0, 4), slice(0, 4))
    rise(spot, images, 0, masks=50, batch_size=20)
    assert spot.sizes == [3] + [20] * 6 + [10] * 3


def test_the_generator_decides() -> None:
    model, images = build("functional"), pictures("functional")
    plain = rise(model, images, 2, masks=30)
    assert torch.equal(plain, rise(model, images, 2, masks=30))
    assert torch.equal(plain, rise(model, images, 2, masks=30, generator=seeded(0)))
    generator = seeded(1)
    first = rise(model, images, 2, masks=30, generator=generator)
    assert not torch.allclose(plain, first)
    assert not torch.allclose(first, rise(model, images, 2, masks=30, generator=generator))


def test_probability_is_for_classes_only() -> None:
    model, images = build("functional"), pictures("functional")
    logits = rise(model, images, 2, masks=30, probability=False)
    assert not torch.allclose(rise(model, images, 2, masks=30), logits)
    assert torch.allclose(rise(model, images, lambda out: out[:, 2], masks=30), logits)
    chance = rise(model, images, lambda out: out.softmax(1)[:, 2], masks=30)
    assert torch.allclose(rise(model, images, torch.tensor([2, 2]), masks=30), chance)
    by_unit = rise_result(model, images, unit("conv2", 1), masks=30)
    assert torch.equal(by_unit.map, rise(model, images, unit("conv2", 1), masks=30, probability=False))
    one = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1)).eval()
    with pytest.raises(ValueError, match=r"probability of a class needs at least two.*\(2, 1\).*sigmoid"):
        rise(one, images, 0)
    assert rise(one, images, 0, masks=30, probability=False).std() > 0


def test_half_precision_does_not_lose_the_later_masks() -> None:
    images = torch.rand(1, 3, 16, 16)
    model = Constant(1.0, 1.0).to(torch.bfloat16)
    maps = rise(model, images, 0, masks=3000, batch_size=10)
    assert maps.dtype == torch.bfloat16
    assert (maps.float() - 0.5).abs().max() < 0.05


def test_stops_early_with_the_map_of_the_masks_tried() -> None:
    model, images = build("functional"), pictures("functional")
    asked: list[int] = []
    shares: list[float] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    options = {"cells": 4, "batch_size": 10}
    part = rise_result(model, images, 1, masks=40, should_stop=stop, progress=shares.append, **options)
    assert not part.complete
    assert part.scores.shape == (2, 20)
    assert shares == [0.25, 0.5]
    whole = rise_result(model, images, 1, masks=40, **options)
    assert whole.complete
    assert torch.equal(part.scores, whole.scores[:, :20])
    assert abs(float(part.coverage.mean()) - 0.5) < 0.1
    assert abs(float(part.map.mean() / part.scores.mean()) - 1) < 0.2
    for normalize in ("expected", "summed"):
        none = rise_result(model, images, 1, should_stop=lambda: True, normalize=normalize)
        assert none.scores.shape == (2, 0)
        assert not none.map.any()
        assert not none.complete


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"p": 0}, "p must be a number above 0 and below 1; got 0"),
        ({"p": 1.0}, "p must be.*got 1.0.*p=0.5"),
        ({"p": -0.1}, "p must be.*got -0.1"),
        ({"p": float("nan")}, "p must be.*got nan"),
        ({"p": True}, "p must be.*got True"),
        ({"p": "half"}, "p must be.*got 'half'"),
        ({"cells": 33}, r"cells must not be more.*\(32\); got 33.*cells=7"),
        ({"cells": 0}, "cells must be a whole number of at least 1; got 0"),
        ({"masks": 0}, "masks must be a whole number of at least 1; got 0"),
        ({"masks": 2.5}, "masks must be a whole number of at least 1; got 2.5"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"normalize": "sum"}, "normalize must be one of 'expected', 'summed'; got 'sum'.*'summed'"),
        ({"fill": "gray"}, "fill must be one of.*'grey'"),
    ],
    ids=str,
)
def test_refuses(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rise(build("functional"), pictures("functional"), 0, **options)


def test_a_cell_may_be_a_pixel() -> None:
    images = torch.rand(1, 3, 4, 6)
    result = rise_result(Constant(1.0, 0.0), images, 0, cells=4, masks=50)
    assert result.map.shape == (1, 4, 6)
