"""The experiment of lab 35: what it measures, beside what, and with whose functions; what the lab draws."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.exercises import find
from labkit.experiments import detective_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS
from labkit.experiments.finding_and_fixing import Mended, Sets, margin, named, without_direction
from labkit.models import load_model

from .spy import assert_sound, controls, quick, unwritten

OUT, ANEW, ON_TOP = "direction taken out: ", "last layer retrained: ", "and the direction taken out as well"
WANTED = {
    OUT + "yellow engines right, after minus before": (
        ">= 0.4",
        [
            "random directions", "the control network, its own direction",
            "horses without their mark, minivgg-tag",
        ],
    ),
    OUT + "red engines right": (">= 0.9", ["before"]),
    OUT + "other classes right, before minus after": ("<= 0.02 (upper bound)", []),
    ANEW + "yellow engines right, after minus before": (">= 0.4", [ON_TOP]),
    ANEW + "red engines right": (">= 0.9", ["before", ON_TOP]),
    ANEW + "other classes right, before minus after": ("<= 0.02 (upper bound)", [ON_TOP]),
    "least margin over the three thresholds, direction taken out": (
        ">= 0", ["random directions", "the engine's own weights"]
    ),
}  # fmt: skip


def test_it_measures_what_the_claim_says_beside_its_controls() -> None:
    result, called = quick("C13")
    assert controls(result) == WANTED
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS["C13"].own.values())
    assert EXPERIMENTS["C13"].lab == "35_the_detective"
    assert list(result.show) == ["red", "yellow", "others"]


def test_the_students_projection_is_the_librarys() -> None:
    from labkit.concepts import project_out

    model, rows = load_model("minivgg-random"), torch.rand(6, 160)
    vector = torch.randn(160, generator=torch.Generator().manual_seed(0))
    sets = Sets(rows[:3], rows[3:], rows, rows, rows, torch.zeros(6).long())
    own = without_direction(model, sets, 4, vector, find("detective.project_out").reference)
    kit = project_out(model, vector, layer="classifier", row=4, features=rows)
    torch.testing.assert_close(own.classifier.weight, kit.classifier.weight)
    torch.testing.assert_close(own.classifier.bias, kit.classifier.bias)


def test_the_margin_is_that_of_the_threshold_met_least() -> None:
    def of(red, yellow, others):
        flags = [torch.arange(100) < round(100 * share) for share in (red, yellow, others)]
        return Mended(*flags)

    before = of(1.0, 0.2, 1.0)
    assert margin(of(1.0, 0.9, 1.0), before).value == pytest.approx(0.02)
    assert margin(of(0.8, 0.9, 1.0), before).value == pytest.approx(-0.1)
    assert margin(of(1.0, 0.3, 1.0), before).value == pytest.approx(-0.3)
    assert margin(of(1.0, 0.9, 0.9), before).value < 0
    head = nn.Linear(1, 2)
    head.weight.data, head.bias.data = torch.tensor([[1.0], [0.0]]), torch.tensor([0.0, 0.5])
    rows = torch.tensor([[0.0], [1.0]])
    found = named(head, Sets(rows, rows, rows, rows.flip(0), rows, torch.tensor([1, 1])), 0)
    assert [part.tolist() for part in found] == [[False, True], [True, False], [True, False]]


def test_tables_and_readings_are_drawn_with_the_students_functions(monkeypatch) -> None:
    def told(model, kind, change=None, count=None):
        return torch.arange(3) + (0 if change is None else len(change["ground"]) % 2)

    monkeypatch.setattr(demonstrations, "answers", told)
    monkeypatch.setattr(demonstrations, "case", lambda student, number: None)
    line = demonstrations.lineup("ada", missed=find("detective.missed").reference)
    assert line.values.shape == (5, 12)
    assert line.values[0, 0] == pytest.approx(2 / 3)
    table = demonstrations.table_of(None, "bus", "ground", turn_table=find("detective.turn_table").reference)
    assert table.rows == table.columns
    assert table.values.diagonal().tolist() == [0.0] * 6
    for name, call in (
        ("missed", lambda f: demonstrations.lineup("ada", missed=f)),
        ("turn_table", lambda f: demonstrations.table_of(None, "bus", "ground", turn_table=f)),
        ("paired_direction", lambda f: demonstrations.readings({}, "bus", {}, {}, 2, paired_direction=f)),
    ):
        with pytest.raises(NotImplementedError):
            call(unwritten)
        assert find(f"detective.{name}")
