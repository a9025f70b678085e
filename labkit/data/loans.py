"""A table of loan applications with a planted bias: who lives at the harbour pays for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from labkit.core.checks import check_positive

__all__ = ["LOAN_WEIGHTS", "Loans", "loans"]

# What one unit of each column adds to the log odds that an application was granted.
LOAN_WEIGHTS: dict[str, float] = {
    "income": 0.06,  # thousand a year
    "debt": -0.09,  # thousand
    "years employed": 0.12,
    "late payments": -0.7,
    "age": 0.0,
    "harbour district": -1.5,  # the planted bias
}


class Loans(NamedTuple):
    """``table`` (N, 6), a column for each of ``names``; ``granted`` (N,): what the bank decided;
    ``newcomer`` (N,): a group that the table does not hold, and that mostly lives at the harbour;
    ``weights``: the rule that made the decisions, log odds per unit."""

    table: Float[ndarray, "N 6"]
    granted: Bool[ndarray, " N"]
    newcomer: Bool[ndarray, " N"]
    names: tuple[str, ...]
    weights: dict[str, float]


def loans(n: int, seed: int = 0, *, bias: float = -1.5) -> Loans:
    """``n`` invented applications and the decisions of a bank whose rule is known, bias included.

    Four in ten applicants are newcomers; seven in ten of these live in the harbour district, and one in ten
    of all others. Income, debt, work and late payments do not depend on the group or the district, so
    whatever the district costs, it costs for no reason. ``bias`` is what it adds to the log odds (0: a fair
    bank). Age is in the table and does not matter. The decision is drawn from the odds, so that no model can
    be right always. The same ``seed`` gives the same table; other seeds other people. Raises ValueError for
    ``n`` below 1.

    Units: thousand a year, thousand, years, count, years, 0 or 1. Every person is invented.

    >>> found = loans(5)
    >>> found.table.shape, found.names[-1]
    ((5, 6), 'harbour district')
    """
    check_positive("n", n)
    rng = np.random.default_rng([seed, 20])
    newcomer = rng.random(n) < 0.4
    harbour = rng.random(n) < np.where(newcomer, 0.7, 0.1)
    columns = {
        "income": rng.gamma(9, 4, n).round(1),
        "debt": rng.gamma(2, 6, n).round(1),
        "years employed": rng.gamma(2, 4, n).clip(0, 40).round(),
        "late payments": rng.poisson(0.7, n).astype(float),
        "age": rng.integers(21, 70, n).astype(float),
        "harbour district": harbour.astype(float),
    }
    table = np.stack([columns[name] for name in LOAN_WEIGHTS], 1)
    weights = LOAN_WEIGHTS | {"harbour district": bias}
    odds = table @ np.array(list(weights.values())) - 1.2
    granted = rng.random(n) < 1 / (1 + np.exp(-odds))
    return Loans(table, granted, newcomer, tuple(LOAN_WEIGHTS), weights)
