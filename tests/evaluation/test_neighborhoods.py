"""Precision among neighbours, the nearest neighbour's answer, and stress, by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from labkit.evaluation import (
    colour_histogram,
    neighbor_accuracy,
    neighbor_precision,
    precision_at_k,
    stress,
)


def test_precision_by_hand():
    near = torch.tensor([[1, 2, 3], [0, 2, 3], [3, 0, 1], [2, 0, 1]])
    assert precision_at_k(near, [0, 0, 1, 1]).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert precision_at_k(near[:1], [0, 1, 1, 0], [1]).tolist() == pytest.approx([2 / 3])
    assert precision_at_k(near.numpy(), np.array([0, 0, 1, 1])).shape == (4,)


def test_it_is_precision_and_not_recall():
    near = torch.tensor([[1], [0], [0]])
    assert precision_at_k(near, [0, 0, 1]).tolist() == [1, 1, 0]  # of many of a kind, one suffices


def test_labels_by_lot_have_the_precision_of_chance():
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(1000, 4, generator=generator), torch.randint(4, (1000,), generator=generator)
    assert float(neighbor_precision(rows, labels).mean()) == pytest.approx(0.25, abs=0.03)


def test_the_nearest_neighbour_s_answer_is_scikit_learns():
    generator = torch.Generator().manual_seed(1)
    rows, labels = torch.randn(200, 3, generator=generator), torch.randint(3, (200,), generator=generator)
    oracle = KNeighborsClassifier(1).fit(rows[:150], labels[:150])
    right = oracle.predict(rows[150:]) == labels[150:].numpy()
    found = neighbor_accuracy(rows[:150], labels[:150], rows[150:], labels[150:])
    assert found.tolist() == right.tolist()


def test_stress_by_hand():
    square = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    line = [[0.0], [1.0], [-1.0]]
    truth, found = np.array([1, 1, 2**0.5]), np.array([1, 1, 2.0])
    scale = (truth @ found) / (found @ found)
    by_hand = (((truth - scale * found) ** 2).sum() / (truth @ truth)) ** 0.5
    assert stress(square, line) == pytest.approx(by_hand)
    assert stress(square, np.array(line) * 7 + 2) == pytest.approx(by_hand)  # scale and place are free
    assert stress(square, square) == pytest.approx(0, abs=1e-7)


def test_a_histogram_of_colours_knows_no_places():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = colour_histogram(images, 3)
    assert found.shape == (2, 27)
    assert torch.allclose(found.sum(1), torch.ones(2))
    assert torch.allclose(found, colour_histogram(images.flip(3).transpose(2, 3), 3))
    assert colour_histogram(torch.ones(1, 3, 2, 2), 2)[0, 7] == 1
    with pytest.raises(ValueError, match="images must have 3 channels"):
        colour_histogram(torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: precision_at_k(torch.zeros(2, 1).long(), [1, 1]), "labels must be of at least two kinds"),
        (lambda: precision_at_k(torch.zeros(2, 1), [1, 0]), "neighbors must be row numbers"),
        (lambda: precision_at_k(torch.tensor([[2], [0]]), [1, 0]), "from 0 to 1, the rows that have labels"),
        (lambda: precision_at_k(torch.tensor([[1]]), [1, 0]), "For queries that are other rows"),
        (lambda: precision_at_k(torch.tensor([[1], [0]]), [1.0, 0.0]), "labels must be whole numbers"),
        (lambda: neighbor_precision(torch.rand(9, 2), [0, 1]), r"one a row, \(9,\)"),
        (lambda: stress(torch.rand(5, 3), torch.rand(4, 2)), "a row for each of 5 rows of features; got 4"),
        (lambda: stress(torch.rand(5, 3) / 0, torch.rand(5, 2)), "features must be finite"),
    ],
)
def test_bad_arguments_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
