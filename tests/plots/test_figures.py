"""Figures: the numbers on the scales are the maps' own, nothing goes through pyplot, nothing is changed."""

from __future__ import annotations

import io
import sys
import threading

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from torch import Tensor

from labkit.evaluation import Interval
from labkit.plots import (
    overlay,
    scale_of,
    show_curves,
    show_intervals,
    show_maps,
    show_pictures,
    show_scores,
)


def pictures(n: int = 3, channels: int = 3) -> Tensor:
    return torch.rand(n, channels, 20, 20, generator=torch.Generator().manual_seed(0))


def drawn(figure: Figure) -> list[AxesImage]:
    return [image for axes in figure.axes for image in axes.get_images()]


def rendered(figure: Figure, ground: str = "none") -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=ground)
    return np.asarray(Image.open(buffer).convert("RGBA"))


def test_a_map_is_drawn_with_its_own_values_on_one_scale_a_row() -> None:
    images, maps = pictures(), torch.rand(3, 20, 20) * torch.tensor([1.0, 2.0, 4.0])[:, None, None]
    signed = maps - 1
    panels = drawn(show_maps(images, {"plain": maps, "signed": signed}))[3:]
    for panel, values in zip(panels[:3], maps, strict=True):
        assert np.array_equal(panel.get_array(), values.numpy())
        assert panel.get_clim() == (0, float(maps.max()))
        assert panel.get_cmap().name == "viridis"
    reach = float(signed.abs().max())
    for panel in panels[3:6]:
        assert panel.get_clim() == (-reach, reach)
        assert panel.get_cmap().name == "RdBu_r"


def test_rows_share_a_scale_only_if_asked() -> None:
    maps = {"a": torch.rand(2, 8, 8), "b": 10 * torch.rand(2, 8, 8)}
    apart = {
        panel.get_clim() for panel in drawn(show_maps(pictures(2), maps))[2:] if panel.get_array().ndim == 2
    }
    together = {
        panel.get_clim()
        for panel in drawn(show_maps(pictures(2), maps, shared=True))[2:]
        if panel.get_array().ndim == 2
    }
    assert len(apart) == 2
    assert together == {(0, float(maps["b"].max()))}


def test_every_row_of_maps_has_a_bar_with_numbers() -> None:
    figure = show_maps(pictures(2), {"a": torch.rand(2, 8, 8), "b": torch.randn(2, 8, 8)}, ["x", "y"])
    rendered(figure)
    bars = [axes for axes in figure.axes if hasattr(axes, "_colorbar")]
    assert len(bars) == 2
    assert all(any(t.get_text() for t in bar.get_yticklabels()) for bar in bars)
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["x", "y"]
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["a", "b"]


def test_maps_stand_below_their_pictures() -> None:
    figure = show_maps(pictures(3), {"a": torch.rand(3, 20, 20)})
    rendered(figure)
    boxes = [image.axes.get_position() for image in drawn(figure)[:6]]
    for above, below in zip(boxes[:3], boxes[3:], strict=True):
        assert (above.x0, above.x1) == pytest.approx((below.x0, below.x1))


def test_one_bright_pixel_does_not_darken_the_rest() -> None:
    maps = torch.rand(1, 40, 40)
    maps[0, 3, 3] = 100
    low, high, _ = scale_of(maps)
    assert low == 0
    assert 0.9 < high < 1
    figure = show_maps(pictures(1), {"a": maps})
    assert [a._colorbar.extend for a in figure.axes if hasattr(a, "_colorbar")] == ["max"]
    figure = show_maps(pictures(1), {"a": maps.clamp(max=1)})
    assert [a._colorbar.extend for a in figure.axes if hasattr(a, "_colorbar")] == ["neither"]
    assert scale_of(-maps)[:2] == (-high, high)


@pytest.mark.parametrize("level", [0.0, 2.5, -2.5])
def test_constant_maps_are_legal(level: float) -> None:
    maps = torch.full((2, 9, 9), level)
    low, high, _ = scale_of(maps)
    assert low < high
    assert high == (abs(level) or 1)
    rendered(show_maps(pictures(2), {"a": maps}))
    assert overlay(pictures(1)[0, :, :9, :9], maps[0]).shape == (9, 9, 3)


def test_a_map_of_one_bright_window_keeps_it() -> None:
    maps = torch.zeros(1, 40, 40)
    maps[0, 0, 0] = 3
    assert scale_of(maps) == (0, 3, "viridis")


