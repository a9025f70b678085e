"""Arithmetic by hand, Mantel's test by hand and beside SciPy; what is no space of concepts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from labkit.concepts import analogy, concept_distances, mantel, mantel_result
from labkit.concepts.concept_spaces import hits
from labkit.data import concept_words

SPACE = torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 1], [0.9, -0.1, 1], [0, -1, 0]])


def test_arithmetic_is_the_nearest_to_the_sum() -> None:
    assert analogy(SPACE, [0, 2], [1], count=2).tolist() == [3, 4]
    assert analogy(SPACE * torch.tensor([[7.0], [1], [3], [1], [1], [2]]), [0, 2], [1], count=2).tolist() == [
        3,
        4,
    ]
    assert analogy(SPACE, [0], count=1).tolist() == [4]  # the first term alone


def test_hits_hold_it_against_the_first_term_alone() -> None:
    whole, alone = hits(SPACE, [(0, 1, 2, 3), (3, 2, 1, 0)], count=1)
    assert whole.tolist() == [True, False]
    assert alone.tolist() == [False, True]
    assert [v.tolist() for v in hits(SPACE, [(0, 1, 2, 3)], count=3)] == [[True], [True]]


def test_distances_are_one_less_the_cosine() -> None:
    found = concept_distances(SPACE)
    assert torch.equal(found, found.T)
    assert not found.diagonal().any()
    assert float(found[0, 1]) == pytest.approx(1 - 1 / np.sqrt(2))
    assert float(found[2, 5]) == pytest.approx(2.0)


def test_mantel_by_hand() -> None:
    """Three concepts, distances 1 2 3 and 1 2 3: of the six ways to deal three concepts one keeps all."""
    near = torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
    found = mantel_result(near, near)
    assert found.exact
    assert len(found.null) == 6
    assert found.value == pytest.approx(1.0)
    assert found.p == pytest.approx(1 / 6)
    # the pairs' ranks after a permutation are a permutation of 1 2 3: correlations 1, 1/2 (2x), -1/2 (2x), -1
    assert sorted(found.null.round(6)) == [-1.0, -0.5, -0.5, 0.5, 0.5, 1.0]


def test_mantel_is_spearman_on_pairs_and_its_null_deals_concepts() -> None:
    draw = np.random.default_rng(0)
    points = draw.normal(size=(12, 3))
    a = np.linalg.norm(points[:, None] - points, axis=2)
    shaken = points + 0.1 * draw.normal(size=points.shape)
    b = np.linalg.norm(shaken[:, None] - shaken, axis=2)
    above = np.triu_indices(12, 1)
    found = mantel_result(a, b, repeats=199)
    assert found.value == pytest.approx(spearmanr(a[above], b[above]).statistic)
    assert found.p == pytest.approx(1 / 200)
    assert not found.exact
    order = draw.permutation(12)
    assert mantel(a[np.ix_(order, order)], b[np.ix_(order, order)]) == pytest.approx(found.value)
    other = torch.Generator().manual_seed(7)
    assert not np.array_equal(mantel_result(a, b, repeats=199, generator=other).null, found.null)


def test_unrelated_spaces_are_significant_as_often_as_asked() -> None:
    draw = np.random.default_rng(1)
    found = []
    for _ in range(60):
        a, b = (np.abs(np.subtract.outer(v, v)) for v in draw.normal(size=(2, 9)))
        found.append(mantel_result(a, b, repeats=99).p)
    assert np.mean(np.array(found) <= 0.1) < 0.25


def test_what_is_no_space_is_said() -> None:
    for wrong, said in (
        (torch.rand(3), r"shape \(C, K\)"),
        (torch.zeros(3, 2), "vector other than 0"),
        (torch.full((3, 2), torch.nan), "finite"),
    ):
        with pytest.raises(ValueError, match=said):
            concept_distances(wrong)
    with pytest.raises(ValueError, match="at least one concept's number"):
        analogy(SPACE, [])
    with pytest.raises(ValueError, match="count must be at most 3"):
        analogy(SPACE, [0, 2], [1], count=4)
    with pytest.raises(
        IndexError, match=r"plus must be from 0 to \d; got 9. There are \d concepts in the space"
    ):
        analogy(SPACE, [9])
    with pytest.raises(IndexError, match="minus must be from 0 to"):
        analogy(SPACE, [0], [-1])


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2)), "the same at least 3 concepts"),
        (np.arange(9).reshape(3, 3), np.zeros((3, 3)), "the same both ways"),
        (np.ones((3, 3)), np.ones((4, 4)), "the same concepts in the same order"),
        (np.ones((3, 3)), np.ones((3, 3)), "not all the same"),
        (np.full((3, 3), np.nan), np.ones((3, 3)), "finite"),
    ],
)
def test_what_are_no_distances_is_said(first, second, said) -> None:
    with pytest.raises(ValueError, match=said):
        mantel(first, second)


def test_words_are_the_world_s_and_come_with_their_origin() -> None:
    found = concept_words()
    assert len(found.names) == 32 == len(found.vectors)
    assert np.array_equal(found.steps, found.steps.T)
    assert not found.steps.diagonal().any()
    for i, j, k in itertools.permutations(range(8), 3):  # a graph's shortest ways
        assert found.steps[i, j] <= found.steps[i, k] + found.steps[k, j]
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(np.ones(32), abs=1e-3)
    some = concept_words(["zebra", "horse", "hull"])
    assert some.steps[0, 1] < some.steps[0, 2]
    assert "ship" in some.senses["hull"]
    with pytest.raises(ValueError, match="name must be one of"):
        concept_words(["unicorn"])
