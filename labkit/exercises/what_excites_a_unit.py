"""The exercises of the notebook 13: the ascent with its regularizers, jitter, clipping, diversity."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("13_what_excites_a_unit")
TO_LEARN = (
    "Pictures are made by this result: return a tensor that knows where it came from "
    "(no .item(), float(), .numpy(), .detach(), no_grad)."
)


def hill(draw: Draw, *shape: int) -> Recipe:
    """A score (N,) of pictures: what they gain towards a hidden picture, some places steeper than others."""
    top, steepness = draw.numbers(*shape) + 0.5, draw.pictures(*shape) + 0.1
    return Recipe("labkit.calls.recipes:hill", {"top": top, "steepness": steepness})


def ascend_cases(draw: Draw):
    """Some values run against 0 and 1; a blur that comes after the last step, and one that never comes."""
    for name, steps, every in (
        ("a blur after the second step", 3, 2),
        ("a blur at the end", 4, 4),
        ("no blur", 2, 5),
    ):
        score, image = hill(draw, 3, 6, 5), draw.pictures(2, 3, 6, 5)
        smooth = Recipe("labkit.calls.recipes:softened", {"share": draw.number(0.3, 0.6)})
        rate, decay = draw.number(0.1, 0.2), draw.number(0.05, 0.2)
        yield Case(name, (score, image, steps, rate, decay, smooth, every))


SIZE = "gradient.square().mean((1, 2, 3), keepdim=True).sqrt()"


@SHEET.exercise(
    "visualization.ascend", "The ascent, with two regularizers", points=5, minutes=15, difficulty=2,
    cases=ascend_cases, blocks=("labkit.visualization.visualize", "labkit.optimize.minimize"),
    mistakes=(
        ("images + rate", "images - rate", "You go down. The score is to rise: add the gradient."),
        (" / size", "",
            "The gradient is used as it is. Divide it by its root mean square, picture by picture."),
        (SIZE, "gradient.square().mean().sqrt()",
            "One root mean square for the whole batch: each picture has its own."),
        (SIZE, "gradient.norm()", "You divide by the gradient's length. Its root mean square is asked for."),
        (SIZE, "gradient.abs().mean((1, 2, 3), keepdim=True)",
            "You divide by the mean size. The root mean square squares first."),
        ("gradient / size", "gradient.sign()",
            "Every value moves by rate here. Keep the gradient's proportions."),
        ("0.5 + (1 - decay) * (images - 0.5)", "(1 - decay) * images",
            "Your pictures fall towards black. In pictures of 0 to 1, grey is .5: decay towards that."),
        ("(1 - decay)", "decay", "You keep the share that is to go. 1 - decay stays."),
        ("        images = 0.5 + (1 - decay) * (images - 0.5)\n", "", "The decay towards grey is missing."),
        ("(step + 1) % every", "step % every",
            "You blur after the first step already. Count steps from 1: after every so many of them."),
        ("            images = blur(images)\n", "            blur(images)\n", "Keep what blur gives back."),
        ("if (step + 1) % every == 0", "if True", "You blur after each step, not after every so many."),
        (".clamp(0, 1)", "", "A picture stays within 0 and 1: clamp what the step has made."),
        (".clamp(0, 1)", ".sigmoid()",
            "A sigmoid moves every value. Only what lies outside 0 to 1 is cut off."),
    ),
)  # fmt: skip
def ascend(score, images, steps, rate, decay, blur, every):
    """Pictures after some steps up the score, each followed by two regularizers.

    score: a function, pictures -> (N,); images: (N, 3, H, W), where to begin; rate: the root mean
    square of a step; decay: the share of the distance from grey (.5) that goes at each step;
    blur: a function of pictures, called after every so many (every) steps.
    Returns (N, 3, H, W), 0 to 1, detached.
    """
    for step in range(steps):
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(images).sum(), images)
        size = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
        images = images + rate * gradient / size
        images = 0.5 + (1 - decay) * (images - 0.5)
        if (step + 1) % every == 0:
            images = blur(images)
        images = images.clamp(0, 1)
    return images.detach()


def jitter_cases(draw: Draw):
    for name, down, right in (("down and right", 2, 1), ("up and left", -1, -3), ("down and left", 3, -2)):
        yield Case(name, (hill(draw, 3, 6, 7), draw.pictures(2, 3, 6, 7), down, right))
    yield Case("the gradient", (hill(draw, 3, 6, 7), to_learn(draw.pictures(2, 3, 6, 7)), 1, -2))


def to_learn(values) -> Recipe:
    """A tensor that asks for its gradient, which is then compared too."""
    return Recipe("labkit.calls.recipes:learned", {"values": values})


@SHEET.exercise(
    "visualization.jittered", "Jitter", points=2, minutes=5, difficulty=1, cases=jitter_cases,
    blocks=("labkit.optimize.shift",),
    mistakes=(
        ("(down, right)", "(right, down)",
            "Down belongs to the rows, axis 2, and right to the columns, axis 3."),
        ("(down, right)", "(-down, -right)",
            "You move the other way: roll with a positive number moves down and right."),
        ("images.roll((down, right), (2, 3))", "images.roll((down, right), (0, 1))",
            "You roll pictures and colours. Rows and columns are the axes 2 and 3."),
        ("return score(moved)", "return score(images)", "The score must see the picture that was moved."),
        ("return score(moved)", "return score(moved).detach()", TO_LEARN),
    ),
)  # fmt: skip
def jittered(score, images, down, right):
    """The score of pictures moved by some pixels; what leaves at one side comes in at the other.

    score: a function, pictures -> (N,); images: (N, 3, H, W); down, right: pixels, may be negative.
    Returns (N,). Pictures are made by it: gradients must be able to flow.
    """
    moved = images.roll((down, right), (2, 3))
    return score(moved)


def clip_cases(draw: Draw):
    """Pixels whose colours' contributions cancel; a share that is no whole number of pixels."""
    for name, share in (("a half", 0.5), ("a share between two pixels", 0.33), ("none", 0.0)):
        images, gradient = draw.pictures(2, 3, 5, 4), draw.numbers(2, 3, 5, 4)
        images[0, :, 0, 0], gradient[0, :, 0, 0] = images.new_tensor([0.9, 0.1, 0.5]), 3.0
        yield Case(name, (images, gradient, share))


