"""The exercises of the notebook 43 about a defence that stays: what is robust, one step of training."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("43_defences_and_how_they_fall")


def worst_cases(draw: Draw):
    def case(name, attacks, pictures, share, probe=None):
        labels = torch.randint(5, (pictures,), generator=draw.generator)
        wrong = draw.masks(attacks, pictures, share=share)
        return Case(name, (torch.where(wrong, (labels + 1) % 5, labels), labels), probe=probe)

    yield case("three attacks on twelve pictures", 3, 12, 0.3)
    yield case("one attack; the answers must stay", 1, 9, 0.4, "both")
    yield case("as many attacks as pictures", 6, 6, 0.15)
    yield case("four attacks on forty pictures", 4, 40, 0.2)


@SHEET.exercise(
    "adversarial.robust_accuracy", "The worst of all", points=1, minutes=5, difficulty=1, cases=worst_cases,
    mistakes=(
        ("stood.float().mean()", "right.float().mean(1).min()",
            "That is the best single attack. Each picture has its own worst one: ask picture by picture."),
        ("right.all(0)", "right",
            "You average over attacks. A picture that one of them fools is not robust: all must fail."),
        ("right.all(0)", "right.any(0)", "One attack that failed is not enough. All must have failed."),
        ("right.all(0)", "right.all(1)",
            "You ask for attacks that fool no picture. The axes are exchanged: a row is an attack."),
        ("right.all(0)", "right[-1]", "You ask the last attack only. All of them count."),
        ("answers == labels", "answers != labels",
            "You count pictures that every attack fools. Robust is a picture that none fools."),
    ),
)  # fmt: skip
def robust_accuracy(answers, labels):
    """The share of pictures that are named rightly under every one of the attacks.

    answers: (R, N), the classes named, a row an attack; labels: (N,). Returns one number.
    """
    right = answers == labels
    stood = right.all(0)
    return stood.float().mean()


def training_cases(draw: Draw):
    def case(name, net, size, probe=None):
        images = draw.pictures(4, 3, *size)
        labels = torch.randint(3, (4,), generator=draw.generator)
        attack = Recipe("labkit.calls.recipes:shoved", {"size": draw.number(0.2, 0.5)})
        return Case(name, (draw.net(net), attack, images, labels, draw.number(0.1, 0.5)), probe=probe)

    yield case("a linear network", "linear", (4, 4))
    yield case("two layers that bend", "deeper", (8, 6))
    yield case("a convolution; the network must stay", "bends", (5, 5), "both")


@SHEET.exercise(
    "adversarial.hardened", "One step of training on attacks", points=3, minutes=12, difficulty=2,
    cases=training_cases, blocks=("labkit.adversarial.hardening.harden", "labkit.models.training.fit"),
    mistakes=(
        ("model(attacked)", "model(images)",
            "You train on the clean pictures. The attack's pictures are what is to be learned."),
        ("loss = F.cross_entropy(scores, labels)",
         "loss = F.cross_entropy(scores, labels) + F.cross_entropy(model(images), labels)",
            "You add the clean pictures' loss. Only the attacked ones are asked for here."),
        ("scores, labels", "scores, model(images).argmax(1)",
            "The network's own answer is no label: where it is wrong, it would learn to stay wrong."),
        ("w - rate * s", "w + rate * s",
            "The attacker climbs, the defender goes down: subtract the gradient."),
        ("rate * s", "s", "The step's length, rate, is missing."),
        ("rate * s", "rate * s.sign()",
            "Only the attacker takes signs. The weights go along the gradient itself."),
        ("scores, labels", 'scores, labels, reduction="sum"',
            "You add up over the pictures. Take the mean, or the step grows with the batch."),
        ("attack(model, images, labels)", "attack(model, attack(model, images, labels), labels)",
            "You attack twice: that goes out of the ball. Once is asked for."),
    ),
)  # fmt: skip
def hardened(model, attack, images, labels, rate):
    """One step of gradient descent on attacked pictures: the weights that the network has then.

    attack: a function (model, images, labels) -> pictures; images: (N, 3, H, W); labels: (N,).
    The loss is the mean cross entropy. Returns a list of tensors, in the order of
    model.parameters(), detached; the network itself stays as it is.
    """
    attacked = attack(model, images, labels)
    scores = model(attacked)
    loss = F.cross_entropy(scores, labels)
    weights = list(model.parameters())
    slopes = torch.autograd.grad(loss, weights)
    return [(w - rate * s).detach() for w, s in zip(weights, slopes, strict=True)]
