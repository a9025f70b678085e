"""The exercises of the notebook 11_filters_and_activations: filters, receptive fields, top patches."""

# mypy: disable-error-code="union-attr"

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("11_filters_and_activations")


def grid_cases(draw: Draw):
    for name, count, side, columns in (
        ("six filters in three columns", 6, 3, 3),
        ("five filters in three columns: a place stays empty", 5, 2, 3),
        ("filters of other sizes; the weights must stay", 7, 4, 4),
    ):
        weight = draw.numbers(count, 3, side, side + 1) * draw.numbers(count).view(-1, 1, 1, 1)
        yield Case(name, (weight, columns), probe="both" if count == 7 else None)


@SHEET.exercise(
    "visualization.filter_grid", "Filters as pictures", points=3, minutes=10, difficulty=1, cases=grid_cases,
    blocks=("labkit.visualization.filter_grid",),
    mistakes=(
        (".abs().amax((1, 2, 3), keepdim=True)", ".abs().amax()",
            "All filters share one scale, so that faint ones are lost. Let each be scaled by itself."),
        (".abs().amax((1, 2, 3), keepdim=True)", ".amax((1, 2, 3), keepdim=True)",
            "You scale by the largest weight. A strong negative one counts as much: take absolute values."),
        (".amax((1, 2, 3), keepdim=True)", ".amax((2, 3), keepdim=True)",
            "Each colour is scaled by itself, which changes the filter's colour. One scale a filter."),
        ({"top = weight.abs()": "low = weight.amin((1, 2, 3), keepdim=True)\n    top = (weight - low)",
          "0.5 + 0.5 * weight / top": "(weight - low) / top"},
            "You stretch from the smallest to the largest weight: grey is then another number in each "
            "filter. Zero must be grey."),
        ("0.5 + 0.5 * weight", "0.5 + weight",
            "Your weights run from -0.5 to 1.5. Halve them before 0.5 is added."),
        ("0.5 + 0.5 * weight", "0.5 - 0.5 * weight",
            "Bright and dark are exchanged: positive weights are bright."),
        ("weight.new_ones(", "weight.new_zeros(", "The lines between filters are white: begin with ones."),
        ("row, column = divmod(k, columns)", "column, row = divmod(k, rows)",
            "Go along the rows: the second filter stands right of the first."),
        ("row * (height + 1), column * (width + 1)", "row * height, column * width",
            "One white pixel stands between two filters: each begins one pixel later for each before it."),
    ),
)  # fmt: skip
def filter_grid(weight, columns):
    """All filters side by side as one picture: zero is grey, each filter on its own scale.

    weight: (K, C, h, w), of any sign; columns: filters in a row. A filter's largest absolute weight
    becomes 1 (or 0, where it is negative). White (1): a pixel between filters, and empty places.
    Returns (C, H, W), filled row by row.
    """
    count, channels, height, width = weight.shape
    top = weight.abs().amax((1, 2, 3), keepdim=True)
    rows = -(-count // columns)
    grid = weight.new_ones(channels, rows * (height + 1) - 1, columns * (width + 1) - 1)
    for k, picture in enumerate(0.5 + 0.5 * weight / top):
        row, column = divmod(k, columns)
        y, x = row * (height + 1), column * (width + 1)
        grid[:, y : y + height, x : x + width] = picture
    return grid


def field_cases(draw: Draw):
    def layers(*shapes):
        return [[kernel, stride, padding] for kernel, stride, padding in shapes]

    yield Case("two convolutions of three pixels", (layers((3, 1, 1), (3, 1, 1)),))
    yield Case("a stride before a convolution", (layers((draw.pick(5, 7), 2, 2), (3, 1, draw.index(2))),))
    several = [(draw.pick(2, 3, 5), draw.pick(1, 2, 3), draw.index(3)) for _ in range(3)]
    yield Case("several layers", (layers((3, 2, 1), *several, (3, 3, 2)),))


@SHEET.exercise(
    "visualization.receptive_field", "What a unit can see", points=3, minutes=10, difficulty=2,
    cases=field_cases, compare="exact", blocks=("labkit.models.receptive_fields",),
    mistakes=(
        ("size += (kernel - 1) * stride", "size += kernel * stride",
            "A kernel of 1 adds nothing: each layer adds kernel - 1 steps."),
        ("size += (kernel - 1) * stride", "size += kernel - 1",
            "Behind a stride, neighbours lie several pixels apart: multiply by the stride so far."),
        ({"size += (kernel": "stride *= step\n        size += (kernel",
          "padding * stride\n        stride *= step": "padding * stride"},
            "A layer's own stride spreads the next layer's kernel, not its own: multiply it in last."),
        ("start -= padding * stride", "start -= padding",
            "The padding is counted in steps of the layer below: multiply it by the stride so far."),
        ("start -= padding * stride", "start += padding * stride",
            "Padding moves the first place to the left of the picture: start becomes negative."),
        ("stride *= step", "stride += step", "Strides multiply: two steps of two are four pixels."),
        ("size, stride, start = 1, 1, 0", "size, stride, start = 0, 1, 0",
            "Without any layer a unit is a pixel: size 1."),
    ),
)  # fmt: skip
def receptive_field(layers):
    """What a unit behind a stack of layers sees along one side: size, stride and start, in pixels.

    layers: a list of [kernel, stride, padding], the first layer first.
    Returns three whole numbers: how many pixels one unit sees, how far on the next unit's begin, and
    the first pixel that unit 0 sees (negative within the padding).
    """
    size, stride, start = 1, 1, 0
    for kernel, step, padding in layers:
        size += (kernel - 1) * stride
        start -= padding * stride
        stride *= step
    return size, stride, start


def strongest_cases(draw: Draw):
    def batches(*sizes, channels=4, height=3, width=5):
        return [draw.numbers(size, channels, height, width) for size in sizes]

    yield Case("one batch", (batches(6), 2))
    yield Case("three batches, the last one smaller", (batches(4, 4, 3), draw.pick(3, 4)))
    yield Case("small batches: more are kept than one holds", (batches(2, 2, 2, 1, height=2), 4))


@SHEET.exercise(
    "visualization.strongest", "Top patches in one pass", points=4, minutes=15, difficulty=3,
    cases=strongest_cases,
    mistakes=(
        (".flatten(2).max(2)", ".flatten(2).min(2)",
            "These are the weakest places. Take the largest value of each picture."),
        ("torch.arange(seen, seen + len(maps))", "torch.arange(len(maps))",
            "The numbers of the pictures begin anew in each batch. Count on from the batches before."),
        ("argsort(0, descending=True)", "argsort(0)", "Sort from the largest to the smallest."),
        ("[part.gather(0, order) for part in found]",
         "[found[0].gather(0, order), found[1][:count], found[2].gather(0, order)]",
            "The pictures' numbers must be put in the same order as the values."),
        ("[part.gather(0, order) for part in found]",
         "[found[0].gather(0, order), found[1].gather(0, order), found[2][:count]]",
            "The places must be put in the same order as the values."),
        ({"found[0].argsort": "found[0].sum(1, keepdim=True).expand_as(found[0]).argsort"},
            "All units get the same pictures. Each unit has an order of its own."),
        (".flatten(2).max(2)", ".abs().flatten(2).max(2)",
            "A value far below zero is not strong: keep the sign."),
    ),
)  # fmt: skip
def strongest(batches, count):
    """The strongest places of every unit over a data set that is seen once, batch by batch.

    batches: an iterable of activations (B, K, h, w); count: places a unit, at most one a picture.
    Returns three tensors (K, count), the strongest first: the values; the pictures' numbers, counted
    over all batches; the places in the h x w map, counted row by row. Nothing else is kept.
    """
    best, seen = None, 0
    for maps in batches:
        value, place = maps.flatten(2).max(2)
        number = torch.arange(seen, seen + len(maps))[:, None].expand_as(place)
        found, seen = [value, number, place], seen + len(maps)
        if best is not None:
            found = [torch.cat(pair) for pair in zip(best, found, strict=True)]
        order = found[0].argsort(0, descending=True)[:count]
        best = [part.gather(0, order) for part in found]
    return tuple(part.T for part in best)


def crop_cases(draw: Draw):
    def case(name, row, column, size=4, stride=3, start=-2, probe=None):
        return Case(
            name,
            (draw.pictures(3, 14, 12), row, column, size, stride, start, draw.number(0.1, 0.9)),
            probe=probe,
        )

    yield case("a patch within the picture", 1, 2, start=0)
    yield case("over the upper left corner", 0, 0)
    yield case("over the lower right corner; the picture must stay", 4, 3, size=5, start=-1, probe="both")
    yield case("larger than the picture", 1, 1, size=19, stride=2, start=-5)


@SHEET.exercise(
    "visualization.crop", "Cut out what it saw", points=2, minutes=8, difficulty=2, cases=crop_cases,
    mistakes=(
        ({"first - top : bottom - top, at - left : last - left": ": bottom - first, : last - at"},
            "What lies beyond the upper or left border must stay empty: begin later in the patch."),
        ("start + row * stride, start + column * stride", "row * stride, column * stride",
            "The first unit begins at `start`, not at 0."),
        ("start + row * stride, start + column * stride", "start + column * stride, start + row * stride",
            "Rows and columns are exchanged."),
        ("start + row * stride, start + column * stride", "start + row, start + column",
            "Neighbouring units lie `stride` pixels apart."),
        ("fill, dtype=picture.dtype", "0.0, dtype=picture.dtype",
            "What lies beyond the border gets the value `fill`."),
    ),
)  # fmt: skip
def crop(picture, row, column, size, stride, start, fill):
    """The patch that a unit sees: the size x size pixels of its receptive field.

    picture: (C, H, W); row, column: the unit's place in its map;
    size, stride, start: as from receptive_field.
    Returns (C, size, size); pixels that lie beyond the picture have the value fill.
    """
    channels, height, width = picture.shape
    top, left = start + row * stride, start + column * stride
    first, bottom = max(top, 0), min(top + size, height)
    at, last = max(left, 0), min(left + size, width)
    patch = torch.full((channels, size, size), fill, dtype=picture.dtype)
    part = picture[:, first:bottom, at:last]
    patch[:, first - top : bottom - top, at - left : last - left] = part
    return patch


def commonest_cases(draw: Draw):
    def labels(units, count, high):
        return torch.tensor([[draw.index(high) for _ in range(count)] for _ in range(units)])

    yield Case("nine patches, few concepts", (labels(6, 9, 4),))
    yield Case("most patches show none", (labels(5, 9, 5) * labels(5, 9, 2) * labels(5, 9, 2),))
    yield Case("a unit whose patches show nothing at all", (labels(3, 7, 6) * torch.tensor([[1], [0], [1]]),))


@SHEET.exercise(
    "visualization.commonest", "Do the patches share a concept?", points=2, minutes=7, difficulty=2,
    cases=commonest_cases,
    mistakes=(
        (" * (labels > 0)", "",
            "Patches that show no concept agree on nothing: a label of 0 does not count."),
        (".amax(1) / labels.shape[1]", ".amax(1) / (labels > 0).sum(1).clamp(min=1)",
            "You divide by the patches that show a concept. Each patch counts: none is a miss."),
        (".amax(1) / labels.shape[1]", ".amax(1).float()",
            "That is how many patches agree. Divide by their number."),
        (".amax(1) / labels.shape[1]", ".sum(1) / labels.shape[1] ** 2",
            "You count all pairs that agree. Asked for is the share of the one commonest concept."),
        ("(labels[:, :, None] == labels[:, None, :])", "(labels[:, :, None] == labels[:, :1, None])",
            "You compare with the first patch only. The commonest concept may be another one."),
    ),
)  # fmt: skip
def commonest(labels):
    """For each unit, which share of its patches the commonest concept has.

    labels: (U, k) whole numbers, the concept that each patch of a unit shows; 0 = none, a miss.
    Returns (U,), from 0 (no patch shows any) to 1 (all show the same).
    """
    agree = (labels[:, :, None] == labels[:, None, :]).sum(2) * (labels > 0)
    return agree.amax(1) / labels.shape[1]
