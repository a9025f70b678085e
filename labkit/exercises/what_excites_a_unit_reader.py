"""The exercises of the notebook 13 that look at many pictures: starts of facets, and a reader."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("13_what_excites_a_unit")


def facet_cases(draw: Draw):
    """Two centres begin in one cluster, so that points change sides after the first step."""
    for name, steps in (("one step", 1), ("two steps", 2), ("several steps", 5)):
        which = torch.tensor([0, 0, 1, 2, 2, 0, 1, 2, 1, 1, 2, 0])
        middles = (3 * torch.eye(3, 5, dtype=torch.float64)).to(draw.dtype)
        points = middles[which] + draw.numbers(12, 5)
        yield Case(name, (points, draw.pictures(12, 3, 4, 5), points[:3].clone(), steps))


@SHEET.exercise(
    "visualization.facet_starts", "One start for each facet", points=4, minutes=12, difficulty=2,
    cases=facet_cases, blocks=("labkit.visualization.facets.k_means", "labkit.visualization.multifaceted"),
    mistakes=(
        ("argmin(1)", "argmax(1)", "Each point belongs to the nearest centre, not to the farthest."),
        ("torch.cdist(points, centres).argmin(1)", "(points @ centres.T).argmax(1)",
            "The largest inner product favours long centres. Take the smallest distance."),
        ("points[labels == k].mean(0)", "points[labels == k].sum(0)", "A centre is the mean of its points."),
        ("pictures[labels == k].mean(0)", "pictures[labels == k][0]",
            "You take one picture. A start is the mean of all pictures of the cluster."),
        ("pictures[labels == k].mean(0)", "pictures[labels == k].median(0).values",
            "The mean of the pictures is asked for, not the median."),
        ("range(steps)", "range(1)", "Repeat: assign, move the centres, as many times as steps says."),
        ("pictures[labels == k]", "pictures[torch.cdist(points, centres).argmin(1) == k]",
            "You assign once more after the last move. The pictures go by the last assignment of the loop."),
    ),
)  # fmt: skip
def facet_starts(points, pictures, centres, steps):
    """The mean picture of each cluster, after some steps of k-means.

    points: (N, D), the pictures' features; pictures: (N, 3, H, W); centres: (K, D), where to begin.
    A step: each point takes its nearest centre, then each centre moves to the mean of its points.
    Returns (K, 3, H, W), by the assignment of the last step.
    """
    for _ in range(steps):
        labels = torch.cdist(points, centres).argmin(1)
        centres = torch.stack([points[labels == k].mean(0) for k in range(len(centres))])
    return torch.stack([pictures[labels == k].mean(0) for k in range(len(centres))])


def reader_cases(draw: Draw):
    for name, count in (("seven pairs", 7), ("ten pairs", 10)):
        shown = draw.numbers(5)
        first, second = (shown + draw.numbers(count, 5) * 2 * draw.pictures(count, 1) for _ in range(2))
        sizes = 1 + 4 * draw.pictures(count, 1)
        yield Case(name, (shown, first * sizes, second, draw.pictures(count), draw.pictures(count)))


NEAR = "F.cosine_similarity(first, shown[None]) > F.cosine_similarity(second, shown[None])"


@SHEET.exercise(
    "visualization.reader", "A reader", points=3, minutes=10, difficulty=2, cases=reader_cases,
    mistakes=(
        (NEAR, "first @ shown > second @ shown",
            "The inner product favours pictures with large features. Take the cosine."),
        (NEAR, "(first - shown).norm(dim=1) < (second - shown).norm(dim=1)",
            "That is the distance, for which large features are far. Take the cosine."),
        ("> F.cosine", "< F.cosine", "The reader takes the picture that is *more* like what it was shown."),
        ("(guess == more)", "guess", "You count how often the first is taken, not how often that is right."),
        ("(guess == more)", "(guess & more)",
            "A reader is right too where the second is taken and the second drives it more."),
        (".float().mean()", ".float().sum()", "A share is asked for, from 0 to 1."),
    ),
)  # fmt: skip
def reader(shown, first, second, drive_first, drive_second):
    """How often a reader is right who takes, of two pictures, the one more like what it was shown.

    shown: (D,), the features of what the reader saw; first, second: (P, D), those of P pairs of
    pictures; drive_first, drive_second: (P,), how much each drives the unit.
    Returns the share of pairs in which the picture with the larger cosine drives it more.
    """
    guess = F.cosine_similarity(first, shown[None]) > F.cosine_similarity(second, shown[None])
    more = drive_first > drive_second
    return (guess == more).float().mean()
