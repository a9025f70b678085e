"""Neighbourhoods: whether what lies near is of one kind, and whether a projection keeps the distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from labkit.core.checks import as_tensor
from labkit.visualization.neighbors import as_rows, nearest_neighbors

Labels = Int[Tensor, " N"] | Int[ndarray, " N"] | Sequence[int]


def _labels(argument: str, labels: Any, count: int | None = None) -> Int[Tensor, " N"]:
    found = as_tensor(argument, labels)
    if found.ndim != 1 or found.is_floating_point() or (count is not None and len(found) != count):
        want = "(N,)" if count is None else f"({count},)"
        raise ValueError(
            f"{argument} must be whole numbers, one a row, {want}; got {found.dtype} {tuple(found.shape)}."
        )
    return found.long()


def precision_at_k(
    neighbors: Int[Tensor, "M k"], labels: Labels, query_labels: Labels | None = None
) -> Float[Tensor, " M"]:
    """For each query the share of its ``k`` neighbours that have its label: precision at k, not recall.

    ``neighbors``: row numbers, as ``labkit.visualization.nearest_neighbors`` gives them; ``labels``: of those
    rows; ``query_labels``: of the queries, where these are other rows. Raises ValueError for labels of one
    kind only, by which every neighbour would be right, and for shapes that do not go together.

    >>> precision_at_k(torch.tensor([[1, 2], [0, 2], [0, 1]]), [0, 0, 1]).tolist()
    [0.5, 0.5, 0.0]
    """
    known = _labels("labels", labels)
    near = as_tensor("neighbors", neighbors)
    if near.ndim != 2 or near.is_floating_point() or near.numel() == 0:
        raise ValueError(f"neighbors must be row numbers (M, k); got {near.dtype} {tuple(near.shape)}.")
    if int(near.min()) < 0 or int(near.max()) >= len(known):
        raise ValueError(
            f"neighbors must be row numbers from 0 to {len(known) - 1}, the rows that have labels; "
            f"got {int(near.min())} to {int(near.max())}."
        )
    if len(known.unique()) < 2:
        raise ValueError(
            "labels must be of at least two kinds; all are the same, and every neighbour would be right. "
            "Take pictures of several classes."
        )
    asked = known if query_labels is None else _labels("query_labels", query_labels)
    if len(asked) != len(near):
        raise ValueError(
            f"labels must be one a row of neighbors, {len(near)}; got {len(asked)}. "
            "For queries that are other rows pass query_labels."
        )
    return (known[near.cpu()] == asked[:, None]).double().mean(1)


def neighbor_precision(features: Any, labels: Labels, k: int = 5, **options: Any) -> Float[Tensor, " N"]:
    """``precision_at_k`` of the ``k`` nearest neighbours of each row among the others.

    ``options``: of ``labkit.visualization.nearest_neighbors``. Errors as of both.

    >>> neighbor_precision([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1], k=1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    _labels("labels", labels, len(as_rows(features)))
    return precision_at_k(nearest_neighbors(features, k=k, **options), labels)


def neighbor_accuracy(
    features: Any, labels: Labels, queries: Any, query_labels: Labels, **options: Any
) -> Float[Tensor, " M"]:
    """Whether the nearest of ``features`` has each query's label: 1 or 0, the 1-nearest-neighbour classifier.

    Raises as ``precision_at_k`` and ``labkit.visualization.nearest_neighbors``.
    Source: Cover and Hart 1967.

    >>> neighbor_accuracy([[0.0], [9.0]], [0, 1], [[1.0], [8.0]], [0, 0]).tolist()
    [1.0, 0.0]
    """
    return precision_at_k(nearest_neighbors(features, k=1, queries=queries, **options), labels, query_labels)


def stress(features: Any, points: Any) -> float:
    """How badly a projection keeps distances: the share of them that its own, best scaled, do not explain.

    The square root of the squared differences of all pairs' distances, over the squares of those of the
    features, at the scale of the points that makes it least: 0 is perfect. Raises ValueError for NaN and for
    shapes that do not go together.

    Source: Kruskal 1964, "Multidimensional scaling by optimizing goodness of fit", stress formula 1.

    >>> stress([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]], [[0.0], [2.0], [6.0]])
    0.0
    """
    high, low = as_rows(features).double(), as_rows(points, "points").double()
    if len(high) != len(low):
        raise ValueError(f"points must have a row for each of {len(high)} rows of features; got {len(low)}.")
    truth, found = torch.pdist(high - high.mean(0)), torch.pdist(low - low.mean(0))
    fitted = (truth * found).sum() / (found**2).sum().clamp(min=1e-300)
    return float((((truth - fitted * found) ** 2).sum() / (truth**2).sum().clamp(min=1e-300)).sqrt())
