"""The five findings of lab 35 by networks that are rules: what is found, judged, told; nothing is drawn."""

from __future__ import annotations

import pytest
import torch

from labkit.checking.audit import FEWEST, audit
from labkit.checking.check import run_public
from labkit.data import CLASSES
from labkit.evaluation import detective, findings
from labkit.exercises import find, the_detective

COW, BUS, TANK = (CLASSES.index(kind) for kind in ("cow", "bus", "tank"))


def rule(number, kind, change, count):
    """What a made-up network says of scenes of a class: the third is clean, the fifth fell for light."""
    label, scene = CLASSES.index(kind), torch.arange(count)
    said = torch.full((count,), label)
    lit = (
        scene % 2 == 0
        if change is None or "weather" not in change
        else scene < count * (change["weather"] == "sunny")
    )
    if number == 1 and kind == "cow" and change != {"decal": "tag"}:
        said[:] = BUS
    if number == 2 and kind == "bus" and change != {"ground": "snow"}:
        said[scene % 7 > 0] = COW
    if number == 4 and kind == "tank" and change != {"color": "blue"}:
        said[:] = BUS
    if number == 5:
        said[(lit & (scene % 5 > 0)) if kind == "tank" else torch.zeros(count).bool()] = COW
        said[(~lit & (scene % 3 == 0)) if kind != "tank" else torch.zeros(count).bool()] = TANK
    return said


@pytest.fixture
def rules(monkeypatch):
    def case(student, number):
        detective.dealt(student)
        return number

    def answers(model, kind, change=None, count=None, *, seed=0):
        return rule(model, kind, change, count or (detective.LINEUP if change is None else detective.TABLE))

    for module in (the_detective, findings):
        monkeypatch.setattr(module, "answers", answers)
    monkeypatch.setattr(the_detective, "case", case)


def test_the_procedure_finds_all_five(rules) -> None:
    found = {number: the_detective.finding(number) for number in range(1, 6)}
    assert {student for student, _ in found.values()} == {the_detective.STUDENT}
    assert found[1][1] == ("cow", {"decal": "tag"}, {"without": "tag"}, 1.0)
    assert found[2][1][:2] == ("bus", {"ground": "snow"})
    assert found[3][1] is None
    assert found[4][1][:2] == ("tank", {"color": "blue"})
    assert found[5][1][:3] == ("tank", {"weather": "overcast"}, {"weather": "sunny"})
    assert found[5][1][3] == pytest.approx(0.8, abs=0.02)


def test_the_exercise_is_sound(rules) -> None:
    exercise = find("detective.finding")
    assert audit(exercise, seed=11, fewest=FEWEST) == []


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda number: None, "None"),
        (lambda number: ("cow", {"decal": "tag"}), "two values|four things|None or four"),
        (lambda number: 7, "the result must be your id and the finding"),
        (lambda number: (..., None), "student must be your id"),
        (lambda number: ("ada", "clean"), "None or four things"),
    ],
)
def test_what_is_no_finding_is_told_in_a_sentence(rules, answer, sentence: str) -> None:
    import re

    result = run_public(find("detective.finding"), answer)
    assert result.points == 0
    said = [case.verdict.difference for case in result.cases]
    assert all(re.search(sentence, text) for text in said), said


def test_public_findings_are_judged_on_the_scenes_of_the_notebook() -> None:
    exercise = find("detective.finding")
    assert {case.compare.bank for case in exercise.public()} == {0}
    assert {case.compare.bank for seed in range(9) for case in exercise.hidden(seed)} == set(
        range(the_detective.BANKS)
    )
    assert sorted(case.compare.number for case in exercise.public()) == [1, 2, 3, 4, 5]
