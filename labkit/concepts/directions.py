"""Vectors that part sets of features: the solver, and many vectors from one set of inner products."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Directions", "by_channel", "ridge_coefficients"]


def ridge_coefficients(
    gram: Float[Tensor, "N N"], positive: Bool[Tensor, " N"], penalty: float
) -> Float[Tensor, " N"]:
    """Ridge regression of +1 and -1 on rows of which only the inner products are given.

    Returns b with weights = rows.T @ b: the intercept is fitted and not punished. ``penalty``: times the mean
    squared length of the centred rows. It solves an N x N system, however long the rows are.
    Source: Saunders, Gammerman and Vovk 1998, "Ridge Regression Learning Algorithm in Dual Variables".

    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    >>> rows.T @ ridge_coefficients(rows @ rows.T, torch.tensor([True, False]), 1.0)
    tensor([ 0.6667, -0.6667], dtype=torch.float64)
    """
    labels = torch.where(positive, 1.0, -1.0).to(gram)
    across = gram.mean(0, keepdim=True)
    centred = gram - across - across.T + gram.mean()
    mean_square = centred.diagonal().mean()
    if not mean_square > 1e-12 * gram.diagonal().mean().clamp(min=1e-30):
        raise ValueError(
            "concept and others must differ in what the layer gives; it gives the same for all of them."
        )
    held = centred + penalty * mean_square * torch.eye(len(gram)).to(gram)
    solved = torch.linalg.solve(held, labels - labels.mean())
    return solved - solved.mean()


def by_channel(slopes: Float[Tensor, "N ..."]) -> Float[Tensor, "N K"]:
    """The gradient by the means of channels, of one by all places: a step of all places alike.

    >>> by_channel(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3])
    """
    return slopes.flatten(2).sum(2) if slopes.ndim > 2 else slopes


class Directions:
    """Vectors fitted to rows of features, as many as one likes: the rows and slopes are met once.

    ``rows`` (M, D): the features; ``slopes`` (N, D): gradients of scores by them, of as many classes as one
    likes. Only inner products are kept, (M, M) and (N, M), though each row may be 100,000 numbers long.
    """

    def __init__(self, rows: Float[Tensor, "M D"], slopes: Float[Tensor, "N D"], penalty: float) -> None:
        self.gram = torch.zeros(len(rows), len(rows), dtype=torch.float64)
        self.products = torch.zeros(len(slopes), len(rows), dtype=torch.float64)
        for first in range(0, rows.shape[1], 8192):
            part = rows[:, first : first + 8192].double()
            self.gram += part @ part.T
            self.products += slopes[:, first : first + 8192].double() @ part.T
        self.penalty = penalty

    def derivatives(self, concept: Tensor, others: Tensor) -> Float[Tensor, " N"]:
        """Each picture's derivative along the unit vector that parts two sets of rows, by their numbers."""
        rows = torch.cat([concept, others])
        gram = self.gram[rows][:, rows]
        weights = ridge_coefficients(gram, torch.arange(len(rows)) < len(concept), self.penalty)
        length = (weights @ gram @ weights).clamp(min=0).sqrt()
        return self.products[:, rows] @ weights / length

    def of_concept(
        self, concept: Tensor, others: Tensor, draws: int, generator: torch.Generator
    ) -> Float[Tensor, "R N"]:
        """The derivatives along a concept's vectors, each against as many of the others, drawn anew."""
        size = len(concept)
        drawn = [others[torch.randperm(len(others), generator=generator)[:size]] for _ in range(draws)]
        return torch.stack([self.derivatives(concept, rows) for rows in drawn])

    def of_chance(
        self, others: Tensor, size: int, draws: int, generator: torch.Generator
    ) -> Float[Tensor, "R N"]:
        """The same of a concept of ``size`` rows dealt from the others, against the rest of them."""
        shuffled = others[torch.randperm(len(others), generator=generator)]
        return self.of_concept(shuffled[:size], shuffled[size:], draws, generator)
