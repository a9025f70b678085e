"""The exercises of the notebook 43: hidden gradients and ways around them, an attack on any loss."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("43_defences_and_how_they_fall")
LIBRARY = "labkit.adversarial."


def to_learn(values):
    """Answered by the result and by its gradient."""
    return Recipe("labkit.calls.recipes:learned", {"values": values})


def zero_cases(draw: Draw):
    def gradient(n, height, width, dead):
        found = draw.numbers(n, 3, height, width)
        found[draw.masks(n, 1, height, width, share=dead).expand_as(found)] = 0
        found[:, 0, 0, 0], found[:, 1:, 0, 0] = 0.0, 0.5  # one colour is flat, the pixel is not
        found[:, :, 0, 1] = torch.tensor([1.0, -1.0, 0.0]).to(found)  # adds up to nothing
        found[:, :, 1, 0], found[:, :, 2, :2] = 1e-9, -1e-9  # tiny: the sign is still a full step
        found[:, :, 1, 1] = 0.0
        return found

    yield Case("two pictures, half of their pixels flat", (gradient(2, 4, 5, 0.5),))
    yield Case("nearly all are flat; the gradient must stay", (gradient(3, 5, 4, 0.8),), probe="both")
    yield Case("nothing but zeros", (draw.numbers(2, 3, 4, 4) * 0,))


@SHEET.exercise(
    "adversarial.zero_share", "Where no step goes", points=1, minutes=5, difficulty=1, cases=zero_cases,
    blocks=(LIBRARY + "fgsm_result", LIBRARY + "pgd_result"),
    mistakes=(
        ("still.all(1)", "still.any(1)",
            "A pixel with one flat colour still moves in the others. It is flat if all its colours are."),
        ("still.all(1)", "still",
            "You count values, three a pixel. Count pixels: flat in all colours, with .all(1)."),
        ("still.all(1)", "gradient.sum(1) == 0",
            "Slopes of +1 and -1 add up to 0, and yet both colours move. Ask each colour apart."),
        ("gradient == 0", "gradient.abs() < 1e-6",
            "A tiny slope is a slope: its sign is a whole step. Count exact zeros only."),
        ("float().mean(1)", "float().sum(1)",
            "You count pixels. The share is asked for: divide by their number."),
        ("gradient == 0", "gradient != 0", "That is where something moves. Count the zeros."),
    ),
)  # fmt: skip
def zero_share(gradient):
    """Of each picture the share of pixels whose gradient is exactly 0 in all colours.

    gradient: (N, 3, H, W), of the loss by the pictures. Returns (N,), floats from 0 to 1.
    """
    still = gradient == 0
    flat = still.all(1)
    return flat.flatten(1).float().mean(1)


def rounding_cases(draw: Draw):
    yield Case("four levels, and the gradient", (to_learn(draw.pictures(1, 3, 4, 5)), 4))
    yield Case("black and white; the pictures must stay", (draw.pictures(2, 3, 3, 3), 2), probe="both")
    yield Case("eight levels, and the gradient", (to_learn(draw.pictures(1, 3, 4, 4)), 8))


SUM = "images + change"


@SHEET.exercise(
    "adversarial.straight_through", "A gradient that goes straight through", points=2, minutes=8,
    difficulty=2, cases=rounding_cases, blocks=(LIBRARY + "defenses.straight_through",),
    mistakes=(
        (SUM, "rounded",
            "The values are right, but the gradient of rounding is 0. Add what rounding changed, detached."),
        (SUM, "images * 1",
            "The gradient is right, but the network must be shown the rounded picture."),
        (SUM, "rounded + images.detach() - images",
            "The gradient has the wrong sign. Add the pictures, and take them off inside of detach."),
        ("levels - 1", "levels",
            "That is one level too many. From 0 to 1 there are levels - 1 steps."),
        (".round()", ".floor()", "You round down. Take the nearest level."),
        (SUM, "2 * images - images.detach() + change",
            "The gradient passes twice. It is to be 1, as if nothing had been rounded."),
    ),
)  # fmt: skip
def straight_through(images, levels):
    """Pictures rounded to `levels` values from 0 to 1, with the gradient of unrounded pictures.

    images: (N, 3, H, W), 0 to 1; levels: 2 or more (2: the values 0 and 1).
    Returns (N, 3, H, W): gradients flow, as if nothing had been rounded.
    """
    steps = levels - 1
    rounded = (images * steps).round() / steps
    change = (rounded - images).detach()
    return images + change


def margin_cases(draw: Draw):
    def labels(scores, leads):
        best = scores.argmax(1)
        return best if leads else (best + 1) % scores.shape[1]

    below = draw.numbers(4, 5).abs() * -3 - 1
    yield Case("all scores below 0, the label leads", (below, labels(below, True)))
    wide = draw.numbers(5, 4) * 60
    yield Case("scores far apart, and the gradient", (to_learn(wide), labels(wide, True)))
    mixed = draw.numbers(4, 6)
    yield Case("another class leads; the scores must stay", (mixed, labels(mixed, False)), probe="both")


OWN = 'others[rows, labels] = float("-inf")'


@SHEET.exercise(
    "adversarial.margin", "A loss that never saturates", points=2, minutes=8, difficulty=2,
    cases=margin_cases,
    mistakes=(
        (OWN, "pass", "The label takes part among the others: while it leads, all is 0. Leave it out."),
        ('float("-inf")', "0.0",
            "Where all scores are below 0, the 0 that you put in leads. Put in minus infinity."),
        ("others.amax(1) - right", "right - others.amax(1)",
            "The sign is turned: a loss that the attacker raises is above 0 once another class leads."),
        ({"right = scores[rows, labels]": "scores = scores.softmax(1)\n    right = scores[rows, labels]"},
            "Probabilities saturate, which is what the defence lives on. Take the scores as they are."),
        ("others.amax(1)", "others.clamp(min=-1e9).mean(1)",
            "You take the mean of the others. The nearest rival counts: the largest."),
        ("others.amax(1)", "others.logsumexp(1)",
            "All others take part here. Only the best of them is asked for."),
        ("others = scores.clone()", "others = scores.detach().clone()",
            "The gradient of the other class is cut off. Clone without detach."),
        ("scores.clone()", "scores.clone() if scores.requires_grad else scores",  # else torch refuses
            "You write into the scores that were handed to you. Work on scores.clone()."),
    ),
)  # fmt: skip
def margin(scores, labels):
    """How far the best other class is above the label, in scores: below 0 while the label leads.

    scores: (N, C), before any softmax; labels: (N,), whole numbers. Returns (N,): gradients flow.
    """
    rows = torch.arange(len(scores))
    right = scores[rows, labels]
    others = scores.clone()
    others[rows, labels] = float("-inf")
    return others.amax(1) - right


def climb_cases(draw: Draw):
    def case(name, net, size, epsilon, steps, probe=None):
        images = 0.02 + 0.96 * draw.pictures(2, 3, *size)
        images[:, :, 0], images[:, :, :, 0] = 0.01, 0.99  # clipping to [0, 1] shows
        labels = torch.tensor([draw.index(3), draw.index(3)])
        loss = Recipe("labkit.calls.recipes:surprise", {})
        return Case(name, (draw.net(net), loss, images, labels, epsilon, steps), probe=probe)

    yield case("pixels without a gradient, four steps", "largest", (4, 4), 0.1, 4)
    yield case("a network that bends, three steps", "deeper", (8, 6), 0.2, 3)
    yield case("one step; the pictures must stay", "bends", (5, 5), 0.05, 1, "both")


@SHEET.exercise(
    "adversarial.climb", "An attack on any loss", points=3, minutes=14, difficulty=2, cases=climb_cases,
    blocks=tuple(LIBRARY + name for name in ("fgsm", "fgsm_result", "pgd", "pgd_result", "project")),
    mistakes=(
        ("(at - images).clamp(-epsilon, epsilon)", "(at - images)",
            "The steps lead out of the ball. Cut each pixel's change off at epsilon, either way."),
        ("at = at.clamp(0, 1)", "pass", "What leaves 0 to 1 is no picture. Clamp to it after every step."),
        ("at + step", "at - step", "You go down. The attacker raises the loss."),
        ("2.5 * epsilon / steps", "epsilon / steps",
            "The step is 2.5 epsilon / steps long, so that there is way to spare."),
        ("2.5 * epsilon / steps", "epsilon",
            "Each step is as long as epsilon. Take 2.5 epsilon / steps."),
        ("gradient.sign()", "gradient",
            "You step along the gradient itself. Its sign makes every pixel move by the whole step."),
        ("loss(model(at), labels).sum()", "loss(model(images + 0 * at), labels).sum()",
            "You ask the gradient at the first picture each time. Ask where you have come to."),
        ("return at.detach()", "return at.detach() - images",
            "You return the change. Return the picture with it."),
    ),
)  # fmt: skip
def climb(model, loss, images, labels, epsilon, steps):
    """PGD on a loss of your choice: pictures whose loss was raised, each within epsilon of its own.

    loss: a function (scores (N, C), labels (N,)) -> (N,); images: (N, 3, H, W), where it begins.
    Each step is 2.5 epsilon / steps along the gradient's sign; then the picture is brought back
    into the ball of epsilon, then to 0 to 1. Returns (N, 3, H, W), detached.
    """
    at = images.clone()
    step = 2.5 * epsilon / steps
    for _ in range(steps):
        at = at.detach().requires_grad_()
        total = loss(model(at), labels).sum()
        (gradient,) = torch.autograd.grad(total, at)
        at = at + step * gradient.sign()
        at = images + (at - images).clamp(-epsilon, epsilon)
        at = at.clamp(0, 1)
    return at.detach()
