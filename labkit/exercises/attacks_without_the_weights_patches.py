"""More exercises of 42_attacks_without_the_weights: the labelling loop, a printed square over views."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("42_attacks_without_the_weights")
LIBRARY = "labkit.adversarial."
BOXES = "labkit.calls.boxes:"


def grow_cases(draw: Draw):
    def case(name, n, budget, probe=None):
        pictures = draw.pictures(n, 3, 4, 4)
        labels = torch.randint(3, (n,), generator=draw.generator)
        room = max(min(budget - n, n), 0)
        box = Recipe(BOXES + "box", {"seed": draw.index(10**6), "most": room})
        step = Recipe(BOXES + "stepping", {"seed": draw.index(10**6)})
        return Case(name, (box, step, pictures, labels, budget), probe=probe)

    yield case("six pictures, a budget of twenty", 6, 20)
    yield case("room for two more", 5, 7)
    yield case("nothing is left; the pictures must stay", 4, 4, probe="both")


def _asks_all(box, augment, pictures, labels, budget):
    room = budget - len(pictures)
    fresh = augment(pictures[:room], labels[:room])
    whole = torch.cat([pictures, fresh])
    return whole, box(whole)


@SHEET.exercise(
    "adversarial.grow", "Let the box label them", points=3, minutes=10, difficulty=2, cases=grow_cases,
    blocks=tuple(LIBRARY + name for name in ("substitute", "substitute_result")),
    mistakes=(
        (_asks_all, "You ask about the old pictures again. Their labels are known, and answers cost."),
        ("answers = box(fresh)", "answers = labels[:room]",
            "You give the new pictures the old labels. Whether the box still says so is what to ask."),
        ("torch.cat([pictures, fresh])", "torch.cat([fresh, pictures])",
            "The old pictures come first: put the new ones behind them."),
        ("torch.cat([labels, answers])", "torch.cat([answers, labels])",
            "Labels must come in the order of their pictures: the old ones first."),
        ("augment(pictures[:room], labels[:room])", "pictures[:room]",
            "The new pictures are copies of the old ones. Let augment make them."),
    ),
)  # fmt: skip
def grow(box, augment, pictures, labels, budget):
    """One round of questions: new pictures are made from the first ones, and the box names them.

    box: gives the classes (N,) of pictures, and counts every one; augment(pictures, labels): gives
    new pictures; pictures: (N, 3, H, W) with labels (N,), all asked about; budget: of answers in
    all, at least N. Returns all pictures and all labels, the old ones first.
    """
    room = budget - len(pictures)
    fresh = augment(pictures[:room], labels[:room])
    answers = box(fresh)
    return torch.cat([pictures, fresh]), torch.cat([labels, answers])


def film_cases(draw: Draw):
    def case(name, n, side, probe=None):
        place = 1.4 * draw.pictures(n, 6, 7, 2) - 0.7
        light, mask = 0.4 + draw.pictures(n, 1, 6, 7), draw.masks(n, 1, 6, 7).to(draw.dtype)
        mask[:, 0, :3] = 0.5
        given = draw.pictures(n, 3, 6, 7), draw.pictures(3, side, side), place, light, mask
        return Case(name, given, probe=probe)

    yield case("two pictures, a square of 4", 2, 4)
    yield case("one picture, a square of 9; all must stay", 1, 9, probe="both")
    yield case("three pictures", 3, 5)


@SHEET.exercise(
    "adversarial.film", "Film a printed square", points=3, minutes=12, difficulty=2, cases=film_cases,
    blocks=("labkit.adversarial.patches.paste",),
    mistakes=(
        ("align_corners=False", "align_corners=True",
            "With align_corners=True -1 is the middle of the first pixel; here it is the square's edge."),
        ("place, ", "place.flip(3), ", "Across and down are exchanged: grid_sample takes x first, then y."),
        ("seen * light", "seen", "The light is missing: a square in the shade is darker."),
        ("(seen * light).clamp(0, 1)", "seen.clamp(0, 1) * light",
            "A bright light must not lead above 1: multiply first, then clip."),
        ({"(seen * light).clamp(0, 1)": "seen * light",
          "pictures * (1 - mask) + shown * mask": "(pictures * (1 - mask) + shown * mask).clamp(0, 1)"},
            "You clip the mixture. Clip what the square shows, then mix: the rim tells them apart."),
        ("pictures * (1 - mask) + shown * mask", "pictures + shown * mask",
            "Under the square the picture still shines through: take it away there, by 1 - mask."),
        ("pictures * (1 - mask) + shown * mask", "torch.where(mask > 0, shown, pictures)",
            "At the rim the mask is between 0 and 1, and so is the mixture of both."),
        ("pictures * (1 - mask) + shown * mask", "pictures * mask + shown * (1 - mask)",
            "It is the wrong way round: the mask is 1 where the square is seen."),
        ("align_corners=False", 'align_corners=False, mode="nearest"',
            "Rounded places pass no slopes to their neighbours: leave the mode bilinear."),
    ),
)  # fmt: skip
def film(pictures, patch, place, light, mask):
    """The pictures with a printed square in them, differentiable by the square.

    pictures: (N, 3, H, W); patch: (3, S, S); place: (N, H, W, 2), where in the square each pixel
    looks, across and down, -1 to 1 from edge to edge; light: (N, 1, H, W), what its colour is
    multiplied by; mask: (N, 1, H, W), 1 where the square is seen. Returns (N, 3, H, W), 0 to 1.
    """
    squares = patch.expand(len(pictures), -1, -1, -1)
    seen = torch.nn.functional.grid_sample(squares, place, align_corners=False)
    shown = (seen * light).clamp(0, 1)
    return pictures * (1 - mask) + shown * mask


def step_cases(draw: Draw):
    def case(name, rows, rate, probe=None):
        views = Recipe(BOXES + "walls", {"count": 5, "seed": draw.index(10**6)})
        net = draw.net("linear", height=6, width=6)
        return Case(name, (net, views, draw.pictures(3, 3, 3), rows, draw.index(3), rate), probe=probe)

    yield case("three views", [0, 2, 3], 0.1)
    yield case("one view; network and square must stay", [1], 0.05, probe="both")
    yield case("a large step, two views", [4, 1], 0.5)


@SHEET.exercise(
    "adversarial.patch_step", "The loss over transformations", points=4, minutes=14, difficulty=3,
    cases=step_cases,
    blocks=tuple(LIBRARY + name for name in (
        "physical_patch", "physical_patch_result", "adversarial_patch", "adversarial_patch_result")),
    mistakes=(
        ("views(patch, rows)", "views(patch, rows[:1])",
            "That is the loss of one view. The expectation is the mean over all views given."),
        ("- rate * slope", "+ rate * slope", "The loss of the target must fall: step against its slope."),
        ("-scores[:, target].mean()", "-scores.mean()",
            "You lower the loss of all classes together. Take the target's."),
        ("slope.sign()", "slope", "Take the sign of the slope: a step of the same size for all pixels."),
        (".clamp(0, 1)", "", "What is printed has colours from 0 to 1: clip the square."),
        ("-scores[:, target].mean()", "-scores.max(1).values.mean()",
            "You make the network surer of what it says already. Raise the target."),
        ("-scores[:, target].mean()", "-scores[:, target].amax()",
            "That is the loss of the view which fools most. The mean over views is asked for."),
    ),
)  # fmt: skip
def patch_step(model, views, patch, rows, target, rate):
    """One step of a printed square: the mean cross entropy of the target, over views, falls.

    model: gives logits (N, C); views(patch, rows): the pictures of some views; patch: (3, S, S),
    0 to 1; rows: their numbers; target: a class; rate: how far each value moves.
    Returns (3, S, S), 0 to 1, without a gradient.
    """
    patch = patch.detach().clone().requires_grad_()
    shown = views(patch, rows)
    scores = model(shown).log_softmax(1)
    loss = -scores[:, target].mean()
    slope = torch.autograd.grad(loss, patch)[0]
    return (patch.detach() - rate * slope.sign()).clamp(0, 1)
