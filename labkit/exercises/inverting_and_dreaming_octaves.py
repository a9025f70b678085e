"""The exercises of the notebook 51 that dream: a step whose gradient is the activation, the octaves."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("51_inverting_and_dreaming")


def step_cases(draw: Draw):
    """A network's outputs stand for the layer; pictures of a batch have gradients of different sizes."""
    for name, rate in (("a small step", 0.02), ("a large one, against the bounds", 0.4), ("another", 0.1)):
        yield Case(name, (draw.net("bends"), draw.pictures(3, 3, 6, 5), rate))


GRADIENT = "torch.autograd.grad(features, images, grad_outputs=features.detach())"


@SHEET.exercise(
    "style.dream_step", "The dream's gradient", points=4, minutes=12, difficulty=3, cases=step_cases,
    blocks=("labkit.style.deepdream", "labkit.style.deepdream_result"),
    mistakes=(
        ("grad_outputs=features.detach()", "grad_outputs=torch.ones_like(features)",
            "That raises every unit alike. In a dream each unit is pulled by its own activation."),
        (GRADIENT, "torch.autograd.grad(features.amax(), images)",
            "You raise the largest activation alone. Every unit is pulled, each by its own."),
        ("grad_outputs=features.detach()", "grad_outputs=features.detach().sign()",
            "You keep only the sign of the activations. What is strong is pulled more."),
        ("images + rate", "images - rate", "You go down: the layer is to see more, not less."),
        (".abs().mean((1, 2, 3), keepdim=True)", ".abs().mean()",
            "One mean size for the whole batch: each picture has its own size."),
        (".abs().mean((1, 2, 3), keepdim=True)", ".square().mean((1, 2, 3), keepdim=True).sqrt()",
            "The mean of the sizes is asked for, not the root of the mean square."),
        (" / size", "", "Divide by the gradient's mean size: rate is how far values move on average."),
        ("slope / size", "slope.sign()", "Every value moves alike here. Keep the gradient's proportions."),
        (".clamp(0, 1)", "", "A picture stays within 0 and 1: clamp what the step has made."),
    ),
)  # fmt: skip
def dream_step(features_of, images, rate):
    """One step by which a layer sees more of what it sees: its gradient is its own activation.

    features_of: a function, pictures -> what the layer gives; images: (N, 3, H, W), 0 to 1;
    rate: how far a value moves on average. Returns (N, 3, H, W), 0 to 1, detached.
    """
    images = images.detach().requires_grad_()
    features = features_of(images)
    (slope,) = torch.autograd.grad(features, images, grad_outputs=features.detach())
    size = slope.abs().mean((1, 2, 3), keepdim=True)
    return (images + rate * slope / size).clamp(0, 1).detach()


def octave_cases(draw: Draw):
    """A blur stands for a step: what it adds at one size must reach the next ones."""
    for name, sides, steps in (
        ("two octaves", [(5, 4), (9, 7)], 2),
        ("three, one step each", [(4, 4), (6, 6), (9, 9)], 1),
        ("one octave of the whole size", [(6, 5)], 3),
    ):
        step = Recipe("labkit.calls.recipes:softened", {"share": draw.number(0.3, 0.7)})
        yield Case(name, (step, draw.pictures(2, 3, *sides[-1]), sides, steps))


SMOOTH = 'mode="bilinear", antialias=True'


@SHEET.exercise(
    "style.octaves", "Octaves", points=4, minutes=14, difficulty=3, cases=octave_cases,
    blocks=("labkit.style.deepdream", "labkit.style.deepdream_result"),
    mistakes=(
        ("detail = shown - base", "detail = shown",
            "The whole picture is carried on, and added twice. Carry what was added: shown - base."),
        ("        detail = shown - base\n", "",
            "What was added at one size is lost at the next. Keep it: shown - base."),
        ("shown = step(shown)", "step(shown)", "Keep what the step gives back."),
        ("range(steps)", "range(1)", "So many steps at each size, as steps says."),
        ("F.interpolate(detail, side, mode=\"bilinear\")", "F.interpolate(detail, side)",
            "You enlarge what was added by doubling pixels: it gets stairs. Enlarge it bilinearly."),
        ("detail = shown - base", "detail = base - shown",
            "That takes away what was added. The detail is shown - base."),
        ("base = F.interpolate(images, side, " + SMOOTH + ")",
         'base = F.interpolate(images, side, mode="bilinear")',
            "Without antialias=True a smaller picture is a few of its pixels, and edges become stairs."),
        ("base = F.interpolate(images, side, " + SMOOTH + ")",
         'base = F.interpolate(images, side, mode="nearest")',
            "Resize the picture bilinearly, with antialias=True."),
    ),
)  # fmt: skip
def octaves(step, images, sides, steps):
    """A dream over several sizes: what one size adds is enlarged and laid over the next.

    step: a function, pictures -> pictures; images: (N, 3, H, W); sides: (height, width) of each
    octave, the smallest first, the picture's own last; steps: how many at each. Sizes change
    bilinearly, the picture's with antialias=True. Returns (N, 3, H, W).
    """
    detail = torch.zeros_like(images)
    for side in sides:
        base = F.interpolate(images, side, mode="bilinear", antialias=True)
        detail = F.interpolate(detail, side, mode="bilinear")
        shown = base + detail
        for _ in range(steps):
            shown = step(shown)
        detail = shown - base
    return shown
