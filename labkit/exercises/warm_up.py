"""The exercises of the notebook 01_warm_up: from an update step to training, an input gradient, a hook."""

# ruff: noqa: B905  (the answers are written as students write them)

from __future__ import annotations

import torch
import torch.nn.functional as F

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


def loss_cases(draw: Draw):
    def case(name, n, classes, by):
        return Case(
            name, (draw.numbers(n, classes) * by, torch.tensor([draw.index(classes) for _ in range(n)]))
        )

    yield case("four pictures, three classes", 4, 3, 2)
    yield case("scores in the hundreds", 3, 4, 400)
    yield case("other scores", 5, 3, 3)


@SHEET.exercise(
    "warm_up.loss_and_gradient", "From scores to a loss", points=3, minutes=8, difficulty=2, cases=loss_cases,
    mistakes=(
        (") / len(scores)", ")",
            "The gradient is that of the sum. The loss is a mean: each picture's part is divided by N."),
        ("log_p.exp() - hit", "hit - log_p.exp()",
            "The gradient's sign is turned: a larger score of the right class makes the loss smaller."),
        ("log_p.exp() - hit", "log_p.exp()", "The gradient lacks the -1 at the right class."),
        ("log_p.exp() - hit", "-hit * log_p.exp()",
            "Only the right class gets a gradient. The softmax lets all other scores count, too."),
        ("-(log_p", "(log_p", "The loss is minus the log probability, so that it is never negative."),
        ("(log_p * hit).sum(1)", "log_p.amax(1)",
            "Your loss takes the likeliest class. It is the right class's probability that counts."),
        (".sum(1).mean()", ".sum()", "Your loss is a sum over the pictures. Take their mean."),
        (".sum(1).mean()", ".mean()",
            "Your loss is also divided by the number of classes. The mean is over pictures alone."),
        ("logsumexp(1", "logsumexp(0", "Your softmax runs over the pictures. It runs over the classes."),
        ("-(log_p * hit)", "-(log_p.exp() * hit)", "The logarithm is missing from the loss."),
    ),
)  # fmt: skip
def loss_and_gradient(scores, labels):
    """Mean cross entropy of the softmax of the scores, and its gradient by the scores.

    scores: (N, classes), also in the hundreds; labels: (N,), the right classes.
    Returns the loss, a tensor without axes, and the gradient (N, classes). No autograd is needed.
    """
    log_p = scores - scores.logsumexp(1, keepdim=True)
    hit = F.one_hot(labels, scores.shape[1])
    loss = -(log_p * hit).sum(1).mean()
    return loss, (log_p.exp() - hit) / len(scores)


def train_cases(draw: Draw):
    def case(name, count, probe=None):
        network, sizes = Recipe("labkit.calls.recipes:two_layers"), ((5, 12), (5,), (3, 5), (3,))
        parameters = [draw.numbers(*size) * 0.5 for size in sizes]
        batches = [
            (draw.pictures(4, 3, 2, 2), torch.tensor([draw.index(3) for _ in range(4)])) for _ in range(count)
        ]
        return Case(name, (network, parameters, batches, draw.number(0.2, 0.6)), probe=probe)

    yield case("one batch", 1)
    yield case("three batches", 3)
    yield case("the old parameters stay as they were", 2, "both")


@SHEET.exercise(
    "warm_up.train", "A network learns", points=3, minutes=10, difficulty=2, cases=train_cases,
    mistakes=(
        ({"parameters = sgd_step": "new = sgd_step", "return parameters": "return new"},
            "Each batch starts from the first parameters. The next one goes on from those just made."),
        ("parameters, gradients, learning_rate", "parameters, gradients, -learning_rate",
            "You walk uphill: the loss grows from step to step."),
        ("(scores, active, slope)", "(scores, active, torch.ones_like(scores))",
            "You differentiate the sum of the scores. Hand autograd the loss's gradient by the scores."),
        ("(scores, active, slope)", "(scores, active, -F.one_hot(labels, scores.shape[1]) / len(scores))",
            "You push the right class's score alone. The loss's gradient also has the other classes."),
        ("parameters, gradients, learning_rate", "parameters, gradients, learning_rate / len(images)",
            "You divide by the number of pictures twice: the loss is their mean already."),
        ("parameters, gradients, learning_rate", "parameters, gradients, learning_rate * len(images)",
            "Your steps are those of the summed loss, as many times too long as a batch has pictures."),
        ("losses.append(loss)",
         "losses.append(loss_and_gradient(network(parameters, images), labels)[0].detach())",
            "You note the loss after the step. Note the one that the step was made for."),
    ),
)  # fmt: skip
def train(network, parameters, batches, learning_rate):
    """Gradient descent on the cross entropy, one step for each batch.

    network: (parameters, images) -> scores (N, classes); parameters: list of tensors;
    batches: list of pairs (images, labels); learning_rate: above 0.
    Returns the new parameters, a list, and the loss before each step, (len(batches),), detached.
    """
    losses = []
    for images, labels in batches:
        active = [p.detach().clone().requires_grad_(True) for p in parameters]
        scores = network(active, images)
        loss, slope = loss_and_gradient(scores.detach(), labels)
        gradients = torch.autograd.grad(scores, active, slope)
        parameters = sgd_step(parameters, gradients, learning_rate)
        losses.append(loss)
    return parameters, torch.stack(losses)


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


def strongest_cases(draw: Draw):
    def case(name, layer, probe=None):
        model, pictures = draw.net("nested", channels=4, hidden=4), draw.numbers(8, 4, 6, 5)
        return Case(name, (model, layer, draw.index(4), pictures, draw.pick(2, 3, 4)), probe=probe)

    yield case("a convolution, of either sign", "features.0")
    yield case("its ReLU", "features.1")
    yield case("other pictures; the network must stay as it was", "features.0", "both")


@SHEET.exercise(
    "warm_up.strongest_pictures", "What a channel waits for", points=2, minutes=5, difficulty=1,
    cases=strongest_cases, compare="exact",
    mistakes=(
        (".amax((1, 2))", ".mean((1, 2))",
            "You take the mean over all places. A channel that is loud at one small place counts, too."),
        ("topk(count)", "topk(count, largest=False)", "These are the pictures in which it is weakest."),
        ("peaks.topk(count).indices", "peaks.argsort(descending=True).argsort()[:count]",
            "These are ranks of the first pictures. Give the numbers of the pictures that come first."),
        ("[:, channel].amax((1, 2))", ".amax((1, 2, 3))",
            "You look at all channels. Take the one that was asked for."),
        (".amax((1, 2))", ".abs().amax((1, 2))",
            "You take sizes without their sign: far below zero is not loud."),
        (".amax((1, 2))", "[:, 0, 0]", "You look at one corner. Take the largest value of all places."),
    ),
)  # fmt: skip
def strongest_pictures(model, layer, channel, images, count):
    """The pictures in which one channel of a layer reaches its largest values.

    model, layer, images: as for record_activation; channel: its index; count: how many pictures.
    Returns (count,), indices into images; the picture with the largest value comes first.
    """
    peaks = record_activation(model, layer, images)[:, channel].amax((1, 2))
    return peaks.topk(count).indices
