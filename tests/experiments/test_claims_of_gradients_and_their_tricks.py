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


def rule(name):
    return lambda x, gradient: own("relu_backward")(x, gradient, name)


def test_a_network_in_a_row_answers_as_it_did_and_another_is_skipped(capsys):
    model, images = Bench("quick").subjects(1)[0]
    layers = demonstrations.in_a_row(model)
    assert torch.equal(layers(images), model(images))
    assert torch.equal(layers[:17](images), model.features[:16]((images - model.mean) / model.std))
    assert demonstrations.in_a_row(torch.nn.Identity()) is None
    assert "Identity is no plain row of layers" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no plain row"):
        demonstrations.walked(own("walk_back"), rule("guided"))(torch.nn.Identity(), images, 0)


@pytest.mark.parametrize("name", ["saliency", "deconvnet", "guided"])
def test_a_walk_by_the_rule_is_the_librarys_map(name):
    model, images = Bench("quick").subjects(2)[0]
    method = demonstrations.walked(own("walk_back"), rule("gradient" if name == "saliency" else name))
    target = torch.tensor([3, 1])
    torch.testing.assert_close(method(model, images, target), METHODS[name](model, images, target))


def test_one_unit_is_asked_where_it_answers_most():
    model, images = Bench("quick").subjects(2)[0]
    answers, channel = demonstrations.strongest(demonstrations.in_a_row(model)[:17], images)
    begin = own("ask_unit")(answers, channel)
    assert begin.sum((1, 2, 3)).tolist() == [1, 1]
    assert torch.equal((begin * answers).sum((1, 2, 3)), answers[:, channel].amax((1, 2)))


def test_what_stays_when_the_other_object_is_asked_for():
    stays = demonstrations.what_stays(Bench("quick"))
    assert 0 < stays.area < 0.5
    assert list(stays.found) == ["deconvnet", "saliency", "guided", "Grad-CAM"]
    for asked, other, difference in stays.found.values():
        assert difference.value == pytest.approx(asked - other, abs=1e-6)
    assert str(stays).count("stays (difference") == 4

    def unwritten(*args):
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        demonstrations.what_stays(Bench("full"), {"own": unwritten})


def test_half_the_light_taken_away_is_seen_by_the_energy_and_hardly_by_ranks():
    found = demonstrations.dimmed(Bench("quick"), METHODS["guided"])
    assert found.after < 0.8 * found.before
    assert found.rank > 0.95
    assert "the ranks correlate" in str(found)


def test_both_questions_share_one_scale_for_each_picture():
    model, images = Bench("quick").subjects(2)[0]
    methods = {"flat": lambda model, images, kind: (1.0 + kind)[:, None, None] * torch.ones(2, 4, 4)}
    rows = demonstrations.for_both(model, images, torch.tensor([[0, 1], [3, 0]]), methods, "flat")
    assert [own[:, 0, 0].tolist() for own in rows.values()] == [[0.5, 1.0], [1.0, 0.25]]


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
    found = demonstrations.adds_up(
        model, images, target, ["grey"], 16, integrated_gradients=own("integrated_gradients")
    )
    assert found.maps["grey"].shape == (2, 128, 128)
    assert found.gaps["grey"] < 0.1 * abs(found.ways["grey"]) + 0.1
    assert str(found).startswith("grey: scores differ by")
    double = lambda *args: 2 * own("integrated_gradients")(*args)  # noqa: E731
    twice = demonstrations.adds_up(model, images, target, ["grey"], 16, integrated_gradients=double)
    assert twice.gaps["grey"] > found.gaps["grey"]


def test_the_factor_alone_asks_no_network(monkeypatch):
    monkeypatch.setattr(Bench, "count", lambda self, n, **sizes: 2)
    empty = demonstrations.over_baselines(
        Bench("quick"), ("black", "blur"), integrated_gradients=lambda model, x, *rest: x
    )
    inside, factor = empty["black"]
    assert inside.value == pytest.approx(factor, abs=1e-5)  # from black the factor is the picture itself
    assert str(empty).count("the factor alone") == 2
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
