"""The exercises of the notebook 22 beyond one gradient: SmoothGrad, a path, an input shift."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("22_gradients_and_their_tricks")


def smooth_cases(draw: Draw):
    for name, probe in (("a few draws of noise", None), ("the network must stay as it was", "both")):
        noise = 0.4 * draw.numbers(draw.pick(4, 5), 2, 3, 8, 6)
        yield Case(name, (draw.net("deeper"), draw.pictures(2, 3, 8, 6), draw.index(3), noise), probe=probe)


@SHEET.exercise(
    "attribution.smooth_grad", "SmoothGrad: ask the neighbours", points=3, minutes=8, difficulty=1,
    cases=smooth_cases, blocks=("labkit.attribution.smooth_grad",),
    mistakes=(
        ("x)[0])", "x)[0].abs())",
            "You take sizes before you average. Keep the signs: that they cancel is the point."),
        ("x)[0])", "x)[0] ** 2)", "You average squares. Keep the slopes as they are, with their signs."),
        (".mean(0)", ".sum(0)", "Divide by the number of draws: what is asked for is the mean."),
        ("in noise", "in noise.mean(0, keepdim=True)",
            "You average the noise first. Take a gradient for every draw, then the mean."),
        ("(images + one)", "(images + one).clamp(0, 1)",
            "Leave the noisy pictures as they are: clamping flattens the noise at the ends."),
        ("(x)[:, target]", "(x).softmax(1)[:, target]",
            "Take the gradient of the score before the softmax."),
        (".mean(0)", ".mean(0).abs()", "The mean keeps its signs here: leave out the abs at the end."),
        ("[:, target].sum()", "[:, target].mean()",
            "A mean over the batch divides each picture's gradient by the number of pictures. Take the sum."),
        ("[:, target].sum()", ".sum()", "You add the scores of all classes up. Take the target's column."),
        ("[:, target].sum()", ".amax(1).sum()", "You follow whichever class leads. The target is given."),
        ("[:, target].sum()", "[0, target]",
            "You ask for the first picture's score only. Each picture has its own: add them up."),
        ("(x)[:, target]", "(x).log_softmax(1)[:, target]",
            "You take the gradient of the log probability. Take that of the score."),
        ("(images + one)", "one", "The noise alone is shown. Add it to the picture."),
        ("images + one", "images", "The noise is not used: every draw shows the same picture."),
        ("x = (images + one)", "images = images + one\n        x = images",
            "The noise piles up: each draw starts from the picture itself."),
        ("torch.stack(gradients).mean(0)", "gradients[-1]",
            "You return the last draw's gradient. Collect them all, then take the mean."),
        ({"images + one": "images", "x)[0])": "x)[0] + one)"},
            "The noise goes onto the picture, before the gradient is taken."),
    ),
)  # fmt: skip
def smooth_grad(model, images, target, noise):
    """Mean gradient of the target's score over noisy copies, signed.

    model: pictures (N, 3, H, W) -> scores (N, classes); images: (N, 3, H, W);
    target: class index;
    noise: (S, N, 3, H, W), S draws to be added to the pictures, one after the other.
    Returns (N, 3, H, W), each picture's own. The model is left as it was.
    """
    gradients = []
    for one in noise:
        x = (images + one).detach().requires_grad_(True)
        gradients.append(torch.autograd.grad(model(x)[:, target].sum(), x)[0])
    return torch.stack(gradients).mean(0)


def path_cases(draw: Draw):
    for name, steps in (("four steps from a dark picture", 4), ("seven steps", 7), ("a single step", 1)):
        images, baseline = draw.pictures(2, 3, 8, 6), 0.4 * draw.pictures(2, 3, 8, 6)
        yield Case(name, (draw.net("deeper"), images, baseline, draw.index(3), steps))


SHARE, WAY = "(k + 0.5) / steps", "baseline + (k + 0.5) / steps * (images - baseline)"
HALF = "Set parentheses around k + 0.5, or only the half is divided by steps."


@SHEET.exercise(
    "attribution.integrated_gradients", "Integrated gradients: the whole way", points=4, minutes=12,
    difficulty=2, cases=path_cases, blocks=("labkit.attribution.integrated_gradients",),
    mistakes=(
        ("return (images - baseline) * total", "return total",
            "The factor (images - baseline) is missing: a slope is no share."),
        (WAY, "(k + 0.5) / steps * images", "Your way begins at black. It begins at the baseline."),
        ("total / steps", "total", "Divide by the number of steps: an integral is a mean here."),
        ("return (images - baseline)", "return (baseline - images)",
            "The factor is images - baseline, not baseline - images."),
        ("k + 0.5", "k + 1",
            "You ask at the end of each step. Ask in its middle, (k + 1/2) / steps: that is far more exact."),
        ("(k + 0.5)", "k",
            "You ask at the beginning of each step. Ask in its middle, at (k + 1/2) / steps."),
        ("(x)[:, target]", "(x).softmax(1)[:, target]",
            "Integrate the score's gradient: the score before the softmax, not the probability."),
        ("(images - baseline) * total", "images * total",
            "You multiply by the picture. The way begins at the baseline: images - baseline."),
        ("steps * (images - baseline)", "steps * images",
            "Your way ends at baseline + images. From the baseline it goes by images - baseline."),
        ("baseline + (k", "(k",
            "The baseline is missing in front: the point is baseline plus a share of the way."),
        (SHARE, "(k + 0.5 / steps)", HALF),
        (SHARE, "k + 0.5 / steps", HALF),
        ("k + 0.5", "k + 1.5",
            "Your k begins with 1, so the last point lies beyond the picture. It begins with 0."),
        (SHARE, "torch.linspace(0, 1, steps)[k]",
            "Your first and last points are the ends of the way. Ask in the middle of each step."),
        ({"range(steps)": "range(steps + 1)", "(k + 0.5)": "k", "total / steps": "total / (steps + 1)"},
            "These are steps + 1 points, both ends among them. Ask once in each step, in its middle."),
        ({WAY: "(k + 0.5) / steps * images", "(images - baseline) * total": "images * total"},
            "The baseline is not used: the way begins there, and its length is images - baseline."),
        (SHARE, "1.0", "You take the slope at the picture alone. Average it over the whole way."),
        ("[:, target].sum()", "[:, target].mean()",
            "The mean of the scores divides each gradient by the number of pictures. Take their sum."),
        ("[:, target].sum()", ".sum()", "You add the scores of all classes up. Take the target's column."),
        ("[:, target].sum()", "[0, target]",
            "You ask for the first picture's score only. Each picture has its own: add them up."),
        ("(images - baseline) * total / steps", "((images - baseline) * total / steps).abs()",
            "Keep the signs: only signed parts add up to the difference."),
    ),
)  # fmt: skip
def integrated_gradients(model, images, baseline, target, steps):
    """Parts of the difference between the target's scores for images and for baseline, signed.

    model: pictures (N, 3, H, W) -> scores (N, classes); images, baseline: (N, 3, H, W);
    target: class index; steps: how many points of the straight way, each in the middle of its step.
    Returns (N, 3, H, W), each picture's own. The model is left as it was.
    """
    total = torch.zeros_like(images)
    for k in range(steps):
        point = baseline + (k + 0.5) / steps * (images - baseline)
        x = point.detach().requires_grad_(True)
        total += torch.autograd.grad(model(x)[:, target].sum(), x)[0]
    return (images - baseline) * total / steps


def shift_cases(draw: Draw):
    for name in ("four channels", "another shift"):
        yield Case(name, (draw.numbers(4, 3, 3, 5), draw.numbers(4), draw.numbers(3)))


ADDED = "(weight * shift[None, :, None, None]).sum((1, 2, 3))"


@SHEET.exercise(
    "attribution.compensate", "A shift that changes nothing", points=2, minutes=8, difficulty=2,
    cases=shift_cases,
    mistakes=(
        ("bias - ", "bias + ",
            "The sign is turned: what the shift adds to the layer, the bias must take away."),
        (".sum((1, 2, 3))", ".sum(1).mean((1, 2))",
            "The shift enters at every place under the kernel: add up over its rows and columns too."),
        (ADDED, "weight.sum((1, 2, 3)) * shift.mean()",
            "Each colour has a shift of its own: multiply by shift before you add the colours up."),
        ("bias - ", "-", "The old bias is lost. Start from it."),
        ("bias - ", "", "You return what the shift adds to the layer. Take that away from the bias."),
        (".sum((", ".abs().sum((", "Keep the signs: a negative weight takes away what a shift adds."),
        (".sum((", ".mean((", "A convolution adds up over colours, rows and columns: sum, not mean."),
        (ADDED, "weight[:, :, 1, 2] @ shift",
            "You count the kernel's centre only. The shift lies under all of its places."),
        ("[None, :, None, None]", "[None, None, :, None]",
            "Your shift runs along the kernel's rows. The colours are axis 1 of weight."),
        (ADDED, "weight.sum((1, 2, 3)) * shift.sum()",
            "You add the shift up over the colours first. Each colour's weights get their own shift."),
    ),
)  # fmt: skip
def compensate(weight, bias, shift):
    """The bias that undoes a shift of the input.

    weight: (K, C, h, w), bias: (K,), of the first convolution; shift: (C,), added to each colour.
    Returns (K,), the new bias.
    """
    return bias - (weight * shift[None, :, None, None]).sum((1, 2, 3))
