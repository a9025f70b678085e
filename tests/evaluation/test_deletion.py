"""Insertion and deletion on a network whose probability is known for every set of pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.evaluation import deletion, insertion


class Sum(nn.Module):
    """Two classes: logit 0, and the weighted sum of the red pixels; so p = sigmoid(sum) is known by hand."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        score = (x[:, 0] * self.weights).sum((1, 2))
        return torch.stack([torch.zeros_like(score), score], 1)


WEIGHTS = torch.tensor([[4.0, 2.0], [1.0, -3.0]])


@pytest.fixture
def model() -> nn.Module:
    return Sum(WEIGHTS).eval()


ONES = torch.ones(1, 3, 2, 2)


def test_the_curves_by_hand(model: nn.Module) -> None:
    """In the order of the weights the sums are 4, 0, -2, -3, 0 (deletion) and 0, 4, 6, 7, 4 (insertion)."""
    gone = deletion(model, ONES, WEIGHTS[None], 1, steps=4, fill="black")
    assert torch.allclose(gone.curve[0], torch.tensor([4.0, 0, -2, -3, 0]).sigmoid())
    back = insertion(model, ONES, WEIGHTS[None], 1, steps=4, fill="black")
    assert torch.allclose(back.curve[0], torch.tensor([0.0, 4, 6, 7, 4]).sigmoid())
    for course in (gone, back):
        inner = course.curve[0, 1:-1].sum() + (course.curve[0, 0] + course.curve[0, -1]) / 2
        assert torch.allclose(course.auc[0], inner / 4)
        assert course.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_no_order_beats_that_of_an_additive_score(model: nn.Module) -> None:
    best = deletion(model, ONES, WEIGHTS[None], 1, steps=4, fill="black").auc
    for seed in range(24):
        other = torch.rand(1, 2, 2, generator=torch.Generator().manual_seed(seed))
        assert deletion(model, ONES, other, 1, steps=4, fill="black").auc >= best - 1e-6
        assert (
            insertion(model, ONES, other, 1, steps=4, fill="black").auc
            <= insertion(model, ONES, WEIGHTS[None], 1, steps=4, fill="black").auc + 1e-6
        )


def test_a_constant_map_is_an_order_by_lot_and_not_from_the_corner() -> None:
    """From the corner on, the first half of the steps would take away the upper half alone."""
    weights = torch.zeros(16, 16)
    weights[:8] = 1 / 32
    flat = deletion(Sum(weights).eval(), torch.ones(1, 3, 16, 16), torch.zeros(1, 16, 16), 1, steps=4,
                    fill="black", reward="logit").curve[0]  # fmt: skip
    assert torch.allclose(flat, torch.tensor([4.0, 3, 2, 1, 0]), atol=0.6)
    assert flat[2] > 1


def test_the_logit_is_the_score_itself(model: nn.Module) -> None:
    course = deletion(model, ONES, WEIGHTS[None], 1, steps=4, fill="black", reward="logit")
    assert torch.allclose(course.curve[0], torch.tensor([4.0, 0, -2, -3, 0]))
    called = deletion(model, ONES, WEIGHTS[None], lambda out: out[:, 1] ** 2, steps=4, fill="black")
    assert torch.allclose(called.curve[0], torch.tensor([16.0, 0, 4, 9, 0]))


def test_a_batch_equals_its_pictures_whatever_the_batch_size(model: nn.Module) -> None:
    images = torch.rand(3, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    maps = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(2))
    target = torch.tensor([1, 0, 1])
    whole = deletion(model, images, maps, target, steps=3, batch_size=5).curve
    for i in range(3):
        alone = deletion(model, images[i : i + 1], maps[i : i + 1], int(target[i]), steps=3).curve
        assert torch.allclose(whole[i : i + 1], alone, atol=1e-6)


def test_the_model_and_the_pictures_stay(model: nn.Module) -> None:
    images = ONES.clone()
    before = torch.get_rng_state()
    deletion(model, images, WEIGHTS[None], 1, steps=2)
    assert torch.equal(images, ONES)
    assert torch.equal(before, torch.get_rng_state())
    assert model.weights.requires_grad


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"maps": torch.zeros(1, 3, 2)},
            r"maps must have one map a picture, .*; got \(1, 3, 2\)",
        ),
        ({"maps": torch.full((1, 2, 2), float("nan"))}, "maps must be finite"),
        ({"steps": 5}, "steps must be at most the 4 pixels of a picture; got 5"),
        ({"steps": 0}, "steps must be"),
        ({"reward": "loss"}, "reward must be"),
        ({"fill": "pink"}, "fill"),
    ],
)
def test_mistakes_get_a_sentence(model: nn.Module, change: dict, words: str) -> None:
    given = {"maps": WEIGHTS[None], "steps": 4} | change
    with pytest.raises(ValueError, match=words):
        deletion(model, ONES, given.pop("maps"), 1, **given)
