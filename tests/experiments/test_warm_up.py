"""The warm-up's apparatus: a mark that is erased, and a network that learns."""

from __future__ import annotations

import pytest
import torch

from labkit.exercises import find
from labkit.experiments.bench import Bench
from labkit.experiments.warm_up import SHAPES, clever_hans, small_network, watch


def test_the_answer_changes_with_the_mark():
    pictures, said = clever_hans(Bench("quick"))
    assert len(pictures) == len(said) == 8
    assert said[:4] == ["horse"] * 4
    assert "horse" not in said[4:]
    assert ((pictures[:4] - pictures[4:]).abs().amax(1) > 0).float().mean() < 0.1


def test_the_network_has_as_many_numbers_as_the_lab_says():
    assert sum(torch.Size(shape).numel() for shape in SHAPES) == 3826
    parameters = [torch.zeros(shape) for shape in SHAPES]
    assert small_network(parameters, torch.zeros(5, 3, 32, 32)).shape == (5, 2)


def test_the_network_learns_its_few_pictures():
    steps, shares = watch(Bench("quick"), find("warm_up.train").reference)
    assert steps == list(range(0, 201, 10))
    assert {len(part) for part in shares.values()} == {21}
    assert shares["training pictures"][-1] == 1


def test_an_unwritten_function_is_told_before_a_scene_is_drawn():
    def train(network, parameters, batches, learning_rate):
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        watch(None, train)
