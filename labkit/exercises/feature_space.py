"""The exercises of the notebook 12_feature_space: neighbours, PCA, t-SNE's affinities and step, dimension."""

from __future__ import annotations

import math

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("12_feature_space")
LIBRARY = "labkit.visualization."


def neighbor_cases(draw: Draw):
    yield Case("eight rows, two neighbours", (draw.numbers(8, 3), 2))
    yield Case("rows of different lengths", (draw.numbers(9, 4) * 10 ** draw.numbers(9, 1), 3))
    yield Case("far from the origin; the features must stay", (draw.numbers(7, 2) + 9, 6), probe="both")


@SHEET.exercise(
    "visualization.nearest_neighbors", "Who lies near", points=2, minutes=6, difficulty=1,
    cases=neighbor_cases, compare="exact",
    blocks=tuple(LIBRARY + name for name in ("nearest_neighbors", "nearest_neighbors_result")),
    mistakes=(
        ('distances.fill_diagonal_(float("inf"))', "pass",
            "Each row is its own nearest neighbour here. Put its distance to itself out of the way."),
        ({"largest=False": "largest=True", '"inf"': '"-inf"'},
            "These are the farthest rows. Take the smallest distances."),
        ("torch.cdist(features, features)", "-features @ features.T",
            "A large product is no small distance: long rows would be near to all. Subtract, then square."),
        ("torch.cdist(features, features)", "(features[:, None] - features).abs().sum(2)",
            "You add up absolute differences. Euclid's distance squares them first."),
        ("topk(k, dim=1, largest=False).indices", "topk(k + 1, dim=1, largest=False).indices[:, 1:]",
            "You leave out the nearest one. Put the row itself out of the way, or skip it: not both."),
        ("torch.cdist(features, features)",
         "1 - torch.nn.functional.normalize(features) @ torch.nn.functional.normalize(features).T",
            "That is the cosine, which forgets how long a row is. Take Euclid's distance."),
    ),
)  # fmt: skip
def nearest_neighbors(features, k):
    """The k rows closest to each row by Euclid's distance, the nearest first, never the row itself.

    features: (N, D); k: below N. Returns row numbers (N, k), whole numbers.
    """
    distances = torch.cdist(features, features)
    distances.fill_diagonal_(float("inf"))
    return distances.topk(k, dim=1, largest=False).indices


def precision_cases(draw: Draw):
    def case(name, n, k, kinds):
        order = torch.stack([torch.randperm(n, generator=draw.generator)[:k] for _ in range(n)])
        labels = torch.randint(kinds, (n,), generator=draw.generator)
        return Case(name, (order, labels))

    yield case("eight rows of two kinds", 8, 3, 2)
    yield case("one neighbour", 9, 1, 3)
    yield case("many kinds", 12, 5, 4)


@SHEET.exercise(
    "visualization.precision_at_k", "How many are of its kind", points=1, minutes=4, difficulty=1,
    cases=precision_cases, blocks=("labkit.evaluation.precision_at_k",),
    mistakes=(
        ("mean(1)", "sum(1)", "You count them. The share is asked for: divide by the number of neighbours."),
        ("theirs == labels[:, None]", "theirs != labels[:, None]",
            "That is the share of neighbours of another kind. Count those of its own."),
        ("mean(1)", "amax(1)", "You ask whether any neighbour is of its kind. The share of them is wanted."),
        ("theirs == labels[:, None]", "theirs == theirs[:, :1]",
            "You compare with the first neighbour's kind. Compare with the row's own."),
        ("labels[neighbors]", "neighbors",
            "You compare row numbers with labels. Look the neighbours' labels up: labels[neighbors]."),
    ),
)  # fmt: skip
def precision_at_k(neighbors, labels):
    """For each row the share of its k neighbours that have its label.

    neighbors: row numbers (N, k); labels: (N,), whole numbers. Returns (N,), floats from 0 to 1.
    """
    theirs = labels[neighbors]
    return (theirs == labels[:, None]).float().mean(1)


def pca_cases(draw: Draw):
    def cloud(n, d):
        return draw.numbers(n, d) * torch.arange(1.0, d + 1).to(draw.dtype) ** 1.5

    yield Case("twelve rows in four dimensions", (cloud(12, 4), 2))
    yield Case("a cloud far from the origin", (cloud(15, 3) + 20, 3))
    yield Case("more columns than rows; the features must stay", (cloud(6, 9), 4), probe="both")


