"""The exercises of the notebook 22: the rule at a ReLU, SmoothGrad, integrated gradients, an input shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.calls.exercise import Case, Exercise, Misconception, Recipe

NOTEBOOK = "22_gradients_and_their_tricks"
NETS = "labkit.calls.recipes:"


def _pictures(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _slope(model: nn.Module, x: Tensor, target: int, score=lambda out: out) -> Tensor:
    x = x.detach().clone().requires_grad_(True)
    return torch.autograd.grad(score(model(x))[:, target].sum(), x)[0]


# ---- the rule at a ReLU


def relu_backward(x: Tensor, gradient: Tensor, rule: str) -> Tensor:
    active, positive = (x > 0).to(gradient), gradient.clamp(min=0)
    return {"gradient": gradient * active, "deconvnet": positive, "guided": positive * active}[rule]


def _rules(plain, deconvnet, guided):
    """A function that does these three things."""

    def wrong(x: Tensor, gradient: Tensor, rule: str) -> Tensor:
        return {"gradient": plain, "deconvnet": deconvnet, "guided": guided}[rule](x, gradient)

    return wrong


def _g(x, g):
    return relu_backward(x, g, "gradient")


def _d(x, g):
    return relu_backward(x, g, "deconvnet")


def _b(x, g):
    return relu_backward(x, g, "guided")


def _relu_case(name: str, seed: int, rule: str) -> Case:
    x = _numbers(seed, 2, 3, 5, 4)
    return Case(name, (x * (x.abs() > 0.3), _numbers(seed + 1, 2, 3, 5, 4), rule))  # a fifth exactly 0


RELU_BACKWARD = Exercise(
    id="attribution.relu_backward",
    title="Three rules for one ReLU",
    points=3,
    minutes=8,
    difficulty=1,
    signature="relu_backward(x, gradient, rule)",
    reference=relu_backward,
    public=lambda: [
        _relu_case(rule, 10 + 2 * i, rule) for i, rule in enumerate(("gradient", "deconvnet", "guided"))
    ],
    hidden=lambda seed: [
        _relu_case(f"{rule}, other numbers", seed % 10007 + 50 * i, rule)
        for i, rule in enumerate(("gradient", "deconvnet", "guided"))
    ],
    misconceptions=(
        Misconception(
            "gradient_not_masked",
            _rules(lambda x, g: g, _d, _b),
            "The plain gradient stops where the ReLU was off: multiply it by (x > 0).",
        ),
        Misconception(
            "deconvnet_masked",
            _rules(_g, _b, _b),
            "The deconvnet does not look at x at all: it only drops what is negative in the gradient.",
        ),
        Misconception(
            "guided_ignores_x",
            _rules(_g, _d, _d),
            "Guided backpropagation needs both: a positive gradient and a unit that was active (x > 0).",
        ),
        Misconception(
            "guided_keeps_negative",
            _rules(_g, _d, _g),
            "Guided backpropagation also drops negative gradients; yours is the plain gradient.",
        ),
        Misconception(
            "absolute",
            _rules(_g, lambda x, g: g.abs(), lambda x, g: g.abs() * (x > 0)),
            "A negative gradient is dropped, that is set to 0; abs would turn it into a positive one.",
        ),
        Misconception(
            "of_the_input",
            _rules(lambda x, g: x.clamp(min=0), lambda x, g: x.clamp(min=0), lambda x, g: x.clamp(min=0)),
            "You return the ReLU's output. What is asked for is what it passes back of the gradient.",
        ),
        Misconception(
            "on_at_zero",
            _rules(lambda x, g: g * (x >= 0), _d, lambda x, g: _d(x, g) * (x >= 0)),
            "At exactly 0 the ReLU is off: x > 0, not >=.",
        ),
        Misconception(
            "by_value",
            _rules(lambda x, g: g * x.clamp(min=0), _d, lambda x, g: _d(x, g) * x.clamp(min=0)),
            "You multiply by the ReLU's output. [x > 0] is only whether it was on, 1 or 0.",
        ),
        Misconception(
            "exchanged",
            _rules(_g, _b, _d),
            "The deconvnet and guided backpropagation are exchanged: guided looks at x too.",
        ),
        Misconception(
            "plain_exchanged",
            _rules(_d, _g, _b),
            "The plain gradient and the deconvnet are exchanged: the plain one looks at x.",
        ),
        Misconception(
            "only_whether",
            _rules(
                lambda x, g: (x > 0).to(g), lambda x, g: (g > 0).to(g), lambda x, g: ((x > 0) & (g > 0)).to(g)
            ),
            "You return whether something passes. Multiply the gradient by it.",
        ),
    ),
    blocks=("labkit.attribution.guided_backprop", "labkit.attribution.deconvnet"),
)


# ---- SmoothGrad


def smooth_grad(model: nn.Module, images: Tensor, target: int, noise: Tensor) -> Tensor:
    return torch.stack([_slope(model, images + one, target) for one in noise]).mean(0)


def _sg(gradient):
    """The mean of something else over the draws."""

    def wrong(model, images, target, noise):
        return torch.stack([gradient(model, images, target, one) for one in noise]).mean(0)

    return wrong


def _sg_of(score):
    return _sg(lambda model, x, target, one: _slope(model, x + one, target, score))


def _first_of(out: Tensor) -> Tensor:
    return out * (torch.arange(len(out)) == 0)[:, None]


def _sg_case(name: str, seed: int, probe: str | None = None) -> Case:
    noise = 0.4 * _numbers(seed + 2, 5, 2, 3, 8, 6)
    return Case(
        name,
        (Recipe(NETS + "deeper", {"seed": seed}), _pictures(seed + 1, 2, 3, 8, 6), 1, noise),
        probe=probe,
    )


SMOOTH_GRAD = Exercise(
    id="attribution.smooth_grad",
    title="SmoothGrad: ask the neighbours",
    points=3,
    minutes=8,
    difficulty=1,
    signature="smooth_grad(model, images, target, noise)",
    reference=smooth_grad,
    public=lambda: [
        _sg_case("five draws of noise", 20),
        _sg_case("other pictures; the network must stay as it was", 24, "both"),
    ],
    hidden=lambda seed: [
        _sg_case("another network", seed % 10007 + 100),
        _sg_case("and one more", seed % 9973 + 200),
    ],
    misconceptions=(
        Misconception(
            "absolute",
            _sg(lambda model, x, t, one: _slope(model, x + one, t).abs()),
            "You take sizes before you average. Keep the signs: that they cancel is the point.",
        ),
        Misconception(
            "sum",
            lambda model, x, t, noise: smooth_grad(model, x, t, noise) * len(noise),
            "Divide by the number of draws: what is asked for is the mean.",
        ),
        Misconception(
            "mean_first",
            lambda model, x, t, noise: _slope(model, x + noise.mean(0), t),
            "You average the noise first. Take a gradient for every draw, then the mean.",
        ),
        Misconception(
            "clamped",
            _sg(lambda model, x, t, one: _slope(model, (x + one).clamp(0, 1), t)),
            "Leave the noisy pictures as they are: clamping flattens the noise at the ends.",
        ),
        Misconception(
            "probability",
            _sg_of(lambda out: out.softmax(1)),
            "Take the gradient of the score before the softmax.",
        ),
        Misconception(
            "absolute_at_the_end",
            lambda *args: smooth_grad(*args).abs(),
            "The mean keeps its signs here: leave out the abs at the end.",
        ),
        Misconception(
            "mean_score",
            _sg_of(lambda out: out / len(out)),
            "A mean over the batch divides each picture's gradient by the number of pictures. Take the sum.",
        ),
        Misconception(
            "all_classes",
            _sg_of(lambda out: out.sum(1, keepdim=True).expand_as(out)),
            "You add the scores of all classes up. Take the target's column.",
        ),
        Misconception(
            "leading_class",
            _sg_of(lambda out: out.amax(1, keepdim=True).expand_as(out)),
            "You follow whichever class leads. The target is given.",
        ),
        Misconception(
            "first_picture",
            _sg_of(_first_of),
            "You ask for the first picture's score only. Each picture has its own: add them up.",
        ),
        Misconception(
            "log_probability",
            _sg_of(lambda out: out.log_softmax(1)),
            "You take the gradient of the log probability. Take that of the score.",
        ),
        Misconception(
            "no_picture",
            _sg(lambda model, x, t, one: _slope(model, one, t)),
            "The noise alone is shown. Add it to the picture.",
        ),
        Misconception(
            "no_noise",
            _sg(lambda model, x, t, one: _slope(model, x, t)),
            "The noise is not used: every draw shows the same picture.",
        ),
        Misconception(
            "last_draw",
            lambda model, x, t, noise: _slope(model, x + noise[-1], t),
            "You return the last draw's gradient. Collect them all, then take the mean.",
        ),
        Misconception(
            "on_gradient",
            _sg(lambda model, x, t, one: _slope(model, x, t) + one),
            "The noise goes onto the picture, before the gradient is taken.",
        ),
    ),
    blocks=("labkit.attribution.smooth_grad",),
)


# ---- integrated gradients


def integrated_gradients(
    model: nn.Module, images: Tensor, baseline: Tensor, target: int, steps: int
) -> Tensor:
    total = torch.zeros_like(images)
    for k in range(steps):
        total += _slope(model, baseline + (k + 0.5) / steps * (images - baseline), target)
    return (images - baseline) * total / steps


def _between(images: Tensor, baseline: Tensor, share: float) -> Tensor:
    return baseline + share * (images - baseline)


def _way(images: Tensor, baseline: Tensor) -> Tensor:
    return images - baseline


def _ig(places, *, point=_between, factor=_way, mean=True, score=lambda out: out):
    """Integrated gradients with one thing done another way."""

    def wrong(model, images, baseline, target, steps):
        shares = places(steps)
        slopes = [_slope(model, point(images, baseline, share), target, score) for share in shares]
        return sum(slopes) / (len(shares) if mean else 1) * factor(images, baseline)

    return wrong


def _middles(steps: int) -> list[float]:
    return [(k + 0.5) / steps for k in range(steps)]


def _ig_case(name: str, seed: int, steps: int) -> Case:
    model = Recipe(NETS + "deeper", {"seed": seed})
    return Case(
        name, (model, _pictures(seed + 1, 2, 3, 8, 6), 0.4 * _pictures(seed + 2, 2, 3, 8, 6), 2, steps)
    )


PATH_MISTAKES = (
    Misconception("no_factor", _ig(_middles, factor=lambda x, b: 1),
        "The factor (images - baseline) is missing: a slope is no share."),
    Misconception("from_black", _ig(_middles, point=lambda x, b, s: s * x),
        "Your way begins at black. It begins at the baseline."),
    Misconception("sum", _ig(_middles, mean=False),
        "Divide by the number of steps: an integral is a mean here."),
    Misconception("turned", _ig(_middles, factor=lambda x, b: b - x),
        "The factor is images - baseline, not baseline - images."),
    Misconception("ends", _ig(lambda steps: [(k + 1) / steps for k in range(steps)]),
        "You ask at the end of each step. Ask in its middle, (k + 1/2) / steps: that is far more exact."),
    Misconception("begins", _ig(lambda steps: [k / steps for k in range(steps)]),
        "You ask at the beginning of each step. Ask in its middle, at (k + 1/2) / steps."),
    Misconception("probability", _ig(_middles, score=lambda out: out.softmax(1)),
        "Integrate the score's gradient: the score before the softmax, not the probability."),
    Misconception("times_picture", _ig(_middles, factor=lambda x, b: x),
        "You multiply by the picture. The way begins at the baseline: images - baseline."),
    Misconception("too_far", _ig(_middles, point=lambda x, b, s: b + s * x),
        "Your way ends at baseline + images. From the baseline it goes by images - baseline."),
    Misconception("no_start", _ig(_middles, point=lambda x, b, s: s * (x - b)),
        "The baseline is missing in front: the point is baseline plus a share of the way."),
    Misconception("no_parentheses", _ig(lambda steps: [k + 0.5 / steps for k in range(steps)]),
        "Set parentheses around k + 0.5, or only the half is divided by steps."),
    Misconception("counts_from_one", _ig(lambda steps: [(k + 1.5) / steps for k in range(steps)]),
        "Your k begins with 1, so the last point lies beyond the picture. It begins with 0."),
    Misconception("both_ends", _ig(lambda steps: torch.linspace(0, 1, steps).tolist()),
        "Your first and last points are the ends of the way. Ask in the middle of each step."),
    Misconception("both_ends_and_more", _ig(lambda steps: torch.linspace(0, 1, steps + 1).tolist()),
        "These are steps + 1 points, both ends among them. Ask once a step, in its middle."),
    Misconception("no_baseline", _ig(_middles, point=lambda x, b, s: s * x, factor=lambda x, b: x),
        "The baseline is not used: the way begins there, and its length is images - baseline."),
    Misconception("one_slope", _ig(lambda steps: [1.0]),
        "You take the slope at the picture alone. Average it over the whole way."),
    Misconception("mean_score", _ig(_middles, score=lambda out: out / len(out)),
        "The mean of the scores divides each gradient by the number of pictures. Take their sum."),
    Misconception("absolute", lambda *args: integrated_gradients(*args).abs(),
        "Keep the signs: only signed parts add up to the difference."),
)  # fmt: skip

INTEGRATED_GRADIENTS = Exercise(
    id="attribution.integrated_gradients",
    title="Integrated gradients: the whole way",
    points=4,
    minutes=12,
    difficulty=2,
    signature="integrated_gradients(model, images, baseline, target, steps)",
    reference=integrated_gradients,
    public=lambda: [_ig_case("four steps from a dark picture", 30, 4), _ig_case("seven steps", 34, 7)],
    hidden=lambda seed: [
        _ig_case("another network", seed % 10007 + 300, 5),
        _ig_case("a single step", seed % 9973 + 400, 1),
    ],
    misconceptions=PATH_MISTAKES,
    blocks=("labkit.attribution.integrated_gradients",),
)


# ---- a shift of the input


def compensate(weight: Tensor, bias: Tensor, shift: Tensor) -> Tensor:
    return bias - (weight * shift[None, :, None, None]).sum((1, 2, 3))


def _shift_case(name: str, seed: int) -> Case:
    return Case(name, (_numbers(seed, 4, 3, 3, 5), _numbers(seed + 1, 4), _numbers(seed + 2, 3)))


COMPENSATE = Exercise(
    id="attribution.compensate",
    title="A shift that changes nothing",
    points=2,
    minutes=8,
    difficulty=2,
    signature="compensate(weight, bias, shift)",
    reference=compensate,
    public=lambda: [_shift_case("four channels", 40), _shift_case("another shift", 44)],
    hidden=lambda seed: [
        _shift_case("other weights", seed % 10007 + 500),
        _shift_case("more", seed % 9973 + 600),
    ],
    misconceptions=(
        Misconception(
            "added",
            lambda weight, bias, shift: 2 * bias - compensate(weight, bias, shift),
            "The sign is turned: what the shift adds to the layer, the bias must take away.",
        ),
        Misconception(
            "one_place",
            lambda weight, bias, shift: bias - (weight * shift[None, :, None, None]).sum(1).mean((1, 2)),
            "The shift enters at every place under the kernel: add up over its rows and columns too.",
        ),
        Misconception(
            "one_colour",
            lambda weight, bias, shift: bias - weight.sum((1, 2, 3)) * shift.mean(),
            "Each colour has a shift of its own: multiply by shift before you add the colours up.",
        ),
        Misconception(
            "only_shift",
            lambda weight, bias, shift: compensate(weight, torch.zeros_like(bias), shift),
            "The old bias is lost. Start from it.",
        ),
        Misconception(
            "absolute",
            lambda weight, bias, shift: bias - (weight * shift[None, :, None, None]).abs().sum((1, 2, 3)),
            "Keep the signs: a negative weight takes away what a shift adds.",
        ),
        Misconception(
            "mean",
            lambda weight, bias, shift: bias - (weight * shift[None, :, None, None]).mean((1, 2, 3)),
            "A convolution adds up over colours, rows and columns: sum, not mean.",
        ),
        Misconception(
            "centre",
            lambda weight, bias, shift: bias - weight[:, :, 1, 2] @ shift,
            "You count the kernel's centre only. The shift lies under all of its places.",
        ),
        Misconception(
            "along_rows",
            lambda weight, bias, shift: bias - (weight * shift[None, None, :, None]).sum((1, 2, 3)),
            "Your shift runs along the kernel's rows. The colours are axis 1 of weight.",
        ),
        Misconception(
            "shift_summed",
            lambda weight, bias, shift: bias - weight.sum((1, 2, 3)) * shift.sum(),
            "You add the shift up over the colours first. Each colour's weights get their own shift.",
        ),
    ),
)

EXERCISES = (RELU_BACKWARD, SMOOTH_GRAD, INTEGRATED_GRADIENTS, COMPENSATE)
