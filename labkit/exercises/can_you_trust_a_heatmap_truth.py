"""The exercises of the notebook 25 that ask the truth: pointing, a prediction, the worst group."""
# ruff: noqa: B905

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("25_can_you_trust_a_heatmap")


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


def prediction_cases(draw: Draw):
    """Objects of unlike size; some maps name the wrong one. The first four are the ends of the rule."""
    for name, objects in (("two objects", 2), ("three objects", 3)):
        maps, parts = draw.numbers(24, 9, 8), torch.zeros(24, objects, 9, 8, dtype=torch.bool)
        without, control = draw.numbers(24, objects), draw.numbers(24, objects)
        for number in range(24):
            parts[number, 0, :2, :2], parts[number, 1, 4:, 2:7], parts[number, 2:, :3, 5:] = True, True, True
            parts[number] = parts[number, draw.numbers(objects).argsort()]
            bright = draw.index(objects)
            maps[number] += parts[number, bright] * 0.7
            if number % 3:
                control[number, bright] = (control - without)[number].max() + without[number, bright] + 0.5
        for number in range(4):
            drops = torch.arange(objects).to(draw.dtype).flip(0) - (0, 0, objects - 1, objects)[number]
            control[number] = without[number].round() + drops
            without[number] = without[number].round()
            maps[number] = maps[number].abs() * parts[number, 0]
        maps[0], maps[1] = 0, -maps[1]
        yield Case(name, (maps, parts, without, control))


DENSITY, DROPS = "light.sum((2, 3)) / parts.sum((2, 3))", "control - without"


@SHEET.exercise(
    "evaluation.prediction_holds", "Can it be wrong?", points=4, minutes=12, difficulty=2,
    cases=prediction_cases, blocks=("labkit.evaluation.falsification",),
    mistakes=(
        (".clamp(min=0)", "", "Places that speak against the class count in yours. Take the positive part."),
        (".clamp(min=0)", ".abs()", "You take the sizes. Only the positive part of a map names an object."),
        (" / parts.sum((2, 3))", "", "A large object wins by its size: take the mean over its pixels."),
        (DENSITY, "light.amax((2, 3))",
            "You look at the highest place. The mean over the object's pixels counts."),
        (DROPS, "-without", "The control is left out: covering anything costs something."),
        (DROPS, "without - control",
            "The sign is turned: a loss that costs makes the score without it lower."),
        (DROPS, "(control - without).abs()",
            "You count gains as costs. A drop is control minus without, with its sign."),
        (" & (density.amax(1) > 0)", "", "A map without any light on the objects names none, and is wrong."),
        (" & (drops.amax(1) > 0)", "",
            "Where no object costs more than its control, no map can be right."),
        ("(drops.amax(1) > 0)", "(drops.amin(1) > 0)",
            "You ask that every object costs something. It is enough that one does."),
    ),
)  # fmt: skip
def prediction_holds(maps, parts, without, control):
    """Whether each map names the object whose loss costs the network most.

    maps: (N, H, W), signed; parts: (N, K, H, W), booleans, the pixels of K objects, none empty;
    without: (N, K), the score without each object; control: (N, K), without as much of the ground.
    Returns (N,), booleans; False for a map that has nothing above 0 on the objects, and where no
    loss costs more than its control.
    """
    light = maps.clamp(min=0)[:, None] * parts
    density = light.sum((2, 3)) / parts.sum((2, 3))
    drops = control - without
    same = density.argmax(1) == drops.argmax(1)
    return same & (density.amax(1) > 0) & (drops.amax(1) > 0)


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
