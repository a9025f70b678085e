"""The experiments of lab 51: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.exercises import find
from labkit.experiments import inversion_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench, experiments
from labkit.experiments.dreaming_layers import CONTROLS, equal_change
from labkit.experiments.inverting_and_dreaming import correlation_of, features_of
from labkit.models import load_model, record

from .spy import assert_sound, controls, quick

experiments()
OTHERS = ["unrelated scene", "nearest of 100", "own mean colour"]
WANTED = {
    "S1": {
        "fall of the correlation from one layer to the next, every picture": ("> 0 (lower bound)", ["twin"]),
        "class kept by the inversion of conv6, says the judge": (
            ">= 0.9", ["twin", "nearest of 100", "unrelated scene", "own mean colour"]
        ),
        "correlation at conv6, trained minus twin": ("< 0 (upper bound)", ["trained", "twin", *OTHERS]),
    },
    "S2": {
        "length of the layer, dream over its best control": (
            ">= 2 (lower bound)", [f"dream over {way}" for way in CONTROLS]
        ),
        "a step beside the slope of half the squared length, largest difference over the step": (
            "<= 1e-5", []
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "51_inverting_and_dreaming"
    assert any("the judge names" in note for note in result.notes)


def test_a_change_is_as_long_as_asked_after_clamping():
    draw = torch.Generator().manual_seed(0)
    images, change = torch.rand(3, 3, 8, 8, generator=draw), torch.randn(3, 3, 8, 8, generator=draw)
    size = torch.tensor([0.5, 2.0, 4.0])
    made = equal_change(images, change, size)
    assert torch.allclose((made - images).flatten(1).norm(dim=1), size, rtol=1e-3)
    assert 0 <= made.min() <= made.max() <= 1


def test_a_network_run_to_a_layer_gives_what_the_whole_one_records():
    model, images = load_model("minivgg"), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        for layer in ("features.2", "features.13"):
            with record(model, layer) as kept:
                model(images)
            assert torch.equal(features_of(model, layer)(images), kept[layer])


def test_the_correlation_is_the_exercise_s():
    a, b = torch.rand(3, 3, 6, 6), torch.rand(3, 3, 6, 6)
    assert torch.allclose(correlation_of(a, b), find("style.correlation").reference(a, b), atol=1e-6)


def test_layers_of_a_guest_are_blocks_of_one_depth():
    block = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU())  # noqa: E731
    guest = nn.Sequential(*(block(3 if k == 0 else 4, 4) for k in range(6)), nn.AdaptiveAvgPool2d(1)).eval()
    assert list(demonstrations.layers_of(guest, torch.rand(1, 3, 16, 16))) == ["1", "2", "4", "5"]
    with pytest.raises(ValueError, match="must have layers that give feature maps"):
        demonstrations.layers_of(nn.Sequential(nn.Flatten()).eval(), torch.rand(1, 3, 4, 4))


def test_what_the_notebook_draws():
    model, bench = load_model("minivgg"), Bench("quick")
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    rough = demonstrations.roughness(images, total_variation=find("style.total_variation").reference)
    assert rough["blurred"] < rough["the picture"]
    own = {name: find(f"style.{name}").reference for name in ("total_variation", "inversion_loss", "search")}
    row = demonstrations.inversions(bench, model, images, **own)
    assert row.images.shape == (5, 3, 64, 64)
    assert row.titles == ["the picture", "conv1", "conv2", "conv4", "conv6"]
    step, octaves = (find(f"style.{name}").reference for name in ("dream_step", "octaves"))
    grown = demonstrations.one_step(model, images, dream_step=step)
    assert all(after > before for before, after in grown.values())
    row = demonstrations.dreams(bench, model, images, dream_step=step, octaves=octaves)
    assert row.images.shape == (5, 3, 64, 64)
    result, _ = quick("S2")
    assert demonstrations.beside_controls(result.show, "conv6").titles == ["the picture", "dream", *CONTROLS]
    assert list(demonstrations.over_weights(quick("S1")[0].show)["error"]) == [
        "conv1",
        "conv2",
        "conv4",
        "conv6",
    ]
