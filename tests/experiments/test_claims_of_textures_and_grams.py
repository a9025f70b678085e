"""The experiment of lab 52: what it measures, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch

from labkit.exercises import find
from labkit.experiments import texture_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.textures_and_grams import Ruler, growth, pieces, typical
from labkit.models import load_model, record
from labkit.style.gram import gram_loss, gram_matrix

from .spy import assert_sound, controls, quick, unwritten

NAMES = ["gram_matrix", "gram_loss", "color_controls", "autocorrelation_length", "next_pixel"]
OWN = {name: find(f"style.{name}").reference for name in NAMES}
COLOURS = ["twin's Gram", "permuted pixels", "matched mean and covariance"]


def test_it_measures_what_the_claim_says_beside_its_controls():
    result, called = quick("S3")
    assert controls(result) == {
        "judge's Gram distance, synthesis over another piece of the texture": (
            "<= 2", [*COLOURS, "Efros-Leung"]
        ),
        "pixel distance, synthesis over another piece of the texture": (">= 0.9", COLOURS),
        "growth of the autocorrelation length with each layer": ("> 0 (lower bound)", ["twin"]),
    }  # fmt: skip
    assert result.measures[0].must == dict.fromkeys(COLOURS, "> 2")
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS["S3"].own.values())
    assert EXPERIMENTS["S3"].lab == "52_texture"


def test_the_ruler_is_the_library_s_loss():
    one, net = pieces(1, 32)[0], load_model("minivgg-11")
    layers = ["features.0", "features.4"]
    ruler = Ruler(net, layers, OWN["gram_matrix"], OWN["gram_loss"])
    with torch.no_grad(), record(net, *layers) as kept:
        net(torch.cat([one.others[:1], one.sample]))
    wanted = [float(gram_loss(kept[k][:1], gram_matrix(kept[k][1:]))) for k in layers]
    assert ruler(one.others[:1], one.sample) == pytest.approx(sum(wanted) / 2, rel=1e-5)
    assert ruler(one.sample, one.sample) == pytest.approx(0, abs=1e-9)


def test_ratios_and_growth_by_hand():
    assert typical([0.5, 2.0, 1.0]).value == pytest.approx(1)
    doubling = [[1.0, 2.0, 4.0], [3.0, 6.0, 12.0]]
    assert growth(doubling).value == pytest.approx(0.6931, abs=1e-3)
    assert growth([[2.0, 2.0], [5.0, 5.0]]).value == pytest.approx(0, abs=1e-9)


def test_a_texture_grows_by_the_student_s_pixel_and_layers_are_named_for_a_guest():
    bench, line = Bench("quick"), torch.arange(24) % 4 < 2
    board = (line[:, None] ^ line[None]).float().expand(3, 24, 24)
    grown = demonstrations.grown(bench, board, next_pixel=OWN["next_pixel"], window=7, tolerance=0.0)
    assert any(torch.equal(grown, board[:, d : d + 10, r : r + 10]) for d in range(4) for r in range(4))
    net = torch.nn.Sequential(*[m for _ in range(8) for m in (torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU())])
    given = demonstrations.samples(bench, net)
    assert list(given.layers.values()) == ["1", "3", "5", "9"]
    assert given.texture.shape == given.other.shape == (3, 32, 32)


def test_the_search_uses_the_student_s_functions():
    bench, net = Bench("quick"), load_model("minivgg")
    given = demonstrations.samples(bench, net)
    own = {name: OWN[name] for name in NAMES[:2]}
    made = demonstrations.by_layer(bench, net, given, **own)
    assert list(made) == ["the texture", "conv1", "up to conv2", "up to conv3", "up to conv4"]
    with pytest.raises(NotImplementedError):
        demonstrations.by_layer(bench, net, given, **{**own, "gram_loss": unwritten})
    shown = demonstrations.beside(given, made, color_controls=OWN["color_controls"])
    away = demonstrations.distances(net, list(given.layers.values()), shown, **own)
    assert away["made from it"] < away["permuted pixels"]
    found = demonstrations.lengths(shown, autocorrelation_length=OWN["autocorrelation_length"])
    assert found["permuted pixels"] < found["another piece"]
    assert list(demonstrations.by_window(bench, given.texture, (3, 5))) == ["window 3", "window 5"]
