"""The exercises of the notebook 25 that ask the network: how alike maps are, forgetting, taking away."""
# ruff: noqa: B905

from __future__ import annotations

import torch
from tqdm.auto import tqdm

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet
from labkit.evaluation import execution_order, randomized

SHEET = Sheet("25_can_you_trust_a_heatmap")


def rank_cases(draw: Draw):
    for name in ("three pairs of maps: alike, opposed, alike", "other maps"):
        first, turn = draw.numbers(3, 6, 5), torch.tensor([0.7, -0.7, 0.7], dtype=draw.dtype)
        yield Case(name, (first, (turn[:, None, None] * first + draw.numbers(3, 6, 5)).exp()))


RANKS, LENGTHS = "m.flatten(1).argsort(1).argsort(1)", "(a.norm(dim=1) * b.norm(dim=1))"
BATCH = "You rank the whole batch at once. Each picture has its own ranks and its own number."


@SHEET.exercise(
    "evaluation.rank_correlation", "How alike are two maps?", points=3, minutes=8, difficulty=2,
    cases=rank_cases, blocks=("labkit.evaluation.rank_correlation",),
    imports=("torch", "numpy", "math", "scipy"),
    mistakes=(
        (RANKS, "m.flatten(1)",
            "You correlate the values. Replace each value by its rank first, or the unit of the map "
            "decides."),
        (RANKS, "m.flatten(1).argsort(1)",
            "One argsort gives the order of the pixels. The ranks are the argsort of the argsort."),
        ("m.flatten(1)", "m.flatten(1).abs()",
            "You compare the sizes. Here the signs count: leave out the abs."),
        ({"m.flatten(1)": "m.reshape(1, -1)", "b.norm(dim=1))": "b.norm(dim=1)).expand(len(first))"}, BATCH),
        (RANKS, "m.flatten().argsort().argsort().view(len(m), -1)", BATCH),
        ("a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)", "",
            "Take the mean rank off first, or even unrelated maps look alike."),
        (f"(a * b).sum(1) / {LENGTHS}", "(a - b).abs().mean(1) / a.shape[1]",
            "That is a distance of ranks. A correlation is 1 for maps in the same order."),
        (f"{RANKS}.double()", "m.argsort(2).argsort(2).double().flatten(1)",
            "You rank within each row of pixels. Flatten each map first: flatten(1)."),
        (RANKS, "m.flatten(1).argsort(0).argsort(0)",
            "You rank over the pictures. Each picture's pixels are ranked among themselves: axis 1."),
        ("(a * b).sum(1)", "(a * b).sum(1).abs()",
            "Maps in opposite order have a correlation below zero: keep its sign."),
        (f" / {LENGTHS}", "", "That is the sum above the line only. Divide by the lengths of both."),
        (LENGTHS, "((a**2).sum(1) * (b**2).sum(1))", "The square root below the line is missing."),
        ({"(a * b).sum(1)": "(a * b).mean(1)", LENGTHS: "(a.std(1) * b.std(1))"},
            "Your std divides by one less than your mean does. Let both divide alike, or use sums as above."),
    ),
)  # fmt: skip
def rank_correlation(first, second):
    """Spearman's correlation of two maps, picture by picture.

    first, second: (N, H, W), signed; no two values of a map are equal.
    Returns (N,), from -1 to 1.
    """
    a, b = (m.flatten(1).argsort(1).argsort(1).double() for m in (first, second))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def cascade_cases(draw: Draw):
    for name in ("a network of three layers", "another one, other pictures"):
        net = draw.net("deeper", hidden=3 + draw.index(3))
        target = torch.tensor([draw.index(3) for _ in range(3)])
        method = Recipe("labkit.calls.recipes:slopes")
        yield Case(name, (net, method, draw.pictures(3, 3, 8, 6), target))


