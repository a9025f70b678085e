"""The exercises of the notebook 21_which_pixels_matter: occlusion, saliency, CAM, Grad-CAM, energy inside."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.attribution import occlusion as library_occlusion
from labkit.attribution import saliency as library_saliency
from labkit.attribution.occlusion_sensitivity import window_starts
from labkit.calls.exercise import Case, Exercise, Misconception, Recipe
from labkit.evaluation import energy_inside as library_energy_inside

NOTEBOOK = "21_which_pixels_matter"
NETS = "labkit.calls.recipes:"


def _pictures(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- occlusion


def occlusion(model: nn.Module, images: Tensor, target: int, window: int, stride: int, fill: float) -> Tensor:
    return library_occlusion(model, images, target, window=window, stride=stride, fill=fill)


@torch.no_grad()
def _occlude(
    model, images, target, window, stride, fill, *,
    score=lambda out: out, starts=window_starts, renew=True, mean=True, colour=None, kept=False,
    gain=lambda drop: drop, channels=3, renew_map=False,
):  # fmt: skip
    """Occlusion with one thing done another way; the misconceptions differ in that thing alone."""
    total, count = torch.zeros_like(images[:, 0]), torch.zeros_like(images[:, 0])
    base = score(model(images))[:, target]
    hidden = images.clone()
    for row in starts(images.shape[2], window, stride):
        for column in starts(images.shape[3], window, stride):
            hidden = images.clone() if renew else hidden
            place = (..., slice(row, row + window), slice(column, column + window))
            hidden[:, :channels][place] = fill if colour is None else colour
            after = score(model(hidden))[:, target]
            if renew_map:
                total[place] = count[place] = 0
            total[place] += gain(after if kept else base - after)[:, None, None]
            count[place] += 1
    return total / count.clamp(min=1) if mean else total


def _wrong_drop(**options):
    return lambda *args: _occlude(*args, **options)


def _occlusion_case(
    name: str, seed: int, options: tuple, net: str = "bends", probe: str | None = None
) -> Case:
    kwargs = {"seed": seed} | ({"height": 8, "width": 7} if net == "linear" else {})
    model = Recipe(NETS + net, kwargs)
    return Case(name, (model, _pictures(seed + 1, 2, 3, 8, 7), seed % 3, *options), probe=probe)


HIDING_MISTAKES = (
    Misconception("remaining", _wrong_drop(kept=True),
        "You average the score that is left. What is asked for is the drop: before - after."),
    Misconception("sign", lambda *args: -_occlude(*args),
        "The sign is turned: where hiding lowers the score, the map is positive."),
    Misconception("summed", _wrong_drop(mean=False),
        "You add up the drops. Divide each pixel by the number of windows that hid it."),
    Misconception("probability", _wrong_drop(score=lambda out: out.softmax(1)),
        "You measure the probability. Use the score before the softmax."),
    Misconception("black", _wrong_drop(colour=0.0),
        "The window is always black. Paint it with the value of `fill`."),
    Misconception("edges", _wrong_drop(starts=lambda side, w, s: list(range(0, side - w + 1, s))),
        "The right and bottom edges are never hidden: let the last window end there (window_starts)."),
    Misconception("never_uncovered", _wrong_drop(renew=False),
        "The windows pile up: each one must start from the whole picture, so copy it anew."),
    Misconception("absolute", _wrong_drop(gain=torch.abs),
        "Keep the sign of the drop: where hiding raises the score, the map is negative."),
    Misconception("positive", _wrong_drop(gain=torch.relu),
        "Keep drops below zero: there hiding raises the score."),
    Misconception("one_colour", _wrong_drop(channels=1),
        "You hide the first colour only. Cover all channels."),
    Misconception("leading_class", _wrong_drop(score=lambda out: out.amax(1, keepdim=True).expand_as(out)),
        "You follow whichever class leads. Ask for the target's score, before and after."),
    Misconception("last_window", _wrong_drop(renew_map=True),
        "Each window overwrites the one before. Add its drop to the map."),
)  # fmt: skip

OCCLUSION = Exercise(
    id="attribution.occlusion",
    title="Hide and see",
    points=4,
    minutes=12,
    difficulty=2,
    signature="occlusion(model, images, target, window, stride, fill)",
    reference=occlusion,
    public=lambda: [
        _occlusion_case("a linear network, window 3, stride 2", 20, (3, 2, 0.5), "linear"),
        _occlusion_case("overlapping windows that do not fit evenly", 21, (4, 3, 0.5)),
        _occlusion_case("other windows; the pictures must stay", 22, (3, 1, 0.2), probe="both"),
    ],
    hidden=lambda seed: [
        _occlusion_case("another network and fill", seed % 10007 + 100, (3, 2, 0.8)),
        _occlusion_case("a large window", seed % 9973 + 200, (5, 4, 0.35), "linear"),
    ],
    misconceptions=HIDING_MISTAKES,
    blocks=(
        "labkit.attribution.occlusion",
        "labkit.attribution.occlusion_result",
        "labkit.attribution.assemble",
    ),
)


# ---- saliency


def saliency(model: nn.Module, images: Tensor, target: int) -> Tensor:
    return library_saliency(model, images, target)


def _gradient(model, images, score):
    x = images.detach().clone().requires_grad_(True)
    return torch.autograd.grad(score(model(x)), x)[0].detach()


def _channel_mean(model, images, target):
    return _gradient(model, images, lambda out: out[:, target].sum()).abs().mean(1)


def _signed(model, images, target):
    return _gradient(model, images, lambda out: out[:, target].sum()).amax(1)


def _of_probability(model, images, target):
    return _gradient(model, images, lambda out: out.softmax(1)[:, target].sum()).abs().amax(1)


def _batch_mean(model, images, target):
    return _gradient(model, images, lambda out: out[:, target].mean()).abs().amax(1)


def _times_input(model, images, target):
    return (_gradient(model, images, lambda out: out[:, target].sum()) * images).abs().amax(1)


def _of_score(score, reduce=lambda slope: slope.abs().amax(1)):
    return lambda model, images, target: reduce(_gradient(model, images, lambda out: score(out, target)))


def _reduced(reduce):
    return _of_score(lambda out, target: out[:, target].sum(), reduce)


def _normalised(model, images, target):
    maps = library_saliency(model, images, target)
    return maps / maps.amax((1, 2), keepdim=True)


def _saliency_case(name: str, seed: int, net: str = "deeper", probe: str | None = None) -> Case:
    kwargs = {"seed": seed} | ({"height": 8, "width": 6} if net == "linear" else {})
    return Case(name, (Recipe(NETS + net, kwargs), _pictures(seed + 1, 2, 3, 8, 6), seed % 3), probe=probe)


SLOPE_MISTAKES = (
    Misconception("mean", _channel_mean,
        "You average over the colour channels. Simonyan takes the largest."),
    Misconception("signed", _signed,
        "The absolute value is missing: a strong negative slope matters as much."),
    Misconception("probability", _of_probability,
        "You differentiate the probability. Take the score before the softmax."),
    Misconception("batch_mean", _batch_mean,
        "Averaging scores over the batch shrinks every map by its size. Sum them."),
    Misconception("times_input", _times_input,
        "You multiply by the picture. That is gradient x input, not saliency."),
    Misconception("normalised", _normalised,
        "You divide by the maximum. Return the map as it is; plots rescale, maps do not."),
    Misconception("largest_first", _reduced(lambda slope: slope.amax(1).abs()),
        "First the absolute value, then the largest: yours misses a strong negative slope."),
    Misconception("sum", _reduced(lambda slope: slope.abs().sum(1)),
        "You add the colour channels up. Take the largest."),
    Misconception("length", _reduced(lambda slope: slope.norm(dim=1)),
        "You take the length over the colour channels. Take the largest absolute value."),
    Misconception("all_classes", _of_score(lambda out, target: out.sum()),
        "You add the scores of all classes up. Take the target's column."),
    Misconception("leading_class", _of_score(lambda out, target: out.amax(1).sum()),
        "You follow whichever class leads. The target is given."),
    Misconception("first_picture", _of_score(lambda out, target: out[0, target]),
        "You ask for the first picture's score only. Add up the target's scores of all."),
)  # fmt: skip

SALIENCY = Exercise(
    id="attribution.saliency",
    title="The slope at every pixel",
    points=3,
    minutes=6,
    difficulty=1,
    signature="saliency(model, images, target)",
    reference=saliency,
    public=lambda: [
        _saliency_case("a linear network, whose slopes are its weights", 30, "linear"),
        _saliency_case("a network with ReLUs and pooling", 31),
        _saliency_case("other pictures; the network must stay as it was", 32, probe="both"),
    ],
    hidden=lambda seed: [
        _saliency_case("another network", seed % 10007 + 300),
        _saliency_case("another linear one", seed % 9973 + 400, "linear"),
    ],
    misconceptions=SLOPE_MISTAKES,
    blocks=("labkit.attribution.saliency",),
)


# ---- cam


def cam(features: Tensor, weight: Tensor, target: int) -> Tensor:
    return torch.einsum("nkhw,k->nhw", features, weight[target])


def _cam_relu(features, weight, target):
    return cam(features, weight, target).relu()


def _cam_mean(features, weight, target):
    return cam(features, weight, target) / features.shape[1]


def _cam_absolute(features, weight, target):
    return cam(features, weight.abs(), target)


def _cam_unweighted(features, weight, target):
    return features.sum(1)


def _cam_column(features, weight, target):
    return torch.einsum("nkhw,k->nhw", features, weight[:, target][: features.shape[1]])


def _cam_case(name: str, seed: int, target: int) -> Case:
    return Case(name, (_numbers(seed, 2, 4, 3, 5).relu(), _numbers(seed + 1, 4, 4), target))


CAM = Exercise(
    id="attribution.cam",
    title="Each class has a map of its own",
    points=2,
    minutes=5,
    difficulty=1,
    signature="cam(features, weight, target)",
    reference=cam,
    public=lambda: [_cam_case("two pictures, four channels", 40, 1), _cam_case("another class", 42, 3)],
    hidden=lambda seed: [
        _cam_case("other features", seed % 10007 + 500, seed % 4),
        _cam_case("other weights", seed % 9973 + 600, (seed + 2) % 4),
    ],
    misconceptions=(
        Misconception(
            "relu",
            _cam_relu,
            "CAM is signed: negative places speak against the class. The ReLU is Grad-CAM's.",
        ),
        Misconception(
            "mean", _cam_mean, "You average over the channels. The class's score is their weighted sum."
        ),
        Misconception(
            "absolute", _cam_absolute, "Keep the sign of the weights: a channel may speak against the class."
        ),
        Misconception(
            "unweighted",
            _cam_unweighted,
            "All channels count the same here, so every class gets the same map.",
        ),
        Misconception(
            "column", _cam_column, "You took a column of the weights. The class's row is weight[target]."
        ),
    ),
    blocks=("labkit.attribution.cam",),
)


# ---- grad_cam


def grad_cam(features: Tensor, gradients: Tensor, size: tuple[int, int]) -> Tensor:
    return _enlarged((gradients.mean((2, 3), keepdim=True) * features).sum(1).relu(), size)


def _enlarged(maps, size, mode="bilinear"):
    options = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(maps[:, None], size=tuple(size), mode=mode, **options)[:, 0]


def _gc_signed(features, gradients, size):
    return _enlarged((gradients.mean((2, 3), keepdim=True) * features).sum(1), size)


def _gc_sum(features, gradients, size):
    return _enlarged((gradients.sum((2, 3), keepdim=True) * features).sum(1).relu(), size)


def _gc_elementwise(features, gradients, size):
    return _enlarged((gradients * features).sum(1).relu(), size)


def _gc_relu_weights(features, gradients, size):
    return _enlarged((gradients.mean((2, 3), keepdim=True).relu() * features).sum(1), size)


def _gc_nearest(features, gradients, size):
    return _enlarged((gradients.mean((2, 3), keepdim=True) * features).sum(1).relu(), size, "nearest")


def _gc_corners(features, gradients, size):
    maps = (gradients.mean((2, 3), keepdim=True) * features).sum(1).relu()
    return F.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=True)[:, 0]


def _gc_relu_last(features, gradients, size):
    return _gc_signed(features, gradients, size).relu()


def _gc_channel_mean(features, gradients, size):
    return grad_cam(features, gradients, size) / features.shape[1]


def _gc_absolute(features, gradients, size):
    return _enlarged((gradients.mean((2, 3), keepdim=True) * features).sum(1).abs(), size)


def _gc_ones(features, gradients, size):
    return _enlarged((1 + (gradients.mean((2, 3), keepdim=True) * features).sum(1)).relu(), size)


def _grad_cam_case(name: str, seed: int) -> Case:
    return Case(name, (_numbers(seed, 2, 5, 4, 3).relu(), _numbers(seed + 1, 2, 5, 4, 3), (12, 9)))


WEIGHT_MISTAKES = (
    Misconception("signed", _gc_signed,
        "The ReLU at the end is missing: Grad-CAM keeps what speaks for the class."),
    Misconception("sum", _gc_sum,
        "The weights are the mean of the gradients over all places, not their sum."),
    Misconception("elementwise", _gc_elementwise,
        "You multiply place by place. Grad-CAM first averages each channel's gradient into one weight."),
    Misconception("relu_weights", _gc_relu_weights,
        "The ReLU goes around the finished sum, not around weights or channels."),
    Misconception("corners", _gc_corners,
        "Enlarge with align_corners=False: with True the places move outwards."),
    Misconception("relu_last", _gc_relu_last,
        "The ReLU comes before the map is enlarged, or its edges are cut sharp."),
    Misconception("channel_mean", _gc_channel_mean,
        "Add the weighted channels up. The mean is over places alone."),
    Misconception("absolute", _gc_absolute,
        "What speaks against the class turns to 0, not to its size: ReLU, not abs."),
    Misconception("nearest", _gc_nearest, "Enlarge with mode='bilinear'; 'nearest' leaves blocks."),
    Misconception("ones", _gc_ones, "The sum starts at one instead of zero, which lifts the whole map."),
)  # fmt: skip

GRAD_CAM = Exercise(
    id="attribution.grad_cam",
    title="Weights from gradients",
    points=3,
    minutes=8,
    difficulty=2,
    signature="grad_cam(features, gradients, size)",
    reference=grad_cam,
    public=lambda: [_grad_cam_case("two pictures, five channels", 50), _grad_cam_case("other numbers", 52)],
    hidden=lambda seed: [
        _grad_cam_case("other features", seed % 10007 + 700),
        _grad_cam_case("other gradients", seed % 9973 + 800),
    ],
    misconceptions=WEIGHT_MISTAKES,
    blocks=("labkit.attribution.grad_cam",),
)


# ---- energy_inside


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    return library_energy_inside(maps, masks)


def _ei_absolute(maps, masks):
    return (maps.abs() * masks).sum((1, 2)) / maps.abs().sum((1, 2))


def _ei_signed(maps, masks):
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def _ei_whole_batch(maps, masks):
    positive = maps.clamp(min=0)
    return (positive * masks).sum((1, 2)) / positive.sum()


def _ei_pixels(maps, masks):
    return ((maps > 0) & masks).double().sum((1, 2)) / (maps > 0).double().sum((1, 2))


def _ei_of_mask(maps, masks):
    return (maps.clamp(min=0) * masks).sum((1, 2)) / masks.double().sum((1, 2))


def _energy_case(name: str, seed: int) -> Case:
    return Case(name, (_numbers(seed, 3, 6, 5) + 0.4, _pictures(seed + 1, 3, 6, 5) > 0.6))


ENERGY_MISTAKES = (
    Misconception("absolute", _ei_absolute,
        "Negative values must not count: clamp at zero, do not take abs."),
    Misconception("signed", _ei_signed,
        "Negative values cancel positive ones here: clamp the map at zero first."),
    Misconception("whole_batch", _ei_whole_batch,
        "You divide by the energy of the whole batch; each map has its own total."),
    Misconception("pixels", _ei_pixels,
        "You count pixels. Add up the map's values, so that strong ones count more."),
    Misconception("of_mask", _ei_of_mask,
        "You divide by the mask's size. Divide by the energy of the whole map."),
    Misconception("outside", lambda maps, masks: energy_inside(maps, ~masks),
        "That is the share outside of the mask."),
    Misconception("to_outside", lambda m, k: energy_inside(m, k) / energy_inside(m, ~k),
        "You divide by what lies outside. Divide by the energy of the whole map."),
    Misconception("clamped_above", lambda m, k: (m.clamp(min=0) * k).sum((1, 2)) / m.sum((1, 2)),
        "Below the line the map is not clamped. Both sums are of the positive part."),
    Misconception("clamped_below", lambda m, k: (m * k).sum((1, 2)) / m.clamp(min=0).sum((1, 2)),
        "Above the line the map is not clamped. Both sums are of the positive part."),
)  # fmt: skip

ENERGY_INSIDE = Exercise(
    id="evaluation.energy_inside",
    title="How much of the map lies on the object?",
    points=2,
    minutes=5,
    difficulty=1,
    signature="energy_inside(maps, masks)",
    reference=energy_inside,
    public=lambda: [_energy_case("three signed maps", 60), _energy_case("other masks", 62)],
    hidden=lambda seed: [
        _energy_case("other maps", seed % 10007 + 900),
        _energy_case("and more", seed % 9973 + 1000),
    ],
    misconceptions=ENERGY_MISTAKES,
    blocks=("labkit.evaluation.energy_inside",),
)

EXERCISES = (OCCLUSION, SALIENCY, CAM, GRAD_CAM, ENERGY_INSIDE)
