"""Arithmetic and distances in a space of concepts, and whether two spaces agree (Mantel's test)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from labkit.core.checks import as_tensor, check_index, check_positive
from labkit.core.door import seeded
from labkit.core.registry import signature_of
from labkit.core.statistics import rank_p

__all__ = ["Mantel", "analogy", "concept_distances", "hits", "mantel", "mantel_result"]


def _space(space: Tensor, least: int) -> Float[Tensor, "C K"]:
    rows = as_tensor("space", space).detach().double()
    if rows.ndim != 2 or len(rows) < least:
        raise ValueError(
            f"space must have the shape (C, K), a row a concept, C >= {least}; got {tuple(rows.shape)}."
        )
    if not torch.isfinite(rows).all() or (rows == 0).all(1).any():
        raise ValueError(
            "space must hold a finite vector other than 0 for each concept; drop those that no picture shows."
        )
    return F.normalize(rows, dim=1)


def analogy(
    space: Float[Tensor, "C K"],
    plus: Sequence[int],
    minus: Sequence[int] = (),
    *,
    count: int = 5,
) -> Int[Tensor, " count"]:
    """The concepts nearest to a sum of concepts less others: their numbers, the nearest first.

    Each vector is brought to length 1 before it is added; nearest is by cosine; the terms themselves are no
    answers. Hold it against ``plus`` with its first term alone: what stands near "wheel of the car" is mostly
    another wheel, whatever is added and taken away. Raises ValueError for a space that is not (C, K) or has a
    vector 0, for no terms, and for more answers than concepts are left; IndexError for an unknown number.

    Unit: none. Labels: post hoc, agnostic, global.
    Source: Fong and Vedaldi 2018, "Net2Vec", section 5.2; Mikolov et al. 2013, "Linguistic Regularities".

    >>> space = torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 1], [0, -1, 0]])
    >>> analogy(space, [0, 2], [1], count=1)  # wheel of a car - car + bus
    tensor([3])
    """
    rows = _space(space, 2)
    terms = [*plus, *minus]
    for name, numbers in (("plus", plus), ("minus", minus)):
        for number in numbers:
            check_index(name, number, len(rows), "concepts in the space")
    if not plus:
        raise ValueError("plus must hold at least one concept's number; got none.")
    check_positive("count", count)
    left = len(rows) - len(set(terms))
    if count > left:
        raise ValueError(
            f"count must be at most {left}, the concepts that are not among the terms; got {count}."
        )
    total = rows[list(plus)].sum(0) - rows[list(minus)].sum(0)
    near = rows @ total
    near[terms] = -torch.inf
    return near.argsort(descending=True, stable=True)[:count]


def hits(
    space: Float[Tensor, "C K"], questions: Sequence[Sequence[int]], *, count: int = 5
) -> tuple[ndarray, ndarray]:
    """For each question (a, b, c, answer): is the answer among the first ``count`` for a - b + c, and is it
    for a alone? The same concepts may be answers both times: all but a, b and c. Errors as in ``analogy``.

    >>> space = torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 1], [0.9, -0.1, 1]])
    >>> hits(space, [(0, 1, 2, 3)], count=1)
    (array([ True]), array([False]))
    """
    rows, found = _space(space, 4), []
    for a, b, c, answer in questions:
        near = rows @ rows[a]
        near[[a, b, c]] = -torch.inf
        alone = near.argsort(descending=True, stable=True)[:count]
        found.append((answer in analogy(space, [a, c], [b], count=count), bool((alone == answer).any())))
    whole = np.array(found, dtype=bool).reshape(-1, 2)
    return whole[:, 0], whole[:, 1]


def concept_distances(space: Float[Tensor, "C K"]) -> Float[Tensor, "C C"]:
    """How far concepts lie from each other: 1 less the cosine of their vectors, 0 on the diagonal.

    Raises ValueError for a space that is not (C, K) or has a vector 0.

    Unit: 1 less cosine, 0 to 2. Labels: post hoc, agnostic, global.
    Source: Fong and Vedaldi 2018, "Net2Vec", section 5.3.

    >>> concept_distances(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    tensor([[0., 1.],
            [1., 0.]])
    """
    rows = _space(space, 2)
    return (1 - rows @ rows.T).clamp(min=0).fill_diagonal_(0).float()


class Mantel(NamedTuple):
    """``value``: Spearman's rank correlation of the distances; ``p``; ``null`` (R,): the same with the
    concepts of one matrix dealt anew; ``exact``: whether these are all the ways there are."""

    value: float
    p: float
    null: Float[ndarray, " R"]
    exact: bool


def _pairs(matrix: Any, name: str) -> Float[ndarray, "C C"]:
    values = np.asarray(matrix.detach().cpu() if isinstance(matrix, Tensor) else matrix, float)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 3:
        raise ValueError(
            f"{name} must be distances (C, C) between the same at least 3 concepts; got {values.shape}."
        )
    if not np.isfinite(values).all() or not np.allclose(values, values.T, atol=1e-6):
        raise ValueError(f"{name} must be finite and the same both ways: distances[i, j] = distances[j, i].")
    return values


def mantel_result(
    first: Float[Tensor, "C C"] | ndarray,
    second: Float[Tensor, "C C"] | ndarray,
    *,
    repeats: int = 999,
    generator: torch.Generator | None = None,
) -> Mantel:
    """``mantel`` with its p value and what chance gave (see ``Mantel``). Errors as there."""
    from scipy.stats import rankdata

    check_positive("repeats", repeats)
    a, b = _pairs(first, "first"), _pairs(second, "second")
    if a.shape != b.shape:
        raise ValueError(
            f"first and second must be of the same concepts in the same order; got {len(a)} and {len(b)}."
        )
    n = len(a)
    above = np.triu_indices(n, 1)
    ranks = np.zeros((n, n))
    ranks[above] = rankdata(b[above])
    ranks += ranks.T
    own = rankdata(a[above])
    own = own - own.mean()
    centred = ranks - ranks[above].mean()
    length = np.linalg.norm(own) * np.linalg.norm(centred[above])
    if length == 0:
        raise ValueError("first and second must each hold distances that are not all the same.")

    def correlation(order: ndarray) -> float:
        return float(own @ centred[np.ix_(order, order)][above] / length)

    value, exact = correlation(np.arange(n)), math.factorial(min(n, 12)) <= repeats
    if exact:
        null = np.array([correlation(np.array(order)) for order in itertools.permutations(range(n))])
        return Mantel(value, float((null >= value - 1e-12).mean()), null, True)
    drawn = seeded(generator)
    null = np.array([correlation(torch.randperm(n, generator=drawn).numpy()) for _ in range(repeats)])
    return Mantel(value, rank_p(value, null), null, False)


@signature_of(mantel_result)
def mantel(*args: Any, **options: Any) -> float:
    """Do two spaces agree on which concepts are near each other? The rank correlation of their distances.

    The pairs of C concepts are not independent, so a usual p value lies: ``mantel_result`` deals the
    *concepts* of one matrix anew, ``repeats`` times, or in all ways where these are no more, and asks how
    often chance agrees as well (one-sided). Raises ValueError for matrices that are not (C, C), not the same
    both ways, not finite, of other sizes, or constant.

    Unit: rank correlation, -1 to 1. Labels: post hoc, agnostic, global.
    Source: Mantel 1967, "The Detection of Disease Clustering"; ranks instead of the distances themselves.

    >>> near = torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> round(mantel(near, near * 7), 6), round(mantel(near, 4 - near), 6)
    (1.0, -1.0)
    """
    return mantel_result(*args, **options).value
