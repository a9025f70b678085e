"""The exercises of the notebook 25: rank correlation, deletion curve, pointing game, worst group."""
# ruff: noqa: B905

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

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


OFFSETS = ((0, 0), (0, 2), (2, 2), (3, 1), (0, 5), (2, 3), (2, 1), (1, 1))


def game_cases(draw: Draw):
    """The nearest place of each mask lies at an offset from the peak; half of them reach on from there."""
    for name, tolerance in (("the last map is flat", 3.5), ("some peaks exactly at the tolerance", 2)):
        maps, masks = draw.numbers(16, 14, 12), torch.zeros(16, 14, 12, dtype=torch.bool)
        for number, (values, mask) in enumerate(zip(maps, masks, strict=True)):
            (down, across), reach = OFFSETS[number % 8][:: draw.pick(1, -1)], 3 if number < 8 else 1
            row, column = draw.index(5), draw.index(4)
            values[row, column] = values.max() + 1
            values[values == values.min()] *= 3
            mask[row + down :, column + across :][:reach, :reach] = True
            turned = [axis for axis in (0, 1) if draw.index(2)]
            maps[number], masks[number] = values.flip(turned), mask.flip(turned)
        maps[-1], masks[-1, :4, :4] = 1.0, True
        yield Case(name, (maps, masks, tolerance))


FAR, FLAT = "(places**2).sum(1) <= tolerance**2", " and bool(values.max() > values.min())"
ON_IT = "The peak need not lie on the mask itself: within the tolerance is near enough."


@SHEET.exercise(
    "evaluation.pointing_hits", "The pointing game", points=3, minutes=8, difficulty=1, cases=game_cases,
    blocks=("labkit.evaluation.pointing_hits", "labkit.evaluation.pointing_game"),
    mistakes=(
        ("tolerance**2", "0", ON_IT),
        ({"tolerance**2": "0", FLAT: ""}, f"{ON_IT} And a flat map misses, wherever argmax puts its peak."),
        ("tolerance**2", "tolerance",
            "You compare a squared distance with the tolerance: square that as well, or take the root."),
        ("<=", "<", "A peak exactly at the tolerance hits: at most, not less than."),
        ("(places**2).sum(1)", "(places.double().mean(0) ** 2).sum()",
            "You measure to the middle of the mask. The nearest of its places counts."),
        (FLAT, "",
            "A flat map, all of its values alike, points nowhere: a miss, wherever argmax puts its peak."),
        (FAR, "places.abs().amax(1) <= tolerance",
            "You take the larger of the two steps. The distance is the straight one, by Pythagoras."),
        (FAR, "places.abs().sum(1) <= tolerance",
            "You add rows and columns up, as in walking round a block. The distance is the straight one."),
        (FAR, "places[:, 0].abs() <= tolerance", "You compare rows only. The columns count as well."),
        (FAR, "places[:, 1].abs() <= tolerance", "You compare columns only. The rows count as well."),
        ("row, column =", "column, row =",
            "Row and column of the peak are exchanged: nonzero gives the row first."),
        ("values.shape[1]", "values.shape[0]",
            "You divide the flat index by the height. A row is as long as the map is wide."),
        ("values.argmax()", "values.abs().argmax()",
            "The peak is the largest value, not the largest size: a strongly negative place speaks against."),
        ("divmod(int(values.argmax()), values.shape[1])",
            "((v @ torch.arange(len(v)).to(v) / v.sum()).round().long() for v in (values.relu().sum(1), "
            "values.relu().sum(0)))",
            "You point at the centre of mass. The game asks for the single highest place."),
    ),
)  # fmt: skip
def pointing_hits(maps, masks, tolerance):
    """Whether each map's highest place lies within tolerance pixels of its mask.

    maps: (N, H, W), signed; masks: (N, H, W), booleans, none empty; tolerance: in pixels.
    Returns (N,), booleans; False for a flat map.
    """
    hits = []
    for values, mask in zip(maps, masks):
        row, column = divmod(int(values.argmax()), values.shape[1])
        places = mask.nonzero() - torch.tensor([row, column])
        near = bool(((places**2).sum(1) <= tolerance**2).any())
        hits.append(near and bool(values.max() > values.min()))
    return torch.tensor(hits)


