"""More exercises of the notebook 53_style: instance norm, its conditional form, a walk between styles."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("53_style")


def norm_cases(draw: Draw):
    yield Case("two pictures", (draw.numbers(2, 3, 4, 5), draw.numbers(3), draw.numbers(3)))
    shown = draw.numbers(3, 2, 4, 4) * torch.tensor([1.0, 5.0, 0.2]).to(draw.dtype)[:, None, None, None]
    yield Case("of very different contrast", (shown + 3, draw.numbers(2), draw.numbers(2)))
    faint = draw.numbers(2, 2, 4, 4) * torch.tensor([1.0, 2e-3]).to(draw.dtype)[:, None, None]
    yield Case("one channel of hardly any contrast", (faint, draw.numbers(2), draw.numbers(2)))
    yield Case("one channel is the same everywhere",
               (draw.numbers(1, 2, 3, 3) * torch.tensor([0.0, 1.0]).to(draw.dtype)[:, None, None],
                draw.numbers(2), draw.numbers(2)))  # fmt: skip


@SHEET.exercise(
    "style.instance_norm", "Each picture, each channel", points=3, minutes=8, difficulty=2, cases=norm_cases,
    blocks=("torch.nn.functional.instance_norm", "torch.instance_norm", "torch.nn.InstanceNorm2d"),
    mistakes=(
        ({"x.mean((2, 3), keepdim=True)": "x.mean((0, 2, 3), keepdim=True)",
          "x.var((2, 3), keepdim=True, correction=0)": "x.var((0, 2, 3), keepdim=True, correction=0)"},
            "That is batch norm: one mean and variance for all pictures. Each picture has its own."),
        ({"x.mean((2, 3), keepdim=True)": "x.mean((1, 2, 3), keepdim=True)",
          "x.var((2, 3), keepdim=True, correction=0)": "x.var((1, 2, 3), keepdim=True, correction=0)"},
            "That is layer norm: one mean and variance for all channels. Each channel has its own."),
        ("(variance + 1e-5).sqrt()", "(variance + 1e-5)",
            "You divide by the variance. Divide by its root."),
        ("(variance + 1e-5).sqrt()", "(variance.sqrt() + 1e-5)",
            "You add 1e-5 to the root. Add it to the variance, then take the root: a channel of hardly any "
            "contrast must not be blown up."),
        ("variance + 1e-5", "variance",
            "A channel that is the same everywhere gives 0 over 0. Add 1e-5 to the variance."),
        ("correction=0", "correction=1",
            "You divide the squares by one less than their number. Here it is their mean: correction=0."),
        ("(x - mean)", "x", "The mean is still there. Subtract it before you divide."),
        ("+ shift[:, None, None]", "", "The shift is missing."),
    ),
)  # fmt: skip
def instance_norm(x, scale, shift):
    """Each picture's channel brought to mean 0 and variance 1 over its places, scaled and shifted.

    x: (N, K, h, w); scale, shift: (K,). The variance is the mean square about the mean, plus 1e-5.
    Returns (N, K, h, w).
    """
    mean = x.mean((2, 3), keepdim=True)
    variance = x.var((2, 3), keepdim=True, correction=0)
    normed = (x - mean) / (variance + 1e-5).sqrt()
    return normed * scale[:, None, None] + shift[:, None, None]


def conditional_cases(draw: Draw):
    def case(name, n, styles, mix):
        shown = draw.numbers(n, 3, 4, 4)
        shown[:, 0] *= 1e-3  # a channel of hardly any contrast
        return Case(name, (shown, draw.numbers(styles, 3), draw.numbers(styles, 3), mix))

    yield case("each picture has one style", 2, 3, torch.eye(3)[[2, 0]].to(draw.dtype))
    yield case("half and half", 2, 2, torch.tensor([[0.5, 0.5], [0.25, 0.75]]).to(draw.dtype))
    yield case("three pictures, four styles mixed", 3, 4, draw.pictures(3, 4).softmax(1))


@SHEET.exercise(
    "style.conditional_norm", "A scale and a shift for each style", points=3, minutes=8, difficulty=2,
    cases=conditional_cases,
    blocks=("torch.nn.functional.instance_norm", "torch.instance_norm", "torch.nn.InstanceNorm2d",
            "labkit.models.stylenet.ConditionalNorm"),
    mistakes=(
        ({"mix @ scales": "scales[mix.argmax(1)]", "mix @ shifts": "shifts[mix.argmax(1)]"},
            "You take the strongest style alone. The shares mix the scales: mix @ scales."),
        ("mix @ shifts", "shifts.mean(0).expand(len(mix), -1)",
            "The shift is the same for all styles. Mix it as you mix the scale."),
        ("scale[:, :, None, None]", "(1 + scale[:, :, None, None])",
            "You add 1 to the scale. The scales are given whole."),
        ("(x - x.mean((2, 3), keepdim=True))", "x", "The mean is still there. Subtract it first."),
        ("(variance + 1e-5).sqrt()", "(variance.sqrt() + 1e-5)",
            "You add 1e-5 to the root. Add it to the variance, then take the root."),
        ("mix @ scales", "mix @ scales / mix.sum() * len(mix) * scales.shape[0]",
            "The shares add up to 1 already. Do not multiply by the number of styles."),
    ),
)  # fmt: skip
def conditional_norm(x, scales, shifts, mix):
    """Instance norm whose scale and shift are mixed, for each picture, from those of all styles.

    x: (N, K, h, w); scales, shifts: (S, K), a row a style; mix: (N, S), each picture's share of
    each style. The variance is the mean square about the mean, plus 1e-5. Returns (N, K, h, w).
    """
    scale, shift = mix @ scales, mix @ shifts
    variance = x.var((2, 3), keepdim=True, correction=0)
    normed = (x - x.mean((2, 3), keepdim=True)) / (variance + 1e-5).sqrt()
    return normed * scale[:, :, None, None] + shift[:, :, None, None]


def walk_cases(draw: Draw):
    def case(name, steps, back=False):
        first, last = draw.index(3), 3 + draw.index(3)
        ends = (last, first) if back else (first, last)
        return Case(name, (*ends, 6 + draw.index(4), steps + draw.index(3)))

    yield case("from a style to a later one", 3)
    yield case("and back", 5, back=True)
    yield case("many steps", 9)


@SHEET.exercise(
    "style.walk", "A walk between two styles", points=2, minutes=6, difficulty=1, cases=walk_cases,
    mistakes=(
        ({"= 1 - along": "= along", "mix[:, last] = along": "mix[:, last] = 1 - along"},
            "The walk runs backwards. It begins with the first style and ends with the last."),
        ("torch.linspace(0, 1, steps)", "torch.linspace(0, 1, steps + 1)[:-1]",
            "The walk stops before its end. The last row is the last style alone."),
        ("mix[:, last] = along", "pass",
            "The last style never comes. What the first one loses, the last one gains."),
        ("mix[:, last] = along", "mix[:, last] = 1.0",
            "The shares of a row add up to more than 1. What one style gains the other loses."),
    ),
)  # fmt: skip
def walk(first, last, styles, steps):
    """Shares of styles along a straight walk from one style to another.

    first, last: numbers of two styles; styles: how many there are; steps: how many rows. Returns
    (steps, styles), floats; the first row is all of the first style, the last all of the last.
    """
    along = torch.linspace(0, 1, steps)
    mix = torch.zeros(steps, styles)
    mix[:, first] = 1 - along
    mix[:, last] = along
    return mix
