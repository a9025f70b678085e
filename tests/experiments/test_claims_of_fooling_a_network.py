"""The experiments of lab 41: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.adversarial import fgsm as library_fgsm
from labkit.adversarial import pgd
from labkit.core.statistics import share
from labkit.exercises import find
from labkit.experiments import fooling_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.fooling_a_network import _half, another_class, random_sign
from labkit.experiments.measures import Measure, Result

from .spy import assert_sound, controls, quick, unwritten

WANTED = {
    "D1": {
        "epsilon of half the answers wrong, random sign over the gradient's": (">= 8", []),
        "share fooled at 4/255, FGSM minus the best control": (
            ">= 0.4",
            [
                "FGSM", "random sign", "low-frequency blocks", "another picture's gradient sign",
                "twin's gradient",
            ],
        ),
    },
    "D2": {
        "share of scenes made the class wanted, within 8/255 in 20 steps": (
            ">= 0.95", ["noise", "another seed, all 20 steps"]
        ),
        "the same, from pictures of uniform noise": (">= 0.95", ["noise"]),
    },
}  # fmt: skip


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "41_fooling_a_network"
    assert any("gradient is exactly zero for 0 of" in note for note in result.notes)


def own(name: str):
    return find(f"adversarial.{name}").reference


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).double().eval()


def pictures(n: int) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_the_students_step_is_the_librarys_and_a_loop_of_projected_steps_is_pgd():
    net, images, labels = linear(), pictures(5), torch.tensor([0, 1, 2, 3, 0])
    assert torch.allclose(
        own("fgsm")(net, images, labels, 0.03), library_fgsm(net, images, labels, epsilon=0.03)
    )
    shown, labels = images, (net(images).argmax(1) + 1) % 4
    for _ in range(6):
        gradient = own("loss_gradient")(net, shown, labels)
        shown = own("projected_step")(shown, images, gradient, 2.5 * 0.05 / 6, 0.05)
    given = {"epsilon": 0.05, "steps": 6, "targeted": True, "random_start": False}
    assert torch.allclose(shown, pgd(net, images, labels, **given))


def test_the_loop_stops_when_fooled_and_stays_in_the_ball():
    net, images = linear(), pictures(6)
    wanted = (net(images).argmax(1) + 1) % 4
    shown, taken = own("toward")(net, images, wanted, 0.5, 20)
    assert (net(shown).argmax(1) == wanted).all()
    assert (taken < 20).all()
    assert (shown - images).abs().max() <= 0.5
    same, none = own("toward")(net, images, net(images).argmax(1), 0.5, 20)
    assert torch.equal(same, images)
    assert none.tolist() == [0] * 6


def test_the_smallest_step_of_a_linear_network_is_its_distance_to_the_plane():
    """In the largest norm that is the difference of scores over the sum of the weights' sizes."""
    net, image = linear(), pictures(1) * 0.2 + 0.4
    scores = net(image)[0].detach()
    first, second = scores.topk(2).indices.tolist()
    weights = net[1].weight.detach()
    by_hand = float((scores[first] - scores[second]) / (weights[first] - weights[second]).abs().sum())

    def fools(epsilon: float) -> bool:
        given = torch.tensor([second])
        moved = own("projected_step")(image, image, own("loss_gradient")(net, image, given), epsilon, epsilon)
        return float((net(moved)[0, second] - net(moved)[0, first]).detach()) > 0

    found = own("smallest_epsilon")(fools, 0.3, 20)
    # the loss counts four classes, so its gradient's sign is nearly, not just, that of the two
    assert by_hand <= found * (1 + 1e-5)
    assert found == pytest.approx(by_hand, rel=0.2)


def test_the_level_of_half_the_errors_lies_between_two_that_were_tried():
    assert _half([0, 2, 4], [0.0, 0.25, 0.75]) == 3.0
    assert _half([0, 2, 4], [0.0, 0.1, 0.2]) == 64.0


def test_another_class_is_never_the_label_and_noise_is_as_large_as_asked():
    labels = torch.arange(40) % 5
    assert (another_class(labels, 5) != labels).all()
    grey = torch.full((2, 3, 16, 16), 0.5)
    for kind in ("sign", "blocks"):
        assert torch.allclose((random_sign(grey, 0.1, kind) - 0.5).abs(), torch.tensor(0.1))


def test_what_the_notebook_draws():
    bench = Bench("quick")
    model, scenes = bench.network("minivgg"), bench.firsts(4)
    images, labels = demonstrations.named_so(model, scenes.images, scenes.labels, 2)
    assert all(word.rpartition(" ")[2][0] in ".1" for word in demonstrations.says(model, images))
    assert demonstrations.count_wrong(model, images, labels) == f"0 of {len(images)}"
    wanted = demonstrations.others(model, labels[:1].expand(3), "bus", "nothing of the kind")
    assert model.classes[int(wanted[0])] == "bus" or int(labels[0]) == model.classes.index("bus")
    assert (wanted != labels[0]).all()
    found = demonstrations.errors_over_epsilon(bench, fgsm=own("fgsm"), borrowed_step=own("borrowed_step"))
    assert list(found.lines) == ["FGSM", "another picture's signs", "signs by lot", "blocks by lot"]
    assert all(len(line) == len(found.levels) and line[0] == 0 for line in found.lines.values())
    assert found.axes["ylabel"] == f"share of {found.scenes} scenes misread"
    assert found.scenes > 1
    fools = demonstrations.fooled_by(model, images[0], int(wanted[0]), 4, toward=own("toward"))
    assert fools(16 / 255)
    assert not fools(0.0)
    with pytest.raises(NotImplementedError):
        demonstrations.errors_over_epsilon(bench, fgsm=unwritten, borrowed_step=own("borrowed_step"))


def test_the_share_read_elsewhere_is_said_in_the_question_s_words():
    measure = Measure(
        "a share", share([True]), ">= 0", control={"another seed, all 20 steps": share([True, False])}
    )
    said = demonstrations.read_elsewhere(Result((measure,)))
    assert said.startswith("another network names the class wanted in a share of 0.50 of few pictures here")
