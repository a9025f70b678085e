"""The exercises of the notebook 41_fooling_a_network, second half: the targeted loop, the least epsilon."""

from __future__ import annotations

import math

import torch

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet
from labkit.exercises.fooling_a_network import ATTACKS, loss_gradient, projected_step

SHEET = Sheet("41_fooling_a_network")


def toward_cases(draw: Draw):
    def case(name, net, n, height, width, epsilon, steps, probe=None):
        images, wanted = draw.pictures(n, 3, height, width), torch.tensor([draw.index(3) for _ in range(n)])
        return Case(name, (draw.net(net), images, wanted, epsilon, steps), probe=probe)

    yield case("five pictures; all must stay", "deeper", 5, 8, 6, 0.2, 12, probe="both")
    yield case("a ball too small for most", "linear", 5, 4, 4, 0.02, 6)
    yield case("other pictures", "linear", 6, 4, 4, 0.25, 10)


@SHEET.exercise(
    "adversarial.toward", "Any class you like", points=4, minutes=18, difficulty=3, cases=toward_cases,
    blocks=ATTACKS,
    mistakes=(
        ("model(shown).argmax(1) != wanted", "torch.ones(len(images)).bool()",
            "You never stop: a picture that is named the class wanted is to stay as it is."),
        ({"shown[left], wanted[left])": "shown, wanted)", "shown[left], images[left], ": "shown, images, ",
          "shown[left] = moved": "shown = moved"},
            "You count the steps of those left, but all step on. Who is named the class wanted stays as it "
            "is: index pictures, classes and gradient with left."),
        ({"if not left.any():": "if False:", "shown[left], wanted[left])": "shown, wanted)",
          "shown[left], images[left], ": "shown, images, ", "shown[left] = moved": "shown = moved"},
            "All step on to the last round, though you count only those left. Who is named the class wanted "
            "stays as it is: index pictures, classes and gradient with left."),
        ("model(shown).argmax(1) != wanted", "model(images).argmax(1) != wanted",
            "You ask what the network says of the first pictures. Ask about those of now: shown."),
        ("model(shown).argmax(1) != wanted", "model(shown).argmax(1) == model(images).argmax(1)",
            "You stop at any other class. Go on until it is the class wanted."),
        ("shown[left], wanted[left])", "images[left], wanted[left])",
            "The gradient is taken at the first picture each time. Take it where you are: at shown."),
        ("shown[left], images[left], gradient, ", "images[left], images[left], gradient, ",
            "Each step begins at the first picture. Go on from where you are: shown[left]."),
        ("shown[left], images[left], gradient, ", "shown[left], shown[left], gradient, ",
            "The ball moves along with you. Its middle is the picture given: images[left]; and shown is "
            "a copy of the pictures, or you write into both."),
        ("2.5 * epsilon / steps", "epsilon",
            "Each step is as large as the ball. Take steps of 2.5 * epsilon / steps."),
        ("2.5 * epsilon / steps", "epsilon / steps",
            "With steps of epsilon / steps there is no way back from a detour. Take 2.5 times that."),
        ("gradient, 2.5", "-gradient, 2.5",
            "You climb the loss of the class wanted, away from it. projected_step goes down by itself."),
        ("taken[left] += 1", "taken += 1", "You count steps of pictures that have stopped. Only for left."),
    ),
)  # fmt: skip
def toward(model, images, wanted, epsilon, steps):
    """Step each picture towards a class, 2.5 * epsilon / steps at once, until it is named so.

    images: (N, 3, H, W); wanted: (N,), classes; epsilon: the ball's radius; steps: at most so many.
    Returns the pictures (N, 3, H, W), which stop as soon as they are named the class wanted, and
    how many steps each took (N,), whole numbers (0 where it was named so at once).
    """
    shown = images.clone()
    taken = torch.zeros(len(images), dtype=torch.long)
    for _ in range(steps):
        left = model(shown).argmax(1) != wanted
        if not left.any():
            break
        gradient = loss_gradient(model, shown[left], wanted[left])
        moved = projected_step(shown[left], images[left], gradient, 2.5 * epsilon / steps, epsilon)
        shown[left] = moved
        taken[left] += 1
    return shown, taken


def smallest_cases(draw: Draw):
    def case(name, border, most, halvings):
        recipe = Recipe("labkit.calls.recipes:gives_way", {"border": border})
        return Case(name, (recipe, most, halvings))

    yield case("somewhere in the middle", draw.number(0.2, 0.7), 1.0, 12)
    yield case("very near", draw.number(0.01, 0.04), 0.5, 9)
    yield case("few halvings", draw.number(0.3, 0.7), 0.8, 4)
    yield case("even the largest does not fool", draw.number(0.4, 0.5), 0.3, 6)


@SHEET.exercise(
    "adversarial.smallest_epsilon", "How little is enough", points=3, minutes=10, difficulty=2,
    cases=smallest_cases, blocks=ATTACKS, compare="exact",
    mistakes=(
        ("if fools(middle)", "if not fools(middle)",
            "You keep the wrong half: where the middle fools, the smallest lies below it."),
        ("return high", "return low", "The lower end does not fool. Return the upper one, which does."),
        ("return high", "return (low + high) / 2",
            "Nobody has tried the last middle. Return the smallest that was seen to fool: the upper end."),
        ("return math.inf", "return most",
            "Ask first whether the largest epsilon fools at all. If not, most is a false number: math.inf."),
        ("range(halvings)", "range(halvings - 1)", "One halving is missing."),
        ("middle = (low + high) / 2", "middle = low + most / halvings",
            "You walk up in equal steps. Bisection looks at the middle of what is left."),
    ),
)  # fmt: skip
def smallest_epsilon(fools, most, halvings):
    """The smallest step that fools, by bisection between 0 and most.

    fools: a function of an epsilon, True where the attack of this size fools; most: the largest
    epsilon to think of; halvings: how often to halve. Returns the smallest epsilon that was seen to
    fool, a float; math.inf where most does not.
    """
    if not fools(most):
        return math.inf
    low, high = 0.0, most
    for _ in range(halvings):
        middle = (low + high) / 2
        if fools(middle):
            high = middle
        else:
            low = middle
    return high
