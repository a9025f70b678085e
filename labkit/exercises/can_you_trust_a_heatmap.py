"""The exercises of the notebook 25: rank correlation, deletion curve, pointing game, worst group."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.calls.exercise import Case, Exercise, Misconception, Recipe

NOTEBOOK = "25_can_you_trust_a_heatmap"
NETS = "labkit.calls.recipes:"


def _pictures(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- rank correlation


def _ranks(maps: Tensor) -> Tensor:
    return maps.flatten(1).argsort(1).argsort(1).double()


def _pearson(x: Tensor, y: Tensor) -> Tensor:
    x, y = (v - v.mean(1, keepdim=True) for v in (x, y))
    return (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    return _pearson(_ranks(first), _ranks(second))


def _rank_case(name: str, seed: int) -> Case:
    """Three pairs: alike, opposed, alike."""
    first = _numbers(seed, 3, 6, 5)
    turn = torch.tensor([0.7, -0.7, 0.7], dtype=torch.float64)[:, None, None]
    return Case(name, (first, (turn * first + _numbers(seed + 1, 3, 6, 5)).exp()))


def _ranked(axis: int):
    """Ranks along another axis of the maps than that of all pixels."""
    return lambda a, b: _pearson(*(m.argsort(axis).argsort(axis).double().flatten(1) for m in (a, b)))


def _by_deviation(first: Tensor, second: Tensor) -> Tensor:
    a, b = _ranks(first), _ranks(second)
    return ((a - a.mean()) * (b - b.mean())).mean(1) / (a.std(1) * b.std(1))


RANK = Exercise(
    id="evaluation.rank_correlation",
    title="How alike are two maps?",
    points=3,
    minutes=8,
    difficulty=2,
    signature="rank_correlation(first, second)",
    reference=rank_correlation,
    public=lambda: [_rank_case("three pairs of maps", 10), _rank_case("other maps", 14)],
    hidden=lambda seed: [
        _rank_case("more maps", seed % 10007 + 50),
        _rank_case("and more", seed % 9973 + 90),
    ],
    misconceptions=(
        Misconception(
            "values",
            lambda a, b: _pearson(a.flatten(1), b.flatten(1)),
            "You correlate the values. Replace each value by its rank first, or the unit of the map decides.",
        ),
        Misconception(
            "order",
            lambda a, b: _pearson(a.flatten(1).argsort(1).double(), b.flatten(1).argsort(1).double()),
            "One argsort gives the order of the pixels. The ranks are the argsort of the argsort.",
        ),
        Misconception(
            "sizes",
            lambda a, b: rank_correlation(a.abs(), b.abs()),
            "You compare the sizes. Here the signs count: leave out the abs.",
        ),
        Misconception(
            "whole_batch",
            lambda a, b: rank_correlation(a.flatten()[None], b.flatten()[None]).expand(len(a)),
            "You rank the whole batch at once. Each picture has its own ranks and its own number.",
        ),
        Misconception(
            "not_centred",
            lambda a, b: (_ranks(a) * _ranks(b)).sum(1) / (_ranks(a).norm(dim=1) * _ranks(b).norm(dim=1)),
            "Take the mean rank off first, or even unrelated maps look alike.",
        ),
        Misconception(
            "distance",
            lambda a, b: (_ranks(a) - _ranks(b)).abs().mean(1) / a[0].numel(),
            "That is a distance of ranks. A correlation is 1 for maps in the same order.",
        ),
        Misconception(
            "in_rows", _ranked(2), "You rank within each row of pixels. Flatten each map first: flatten(1)."
        ),
        Misconception(
            "over_pictures",
            _ranked(0),
            "You rank over the pictures. Each picture's pixels are ranked among themselves: axis 1.",
        ),
        Misconception(
            "absolute",
            lambda a, b: rank_correlation(a, b).abs(),
            "Maps in opposite order have a correlation below zero: keep its sign.",
        ),
        Misconception(
            "no_lengths",
            lambda a, b: rank_correlation(a, b) * (_ranks(a) - _ranks(a).mean()).norm(dim=1) ** 2,
            "That is the sum above the line only. Divide by the lengths of both.",
        ),
        Misconception(
            "no_root",
            lambda a, b: rank_correlation(a, b) / (_ranks(a) - _ranks(a).mean()).norm(dim=1) ** 2,
            "The square root below the line is missing.",
        ),
        Misconception(
            "deviation",
            _by_deviation,
            "Your std divides by one less than your mean does. Let both divide alike, or use sums as above.",
        ),
    ),
    blocks=("labkit.evaluation.rank_correlation", "scipy.stats"),
)


# ---- the deletion curve


def deletion_curve(
    model: nn.Module, image: Tensor, values: Tensor, target: int, steps: int, fill: float
) -> Tensor:
    return _curve(model, image, values, target, steps, fill)


def _order(values: Tensor) -> Tensor:
    return values.flatten().argsort(descending=True)


def _count(k: int, steps: int, pixels: int) -> int:
    return round(k / steps * pixels)


def _probability(out: Tensor, target: int) -> Tensor:
    return out.softmax(1)[0, target]


@torch.no_grad()
def _curve(
    model, image, values, target, steps, fill, *,
    order=_order, count=_count, score=_probability, back=False, alone=False, channels=3, inside=False,
):  # fmt: skip
    places, found = order(values), []
    for k in range(steps + 1):
        shown = torch.full_like(image, fill) if back else image if inside else image.clone()
        first = count(k - 1, steps, len(places)) if alone and k else 0
        chosen = places[first : count(k, steps, len(places))]
        shown.flatten(2)[:, :channels, chosen] = image.flatten(2)[:, :channels, chosen] if back else fill
        found.append(score(model(shown), target))
    return torch.stack(found)


def _wrong_curve(**options):
    return lambda *args: _curve(*args, **options)


def _curve_case(name: str, seed: int, steps: int, fill: float, probe: str | None = None) -> Case:
    """48 pixels in an odd number of steps: no count lies halfway, and rounding down differs."""
    model = Recipe(NETS + "deeper", {"seed": seed})
    args = (model, _pictures(seed + 1, 1, 3, 8, 6), _numbers(seed + 2, 8, 6), 1, steps, fill)
    return Case(name, args, probe=probe)


CURVE_MISTAKES = (
    Misconception("least_first", _wrong_curve(order=lambda values: values.flatten().argsort()),
        "You begin with the least important pixels. The highest values of the map go first."),
    Misconception("sizes", _wrong_curve(order=lambda values: _order(values.abs())),
        "You order by size. Strongly negative values go last, not first: leave out the abs."),
    Misconception("ranks", _wrong_curve(order=lambda values: _order(values).argsort()),
        "One argsort is right here: it lists the pixels in order, the second one gives their ranks."),
    Misconception("insertion", _wrong_curve(back=True),
        "That is insertion: pixels come back into a filled picture. Here they are taken away."),
    Misconception("score", _wrong_curve(score=lambda out, target: out[0, target]),
        "This curve is in probabilities: take the softmax."),
    Misconception("logarithm", _wrong_curve(score=lambda out, target: out.log_softmax(1)[0, target]),
        "You return the logarithm of the probability. The curve is in probabilities."),
    Misconception("over_pictures", _wrong_curve(score=lambda out, target: out.softmax(0)[0, target]),
        "Your softmax runs over the batch, which holds one picture. The classes are axis 1."),
    Misconception("leading_class", _wrong_curve(score=lambda out, target: out.softmax(1).max()),
        "You follow whichever class leads. Ask for the same class, the target, at every point."),
    Misconception("no_start", _wrong_curve(count=lambda k, steps, pixels: _count(k + 1, steps, pixels)),
        "The curve begins with the untouched picture: at point k, k / steps of the pixels are gone."),
    Misconception("points", _wrong_curve(count=lambda k, steps, pixels: _count(k, steps + 1, pixels)),
        "Your last picture is not empty: divide k by the number of steps, one less than the points."),
    Misconception("cut_off", _wrong_curve(count=lambda k, steps, pixels: k * pixels // steps),
        "You cut off, as int() and // do. The number of covered pixels is rounded to the nearest one."),
    Misconception("equal_steps", _wrong_curve(count=lambda k, steps, pixels: k * (pixels // steps)),
        "Equally large steps leave some pixels over. Round k / steps of all pixels, each time anew."),
    Misconception("single_pixels", _wrong_curve(count=lambda k, steps, pixels: k),
        "You cover k pixels at point k. It is the share k / steps of all pixels."),
    Misconception("one_share_at_a_time", _wrong_curve(alone=True),
        "What is gone stays gone: at each step all pixels so far are covered."),
    Misconception("one_colour", _wrong_curve(channels=1),
        "You cover the first colour only. A pixel is gone when all its channels are."),
    Misconception("black", lambda net, x, v, t, k, fill: _curve(net, x, v, t, k, 0.0),
        "You cover with black whatever is asked. Use fill."),
    Misconception("inside", _wrong_curve(inside=True),
        "You write into the picture that was handed to you. Begin each step with image.clone()."),
    Misconception("backwards", lambda *args: _curve(*args).flip(0),
        "The curve runs from the whole picture to the empty one."),
)  # fmt: skip

DELETION = Exercise(
    id="evaluation.deletion_curve",
    title="Take away what matters",
    points=4,
    minutes=12,
    difficulty=2,
    signature="deletion_curve(model, image, values, target, steps, fill)",
    reference=deletion_curve,
    public=lambda: [
        _curve_case("seven steps to grey", 20, 7, 0.5),
        _curve_case("five steps to black; the picture must stay as it was", 24, 5, 0.0, "both"),
    ],
    hidden=lambda seed: [
        _curve_case("another network", seed % 10007 + 300, 9, 0.5),
        _curve_case("another fill", seed % 9973 + 400, 5, 0.8),
    ],
    misconceptions=CURVE_MISTAKES,
    blocks=("labkit.evaluation.deletion",),
)


# ---- the pointing game


def pointing_hits(maps: Tensor, masks: Tensor, tolerance: float) -> Tensor:
    return _pointing(maps, masks, tolerance)


def _peak(values: Tensor) -> tuple[int, int]:
    return divmod(int(values.argmax()), values.shape[1])


def _within(down: Tensor, across: Tensor, tolerance: float) -> Tensor:
    return (down**2 + across**2 <= tolerance**2).any()


def _pointing(maps, masks, tolerance, *, place=_peak, near=_within, flat=False):
    hits = []
    for values, mask in zip(maps, masks, strict=True):
        down, across = (mask.nonzero() - torch.tensor(place(values))).unbind(1)
        hit = bool(near(down.double(), across.double(), tolerance))
        hits.append(hit and (flat or bool(values.max() > values.min())))
    return torch.tensor(hits)


def _wrong_game(**options):
    return lambda *args: _pointing(*args, **options)


def _centre_of_mass(values: Tensor) -> tuple[int, ...]:
    share = values.clamp(min=0) / values.clamp(min=0).sum().clamp(min=1e-9)
    axes = [torch.arange(s, dtype=values.dtype) for s in values.shape]
    return tuple(round(float(share.sum(1 - n) @ axis)) for n, axis in enumerate(axes))


OFFSETS = ((0, 0), (0, 2), (2, 2), (3, 1), (0, 5), (2, 3), (2, 1), (1, 1))


def _pointing_case(name: str, seed: int, tolerance: float) -> Case:
    """The nearest place of each mask lies at an offset from the peak; half reach farther from there."""
    turns = torch.randint(0, 2, (16,), generator=torch.Generator().manual_seed(seed)).tolist()
    maps, masks = _numbers(seed, 16, 12, 10), torch.zeros(16, 12, 10, dtype=torch.bool)
    for number, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        spans = []
        for axis, (start, size) in enumerate(zip(_peak(values), mask.shape, strict=True)):
            offset = OFFSETS[number % 8][axis ^ turns[number]]
            reach = 3 + axis if number < 8 else 1
            low = start + offset if start < size // 2 else start - offset - reach + 1
            spans.append(slice(max(low, 0), low + reach))
        mask[tuple(spans)] = True
    maps[-1], masks[-1, :4, :4] = 1.0, True
    maps[:3] -= 3 * (maps[:3] == maps[:3].amin((1, 2), keepdim=True))
    return Case(name, (maps, masks, tolerance))


GAME_MISTAKES = (
    Misconception("no_tolerance", lambda maps, masks, tolerance: _pointing(maps, masks, 0),
        "The peak need not lie on the mask itself: within the tolerance is near enough."),
    Misconception("not_squared", lambda maps, masks, tolerance: _pointing(maps, masks, tolerance**0.5),
        "You compare a squared distance with the tolerance: square that as well, or take the root."),
    Misconception("strictly_below", _wrong_game(near=lambda d, a, t: (d**2 + a**2 < t**2).any()),
        "A peak exactly at the tolerance hits: at most, not less than."),
    Misconception("mask_centre", _wrong_game(near=lambda d, a, t: d.mean() ** 2 + a.mean() ** 2 <= t**2),
        "You measure to the middle of the mask. The nearest of its places counts."),
    Misconception("flat_counts", _wrong_game(flat=True),
        "A flat map, all of its values alike, points nowhere: a miss, wherever argmax puts its peak."),
    Misconception("box", _wrong_game(near=lambda d, a, t: (d.abs().maximum(a.abs()) <= t).any()),
        "You take the larger of the two steps. The distance is the straight one, by Pythagoras."),
    Misconception("detour", _wrong_game(near=lambda d, a, t: (d.abs() + a.abs() <= t).any()),
        "You add rows and columns up, as in walking round a block. The distance is the straight one."),
    Misconception("rows_only", _wrong_game(near=lambda d, a, t: (d.abs() <= t).any()),
        "You compare rows only. The columns count as well."),
    Misconception("columns_only", _wrong_game(near=lambda d, a, t: (a.abs() <= t).any()),
        "You compare columns only. The rows count as well."),
    Misconception("exchanged", _wrong_game(place=lambda values: _peak(values)[::-1]),
        "Row and column of the peak are exchanged: nonzero gives the row first."),
    Misconception("height", _wrong_game(place=lambda values: divmod(int(values.argmax()), values.shape[0])),
        "You divide the flat index by the height. A row is as long as the map is wide."),
    Misconception("largest_size", _wrong_game(place=lambda values: _peak(values.abs())),
        "The peak is the largest value, not the largest size: a strongly negative place speaks against."),
    Misconception("centre_of_mass", _wrong_game(place=_centre_of_mass),
        "You point at the centre of mass. The game asks for the single highest place."),
)  # fmt: skip

POINTING = Exercise(
    id="evaluation.pointing_hits",
    title="The pointing game",
    points=3,
    minutes=8,
    difficulty=1,
    signature="pointing_hits(maps, masks, tolerance)",
    reference=pointing_hits,
    public=lambda: [
        _pointing_case("sixteen maps, one of them flat", 30, 3.5),
        _pointing_case("some peaks exactly at the tolerance", 31, 2.0),
    ],
    hidden=lambda seed: [
        _pointing_case("other maps", seed % 10007 + 500, 2.0),
        _pointing_case("more", seed % 9973 + 700, 3.5),
    ],
    misconceptions=GAME_MISTAKES,
    blocks=("labkit.evaluation.pointing_hits", "labkit.evaluation.pointing_game"),
)


# ---- the worst group


def worst_gap(predictions: Tensor, labels: Tensor, groups: Tensor) -> float:
    right = (predictions == labels).double()
    return float(right.mean() - min(right[groups == g].mean() for g in groups.unique()))


def _shares(predictions: Tensor, labels: Tensor, groups: Tensor) -> list[float]:
    right = (predictions == labels).double()
    return [float(right[groups == g].mean()) for g in groups.unique()]


def _mean(predictions: Tensor, labels: Tensor) -> float:
    return float((predictions == labels).double().mean())


def _groups_case(name: str, seed: int, worst: int) -> Case:
    """The worst group, 4 or 6, is not the smallest one, and the best lies farther from the mean."""
    generator = torch.Generator().manual_seed(seed)
    more = torch.randint(0, 2, (2,), generator=generator).tolist()
    numbers, sizes, errors = (0, 1, worst, 10 - worst), (30, 5, 7, 18), (13 + more[0], 2, 4, 1 + more[1])
    groups = torch.tensor([g for g, size in zip(numbers, sizes, strict=True) for _ in range(size)])
    wrong = torch.tensor([k < n for size, n in zip(sizes, errors, strict=True) for k in range(size)])
    labels = torch.randint(0, 5, (60,), generator=generator)
    mixed = torch.randperm(60, generator=generator)
    predictions = torch.where(wrong, (labels + 1) % 5, labels)
    return Case(name, (predictions[mixed], labels[mixed], groups[mixed]))


WORST = Exercise(
    id="evaluation.worst_gap",
    title="What a mean hides",
    points=2,
    minutes=6,
    difficulty=1,
    signature="worst_gap(predictions, labels, groups)",
    reference=worst_gap,
    public=lambda: [
        _groups_case("sixty pictures in four groups", 40, 4),
        _groups_case("other answers", 44, 6),
    ],
    hidden=lambda seed: [
        _groups_case("more", seed % 10007 + 900, 6),
        _groups_case("and more", seed % 9973 + 950, 4),
    ],
    misconceptions=(
        Misconception(
            "from_best",
            lambda p, y, g: max(_shares(p, y, g)) - min(_shares(p, y, g)),
            "You compare with the best group. Asked for is how far the worst lies below the mean.",
        ),
        Misconception(
            "mean_of_groups",
            lambda p, y, g: sum(_shares(p, y, g)) / len(_shares(p, y, g)) - min(_shares(p, y, g)),
            "The mean is over all pictures, not over the groups: that is the number one usually reports.",
        ),
        Misconception(
            "worst_itself",
            lambda p, y, g: min(_shares(p, y, g)),
            "That is the worst group's accuracy. Asked for is its distance from the mean.",
        ),
        Misconception(
            "sign",
            lambda p, y, g: min(_shares(p, y, g)) - _mean(p, y),
            "The sign is turned: mean minus worst, so that a gap is positive.",
        ),
        Misconception(
            "best",
            lambda p, y, g: max(_shares(p, y, g)) - _mean(p, y),
            "You measure to the best group. Asked for is the lowest accuracy, and how far it lies below.",
        ),
        Misconception(
            "highest",
            lambda p, y, g: _mean(p, y) - max(_shares(p, y, g)),
            "You take off the highest accuracy: the worst group has the lowest one.",
        ),
        Misconception(
            "smallest_group",
            lambda p, y, g: _mean(p, y) - _shares(p, y, g)[int(g.unique(return_counts=True)[1].argmin())],
            "The smallest group need not be the worst one. Look for the lowest accuracy.",
        ),
        Misconception(
            "of_all",
            lambda p, y, g: (
                _mean(p, y) - min(float(((p == y) & (g == k)).double().mean()) for k in g.unique())
            ),
            "Divide by the number of pictures in the group, not by that of all pictures.",
        ),
        Misconception(
            "counts",
            lambda p, y, g: _mean(p, y) - min(float(((p == y) & (g == k)).sum()) for k in g.unique()),
            "You count the right answers of a group. Divide by its number of pictures.",
        ),
        Misconception(
            "by_label",
            lambda p, y, g: _mean(p, y) - min(_shares(p, y, y)),
            "You group by the label. Which group a picture belongs to stands in groups.",
        ),
        Misconception(
            "counted_through",
            lambda p, y, g: _mean(p, y) - min(_shares(p, y, g)[:2]),
            "The groups' numbers have gaps, so counting up misses some: take groups.unique().",
        ),
        Misconception(
            "last_left_out",
            lambda p, y, g: _mean(p, y) - min(_shares(p, y, g)[:-1]),
            "The last group is left out: range ends before the number that it is given.",
        ),
    ),
    blocks=("labkit.evaluation.accuracy_by_group",),
)

EXERCISES = (RANK, DELETION, POINTING, WORST)