def test_overlay_shows_signs_by_colour_and_the_picture_at_zero() -> None:
    image = torch.full((3, 2, 3), 0.5)
    values = torch.tensor([[2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    mixed = overlay(image, values).astype(int)
    red, grey, blue = mixed[0]
    assert grey.tolist() == [128, 128, 128]
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 80
    assert abs(red - 128).sum() > abs(mixed[1, 0] - 128).sum() > 0
    assert overlay(image, values).dtype == np.uint8
    assert overlay(pictures(1, 1)[0], torch.rand(20, 20)).shape == (20, 20, 3)


def test_scores_are_the_top_classes_by_probability() -> None:
    logits = torch.tensor([1.0, 4.0, -2.0, 3.0])
    figure = show_scores(logits, ["ant", "bee", "cow", "dog"], top=3)
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["bee", "dog", "ant"]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx(logits.softmax(0)[[1, 3, 0]].tolist())
    assert "logit 4.0" in axes.texts[0].get_text()
    assert f"{widths[0]:.1%}" in axes.texts[0].get_text()
    assert len(show_scores(logits, "abcd", top=9).axes[0].patches) == 4


def test_intervals_are_drawn_where_they_lie() -> None:
    figure = show_intervals({"a": (2.0, 1.0, 3.0), "b": (5.0, 4.5, 6.0)}, baseline=1.0, unit="ratio")
    axes = figure.axes[0]
    lines = [line.get_xdata() for line in axes.get_lines()]
    assert [list(map(float, line)) for line in lines[:4]] == [[1, 3], [2], [4.5, 6], [5]]
    assert list(lines[4]) == [1, 1]
    assert axes.get_xlabel() == "ratio"


def test_a_contact_sheet_has_all_pictures_and_titles() -> None:
    figure = show_pictures(pictures(5), ["a", "b", "c", "d", "e"], columns=3)
    assert len(drawn(figure)) == 5
    assert [axes.get_title() for axes in figure.axes[:5]] == ["a", "b", "c", "d", "e"]
    assert len(drawn(show_pictures(pictures(2, 1), columns=6))) == 2


@pytest.mark.parametrize("shape", [(2, 20, 20), (3, 1, 20, 20), (20, 20)])
def test_maps_and_pictures_must_go_together(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"'mine' must have the shape \(3, H, W\)"):
        show_maps(pictures(3), {"mine": torch.zeros(shape)})


@pytest.mark.parametrize("ground", ["white", "#111418"])
def test_text_reads_on_light_and_dark_ground(ground: str) -> None:
    """WCAG's contrast of the ink for large text is 3; ticks and frames must not be black on black."""
    figure = show_intervals({"a": (2.0, 1.0, 3.0)}, unit="ratio")
    from matplotlib.colors import to_rgb

    def light(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    axes = figure.axes[0]
    inks = [axes.xaxis.label.get_color(), *(t.get_color() for t in axes.get_yticklabels())]
    inks += [t.get_color() for t in axes.get_xticklabels()]
    for ink in inks:
        bright, dark = sorted((light(ink), light(ground)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3.8
    assert rendered(figure)[0, 0, 3] == 0, "the ground must be transparent"


def test_figures_are_drawn_in_threads_without_pyplot_and_leave_the_maps_alone() -> None:
    images, maps = pictures(), torch.randn(3, 20, 20, requires_grad=True)
    before, answers = maps.detach().clone(), []

    def work() -> None:
        answers.append(rendered(show_maps(images, {"a": maps})))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    assert all(np.array_equal(answers[0], other) for other in answers[1:])
    assert torch.equal(maps, before)

    managers = sys.modules.get("matplotlib._pylab_helpers")
    assert managers is None or not managers.Gcf.figs


def test_curves_show_their_values_bands_and_names() -> None:
    points = [Interval(0.5, 0.4, 0.7), Interval(0.6, 0.5, 0.8)]
    figure = show_curves(
        [1, 2], {"one": points, "two": [0.1, 0.2]}, xlabel="step", ticks=["a", "b"], baseline=0.3
    )
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["one"].get_ydata().tolist() == [0.5, 0.6]
    assert lines["two"].get_ydata().tolist() == [0.1, 0.2]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert {0.4, 0.8} <= set(band.round(6).tolist())
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    with pytest.raises(ValueError, match=r"the line 'two' must have one point for each of 2 x; got 1"):
        show_curves([1, 2], {"one": points, "two": [0.1]})
