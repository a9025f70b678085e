"""The exercises of the notebook 41_fooling_a_network: the gradient, FGSM, its control, a projected step."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("41_fooling_a_network")
LIBRARY = "labkit.adversarial."
ATTACKS = tuple(
    LIBRARY + name
    for name in (
        "fgsm", "fgsm_result", "pgd", "pgd_result", "minimal_perturbation", "minimal_perturbation_result",
        "attacks.slope_of_loss", "iterative.project",
    )
)  # fmt: skip


def _labels(draw: Draw, n: int):
    return torch.tensor([draw.index(3) for _ in range(n)])


def gradient_cases(draw: Draw):
    def case(name, net, n, height, width, probe=None):
        images = draw.pictures(n, 3, height, width)
        return Case(name, (draw.net(net), images, _labels(draw, n)), probe=probe)

    yield case("three pictures; network and pictures must stay", "bends", 3, 6, 5, probe="both")
    yield case("a deeper network", "deeper", 4, 8, 6)
    yield case("a network that is very sure", "sure", 5, 4, 4)


@SHEET.exercise(
    "adversarial.loss_gradient", "Which way is uphill", points=3, minutes=10, difficulty=2,
    cases=gradient_cases, blocks=ATTACKS,
    mistakes=(
        ("-log_p.gather", "log_p.gather",
            "The sign is wrong: the loss is minus the logarithm, so that it grows where the label loses."),
        ("labels[:, None]).sum()", "labels[:, None]).mean()",
            "The mean makes each gradient depend on how many pictures there are. Add the losses up."),
        ("model(x).log_softmax(1)", "model(x)",
            "That is the logit alone. The loss also counts the other classes: log_softmax first."),
        ("model(x).log_softmax(1)", "model(x).softmax(1)",
            "That is the probability, which is flat where the network is sure. Take its logarithm."),
        ("model(x).log_softmax(1)", "model(x).softmax(1).log()",
            "A softmax rounds to 0 or 1 where the network is sure, and the logarithm comes too late. "
            "Take log_softmax, which does both at once."),
        ("model(x).log_softmax(1)", "model(x).log_softmax(0)",
            "Your softmax runs over the pictures. It runs over the classes: axis 1."),
        ("labels[:, None])", "log_p.argmax(1, keepdim=True))",
            "You take the class that the network names. Take the labels that are given."),
        ("torch.autograd.grad(loss, x)[0]", "torch.autograd.grad(loss, x)[0].sign()",
            "That is the gradient's sign already. The gradient itself is asked for."),
        ("torch.autograd.grad(loss, x)[0]", "torch.autograd.grad(loss, x)[0].abs()",
            "Keep the sign: which way to step is all that an attack wants to know."),
    ),
)  # fmt: skip
def loss_gradient(model, images, labels):
    """The gradient by the pixels of the cross entropy of each picture's label.

    model: gives scores (N, classes), of any size; images: (N, 3, H, W); labels: (N,), classes.
    Returns (N, 3, H, W): + where a brighter value makes the loss grow. The pictures stay.
    """
    x = images.detach().clone().requires_grad_(True)
    log_p = model(x).log_softmax(1)
    loss = -log_p.gather(1, labels[:, None]).sum()
    return torch.autograd.grad(loss, x)[0]


def fgsm_cases(draw: Draw):
    def case(name, net, n, height, width, low, high, probe=None):
        recipe = draw.net(net)
        images = draw.pictures(n, 3, height, width)
        return Case(name, (recipe, images, _labels(draw, n), draw.number(low, high)), probe=probe)

    yield case("two pictures; network and pictures must stay", "bends", 2, 6, 5, 0.05, 0.1, probe="both")
    yield case("pixels without a gradient", "half_blind", 3, 4, 4, 0.05, 0.1)
    yield case("a step that leads out of [0, 1]", "linear", 3, 4, 4, 0.4, 0.7)


def _ascent(model, images, labels, epsilon):
    gradient = loss_gradient(model, images, labels)
    length = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return (images + epsilon * gradient / length.clamp(min=1e-12)).clamp(0, 1)


@SHEET.exercise(
    "adversarial.fgsm", "One step fools", points=2, minutes=6, difficulty=1, cases=fgsm_cases, blocks=ATTACKS,
    mistakes=(
        ("images + epsilon", "images - epsilon",
            "You walk downhill: the label becomes surer. The loss of the label is to grow."),
        ("gradient.sign()", "gradient",
            "You step along the gradient itself: tiny where it is flat. FGSM takes its sign alone."),
        (_ascent, "You divide by the gradient's length. FGSM takes its sign: every pixel moves alike."),
        ("gradient.sign()", "torch.where(gradient >= 0, 1.0, -1.0).to(images)",
            "Where the gradient is exactly 0 nothing is to move: the sign of 0 is 0."),
        (".clamp(0, 1)", "", "Some values leave [0, 1]: then it is no picture any more. Clip it."),
        ("(images + epsilon * gradient.sign()).clamp(0, 1)",
         "images + (epsilon * gradient.sign()).clamp(0, 1)",
            "You clip the step, so that nothing gets darker. Clip the picture."),
        ("(images + epsilon * gradient.sign()).clamp(0, 1)", "(epsilon * gradient.sign()).clamp(0, 1)",
            "That is the step alone. Add it to the picture."),
        ("images + epsilon * gradient.sign()", "images",
            "The pictures come back as they were. Add the step: epsilon times the sign of the gradient."),
    ),
)  # fmt: skip
def fgsm(model, images, labels, epsilon):
    """FGSM: every pixel value moves by epsilon, up or down, so that the loss grows fastest.

    images: (N, 3, H, W) in [0, 1]; labels: (N,), the classes that are to be lost; epsilon: a step
    in picture values. Returns pictures in [0, 1]; where there is no gradient, they stay.
    """
    gradient = loss_gradient(model, images, labels)
    return (images + epsilon * gradient.sign()).clamp(0, 1)


def borrowed_cases(draw: Draw):
    def case(name, net, n, height, width, low, high, probe=None):
        recipe, images = draw.net(net), draw.pictures(n, 3, height, width)
        turn = torch.randperm(n, generator=draw.generator)
        order = torch.empty_like(turn)
        order[turn] = turn.roll(1)
        return Case(name, (recipe, images, _labels(draw, n), order, draw.number(low, high)), probe=probe)

    yield case("three pictures; all must stay", "bends", 3, 6, 5, 0.05, 0.1, probe="both")
    yield case("five pictures, a deeper network", "deeper", 5, 8, 6, 0.05, 0.1)
    yield case("a step that leads out of [0, 1]", "linear", 4, 4, 4, 0.4, 0.7)


@SHEET.exercise(
    "adversarial.borrowed_step", "The same step, of another picture", points=2, minutes=6, difficulty=1,
    cases=borrowed_cases, blocks=ATTACKS,
    mistakes=(
        ("signs[order]", "signs", "Each picture gets its own sign here: that is FGSM and no control."),
        ("(images + epsilon", "(images[order] + epsilon",
            "You exchange the pictures as well. The pictures stay, only the signs are dealt."),
        ("(images + epsilon * signs[order])", "(images[order] + epsilon * signs)",
            "You deal the pictures, and each keeps its own signs. Deal the signs instead: signs[order]."),
        ("images, labels).sign()", "images, labels[order]).sign()",
            "You exchange the labels. Each gradient is that of its own picture and label, and then dealt."),
        ("signs[order]", "signs[order.argsort()]",
            "You deal the other way round: picture i gets the sign of picture order[i]."),
        ("signs[order]", "signs.mean(0)", "You average over pictures. Each gets the sign of one other."),
        ("images + epsilon", "images - epsilon", "Step the same way as FGSM: add the sign."),
        (".clamp(0, 1)", "", "Some values leave [0, 1]: clip, as the attack does, or it is no fair control."),
    ),
)  # fmt: skip
def borrowed_step(model, images, labels, order, epsilon):
    """The control of FGSM: the same step with another picture's signs, as large and as rough.

    images: (N, 3, H, W); labels: (N,); order: (N,), for each picture the number of another one;
    epsilon: a step in picture values. Returns pictures in [0, 1].
    """
    signs = loss_gradient(model, images, labels).sign()
    return (images + epsilon * signs[order]).clamp(0, 1)


def projected_cases(draw: Draw):
    def case(name, n, epsilon, step, start=None, probe=None):
        given = draw.pictures(n, 3, 4, 3) if start is None else start(draw.pictures(n, 3, 4, 3))
        shown = (given + epsilon * (2 * draw.pictures(n, 3, 4, 3) - 1)).clamp(0, 1)
        gradient = draw.numbers(n, 3, 4, 3) * draw.masks(n, 3, 4, 3, share=0.8)
        return Case(name, (shown, given, gradient, step, epsilon), probe=probe)

    yield case("in the middle of [0, 1]", 2, 0.1, 0.07, start=lambda x: 0.3 + 0.4 * x)
    yield case("near its ends; the arguments must stay", 3, 0.2, 0.15, probe="both")
    yield case("a small step", 2, draw.number(0.1, 0.2), 0.02)
    yield case("a step longer than the way", 2, 0.1, 0.6, start=lambda x: x.round() * 0.9 + 0.05)


def _shrunk(images, start, gradient, step, epsilon):
    change = images - step * gradient.sign() - start
    length = change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return (start + change * (epsilon / length).clamp(max=1)).clamp(0, 1)


@SHEET.exercise(
    "adversarial.projected_step", "One step, brought back", points=3, minutes=10, difficulty=2,
    cases=projected_cases, blocks=ATTACKS,
    mistakes=(
        ("images - step", "images + step",
            "You climb. The loss of the class you want is to fall: subtract the step."),
        ("moved = moved.clamp(start - epsilon, start + epsilon)", "pass",
            "Nothing brings the picture back: after some steps it is farther than epsilon from the start."),
        ("moved = moved.clamp(start - epsilon, start + epsilon)",
         "moved = moved.clamp(images - epsilon, images + epsilon)",
            "The ball is around the place you are at, and moves along. It is around the start."),
        (_shrunk, "You shorten the whole change to the length epsilon. "
            "Here every pixel value by itself stays within epsilon of its start."),
        ("moved.clamp(0, 1)", "moved", "Some values leave [0, 1]: then it is no picture. Clip it."),
        ("step * gradient.sign()", "step * gradient", "You step along the gradient. Take its sign."),
        ("gradient.sign()", "torch.where(gradient >= 0, 1.0, -1.0).to(images)",
            "Where the gradient is exactly 0 nothing is to move: the sign of 0 is 0."),
        ("step * gradient.sign()", "epsilon * gradient.sign()",
            "You step by epsilon. Epsilon is how far one may go in all, step how far at once."),
        ("moved = images", "moved = start",
            "You begin at the start again. Go on from where the last step led: images."),
    ),
)  # fmt: skip
def projected_step(images, start, gradient, step, epsilon):
    """One step down the loss by the gradient's sign, then back into the ball, then back to [0, 1].

    images: where we are; start: where we began, the middle of the ball; gradient: of the loss, taken
    at images (all three (N, 3, H, W)); step, epsilon: in picture values. Returns (N, 3, H, W):
    no value farther than epsilon from its start, none outside [0, 1].
    """
    moved = images - step * gradient.sign()
    moved = moved.clamp(start - epsilon, start + epsilon)
    return moved.clamp(0, 1)