@SHEET.exercise(
    "evaluation.cascade", "A network that forgets", points=4, minutes=14, difficulty=2,
    cases=cascade_cases, blocks=("labkit.evaluation.cascading_randomization",),
    imports=("torch", "numpy", "math", "tqdm", "labkit"),
    mistakes=(
        ("[::-1]", "",
            "You begin at the picture. The head forgets first, and execution_order gives it last."),
        ("layers[:depth]", "layers[depth - 1 : depth]",
            "One layer alone is fresh in each of your networks. What was forgotten stays forgotten."),
        ("layers[:depth]", "layers", "All layers are fresh from the start: one more each time."),
        ("method(twin, images, target)", "method(model, images, target)",
            "You map the trained network again and again: ask the one that has forgotten."),
        ("method(twin, images, target)", "method(twin, images, twin(images).argmax(1))",
            "The question stays the same: ask for target, whatever the forgetful network would name."),
        ({"maps[0].abs()": "maps[0]", "(m.abs()": "(m"},
            "The signs count in yours. Compare the sizes: a map and its negative show the same places."),
        ("rank_correlation(m.abs(), whole) for m in maps[1:]",
            "rank_correlation(m.abs(), n.abs()) for m, n in zip(maps[1:], maps)",
            "You compare with the step before. Compare with the map of the network that knows everything."),
        ("rank_correlation(m.abs(), whole)", "(m.abs() - whole).abs().mean((1, 2))",
            "That is a distance. Use your rank_correlation: maps have no common unit."),
    ),
)  # fmt: skip
def cascade(model, method, images, target):
    """A method's maps while the network forgets, one layer more each time, the head first.

    model: left as it was; method: a function, (model, images, target) -> maps (N, H, W), signed;
    images: (N, 3, H, W); target: (N,), class indices.
    Returns two tensors: the maps, (L + 1, N, H, W), first those of the model itself; and (L, N),
    the rank correlation of the later maps with these, in sizes.
    """
    layers = execution_order(model, images)[::-1]
    maps = [method(model, images, target)]
    for depth in tqdm(range(1, len(layers) + 1), leave=False):
        twin = randomized(model, layers[:depth], images)
        maps.append(method(twin, images, target))
    whole = maps[0].abs()
    alike = [rank_correlation(m.abs(), whole) for m in maps[1:]]
    return torch.stack(maps), torch.stack(alike)


def curve_cases(draw: Draw):
    """48 pixels in an odd number of steps: no count lies halfway, and rounding down differs."""

    def case(name, fill, probe=None):
        net, image, values = draw.net("deeper"), draw.pictures(1, 3, 8, 6), draw.numbers(8, 6)
        second = int(net.build()(image)[0].argsort()[1])
        return Case(name, (net, image, values, second, draw.pick(5, 7, 9), fill), probe=probe)

    yield case("covered with grey; the class asked for does not lead", draw.number(0.4, 0.8))
    yield case("covered with black; the picture must stay as it was", 0.0, "both")


COUNT = "round(step / steps * len(order))"


@SHEET.exercise(
    "evaluation.deletion_curve", "Take away what matters", points=4, minutes=12, difficulty=2,
    cases=curve_cases, blocks=("labkit.evaluation.deletion",),
    mistakes=(
        ("descending=True", "",
            "You begin with the least important pixels. The highest values of the map go first."),
        ("values.flatten()", "values.abs().flatten()",
            "You order by size. Strongly negative values go last, not first: leave out the abs."),
        ("descending=True", "descending=True).argsort(",
            "One argsort is right here: it lists the pixels in order, the second one gives their ranks."),
        ({"image.clone()": "torch.full_like(image, fill)", "= fill": "= image.flatten(2)[:, :, gone]"},
            "That is insertion: pixels come back into a filled picture. Here they are taken away."),
        (".softmax(1)", "", "This curve is in probabilities: take the softmax."),
        ("softmax", "log_softmax",
            "You return the logarithm of the probability. The curve is in probabilities."),
        ("softmax(1)", "softmax(0)",
            "Your softmax runs over the batch, which holds one picture. The classes are axis 1."),
        ("[0, target]", ".max()",
            "You follow whichever class leads. Ask for the same class, the target, at every point."),
        ("step / steps", "(step + 1) / steps",
            "The curve begins with the untouched picture: at point k, k / steps of the pixels are gone."),
        ("step / steps", "step / (steps + 1)",
            "Your last picture is not empty: divide k by the number of steps, one less than the points."),
        ("round(", "int(",
            "You cut off, as int() and // do. The number of covered pixels is rounded to the nearest one."),
        (COUNT, "step * (len(order) // steps)",
            "Equally large steps leave some pixels over. Round k / steps of all pixels, each time anew."),
        (COUNT, "step", "You cover k pixels at point k. It is the share k / steps of all pixels."),
        ("order[: ", "order[round(max(step - 1, 0) / steps * len(order)) : ",
            "What is gone stays gone: at each step all pixels so far are covered."),
        ("[:, :, gone]", "[:, 0, gone]",
            "You cover the first colour only. A pixel is gone when all its channels are."),
        ("= fill", "= 0", "You cover with black whatever is asked. Use fill."),
        ("image.clone()", "image",
            "You write into the picture that was handed to you. Begin each step with image.clone()."),
        ("(found)", "(found).flip(0)", "The curve runs from the whole picture to the empty one."),
    ),
)  # fmt: skip
def deletion_curve(model, image, values, target, steps, fill):
    """The target's probability while more and more of the highest pixels are covered.

    model: pictures (N, 3, H, W) -> scores (N, classes); image: (1, 3, H, W), left as it was;
    values: (H, W), the map, signed; target: class index; fill: a number.
    Returns (steps + 1,): first with nothing covered, at last with all.
    """
    order = values.flatten().argsort(descending=True)
    found = []
    for step in range(steps + 1):
        shown = image.clone()
        gone = order[: round(step / steps * len(order))]
        shown.flatten(2)[:, :, gone] = fill
        with torch.no_grad():
            found.append(model(shown).softmax(1)[0, target])
    return torch.stack(found)
