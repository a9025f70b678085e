"""Occlusion against linear models solved by hand, brute force and Captum; its windows by hypothesis."""

from __future__ import annotations

import pytest
import torch
from awkward import build, pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from labkit.attribution import occlusion, occlusion_result
from labkit.attribution.occlusion_sensitivity import assemble, window_starts


class Sum(nn.Module):
    """The score of class 0 is the sum of all pixels, that of class 1 its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum((1, 2, 3))
        return torch.stack([total, -total], 1)


class Counts(Sum):
    calls, largest = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls, self.largest = self.calls + 1, max(self.largest, len(x))
        return super().forward(x)


def brute_force(
    model: nn.Module, image: Tensor, target: int, window: int, stride: int, fill: float
) -> Tensor:
    """By the definition, pixel by pixel."""
    side_y, side_x = image.shape[2:]
    total, count = torch.zeros(side_y, side_x).double(), torch.zeros(side_y, side_x).double()
    with torch.no_grad():
        base = model(image)[0, target]
        for y in sorted({*range(0, side_y - window + 1, stride), side_y - window}):
            for x in sorted({*range(0, side_x - window + 1, stride), side_x - window}):
                hidden = image.clone()
                hidden[..., y : y + window, x : x + window] = fill
                total[y : y + window, x : x + window] += base - model(hidden)[0, target]
                count[y : y + window, x : x + window] += 1
    return total / count


@given(side=st.integers(1, 60), data=st.data())
@settings(deadline=None)
def test_windows_cover_every_pixel_and_stay_inside(side: int, data: st.DataObject) -> None:
    window = data.draw(st.integers(1, side))
    stride = data.draw(st.integers(1, window))
    starts = window_starts(side, window, stride)
    assert starts[0] == 0
    assert starts[-1] == side - window
    assert all(0 < b - a <= stride for a, b in zip(starts, starts[1:], strict=False))
    assert {p for s in starts for p in range(s, s + window)} == set(range(side))
    assert starts[:-1] == list(range(0, side - window, stride))[: len(starts) - 1]


@given(
    height=st.integers(3, 24), width=st.integers(3, 24), window=st.integers(1, 9), stride=st.integers(1, 9)
)
@settings(deadline=None, max_examples=60)
def test_a_sum_model_gives_a_flat_map_up_to_the_edges(
    height: int, width: int, window: int, stride: int
) -> None:
    window = min(window, height, width)
    images = torch.ones(1, 3, height, width, dtype=torch.float64)
    maps = occlusion(Sum(), images, 0, window=window, stride=min(stride, window), fill=0.0)
    assert torch.allclose(maps, torch.full_like(maps, 3.0 * window**2), atol=1e-9)


@given(data=st.data(), rows=st.integers(1, 20), columns=st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_the_map_is_the_mean_over_the_windows_on_a_pixel(
    data: st.DataObject, rows: int, columns: int
) -> None:
    window = data.draw(st.integers(1, min(rows, columns)))
    stride = data.draw(st.integers(1, window))
    ys, xs = window_starts(rows, window, stride), window_starts(columns, window, stride)
    drops = torch.randn(2, len(ys), len(xs), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = assemble(drops, ys, xs, window, (rows, columns))
    y, x = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    hiding = [
        drops[:, i, j]
        for i, top in enumerate(ys)
        for j, left in enumerate(xs)
        if top <= y < top + window and left <= x < left + window
    ]
    assert torch.allclose(maps[:, y, x], torch.stack(hiding).mean(0))


def test_of_a_linear_model_it_is_exact() -> None:
    """One pixel at a time, filled with black: the drop is weight times pixel, summed over the colours."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 7, 2)).double().eval()
    images = torch.rand(3, 3, 5, 7, dtype=torch.float64)
    weights = model[1].weight.detach().view(2, 3, 5, 7)
    targets = torch.tensor([1, 0, 1])
    maps = occlusion(model, images, targets, window=1, stride=1, fill="black")
    assert torch.allclose(maps, (weights[targets] * images).sum(1), atol=1e-12)


