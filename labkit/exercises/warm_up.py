"""The exercises of the notebook 01_warm_up: an update step, an input gradient, a hook."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.calls.exercise import Case, Exercise, Misconception, Recipe

NOTEBOOK = "01_warm_up"
NETS = "labkit.calls.recipes:"


def _numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _pictures(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- sgd_step


def sgd_step(parameters: list[Tensor], gradients: list[Tensor], learning_rate: float) -> list[Tensor]:
    return [p - learning_rate * g for p, g in zip(parameters, gradients, strict=True)]


def _ascent(parameters, gradients, learning_rate):
    return [p + learning_rate * g for p, g in zip(parameters, gradients, strict=True)]


def _no_rate(parameters, gradients, learning_rate):
    return [p - g for p, g in zip(parameters, gradients, strict=True)]


def _step_only(parameters, gradients, learning_rate):
    return [-learning_rate * g for _, g in zip(parameters, gradients, strict=True)]


def _sign_step(parameters, gradients, learning_rate):
    return [p - learning_rate * g.sign() for p, g in zip(parameters, gradients, strict=True)]


def _step_case(name: str, seed: int, rate: float, probe: str | None = None) -> Case:
    shapes = ((3, 4), (3,))
    values = [_numbers(seed + k, *shape) for k, shape in enumerate(shapes)]
    slopes = [_numbers(seed + 10 + k, *shape) for k, shape in enumerate(shapes)]
    return Case(name, (values, slopes, rate), probe=probe)


SGD_STEP = Exercise(
    id="warm_up.sgd_step",
    title="One step downhill",
    points=2,
    minutes=4,
    difficulty=1,
    signature="sgd_step(parameters, gradients, learning_rate)",
    reference=sgd_step,
    public=lambda: [
        _step_case("a weight matrix and a bias", 1, 0.1),
        _step_case("another learning rate", 2, 0.03),
        _step_case("the old parameters stay as they were", 3, 0.5, "both"),
    ],
    hidden=lambda seed: [
        _step_case("other numbers", seed % 10007 + 50, 0.2),
        _step_case("a small rate", seed % 9973 + 70, 0.007),
    ],
    misconceptions=(
        Misconception(
            "ascent", _ascent, "You walk uphill: the gradient points where the loss grows. Subtract it."
        ),
        Misconception("no_rate", _no_rate, "The learning rate is missing: it scales the step."),
        Misconception(
            "step_only",
            _step_only,
            "You return the step alone. The new parameter is the old one plus the step.",
        ),
        Misconception(
            "sign_step",
            _sign_step,
            "You use only the gradient's sign. In plain gradient descent a steep slope makes a long step.",
        ),
    ),
)


# ---- input_gradient


def _gradient_of(score, images):
    return torch.autograd.grad(score, images)[0].detach()


def _leaf(images: Tensor) -> Tensor:
    return images.detach().clone().requires_grad_(True)


def input_gradient(model: nn.Module, images: Tensor, target: int) -> Tensor:
    x = _leaf(images)
    return _gradient_of(model(x)[:, target].sum(), x)


def _probability(model, images, target):
    x = _leaf(images)
    return _gradient_of(model(x).softmax(1)[:, target].sum(), x)


def _of_the_loss(model, images, target):
    x = _leaf(images)
    labels = torch.full((len(x),), target)
    return _gradient_of(F.cross_entropy(model(x), labels, reduction="sum"), x)


def _absolute(model, images, target):
    return input_gradient(model, images, target).abs()


def _batch_mean(model, images, target):
    x = _leaf(images)
    return _gradient_of(model(x)[:, target].mean(), x)


def _all_classes(model, images, target):
    x = _leaf(images)
    return _gradient_of(model(x).sum(), x)


def _gradient_case(name: str, seed: int, count: int, target: int, probe: str | None = None) -> Case:
    net = Recipe(NETS + "bends", {"seed": seed})
    return Case(name, (net, _pictures(seed + 1, count, 3, 6, 5), target), probe=probe)


INPUT_GRADIENT = Exercise(
    id="warm_up.input_gradient",
    title="The gradient that reaches the picture",
    points=3,
    minutes=6,
    difficulty=1,
    signature="input_gradient(model, images, target)",
    reference=input_gradient,
    public=lambda: [
        Case(
            "a linear network, whose gradient is its weights",
            (Recipe(NETS + "linear", {"seed": 4}), _pictures(5, 1, 3, 4, 4), 1),
        ),
        _gradient_case("two pictures at once", 6, 2, 2),
        _gradient_case("other pictures; the network must stay as it was", 8, 2, 0, "both"),
    ],
    hidden=lambda seed: [
        _gradient_case("another network", seed % 10007 + 60, 3, seed % 3),
        _gradient_case("another class", seed % 9973 + 80, 2, (seed + 1) % 3),
    ],
    misconceptions=(
        Misconception(
            "probability",
            _probability,
            "You differentiate the probability. Take the score before the softmax (the logit) instead.",
        ),
        Misconception(
            "loss",
            _of_the_loss,
            "You differentiate the loss, as in training. Here the class's score itself is asked for.",
        ),
        Misconception(
            "absolute", _absolute, "Keep the sign: it tells whether more light raises or lowers the score."
        ),
        Misconception(
            "batch_mean",
            _batch_mean,
            "Averaging the scores over the batch divides every gradient by the number of pictures. Sum them.",
        ),
        Misconception(
            "all_classes", _all_classes, "You sum the scores of all classes. Pick the target's column first."
        ),
    ),
)


# ---- record_activation


def record_activation(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    kept = []
    handle = dict(model.named_modules())[layer].register_forward_hook(
        lambda module, inputs, output: kept.append(output.detach().clone())
    )
    try:
        with torch.no_grad():
            model(images)
    finally:
        handle.remove()
    return kept[0]


def _hooked(model, layer, images, keep):
    kept = []
    handle = dict(model.named_modules())[layer].register_forward_hook(lambda m, i, o: kept.append(keep(i, o)))
    try:
        with torch.no_grad():
            model(images)
    finally:
        handle.remove()
    return kept[0]


def _layer_input(model, layer, images):
    return _hooked(model, layer, images, lambda inputs, output: inputs[0].detach().clone())


def _overwritten(model, layer, images):
    return _hooked(model, layer, images, lambda inputs, output: output.detach())


def _first_only(model, layer, images):
    kept = record_activation(model, layer, images)
    return kept[:1].expand_as(kept).clone()


def _averaged(model, layer, images):
    kept = record_activation(model, layer, images)
    return kept.mean(0, keepdim=True).expand_as(kept).clone()


def _record_case(name: str, seed: int, layer: str, inplace: bool, probe: str | None = None) -> Case:
    net = Recipe(NETS + "bends", {"seed": seed, "inplace": inplace, "channels": 4})
    return Case(name, (net, layer, _pictures(seed + 1, 3, 4, 6, 5)), probe=probe)


RECORD_ACTIVATION = Exercise(
    id="warm_up.record_activation",
    title="Listening in with a hook",
    points=3,
    minutes=8,
    difficulty=2,
    signature="record_activation(model, layer, images)",
    reference=record_activation,
    public=lambda: [
        _record_case("a convolution", 11, "0", False),
        _record_case("a convolution before an in-place ReLU", 12, "0", True),
        _record_case("the hook is gone afterwards", 13, "1", False, "both"),
    ],
    hidden=lambda seed: [
        _record_case("another layer", seed % 10007 + 30, "1", False),
        _record_case("in place again", seed % 9973 + 40, "0", True),
    ],
    misconceptions=(
        Misconception(
            "layer_input",
            _layer_input,
            "That is what enters the layer. The hook's third argument is what leaves it.",
        ),
        Misconception(
            "overwritten",
            _overwritten,
            "The next layer is an in-place ReLU and has overwritten the tensor you kept. "
            "Store output.clone().",
        ),
        Misconception(
            "first_only", _first_only, "Every picture gets the first one's activation; keep the whole batch."
        ),
        Misconception("averaged", _averaged, "You average over the batch; keep one activation a picture."),
    ),
)

EXERCISES = (SGD_STEP, INPUT_GRADIENT, RECORD_ACTIVATION)
