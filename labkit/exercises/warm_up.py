"""The exercises of the notebook 01_warm_up: an update step, an input gradient, a hook."""

# ruff: noqa: B905  (the answers are written as students write them)

from __future__ import annotations

import torch

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("01_warm_up")


def step_cases(draw: Draw):
    for name, probe in (("a matrix and a bias", None), ("the old parameters stay as they were", "both")):
        old, slopes = ([draw.numbers(3, 4), draw.numbers(3)] for _ in range(2))
        yield Case(name, (old, slopes, draw.number(0.02, 0.5)), probe=probe)


@SHEET.exercise(
    "warm_up.sgd_step", "One step downhill", points=2, minutes=4, difficulty=1, cases=step_cases,
    mistakes=(
        ("p - ", "p + ", "You walk uphill: the gradient points where the loss grows. Subtract it."),
        ("learning_rate * ", "", "The learning rate is missing: it scales the step."),
        ("p - ", "-", "You return the step alone. The new parameter is the old one plus the step."),
        ("rate * g", "rate * g.sign()",
            "You use only the gradient's sign. In plain gradient descent a steep slope makes a long step."),
        ("rate * g", "rate * g / g.norm()",
            "You divide by the gradient's length. In plain gradient descent a steep slope makes "
            "a long step."),
        ("rate * g", "rate * p", "You take a share of the parameter away. The step is along the gradient."),
        ("* g", "/ g", "You divide by the gradient. The step is the learning rate times the gradient."),
    ),
)  # fmt: skip
def sgd_step(parameters, gradients, learning_rate):
    """One step of gradient descent.

    parameters, gradients: lists of tensors, shape by shape the same; learning_rate: above 0.
    Returns a list of new tensors. The loss falls, so the step goes against the gradient.
    """
    return [p - learning_rate * g for p, g in zip(parameters, gradients)]


def gradient_cases(draw: Draw):
    def case(name, net, height, width, probe=None):
        return Case(name, (draw.net(net), draw.pictures(2, 3, height, width), draw.index(3)), probe=probe)

    yield case("a linear network, whose gradient is its weights", "linear", 4, 4)
    yield case("a network with a ReLU", "bends", 6, 5)
    yield case("other pictures; the network must stay as it was", "bends", 5, 6, "both")


LOSS = "You differentiate the loss, as in training. Here the class's score itself is asked for."
CROSS_ENTROPY = "torch.nn.functional.cross_entropy(model(x), torch.full((len(x),), target))"


@SHEET.exercise(
    "warm_up.input_gradient", "The gradient that reaches the picture", points=3, minutes=6, difficulty=1,
    cases=gradient_cases,
    mistakes=(
        ("(x)[:, target]", "(x).softmax(1)[:, target]",
            "You differentiate the probability. Take the score before the softmax (the logit) instead."),
        ("(x)[:, target]", "(x).log_softmax(1)[:, target]",
            "You differentiate the log probability. Take the score before the softmax (the logit) instead."),
        ("model(x)[:, target].sum()", CROSS_ENTROPY, LOSS),
        ("model(x)[:, target].sum()", CROSS_ENTROPY + " * len(x)", LOSS),
        ("x)[0]", "x)[0].abs()", "Keep the sign: it tells whether more light raises or lowers the score."),
        ("[:, target].sum()", "[:, target].mean()",
            "Averaging the scores over the batch divides every gradient by the number of "
            "pictures. Sum them."),
        ("[:, target].sum()", ".sum()",
            "You sum the scores of all classes. Pick the target's column first."),
        ("[:, target].sum()", ".amax(1).sum()",
            "You follow the likeliest class of each picture. The class is given: take the target's column."),
        ("[:, target].sum()", "[0, target]",
            "You ask for the first picture's score only. Add up the target's scores of all pictures."),
        ("x)[0]", "x)[0] * images",
            "You multiply by the picture. What is asked for is the slope alone."),
    ),
)  # fmt: skip
def input_gradient(model, images, target):
    """Slope of the target's score (before the softmax) at every pixel and colour, with its sign.

    model: pictures (N, 3, H, W) -> scores (N, classes); images: (N, 3, H, W); target: class index.
    Returns (N, 3, H, W), each picture's own gradient, detached. The model is left as it was.
    """
    x = images.detach().clone().requires_grad_(True)
    score = model(x)[:, target].sum()
    return torch.autograd.grad(score, x)[0]


def record_cases(draw: Draw):
    def case(name, layer, probe=None, **net):
        model, pictures = draw.net("nested", channels=4, **net), draw.pictures(3, 4, 6, 5)
        return Case(name, (model, layer, pictures), probe=probe, fails="stumbles" in net)

    yield case("a convolution in a block", "features.0")
    yield case("a convolution before an in-place ReLU", "features.0", inplace=True)
    yield case("its ReLU; the hook is gone afterwards", "features.1", "both")
    yield case("the hook is gone when the network fails, too", "features.0", "both", stumbles=True)
    model, pictures = draw.net("nested"), draw.pictures(2, 3, 5, 4)
    asking = Recipe("labkit.calls.recipes:learned", {"values": pictures})
    yield Case("the result is detached", (model, "features.1", asking))


@SHEET.exercise(
    "warm_up.record_activation", "Listening in with a hook", points=3, minutes=8, difficulty=2,
    cases=record_cases,
    mistakes=(
        ("output.detach()", "inputs[0].detach()",
            "That is what enters the layer. The hook's third argument is what leaves it."),
        (".clone()", "",
            "The next layer is an in-place ReLU and has overwritten the tensor you kept. "
            "Store output.clone()."),
        ("kept[0]", "kept[0][:1].expand_as(kept[0]).clone()",
            "Every picture gets the first one's activation; keep the whole batch."),
        ("kept[0]", "kept[0].mean(0, keepdim=True).expand_as(kept[0]).clone()",
            "You average over the batch; keep an activation for each picture."),
        ({".detach()": "", "    with torch.no_grad():\n            model(images)": "    model(images)"},
            "What you return still holds the network's whole computation behind it. Detach it."),
    ),
)  # fmt: skip
def record_activation(model, layer, images):
    """What one layer gives for these pictures.

    model: takes pictures (N, 3, H, W); images: such pictures;
    layer: dotted name, as in model.named_modules(), for example "features.0".
    Returns the layer's output, for example (N, channels, h, w), detached. No hook is left on the
    model, also if it fails.
    """
    kept = []

    def keep(module, inputs, output):
        kept.append(output.detach().clone())

    handle = dict(model.named_modules())[layer].register_forward_hook(keep)
    try:
        with torch.no_grad():
            model(images)
    finally:
        handle.remove()
    return kept[0]
