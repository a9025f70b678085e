"""The table of methods: a row for each in the registry, as Markdown; what "agnostic" means is tried."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.core.registry import rows
from labkit.experiments.methods_table import PACKAGES, Sealed, kinds, markdown, packages, public
from labkit.ledger import golden_calls

from .spy import assert_sound, controls, quick


def test_the_table_is_the_registry() -> None:
    assert golden_calls.PACKAGES == PACKAGES
    table = {kind.name: kind for kind in kinds()}
    assert set(table) == set(rows(packages())) == public()
    saliency = table["attribution.saliency"]
    assert saliency[2:] == ("post hoc", "specific", "local", "Simonyan, Vedaldi and Zisserman 2014")
    assert saliency.asks.endswith(".")
    lines = markdown().splitlines()
    assert len(lines) == len(table) + 2
    assert {line.count(" | ") for line in lines[2:]} == {5}


def test_a_sealed_network_gives_answers_and_no_gradient() -> None:
    sealed = Sealed(nn.Linear(3, 2))
    assert not sealed(torch.rand(1, 3, requires_grad=True)).requires_grad


def test_it_measures_what_the_claim_says() -> None:
    result, called = quick("C12")
    assert called == set()
    assert_sound(result)
    assert all(found == (">= 1", []) for found in controls(result).values())
    assert result.measures[0].value.value == pytest.approx(1)
