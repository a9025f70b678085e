"""The exercises of the notebook 51: total variation, the inversion's loss and search, correlation."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("51_inverting_and_dreaming")
TO_LEARN = (
    "A picture is sought by this result: return a tensor that knows where it came from "
    "(no .item(), float(), .numpy(), .detach(), no_grad)."
)


def to_learn(values) -> Recipe:
    """A tensor that asks for its gradient, which is then compared too."""
    return Recipe("labkit.calls.recipes:learned", {"values": values})


def variation_cases(draw: Draw):
    yield Case("squares, beta 2", (draw.pictures(2, 3, 5, 4), 2.0))
    yield Case("beta 3", (draw.pictures(3, 3, 4, 6) * draw.pictures(3, 1, 1, 1), 3.0))
    flat = draw.pictures(2, 3, 4, 5)
    flat[0, :, 1:3, 1:3] = 0.5
    yield Case("beta 1 with a flat place, and its gradient", (to_learn(flat), 1.0))


@SHEET.exercise(
    "style.total_variation", "How rough a picture is", points=3, minutes=10, difficulty=2,
    cases=variation_cases, blocks=("labkit.optimize.total_variation",),
    mistakes=(
        ("beta / 2", "beta", "The sum of squares goes to the power beta / 2: beta 2 leaves the squares."),
        ("down**2 + right**2", "down**2",
            "Only the steps down count here. Add the squared steps to the right."),
        ("down**2 + right**2", "down.abs() + right.abs()", "Square both steps before you add them."),
        (".mean((1, 2, 3))", ".sum((1, 2, 3))",
            "That is the sum. With the mean, a weight means the same for pictures of any size."),
        (".mean((1, 2, 3))", ".mean().expand(len(images))",
            "One number for the whole batch: each picture has its own."),
        (" + 1e-8", "",
            "The root of 0 has no slope, and a flat place gives nan. Add 1e-8 before the power."),
        ("(0, 0, 0, 1)", "(0, 0, 1, 0)", "You pad above. The step behind the last row is the one that is 0."),
        ({"F.pad(images[:, :, 1:] - images[:, :, :-1], (0, 0, 0, 1))":
            "images[:, :, 1:, :-1] - images[:, :, :-1, :-1]",
          "F.pad(images[..., 1:] - images[..., :-1], (0, 1))":
            "images[:, :, :-1, 1:] - images[:, :, :-1, :-1]"},
            "You leave out the last row and column. There the step outwards is 0: pad, do not cut."),
        (".mean((1, 2, 3))", ".mean((1, 2, 3)).detach()", TO_LEARN),
    ),
)  # fmt: skip
def total_variation(images, beta):
    """The total variation of each picture, as a mean over colours and places.

    images: (N, 3, H, W); beta: the exponent. Each place gives (down^2 + right^2 + 1e-8)^(beta / 2),
    the steps to the next row and the next column, 0 behind the last ones. Returns (N,).
    """
    down = F.pad(images[:, :, 1:] - images[:, :, :-1], (0, 0, 0, 1))
    right = F.pad(images[..., 1:] - images[..., :-1], (0, 1))
    return ((down**2 + right**2 + 1e-8) ** (beta / 2)).mean((1, 2, 3))


def loss_cases(draw: Draw):
    """Pictures whose features differ in size, so that each must be divided by its own norm."""

    def case(name, n, alpha_weight, tv_weight, learns=to_learn, probe=None):
        goal = draw.numbers(n, 4, 3, 2) * (1 + 4 * draw.pictures(n, 1, 1, 1))
        pictures, weights = (draw.pictures(n, 3, 4, 5), draw.pictures(n)), (alpha_weight, tv_weight)
        return Case(name, (learns(draw.numbers(n, 4, 3, 2)), goal, *pictures, *weights), probe=probe)

    yield case("two pictures", 2, 0.3, 0.8)
    yield case("three, a strong alpha norm", 3, 2.5, 0.1)
    yield case("no prior, nothing to learn; all must stay", 2, 0.0, 0.0, torch.clone, "both")


@SHEET.exercise(
    "style.inversion_loss", "The loss of an inversion", points=4, minutes=12, difficulty=2, cases=loss_cases,
    mistakes=(
        (" / (goal**2).flatten(1).sum(1)", "",
            "Divide by the squared norm of the features asked for, or no weight fits two layers."),
        ("(goal**2).flatten(1).sum(1)", "(goal**2).flatten(1).sum(1).sqrt()",
            "You divide by the norm. It is squared, as the distance is."),
        ("(goal**2).flatten(1).sum(1)", "(features**2).flatten(1).sum(1)",
            "You divide by the features of the search, which could then grow to look near. Take the goal's."),
        ("(goal**2).flatten(1).sum(1)", "(goal**2).sum()",
            "You divide by the norm of the whole batch. Each picture has its own."),
        ("((features - goal) ** 2).flatten(1).sum(1)", "(features - goal).abs().flatten(1).sum(1)",
            "Squared differences are asked for, not absolute ones."),
        ("((features - goal) ** 2).flatten(1).sum(1)", "((features - goal) ** 2).flatten(1).mean(1)",
            "Add up the squares over the whole layer: distance and norm must be measured alike."),
        ("(2 * (images - 0.5))", "images",
            "The alpha norm is measured from grey, .5, and runs up to 1: 2 (x - .5)."),
        ("(2 * (images - 0.5))", "(images - 0.5)", "The distance from grey is to run from 0 to 1: times 2."),
        ("** 6", "** 2", "The power is 6: it leaves all values alone but those near 0 and 1."),
        ("alpha_weight * bound + tv_weight * variation", "tv_weight * bound + alpha_weight * variation",
            "The two weights are exchanged."),
        ("return error + ", "return error - ", "Priors are prices: add them to the loss."),
        ("return error", "return error.detach()", TO_LEARN),
    ),
)  # fmt: skip
def inversion_loss(features, goal, images, variation, alpha_weight, tv_weight):
    """What an inversion brings down: the features' relative error, and two weighted priors.

    features, goal: (N, ...), the layer's answer now and the one asked for; images: (N, 3, H, W);
    variation: (N,), their total variation. Alpha norm: the mean of (2 (x - .5))^6. Returns (N,).
    """
    error = ((features - goal) ** 2).flatten(1).sum(1) / (goal**2).flatten(1).sum(1)
    bound = ((2 * (images - 0.5)) ** 6).mean((1, 2, 3))
    return error + alpha_weight * bound + tv_weight * variation


def search_cases(draw: Draw):
    """Some floors lie outside 0 to 1, so that values run against the bounds."""
    for name, steps in (("five steps", 5), ("one step; the start must stay", 1), ("twelve steps", 12)):
        floor, steepness = 1.6 * draw.pictures(2, 3, 4, 5) - 0.3, draw.pictures(2, 3, 4, 5) + 0.2
        valley = Recipe("labkit.calls.recipes:valley", {"floor": floor, "steepness": steepness})
        start = draw.pictures(2, 3, 4, 5)
        yield Case(name, (valley, start, steps, draw.number(0.05, 0.2)), probe="both" if steps == 1 else None)


@SHEET.exercise(
    "style.search", "The search", points=4, minutes=14, difficulty=2, cases=search_cases,
    blocks=("labkit.optimize.minimize", "labkit.style.invert"),
    mistakes=(
        ("        optimizer.zero_grad()\n", "",
            "Gradients add up from step to step. Set them to zero before each backward."),
        ("torch.optim.Adam", "torch.optim.SGD", "Plain descent stands still on a deep layer: take Adam."),
        ("images.clamp_(0, 1)", "pass", "A picture stays within 0 and 1: clamp after each step."),
        ({"            images.clamp_(0, 1)\n": "            pass\n",
          "images.detach()": "images.detach().clamp(0, 1)"},
            "You clamp at the end only. Clamp after each step, or the search walks outside."),
        ("loss(images).backward()", "(-loss(images)).backward()", "You go up. A loss is to fall."),
        ("images = start.clone()", "images = start.detach()",
            "You change the start itself. Work on a copy: start.clone()."),
        ("range(steps)", "range(steps + 1)", "One step too many."),
    ),
)  # fmt: skip
def search(loss, start, steps, rate):
    """The pictures after some steps of Adam down the loss, clamped to 0 and 1 after each.

    loss: a function of pictures that gives one number; start: (N, 3, H, W), not to be changed.
    Returns (N, 3, H, W), detached.
    """
    images = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(images).backward()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    return images.detach()


def correlation_cases(draw: Draw):
    for name, n in (("two pairs", 2), ("four pairs", 4)):
        first, other = draw.pictures(n, 3, 4, 5), draw.pictures(n, 3, 4, 5)
        yield Case(name, (first + 2 * draw.pictures(n, 1, 1, 1), 3 * (first + other)))
    colours = draw.pictures(3, 3, 1, 1)
    yield Case(
        "pictures of strong colours", (draw.pictures(3, 3, 4, 4) + 3 * colours, draw.pictures(3, 3, 4, 4))
    )


@SHEET.exercise(
    "style.correlation", "How alike two pictures are", points=2, minutes=6, difficulty=1,
    cases=correlation_cases,
    mistakes=(
        ("b - b.mean(1, keepdim=True)", "b",
            "Take the mean off both: else two pictures that are merely bright look alike."),
        ({"a - a.mean(1, keepdim=True)": "a - a.mean()", "b - b.mean(1, keepdim=True)": "b - b.mean()"},
            "You take off the mean of the whole batch. Each picture has its own."),
        ("a.norm(dim=1) * b.norm(dim=1)", "a.shape[1]",
            "That is the covariance. Divide by both lengths, so that 1 means alike."),
        ("(a * b).sum(1)", "(a * b).sum(1).abs()", "A negative picture is not alike: keep the sign."),
        ({"first.flatten(1), second.flatten(1)": "first.mean(1).flatten(1), second.mean(1).flatten(1)"},
            "You compare grey pictures. All values of all three colours count, as one long row."),
        ({"first.flatten(1), second.flatten(1)":
            "(first - first.mean((2, 3), keepdim=True)).flatten(1), second.flatten(1)"},
            "You take each colour's own mean off. One mean for the whole picture: colours count here."),
    ),
)  # fmt: skip
def correlation(first, second):
    """Pearson's correlation of each pair of pictures over all their values.

    first, second: (N, 3, H, W). Each picture is one row of numbers. Returns (N,), from -1 to 1.
    """
    a, b = first.flatten(1), second.flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
