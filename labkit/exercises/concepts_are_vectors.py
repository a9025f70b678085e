"""The exercises of the notebook 33_concepts_are_vectors: Net2Vec by hand, arithmetic, spaces that agree."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("33_concepts_are_vectors")
LIBRARY = "labkit.concepts."


def single_cases(draw: Draw):
    yield Case("forty pixels, five filters", (draw.masks(40, 5, share=0.4), draw.masks(40)))
    yield Case("a small concept; the arguments must stay",
               (draw.masks(60, 4, share=0.3), draw.masks(60, share=0.1)), probe="both")  # fmt: skip
    yield Case("filters that are hardly ever on", (draw.masks(80, 6, share=0.1), draw.masks(80, share=0.3)))


@SHEET.exercise(
    "concepts.best_single", "The best single filter", points=2, minutes=8, difficulty=1, cases=single_cases,
    blocks=(LIBRARY + "concept_pixels.unit_ious", LIBRARY + "dissect"),
    mistakes=(
        ("(on | label[:, None]).sum(0)", "len(label)",
            "You divide by all pixels. IoU divides by the pixels of the filter or the concept."),
        ("(on | label[:, None]).sum(0)", "on.sum(0)",
            "You divide by the filter's pixels alone. The union has the concept's as well."),
        ("(on | label[:, None]).sum(0)", "label.sum()",
            "You divide by the concept's pixels alone: a filter that is always on would be the best."),
        ("(on | label[:, None]).sum(0)", "(on.sum(0) + label.sum())",
            "Pixels of both are counted twice below the line. The union counts them once."),
        ("(on & label[:, None])", "(on == label[:, None])",
            "Pixels where both are off do not count: ask for both on, with &."),
        ("argmax()", "argmin()", "That is the worst filter. Take the largest IoU."),
    ),
)  # fmt: skip
def best_single(on, label):
    """The filter that fits a concept best by itself, and its IoU.

    on: (P, K) booleans, a row a pixel; label: (P,) booleans, whether the concept is there.
    Returns the filter's number and its intersection over union (two tensors of one number).
    """
    both = (on & label[:, None]).sum(0)
    either = (on | label[:, None]).sum(0)
    iou = both / either
    best = iou.argmax()
    return best, iou[best]


def mask_cases(draw: Draw):
    yield Case("fifty pixels, the cut at one half", (draw.masks(50, 4), draw.numbers(4), 0.5))
    yield Case("a low cut", (draw.masks(50, 6), draw.numbers(6), 0.25))
    yield Case("a high cut, large weights; the arguments must stay",
               (draw.masks(60, 5), draw.numbers(5) * 3, 0.8), probe="both")  # fmt: skip


@SHEET.exercise(
    "concepts.concept_mask", "All filters together", points=1, minutes=5, difficulty=1, cases=mask_cases,
    compare="exact", blocks=(LIBRARY + "net2vec",),
    mistakes=(
        ("torch.sigmoid(on.to(weights.dtype) @ weights)", "on.to(weights.dtype) @ weights",
            "The cut is a probability: send the weighted sum through the sigmoid first."),
        ("> cut", "< cut", "You mark where the concept is not. The probability must exceed the cut."),
        ("> cut", "> 0.5", "The cut is an argument: it is not always one half."),
        ("on.to(weights.dtype) @ weights", "on.to(weights.dtype) @ weights / on.shape[1]",
            "You average over the filters. Their weights are added up."),
        ("on.to(weights.dtype) @ weights", "on.to(weights.dtype) @ weights.abs()",
            "A weight below 0 speaks against the concept: keep its sign."),
    ),
)  # fmt: skip
def concept_mask(on, weights, cut):
    """Where all filters together say that the concept is there.

    on: (P, K) booleans; weights: (K,), one a filter; cut: a probability.
    Returns (P,) booleans: whether the sigmoid of the weights, summed over filters on, exceeds cut.
    """
    said = torch.sigmoid(on.to(weights.dtype) @ weights)
    return said > cut


def step_cases(draw: Draw):
    yield Case("forty pixels, five filters",
               (draw.masks(40, 5), draw.masks(40), draw.numbers(5), draw.number(0.5, 3)))  # fmt: skip
    yield Case("a small concept, no weights yet",
               (draw.masks(60, 4), draw.masks(60, share=0.15), draw.numbers(4) * 0, 1.0))  # fmt: skip
    large = draw.masks(50, share=0.7)
    yield Case("a large concept; the arguments must stay",
               (draw.masks(50, 6), large, draw.numbers(6), 0.3), probe="both")  # fmt: skip


@SHEET.exercise(
    "concepts.net2vec_step", "One step of Net2Vec", points=4, minutes=16, difficulty=3, cases=step_cases,
    blocks=(LIBRARY + "net2vec", LIBRARY + "concept_pixels.fit_weights"),
    mistakes=(
        ("weights - rate", "weights + rate", "You climb. The loss is to fall: subtract the gradient."),
        ("1 - y.mean()", "y.mean()",
            "Alpha is one less the area, for the concept's own pixels: the rarer, the more they weigh."),
        ("torch.where(label, alpha, 1 - alpha)", "1",
            "The weights alpha and 1 - alpha are missing: then a small concept is told away."),
        ("(said - y)", "(said - y) * said * (1 - said)",
            "That is the slope of a squared error. For cross entropy the sigmoid's own slope cancels."),
        (" / len(y)", "", "The loss is a mean over the pixels: divide by their number."),
        ("torch.sigmoid(x @ weights)", "(x @ weights)",
            "The prediction is a probability: take the sigmoid of the weighted sum."),
    ),
)  # fmt: skip
def net2vec_step(on, label, weights, rate):
    """One step of gradient descent on the weighted cross entropy of a concept.

    on: (P, K) booleans; label: (P,) booleans; weights: (K,); rate: the learning rate.
    Returns the new weights (K,).
    """
    x, y = on.to(weights.dtype), label.to(weights.dtype)
    alpha = 1 - y.mean()
    said = torch.sigmoid(x @ weights)
    importance = torch.where(label, alpha, 1 - alpha)
    gradient = x.T @ (importance * (said - y)) / len(y)
    return weights - rate * gradient


def top_cases(draw: Draw):
    yield Case("three concepts, six filters", (draw.numbers(3, 6), 2))
    yield Case("one filter is left", (draw.numbers(4, 5), 1))
    yield Case("many filters; the weights must stay", (draw.numbers(2, 12), 7), probe="both")


@SHEET.exercise(
    "concepts.top_filters", "Only the strongest filters", points=2, minutes=8, difficulty=2, cases=top_cases,
    blocks=(LIBRARY + "concept_pixels.strongest",),
    mistakes=(
        ("weights.abs().topk(count, dim=1)", "weights.topk(count, dim=1)",
            "A large weight below 0 is strong as well. Look at the size."),
        ("weights.abs().topk(count, dim=1)", "weights.abs().topk(count, dim=1, largest=False)",
            "These are the weakest filters. Keep the largest weights."),
        ("weights.gather(1, chosen)", "weights.gather(1, chosen).abs()",
            "The weights that stay keep their sign."),
        ("weights.gather(1, chosen)", "torch.ones_like(weights).gather(1, chosen)",
            "You mark which filters stay. Keep their weights."),
        ("weights.abs().topk(count, dim=1).indices",
         "weights.abs().sum(0).topk(count).indices.expand(len(weights), -1)",
            "Each concept has strongest filters of its own: choose in each row."),
    ),
)  # fmt: skip
def top_filters(weights, count):
    """For each concept only its strongest filters: all other weights are 0.

    weights: (C, K), a row a concept; count: how many filters stay, by the size of their weight.
    Returns (C, K).
    """
    chosen = weights.abs().topk(count, dim=1).indices
    kept = torch.zeros_like(weights)
    return kept.scatter(1, chosen, weights.gather(1, chosen))


def analogy_cases(draw: Draw):
    yield Case("nine concepts", (draw.numbers(9, 6), 0, 3, 5, 2))
    yield Case("vectors of different lengths", (draw.numbers(10, 5) * 10 ** draw.numbers(10, 1), 7, 2, 4, 3))
    yield Case("the terms lie nearest; the space must stay", (draw.numbers(8, 3), 1, 6, 0, 5), probe="both")


@SHEET.exercise(
    "concepts.analogy", "Arithmetic", points=3, minutes=10, difficulty=2, cases=analogy_cases,
    compare="exact", blocks=(LIBRARY + "analogy", LIBRARY + "concept_spaces.hits"),
    mistakes=(
        ("torch.nn.functional.normalize(space, dim=1)", "space * 1.0",
            "Long vectors drown the others: bring each concept's vector to length 1 first."),
        ("torch.nn.functional.normalize(space, dim=1)", "torch.nn.functional.normalize(space, dim=0)",
            "You bring the filters to length 1. Each concept's vector, a row, is meant: dim=1."),
        ('near[[a, b, c]] = -float("inf")', "pass",
            "The terms themselves are no answers: put them out of the way."),
        ('near[[a, b, c]] = -float("inf")', 'near[[a]] = -float("inf")',
            "All three terms must be put out of the way, not only the first."),
        ("unit[a] - unit[b] + unit[c]", "unit[a] + unit[b] - unit[c]",
            "The signs are the other way round: a - b + c."),
        ("unit[a] - unit[b] + unit[c]", "unit[a]",
            "That is the first term alone: the control, not the arithmetic."),
        ("near.topk(count)", "near.topk(count, largest=False)",
            "These are the farthest. The largest products are near."),
    ),
)  # fmt: skip
def analogy(space, a, b, c, count):
    """The concepts nearest to a - b + c, the nearest first, never a, b or c themselves.

    space: (C, K), a vector a concept; a, b, c: numbers of concepts; count: how many are wanted.
    Vectors are brought to length 1 before they are added; nearest is by the cosine.
    Returns the numbers of the concepts (count,).
    """
    unit = torch.nn.functional.normalize(space, dim=1)
    near = unit @ (unit[a] - unit[b] + unit[c])
    near[[a, b, c]] = -float("inf")
    return near.topk(count).indices


def agreement_cases(draw: Draw):
    def distances(n, ties=False):
        points = draw.numbers(n, 3)
        found = torch.cdist(points, points)
        return (found * 2).round() if ties else found

    yield Case("six concepts", (distances(6), distances(6)))
    near = distances(8)
    yield Case("a space and its squares; the distances must stay", (near, near**2 + distances(8) / 9),
               probe="both")  # fmt: skip
    yield Case("distances in whole steps: many are equal", (distances(9, ties=True), distances(9)))


@SHEET.exercise(
    "concepts.rank_agreement", "Do two spaces agree?", points=3, minutes=14, difficulty=3,
    cases=agreement_cases, blocks=(LIBRARY + "mantel", LIBRARY + "mantel_result"),
    mistakes=(
        ("(pairs[:, None] > pairs).sum(1) + (pairs[:, None] == pairs).sum(1) / 2", "pairs",
            "That correlates the distances themselves. Take their ranks: two spaces have no common unit."),
        ("(pairs[:, None] > pairs).sum(1) + (pairs[:, None] == pairs).sum(1) / 2",
         "pairs.argsort(stable=True).argsort().to(first.dtype)",
            "Equal distances must have equal ranks: the mean of the places that they take."),
        ("rank - rank.mean()", "rank",
            "A correlation is of what differs from the mean: subtract the mean rank."),
        ("torch.triu_indices(len(first), len(first), 1)",
         "torch.triu_indices(len(first), len(first), 0)",
            "The distance of a concept to itself is 0 in every space: leave the diagonal out."),
        (" / (ranks[0].norm() * ranks[1].norm())", "",
            "A correlation lies from -1 to 1: divide by both lengths."),
        ("ranks[0] @ ranks[1]", "-ranks[0] @ ranks[1]", "The sign is wrong: equal spaces agree by 1."),
    ),
)  # fmt: skip
def rank_agreement(first, second):
    """Spearman's rank correlation of two matrices of distances, each pair of concepts once.

    first, second: (C, C), the same both ways. Equal distances share the mean of their ranks.
    Returns one number (a tensor), -1 to 1.
    """
    above = torch.triu_indices(len(first), len(first), 1)
    ranks = []
    for matrix in (first, second):
        pairs = matrix[above[0], above[1]]
        rank = (pairs[:, None] > pairs).sum(1) + (pairs[:, None] == pairs).sum(1) / 2
        ranks.append(rank - rank.mean())
    return ranks[0] @ ranks[1] / (ranks[0].norm() * ranks[1].norm())
