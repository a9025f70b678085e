"""The experiments of lab 25: what they return, on what they rest, and the controls that they are held to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from labkit.data.photos import Photo
from labkit.evaluation import accuracy_by_group
from labkit.exercises import find
from labkit.experiments import adversarial_masks, known_causes, written_regions
from labkit.experiments.adversarial_masks import auc
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.can_you_trust_a_heatmap import BLIND, FAST, THREE, suspects
from labkit.experiments.trust_demonstrations import cascades, predictions

from .spy import assert_sound, quick, unwritten

THRESHOLDS = {
    "A2": {"> 0"},
    "A4": {"> 0 (lower bound)"},
    "A9": {">= 0.6", "< 0.2", "< 0.3 (upper bound)"},
    "A14": {">= 0.9", ">= 0.3", ">= 2", "<= 0.1"},
    "A16": {">= 0.05", "> 0 (lower bound)"},
    "A17": {">= 0.8"},
    "A18": {">= 0.2"},
}
CONTROLS = {  # of each measure
    "A2": [["the edges", "chance"]],
    "A4": [["maps of two unrelated pictures"]] * 3,
    "A9": [["the honest network"]] * 2
    + [["another honest network minus that one", "on the tank instead"]] * 3,
    "A14": [
        ["the same forest on the picture alone", "the same forest on the picture alone, minus this"],
        ["the median on the whole picture", "the median on the whole picture, minus this"],
        ["undone by another picture's mask"],
        ["the median on the whole picture"],
    ],
    "A16": [["blurred random", "sobel"], ["two networks that name the object"]],
    "A17": [["the edges", "the centre", "chance"]],
    "A18": [["the honest network"]],
}
OWN = {name: find(f"evaluation.{name}").reference
       for name in ("rank_correlation", "deletion_curve", "pointing_hits")}  # fmt: skip


@pytest.mark.parametrize("id", list(THRESHOLDS))
def test_a_quick_run_measures_what_was_agreed_with_the_functions_it_names(id):
    result, called = quick(id)
    assert result.id == id
    assert set(result.uses) == set(EXPERIMENTS[id].own.values()) == called
    assert {measure.threshold for measure in result.measures} == THRESHOLDS[id]
    assert [list(measure.control) for measure in result.measures] == CONTROLS[id]
    assert_sound(result)
    assert result.show


def test_only_what_the_claim_says_of_its_controls_is_judged():
    judged = {id: [dict(m.must) for m in quick(id)[0].measures if m.must] for id in THRESHOLDS}
    assert judged.pop("A14") == [
        {"the same forest on the picture alone, minus this": "< 0 (upper bound)"},
        {"the median on the whole picture, minus this": "< 0 (upper bound)"},
    ]
    assert judged.pop("A2") == [{"the edges": "<= 0"}]
    assert not any(judged.values())


def test_the_measures_have_the_names_under_which_they_were_first_entered():
    def names(id):
        return [measure.what for measure in quick(id)[0].measures]

    lead = "off-centre pointing: lower end of the best method minus upper end of the centre"
    assert names("A2") == [lead]
    assert names("A4") == [
        "rank, guided minus gradient",
        "rank, gradient minus Grad-CAM",
        "SSIM, guided minus gradient",
    ]
    assert names("A9")[:2] == ["another weather flips", "removing the tank flips"]
    assert names("A14") == [
        "detector's AUC on an attack it never saw",
        "successful attacks undone",
        "undone, over another picture's mask",
        "clean accuracy lost",
    ]
    assert names("A16")[1] == "BAM contrast, Grad-CAM"
    assert names("A17") == ["right predictions, best method"]
    assert names("A18") == ["mean minus worst group (horses on snow)"]


def test_a_wrong_function_changes_the_numbers():
    def from_the_best(predictions, labels, groups):
        right = (predictions == labels).double()
        shares = [float(right[groups == g].mean()) for g in groups.unique()]
        return max(shares) - min(shares)

    (wrong,) = known_causes.a18(Bench("quick"), worst_gap=from_the_best).measures
    assert wrong.value.value != quick("A18")[0].measures[0].value.value

    def nothing_hits(maps, masks, tolerance):
        return torch.zeros(len(maps), dtype=torch.bool)

    wrong = EXPERIMENTS["A2"].run(Bench("quick"), pointing_hits=nothing_hits)
    assert wrong.measures[0].value.value < quick("A2")[0].measures[0].value.value


def test_where_the_object_is_off_centre_the_table_counts_those_scenes_alone():
    table = quick("A2")[0].show["table"]
    assert set(table) == {"saliency", "grad_cam", *BLIND}
    assert all(set(row) == {"pointing", "off-centre", "energy"} for row in table.values())
    assert table["the centre"]["off-centre"].value < table["the centre"]["pointing"].value
    assert table["chance"]["energy"].value == pytest.approx(1, abs=0.2)


def test_the_fast_methods_are_methods():
    from labkit.attribution import METHODS

    assert set(FAST) <= set(METHODS)
    assert set(known_causes.SOME) <= set(METHODS)


def test_an_instrument_is_tried_on_five_suspects():
    bench = Bench("quick")
    found = suspects(bench, bench.network("minivgg"), **OWN)
    assert list(found) == [*THREE, "the edges", "the centre"]
    assert found["the edges"].edges == pytest.approx(1)
    for suspect in found.values():
        assert suspect.fall.shape == (17,)
        assert suspect.auc == pytest.approx(float(torch.trapezoid(suspect.fall)) / 16)
    assert len({float(suspect.fall[0]) for suspect in found.values()}) == 1  # the whole pictures


@pytest.mark.parametrize("name", list(OWN))
def test_an_unwritten_instrument_says_so_before_it_is_tried(name, monkeypatch):
    from labkit.experiments import can_you_trust_a_heatmap as lab

    def measured(*args):
        raise AssertionError("maps were made before every function was called")

    bench = Bench("quick")
    monkeypatch.setattr(lab, "THREE", dict.fromkeys(THREE, measured))
    with pytest.raises(NotImplementedError):
        suspects(bench, bench.network("minivgg"), **OWN | {name: unwritten})


def test_the_students_cascade_is_drawn_of_three_methods():
    bench = Bench("quick")
    found, cascade = bench.firsts(2), find("evaluation.cascade").reference
    done = cascades(bench, bench.network("minivgg"), found.images, found.labels, cascade=cascade)
    assert [name.split(" (unrelated")[0] for name in done.curves] == list(THREE)
    assert {len(line) for line in done.curves.values()} == {len(done.depths)} == {13}
    assert {maps.shape for maps in done.ends.values()} == {found.images[:, 0].shape}
    with pytest.raises(NotImplementedError):
        cascades(bench, None, found.images, found.labels, cascade=unwritten)


def test_predictions_are_judged_by_the_student():
    holds = find("evaluation.prediction_holds").reference
    found = predictions(Bench("quick"), prediction_holds=holds)
    assert list(found) == [*THREE, "the edges", "the centre", "chance"]
    known = quick("A17")[0].show["right"]
    assert found["saliency"] == known["saliency"]
    assert found["chance"] == known["chance"]
    with pytest.raises(NotImplementedError):
        predictions(None, prediction_holds=unwritten)


def test_the_cascade_is_drawn_over_as_many_layers_for_each_method():
    show = quick("A4")[0].show
    assert {len(line) for line in show["curves"].values()} == {13}
    assert set(show["untrained"]) == {*THREE, "occlusion"}
    assert {maps.shape for maps in show["untrained"].values()} == {show["pictures"][:, 0].shape}


def test_what_the_sky_gained_is_what_is_judged():
    result = quick("A9")[0]
    for name, measure in zip(THREE, result.measures[2:], strict=True):
        assert measure.what.startswith(f"{name}: energy on the sky")
        assert measure.value == result.show["moved"][f"{name}: sky"]
        assert measure.control["on the tank instead"] == result.show["moved"][f"{name}: tank"]


def test_the_area_under_the_roc_curve_is_the_usual_one():
    from sklearn.metrics import roc_auc_score

    rows = np.random.default_rng(0).random((40, 2)).round(1)  # with ties
    wanted = roc_auc_score([0, 1] * len(rows), rows.flatten())
    assert auc(rows) == pytest.approx(wanted)
    assert auc(np.array([[0.0, 1.0]])) == 1


def test_a_blind_detector_that_is_better_takes_the_claim_its_proof():
    sure, unsure = np.array([[0.1, 0.9]] * 30), np.array([[0.1, 0.9]] * 20 + [[0.8, 0.2]] * 10)
    undone, more = np.array([True] * 12 + [False] * 18), np.array([True] * 20 + [False] * 10)
    saved = {"map": undone, "another": np.array([True] * 3 + [False] * 27), "whole": undone}
    cost = {"map": np.zeros(30), "whole": np.zeros(30)}
    made = adversarial_masks.measures
    assert not made(unsure, sure, saved, cost)[0].stands
    assert made(sure, unsure, saved, cost)[0].stands
    assert not made(sure, unsure, saved, cost)[1].stands  # the same is not more
    assert not made(sure, unsure, saved | {"whole": more}, cost)[1].stands
    weaker = made(sure, unsure, saved | {"whole": np.zeros(30, bool)}, cost)
    assert all(measure.holds and measure.stands for measure in weaker)


def test_the_hidden_groups_gap_is_the_librarys_for_the_right_function():
    (measure,) = quick("A18")[0].measures
    show = quick("A18")[0].show
    assert measure.value.value == pytest.approx(show["mean"] - show["accuracy"]["horses on snow"].value)
    assert set(show["means"]) == set(show["accuracy"])
    told = accuracy_by_group([0, 1], [0, 0], ["a", "b"])
    worst = find("evaluation.worst_gap").reference
    assert worst(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([0, 1])) == told.gap


# ---- photographs


def test_a_region_is_its_boxes_in_pixels():
    inside = written_regions.region(235, 100)
    assert inside.shape == (1, 100, 100)
    assert inside[0, 16:80, 37:70].all()
    assert int(inside.sum()) == 64 * 33
    assert set(written_regions.REGIONS) == {250, 340, 555, 558, 235}


def test_photographs_with_a_region_are_asked_by_every_method_that_goes_with_the_network(monkeypatch):
    drawn = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    photos = [Photo("a zebra", drawn, 1), Photo("no region", drawn, 0), Photo("unknown", drawn, None)]
    monkeypatch.setattr(written_regions, "sample_photos", lambda side: photos)
    monkeypatch.setattr(written_regions, "REGIONS", {1: [(0.0, 0.0, 0.5, 1.0)]})
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 2)).eval()
    chosen = {name: written_regions.METHODS[name] for name in ("saliency", "cam", "gradient_x_input")}
    monkeypatch.setattr(written_regions, "METHODS", chosen)
    (found,) = written_regions.written_regions(Bench("class"), network, 32, {})
    assert found.name == "a zebra"
    assert 0 < found.probability < 1
    assert list(found.maps) == ["region", "saliency", "gradient_x_input"]
    assert list(found.refused) == ["cam"]
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
