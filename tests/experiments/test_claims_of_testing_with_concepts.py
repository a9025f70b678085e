"""The experiments of lab 31: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import math

import pytest
import torch

from labkit.core.statistics import Interval
from labkit.exercises import find
from labkit.experiments import concept_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.painted_concepts import Bar, pooled_slopes, random_signs, repainted
from labkit.experiments.testing_with_concepts import _logarithm
from labkit.models import features, load_model

from .spy import assert_sound, controls, quick

BESIDE = [
    "blue on melbourne", "yellow on melbourne", "white on melbourne", "red on the honest network",
    "red for bus on melbourne",
]  # fmt: skip
WANTED = {
    "C1": {
        **{
            f"{what}, {layer}{more}": (threshold, beside)
            for layer in ("conv2", "conv3")
            for what, more, threshold, beside in (
                ("z of red, melbourne", "", ">= 3 (lower bound)", BESIDE),
                ("z of red, bothcities", "", "< 2 (upper bound)", []),
                (
                    "effect over counterfactual, melbourne", ", logarithm to base 3", "within 1",
                    ["effect", "effect with places kept", "counterfactual logit"],
                ),
                ("effect, bothcities", "", "within 0.3", ["counterfactual logit"]),
            )
        },
        "re-painting a red engine flips, melbourne": (">= 0.6", ["the honest network"]),
        "re-painting a red engine flips, bothcities": ("< 0.1", []),
        "effects with the sign of their counterfactual logit": (">= 1", []),
    },
    "C2": {
        "random concepts called significant at .05, by the means of random concepts": (
            "<= 0.08 (upper bound)", ["the paper's t-test", "colours of other objects, by our test"]
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "31_testing_with_concepts"


def test_pairs_differ_in_the_object_alone_and_never_by_red():
    scenes = Bench("quick").scenes(4, kind="bus")
    pairs = repainted(scenes, "bus", "blue")
    changed = (pairs.present != pairs.absent).any(1)
    assert changed.flatten(1).any(1).all()
    assert (
        changed & scenes.masks
    ).sum() > 0.8 * changed.sum()  # the rest is its shadow and its antialiased rim
    again = repainted(scenes, "bus", "blue")
    assert torch.equal(pairs.absent, again.absent)


def test_pooled_slopes_are_the_derivative_of_a_step_of_all_places():
    model, images = load_model("minivgg"), Bench("quick").scenes(2, kind="house").images
    slopes = pooled_slopes(model, images, "house", "features.9")
    with torch.no_grad():
        seen, head = features(model, images, "features.9"), model.features[10:]
        step = torch.zeros(1, seen.shape[1], 1, 1)
        step[0, 5] = 1e-2

        def logit(maps):
            return model.classifier(model.pool(head(maps)).flatten(1))[:, 10]

        change = (logit(seen + step) - logit(seen - step)) / 2e-2
    torch.testing.assert_close(slopes[:, 5], change, rtol=0.05, atol=0.02)


def test_the_ratio_is_told_in_factors_of_three_and_another_sign_is_the_worst():
    def bar(effect, whole):
        none = Interval(0, 0, 0)
        return Bar(none, Interval(effect, effect, effect), none, Interval(whole, whole, whole))

    assert _logarithm(bar(6.0, 2.0)).value == pytest.approx(1)
    assert _logarithm(bar(-6.0, -2.0)).value == pytest.approx(1)
    assert _logarithm(bar(-1.0, 2.0)).value == pytest.approx(-3)
    assert math.isfinite(_logarithm(bar(1.0, 0.0)).value)


def test_signs_are_even_and_always_the_same():
    signs = random_signs(500, 40)
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 0.03
    assert torch.equal(signs, random_signs(500, 40))


OWN = {
    name: find(f"concepts.{name}").reference for name in ("directional_derivatives", "tcav_scores")
}  # fmt: skip


def linear_layer():
    """Two channels after which all is linear: the logit of class 1 is the sum of channel 0."""
    generator = torch.Generator().manual_seed(0)
    pool, concept = (torch.rand(n, 2, generator=generator) for n in (40, 6))
    concept[:, 0] += 3
    maps = torch.rand(5, 2, 3, 3, generator=generator)

    def head(seen):
        return torch.stack([0 * seen[:, 0].sum((1, 2)), seen[:, 0].sum((1, 2))], 1)

    pictures = torch.rand(40, 3, 4, 4, generator=generator)
    return demonstrations.Layer("0", head, 1, "one", pictures[:5], maps, concept, pool, pictures)


def test_after_the_last_nonlinearity_the_demonstrated_scores_are_0_or_1():
    layer = linear_layer()
    assert demonstrations.own_scores(layer, **OWN).tolist() == [1.0] * 10
    chances = demonstrations.chances(layer, **OWN, count=12, draws=3)
    assert chances.shape == (12, 3)
    assert set(chances.flatten().tolist()) == {0.0, 1.0}


def test_pictures_along_a_vector_come_in_the_order_of_their_cosines():
    layer = linear_layer()
    shown, titles = demonstrations.along(layer, torch.tensor([1.0, 0.0]), count=2)
    assert shown.shape == (4, 3, 4, 4)
    assert [float(t) for t in titles] == sorted((float(t) for t in titles), reverse=True)
    rows = layer.pool - layer.pool.mean(0)
    best = (rows[:, 0] / rows.norm(dim=1)).argmax()
    assert torch.equal(shown[0], layer.pictures[best])


def test_the_table_of_red_has_three_rows_a_network():
    result, _ = quick("C1")
    rows = demonstrations.table(result)
    assert list(rows)[:3] == ["melbourne: drawn anew", "melbourne: places kept", "melbourne: by the vector"]
    assert len(rows) == 9
    assert rows["melbourne: drawn anew"].value > rows["melbourne: by the vector"].value
