"""The loan table: its rule is the one it tells, and nothing but the district separates the groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from labkit.data.loans import LOAN_WEIGHTS, loans


def test_the_rule_can_be_read_off_the_decisions() -> None:
    found = loans(40_000)
    scaler = StandardScaler().fit(found.table)
    fitted = LogisticRegression(C=1e4).fit(scaler.transform(found.table), found.granted)
    weights = fitted.coef_[0] / scaler.scale_
    for name, weight in zip(found.names, weights, strict=True):
        tolerance = 4 / (scaler.scale_[found.names.index(name)] * np.sqrt(40_000) * 0.3)
        assert weight == pytest.approx(LOAN_WEIGHTS[name], abs=tolerance), name


def test_the_groups_differ_in_where_they_live_and_in_nothing_else() -> None:
    found = loans(40_000)
    differences = {}
    for column, name in enumerate(found.names):
        values = found.table[:, column]
        gap = values[found.newcomer].mean() - values[~found.newcomer].mean()
        differences[name] = gap / values.std()
    assert differences.pop("harbour district") > 1
    assert max(map(abs, differences.values())) < 0.05
    rates = [found.granted[group].mean() for group in (found.newcomer, ~found.newcomer)]
    assert rates[0] < rates[1] - 0.1
    fair = loans(40_000, bias=0.0)
    rates = [fair.granted[group].mean() for group in (fair.newcomer, ~fair.newcomer)]
    assert abs(rates[0] - rates[1]) < 0.02


def test_the_same_seed_gives_the_same_people() -> None:
    assert np.array_equal(loans(50, 3).table, loans(50, 3).table)
    assert not np.array_equal(loans(50, 3).table, loans(50, 4).table)
    assert np.array_equal(loans(50, 3).table, loans(50, 3, bias=0.0).table)


def test_no_applications_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="n must be"):
        loans(0)
