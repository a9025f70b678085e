"""The experiments of lab 32: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch

from labkit.concepts import dissect_result
from labkit.concepts.dissection import unit_counts
from labkit.concepts.rotations import random_rotation
from labkit.concepts.thresholds import unit_thresholds
from labkit.data import MiniBroden
from labkit.exercises import find
from labkit.experiments import dissection_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.dissected_layers import dissected, interpretability
from labkit.experiments.dissecting_a_network import LAYERS, rotation_of
from labkit.models import load_model

from .spy import assert_sound, controls, quick

DETECTS = "unique detectors of objects and parts above an IoU of 0.10, {}, minus twice the twin's"
BESIDE = [
    "labels of other pictures", "unique", "twin", "cap", "units", "twin's units", "share of the ceiling",
    "twin's share", "other pictures' share",
]  # fmt: skip
RISE = "rise of the share of the ceiling from layer to layer, {}, minus the twin's"
SLOPES = ["twin's rise over the trained one's", "trained", "twin", "labels of other pictures"]
WANTED = {
    "C3": {DETECTS.format(layer): (">= 0 (lower bound)", BESIDE) for layer in ("conv5", "conv6")},
    "C4": {
        "mean best IoU of conv4's units minus that of turned ones": (
            "> 0 (lower bound)",
            [
                "twin",
                "permutation",
                "unique, units",
                "unique, turned",
                "mean best IoU",
                "mean best IoU, twin",
            ],
        ),
        "the same, the smallest of the networks": (">= 0.01 (lower bound)", []),
        "largest change of a logit when a layer is turned and turned back": ("<= 1e-4", []),
    },
    "C5": {
        RISE.format("object"): ("> 0 (lower bound)", SLOPES),
        RISE.format("part"): ("> 0 (lower bound)", SLOPES),
        RISE.format("color"): ("< 0 (upper bound)", SLOPES),
    },
}


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "32_dissecting_a_network"


def test_turning_changes_no_logit_and_a_permutation_no_score():
    result, _ = quick("C4")
    assert result.measures[0].control["permutation"].value < 1e-6
    assert result.measures[2].value.value < 1e-4


@pytest.fixture(scope="module")
def stack():
    return MiniBroden(16, "test").stack()


def test_a_layer_is_dissected_as_the_library_does(stack):
    net, layer = load_model("minivgg"), LAYERS["conv6"]
    found = dissected(net, stack, layer, kinds=("object", "part"))
    names = {kind: tuple(MiniBroden.names[kind][1:]) for kind in ("object", "part")}
    maps = {kind: stack.maps[kind] for kind in names}
    whole = dissect_result(net, stack.images, layer=layer, maps=maps, names=names, quantile=0.02, iou=0.1)
    assert torch.allclose(found.iou, whole.iou)
    assert torch.allclose(found.ceiling, whole.ceiling)
    assert found.labels == whole.labels
    detectors = find("concepts.unique_detectors").reference
    assert [found.labels[c] for c in found.unique(detectors)] == list(whole.unique)
    assert found.cap() == len(whole.testable)
    assert found.units() == int(whole.detector.sum())
    assert float(found.mean_best.mean()) == pytest.approx(whole.mean_best)


def test_the_row_of_a_network(stack):
    row = interpretability(load_model("minivgg"), LAYERS["conv6"], stack)
    assert 0 < row.unique <= row.units
    assert 0 <= row.floor < row.share <= 1
    assert set(row.by_kind) == {"scene", "object", "part", "material", "texture", "color"}
    assert row.floor_unique <= row.unique


def test_the_students_rotation_is_the_library_s():
    gaussian = torch.randn(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    turn = rotation_of(find("concepts.rotate_units").reference, 5, 3)
    assert torch.allclose(turn @ turn.T, torch.eye(5).double())
    assert torch.linalg.det(turn) > 0
    maps = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    assert torch.allclose(
        find("concepts.rotate_units").reference(maps, gaussian), torch.einsum("jk,nkhw->njhw", turn, maps)
    )
    assert torch.allclose(random_rotation(5, generator=torch.Generator().manual_seed(3)), turn)


def test_the_students_functions_dissect_as_the_library_does():
    own = {n: find(f"concepts.{n}").reference for n in ("unit_thresholds", "unit_masks", "count_pixels")}
    world = demonstrations.world_of(Bench("quick"), load_model("minivgg"))
    table = demonstrations.table_of(world, iou_and_ceiling=find("concepts.iou_and_ceiling").reference, **own)
    given = {"layer": LAYERS["conv6"]}
    thresholds = unit_thresholds(load_model("minivgg"), world.pictures, quantile=0.02, **given)
    counts = unit_counts(
        load_model("minivgg"), world.pictures, thresholds=thresholds,
        maps={kind: values.numpy() for kind, values in world.maps.items()},
        names={kind: tuple(names) for kind, names in world.names.items()}, **given,
    )  # fmt: skip
    # activations are counted as float16 there, so that a pixel at the very threshold may differ
    assert (table.iou - counts.iou).abs().max() < 0.03
    assert len(table.best(3)) == 3
    assert table.best(1)[0].startswith("unit ")
    shown = demonstrations.strips(
        world, [0, 500, 3], unit_thresholds=own["unit_thresholds"], unit_masks=own["unit_masks"], count=2
    )
    assert shown.shape == (2, 2, 3, 128, 128)
