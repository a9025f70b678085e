"""The references of notebook 43, held to the library's own and to answers known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.adversarial import HotSoftmax, Quantized, pgd
from labkit.adversarial.defenses import straight_through
from labkit.checking.check import run_public
from labkit.exercises import find


def reference(name: str):
    return find(f"adversarial.{name}").reference


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double().eval()


def test_a_flat_pixel_is_flat_in_all_colours() -> None:
    gradient = torch.zeros(2, 3, 2, 2)
    gradient[0, 1, 0, 0] = 1e-30
    gradient[1] = 1.0
    assert reference("zero_share")(gradient).tolist() == [0.75, 0.0]


@pytest.mark.parametrize("levels", [2, 8])
def test_straight_through_is_the_library_s(levels: int) -> None:
    both = []
    for function in (reference("straight_through"), straight_through):
        x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        made = function(x, levels)
        both.append((made, torch.autograd.grad((made * torch.arange(4.0)).sum(), x)[0]))
    torch.testing.assert_close(both[0], both[1])


def test_the_margin_changes_sign_where_the_answer_changes() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0], [-5.0, -1.0, -2.0]])
    assert reference("margin")(scores, torch.tensor([0, 0])).tolist() == [-1.0, 4.0]


@pytest.mark.parametrize("of_own", [False, True])
def test_who_writes_into_the_scores_is_told_just_that(of_own: bool) -> None:
    def margin(scores, labels):
        rows = torch.arange(len(scores))
        right = scores[rows, labels]
        others = scores.clone() if of_own else scores
        others[rows, labels] = float("-inf")
        return others.amax(1) - right

    result = run_public(find("adversarial.margin"), margin)
    words = [case.verdict.word for case in result.cases]
    assert words == (["right"] * 3 if of_own else ["right", "error", "left behind"])
    assert result.hint.startswith("" if of_own else "You write into the scores")


def test_a_climb_on_the_cross_entropy_is_pgd_from_the_picture() -> None:
    net, images, labels = linear(), torch.rand(3, 3, 4, 4).double(), torch.tensor([0, 1, 2])
    entropy = nn.CrossEntropyLoss(reduction="none")
    own = reference("climb")(net, entropy, images, labels, 0.05, 5)
    torch.testing.assert_close(own, pgd(net, images, labels, epsilon=0.05, steps=5, random_start=False))


def test_the_margin_climbs_where_the_cross_entropy_of_a_hot_softmax_cannot() -> None:
    net, images = linear().float(), torch.rand(3, 3, 4, 4)
    labels = net(images).argmax(1)
    hot = HotSoftmax(net, 1e5)
    entropy = nn.CrossEntropyLoss(reduction="none")
    assert torch.equal(reference("climb")(hot, entropy, images, labels, 0.5, 5), images)
    moved = reference("climb")(hot, reference("margin"), images, labels, 0.5, 5)
    assert (hot(moved).argmax(1) != labels).all()
    stairs = Quantized(net, 4)
    assert torch.equal(reference("climb")(stairs, entropy, images, labels, 0.5, 5), images)


def test_robust_is_what_stood_every_time() -> None:
    answers, labels = torch.tensor([[0, 1, 2, 0], [0, 1, 0, 0], [0, 2, 2, 0]]), torch.tensor([0, 1, 2, 1])
    assert float(reference("robust_accuracy")(answers, labels)) == 0.25


def test_a_step_on_attacks_is_sgd_on_the_attacked_pictures() -> None:
    net, images, labels = linear(), torch.rand(4, 3, 4, 4).double(), torch.tensor([0, 1, 2, 0])
    made = reference("hardened")(net, lambda m, x, y: x + 0.1, images, labels, 0.3)
    optimizer = torch.optim.SGD(net.parameters(), 0.3)
    nn.functional.cross_entropy(net(images + 0.1), labels).backward()
    optimizer.step()
    torch.testing.assert_close(made, [w.detach() for w in net.parameters()])
