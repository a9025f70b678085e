"""The experiments of lab 23: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.exercises import find
from labkit.experiments import learned_masks, sufficient_masks
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.mask_demonstrations import (
    inverted_halves,
    over_roughness,
    own_masks,
    rise_draws,
    searches,
    smoothing,
)

from .spy import assert_sound, controls, quick

ABOVE = "> 0 (lower bound)"
RANK = (
    "rank correlation of the object's size and the share of it that is needed, "
    "minus the 2.5 % quantile of needs dealt by lot"
)
TOP = "the top tenth by weight x activation"
WANTED = {
    "A10": {
        "version 1: IoU with the object": ("< 0.2", ["the next picture's object"]),
        "version 2 minus version 1: IoU": (ABOVE, ["the next picture's object"]),
        "version 2 minus version 1: fools another": (ABOVE, ["version 2's masks on wrong pictures"]),
    },
    "A11": {"largest deviation from the area asked for, as a share of it": ("<= 0.1", [])},
    "A12": {
        "a part smaller than the object suffices": (">= 0.6", ["masks of the next picture"]),
        RANK: ("< 0", ["needs dealt by lot"]),
        "details within the object: share of the mask / their share": (
            ">= 1 (lower bound)",
            ["masks of the next picture", "all named parts", "named parts' share of the object"],
        ),
        "two of a kind: letting go of either brings the class back": (
            ">= 0.6",
            ["letting go of the background"],
        ),
        "two of a kind: score of both minus score of one": (ABOVE, []),
    },
    "A13": {
        "a learned tenth of the channels keeps the class": (">= 0.7", ["a random tenth", TOP]),
        "class kept: learned minus random tenth": (ABOVE, [TOP]),
        f"class kept: learned minus {TOP}": (ABOVE, []),
    },
}
SHOWN = {
    "A10": {"bars"},
    "A11": {"images", "masks"},
    "A12": {"areas", "kept", "pictures"},
    "A13": {"bars"},
}


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert (result.id, set(result.show)) == (id, SHOWN[id])
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "23_learned_masks"


def test_an_extremal_mask_has_its_area_and_the_area_loss_is_told():
    result, _ = quick("A11")
    assert result.measures[0].value.value < 1e-5
    assert "64 px: asked (0.05, 0.1, 0.2, 0.4), got 0.050, 0.100, 0.200, 0.400; area loss" in result.notes[0]
    wrong = learned_masks.a11(Bench("quick"), area_loss=lambda mask, area: 7.0)
    assert "area loss 7.0000" in wrong.notes[0]


def test_the_halves_of_a12_are_what_a_notebook_may_show_one_by_one(monkeypatch):
    whole, _ = quick("A12")
    monkeypatch.setattr(learned_masks, "sufficient_areas", lambda bench: half(0))
    monkeypatch.setattr(learned_masks, "two_of_a_kind", lambda bench: half(3))

    def half(first):
        return learned_masks.Result(
            whole.measures[first : first + 3], (f"half {first}",), {str(first): 1}, id="A12"
        )

    joined = learned_masks.a12(Bench("quick"))
    assert joined.measures == whole.measures
    assert (joined.notes, joined.show) == (("half 0", "half 3"), {"0": 1, "3": 1})


def test_a_third_of_the_scenes_goes_to_each_network_and_both_are_right(monkeypatch):
    monkeypatch.setattr(Bench, "seeds", ("minivgg", "minivgg-3"))
    thirds = list(sufficient_masks.thirds(Bench("class"), 102, lesson=4))
    first, second = (part.images for part in thirds)
    assert (len(first), len(second)) == (2, 2)
    assert not torch.equal(first, second)
    assert [part.other.card["name"] for part in thirds] == ["minivgg-2", "minivgg-3"]
    for part in thirds:
        assert len(part.scenes) == len(part.masks) == len(part.labels) == 2

    def misses(net, images, labels):  # the one network misses the first scene, the other the second
        return torch.arange(len(images)) != (0 if net.card["name"] == "minivgg" else 1)

    monkeypatch.setattr(sufficient_masks, "right", misses)
    whole = Bench("quick").scenes(3)
    monkeypatch.setattr(Bench, "seeds", ("minivgg",))
    monkeypatch.setattr(Bench, "scenes", lambda *args, **options: whole)
    (part,) = sufficient_masks.thirds(Bench("quick"), 102, lesson=4)
    assert part.scenes == whole.scenes[2:]
    assert torch.equal(part.images, whole.images[2:])


def test_a_mask_that_is_the_object_prefers_no_part_of_it():
    truth = torch.zeros(2, 8, 8, dtype=torch.bool)
    truth[:, 2:6, 2:7] = True
    part = truth.clone()
    part[:, 4:] = False
    assert torch.allclose(sufficient_masks._within(truth.float(), part, truth), torch.ones(2))
    halved = part.float() + 0.5 * (truth & ~part)  # (10 / 15) / (10 / 20)
    assert torch.allclose(sufficient_masks._within(halved, part, truth), torch.full((2,), 4 / 3))


def test_the_smallest_sufficient_mask_and_its_area():
    masks = torch.stack([torch.full((2, 2), 0.1), torch.full((2, 2), 0.4)]).repeat(3, 1, 1, 1)
    keeps = torch.tensor([[True, True], [False, True], [False, False]])
    chosen, need = sufficient_masks._smallest(masks, keeps)
    assert torch.allclose(need, torch.tensor([0.1, 0.4, 1.0]))
    assert torch.allclose(chosen[:2].mean((1, 2)), torch.tensor([0.1, 0.4]))


def test_needs_that_do_not_depend_on_the_size_correlate_by_the_division_alone():
    rng = np.random.default_rng(1)
    size, need = rng.uniform(0.05, 0.3, 400), rng.uniform(0.02, 0.16, 400)
    assert sufficient_masks._correlation(np.stack([size, need / size], 1)) < -0.3
    assert sufficient_masks._correlation(np.ones((5, 2))) == 0

    got = {name: np.ones(400) for name in ("enough", "inside", "overdriven", "named", "named share")}
    got |= {name: np.ones(400) for name in ("details", "all parts", "strange details", "strange enough")}
    got |= {"size": size, "need": need, "strange need": np.ones(400)}
    got |= {"keeps": np.ones((400, 2)), "strange keeps": np.zeros((400, 2))}
    by_lot = sufficient_masks._sufficient((0.1, 0.2), got).measures[1]
    assert not by_lot.holds
    assert by_lot.control["needs dealt by lot"].low == pytest.approx(0)
    small = got | {"need": 0.05 - 0.1 * size}  # large objects need less, not only a smaller share
    assert sufficient_masks._sufficient((0.1, 0.2), small).measures[1].holds


# ---- what is drawn beside the claims


def images(side=32):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def model():
    return Bench("quick").network("minivgg")


def test_two_draws_of_rise():
    own = {name: find(f"attribution.{name}").reference for name in ("rise_map", "random_mask")}
    draws = rise_draws(Bench("quick"), model(), images(), torch.tensor([3, 5]), **own)
    assert draws.shown.shape == (6, 3, 32, 32)
    assert draws.left.shape == (6,)
    assert list(draws.maps) == list(draws.agree) == [30, 60]
    for count in draws.maps:
        assert torch.allclose(draws.maps[count].mean((1, 2)), torch.ones(2))
        assert draws.agree[count].shape == (2,)
    flat = rise_draws(
        Bench("quick"), model(), images(), torch.tensor([3, 5]),
        random_mask=own["random_mask"], rise_map=lambda scores, masks, p: masks.mean(0),
    )  # fmt: skip
    assert not torch.allclose(flat.maps[60], draws.maps[60])


def test_own_masks_are_learned_by_the_students_loss():
    blend, loss = (find(f"attribution.{name}").reference for name in ("blend", "mask_loss"))
    target = torch.tensor([3, 5])
    found = own_masks(model(), images(), target, 8, 0.01, blend=blend, mask_loss=loss, steps=4)
    assert found.shape == (2, 32, 32)
    assert ((found >= 0) & (found <= 1)).all()
    whole = own_masks(
        model(), images(), target, 8, 0.01, blend=blend, steps=8,
        mask_loss=lambda score, mask, *weights: (1 - mask).sum(),
    )  # fmt: skip
    assert whole.max() < 1e-6


def test_searches_run_the_students_loop_and_begin_with_something_tiny():
    learn, target = find("attribution.learn_mask").reference, torch.tensor([3, 5])
    maps, falls = searches(Bench("quick"), model(), images(), target, learn_mask=learn)
    assert list(maps) == list(falls)
    assert next(iter(maps)) == "version 1"
    assert len(maps) == 4
    assert all(found.shape == (2, 32, 32) and 0 <= found.min() <= found.max() <= 1 for found in maps.values())
    assert all(len(losses) == 5 and losses[-1] < losses[0] for losses in falls.values())
    asked = []

    def stub(*args):
        asked.append(args)
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        searches(Bench("quick"), model(), images(), target, learn_mask=stub)
    assert [args[-1] for args in asked] == [1]


def test_prices_of_roughness():
    own = {name: find(f"attribution.{name}").reference for name in ("blend", "mask_loss")}
    prices, lines = over_roughness(Bench("quick"), **own)
    assert prices == (0.0, 1.0)
    assert set(lines) == {"one cell a pixel", "16 x 16 cells"}
    assert all(len(line) == 2 and 0 <= found.value <= 1 for line in lines.values() for found in line)


def test_the_smooth_maximum_reaches_one_and_a_blur_does_not():
    places, cuts = smoothing(128)
    assert {len(cut) for cut in cuts.values()} == {len(places)}
    assert max(cuts["smooth maximum"]) > 0.99
    assert max(cuts["Gaussian blur"]) < 0.9


def test_channels_are_inverted_whole_and_by_halves():
    found = inverted_halves(Bench("quick"), model(), images(), torch.tensor([3, 5]), "features.8")
    assert list(found) == ["all channels", "the best half", "a random half"]
    assert all(picture.shape == (2, 3, 32, 32) for picture in found.values())
    assert not torch.allclose(found["the best half"], found["a random half"])
