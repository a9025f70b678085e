"""Insertion and deletion on a network whose probability is known for every set of pixels; falsification."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from labkit.evaluation import deletion, falsification, insertion
from labkit.models import class_score
from labkit.optimize import filling


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


def test_the_area_counts_the_pixels_that_really_went() -> None:
    """3 steps over 4 pixels take away 1, 3 and 4 of them: unequal steps, under which the area is exact."""
    line = deletion(Sum(torch.ones(2, 2)).eval(), ONES, torch.zeros(1, 2, 2), 1, steps=3, fill="black",
                    reward="logit")  # fmt: skip
    assert line.shares.tolist() == [0, 0.25, 0.75, 1]
    assert line.curve.tolist() == [[4, 3, 1, 0]]
    assert line.auc.item() == 2  # the mean of a straight line from 4 to 0, however it is cut
    bent = deletion(Sum(WEIGHTS).eval(), ONES, WEIGHTS[None], 1, steps=3, fill="black", reward="logit")
    assert bent.curve.tolist() == [[4, 0, -3, 0]]
    assert bent.auc.item() == pytest.approx((4 + 0) / 2 / 4 + (0 - 3) / 2 / 2 + (-3 + 0) / 2 / 4)


def test_a_constant_map_is_the_map_of_that_lot(model: nn.Module) -> None:
    """Ties are drawn from seed 0, and the height of the constant does not matter."""
    images = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    lot = torch.randperm(4, generator=torch.Generator().manual_seed(0))
    drawn = torch.empty(4).index_put((lot,), torch.arange(4.0, 0, -1)).view(1, 2, 2).expand(2, -1, -1)
    wanted = deletion(model, images, drawn, 1, steps=4).curve
    for height in (0.0, 1.0, -3.0):
        assert torch.equal(deletion(model, images, torch.full((2, 2, 2), height), 1, steps=4).curve, wanted)


def test_insertion_is_deletion_from_the_other_end(model: nn.Module) -> None:
    """Giving back the best first is taking away the worst first, run backwards."""
    back = insertion(model, ONES, WEIGHTS[None], 1, steps=4, fill="black")
    gone = deletion(model, ONES, -WEIGHTS[None], 1, steps=4, fill="black")
    assert torch.allclose(back.curve, gone.curve.flip(1))
    assert torch.allclose(back.auc, gone.auc)


def test_the_ends_are_the_picture_and_its_filling(model: nn.Module) -> None:
    images = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    for fill in ("blur", "black", "mean", 0.25):
        course = deletion(model, images, images[:, 0], 1, steps=4, fill=fill)
        assert torch.allclose(course.curve[:, 0], model(images).softmax(1)[:, 1])
        assert torch.allclose(course.curve[:, -1], model(filling(images, fill)).softmax(1)[:, 1])


def test_a_double_network_stays_double_and_a_scalar_target_is_one_class() -> None:
    double = Sum(WEIGHTS.double()).eval()
    course = deletion(double, ONES, WEIGHTS[None], torch.tensor(1), steps=4, fill="black")
    assert course.curve.dtype == course.auc.dtype == torch.float64
    exact = torch.tensor([4.0, 0, -2, -3, 0], dtype=torch.float64).sigmoid()
    assert torch.allclose(course.curve[0], exact, rtol=0, atol=1e-14)


def test_a_saturated_probability_is_not_lost() -> None:
    course = deletion(Sum(WEIGHTS * 100).eval(), ONES, WEIGHTS[None], 1, steps=4, fill="black")
    assert torch.allclose(course.curve[0], torch.tensor([1.0, 0.5, 0, 0, 0.5]))


@pytest.mark.parametrize(
    "target", [2, np.int64(2), torch.tensor(2), torch.tensor([2])], ids=["int", "numpy", "0-d", "1-d"]
)
def test_the_probability_is_the_softmax_over_all_classes(target: object) -> None:
    """With two rivals the sigmoid of the class's own logit would be another number, and the logit too."""

    class Rivals(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            score = (x[:, 0] * WEIGHTS).sum((1, 2))
            return torch.stack([torch.full_like(score, 1.5), -score, score], 1)

    course = deletion(Rivals().eval(), ONES, WEIGHTS[None], target, steps=4, fill="black")
    s = torch.tensor([4.0, 0, -2, -3, 0])
    assert torch.allclose(course.curve[0], s.exp() / (s.exp() + (-s).exp() + torch.tensor(1.5).exp()))


def test_one_output_has_no_probability() -> None:
    """The softmax over one output is 1 for every picture: every map would look equally good."""
    one = nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).eval()
    with pytest.raises(ValueError, match=r'needs at least two classes.*reward="logit"'):
        deletion(one, ONES, WEIGHTS[None], 0, steps=4)
    assert deletion(one, ONES, WEIGHTS[None], 0, steps=4, reward="logit").curve.isfinite().all()


