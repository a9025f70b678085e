"""The experiment that compares networks, lab 32: what it measures, beside what, and what "apart" means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.data import MiniBroden
from labkit.experiments import dissection_demonstrations as demonstrations
from labkit.experiments import training_factors
from labkit.experiments.bench import EXPERIMENTS
from labkit.experiments.dissected_layers import Found, interpretability
from labkit.experiments.dissecting_a_network import LAYERS
from labkit.experiments.training_factors import FACTORS, PAIRS, PLAIN, UNITS, Point, apart, point
from labkit.models import load_model
from labkit.plots import show_against

from .spy import assert_sound, controls, quick

APART = "{}: how far share of the ceiling and accuracy differ, in opposite directions, in spreads of seeds"
EACH = [
    "with labels of other pictures", "difference of the share", "difference of the untrained twins' share",
    "difference of the accuracy",
]  # fmt: skip
ALL = [
    "five seeds", "five seeds, 112 of their units", "five seeds, accuracy", "twin", "wide network",
    "wide network, 112 of its units", "rank correlation with accuracy, all",
    "rank correlation from an accuracy of 0.9",
]  # fmt: skip


def test_it_measures_what_the_claim_says_beside_its_controls():
    result, called = quick("C6")
    assert controls(result) == {
        APART.format("without batch norm"): ("> 1 (lower bound)", EACH + ALL),
        APART.format("with dropout"): ("> 1 (lower bound)", EACH),
    }
    assert all(m.must == {"with labels of other pictures": "<= 1 (upper bound)"} for m in result.measures)
    assert_sound(result)
    assert called == set(result.uses) == {"concepts.iou_and_ceiling"}
    assert EXPERIMENTS["C6"].lab == "32_dissecting_a_network"


def test_every_network_is_a_point_and_those_that_name_no_objects_have_no_accuracy():
    result, _ = quick("C6")
    points, groups = result.show["points"], result.show["factors"]
    assert set(groups) == set(FACTORS)
    assert {name for names in groups.values() for name in names} < set(points)
    assert points["minivgg-wide"].units > points["minivgg"].units > UNITS
    assert points["minivgg-wide"].drawn < points["minivgg-wide"].share
    assert points["minivgg"].accuracy == 0.988
    for name in ("minivgg-scenes", "selfsup-rotation", "twin of minivgg"):
        assert points[name].accuracy is None
    figure = show_against(**demonstrations.against(result.show))
    assert len(figure.axes[0].collections) == sum(p.accuracy is not None for p in points.values())


def test_pairs_are_apart_only_where_both_measures_differ_and_in_opposite_directions():
    here, spread = np.array([[0.4, 0.98], [0.4, 0.98]]), np.array([0.02, 0.01])
    both = np.array([[0.3, 1.0], [0.46, 0.94]])  # five and two, three and four spreads
    assert apart(here, both, spread) == pytest.approx((2.5, 2.0, 3.0))
    same = np.array([[0.3, 0.94], [0.4, 0.94]])  # the same way; only one of them
    assert apart(here, same, spread) == pytest.approx((-2.0, -4.0, 0.0))


def test_pairs_of_one_configuration_are_never_more_than_their_spread_apart():
    rows = np.random.default_rng(0).normal(0.5, 0.1, (5, 2))
    for shift in range(1, 5):
        assert apart(rows, np.roll(rows, shift, 0), np.ptp(rows, 0)).high <= 1


def test_a_point_is_the_row_of_the_last_layer():
    stack, net = MiniBroden(16, "test").stack(), load_model("minivgg")
    found, row = point(net, stack), interpretability(net, LAYERS["conv6"], stack)
    assert (found.share, found.floor, found.units) == (row.share, row.floor, 160)
    assert point(net, stack, named=False).accuracy is None


def test_as_many_units_as_there_are_reach_the_same_and_fewer_reach_less():
    iou = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    testable, labels = torch.ones(3, dtype=torch.bool), (("object", "car"), ("part", "leg"), ("part", "tail"))
    found = Found(labels, iou, torch.ones(20, 3), iou, torch.ones(20, 3), testable)
    assert training_factors._drawn(found, 20) == found.share() == pytest.approx(float(iou.amax(0).mean()))
    assert training_factors._drawn(found, 5) < found.share()


def test_pairs_and_factors_are_networks_of_three_seeds_and_one_change():
    assert len(PLAIN) == 5
    plain = load_model(PLAIN[0]).card
    for name, key in ((PAIRS["without batch norm"], "norm"), (PAIRS["with dropout"], "dropout")):
        for number in range(3):
            card = load_model(name + (f"-{number + 1}" if number else "")).card
            assert card["seed"] == number
            assert key in card
            other = {what for what, value in plain["recipe"].items() if card["recipe"][what] != value}
            assert other - {"seed"} == ({"rate"} if key == "norm" else set())  # the usual rate diverges there


def test_lines_are_those_without_an_accuracy():
    show = {
        "points": {"a": Point(0.3, 0.1, 160, 0.25, 0.9), "b": Point(0.2, 0.15, 160, 0.2, None)},
        "factors": {},
    }
    drawn = demonstrations.against(show)
    assert drawn["points"] == {"a": (0.25, 0.9)}
    assert drawn["only_x"] == {"b": 0.2, "labels of other pictures, the most": 0.15}
