"""The experiments of lab 22: what they measure, beside what, and what is drawn beside the claims."""

from __future__ import annotations

import pytest
import torch

from labkit.exercises import find
from labkit.experiments import gradient_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.gradients_and_their_tricks import METHODS, a3, pairs

from .spy import assert_sound, controls, quick

WANTED = {
    "A3": {
        f"guided minus Grad-CAM, {what}": (">= 0.3", ["plain gradient minus Grad-CAM"])
        for what in ("two present classes", "likeliest and least likely")
    },
    "A15": {
        f"IoU of GrabCut minus the best cut-off, {name}": ("> 0 (lower bound)", ["a blob in the middle"])
        for name in ("saliency", "Grad-CAM")
    },
}


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert (result.id, called, result.uses) == (id, set(), ())
    assert EXPERIMENTS[id].lab == "22_gradients_and_their_tricks"


def test_each_pair_shows_two_classes_and_the_mask_is_the_firsts():
    found = pairs(Bench("quick"))
    assert (found.kinds[:, 0] != found.kinds[:, 1]).all()
    assert len(found.images) == len(found.kinds) == len(found.first) >= 3
    assert found.first.flatten(1).any(1).all()
    result, _ = quick("A3")
    assert torch.equal(result.show["kinds"], found.kinds)


def test_maps_that_do_not_ask_the_class_are_alike_and_those_that_do_not_exist_are_not(monkeypatch):
    monkeypatch.setitem(METHODS, "guided", lambda model, images, target: images[:, 0])
    monkeypatch.setitem(METHODS, "Grad-CAM", lambda model, images, target: 0 * images[:, 0])
    assert [m.value.value for m in a3(Bench("quick")).measures] == [pytest.approx(1), pytest.approx(1)]


def test_the_cut_and_the_cut_off_are_told_for_the_blob_too():
    result, _ = quick("A15")
    assert [note.split(":")[0] for note in result.notes] == ["a blob in the middle", "saliency", "Grad-CAM"]
    assert list(result.show["rows"]) == ["Grad-CAM", "GrabCut", "truth"]
    assert {len(rows) for rows in result.show["rows"].values()} == {len(result.show["images"])} == {4}


# ---- what is drawn beside the claims


def own(name):
    return find(f"attribution.{name}").reference


def test_what_stays_when_the_other_object_is_asked_for():
    area, found = demonstrations.what_stays(Bench("quick"))
    assert 0 < area < 0.5
    assert list(found) == ["deconvnet", "saliency", "guided", "Grad-CAM"]
    for asked, other, difference in found.values():
        assert difference.value == pytest.approx(asked - other, abs=1e-6)


def test_no_noise_is_the_plain_gradient_and_noise_is_not():
    model, images = Bench("quick").subjects(1)[0]
    plain, noisy = (demonstrations.with_noise(own("smooth_grad"), s)(model, images, 4) for s in (0, 0.2))
    assert torch.allclose(plain, METHODS["saliency"](model, images, 4), atol=1e-6)
    assert not torch.allclose(plain, noisy)


def test_the_energy_inside_at_each_noise(monkeypatch):
    monkeypatch.setattr(Bench, "count", lambda self, n, **sizes: 2)
    area, inside = demonstrations.over_noise(Bench("quick"), (0, 0.4), smooth_grad=own("smooth_grad"))
    assert len(inside) == 2
    assert inside[0].value > inside[1].value > 0
    assert 0 < area < 0.5


def test_parts_add_up_and_a_wrong_factor_does_not():
    model, images = Bench("quick").subjects(2)[0]
    target = torch.tensor([0, 1])
    maps, way, gap = demonstrations.adds_up(
        model, images, target, "grey", 16, integrated_gradients=own("integrated_gradients")
    )
    assert maps.shape == (2, 128, 128)
    assert gap < 0.1 * abs(way) + 0.1
    double = lambda *args: 2 * own("integrated_gradients")(*args)  # noqa: E731
    assert demonstrations.adds_up(model, images, target, "grey", 16, integrated_gradients=double)[2] > gap


def test_the_factor_alone_asks_no_network(monkeypatch):
    monkeypatch.setattr(Bench, "count", lambda self, n, **sizes: 2)
    empty = demonstrations.over_baselines(
        Bench("quick"), ("black", "blur"), integrated_gradients=lambda model, x, *rest: x
    )
    inside, factor = empty["black"]
    assert inside.value == pytest.approx(factor, abs=1e-5)  # from black the factor is the picture itself
    assert empty["blur"][1] != pytest.approx(factor, abs=1e-3)


def test_a_pixel_beyond_saturation_is_denied_by_its_gradient_alone():
    brightness, lines = demonstrations.saturation(own("integrated_gradients"))
    assert lines["the score"] == [min(b, 1.0) for b in brightness]
    assert lines["integrated gradients"] == pytest.approx(lines["the score"], abs=0.01)
    assert lines["gradient x input"][-1] == 0


def test_a_compensated_shift_changes_the_product_alone():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    found = demonstrations.shifted(images, compensate=own("compensate"))
    assert torch.equal(state, torch.random.get_rng_state())
    for twin in found.values():
        assert twin.score < 1e-12
        assert twin.gradient < 1e-12
    assert [round(twin.alike, 3) < 1 for twin in found.values()] == [False, True, True]
    off = demonstrations.shifted(images, compensate=lambda weight, bias, shift: bias)
    assert off["zero is white"].score > 1e-3