@SHEET.exercise(
    "visualization.clip_contributions", "Pixels that do nothing", points=4, minutes=12, difficulty=2,
    cases=clip_cases, blocks=("labkit.optimize.clip_contributions",),
    mistakes=(
        ("(images - 0.5) * gradient", "images * gradient",
            "You measure from black. What a pixel does is what it differs from grey: images - .5."),
        (".sum(1).abs()", ".abs().sum(1)",
            "Take the absolute value last: what the colours of one pixel do may cancel."),
        (".sum(1).abs()", ".sum(1)",
            "A large negative contribution is not a small one: compare sizes, by abs()."),
        ("(images - 0.5) * gradient", "gradient",
            "That is the gradient alone. A contribution is the distance from grey times the gradient."),
        ("torch.quantile(does.flatten(1), share, dim=1)", "torch.quantile(does, share).expand(len(does))",
            "One threshold for the whole batch: each picture has its own."),
        ("share, dim=1", "1 - share, dim=1", "You clip too many: the smallest share of the pixels goes."),
        ("does < least", "does > least", "You clip what does most. The pixels that do least become grey."),
        ("0.5, images)", "0.0, images)", "Clipped pixels become grey, .5, not black."),
    ),
)  # fmt: skip
def clip_contributions(images, gradient, share):
    """Pictures with a share of their pixels grey: those whose loss would change the score least.

    images, gradient: (N, 3, H, W), the gradient that of the score; share: 0 to 1, the quantile of
    each picture's contributions below which a pixel becomes .5. Returns (N, 3, H, W).
    """
    does = ((images - 0.5) * gradient).sum(1).abs()
    least = torch.quantile(does.flatten(1), share, dim=1)
    small = does < least[:, None, None]
    return torch.where(small[:, None], 0.5, images)


def diversity_cases(draw: Draw):
    yield Case("three pictures", (draw.numbers(3, 4, 5, 3),))
    yield Case("two, of different sizes", (draw.numbers(2, 3, 4, 4) * draw.pictures(2, 1, 1, 1) * 5,))
    yield Case("the gradient by which pictures are made", (to_learn(draw.pictures(3, 4, 3, 3)),))


@SHEET.exercise(
    "visualization.diversity_loss", "Not the same picture four times", points=4, minutes=14, difficulty=3,
    cases=diversity_cases, blocks=("labkit.optimize.diversity",),
    mistakes=(
        ("gram = flat @ flat.transpose(1, 2)", "gram = flat.transpose(1, 2) @ flat",
            "That is places by places. The Gram matrix is channels by channels."),
        ("flat @ flat.transpose(1, 2)", "flat",
            "You compare the features place by place: a picture that was only moved would count as another."),
        ("F.normalize(gram.flatten(1), dim=1)", "gram.flatten(1)",
            "Cosines are asked for: bring each Gram matrix to length 1."),
        ("F.normalize(gram.flatten(1), dim=1)", "F.normalize(gram.flatten(1), dim=0)",
            "Each picture's matrix is brought to length 1: axis 1."),
        ("cosines.sum() - count", "cosines.sum()",
            "Each picture is compared with itself, too, which is always 1. Take these off."),
        ("(count * (count - 1))", "count**2",
            "The mean is over pairs of different pictures: N (N - 1) of them."),
        ("others / (count * (count - 1))", "others", "The mean over the pairs is asked for, not the sum."),
        ("cosines.sum() - count", "count - cosines.sum()",
            "A loss is to fall when pictures differ: it is the likeness, with a plus."),
        ("return others", "return others.detach()", TO_LEARN),
    ),
)  # fmt: skip
def diversity_loss(features):
    """How alike the pictures of a batch are: the mean cosine of two pictures' Gram matrices.

    features: (N, K, h, w), N at least 2, what a layer gives for the pictures.
    Returns a tensor of one number, 1 for pictures that are alike. Gradients must be able to flow.
    """
    flat = features.flatten(2)
    gram = flat @ flat.transpose(1, 2)
    rows = F.normalize(gram.flatten(1), dim=1)
    cosines = rows @ rows.T
    count = len(rows)
    others = cosines.sum() - count
    return others / (count * (count - 1))
