"""Nearest neighbours: brute force, scikit-learn, and what is no features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from labkit.visualization import nearest_neighbors, nearest_neighbors_result


def cloud(n=60, d=7, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("chunk", [7, 512])
def test_they_are_scikit_learns(metric, chunk):
    rows = cloud()
    found = nearest_neighbors_result(rows, k=4, metric=metric, chunk=chunk)
    oracle = NearestNeighbors(n_neighbors=4, metric=metric, algorithm="brute").fit(rows.double().numpy())
    distances, indices = oracle.kneighbors()  # of the fitted rows, each without itself
    assert np.array_equal(found.indices.numpy(), indices)
    assert np.allclose(found.distances.numpy(), distances, atol=1e-6)


def test_queries_are_other_rows_and_nothing_is_left_out():
    rows = cloud()
    found = nearest_neighbors_result(rows, k=2, queries=rows[:5])
    assert found.indices[:, 0].tolist() == list(range(5))
    assert found.distances[:, 0].abs().max() < 1e-6
    assert nearest_neighbors(rows, k=60, queries=rows[:1]).shape == (1, 60)


def test_far_from_the_origin_and_nearly_equal_rows_keep_their_distance():
    rows = torch.tensor([[0.0, 0.0], [1e-3, 0.0], [0.0, 3e-3]]) + 1000
    found = nearest_neighbors_result(rows, k=2)
    exact = torch.cdist(rows.double(), rows.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.allclose(found.distances.double(), exact.sort(1).values[:, 1:], rtol=1e-5)


@pytest.mark.parametrize("kind", ["array", "half", "bfloat16", "float64", "list", "whole numbers"])
def test_features_of_every_kind(kind):
    rows = cloud().mul(8).round()
    given = {"array": rows.numpy(), "half": rows.half(), "bfloat16": rows.bfloat16(),
             "float64": rows.double(), "list": rows.tolist(), "whole numbers": rows.int()}[kind]  # fmt: skip
    assert torch.equal(nearest_neighbors(given, k=3), nearest_neighbors(rows, k=3))
    dtype = torch.float64 if kind in ("float64", "list") else torch.float32
    assert nearest_neighbors_result(given, k=3).distances.dtype == dtype


def test_of_equal_rows_the_first_counts_and_zeros_have_no_direction():
    assert nearest_neighbors(torch.ones(4, 2), k=2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.1]])
    assert nearest_neighbors_result(rows, k=2, metric="cosine").distances[0].tolist() == [1.0, 1.0]


def test_it_can_be_stopped_and_tells_how_far_it_is():
    shares = []
    found = nearest_neighbors_result(
        cloud(), k=1, chunk=20, progress=shares.append, should_stop=lambda: len(shares) == 2
    )
    assert shares == pytest.approx([1 / 3, 2 / 3])
    assert (found.indices[40:] == -1).all()
    assert (found.indices[:40] >= 0).all()


@pytest.mark.parametrize(
    ("features", "options", "error", "sentence"),
    [
        (torch.rand(5), {}, ValueError, r"features must have the shape \(N, D\).*got \(5,\)"),
        (torch.rand(5, 2, 3, 3), {}, ValueError, r'pool="mean"'),
        (torch.rand(5, 0), {}, ValueError, r"got \(5, 0\)"),
        (torch.full((9, 2), float("nan")), {}, ValueError, "features must be finite; got NaN"),
        ([["a"]], {}, TypeError, "features must be a tensor or an array of numbers"),
        (torch.rand(5, 2), {"k": 5}, ValueError, "k must be at most the 4 other rows of features; got 5"),
        (torch.rand(5, 2), {"k": 6, "queries": torch.rand(1, 2)}, ValueError, "the 5 rows of features"),
        (torch.rand(5, 2), {"k": 0}, ValueError, "k must be a whole number"),
        (torch.rand(9, 2), {"chunk": 0}, ValueError, "chunk must be"),
        (torch.rand(9, 2), {"queries": torch.rand(3, 4)}, ValueError, r"queries must have the 2 columns"),
        (torch.rand(9, 2), {"metric": "l1"}, ValueError, "metric must be one of 'euclidean', 'cosine'"),
    ],
)
def test_bad_arguments_are_refused(features, options, error, sentence):
    with pytest.raises(error, match=sentence):
        nearest_neighbors(features, **options)