@SHEET.exercise(
    "visualization.pca", "The directions that vary most", points=3, minutes=10, difficulty=2,
    cases=pca_cases, blocks=tuple(LIBRARY + name for name in ("pca", "pca_result")),
    mistakes=(
        ("features - features.mean(0)", "features * 1",
            "The cloud is not centred: the first direction then points at its middle, not along it."),
        ("features - features.mean(0)", "(features - features.mean(0)) / features.std(0)",
            "You bring all columns to the same spread. PCA asks where the features vary as they are."),
        ("features - features.mean(0)", "features - features.mean(1, keepdim=True)",
            "You subtract each row's own mean. Subtract the mean row: mean(0)."),
        ("[2][:count]", "[2].flip(0)[:count]",
            "These are the directions that vary least. The first rows vary most."),
        ("torch.where(largest < 0, -1, 1)", "1",
            "The sign is left to chance. Turn each direction so that its largest entry is positive."),
        ("torch.where(largest < 0, -1, 1)", "torch.where(directions.sum(1, keepdim=True) < 0, -1, 1)",
            "You look at the sum of a direction. Its entry of largest size is to be positive."),
        ("torch.where(largest < 0, -1, 1)", "torch.where(directions[:, :1] < 0, -1, 1)",
            "You look at the first entry. The entry of largest size is to be positive."),
    ),
)  # fmt: skip
def pca(features, count):
    """PCA by SVD: the rows seen along the directions in which they vary most, and these directions.

    features: (N, D); count: how many directions.
    Returns points (N, count) and directions (count, D) of length 1, the largest entry positive.
    """
    centred = features - features.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False)[2][:count]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    directions = directions * torch.where(largest < 0, -1, 1)
    return centred @ directions.T, directions


