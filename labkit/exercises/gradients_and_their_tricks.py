"""The exercises of the notebook 22 that walk back: a ReLU's rule, all the layers, where the walk begins."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("22_gradients_and_their_tricks")
POSITIVE = "gradient.clamp(min=0)"
PLAIN, DECONVNET, GUIDED = "gradient * (x > 0)", POSITIVE + "\n", POSITIVE + " * (x > 0)"


def relu_cases(draw: Draw):
    for rule in ("gradient", "deconvnet", "guided"):
        x = draw.numbers(2, 3, 5, 4)
        yield Case(rule, (x * (x.abs() > 0.3), draw.numbers(2, 3, 5, 4), rule))  # a fifth exactly 0


@SHEET.exercise(
    "attribution.relu_backward", "Three rules for one ReLU", points=3, minutes=8, difficulty=1,
    cases=relu_cases, blocks=("labkit.attribution.guided_backprop", "labkit.attribution.deconvnet"),
    mistakes=(
        (PLAIN, "gradient",
            "The plain gradient stops where the ReLU was off: multiply it by (x > 0)."),
        (DECONVNET, GUIDED + "\n",
            "The deconvnet does not look at x at all: it only drops what is negative in the gradient."),
        (GUIDED, "gradient.clamp(min=0)",
            "Guided backpropagation needs both: a positive gradient and a unit that was active (x > 0)."),
        (GUIDED, PLAIN,
            "Guided backpropagation also drops negative gradients; yours is the plain gradient."),
        ({DECONVNET: "gradient.abs()\n", GUIDED: "gradient.abs() * (x > 0)"},
            "A negative gradient is dropped, that is set to 0; abs would turn it into a positive one."),
        ({PLAIN: "x.clamp(min=0)", DECONVNET: "x.clamp(min=0)\n", GUIDED: "x.clamp(min=0)"},
            "You return the ReLU's output. What is asked for is what it passes back of the gradient."),
        ({PLAIN: "gradient * (x >= 0)", GUIDED: "gradient.clamp(min=0) * (x >= 0)"},
            "At exactly 0 the ReLU is off: x > 0, not >=."),
        ({PLAIN: "gradient * x.clamp(min=0)", GUIDED: "gradient.clamp(min=0) * x.clamp(min=0)"},
            "You multiply by the ReLU's output. [x > 0] is only whether it was on, 1 or 0."),
        ({PLAIN: "gradient * x", GUIDED: "gradient.clamp(min=0) * x"},
            "You multiply by x itself. [x > 0] is only whether x is positive, 1 or 0."),
        ({PLAIN: "gradient * x", DECONVNET: POSITIVE + " * x\n", GUIDED: POSITIVE + " * x"},
            "You multiply by x in all three rules. In two of them x says whether the ReLU was on: x > 0."),
        ({PLAIN: PLAIN + " * x", DECONVNET: POSITIVE + " * x\n", GUIDED: GUIDED + " * x"},
            "You multiply by x on top of each rule: gradient times input. A ReLU's slope is 1 or 0."),
        ({PLAIN: "gradient * (gradient > 0)", GUIDED: "gradient.clamp(min=0) * (gradient > 0)"},
            "You look at the gradient twice. Whether the ReLU was on is to be seen at x."),
        ('"deconvnet"', '"guided"',
            "The deconvnet and guided backpropagation are exchanged: guided looks at x too."),
        ({PLAIN: "gradient.relu()", DECONVNET: PLAIN + "\n"},
            "The plain gradient and the deconvnet are exchanged: the plain one looks at x."),
        ({PLAIN: "(x > 0).to(gradient)", DECONVNET: "(gradient > 0).to(gradient)\n",
          GUIDED: "((x > 0) & (gradient > 0)).to(gradient)"},
            "You return whether something passes. Multiply the gradient by it."),
    ),
)  # fmt: skip
def relu_backward(x, gradient, rule):
    """What a ReLU passes back under one of the three rules.

    x: what entered the ReLU, any shape; gradient: what arrives from above, of the same shape;
    rule: "gradient", "deconvnet" or "guided". Returns that shape; off is where x is 0 or less.
    """
    if rule == "gradient":
        return gradient * (x > 0)
    if rule == "deconvnet":
        return gradient.clamp(min=0)
    return gradient.clamp(min=0) * (x > 0)


def walk_cases(draw: Draw):
    for name, net, *size in (("two ReLUs and a pooling", "deeper", 8, 6), ("one ReLU", "bends", 6, 5)):
        images = draw.pictures(2, 3, *size)
        yield Case(name, (draw.net(net), images, draw.numbers(2, 3), draw.net("passing")))


def _rule_at_the_end(layers, images, gradient, passes):
    x = images.clone().requires_grad_(True)
    return passes(images, torch.autograd.grad(layers(x), x, gradient)[0])


ASK = "torch.autograd.grad(layer(x), x, gradient)[0]"


@SHEET.exercise(
    "attribution.walk_back", "All the way back", points=4, minutes=14, difficulty=3, cases=walk_cases,
    blocks=("labkit.attribution.guided_backprop", "labkit.attribution.deconvnet"),
    mistakes=(
        ("passes(x, gradient)", "gradient * (x > 0)",
            "Your ReLUs pass back what calculus says. Ask passes what they pass."),
        ("passes(x, gradient)", "passes(x, gradient * (x > 0))",
            "Calculus comes first and then passes. At a ReLU passes takes its place."),
        ("passes(x, gradient)", "passes(gradient, x)",
            "The two are exchanged: passes takes what entered the ReLU first, then the gradient."),
        ("passes(x, gradient)", "passes(layer(x), gradient)",
            "You hand over what left the ReLU. Hand over what entered it."),
        ("passes(x, gradient)", "gradient",
            "Your ReLUs let everything through. Ask passes what they pass."),
        (ASK, f"passes(x.detach(), {ASK})",
            "The rule is for ReLUs alone. Every other layer passes back its own gradient."),
        (ASK, "torch.autograd.grad(layer(x).sum(), x)[0]",
            "What arrives from above is lost at layers that are no ReLU: give it to autograd.grad."),
        (_rule_at_the_end, "You use the rule once, at the picture. Use it at each ReLU on the way back."),
        ("    return gradient", "    return gradient.abs()", "Keep the signs: leave out the abs at the end."),
        ("    return gradient", "    return gradient * images",
            "You multiply by the picture. Return what arrives there, as it is."),
        ("steps = []", "steps, gradient = [], torch.ones_like(gradient)",
            "You begin with ones. The walk begins with the gradient that is given."),
    ),
)  # fmt: skip
def walk_back(layers, images, gradient, passes):
    """What arrives at the pictures when a gradient walks back through the layers, signed.

    layers: an nn.Sequential; they run one after the other; images: (N, 3, H, W);
    gradient: where the walk begins, of the shape of the last layer's output;
    passes: (what entered a ReLU, gradient from above) -> what it passes back. Returns (N, 3, H, W).
    """
    steps = []
    x = images
    for layer in layers:
        steps.append((layer, x.detach()))
        x = layer(x)
    for layer, x in reversed(steps):
        if isinstance(layer, torch.nn.ReLU):
            gradient = passes(x, gradient)
        else:
            x.requires_grad_(True)
            gradient = torch.autograd.grad(layer(x), x, gradient)[0]
    return gradient


def unit_cases(draw: Draw):
    for name, size in (("three pictures", (3, 4, 6, 5)), ("square", (2, 3, 4, 4))):
        answers = draw.numbers(*size)
        channel = draw.index(size[1])
        answers[:, channel, 0, 0] = -4 - draw.numbers(size[0]).abs()  # the largest size is no peak
        yield Case(name, (answers, channel))


@SHEET.exercise(
    "attribution.ask_unit", "What is asked: one unit", points=2, minutes=6, difficulty=1, cases=unit_cases,
    mistakes=(
        ("answers[:, channel]", "answers.amax(1)",
            "You look for the peak among all channels. It is that of the one channel."),
        ("found.argmax()", "answers[:, channel].mean(0).argmax()",
            "You take one place for all pictures. Each picture has its own peak."),
        ("found.argmax()", "found.abs().argmax()",
            "You take the largest size. The peak is the largest value: no abs."),
        ("column] = 1", "column] = found[row, column]",
            "You begin with the answer itself. The walk begins with 1."),
        ("[n, channel, row, column]", "[n, channel]",
            "You ask for the whole channel. One place is asked: where it answers most."),
        ("[n, channel, row, column]", "[n, :, row, column]",
            "You ask for all channels at this place. Ask for the one."),
        ("[n, channel, row, column]", "[:, channel, row, column]",
            "Each picture's peak is marked in all pictures. Mark it in its own."),
        ("zeros_like", "ones_like", "Everything begins with 1 here. All but the one unit begins with 0."),
    ),
)  # fmt: skip
def ask_unit(answers, channel):
    """Where the walk begins: 1 at the place where the channel answers most, 0 everywhere else.

    answers: (N, K, h, w), a layer's output; channel: its number. Returns (N, K, h, w) with one 1
    for each picture.
    """
    begin = torch.zeros_like(answers)
    for n, found in enumerate(answers[:, channel]):
        row, column = divmod(int(found.argmax()), found.shape[1])
        begin[n, channel, row, column] = 1
    return begin
