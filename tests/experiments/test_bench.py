"""The bench: thresholds in words, verdicts beside controls, three sizes, guests."""

from __future__ import annotations

import pytest
import torch

from labkit.core.statistics import Interval
from labkit.data import CLASSES
from labkit.experiments import Bench, Measure, Result
from labkit.experiments.bench import EXPERIMENTS, answers, experiment, extent, meets, right
from labkit.models import load_model


def measure(value=1.0, threshold="> 0", **options):
    return Measure("length", Interval(value, value - 0.5, value + 0.5), threshold, **options)


@pytest.mark.parametrize(
    ("threshold", "reached"),
    [
        (">= 0.2", True), ("> 0.2", False), ("<= 0.2", True), ("< 0.2", False),
        ("> 0 (lower bound)", False), ("< 0 (upper bound)", False), ("< 0.6 (upper bound)", True),
        (">= -0.1 (lower bound)", True), ("<= 1e-3", False), ("within 0.5", True), ("within 0.4", False),
    ],
)  # fmt: skip
def test_a_threshold_in_words(threshold, reached):
    assert meets(threshold, Interval(0.2, -0.1, 0.5)) is reached


def test_no_difference_must_lie_within_the_band_on_both_sides():
    assert not meets("within 0.1", Interval(0.0, -0.2, 0.0))
    assert not meets("within 0.1", Interval(0.0, 0.0, 0.2))
    assert meets("within 0.1", Interval(0.09, 0.08, 0.1))


@pytest.mark.parametrize("threshold", ["0.2", "=> 0.2", ">= many", ">= 0.2 (mean)", "within", ">=0.2", ""])
def test_a_threshold_that_means_nothing_is_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold must be written like '>= 0.6'.*within 0.1"):
        measure(threshold=threshold)


def test_a_control_must_be_there_to_be_judged():
    with pytest.raises(ValueError, match=r"must must be.*twin"):
        measure(control={"twin": Interval(0, 0, 0)}, must={"win": "< 1"})
    with pytest.raises(ValueError, match="threshold must be written"):
        measure(control={"twin": Interval(0, 0, 0)}, must={"twin": "small"})


def test_the_three_verdicts():
    low, high = {"twin": Interval(0.1, 0.0, 0.2)}, {"twin": Interval(0.9, 0.8, 1.0)}
    good = measure(control=low, must={"twin": "<= 0.17"})
    empty = measure(control=high, must={"twin": "<= 0.17"})
    bad = measure(threshold="> 2")
    assert Result((good,)).verdict == Result((measure(control=high),)).verdict == "holds"
    assert Result((good, empty)).verdict == "holds, and so does its control"
    assert Result((good, empty, bad)).verdict == "does not hold"


def test_three_networks_give_their_mean_and_their_ends():
    found = extent([Interval(1.0, 0.8, 1.1), Interval(3.0, 2.5, 3.5), Interval(2.0, 0.7, 2.1)])
    assert found == Interval(2.0, 0.7, 3.5)


def test_three_sizes():
    full, lesson, few = Bench(), Bench("class"), Bench("quick")
    assert [b.count(100) for b in (full, lesson, few)] == [100, 25, 6]
    assert [b.count(100, lesson=30, few=4) for b in (full, lesson, few)] == [100, 30, 4]
    assert [b.count(20) for b in (full, lesson, few)] == [20, 12, 6]
    assert [b.count(3, lesson=30) for b in (full, lesson, few)] == [3, 3, 3]
    assert [b.steps(100, 5) for b in (full, lesson, few)] == [100, 100, 5]
    assert [len(b.seeds) for b in (full, lesson, few)] == [3, 3, 1]
    assert (full.quick, lesson.quick, few.quick) == (False, False, True)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: Bench("fast"), "mode must be"),
        (lambda: Bench().count(0), "n must be a whole number"),
        (lambda: Bench("quick").scenes(1, kind="unicorn"), "kind must be a class of the world.*unicorn"),
        (lambda: Bench("quick").scenes(2, "exam"), "split must be"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_sentence(ask, says):
    with pytest.raises(ValueError, match=says):
        ask()


def test_fewer_scenes_are_the_first_of_the_many():
    many, few = Bench().scenes(4), Bench("class").scenes(40, lesson=2)
    assert few.scenes == many.scenes[:2]
    assert torch.equal(few.images, many.images[:2])
    horse = Bench("quick").scenes(1, kind="horse", faults=("tag",))
    assert int(horse.labels[0]) == CLASSES.index("horse")
    assert horse.tags.any()


def test_the_first_scenes_are_of_different_classes_and_do_not_depend_on_how_many():
    three = Bench().firsts(3)
    assert len(set(three.labels.tolist())) == 3
    assert torch.equal(Bench("quick").firsts(2).images, three.images[:2])


def test_a_guest_takes_the_place_of_the_bundled_networks():
    guest = (torch.nn.Identity(), torch.zeros(5, 3, 8, 8))
    (network, images), *others = Bench(guest=guest).subjects(2)
    assert network is guest[0]
    assert (len(images), others) == (2, [])
    named = Bench("quick").subjects(1, "minivgg", "minivgg-2")
    assert [network.card["name"] for network, _ in named] == ["minivgg", "minivgg-2"]
    assert all(images.shape == (1, 3, 128, 128) for _, images in named)


def test_what_a_network_names():
    scenes, model = Bench("quick").scenes(3), load_model("minivgg")
    named = answers(model, scenes.images, batch=2)
    assert torch.equal(named, answers(model, scenes.images))
    assert torch.equal(right(model, scenes.images, scenes.labels), named == scenes.labels)


def test_an_experiment_asks_for_its_functions_by_name():
    try:

        @experiment("Z1", "99_nowhere", own="attribution.saliency")
        def z1(bench, *, own):
            return Result((measure(own),))

        result = z1(Bench("quick"), own=2.0)
        assert (result.id, result.uses, result.measures[0].value.value) == (
            "Z1",
            ("attribution.saliency",),
            2,
        )
        for given in ({}, {"own": 1.0, "other": 1.0}, {"other": 1.0}):
            with pytest.raises(TypeError, match="the experiment Z1 takes own by name; missing"):
                z1(Bench("quick"), **given)
        assert EXPERIMENTS["Z1"].own == {"own": "attribution.saliency"}
    finally:
        EXPERIMENTS.pop("Z1", None)