def affinity_cases(draw: Draw):
    def case(name, n, perplexity, scale=1.0, probe=None):
        rows = draw.numbers(n, 3) * scale
        rows[: n // 2] *= 4  # half of it lies thinner
        squares = ((rows[:, None] - rows) ** 2).sum(2)
        return Case(name, (squares, perplexity), probe=probe)

    yield case("twelve rows, perplexity 3", 12, 3.0)
    yield case("sixteen rows, perplexity 5; the distances must stay", 16, 5.0, probe="both")
    yield case("a cloud of another size", 14, 4.0, scale=0.2)


@SHEET.exercise(
    "visualization.affinities", "How near, at a given perplexity", points=4, minutes=18, difficulty=3,
    cases=affinity_cases,
    mistakes=(
        ("(p + p.T) / (2 * len(p))", "p / len(p)",
            "The affinities must be the same both ways: average p and its transpose."),
        ("(p + p.T) / (2 * len(p))", "(p + p.T) / 2",
            "All affinities together must add up to 1: divide by the number of rows as well."),
        ("entropy > math.log(perplexity)", "entropy < math.log(perplexity)",
            "The bisection runs the wrong way: where there are too many neighbours, beta must grow."),
        ("math.log(perplexity)", "perplexity",
            "You hold the entropy itself against the perplexity. Perplexity is exp(entropy)."),
        ("math.log(perplexity)", "math.log2(perplexity)",
            "With the natural logarithm in the entropy take it here too; or two of base 2."),
        ('.fill_diagonal_(float("inf"))', "",
            "Each row takes itself for its nearest neighbour. Its own affinity must be 0."),
        ("keepdim=True)\n", "keepdim=True).mean()\n",
            "One bandwidth for all rows: then a thin part of the cloud has no neighbours. Find one a row."),
        ("range(60)", "range(4)", "Four halvings are too few: the perplexity is still far off. Take 50."),
    ),
)  # fmt: skip
def affinities(squares, perplexity):
    """t-SNE's affinities: for each row a bandwidth by bisection, so that its perplexity is right.

    squares: squared distances (N, N); perplexity: a number.
    Returns (N, N), the same both ways, 0 on the diagonal, all together 1.
    """
    squares = squares.clone().fill_diagonal_(float("inf"))
    low = torch.full_like(squares[:, :1], -20.0)
    high = -low
    for _ in range(60):
        middle = (low + high) / 2
        p = (-squares * middle.exp()).softmax(1)
        entropy = -torch.xlogy(p, p).sum(1, keepdim=True)
        wide = entropy > math.log(perplexity)
        low = torch.where(wide, middle, low)
        high = torch.where(wide, high, middle)
    return (p + p.T) / (2 * len(p))


def step_cases(draw: Draw):
    def case(name, n, probe=None):
        p = draw.pictures(n, n).triu(1)
        p = (p + p.T) / (2 * p.sum())
        return Case(name, (draw.numbers(n, 2), p, draw.number(1, 9)), probe=probe)

    yield case("five points", 5)
    yield case("eight points; the arguments must stay", 8, "both")
    yield case("seven points, another rate", 7)


@SHEET.exercise(
    "visualization.tsne_step", "One step of t-SNE", points=3, minutes=14, difficulty=3, cases=step_cases,
    mistakes=(
        ("points - rate", "points + rate", "You climb. The divergence is to fall: subtract the gradient."),
        ("kernel / kernel.sum()", "kernel / kernel.sum(1, keepdim=True)",
            "Of all pairs q is one distribution: divide by the sum of the whole matrix."),
        ("1 / (1 + (apart**2).sum(2))", "torch.exp(-(apart**2).sum(2))",
            "That is SNE's Gaussian. t-SNE's kernel is Student's: 1 / (1 + squared distance)."),
        ("(p - q) * kernel", "(p - q)",
            "The factor of the kernel is missing: in the derivative it stands beside p - q."),
        (".fill_diagonal_(0)", "", "Pairs of a point with itself do not count: its kernel must be 0."),
        ("= 4 * (", "= (", "The factor 4 is missing."),
        ("apart).sum(1)", "apart).mean(1)", "You average over the other points. Add them up."),
    ),
)  # fmt: skip
def tsne_step(points, p, rate):
    """One step of gradient descent on the divergence of q, the affinities of the points, from p.

    points: (N, 2); p: (N, N), as affinities gives them; rate: the learning rate.
    Returns the new points (N, 2).
    """
    apart = points[:, None] - points
    kernel = (1 / (1 + (apart**2).sum(2))).fill_diagonal_(0)
    q = kernel / kernel.sum()
    gradient = 4 * (((p - q) * kernel)[:, :, None] * apart).sum(1)
    return points - rate * gradient


def dimension_cases(draw: Draw):
    yield Case("a plane in five dimensions", (draw.numbers(40, 2) @ draw.numbers(2, 5), 6))
    yield Case("a cloud in four dimensions", (draw.numbers(50, 4), 8))
    yield Case("three neighbours; the features must stay", (draw.numbers(30, 3), 3), probe="both")


@SHEET.exercise(
    "visualization.mle_dimension", "Count the directions", points=3, minutes=10, difficulty=2,
    cases=dimension_cases,
    blocks=tuple(LIBRARY + name for name in ("intrinsic_dimension", "intrinsic_dimension_result")),
    mistakes=(
        ("1 / inverses.mean()", "(1 / inverses).mean()",
            "You average the dimensions. Average their inverses, as MacKay and Ghahramani say."),
        ("1 / inverses.mean()", "inverses.mean()",
            "That is the mean of the logarithms: 1 over the dimension."),
        ("near[:, -1:] / near[:, :-1]", "near[:, -1:] / near",
            "The k-th neighbour's ratio to itself, whose logarithm is 0, does not count: k - 1 ratios."),
        ("near[:, -1:] / near[:, :-1]", "near[:, :-1] / near[:, :1]",
            "You compare with the nearest one. The distance to the k-th is over the nearer ones'."),
        ("1 : k + 1", ":k",
            "The smallest distance is that of the row to itself, 0. Leave it out, and take the k-th in."),
        (".log().mean(1)", ".mean(1).log()", "First the logarithm of each ratio, then the mean."),
        (".log()", ".log2()", "Take the natural logarithm."),
    ),
)  # fmt: skip
def mle_dimension(features, k):
    """Levina and Bickel's estimate of the dimension, the inverses averaged over rows.

    features: (N, D), no row twice; k: how many neighbours, at least 2.
    Returns one number (a tensor).
    """
    near = torch.cdist(features, features).sort(1).values[:, 1 : k + 1]
    inverses = (near[:, -1:] / near[:, :-1]).log().mean(1)
    return 1 / inverses.mean()
