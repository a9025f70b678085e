"""Ratings: kappa by hand and beside scikit-learn's, answers by lot, blind items, files with sentences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from labkit.concepts import kappa, kappa_result
from labkit.concepts.ratings import dealt_blind, read_ratings, yes_by_source


def test_kappa_is_cohens() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.random(40) < 0.6, rng.random(40) < 0.4
        b[:25] = a[:25]
        assert kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))
    # 20 agree on yes, 15 on no of 50; yes .5 and .6: chance .5, kappa .4 (Fleiss)
    a = [True] * 25 + [False] * 25
    b = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    assert kappa(a, b) == pytest.approx(0.4)


def test_two_who_always_say_yes_agree_and_know_nothing() -> None:
    found = kappa_result([True] * 9, [True] * 9)
    assert (found.value, found.agreed, found.yes) == (0.0, 1.0, (1.0, 1.0))
    nearly = kappa_result([True] * 19 + [False], [False] + [True] * 19)
    assert nearly.agreed == pytest.approx(0.9)
    assert nearly.value < 0


def test_the_interval_holds_the_value_and_answers_by_lot_give_nothing() -> None:
    rng = np.random.default_rng(1)
    a = rng.random(60) < 0.5
    b = np.where(rng.random(60) < 0.85, a, ~a)
    found = kappa_result(a, b)
    assert found.low < found.value < found.high
    assert abs(found.shuffled.value) < 0.03
    assert found.shuffled.high < found.low
    assert found.items == 60
    again = kappa_result(a, b, generator=torch.Generator().manual_seed(0))
    assert again == found
    assert kappa_result(a, b, generator=torch.Generator().manual_seed(5)).shuffled != found.shuffled


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ([True], [True], "first must be at least 2 answers"),
        ([True, False], [1, 2], "second must be at least 2 answers, True and False"),
        ([True, False], [True, False, True], "the same items, in one order; got 2 and 3"),
    ],
)
def test_answers_that_do_not_fit_are_told(first: list, second: list, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        kappa(first, second)
    with pytest.raises(ValueError, match="shuffles must be a whole number"):
        kappa([True, False], [True, False], shuffles=0)


def test_units_are_dealt_blind_and_the_key_can_be_had_again() -> None:
    deal = dealt_blind({"network": 12, "twin": 12})
    assert sorted(deal) == [(name, k) for name in ("network", "twin") for k in range(12)]
    assert deal == dealt_blind({"network": 12, "twin": 12})
    assert 3 <= sum(name == "twin" for name, _ in deal[:12]) <= 9
    with pytest.raises(ValueError, match="at least one unit"):
        dealt_blind({"network": 0})


def test_files_are_read_and_shares_of_yes_counted(tmp_path) -> None:
    (tmp_path / "ada.csv").write_text("rater,item,answer,what\nada,1,yes,wheels\nada,2,no,\nada,2,Yes,red\n")
    (tmp_path / "bob.csv").write_text("rater,item,answer,what\n,1,no,\n")
    found = read_ratings(sorted(tmp_path.glob("*.csv")))
    assert found == {"ada": {1: True, 2: True}, "bob": {1: False}}
    shares = yes_by_source(found["ada"], [("twin", 3), ("network", 0)])
    assert {name: s.value for name, s in shares.items()} == {"twin": 1.0, "network": 1.0}
    with pytest.raises(ValueError, match="items must be those dealt, 1 to 1; got 2"):
        yes_by_source(found["ada"], [("twin", 3)])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n", "must have the columns rater, item, answer, what; it has a, b"),
        ("", "it has none"),
        ("rater,item,answer,what\nada,1,perhaps,\n", "line 2: item must be a number and answer yes or no"),
        ("rater,item,answer,what\nada,one,yes,\n", "got 'one' and 'yes'"),
    ],
)
def test_a_file_that_is_no_rating_is_told(tmp_path, text: str, sentence: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_ratings([path])
