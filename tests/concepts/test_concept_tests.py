"""TCAV: on networks whose answer is known, the test's rate under chance, pairs against the algebra."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from labkit.concepts import cav, directional_derivatives, paired_cav, paired_cav_result, tcav, tcav_result
from labkit.concepts.concept_tests import paper_p, z_among
from labkit.concepts.concept_vectors import layer_gradients
from labkit.concepts.directions import Directions, by_channel


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
        ).eval()


def red(count: int, seed: int) -> torch.Tensor:
    pictures = draw(count, 3, 4, 4, seed=seed)
    pictures[:, 0] = 0.7 + 0.3 * pictures[:, 0]
    return pictures


def test_a_score_is_the_share_of_positive_derivatives_of_its_vectors() -> None:
    model, images = net(), draw(20, 3, 4, 4)
    concept, others = red(10, 1), draw(10, 3, 4, 4, seed=2)
    from labkit.models.features import features

    others = torch.cat([others, others])  # any draw of ten is of these
    found = tcav_result(
        model, images, 0, layer="0", concept=concept, others=others, draws=1, random_concepts=1
    )
    drawn = torch.randperm(20, generator=torch.Generator().manual_seed(0))[:10]
    vector = cav(features(model, concept, "0"), features(model, others[drawn], "0"))
    expected = directional_derivatives(model, images, 0, layer="0", vector=vector)
    assert torch.allclose(found.derivatives, expected, atol=2e-3 * float(expected.abs().max()))
    assert found.score == pytest.approx(float((expected > 0).float().mean()), abs=0.051)


def test_a_concept_that_the_class_hangs_on_is_found_and_its_opposite_scores_the_rest() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Softplus(), nn.Flatten(), nn.Linear(48, 2)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        model[3].weight[0] = torch.tensor([1.0, 0.0, 0.0]).repeat_interleave(16)
    images, others = draw(30, 3, 4, 4), draw(200, 3, 4, 4, seed=5)
    options = {"layer": "0", "others": others, "draws": 4, "random_concepts": 40}
    found = tcav_result(model, images, 0, concept=red(20, 6), **options)
    assert found.score == 1.0
    assert found.derivatives.min() > 1  # of a largest 4: the unit vector is nearly the red channel's
    dark = red(20, 6)
    dark[:, 0] = 1 - dark[:, 0]
    assert tcav(model, images, 0, concept=dark, **options) == 0.0


def test_random_concepts_are_called_significant_as_often_as_said() -> None:
    model, images, others = net(), draw(25, 3, 4, 4), draw(400, 3, 4, 4, seed=9)
    ps = [
        tcav_result(
            model, images, 0, layer="0", concept=draw(12, 3, 4, 4, seed=100 + s), others=others, draws=3,
            random_concepts=19, generator=torch.Generator().manual_seed(s),
        ).p
        for s in range(30)
    ]  # fmt: skip
    assert sum(p <= 0.1 for p in ps) <= 8  # of 30, 3 expected; 9 or more in .3 % of runs


def test_after_the_last_nonlinearity_the_score_is_0_or_1_and_it_says_so() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with pytest.warns(UserWarning, match="0 or 1 there by algebra.* their mean over draws"):
        found = tcav_result(
            model.eval(), draw(9, 3, 4, 4), 0, layer="1", concept=red(6, 1), others=draw(30, 3, 4, 4, seed=2),
            draws=3, random_concepts=5,
        )  # fmt: skip
    assert found.constant
    assert set(found.scores.tolist()) <= {0.0, 1.0}


@pytest.mark.filterwarnings("ignore:layer")
def test_the_pairs_effect_is_the_derivative_along_their_mean_and_equals_re_drawing_where_all_is_linear() -> (
    None
):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 2)).eval()
    absent = draw(20, 3, 4, 4) / 2
    present = absent.clone()
    present[:, 0] += 0.3 * draw(20, 4, 4, seed=4)
    found = paired_cav_result(model, absent, 1, layer="0", present=present, absent=absent)
    change = (model(present) - model(absent))[:, 1].mean().item()
    assert found.effect == pytest.approx(change, rel=1e-4)
    assert found.counterfactual == pytest.approx(change, rel=1e-4)
    along = directional_derivatives(model, absent, 1, layer="0", vector=found.vector)
    assert float(along.mean()) == pytest.approx(found.effect, rel=1e-4)
    assert abs(found.z) > 3
    assert found.p < 0.01


def test_many_vectors_from_one_set_of_products_are_those_fitted_alone() -> None:
    model, images = net(), draw(6, 3, 4, 4)
    rows = torch.cat([red(5, 1), draw(20, 3, 4, 4, seed=2)]).flatten(1)
    slopes = layer_gradients(model, images, torch.tensor([0, 1, 2, 0, 1, 2]), layer="0").flatten(1)[:, :48]
    own = torch.Generator().manual_seed(4)
    found = Directions(rows, slopes, 0.01).of_concept(torch.arange(5), torch.arange(5, 25), 3, own)
    own = torch.Generator().manual_seed(4)
    for line in found:
        others = rows[5 + torch.randperm(20, generator=own)[:5]]
        expected = slopes @ cav(rows[:5], others, penalty=0.01)
        assert torch.allclose(line.float(), expected, rtol=1e-4, atol=1e-6)


def test_a_random_concept_shares_no_picture_with_what_it_is_held_against() -> None:
    met = []

    class Watched(Directions):
        def derivatives(self, concept: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
            met.append((set(concept.tolist()), set(others.tolist())))
            return super().derivatives(concept, others)

    rows = draw(30, 7)
    Watched(rows, rows[:2], 0.01).of_chance(torch.arange(30), 8, 5, torch.Generator().manual_seed(0))
    assert len(met) == 5
    assert len({frozenset(concept) for concept, _ in met}) == 1
    assert all(len(concept) == len(others) == 8 and not concept & others for concept, others in met)


def test_z_of_a_spread_that_is_none() -> None:
    assert z_among(0.5, torch.tensor([0.5, 0.5])) == 0.0
    assert z_among(0.7, torch.tensor([0.5, 0.5])) == float("inf")
    assert z_among(0.3, torch.tensor([0.5])) == -float("inf")
    assert z_among(3.0, torch.tensor([0.0, 1.0, 2.0])) == 2.0


def test_the_papers_test_is_scipys() -> None:
    from scipy.stats import ttest_ind

    shares, chances = draw(6).double(), draw(4, 6, seed=2).double()
    expected = float(ttest_ind(shares.numpy(), chances.flatten().numpy()).pvalue)
    assert paper_p(shares, chances) == pytest.approx(expected)
    assert paper_p(torch.ones(3), torch.zeros(2, 3)) == 0.0


@pytest.mark.filterwarnings("ignore:layer")
def test_pooled_pairs_move_all_places_alike() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 2)).eval()
    absent = draw(9, 3, 4, 4) / 2
    present = absent + 0.25 * draw(9, 3, 1, 1, seed=7)  # the same step at all places
    given = {"layer": "0", "present": present, "absent": absent}
    pooled = paired_cav_result(model, absent, 1, pool="mean", **given)
    whole = paired_cav_result(model, absent, 1, **given)
    assert pooled.vector.shape == (4,)
    assert pooled.effect == pytest.approx(whole.effect, rel=1e-4)
    slopes = by_channel(layer_gradients(model, absent, 1, layer="0"))
    assert float((slopes @ pooled.vector).mean()) == pytest.approx(pooled.effect, rel=1e-4)


def test_pairs_without_an_effect_are_not_significant() -> None:
    model, absent = net(), draw(40, 3, 4, 4)
    present = (absent + 0.05 * torch.randn(40, 3, 4, 4, generator=torch.Generator().manual_seed(1))).clamp(
        0, 1
    )
    found = paired_cav_result(model, absent, 0, layer="0", present=present, absent=absent, flips=300)
    assert abs(found.z) < 3
    assert len(found.null) == 300


PAIR = {"present": draw(4, 3, 4, 4), "absent": draw(4, 3, 4, 4)}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"concept": red(1, 0)}, "concept must be at least 2 pictures, better 30; got 1"),
        ({"others": draw(7, 3, 4, 4)}, "others must be at least twice as many as the concept's 4 pictures"),
        ({"pool": "max"}, 'pool must be None or "mean"'),
        ({"draws": 0}, "draws must"),
        (
            {"concept": torch.zeros(4, 3, 4, 4), "others": torch.zeros(9, 3, 4, 4)},
            "must differ in what the layer",
        ),
    ],
)
def test_what_cannot_be_tested_is_told(options: dict, sentence: str) -> None:
    given = {"layer": "0", "concept": red(4, 1), "others": draw(9, 3, 4, 4), "random_concepts": 2, "draws": 2}
    with pytest.raises(ValueError, match=sentence):
        tcav(net(), draw(3, 3, 4, 4), 0, **{**given, **options})


@pytest.mark.parametrize("pool", [None, "mean"])
def test_sets_of_several_sizes_are_told_unless_they_are_pooled(pool) -> None:
    given = {"layer": "0", "random_concepts": 2, "draws": 2, "pool": pool}
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    sets = [
        {"concept": red(4, 1), "others": draw(9, 3, 5, 6)},
        {"concept": draw(4, 3, 5, 6), "others": draw(9, 3, 4, 4)},
        {"concept": draw(4, 3, 5, 6), "others": draw(9, 3, 5, 6)},
    ]
    for own in sets:
        if pool:
            assert 0 <= tcav(model.eval(), draw(3, 3, 4, 4), 0, **own, **given) <= 1
        for one in (net(), *([model.eval()] if pool is None else [])):
            with pytest.raises(ValueError, match=r"must be of one size; got images 4 x 4, .*5 x 6.*pool=\"m"):
                tcav(one, draw(3, 3, 4, 4), 0, **own, **given)
    pairs = {"present": draw(2, 3, 5, 6), "absent": draw(2, 3, 4, 4) / 2}
    if not pool:
        with pytest.raises(ValueError, match="present 5 x 6, absent 4 x 4"):
            paired_cav(net(), draw(3, 3, 4, 4), 0, layer="0", **pairs)


def test_a_folder_is_to_be_read_first() -> None:
    given = {"layer": "0", "random_concepts": 2, "draws": 2}
    with pytest.raises(TypeError, match=r"others must be pictures.*got str\. Read files first: torch\.stack"):
        tcav(net(), draw(3, 3, 4, 4), 0, concept=red(4, 1), others="/a/folder", **given)
    with pytest.raises(TypeError, match="concept must be pictures.*got list"):
        tcav(net(), draw(3, 3, 4, 4), 0, concept=[red(4, 1)], others=draw(9, 3, 4, 4), **given)
    with pytest.raises(TypeError, match="present must be pictures.*got PosixPath|got WindowsPath"):
        paired_cav(net(), draw(3, 3, 4, 4), 0, layer="0", present=Path("a"), absent=Path("b"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"absent": draw(3, 3, 4, 4)}, "the same scenes with and without one thing"),
        (PAIR, "must differ in what the layer gives; for every pair it is the same"),
        ({"flips": 0}, "flips must"),
        ({"pool": "max"}, 'pool must be None or "mean"'),
    ],
)
def test_what_is_no_pair_is_told(options: dict, sentence: str) -> None:
    given = {"present": red(4, 1), "absent": draw(4, 3, 4, 4)}
    with pytest.raises(ValueError, match=sentence):
        paired_cav_result(net(), draw(3, 3, 4, 4), 0, layer="0", **{**given, **options})
