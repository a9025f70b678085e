"""Nearest neighbours: which pictures lie closest in a space of features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from labkit.core.checks import as_tensor, check_choice, check_finite, check_positive
from labkit.core.progress import working
from labkit.core.registry import signature_of

METRICS = ("euclidean", "cosine")


def as_rows(features: Any, argument: str = "features", least: int = 2) -> Float[Tensor, "N D"]:
    """Features as a float tensor (N, D), detached: half precision becomes float32, float64 stays.

    Raises TypeError for what holds no numbers, ValueError for another shape, fewer than ``least`` rows, and
    NaN or infinity.

    >>> as_rows([[0, 1], [2, 3]]).dtype
    torch.float32
    """
    found = as_tensor(argument, features)
    if found.ndim != 2 or len(found) < least or found.shape[1] == 0:
        raise ValueError(
            f"{argument} must have the shape (N, D), a row a picture, N >= {least}; "
            f"got {tuple(found.shape)}. "
            'Pool a layer\'s maps, labkit.models.features(..., pool="mean"), or flatten them.'
        )
    check_finite(argument, found)
    return found if found.dtype == torch.float64 else found.float()


class Neighbors(NamedTuple):
    """``indices`` (M, k): the rows closest to each query, the nearest first; ``distances`` (M, k) to them."""

    indices: Int[Tensor, "M k"]
    distances: Float[Tensor, "M k"]


def _between(queries: Float[Tensor, "B D"], rows: Float[Tensor, "N D"], metric: str) -> Float[Tensor, "B N"]:
    products = queries @ rows.T
    if metric == "cosine":  # the rows have length 1, or 0 where there was nothing
        return (1 - products).clamp(min=0)
    squares = (queries**2).sum(1, keepdim=True) + (rows**2).sum(1) - 2 * products
    return squares.clamp(min=0).sqrt()


def _least(found: Float[Tensor, "B N"], k: int) -> tuple[Float[Tensor, "B k"], Int[Tensor, "B k"]]:
    """The ``k`` smallest of each row in order, of equal ones the first; sorts whole rows only for ties."""
    values, places = found.topk(min(k + 1, found.shape[1]), largest=False)
    ties = values[:, k - 1] == values[:, -1] if values.shape[1] > k else torch.zeros(len(found)).bool()
    places = places[:, :k].sort(dim=1).values
    values, order = found.gather(1, places).sort(dim=1, stable=True)
    places = places.gather(1, order)
    if ties.any():
        whole = found[ties].sort(dim=1, stable=True)
        values[ties], places[ties] = whole.values[:, :k], whole.indices[:, :k]
    return values, places


def nearest_neighbors_result(
    features: Float[Tensor, "N D"] | Float[ndarray, "N D"],
    *,
    k: int = 5,
    queries: Float[Tensor, "M D"] | Float[ndarray, "M D"] | None = None,
    metric: str = "euclidean",
    chunk: int = 512,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Neighbors:
    """``nearest_neighbors`` with the distances (see ``Neighbors``). Errors as there.

    What ``should_stop`` leaves out is -1, at infinite distance.

    >>> nearest_neighbors_result([[0.0], [1.0], [5.0]], k=1).distances.flatten().tolist()
    [1.0, 1.0, 4.0]
    """
    check_positive("k", k)
    check_positive("chunk", chunk)
    check_choice("metric", metric, METRICS)
    rows = as_rows(features, least=1)
    asked = rows if queries is None else as_rows(queries, "queries", least=1).to(rows.device)
    if asked.shape[1] != rows.shape[1]:
        raise ValueError(
            f"queries must have the {rows.shape[1]} columns of features; got {tuple(asked.shape)}. "
            "Take both from the same layer."
        )
    others = len(rows) - (queries is None)
    if k > others:
        left = f"{others} {'other rows' if queries is None else 'rows'}"
        raise ValueError(f"k must be at most the {left} of features; got {k}. Take more pictures.")
    # in float64 and about the mean, so that what nearly coincides keeps its distance
    own, far = rows.double(), asked.double()
    if metric == "cosine":
        own, far = F.normalize(own, dim=1), F.normalize(far, dim=1)
    else:
        own, far = own - own.mean(0), far - own.mean(0)
    indices = torch.full((len(far), k), -1, device=rows.device)
    distances = torch.full((len(far), k), float("inf"), dtype=torch.float64, device=rows.device)
    with working("neighbours", len(far), "row", progress=progress, should_stop=should_stop) as work:
        for first in range(0, len(far), chunk):
            if work.stopped():
                break
            part = slice(first, min(first + chunk, len(far)))
            found = _between(far[part], own, metric)
            if queries is None:
                found[torch.arange(len(found)), torch.arange(part.start, part.stop)] = float("inf")
            distances[part], indices[part] = _least(found, k)
            work.at(part.stop)
    return Neighbors(indices, distances.to(rows.dtype))


@signature_of(nearest_neighbors_result)
def nearest_neighbors(*args: Any, **options: Any) -> Int[Tensor, "M k"]:
    """The ``k`` rows of ``features`` closest to each row, the nearest first; no row is its own neighbour.

    ``features``: (N, D), a tensor or an array in any precision. ``queries`` (M, D): ask for the neighbours of
    these among the features instead; then nothing is left out. ``metric``: "euclidean", or "cosine": 1 minus
    the cosine, by which a row of zeros is at distance 1 from all. Of equal distances the first row counts.
    Worked out ``chunk`` queries at a time.

    Raises ValueError for NaN, other shapes and fewer rows than neighbours.

    Unit: row number. Labels: post hoc, agnostic, global.
    Source: Cover and Hart 1967, "Nearest Neighbor Pattern Classification"; for features of a network
    Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep CNNs", section 6.1.

    >>> nearest_neighbors([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]], k=1).flatten().tolist()
    [1, 0, 1]
    """
    return nearest_neighbors_result(*args, **options).indices