def test_a_score_that_is_no_number_is_refused() -> None:
    broken = Sum(WEIGHTS * float("nan")).eval()
    with pytest.raises(ValueError, match="scores must be finite; got NaN"):
        deletion(broken, ONES, WEIGHTS[None], 1, steps=4)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_targets_are_one_or_as_many_as_the_pictures(model: nn.Module, count: int) -> None:
    with pytest.raises(ValueError, match=rf"one a picture \(3,\); got \({count},\)"):
        insertion(model, ONES.expand(3, -1, -1, -1), WEIGHTS.expand(3, -1, -1), torch.ones(count).long(),
                  steps=2)  # fmt: skip


def test_a_sum_of_targets_is_followed_picture_by_picture(model: nn.Module) -> None:
    images, maps = torch.rand(3, 3, 2, 2), torch.rand(3, 2, 2)
    classes = torch.tensor([1, 0, 1])
    found = deletion(model, images, maps, class_score(classes) - 0.5 * class_score(1), steps=4, batch_size=4)
    both = deletion(model, images, maps, lambda y: y[:, 1], steps=4)
    shares = torch.tensor([0.5, -0.5, 0.5])[:, None]
    assert torch.allclose(found.curve, shares * both.curve, atol=1e-6)
    with pytest.raises(ValueError, match=r"one class index a picture, int64 \(3,\)"):
        deletion(model, images, maps, class_score(torch.tensor([1, 0, 1, 0])) * 2, steps=4)


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


def test_falsification_by_hand() -> None:
    """Picture 0: named and decisive. 1: named, but the other decides. 2: nothing decides. 3: the map is flat.
    4: removing it costs, but so does removing an equal area elsewhere. 5: both decide alike."""
    parts = torch.zeros(6, 2, 1, 10, dtype=torch.bool)
    parts[:, 0, :, :2], parts[:, 1, :, 2:8] = True, True
    maps = torch.zeros(6, 1, 10)
    maps[:, 0, :2] = 2.0
    maps[:, 0, 2:8] = 1.0  # more in sum, less in the mean
    maps[3] = 1.0
    without = torch.tensor([[0.0, 0.9], [0.9, 0.0], [1.0, 1.0], [0.0, 0.9], [0.0, 0.9], [0.5, 0.5]])
    control = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    found = falsification(maps, parts, without, control)
    assert found.named.tolist() == [0, 0, 0, -1, 0, 0]
    assert found.decisive.tolist() == [0, 1, -1, 0, 1, -1]
    assert torch.allclose(found.drops, control - without)
    assert found.right.tolist() == [True, False, False, False, False, False]


def test_nothing_named_and_nothing_decisive_is_not_right() -> None:
    """-1 equals -1, and yet a map that says nothing predicted nothing."""
    parts = torch.tensor([[[[True, False]], [[False, True]]]])
    found = falsification(torch.zeros(1, 1, 2), parts, torch.ones(1, 2), torch.ones(1, 2))
    assert (found.named.item(), found.decisive.item(), found.right.item()) == (-1, -1, False)


def test_falsification_refuses_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="must fit together"):
        falsification(torch.rand(1, 2, 2), torch.ones(1, 3, 2, 2).bool(), torch.rand(1, 2), torch.rand(1, 3))
    two = torch.ones(1, 2, 2, 2).bool()
    with pytest.raises(ValueError, match="at least two things .* every map would be right"):
        falsification(torch.rand(1, 2, 2), two[:, :1], torch.rand(1, 1), torch.rand(1, 1))
    with pytest.raises(ValueError, match="some are empty, hidden perhaps"):
        falsification(torch.rand(1, 2, 2), ~two, torch.rand(1, 2), torch.rand(1, 2))
    for wrong in range(3):
        given = [torch.rand(1, 2, 2), torch.rand(1, 2), torch.rand(1, 2)]
        given[wrong].fill_(float("nan"))
        with pytest.raises(ValueError, match="must be finite; got NaN"):
            falsification(given[0], two, given[1], given[2])


def test_curves_take_the_arrays_of_other_libraries() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    images, maps = torch.rand(2, 3, 4, 4), torch.rand(2, 4, 4)
    given = deletion(net, images, maps.double().numpy(), 0, steps=4)
    assert torch.equal(given.curve, deletion(net, images, maps, 0, steps=4).curve)
