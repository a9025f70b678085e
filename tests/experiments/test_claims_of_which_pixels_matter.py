"""The experiments of lab 21: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch

from labkit.attribution import cam as library_cam
from labkit.attribution import grad_cam as library_grad_cam
from labkit.exercises import find
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.which_pixels_matter import _cost, a1, a5, a7, cam_of, grad_cam_of

from .spy import assert_sound, controls, quick, references

NEXT = ["the next picture's object"]
FINE = "minivgg-tag-8, whose last map is 8 x 8"
APART = "honest: peak at the tag minus peak there with the tag erased, "
BOTH = ["with the tag", "erased"]
WANTED = {
    "A1": {
        "energy inside / area share, occlusion": (">= 2 (lower bound)", NEXT),
        "drop of a background window / of an object window": ("< 0.25", NEXT),
    },
    "A5": {"largest difference of ReLU(CAM) and hw Grad-CAM": ("<= 1e-5", [])},
    "A7": {
        "tag: peak at the tag, saliency": (">= 0.8", ["honest network"]),
        "tag: peak at the tag, Grad-CAM": (">= 0.8", ["honest network", FINE]),
        "tag: peak at the tag, occlusion": (">= 0.8", ["honest network"]),
        "tag: erasing flips": (">= 0.6", ["minivgg-tag-8"]),
        "tag: pasting makes a horse": (">= 0.6", ["minivgg-tag-8"]),
        APART + "saliency": ("within 0.1", BOTH),
        APART + "Grad-CAM": ("within 0.1", BOTH),
        APART + "occlusion": ("within 0.1", BOTH),
        "honest: erasing flips": ("< 0.1", []),
        "honest: pasting makes a horse": ("< 0.1", []),
    },
}


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert result.id == id
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "21_which_pixels_matter"


def test_a_wrong_function_of_the_student_changes_the_numbers():
    right, _ = quick("A1")
    wrong = a1(Bench("quick"), energy_inside=lambda maps, masks: 0 * maps.sum((1, 2)) + 0.01)
    assert wrong.measures[0].value.value < right.measures[0].value.value / 5
    assert wrong.measures[1].value == right.measures[1].value

    right, _ = quick("A7")
    flat = {"saliency": lambda model, images, target: images[:, 0] * 0,
            "occlusion": lambda model, images, target, *sizes: images[:, 0] * 0}  # fmt: skip
    wrong = a7(Bench("quick"), **references("A7") | flat)
    numbers = {m.what: m.value for m in right.measures}
    changed = {m.what for m in wrong.measures if m.value != numbers[m.what]}
    assert {"tag: peak at the tag, saliency", "tag: peak at the tag, occlusion"} <= changed
    assert not {what for what in changed if not what.endswith(("saliency", "occlusion"))}

    right, _ = quick("A5")
    off = a5(Bench("quick"), cam=lambda *args: 2 * find("attribution.cam").reference(*args),
             grad_cam=find("attribution.grad_cam").reference)  # fmt: skip
    assert right.measures[0].holds
    assert not off.measures[0].holds


def test_the_shares_of_energy_are_drawn_for_each_network():
    result, _ = quick("A1")
    assert list(result.show["ratios"]) == ["minivgg"]
    assert result.show["ratios"]["minivgg"] == result.measures[0].value


def test_what_a_window_on_the_background_costs():
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[:, :16, :32] = True  # two of the 4 x 4 windows
    masks[:, 16:24, :16] = True  # half of a third one: neither on nor off the object
    drops = torch.full((1, 4, 4), 0.5)
    drops[0, 0, :2], drops[0, 1, 0] = 4.0, 100.0
    assert _cost(drops, masks) == pytest.approx(0.5 / 4)


def test_the_students_maps_are_enlarged_to_those_of_the_library():
    model, images = Bench("quick").subjects(2)[0]
    for own, of, library in (("cam", cam_of, library_cam), ("grad_cam", grad_cam_of, library_grad_cam)):
        maps = of(find(f"attribution.{own}").reference, model, images, 4)
        assert torch.allclose(maps, library(model, images, 4), atol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_a5_takes_a_guest_instead_of_the_bundled_networks(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 5, 3),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(5, 12),
        ).eval()
        bench = Bench("quick", guest=(net, torch.rand(3, 3, 16, 16)))
    assert a5(bench, **references("A5")).measures[0].holds
