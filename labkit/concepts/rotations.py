"""Rotations of a layer's channels: if concepts align with units by more than chance, turning breaks them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_positive
from labkit.core.door import seeded

__all__ = ["random_rotation", "rotation_power"]


def random_rotation(size: int, *, generator: torch.Generator | None = None) -> Float[Tensor, "K K"]:
    """A rotation drawn evenly from all: orthogonal, determinant +1, float64.

    QR of a Gaussian matrix with R's diagonal made positive, without which the draw is not even. Raises
    ValueError for a size below 1. Source: Mezzadri 2007, "How to Generate Random Matrices from the Classical
    Compact Groups"; Bau et al. 2017, section 3.2.

    >>> turn = random_rotation(5)
    >>> torch.allclose(turn @ turn.T, torch.eye(5).double()), round(torch.linalg.det(turn).item(), 6)
    (True, 1.0)
    """
    check_positive("size", size)
    drawn = torch.randn(size, size, generator=seeded(generator), dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    q = q * r.diagonal().sign()
    if torch.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return q


def rotation_power(rotation: Float[Tensor, "K K"], power: float) -> Float[Tensor, "K K"]:
    """Part of a rotation: power 0 turns nothing, 1 all the way, in between along the shortest way.

    By the real Schur form, in which a rotation is a row of plane rotations, each turned by its part of the
    angle. Raises ValueError for a matrix that is no rotation. Source: Bau et al. 2017, section 3.2.

    >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double()
    >>> half = rotation_power(quarter, 0.5)
    >>> torch.allclose(half @ half, quarter)
    True
    """
    from scipy.linalg import schur

    given = torch.as_tensor(rotation).double()
    square = given.ndim == 2 and given.shape[0] == given.shape[1]
    if (
        not square
        or not torch.allclose(given @ given.T, torch.eye(len(given)).double(), atol=1e-6)
        or (torch.linalg.det(given) < 0)
    ):
        raise ValueError(
            "rotation must be an orthogonal matrix with determinant +1, as random_rotation gives."
        )
    form, basis = schur(given.numpy(), output="real")
    turned, place, mirrored = np.eye(len(form)), 0, []
    while place < len(form):
        pair = place + 1 < len(form) and abs(form[place + 1, place]) > 1e-9
        if pair:
            angle = np.arctan2(form[place + 1, place], form[place, place]) * power
            turned[place : place + 2, place : place + 2] = [
                [np.cos(angle), -np.sin(angle)],
                [np.sin(angle), np.cos(angle)],
            ]
        elif form[place, place] < 0:
            mirrored.append(place)
        place += 2 if pair else 1
    for first, second in zip(mirrored[::2], mirrored[1::2], strict=True):  # two mirrors are half a turn
        angle = np.pi * power
        for row, column, value in (
            (first, first, np.cos(angle)), (second, second, np.cos(angle)),
            (first, second, -np.sin(angle)), (second, first, np.sin(angle)),
        ):  # fmt: skip
            turned[row, column] = value
    return torch.from_numpy(basis @ turned @ basis.T)
