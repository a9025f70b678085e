"""The experiments of lab 42: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch

from labkit.exercises import find
from labkit.experiments import transfer_demonstrations as demonstrations
from labkit.experiments.attacks_without_the_weights import EPSILON, random_sign
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.printed_squares import ALONE, CUT, OVER, TEXTURE, cut_out, named, textures

from .spy import assert_sound, controls, quick

BLIND = ["random sign", "twin as source", "another picture's"]
SQUARES = [ALONE, CUT, TEXTURE, "the judge"]
WANTED = {
    "D3": {
        "error of another network at 8/255, minus the best control's, every pair": (
            "> 0.1 (lower bound)", BLIND
        ),
        "the same, pairs with the network of disjoint scenes": ("> 0.1 (lower bound)", []),
        "error of the box by a substitute of 48 labels, minus the best control's": (
            "> 0.1 (lower bound)", ["shuffled answers", "random sign"]
        ),
    },
    "D4": {
        "views in which a crate makes the network say bus": (">= 0.7", SQUARES),
        "views in which a crate makes the network say wolf": (">= 0.7", SQUARES),
        "views in which a T-shirt makes the network say bus": (">= 0.7", SQUARES),
    },
}  # fmt: skip


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    found = controls(result)
    assert {what: (limit, set(names)) for what, (limit, names) in found.items()} == {
        what: (limit, set(names)) for what, (limit, names) in WANTED[id].items()
    }
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "42_attacks_without_the_weights"


def test_the_box_is_asked_no_more_than_its_budget():
    result, _ = quick("D3")
    assert result.notes == ("the box answered 48 questions",)
    assert result.show["queries"] == [32, 48]
    assert result.show["errors"].diagonal().min() >= 0


def test_noise_is_as_large_as_the_attack():
    noisy = random_sign(torch.full((2, 3, 4, 4), 0.5))
    assert torch.allclose((noisy - 0.5).abs(), torch.tensor(EPSILON))


def test_squares_are_dealt_over_views_and_cut_from_the_class():
    result, _ = quick("D4")
    views = result.show["crate, bus"]["views"].unseen
    dark, light = torch.zeros(3, 2, 2), torch.ones(3, 2, 2)

    class Bright(torch.nn.Module):
        def forward(self, x):
            level = x.flatten(1).mean(1)
            return torch.stack([-level, level - 2 * level.mean()], 1)

    assert named(Bright(), views, [dark, light]).shape == (views.count,)
    assert [square.shape for square in cut_out("wolf", 2, 16)] == [(3, 16, 16)] * 2
    assert not torch.equal(*textures(2))


def test_what_the_notebook_draws_has_a_title_each():
    bench = Bench("quick")
    seen = demonstrations.attacked(bench, 6)
    pictures, titles = demonstrations.gallery(bench, seen, seen.noisy, count=2)
    assert len(pictures) == len(titles) == 8
    assert titles[2] == "10 x the change"
    for name, said in demonstrations.heard(bench, seen.images).items():
        assert name != "minivgg"
        assert said.shape == (6,)
    cloth = demonstrations.waving(bench, moments=(0.0, 0.5))
    shown = find("adversarial.film").reference(*cloth)
    assert shown.shape == (2, 3, 128, 128)
    assert not torch.equal(shown[0], shown[1])
    assert torch.equal(shown[0][:, -1], cloth.pictures[0][:, -1])
    result, _ = quick("D4")
    pictures, words = demonstrations.strip(bench, result, "crate, wolf", count=3)
    assert len(pictures) == len(words) == 3
    assert demonstrations.squares(result, "T-shirt, bus")[1] == [OVER, ALONE, CUT]
