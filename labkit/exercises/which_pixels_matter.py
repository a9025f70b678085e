"""The exercises of the notebook 21_which_pixels_matter: occlusion, saliency, CAM, Grad-CAM with a hook."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from labkit.attribution.occlusion_sensitivity import window_starts
from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("21_which_pixels_matter")
ROWS, COLUMNS = (f"window_starts(images.shape[{axis}], window, stride)" for axis in (2, 3))
FULL_WINDOWS = {
    ROWS: "range(0, images.shape[2] - window + 1, stride)",
    COLUMNS: "range(0, images.shape[3] - window + 1, stride)",
}
EDGES = "The right and bottom edges are never hidden: let the last window end there (window_starts)."


def occlusion_cases(draw: Draw):
    def case(name, net, window, stride, probe=None):
        place = {"height": 8, "width": 7} if net == "linear" else {}
        model, pictures, target = draw.net(net, **place), draw.pictures(2, 3, 8, 7), draw.index(3)
        return Case(name, (model, pictures, target, window, stride, draw.number(0.6, 0.9)), probe=probe)

    yield case("a linear network, window 3, stride 2", "linear", 3, 2)
    yield case("overlapping windows that do not fit evenly", "bends", 4, 3)
    yield case("other windows; the pictures must stay", "bends", 3, 1, "both")


@SHEET.exercise(
    "attribution.occlusion", "Hide and see", points=4, minutes=12, difficulty=2, cases=occlusion_cases,
    blocks=tuple("labkit.attribution." + name for name in ("occlusion", "occlusion_result", "assemble")),
    mistakes=(
        ("before - model(hidden)[:, target]", "model(hidden)[:, target]",
            "You average the score that is left. What is asked for is the drop: before - after."),
        ("before - model(hidden)[:, target]", "model(hidden)[:, target] - before",
            "The sign is turned: where hiding lowers the score, the map is positive."),
        ("total / count", "total",
            "You add up the drops. Divide each pixel by the number of windows that hid it."),
        ({"(images)[:, target]": "(images).softmax(1)[:, target]",
          "(hidden)[:, target]": "(hidden).softmax(1)[:, target]"},
            "You measure the probability. Use the score before the softmax."),
        ("= fill", "= 0.0", "The window is always black. Paint it with the value of `fill`."),
        ("= fill", "= 0.5", "The window is always grey. Paint it with the value of `fill`."),
        (FULL_WINDOWS, EDGES),
        (FULL_WINDOWS | {"total / count": "total / count.clamp(min=1)"}, EDGES),
        ({ROWS: "range(0, images.shape[2], stride)", COLUMNS: "range(0, images.shape[3], stride)"},
            "Your last windows hang over the edge: begin each where all of it fits (window_starts)."),
        ({"before =": "hidden, before = images.clone(),", "hidden = images.clone()": ""},
            "The windows pile up: each one must start from the whole picture, so copy it anew."),
        ("drop[:, None, None]", "drop[:, None, None].abs()",
            "Keep the sign of the drop: where hiding raises the score, the map is negative."),
        ("drop[:, None, None]", "drop[:, None, None].relu()",
            "Keep drops below zero: there hiding raises the score."),
        ("hidden[:, :,", "hidden[:, 0,", "You hide the first colour only. Cover all channels."),
        ("hidden[:, :, row : row + window, column : column + window]",
         "hidden[:, :, column : column + window, row : row + window]",
            "You hide at [column, row] what you note at [row, column]: rows come first."),
        ({"(images)[:, target]": "(images).amax(1)", "(hidden)[:, target]": "(hidden).amax(1)"},
            "You follow whichever class leads. Ask for the target's score, before and after."),
        ({"+= drop": "= drop", "+= 1": "= 1"},
            "Each window overwrites the one before. Add its drop to the map."),
    ),
)  # fmt: skip
def occlusion(model, images, target, window, stride, fill):
    """Mean drop of the score over the windows that hide each pixel.

    model: pictures (N, 3, H, W) -> scores (N, classes); images: (N, 3, H, W); target: class index;
    window, stride: in pixels; fill: the grey value, 0 to 1.
    Returns (N, H, W), of the pictures' dtype; positive where hiding lowers the score.
    """
    total, count = torch.zeros_like(images[:, 0]), torch.zeros_like(images[:, 0])
    with torch.no_grad():
        before = model(images)[:, target]
        for row in window_starts(images.shape[2], window, stride):
            for column in window_starts(images.shape[3], window, stride):
                hidden = images.clone()
                hidden[:, :, row : row + window, column : column + window] = fill
                drop = before - model(hidden)[:, target]
                total[:, row : row + window, column : column + window] += drop[:, None, None]
                count[:, row : row + window, column : column + window] += 1
    return total / count


def energy_cases(draw: Draw):
    for name in ("three signed maps", "other masks", "other maps"):
        yield Case(name, (draw.numbers(3, 6, 5) + 0.4, draw.masks(3, 6, 5, share=0.4)))


@SHEET.exercise(
    "evaluation.energy_inside", "How much of the map lies on the object?", points=2, minutes=5, difficulty=1,
    cases=energy_cases, blocks=("labkit.evaluation.energy_inside",),
    mistakes=(
        ("clamp(min=0)", "abs()", "Negative values must not count: clamp at zero, do not take abs."),
        (".clamp(min=0)", "", "Negative values cancel positive ones here: clamp the map at zero first."),
        ("/ positive.sum((1, 2))", "/ positive.sum()",
            "You divide by the energy of the whole batch; each map has its own total."),
        ("maps.clamp(min=0)", "(maps > 0).to(maps.dtype)",
            "You count pixels. Add up the map's values, so that strong ones count more."),
        ("/ positive.sum((1, 2))", "/ masks.sum((1, 2))",
            "You divide by the mask's size. Divide by the energy of the whole map."),
        ("(positive * masks)", "(positive * ~masks)", "That is the share outside of the mask."),
        ("/ positive.sum", "/ (positive * ~masks).sum",
            "You divide by what lies outside. Divide by the energy of the whole map."),
        ("/ positive", "/ maps",
            "Below the line the map is not clamped. Both sums are of the positive part."),
        ("(positive *", "(maps *",
            "Above the line the map is not clamped. Both sums are of the positive part."),
    ),
)  # fmt: skip
def energy_inside(maps, masks):
    """Share of each map's positive part that lies inside its mask.

    maps: (N, H, W), of any sign; masks: (N, H, W), booleans. Returns (N,), from 0 to 1.
    """
    positive = maps.clamp(min=0)
    return (positive * masks).sum((1, 2)) / positive.sum((1, 2))


def saliency_cases(draw: Draw):
    def case(name, net, probe=None):
        place = {"height": 8, "width": 6} if net == "linear" else {}
        return Case(name, (draw.net(net, **place), draw.pictures(2, 3, 8, 6), draw.index(3)), probe=probe)

    yield case("a linear network, whose slopes are its weights", "linear")
    yield case("a network with ReLUs and pooling", "deeper")
    yield case("other pictures; the network must stay as it was", "deeper", "both")


@SHEET.exercise(
    "attribution.saliency", "The slope at every pixel", points=3, minutes=6, difficulty=1,
    cases=saliency_cases, blocks=("labkit.attribution.saliency",),
    mistakes=(
        ("abs().amax(1)", "abs().mean(1)",
            "You average over the colour channels. Simonyan takes the largest."),
        (".abs().amax(1)", ".amax(1)",
            "The absolute value is missing: a strong negative slope matters as much."),
        ("(x)[:, target]", "(x).softmax(1)[:, target]",
            "You differentiate the probability. Take the score before the softmax."),
        ("[:, target].sum()", "[:, target].mean()",
            "Averaging scores over the batch shrinks every map by its size. Sum them."),
        ("[0].abs()", "[0].mul(images).abs()",
            "You multiply by the picture. That is gradient x input, not saliency."),
        ({"return": "maps =", "amax(1)": "amax(1)\n    return maps / maps.amax((1, 2), keepdim=True)"},
            "You divide by the maximum. Return the map as it is; plots rescale, maps do not."),
        ("abs().amax(1)", "amax(1).abs()",
            "First the absolute value, then the largest: yours misses a strong negative slope."),
        ("abs().amax(1)", "abs().sum(1)", "You add the colour channels up. Take the largest."),
        ("abs().amax(1)", "norm(dim=1)",
            "You take the length over the colour channels. Take the largest absolute value."),
        ("[:, target].sum()", ".sum()", "You add the scores of all classes up. Take the target's column."),
        ("[:, target].sum()", ".amax(1).sum()", "You follow whichever class leads. The target is given."),
        ("[:, target].sum()", "[0, target]",
            "You ask for the first picture's score only. Add up the target's scores of all."),
    ),
)  # fmt: skip
def saliency(model, images, target):
    """Largest absolute slope of the target's score over the colour channels.

    model: pictures (N, 3, H, W) -> scores (N, classes); images: (N, 3, H, W); target: class index.
    Returns (N, H, W), each picture's own map, detached. The model is left as it was.
    """
    x = images.detach().clone().requires_grad_(True)
    score = model(x)[:, target].sum()
    return torch.autograd.grad(score, x)[0].abs().amax(1)


def cam_cases(draw: Draw):
    for name in ("two pictures, four channels", "another class", "other weights"):
        yield Case(name, (draw.numbers(2, 4, 3, 5).relu(), draw.numbers(4, 4), draw.index(4)))


@SHEET.exercise(
    "attribution.cam", "Each class has a map of its own", points=2, minutes=5, difficulty=1,
    cases=cam_cases, blocks=("labkit.attribution.cam",),
    mistakes=(
        (".sum(1)", ".sum(1).relu()",
            "CAM is signed: negative places speak against the class. The ReLU is Grad-CAM's."),
        (".sum(1)", ".mean(1)", "You average over the channels. The class's score is their weighted sum."),
        (".sum(1)", ".sum(1) / features[0, 0].numel()",
            "The 1/hw belongs to the score, the mean over all places. The map is what is averaged."),
        ("weight[target]", "weight[target].abs()",
            "Keep the sign of the weights: a channel may speak against the class."),
        ("(features * weight[target][:, None, None])", "features",
            "All channels count the same here, so every class gets the same map."),
        ("weight[target]", "weight[:, target]",
            "You took a column of the weights. The class's row is weight[target]."),
    ),
)  # fmt: skip
def cam(features, weight, target):
    """The class's map: features times the class's row of the last layer, summed over channels.

    features: (N, K, h, w); weight: (classes, K); target: class index. Returns (N, h, w), signed.
    """
    return (features * weight[target][:, None, None]).sum(1)


def listening_cases(draw: Draw):
    def case(name, layer, probe=None, **net):
        model, pictures = draw.net("nested", channels=4, **net), draw.pictures(3, 4, 6, 5)
        return Case(name, (model, layer, pictures, draw.index(3)), probe=probe, fails="stumbles" in net)

    yield case("a convolution in a block", "features.0")
    yield case("a convolution before an in-place ReLU", "features.0", inplace=True)
    yield case("its ReLU; the hook is gone afterwards", "features.1", "both")
    yield case("the hook is gone when the network fails, too", "features.0", "both", stumbles=True)
    model, pictures, target = draw.net("nested"), draw.pictures(2, 3, 5, 4), draw.index(3)
    asking = Recipe("labkit.calls.recipes:learned", {"values": pictures})
    yield Case("both results are detached", (model, "features.1", asking, target))


@SHEET.exercise(
    "attribution.features_and_gradients", "A layer's features and their gradients", points=3, minutes=12,
    difficulty=3, cases=listening_cases,
    blocks=("labkit.experiments.which_pixels_matter.features_and_gradients",),
    mistakes=(
        ({"inputs, output)": "inputs)", "append(output)": "append(inputs[0])",
          "output.clone()": "inputs[0].clone()", "forward_hook": "forward_pre_hook"},
            "That is what enters the layer. The hook's third argument is what leaves it."),
        ("return output.clone()", "return None",
            "The next layer is an in-place ReLU and writes over the tensor you kept. "
            "Let the hook return a copy: the network goes on with that."),
        ("(x)[:, target]", "(x).softmax(1)[:, target]",
            "You differentiate the probability. Take the score before the softmax."),
        ("[:, target].sum()", "[:, target].mean()",
            "Averaging over the batch divides every gradient by the number of pictures. Sum the scores."),
        ("[:, target].sum()", ".sum()", "You add the scores of all classes up. Take the target's column."),
        ("[:, target].sum()", ".amax(1).sum()", "You follow whichever class leads. The target is given."),
        ("[:, target].sum()", "[0, target]",
            "You ask for the first picture's score only. Add up the target's scores of all."),
        ("gradients[0]", "gradients[0].abs()", "Keep the sign of the gradients: a place may speak against."),
        ("kept[0].detach(), gradients[0]", "gradients[0], kept[0].detach()",
            "The two are in the wrong order: first the features, then their gradients."),
    ),
)  # fmt: skip
def features_and_gradients(model, layer, images, target):
    """What one layer gives, and the slope of the target's score at each of its values.

    model: pictures (N, 3, H, W) -> scores (N, classes); layer: dotted name, such as "features.0";
    images: (N, 3, H, W); target: class index.
    Returns features and gradients, each (N, K, h, w), detached. No hook stays, also if it fails.
    """
    kept = []

    def keep(module, inputs, output):
        kept.append(output)
        return output.clone()

    handle = dict(model.named_modules())[layer].register_forward_hook(keep)
    try:
        x = images.detach().clone().requires_grad_(True)
        score = model(x)[:, target].sum()
    finally:
        handle.remove()
    gradients = torch.autograd.grad(score, kept)
    return kept[0].detach(), gradients[0]


def grad_cam_cases(draw: Draw):
    for name in ("two pictures, five channels", "other numbers", "other features"):
        yield Case(name, (draw.numbers(2, 5, 4, 3).relu(), draw.numbers(2, 5, 4, 3), (12, 9)))


@SHEET.exercise(
    "attribution.grad_cam", "Weights from gradients", points=3, minutes=8, difficulty=2,
    cases=grad_cam_cases, blocks=("labkit.attribution.grad_cam",),
    mistakes=(
        (".relu()", "", "The ReLU at the end is missing: Grad-CAM keeps what speaks for the class."),
        (".mean((2, 3)", ".sum((2, 3)",
            "The weights are the mean of the gradients over all places, not their sum."),
        ("gradients.mean((2, 3), keepdim=True)", "gradients",
            "You multiply place by place. Grad-CAM first averages each channel's gradient into one weight."),
        ({"keepdim=True)": "keepdim=True).relu()", ".sum(1).relu()": ".sum(1)"},
            "The ReLU goes around the finished sum, not around weights or channels."),
        ("gradients.mean", "gradients.relu().mean",
            "The gradients keep their sign: the ReLU is for the finished sum."),
        ("align_corners=False", "align_corners=True",
            "Enlarge with align_corners=False: with True the places move outwards."),
        ({".relu()": "", "[:, 0]": "[:, 0].relu()"},
            "The ReLU comes before the map is enlarged, or its edges are cut sharp."),
        (".sum(1)", ".mean(1)", "Add the weighted channels up. The mean is over places alone."),
        (".relu()", ".abs()", "What speaks against the class turns to 0, not to its size: ReLU, not abs."),
        ('"bilinear", align_corners=False', '"nearest"',
            "Enlarge with mode='bilinear'; 'nearest' leaves blocks."),
        (".sum(1).relu()", ".sum(1).add(1).relu()",
            "The sum starts at one instead of zero, which lifts the whole map."),
        (".relu()", ".relu()\n    maps = maps / maps.amax((1, 2), keepdim=True)",
            "You divide by the maximum. Return the map as it is; plots rescale, maps do not."),
    ),
)  # fmt: skip
def grad_cam(features, gradients, size):
    """Grad-CAM: a channel's weight is its mean gradient; ReLU of the sum, enlarged bilinearly.

    features, gradients: (N, K, h, w); size: the picture's (H, W). Returns (N, H, W), never below 0.
    """
    maps = (gradients.mean((2, 3), keepdim=True) * features).sum(1).relu()
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
