"""The experiments of lab 33: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch

from labkit.core.statistics import Interval
from labkit.data import MiniBroden
from labkit.evaluation import random_projections
from labkit.exercises import find
from labkit.experiments import distributed_concepts, net2vec_scenes
from labkit.experiments import vector_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench, experiments
from labkit.experiments.blind_networks import SIGHTS, Blind
from labkit.experiments.distributed_concepts import Needs, filters_needed, matched

from .spy import assert_sound, controls, quick, unwritten

experiments()  # all are entered
MANTEL = ["twin", "raw colour", "rank correlation", "rank correlation of the twin"]
EVERY = ["selfsup-rotation", "selfsup-colour", "supervised-short", "twin", "colour and position"]
WANTED = {
    "C8": {
        "concepts that all the networks segment alike well, within .03": (">= 8", []),
        "share of the filters needed, self-supervised less supervised": (
            "> 0 (lower bound)",
            [
                "twin, less the most distributed",
                "colour and position, less the most distributed",
                *(f"ratio all to single, {name}" for name in EVERY),
            ],
        ),
    },
    "C7": {
        "IoU of all filters less the best one's, conv6 minus twin": (
            "> 0 (lower bound)",
            ["raw colour", "position", "labels of other pictures", "conv6 itself", "twin itself"],
        ),
    },
    "C9": {
        "hits@5 of the arithmetic less hits@5 of its first term alone": (
            "> 0 (lower bound)",
            ["twin", "hits@5, arithmetic", "hits@5, first term", "hits@5, twin"],
        ),
        "Mantel p of two networks' distances, the largest of all pairs": (
            "<= 0.01",
            ["twin", "raw colour", "rank correlation", "rank correlation with the twin"],
        ),
        "Mantel p of a network's distances and WordNet, the largest of the seeds": ("<= 0.01", MANTEL),
        "Mantel p of a network's distances and word vectors, the largest of the seeds": ("<= 0.01", MANTEL),
    },
}


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "33_concepts_are_vectors"


def test_every_control_that_could_explain_the_gain_away_is_judged():
    (measure,) = quick("C7")[0].measures
    assert set(measure.must) == {"raw colour", "position", "labels of other pictures"}
    assert all("twin" in measure.must for measure in quick("C9")[0].measures)


def test_the_questions_follow_the_rule():
    assert len(net2vec_scenes.ANALOGIES) == 72
    first = net2vec_scenes.ANALOGIES[0]
    assert first == ("wheel of fire engine", "fire engine", "bus", "wheel of bus")
    assert all(set(names) <= set(net2vec_scenes.ALL) for names in net2vec_scenes.ANALOGIES)


def test_parts_of_wholes_are_parts_on_wholes():
    stack = MiniBroden(6, "val").stack(cache=False)
    maps = net2vec_scenes.with_wholes(stack)
    for number, (part, whole) in enumerate(net2vec_scenes.PAIRS, 1):
        mine = maps["part of"] == number
        assert (maps["part"][mine] == net2vec_scenes.NAMES["part"].index(part) + 1).all()
        assert (maps["object"][mine] == net2vec_scenes.NAMES["object"].index(whole) + 1).all()


@pytest.mark.parametrize("sees", SIGHTS)
def test_blind_units_are_random_projections_of_what_they_see(sees):
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    blind = Blind(sees, pictures, units=7)
    known = random_projections(blind.seen(pictures), 7)
    assert torch.allclose(blind(pictures), known, atol=1e-4)
    assert torch.allclose(blind(pictures[:1]), blind(pictures)[:1])


def test_all_filters_together_see_what_the_best_one_sees():
    bench = Bench("quick")
    of = demonstrations.concept(bench, "window")
    assert of.on.shape[1] == 160
    assert len(of.label) == len(of.on)
    single, iou = find("concepts.best_single").reference(of.on, of.label)
    assert 0 < float(iou) <= 1
    own = {name: find(f"concepts.{name}").reference for name in ("net2vec_step", "concept_mask")}
    learned = demonstrations.descend(bench, of, **own)
    assert of.iou(of.held_label) == 1.0
    assert learned.said.shape == of.held_label.shape
    assert of.painted(learned.said).shape == of.pictures.shape
    assert of.iou(of.held_on[:, single]) <= 1


def test_a_demonstration_says_at_once_what_is_not_written():
    given = {"best_single": unwritten, "net2vec_step": unwritten, "concept_mask": unwritten}
    with pytest.raises(NotImplementedError):
        demonstrations.both_ways(Bench("quick"), "window", **given)


def test_the_filters_needed_are_a_share_of_the_layer():
    data = net2vec_scenes.scenes(Bench("quick"))
    found = filters_needed(Bench("quick"), Blind("colour", data.pictures, units=12), "", data)
    known = found.counted & found.share.isfinite()
    assert known.any()
    assert ((found.share[known] > 0) & (found.share[known] <= 1)).all()
    assert len(found.names) == 32


def test_only_concepts_that_all_know_alike_well_are_compared():
    def needs(all_of_them, counted=(True, True, True)):
        ones = torch.ones(3)
        return Needs(ones, torch.tensor(all_of_them), ones, torch.tensor(counted), ("a", "b", "c"))

    found = matched([needs([0.5, 0.5, 0.5]), needs([0.52, 0.6, 0.5], (True, True, False))])
    assert found.tolist() == [True, False, False]


def test_the_networks_of_c8_are_named():
    assert distributed_concepts.networks(Bench("full")) == [
        "selfsup-rotation", "selfsup-rotation-2", "selfsup-colour", "selfsup-colour-2", "supervised-short",
        "supervised-short-2",
    ]  # fmt: skip
    assert isinstance(quick("C7")[0].measures[0].value, Interval)