@pytest.mark.parametrize(("window", "stride"), [(3, 3), (4, 3), (5, 2), (7, 7), (1, 1)])
def test_equals_brute_force(window: int, stride: int) -> None:
    torch.manual_seed(1)
    model = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 8 * 6, 3)).double().eval()
    )
    images = torch.rand(2, 3, 10, 8, dtype=torch.float64)
    maps = occlusion(model, images, 2, window=window, stride=stride, fill=0.25, batch_size=5)
    for number in range(2):
        expected = brute_force(model, images[number : number + 1], 2, window, stride, 0.25)
        assert torch.allclose(maps[number], expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_captum_where_the_windows_fit() -> None:
    captum = pytest.importorskip("captum.attr")
    model, images = build("batch norm"), pictures("batch norm")
    expected = captum.Occlusion(model).attribute(
        images, sliding_window_shapes=(3, 8, 8), strides=(3, 4, 4), baselines=0.5, target=1
    )
    maps = occlusion(model, images, 1, window=8, stride=4)
    assert torch.allclose(maps, expected[:, 0], rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("side", "window", "stride"), [(32, 5, 1), (128, 18, 4), (224, 32, 8), (3, 1, 1)])
def test_defaults_grow_with_the_picture(side: int, window: int, stride: int) -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    result = occlusion_result(model, torch.rand(1, 3, side, side), 0)
    assert result.window == window
    assert int(result.rows[1] - result.rows[0]) == stride


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_hiding_a_flat_picture_by_its_own_blur_or_mean_changes_nothing(level: float) -> None:
    """Up to the edges: a blur that pads with black would show there."""
    images = torch.full((1, 3, 20, 20), level, dtype=torch.float64)
    for fill in ("blur", "mean"):
        assert occlusion(Sum(), images, 0, window=5, fill=fill).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("fill", "error", "sentence"),
    [
        ("gray", ValueError, "Did you mean 'grey'"),
        (127, ValueError, "divided by 255"),
        (float("nan"), ValueError, "0 to 1"),
        (None, ValueError, "0 to 1"),
        (torch.rand(3, 7, 7), ValueError, r"broadcast.*\(3, 7, 7\)"),
        (torch.full((3, 1, 1), 2.0), ValueError, r"fill must lie within \[0, 1\]"),
        (torch.full((3, 1, 1), 255), TypeError, "fill must hold floating-point"),
    ],
    ids=["name", "grey level", "nan", "none", "shape", "range", "whole numbers"],
)
def test_refuses_illegal_fills(fill: object, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        occlusion(Sum(), torch.rand(1, 3, 8, 8), 0, fill=fill)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"window": 9}, r"window.*\(8 pixels\); got 9"),
        ({"window": 0}, "window must be a whole number"),
        ({"window": 2.5}, "window must be a whole number"),
        ({"window": True}, "window must be a whole number"),
        ({"window": 4, "stride": 5}, r"stride.*\(4 pixels\).*got 5"),
        ({"stride": 0}, "stride must be a whole number"),
        ({"stride": -1}, "stride must be a whole number"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
    ],
)
def test_refuses_illegal_windows(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        occlusion(Sum(), torch.rand(1, 3, 8, 8), 0, **options)


def test_result_holds_what_was_measured() -> None:
    images = torch.ones(2, 3, 10, 8)
    result = occlusion_result(Sum(), images, torch.tensor([0, 1]), window=4, stride=4, fill="black")
    assert result.rows.tolist() == [0, 4, 6]
    assert result.columns.tolist() == [0, 4]
    assert result.drops.shape == (2, 3, 2)
    assert result.score.tolist() == [240, -240]
    assert torch.equal(result.drops[0], torch.full((3, 2), 48.0))
    assert torch.equal(result.drops[1], torch.full((3, 2), -48.0))
    assert torch.equal(result.map, occlusion(Sum(), images, torch.tensor([0, 1]), window=4, stride=4, fill=0))
    assert result.complete


def test_windows_go_through_the_network_in_batches() -> None:
    model = Counts()
    shares: list[float] = []
    occlusion_result(
        model, torch.rand(2, 3, 8, 8), 0, window=2, stride=2, batch_size=6, progress=shares.append
    )
    assert model.largest == 6
    assert model.calls == 1 + 2 * 3
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) == 6


def test_can_be_stopped_and_says_so() -> None:
    model, answers = Counts(), iter([False, False, True])
    images = torch.ones(2, 3, 8, 8)
    result = occlusion_result(
        model, images, 0, window=2, stride=2, fill="black", batch_size=4, should_stop=lambda: next(answers)
    )
    assert not result.complete
    assert model.calls == 1 + 2
    assert torch.equal(result.drops[0].flatten()[:8], torch.full((8,), 12.0))
    assert not result.drops[0].flatten()[8:].any()
    assert not result.drops[1].any()
    assert result.map.shape == (2, 8, 8)


def test_an_exception_in_progress_ends_the_work() -> None:
    def stop(_share: float) -> None:
        raise KeyboardInterrupt

    model = Counts()
    with pytest.raises(KeyboardInterrupt):
        occlusion_result(model, torch.rand(1, 3, 8, 8), 0, window=2, batch_size=1, progress=stop)
    assert model.calls == 2


def test_a_bar_shows_only_when_it_takes_long(capfd: pytest.CaptureFixture[str]) -> None:
    occlusion(Sum(), torch.rand(1, 3, 8, 8), 0)
    assert capfd.readouterr() == ("", "")
