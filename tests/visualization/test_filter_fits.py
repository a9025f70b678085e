"""Planted Gabors and blobs are found with their parameters; noise is not; bad filters are refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from labkit.evaluation.controls import phase_shuffled
from labkit.visualization import gabor_fit, gabor_fit_result, opponent_fit, opponent_fit_result

SIDE = 11
ROWS, COLUMNS = torch.meshgrid(*[torch.arange(SIDE).double()] * 2, indexing="ij")
PLANTED = {  # row, column, across, along, angle, frequency, phase, amplitude
    "an edge": (5.0, 5.0, 1.8, 3.0, 0.4, 0.12, math.pi / 2, 0.3),
    "a line off the middle": (3.2, 6.4, 1.5, 2.5, 2.1, 0.2, 0.0, 2.0),
    "a fine grating": (5.5, 4.5, 2.5, 2.0, 1.2, 0.31, -1.0, 0.01),
    "stripes down": (5.0, 5.0, 2.0, 4.0, 0.0, 0.25, 0.7, 1.0),
}


def gabor(row, column, across, along, angle, frequency, phase, amplitude) -> Tensor:
    y, x = ROWS - row, COLUMNS - column
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    envelope = torch.exp(-((u / across) ** 2 + (v / along) ** 2) / 2)
    return amplitude * envelope * torch.cos(2 * math.pi * frequency * u + phase)


def turned(a: Tensor, b: float, period: float) -> float:
    """How far apart two angles are."""
    return abs((float(a) - b + period / 2) % period - period / 2)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_gabor_is_found_with_its_eight_parameters(name: str) -> None:
    row, column, across, along, angle, frequency, phase, amplitude = PLANTED[name]
    colour = torch.tensor([0.6, -0.0, 0.8], dtype=torch.float64)
    planted = gabor(*PLANTED[name])
    fit = gabor_fit_result(colour[:, None, None] * planted[None, None])
    assert float(fit.r2) > 0.999
    assert torch.allclose(fit.center[0], torch.tensor([row, column]).double(), atol=0.05)
    assert turned(fit.angle[0], angle, math.pi) < 0.02
    assert float(fit.frequency) == pytest.approx(frequency, abs=0.005)
    assert torch.allclose(fit.sigma[0], torch.tensor([across, along]).double(), atol=0.1)
    assert float(fit.amplitude) == pytest.approx(amplitude, rel=0.05)
    sign = 1 if math.cos(float(fit.angle) - angle) > 0 else -1  # a hair below 0 is a hair below pi
    assert turned(sign * fit.phase[0], phase, 2 * math.pi) < 0.1
    assert torch.allclose(fit.fitted[0], planted, atol=0.02 * amplitude)
    assert torch.allclose(fit.colour[0], colour, atol=1e-6)
    assert float(fit.share) == pytest.approx(1.0)


def test_the_component_is_the_first_of_the_colours() -> None:
    planted, other = gabor(*PLANTED["an edge"]), gabor(*PLANTED["a fine grating"])
    one, two = torch.eye(3).double()[:2]
    mixed = 2 * one[:, None, None] * planted + one.new_tensor(0.5) * two[:, None, None] * other
    fit = gabor_fit_result(mixed[None])
    s = torch.linalg.svdvals(mixed.flatten(1))
    assert float(fit.share) == pytest.approx(float(s[0] ** 2 / (s**2).sum()))
    assert float(fit.r2) > 0.99


def test_noise_is_no_gabor_and_a_shuffled_gabor_neither() -> None:
    noise = torch.randn(12, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert float(gabor_fit(noise).max()) < 0.6
    planted = torch.stack([gabor(*p) for p in PLANTED.values()])[:, None]
    assert float(gabor_fit(phase_shuffled(planted)).median()) < 0.8


def test_r2_is_the_share_of_the_variance_and_has_no_unit() -> None:
    noisy = gabor(*PLANTED["an edge"])[None, None] + 0.05 * torch.randn(
        1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    fit = gabor_fit_result(noisy)
    left = ((fit.fitted - noisy[:, 0]) ** 2).sum() / ((noisy - noisy.mean()) ** 2).sum()
    assert float(fit.r2) == pytest.approx(1 - float(left), abs=1e-9)
    assert torch.allclose(gabor_fit(noisy * 1e-4), fit.r2, atol=1e-4)
    assert torch.allclose(gabor_fit(-noisy), fit.r2, atol=1e-3)


def test_a_planted_blob_is_found_with_its_colours() -> None:
    red, green = torch.tensor([0.8, -0.6, 0.0]).double(), torch.tensor([-0.1, 0.2, 0.05]).double()
    bump = torch.exp(-((ROWS - 4.3) ** 2 + (COLUMNS - 6.1) ** 2) / (2 * 1.9**2))
    fit = opponent_fit_result((red[:, None, None] * bump + green[:, None, None])[None])
    assert float(fit.r2) > 0.9999
    assert torch.allclose(fit.center[0], torch.tensor([4.3, 6.1]).double(), atol=0.01)
    assert float(fit.sigma) == pytest.approx(1.9, abs=0.01)
    assert torch.allclose(fit.colour[0], red, atol=0.01)
    assert torch.allclose(fit.ground[0], green, atol=0.01)
    assert float(fit.opponency) == pytest.approx(1 - 3 * (0.2 / 3) ** 2, abs=0.01)


def test_a_grey_blob_is_a_blob_but_no_opponent() -> None:
    bump = torch.exp(-((ROWS - 5) ** 2 + (COLUMNS - 5) ** 2) / 8)
    fit = opponent_fit_result(bump.expand(1, 3, -1, -1))
    assert float(fit.r2) > 0.999
    assert float(fit.opponency) < 1e-6
    pure = opponent_fit_result(torch.stack([bump, -bump, 0 * bump])[None])
    assert float(pure.opponency) == pytest.approx(1.0)


def test_nothing_to_explain_is_explained_by_nothing() -> None:
    flat = torch.zeros(2, 3, 7, 7)
    flat[1] = 0.5
    assert gabor_fit(flat).tolist()[0] == 0
    assert opponent_fit(flat).tolist() == [0, 0]
    assert torch.isfinite(gabor_fit_result(flat).amplitude).all()


@pytest.mark.parametrize("fit", [gabor_fit, opponent_fit])
@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        (torch.rand(7, 7), r"\(K, C, h, w\), as conv.weight has; got \(7, 7\)"),
        ([1, 2], "got list"),
        (torch.rand(2, 3, 3, 3), "at least 5 x 5 pixels.*minivgg-11"),
        (torch.full((1, 3, 7, 7), float("nan")), "filters must be finite"),
    ],
)
def test_bad_filters_are_refused(fit, filters, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        fit(filters)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be"):
        gabor_fit(torch.rand(1, 3, 7, 7), steps=0)
    with pytest.raises(ValueError, match="at least two channels"):
        opponent_fit(torch.rand(1, 1, 7, 7))
