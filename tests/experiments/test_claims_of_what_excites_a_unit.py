"""The experiments of lab 13: what they measure, beside what, and with whose functions; and their tools."""

from __future__ import annotations

import pytest
import torch

from labkit.exercises import find
from labkit.experiments import excitement_demonstrations as demonstrations
from labkit.experiments import synthesis_judge
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.synthesis_judge import apart, codes, distance, high_share, in_spectrum, spectrum
from labkit.experiments.what_excites_a_unit import patches_of

from .spy import assert_sound, controls, quick

SMOOTH = "plain L2 in the same spectrum, minus plain L2"
WANTED = {
    "V6": {
        "the judge names the class: Yosinski's four minus plain L2": (
            ">= 0.2",
            [SMOOTH, "the twin's images, share named"],
        ),
        "distance of the nearest real scene: Yosinski's four minus plain L2": (
            "<= 0 (upper bound)",
            [SMOOTH, "Fourier minus plain L2"],
        ),
        "share of high frequencies: Yosinski's four minus plain L2": (
            "< 0 (upper bound)",
            ["Fourier minus plain L2"],
        ),
    },
    "V7": {
        "distance gained since the start: own pictures minus pictures that leave the unit cold": (
            "> 0 (lower bound)",
            [
                "gained from own pictures",
                "gained from cold pictures",
                "distance of the starts over that of the images",
            ],
        ),
        "least activation of a unit's images over its largest": (">= 0.8", []),
    },
    "V9": {
        "the reader is right: top patches minus synthesized": (
            ">= 0.05 (lower bound)",
            [
                "top patches",
                "synthesized",
                "another unit's image, minus a half",
                "photographs in the made images' spectrum",
                "blind: contrast",
                "blind: brightness",
                "blind: how much fires in all",
            ],
        ),
    },
}
SHOWN = {"V6": {"bars", "images", "titles"}, "V7": {"images"}, "V9": {"bars"}}


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert (result.id, set(result.show)) == (id, SHOWN[id])
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "13_what_excites_a_unit"


def test_the_judge_is_another_network_than_those_that_are_visualized():
    assert synthesis_judge.JUDGE not in Bench("full").seeds
    assert find("visualization.reader")


def test_a_spectrum_is_taken_over_and_phases_stay():
    draw = torch.Generator().manual_seed(0)
    white = 0.5 + 0.05 * torch.randn(2, 3, 32, 32, generator=draw)
    coarse = torch.nn.functional.avg_pool2d(white, 5, 1, 2)
    found = in_spectrum(white, spectrum(coarse))
    assert torch.allclose(spectrum(found)[1:15], spectrum(coarse)[1:15], rtol=0.05)
    assert high_share(found).max() < 0.8 * high_share(white).min()
    own = torch.fft.rfft2(found)[..., 1:5, 1:5].angle() - torch.fft.rfft2(white)[..., 1:5, 1:5].angle()
    assert torch.cos(own).min() > 0.99


def test_a_wave_s_high_share_is_all_or_nothing():
    x = torch.arange(32.0)
    slow, fast = (0.5 + 0.2 * torch.cos(2 * torch.pi * k * x / 32) for k in (2, 10))
    waves = torch.stack([slow, fast])[:, None, None, :].expand(2, 3, 32, 32)
    assert high_share(waves).tolist() == pytest.approx([0, 1], abs=1e-5)


def test_pictures_are_apart_by_their_cosines():
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = codes(images)
    assert torch.allclose(found.norm(dim=1), torch.ones(3))
    pairs = [float(distance(found, found)[i, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert apart(images) == pytest.approx(sum(pairs) / 3, abs=1e-5)


def test_a_patch_lies_about_the_peak_and_within_the_picture():
    images = torch.zeros(2, 3, 128, 128)
    maps = torch.zeros(2, 16, 16)
    maps[0, 8, 5] = maps[1, 0, 15] = 1
    images[0, :, 8 * 8 + 4, 5 * 8 + 4] = 1
    images[1, :, 4, 124] = 1
    found = patches_of(images, maps)
    assert found.shape == (2, 3, 64, 64)
    assert found[0, 0, 32, 32] == 1
    assert found[1, 0, 4, 60] == 1


def test_the_quiz_shows_a_unit_a_row_and_its_two_pictures_with_both_guesses():
    made, pairs, patches = torch.rand(2, 3, 8, 8), torch.rand(2, 2, 3, 8, 8), torch.rand(2, 4, 3, 4, 4)
    asked = demonstrations.Quiz(made, patches, pairs, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "AB")
    images, titles = demonstrations.shown_images(asked)
    assert titles == [f"unit {k}: {what}" for k in (1, 2) for what in ("made for it", "A", "B")]
    assert torch.equal(images[3:6], torch.cat([made[1:], pairs[1]]))
    images, titles = demonstrations.shown_patches(asked)
    assert titles[6:] == [f"unit 2: {what}" for what in ("top 1", "top 2", "top 3", "top 4", "A", "B")]
    assert torch.equal(images[6:10, :, ::2, ::2], patches[1])
    assert torch.equal(images[10:], pairs[1])
