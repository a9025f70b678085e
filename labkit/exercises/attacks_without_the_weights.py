"""The exercises of the notebook 42_attacks_without_the_weights: transfer and its control, a substitute."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("42_attacks_without_the_weights")
LIBRARY = "labkit.adversarial."


def dealt_cases(draw: Draw):
    def case(name, n, size, probe=None):
        images = draw.pictures(n, 3, 4, 5)
        attacked = (images + size * draw.numbers(n, 3, 4, 5).sign()).clamp(0, 1)
        return Case(name, (images, attacked), probe=probe)

    yield case("three pictures", 3, 0.1)
    yield case("a large step; the pictures must stay", 4, 0.5, probe="both")
    yield case("two pictures", 2, 0.05)


@SHEET.exercise(
    "adversarial.dealt", "A control: another picture's perturbation", points=2, minutes=6, difficulty=1,
    cases=dealt_cases, blocks=("labkit.evaluation.of_another",),
    mistakes=(
        ("change.roll(1, 0)", "change", "Each picture keeps its own perturbation: deal it to the next one."),
        ("change.roll(1, 0)", "change.roll(-1, 0)",
            "You deal them the wrong way round: the first picture gets the last one's."),
        ("change.roll(1, 0)", "change.roll(1)",
            "You roll all numbers in one line. Roll along the axis of the pictures, 0."),
        ("change.roll(1, 0)", "change.roll(1, 3)",
            "You shift each perturbation sideways in its own picture. Roll along axis 0."),
        (".clamp(0, 1)", "", "A picture's values lie from 0 to 1: clip what you made."),
        ("attacked - images", "images - attacked",
            "The change is what was added: the attacked picture minus the picture."),
        ("images + other", "attacked + other", "Add it to the picture as it was, not to the attacked one."),
    ),
)  # fmt: skip
def dealt(images, attacked):
    """The pictures, each with the change that was made to the one before it (the first: the last).

    images, attacked: (N, 3, H, W), 0 to 1. Returns (N, 3, H, W), 0 to 1.
    """
    change = attacked - images
    other = change.roll(1, 0)
    return (images + other).clamp(0, 1)


def gain_cases(draw: Draw):
    def case(name, n, classes, probe=None):
        labels = torch.randint(classes, (n,), generator=draw.generator)

        def said(share):
            other = (labels + torch.randint(1, classes, (n,), generator=draw.generator)) % classes
            return torch.where(torch.rand(n, generator=draw.generator) < share, other, labels)

        before = said(0.3)
        before[0] = labels[0]
        before[1] = (labels[1] + 1) % classes
        return Case(name, (labels, before, said(0.7), said(0.3)), probe=probe)

    yield case("twelve pictures of three classes", 12, 3)
    yield case("twenty of five", 20, 5)
    yield case("two classes; the answers must stay", 9, 2, probe="both")


@SHEET.exercise(
    "adversarial.transfer_gain", "Does it transfer, and is it more than noise", points=2, minutes=8,
    difficulty=1, cases=gain_cases,
    blocks=tuple(LIBRARY + name for name in ("transfer_matrix", "transfer_matrix_result")),
    mistakes=(
        ("after != labels", "after != before[0]",
            "Compare each answer with the picture's own label, not with one answer for all."),
        ("fooled - by_control", "fooled", "The control is missing: subtract what it fools."),
        ("fooled - by_control", "by_control - fooled", "The sign is wrong: the attack minus its control."),
        ("after != labels", "after == labels", "That is 1 where the network was not fooled."),
        ("(control != labels)[right]", "(control != after)[right]",
            "Hold the control's answers against the labels, as you do with the attack's."),
        ("(control != labels)[right]", "(control != before[:1])[right]",
            "Hold each of the control's answers against the picture's own label."),
    ),
)  # fmt: skip
def transfer_gain(labels, before, after, control):
    """For each picture that was right before: is it misread (1 or 0), minus that of the control.

    labels, and answers before the attack, after it and after the control: (N,), whole numbers.
    Returns floats (M,), one for each of the M pictures that were right before, in their order.
    """
    right = before == labels
    fooled = (after != labels)[right].float()
    by_control = (control != labels)[right].float()
    return fooled - by_control


def augment_cases(draw: Draw):
    def case(name, n, step, probe=None):
        labels = torch.randint(3, (n,), generator=draw.generator)
        return Case(name, (draw.net("deeper"), draw.pictures(n, 3, 8, 6), labels, step), probe=probe)

    yield case("three pictures, a step of 0.1", 3, 0.1)
    yield case("a large step; network and pictures must stay", 2, 0.4, probe="both")
    yield case("five pictures", 5, 0.05)


def _of_all(model, pictures, labels, step):
    x = pictures.detach().clone().requires_grad_()
    slope = torch.autograd.grad(model(x).softmax(1).max(1).values.sum(), x)[0]
    return (pictures + step * slope.sign()).clamp(0, 1)


@SHEET.exercise(
    "adversarial.augment", "Ask where it matters", points=3, minutes=12, difficulty=2, cases=augment_cases,
    blocks=(*(LIBRARY + n for n in ("substitute", "substitute_result", "fgsm", "fgsm_result")),
            "labkit.adversarial.attacks.slope_of_loss"),
    mistakes=(
        (_of_all, "You climb the class that your own network names. Take the one that the box named."),
        ("pictures + step", "pictures - step",
            "You step away from the label. Papernot follows the sign of the label's slope."),
        ("slope.sign()", "slope", "A gradient's size says little here: take its sign alone."),
        ("slope.sign()", "slope / slope.norm()",
            "Every pixel moves by the same step: take the sign, not the direction of length 1."),
        (".clamp(0, 1)", "", "A picture's values lie from 0 to 1: clip what you made."),
        ("[torch.arange(len(x)), labels].sum()", ".sum()",
            "All probabilities of a picture add up to 1, which has no slope. Pick the label's."),
        ("[torch.arange(len(x)), labels]", "[:, labels[0]]",
            "You take the first picture's label for all of them."),
    ),
)  # fmt: skip
def augment(model, pictures, labels, step):
    """New pictures: each a step along the sign of the slope of its label's probability.

    model: gives logits (N, C); pictures: (N, 3, H, W), 0 to 1; labels: what the box named, (N,);
    step: a picture value. Returns (N, 3, H, W), 0 to 1, without a gradient.
    """
    x = pictures.detach().clone().requires_grad_()
    probabilities = model(x).softmax(1)
    own = probabilities[torch.arange(len(x)), labels].sum()
    slope = torch.autograd.grad(own, x)[0]
    return (pictures + step * slope.sign()).clamp(0, 1)
