"""The exercises of the notebook 32: a unit's threshold and mask, pixels counted, IoU and its ceiling."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("32_dissecting_a_network")
LIBRARY = "labkit.concepts."


def threshold_cases(draw: Draw):
    def maps(n, units, side):
        found = draw.numbers(n, units, side, side)
        return torch.cat([found, torch.full_like(found[:, :1], 0.5)], 1)  # the last unit is dead

    yield Case("three units, a tenth", (maps(5, 2, 6), 0.1))
    yield Case("a fiftieth; the activations must stay", (maps(8, 3, 5), 0.02), probe="both")
    yield Case("units that are mostly silent", (maps(4, 4, 5).relu(), 0.25))
    many = maps(6, 3, 4)
    yield Case("one picture far brighter than all others", (torch.cat([many, many[:1] + 4]), 0.05))


@SHEET.exercise(
    "concepts.unit_thresholds", "Where a unit begins to count", points=3, minutes=10, difficulty=2,
    cases=threshold_cases, compare="exact",
    blocks=tuple(LIBRARY + name for name in ("dissect", "dissect_result", "thresholds.unit_thresholds")),
    mistakes=(
        ("rows.sort(1, descending=True).values", "rows.sort(1).values",
            "You count from the smallest. A share of the activations is to lie above the threshold."),
        ("activations.movedim(1, 0).flatten(1)", "activations.flatten(2).mean(0)",
            "You average over pictures first. The threshold is over all places of all pictures."),
        ("activations.movedim(1, 0).flatten(1)", "activations.amax((2, 3)).T",
            "You take one number a picture. Every place of every picture counts."),
        ("activations.movedim(1, 0).flatten(1)",
         "activations.flatten()[None].expand(activations.shape[1], -1)",
            "One threshold for all units: a loud unit would win everywhere. Each unit has its own."),
        ("activations.movedim(1, 0).flatten(1)", "activations.reshape(activations.shape[1], -1)",
            "A reshape mixes units: (N, K, h, w) must first become (K, N, h, w), with movedim."),
        ('masked_fill(dead, float("inf"))', "masked_fill(dead, 0.0)",
            "A dead unit must never count: its threshold is infinite."),
        ('.masked_fill(dead, float("inf"))', "",
            "A unit that gives one number everywhere is dead: its threshold is to be infinite."),
        ("rows.shape[1])", "rows.shape[1]) - 1",
            "With this number a place too few lies above: values > threshold leaves the threshold out."),
        ("int(quantile * rows.shape[1])", "int((1 - quantile) * rows.shape[1])",
            "Sorted from the largest on, the share itself says how far to go."),
        ("ordered[:, place]", "rows.quantile(1 - quantile, 1)",
            "That is torch.quantile, which lies between two numbers. Sort, and take one of them."),
    ),
)  # fmt: skip
def unit_thresholds(activations, quantile):
    """For each unit the activation that at most a share ``quantile`` of its activations exceed.

    activations: (N, K, h, w), of all pictures; quantile: 0 to 1, such as 0.02.
    Returns (K,): of a unit's n = N * h * w numbers, sorted from the largest down, that at place
    int(quantile * n), places counted from 0; infinity for a dead unit (one number everywhere).
    """
    rows = activations.movedim(1, 0).flatten(1)
    ordered = rows.sort(1, descending=True).values
    place = int(quantile * rows.shape[1])
    thresholds = ordered[:, place]
    dead = rows.amax(1) == rows.amin(1)
    return thresholds.masked_fill(dead, float("inf"))


def mask_cases(draw: Draw):
    def case(name, n, units, small, size, probe=None):
        maps = draw.numbers(n, units, small, small)
        thresholds = 0.5 * draw.pictures(units)
        maps[:, -1], thresholds[-1] = maps[:, -1].relu(), 0  # many places are just at the threshold
        return Case(name, (maps, thresholds, size), probe=probe)

    yield case("4 x 4 to 16 x 16", 2, 3, 4, 16)
    yield case("3 x 3 to 10 x 10; the activations must stay", 2, 2, 3, 10, "both")
    yield case("5 x 5 to 20 x 20", 3, 4, 5, 20)


@SHEET.exercise(
    "concepts.unit_masks", "Enlarge, then cut", points=2, minutes=6, difficulty=1, cases=mask_cases,
    compare="exact",
    mistakes=(
        ("large > thresholds[:, None, None]",
         'F.interpolate((activations > thresholds[:, None, None]).to(activations), size=(size, size), '
         'mode="bilinear") > 0.5',
            "You cut first and enlarge then: the mask's border follows the coarse grid. Enlarge first."),
        ('mode="bilinear", align_corners=False', 'mode="nearest"',
            "That is the nearest place. Enlarge bilinearly, so that the border lies between places."),
        ('mode="bilinear"', 'mode="bicubic"',
            "Bicubic overshoots: places would fire that no unit saw. Take bilinear."),
        ("align_corners=False", "align_corners=True",
            "With align_corners=True a map is stretched to the corners. Leave it at its default."),
        ("large > thresholds[:, None, None]", "large < thresholds[:, None, None]",
            "These are the places below the threshold. The mask is where the unit is above it."),
        ("thresholds[:, None, None]", "thresholds.mean()",
            "One threshold for all units. Each unit has its own."),
        ("large > thresholds[:, None, None]", "large > 0",
            "You cut at 0, where about half of the places are. Cut at the unit's threshold."),
        ("large > thresholds", "large >= thresholds",
            "A place just at the threshold is not above it: take > and not >=."),
    ),
)  # fmt: skip
def unit_masks(activations, thresholds, size):
    """Where each unit is above its threshold, on the picture's grid.

    activations: (N, K, h, w); thresholds: (K,); size: the picture's side in pixels.
    Returns (N, K, size, size), True or False: enlarged bilinearly first, cut then.
    """
    large = F.interpolate(activations, size=(size, size), mode="bilinear", align_corners=False)
    return large > thresholds[:, None, None]


def count_cases(draw: Draw):
    def case(name, n, units, labels, side, probe=None):
        masks = draw.masks(n, units, side, side, share=0.3)
        maps = torch.randint(0, labels + 1, (n, side, side), generator=draw.generator)
        maps[0] = 0  # nothing of this kind is in the first picture
        return Case(name, (masks, maps, labels), probe=probe)

    yield case("four pictures, two units, three labels", 4, 2, 3, 6)
    yield case("one label; the masks must stay", 3, 3, 1, 5, "both")
    yield case("four labels", 5, 2, 4, 7)


@SHEET.exercise(
    "concepts.count_pixels", "Count over the whole set", points=4, minutes=14, difficulty=3,
    cases=count_cases, compare="exact", blocks=(LIBRARY + "dissection.unit_counts",),
    mistakes=(
        ("(labels > 0).flatten(1).any(1)", "torch.ones(len(labels), dtype=torch.bool)",
            "Pictures in which nothing of this kind is labelled do not count: the unit may fire there as it "
            "likes."),
        ("(labels > 0).flatten(1).any(1)", "(labels > 0).flatten(1).all(1)",
            "You keep the pictures that are labelled everywhere. One labelled pixel is enough."),
        ("(labels > 0).flatten(1).any(1)", "masks.any(1).flatten(1).any(1) & (labels > 0).flatten(1).any(1) "
         "& (torch.arange(len(labels)) < len(labels) - 1)",
            "The last picture is left out."),
        ("count + 1)[..., 1:]", "count + 1)[..., :-1]",
            "You count 0, which is no label, and leave out the last. Labels are 1 to count."),
        ("masks.sum((0, 2, 3))", "masks.any(0).sum((1, 2))",
            "You count a place once for all pictures. Count it in each picture."),
        ("masks.sum((0, 2, 3))", "both.sum(1).long()",
            "You count a unit's pixels on labels alone. Where it fires beside them counts as well."),
        ("chosen.sum((0, 1, 2))", "both.sum(0).long()",
            "You count a label's pixels on units alone. All of its pixels count."),
    ),
)  # fmt: skip
def count_pixels(masks, labels, count):
    """Count pixels over all pictures in which any label of this kind occurs.

    masks: (N, K, H, W), True where a unit fires; labels: (N, H, W), the map of one kind (of
    parts, say): 0 for none, 1 to ``count``.
    Returns whole numbers both (K, C): where unit and label are; unit (K,); label (C,), C = count.
    """
    there = (labels > 0).flatten(1).any(1)
    masks, labels = masks[there], labels[there]
    chosen = F.one_hot(labels, count + 1)[..., 1:]
    both = torch.einsum("nkhw,nhwc->kc", masks.double(), chosen.double())
    return both.long(), masks.sum((0, 2, 3)), chosen.sum((0, 1, 2))


def iou_cases(draw: Draw):
    def case(name, units, labels, probe=None):
        unit = 20 + (80 * draw.pictures(units)).long()
        label = 10 + (200 * draw.pictures(labels)).long()
        both = (draw.pictures(units, labels) * torch.minimum(unit[:, None], label)).long()
        unit[-1], both[-1] = 0, 0  # a dead unit
        label[-1], both[:, -1] = 0, 0  # a label that never occurs
        unit[0], label[0], both[0], both[:, 0] = 1, 1, 0, 0
        both[0, 0] = 1  # one pixel on one pixel
        return Case(name, (both, unit, label), probe=probe)

    yield case("three units, four labels", 3, 4)
    yield case("four units, two labels; the counts must stay", 4, 2, "both")
    yield case("five units, five labels", 5, 5)


@SHEET.exercise(
    "concepts.iou_and_ceiling", "The overlap, and the most it could be", points=3, minutes=10, difficulty=2,
    cases=iou_cases,
    mistakes=(
        ("unit[:, None] + label - both", "unit[:, None] + label",
            "Pixels of both are counted twice. The union is unit plus label less both."),
        ("unit[:, None] + label - both", "label + 0 * unit[:, None]",
            "That is the share of the label that the unit covers: a unit that fires everywhere has 1."),
        ("unit[:, None] + label - both", "unit[:, None] + 0 * label",
            "That is the share of the unit that lies on the label: a unit of one pixel may have 1."),
        ("both / (", "2 * both / (",
            "Twice the overlap belongs to Dice, over the sum of both areas. Here it is over the union."),
        ("torch.minimum(unit[:, None], label) / ", "unit[:, None] / ",
            "The smaller area over the larger: where the unit is the larger one, this is 1."),
        ("/ torch.maximum(unit[:, None], label)", "/ torch.minimum(unit[:, None], label)",
            "The ceiling is a share: the smaller area over the larger one, min(q/p, p/q)."),
        ("torch.maximum(unit[:, None], label)", "(unit[:, None] + label)",
            "At best the smaller area lies inside the larger one: then the union is the larger one alone."),
    ),
)  # fmt: skip
def iou_and_ceiling(both, unit, label):
    """Intersection over union of each unit and label, and the most it could be by the two areas.

    both: (K, C), unit: (K,), label: (C,): pixels counted. Returns iou and ceiling, both (K, C),
    0 to 1; 0 where there is nothing to divide by.
    """
    iou = both / (unit[:, None] + label - both).clamp(min=1)
    ceiling = torch.minimum(unit[:, None], label) / torch.maximum(unit[:, None], label).clamp(min=1)
    return iou, ceiling
