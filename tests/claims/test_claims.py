"""The lectures' claims: the ledger holds each, and a verdict that has changed is red until somebody looked.

Nothing is measured here: that is ``labkit claims --measure``.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from labkit.core.statistics import Interval
from labkit.experiments import Measure, Result
from labkit.ledger.claims import Entry, known, read, reasons

LEDGER = read()
EXPECTED = tomllib.loads(Path(__file__).with_name("verdicts.toml").read_text("utf-8"))
VERDICTS = ("holds", "holds, and so does its control", "does not hold")


def result_of(entry: Entry) -> Result:
    """What an entry says, as an experiment would: it judges itself by its numbers."""
    measures = [
        Measure(n.what, Interval(*n.value), n.threshold, n.unit, _intervals(n.control), n.must)
        for n in entry.numbers
    ]
    return Result(tuple(measures))


def _intervals(control):
    return {name: Interval(*found) for name, found in control.items()}


def test_the_ledger_has_every_claim_that_has_an_experiment_or_an_expected_verdict() -> None:
    assert set(LEDGER) == set(EXPECTED)
    assert set(known()) <= set(EXPECTED), "say in tests/claims/verdicts.toml what to expect of a new claim"


@pytest.mark.parametrize("id", EXPECTED)
def test_the_verdict_is_the_expected_one(id: str) -> None:
    expected = EXPECTED[id]
    assert set(expected) == {"verdict", "why", "thresholds"}
    assert expected["verdict"] in VERDICTS
    assert len(expected["why"]) > 40
    assert LEDGER[id].verdict == expected["verdict"], (
        f"look at it, and say why in verdicts.toml: {expected['why']}"
    )


@pytest.mark.parametrize("id", EXPECTED)
def test_no_threshold_has_moved(id: str) -> None:
    assert {number.threshold for number in LEDGER[id].numbers} == set(EXPECTED[id]["thresholds"])


@pytest.mark.parametrize("id", LEDGER)
def test_the_verdict_follows_from_the_numbers(id: str) -> None:
    entry = LEDGER[id]
    found = result_of(entry)
    assert [m.holds for m in found.measures] == [number.holds for number in entry.numbers]
    assert [m.stands for m in found.measures] == [number.stands for number in entry.numbers]
    assert found.verdict == entry.verdict


@pytest.mark.parametrize("id", LEDGER)
def test_an_entry_is_whole(id: str) -> None:
    entry = LEDGER[id]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry.date)
    assert re.fullmatch(r"[0-9a-f]{7,}\+?", entry.commit)
    assert entry.seconds > 0
    assert len({number.what for number in entry.numbers}) == len(entry.numbers) > 0
    for number in entry.numbers:
        value, low, high = number.value
        assert low <= value <= high, number.what
        assert number.first is not None
    if entry.rests is not None:
        assert set(entry.rests) == {"golden", "code", "networks"}
        assert entry.rests["golden"], "what it ran was not traced"
        assert set(entry.versions) == {"python", "torch", "numpy"}
        loose = [p for p in entry.rests["code"] if not re.match("labkit/(experiments|exercises)/", p)]
        assert not loose, f"give these a golden call, or an edit of their text makes {id} stale: {loose}"


def test_a_changed_verdict_would_be_seen() -> None:
    entry = LEDGER["A1"]
    low = result_of(entry).measures[0]
    assert low.holds
    assert not Measure(low.what, Interval(2.1, 1.9, 2.4), low.threshold).holds


def test_states_can_be_told_here() -> None:
    assert all(reasons(entry) is not None for entry in LEDGER.values())