def group_cases(draw: Draw):
    """The worst group is not the smallest one, and the best lies farther from the mean."""
    last, middle = 6 + draw.index(4), 4 + draw.index(3)
    for name, numbers in (
        ("sixty pictures in four groups", (0, 1, 4, last)),
        ("groups that do not begin at 0", (9, 2, 8, middle)),
    ):
        sizes, errors = (5, 18, 30, 7), (2, 1 + draw.index(2), 13 + draw.index(2), 4)
        groups = torch.tensor(numbers).repeat_interleave(torch.tensor(sizes))
        wrong = torch.cat([torch.arange(size) < n for size, n in zip(sizes, errors, strict=True)])
        labels = draw.pictures(60).mul(5).long()
        mixed = draw.numbers(60).argsort()
        predictions = torch.where(wrong, (labels + 1) % 5, labels)
        yield Case(name, (predictions[mixed], labels[mixed], groups[mixed]))


EMPTY = "Counting up meets numbers that no picture has; their mean is NaN. Take groups.unique()."
SHARE, ALL = "right[groups == g].mean()", "right[groups == g].mean() for g in groups.unique()"


@SHEET.exercise(
    "evaluation.worst_gap", "What a mean hides", points=2, minutes=6, difficulty=1, cases=group_cases,
    blocks=("labkit.evaluation.accuracy_by_group",),
    mistakes=(
        ("right.mean()", f"max({ALL})",
            "You compare with the best group. Asked for is how far the worst lies below the mean."),
        ("right.mean()", f"sum({ALL}) / len(groups.unique())",
            "The mean is over all pictures, not over the groups: that is the number one usually reports."),
        ("right.mean() - ", "",
            "That is the worst group's accuracy. Asked for is its distance from the mean."),
        ("right.mean() - min", "-right.mean() + min",
            "The sign is turned: mean minus worst, so that a gap is positive."),
        ("right.mean() - min", "-right.mean() + max",
            "You measure to the best group. Asked for is the lowest accuracy, and how far it lies below."),
        ("min", "max", "You take off the highest accuracy: the worst group has the lowest one."),
        (f"min({ALL})", "right[groups == min(groups.unique(), key=lambda g: (groups == g).sum())].mean()",
            "The smallest group need not be the worst one. Look for the lowest accuracy."),
        (SHARE, "(right * (groups == g)).mean()",
            "Divide by the number of pictures in the group, not by that of all pictures."),
        (SHARE, "right[groups == g].sum()",
            "You count the right answers of a group. Divide by its number of pictures."),
        (ALL, "right[labels == g].mean() for g in labels.unique()",
            "You group by the label. Which group a picture belongs to stands in groups."),
        ("groups.unique()", "range(len(groups.unique()))",
            "The groups' numbers have gaps, so counting up misses some: take groups.unique()."),
        ("groups.unique()", "range(int(groups.max()) + 1)", EMPTY),
        (f"min({ALL})", f"torch.stack([{SHARE} for g in range(int(groups.max()) + 1)]).min()", EMPTY),
        ("groups.unique()", "range(int(groups.max()))",
            "The last group is left out, for range ends before its number. Take groups.unique()."),
        ("groups.unique()", "groups.unique()[:-1]",
            "The last group is left out: range ends before the number that it is given."),
    ),
)  # fmt: skip
def worst_gap(predictions, labels, groups):
    """How far the worst group's accuracy lies below the mean over all pictures.

    predictions, labels, groups: (N,), integers; the groups' numbers may have gaps.
    Returns a number, never negative.
    """
    right = (predictions == labels).double()
    return float(right.mean() - min(right[groups == g].mean() for g in groups.unique()))
