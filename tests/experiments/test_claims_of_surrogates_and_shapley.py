"""The experiments of lab 24: what they return, on what they rest, and identities of what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from labkit.attribution import deep_shap_result, lime, shapley_values
from labkit.exercises import find
from labkit.experiments import shap_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.biased_bank import biased_bank, local_shares
from labkit.experiments.lime import copies, lime_draws, own_lime
from labkit.experiments.surrogates_and_shapley import a6, a8, regression_shares

from .spy import assert_sound, quick, references, unwritten

THRESHOLDS = {
    "A6": {"<= 1e-3", "<= 1e-6"},
    "A8": {">= 0.5", "< 0.1", "> 0 (lower bound)", "< 0 (upper bound)"},
}
OWN = {"lime_weights": find("attribution.lime_weights").reference,
       "fit_surrogate": find("attribution.fit_surrogate").reference}  # fmt: skip


@pytest.mark.parametrize("id", list(THRESHOLDS))
def test_a_quick_run_measures_what_was_agreed_with_the_functions_it_names(id):
    result, called = quick(id)
    assert result.id == id
    assert set(result.uses) == set(EXPERIMENTS[id].own.values()) == called
    assert {measure.threshold for measure in result.measures} == THRESHOLDS[id]
    assert_sound(result)


def test_the_measures_have_the_names_under_which_they_were_first_entered():
    flips, weight = "repainting the ground flips", "LIME weight around the animal minus on it"
    assert [m.what for m in quick("A8")[0].measures] == [
        f"{name}: {what}" for name in ("snow", "honest") for what in (flips, weight)
    ]
    missed = "largest share of the difference that is missed"
    methods, equal = (
        ("integrated gradients", "DeepSHAP", "KernelSHAP"),
        "KernelSHAP minus Shapley, all coalitions",
    )
    assert [m.what for m in quick("A6")[0].measures] == [
        *(f"{name}, {method}: {missed}" for name in ("minivgg", "overlapping pooling") for method in methods),
        f"{equal} of 7 players",
        f"{equal} of 7 players, by the exercises' functions",
    ]  # fmt: skip


def test_beside_what_lime_sums_up_stand_both_animals_and_what_one_superpixel_weighs():
    for measure in quick("A8")[0].measures[1::2]:
        assert list(measure.control) == [
            "wolves alone",
            "sheepdogs alone",
            "one superpixel around minus one on it",
            "share in which the strongest superpixel lies on the animal",
        ]
        alone = measure.control["wolves alone"].value, measure.control["sheepdogs alone"].value
        assert measure.value.value == pytest.approx(np.mean(alone))  # as many of the one as of the other


def test_what_there_is_to_draw_fits_together():
    show = quick("A8")[0].show
    assert show["pictures"].shape == (4, 3, 128, 128)
    assert not torch.equal(show["pictures"][0], show["pictures"][1])
    assert {name: maps.shape for name, maps in show["maps"].items()} == {
        "snow-trained": (4, 128, 128),
        "honest": (4, 128, 128),
    }


def test_a_wrong_fit_and_a_wrong_kernel_change_the_numbers():
    def unweighted(masks, scores, weights, alpha):
        return OWN["fit_surrogate"](masks, scores, torch.ones_like(weights), alpha)

    wrong = a8(Bench("quick"), **references("A8") | {"fit_surrogate": unweighted})
    right = quick("A8")[0]
    assert [m.value for m in wrong.measures[::2]] == [m.value for m in right.measures[::2]]  # no LIME in it
    assert all(w.value != r.value for w, r in zip(wrong.measures[1::2], right.measures[1::2], strict=True))
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)).eval()
    guest = Bench("quick", (network, torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))))
    equal = a6(guest, **references("A6") | {"kernel_shap_weight": lambda players, size: 1.0}).measures[-1]
    assert not equal.holds


def test_a_guest_network_is_asked_about_its_own_photographs():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)).eval()
    guest = Bench("quick", (network, torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))))
    found = a6(guest, **references("A6"))
    assert {m.what.split(",")[0] for m in found.measures[:-2]} == {"the network", "overlapping pooling"}
    linear = [m for m in found.measures if m.what.startswith("the network")]
    assert all(m.value.value < 1e-4 for m in linear)


# ---- what they are made of


def test_lime_by_the_references_is_the_librarys():
    network = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 28 * 28, 3)).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = own_lime(network, images, torch.tensor([0, 2]), samples=64, **OWN)
    wanted = lime(network, images, torch.tensor([0, 2]), samples=64)
    torch.testing.assert_close(found.map, wanted, rtol=1e-3, atol=1e-5)
    again = own_lime(network, images, torch.tensor([0, 2]), samples=64, seed=1, **OWN).map
    assert not torch.allclose(again, found.map, atol=1e-3)


def test_copies_show_all_at_first_and_something_always():
    kept = copies(500, 3, 0)
    assert kept[0].all()
    assert kept.any(1).all()
    assert 0.4 < kept.float().mean() < 0.6
    assert torch.equal(copies(100, 3, 0), kept[:100])  # more copies go on with the same draw


def test_a_line_explains_a_straight_network_and_not_dice():
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    straight = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval()
    found = own_lime(straight, images, 0, samples=300, fresh=300, **OWN)
    assert found.fidelity[0] > 0.95
    assert found.players[0] == len(found.map.unique())

    class Dice(nn.Module):
        def forward(self, x):
            return ((x * 1e4).sum((1, 2, 3), keepdim=True) % 7).flatten(1).expand(-1, 2)

    assert own_lime(Dice().eval(), images, 0, samples=300, fresh=300, **OWN).fidelity[0] < 0.3


def test_two_draws_differ_and_few_copies_explain_less():
    bench = Bench("quick")
    (model, images), classes = bench.subjects(1)[0], torch.tensor([0])
    found = lime_draws(bench, model, images, classes, **OWN)
    assert [*found.maps] == ["LIME (yours)", "another draw"]
    assert -1 <= found.alike[0] < 0.999
    assert found.starved[0] < 1


def test_the_regression_over_all_coalitions_gives_shapleys_values():
    game = torch.tensor([0.0, 1.0, 2.0, 7.0], dtype=torch.float64)  # 3 apart from what each adds alone
    bits = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=torch.float64)
    weight = find("attribution.kernel_shap_weight").reference
    torch.testing.assert_close(regression_shares(game, bits, weight), torch.tensor([3.0, 4.0]).double())


def test_shares_of_a_straight_table_model_are_known_by_hand():
    slopes = np.array([0.5, -1.0, 0.2])

    class Straight:
        def predict_proba(self, rows):
            yes = 1 / (1 + np.exp(-rows @ slopes))
            return np.stack([1 - yes, yes], 1)

    people, others = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    found = local_shares(Straight(), people, others, find("attribution.shapley_values").reference)
    np.testing.assert_allclose(found, slopes * (people - others.mean(0)), atol=1e-12)


def test_the_bank_shows_its_bias_and_asks_the_exercises_function_first():
    found = biased_bank(Bench("quick"), shapley_values=find("attribution.shapley_values").reference)
    assert found.cost["planted"] == -1.5
    assert -2.5 < found.cost["black box"] < -0.7
    assert -2 < found.cost["glass box"] < -1
    assert 0 < found.elsewhere < found.refused
    assert found.person["harbour district"][0] == 1
    sizes = [abs(share) for _, share in found.person.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert found.granted["the bank"][0] < found.granted["the bank"][1]
    with pytest.raises(NotImplementedError):
        biased_bank(Bench("full"), shapley_values=unwritten)


def test_the_librarys_and_the_exercises_shapley_values_agree():
    game = torch.randn(16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    library = shapley_values(lambda rows: game[(rows * 2 ** torch.arange(4)).sum(1)], 4)
    torch.testing.assert_close(library, find("attribution.shapley_values").reference(game, 4))


def test_the_bank_is_told_in_lines():
    bank = biased_bank(Bench("quick"), shapley_values=find("attribution.shapley_values").reference)
    assert "living at the harbour, in log odds: planted -1.50" in bank.overview()
    lines = bank.people().splitlines()
    assert len(lines) == 3 + len(bank.person) + len(bank.granted)
    assert lines[2].split()[-1].strip("+-") == ""


# ---- what is drawn beside the claims


def own(name):
    return find(f"attribution.{name}").reference


SUMS = {name: own(name) for name in ("shapley_values", "kernel_shap", "kernel_shap_weight")}


def test_tiles_of_a_picture_are_a_game():
    model, images = Bench("quick").subjects(1)[0]
    game = demonstrations.picture_game(model, images[0], 0, side=2)
    assert game.coalitions.tolist()[:4] == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]]
    shown = torch.full_like(images, 0.5)
    shown[..., :64, 64:] = images[..., :64, 64:]
    with torch.no_grad():
        expected = torch.cat([model(torch.full_like(images, 0.5)), model(shown), model(images)])[:, 0]
    torch.testing.assert_close(game.value[[0, 2, 15]].float(), expected, rtol=1e-3, atol=1e-3)


def test_the_regression_over_all_coalitions_is_shapleys_and_over_few_an_estimate():
    value = torch.randn(2**9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    game = demonstrations.PictureGame(value, torch.arange(9).view(3, 3), 9)
    found = demonstrations.estimates(game, **SUMS)
    assert list(found.misses) == [30, 60, 120, 240, 510]
    assert found.misses[510] < 1e-9 < found.misses[240] < found.misses[30]
    exact, full, few = found.maps.values()
    torch.testing.assert_close(exact, full)
    torch.testing.assert_close(exact.sum(), few.sum())
    assert str(found).splitlines()[0] == f"the largest share is {found.most:.2f}"


def test_the_rule_adds_up_and_the_slope_does_not():
    model, images = Bench("quick").subjects(2)[0]
    target = torch.tensor([0, 1])
    found = demonstrations.deep_shares(model, images, 0.5, target, own("rescale_multiplier"))
    assert found.missed.abs().max() < 1e-4
    library = deep_shap_result(model, images, target, baselines="grey")
    torch.testing.assert_close(found.difference, library.difference, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(found.map, library.map, strict=True):  # another rule for max pooling
        assert np.corrcoef(mine.flatten(), theirs.flatten())[0, 1] > 0.9
    slope = demonstrations.deep_shares(model, images, 0.5, target, lambda x, baseline: (x > 0).float())
    assert slope.missed.abs().max() > 0.1
    assert "the parts miss" in str(found)
    assert demonstrations.deep_shares(nn.Identity(), images, 0.5, target, own("rescale_multiplier")) is None


def test_a_tinted_picture_and_four_limes():
    model, images = Bench("quick").subjects(1)[0]
    assert demonstrations.tinted(images[0]).shape == images[0].shape
    limes = demonstrations.several_limes(**OWN)
    assert list(limes) == ["30 copies", "100 copies", "300 copies", "300, another draw"]
    assert limes["30 copies"](model, images, 0).shape == images[:, 0].shape
