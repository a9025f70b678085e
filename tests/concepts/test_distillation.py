"""Distillation: a network that is a tree is recovered, a linear one by a linear model, chance by none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from labkit.concepts import concept_shares, distill, distill_result


def table(n: int = 600, d: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed))


def tree_of(rows: torch.Tensor) -> torch.Tensor:
    """Three questions, four classes; gaps beside each threshold make it one that can be found exactly."""
    return torch.where(rows[:, 0] > 0.5, 2 + (rows[:, 1] > 0.5).long(), (rows[:, 2] > 0.5).long())


def test_a_network_that_is_a_tree_is_recovered_with_fidelity_one() -> None:
    rows = table()
    rows = rows[((rows[:, :3] - 0.5).abs() > 0.05).all(1)]
    found = distill_result(rows, tree_of(rows), depth=2)
    assert found.fidelity.value == 1.0
    assert found.student.get_depth() == 2
    assert set(found.student.tree_.feature[found.student.tree_.feature >= 0]) <= {0, 1, 2}
    assert torch.equal(found.predict(rows), tree_of(rows))
    assert distill(rows, tree_of(rows), depth=1) < 0.9


def test_a_linear_network_is_recovered_by_a_linear_model_and_not_by_a_short_tree() -> None:
    torch.manual_seed(0)
    net = nn.Linear(5, 3).eval()
    rows = table(2000) - 0.5
    answers = net(rows).argmax(1)
    assert distill(rows, answers, kind="linear") > 0.97
    assert distill(rows, answers, depth=2) < 0.9


def test_a_small_network_learns_what_a_network_says_of_pictures() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(160, 3, 16, 16, generator=generator) * 0.4
    images[:80, 0] += 0.5
    answers = torch.cat([torch.full((80,), 7), torch.full((80,), 2)])
    before = torch.get_rng_state()
    found = distill_result(images, answers, kind="network", epochs=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.fidelity.value > 0.95
    assert set(found.predict(images).tolist()) == {2, 7}
    assert not found.student.training


def test_answers_by_lot_are_not_to_be_foretold() -> None:
    rows = table(1000)
    lot = torch.randint(2, (1000,), generator=torch.Generator().manual_seed(3))
    assert distill(rows, lot, depth=3) < 0.57


def test_the_tree_is_scikit_learn_s_and_sees_nothing_of_what_is_held_out() -> None:
    rows, answers = table(), tree_of(table())
    found = distill_result(rows, answers, depth=3, held_out=0.25)
    taught = torch.ones(len(rows), dtype=torch.bool)
    taught[found.held_out] = False
    assert (len(found.held_out), int(taught.sum())) == (150, 450)
    oracle = DecisionTreeClassifier(max_depth=3, random_state=0).fit(rows[taught].double(), answers[taught])
    assert np.array_equal(oracle.predict(rows.double()), found.predict(rows))
    share = float((found.predict(rows[found.held_out]) == answers[found.held_out]).double().mean())
    assert found.fidelity.value == pytest.approx(share)
    assert found.fidelity.low < share <= found.fidelity.high
    again = distill_result(rows, answers, depth=3, held_out=0.25)
    assert torch.equal(again.held_out, found.held_out)


def test_shares_are_those_of_the_pixels() -> None:
    maps = torch.randint(5, (3, 6, 7), generator=torch.Generator().manual_seed(0))
    found = concept_shares(maps, 6)
    assert found.shape == (3, 6)
    for k in range(6):
        assert found[:, k].tolist() == pytest.approx((maps == k + 1).float().mean((1, 2)).tolist())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: distill(torch.rand(9, 2), torch.zeros(9, dtype=torch.long)), "at least two classes"),
        (lambda: distill(torch.rand(9), torch.arange(9)), r"rows must have the shape \(N, D\)"),
        (lambda: distill(torch.rand(9, 2), torch.arange(9), kind="network"), r"\(N, C, H, W\), pictures"),
        (lambda: distill(torch.rand(9, 2), torch.arange(8)), "answers must be a class a row, 9 whole"),
        (lambda: distill(torch.rand(9, 2), torch.rand(9)), "answers must be a class a row"),
        (lambda: distill(torch.full((9, 2), torch.nan), torch.arange(9)), "rows must be finite"),
        (lambda: distill(torch.rand(9, 2), torch.arange(9), kind="forest"), "kind must be"),
        (lambda: distill(torch.rand(9, 2), torch.arange(9), held_out=1.5), "held_out must"),
        (lambda: distill(torch.rand(9, 2), torch.arange(9), depth=0), "depth must be"),
        (lambda: concept_shares(torch.rand(1, 2, 2), 3), "maps must be whole numbers"),
        (lambda: concept_shares(torch.full((1, 2, 2), 4), 3), "labels from 0 to count, 3; got 4 to 4"),
    ],
)
def test_what_cannot_be_answered_gets_a_sentence(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_lesson_that_is_stopped_keeps_what_was_learned() -> None:
    images, answers = torch.rand(20, 3, 8, 8), torch.arange(20) % 2
    shares: list[float] = []
    found = distill_result(
        images,
        answers,
        kind="network",
        epochs=50,
        progress=shares.append,
        should_stop=lambda: len(shares) == 3,
    )
    assert len(shares) == 3
    assert 0 <= found.fidelity.value <= 1
