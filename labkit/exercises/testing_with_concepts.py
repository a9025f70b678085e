"""The exercises of the notebook 31_testing_with_concepts: a concept's vector, the derivative, both tests."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("31_testing_with_concepts")
LIBRARY = "labkit.concepts."


def cav_cases(draw: Draw):
    def case(name, n, m, d, penalty, off=0.0, probe=None):
        concept = draw.numbers(n, d) + draw.numbers(1, d) + off
        return Case(name, (concept, draw.numbers(m, d) + off, penalty), probe=probe)

    yield case("ten pictures against twelve", 10, 12, 5, 0.01)
    yield case("more numbers than pictures; the features must stay", 6, 8, 30, 0.1, probe="both")
    yield case("far from the origin, a strong penalty", 9, 5, 4, 1.0, off=6.0)


def _mean_difference(concept, others, penalty):
    vector = concept.mean(0) - others.mean(0)
    return vector / vector.norm()


@SHEET.exercise(
    "concepts.cav", "The direction of a concept", points=4, minutes=15, difficulty=2, cases=cav_cases,
    blocks=tuple(LIBRARY + name for name in ("cav", "cav_result")),
    mistakes=(
        (_mean_difference,
            "That is the difference of the means. A classifier also looks at how the rows spread."),
        ("rows = rows - rows.mean(0)", "rows = rows * 1",
            "The rows are not centred: the vector then also points at where all the pictures lie."),
        ("vector / vector.norm()", "vector",
            "The vector must have length 1: else a derivative along it cannot be compared."),
        ({"labels[: len(concept)] = 1": "labels[: len(concept)] = -1", "-torch.ones": "torch.ones"},
            "Your vector points away from the concept. The concept's pictures are +1, the others -1."),
        ("penalty * gram.diagonal().mean() * ", "penalty * ",
            "The penalty is times the mean squared length of the centred rows, so that no unit matters."),
        ("penalty * gram.diagonal().mean() * ", "penalty * gram.diagonal().sum() * ",
            "The penalty is times the mean of the squared lengths, not times their sum."),
        ("penalty * gram.diagonal().mean() * ", "0.001 * gram.diagonal().mean() * ",
            "You do not use the penalty that is given."),
        ("gram.diagonal().mean()", "(rows**2).mean()",
            "A squared length is the sum of a row's squares, not their mean: it is on the gram's diagonal."),
    ),
)  # fmt: skip
def cav(concept, others, penalty):
    """The unit vector of a ridge regression: +1 for the concept's rows, -1 for the others.

    concept: (N, D); others: (M, D); penalty: times the mean squared length of the centred rows.
    Returns (D,), of length 1, towards the concept.
    """
    rows = torch.cat([concept, others])
    labels = -torch.ones(len(rows)).to(rows)
    labels[: len(concept)] = 1
    rows = rows - rows.mean(0)
    gram = rows @ rows.T
    held = gram + penalty * gram.diagonal().mean() * torch.eye(len(rows)).to(rows)
    vector = rows.T @ torch.linalg.solve(held, labels)
    return vector / vector.norm()


def derivative_cases(draw: Draw):
    def case(name, pictures, vectors, probe=None):
        head, seen = draw.net("deeper", channels=4), draw.numbers(pictures, 4, 8, 6)
        return Case(name, (head, seen, draw.index(3), draw.numbers(vectors, 4)), probe=probe)

    yield case("three pictures, two vectors", 3, 2)
    yield case("one vector; head and activations must stay", 2, 1, probe="both")
    yield case("more vectors than channels", 4, 5)


@SHEET.exercise(
    "concepts.directional_derivatives", "The derivative along it", points=4, minutes=14, difficulty=2,
    cases=derivative_cases,
    blocks=(LIBRARY + "directional_derivatives", "labkit.concepts.concept_vectors.layer_gradients"),
    mistakes=(
        ("slopes.sum((2, 3))", "slopes.mean((2, 3))",
            "A step moves all places at once, so the slopes of all places add up: take their sum."),
        ("[:, target].sum()", "[:, target].mean()",
            "Each picture's own gradient is wanted; the mean makes it depend on their number."),
        ("[:, target].sum()", ".log_softmax(1)[:, target].sum()",
            "You differentiate the logarithm of the probability. TCAV asks about the logit."),
        ("[:, target].sum()", ".sum()",
            "You add up the scores of all classes. Take the class that is asked about."),
        ("[:, target].sum()", "[:, target].neg().sum()",
            "The sign is wrong: it is the score whose rise is asked for, not the loss."),
        ("[:, target].sum()", ".max(1).values.sum()",
            "That is the class which the network names. Take the class that is asked about."),
        ("@ vectors.T", "@ vectors.sign().T", "A vector has lengths, not signs alone: multiply by it."),
    ),
)  # fmt: skip
def directional_derivatives(head, activations, target, vectors):
    """How each picture's logit changes where all places of a layer step along vectors.

    head: what follows the layer, a function from activations (N, K, h, w) to logits (N, C);
    activations: (N, K, h, w); target: a class; vectors: (R, K).
    Returns (N, R): + means that the logit rises.
    """
    seen = activations.detach().clone().requires_grad_(True)
    score = head(seen)[:, target].sum()
    slopes = torch.autograd.grad(score, seen)[0]
    return slopes.sum((2, 3)) @ vectors.T


def score_cases(draw: Draw):
    def case(name, pictures, size, pool, count, flat=0, probe=None):
        concept = draw.numbers(size, 5) + draw.numbers(1, 5)
        rows = [torch.randperm(pool, generator=draw.generator)[:size] for _ in range(count)]
        slopes = draw.numbers(pictures, 5)
        slopes[:flat] = 0
        return Case(name, (slopes, concept, draw.numbers(pool, 5), torch.stack(rows)), probe=probe)

    yield case("eight pictures, three draws", 8, 6, 20, 3)
    yield case("one draw; the features must stay", 7, 5, 12, 1, probe="both")
    yield case("the logit of some pictures does not move", 25, 3, 9, 4, flat=6)


@SHEET.exercise(
    "concepts.tcav_scores", "Count the signs", points=3, minutes=10, difficulty=2, cases=score_cases,
    blocks=tuple(LIBRARY + name for name in ("tcav", "tcav_result")),
    mistakes=(
        ("derivatives > 0", "derivatives < 0",
            "That is the share of pictures whose logit falls, or your vector points to the others."),
        ("derivatives > 0", "derivatives >= 0", "A derivative of 0 is no rise: strictly above 0."),
        ("(derivatives > 0).float().mean()", "derivatives.mean()",
            "That is the mean derivative. The score counts pictures: the share that is above 0."),
        ("(derivatives > 0).float().mean()", "derivatives.sign().mean()",
            "That is rises less falls, from -1 to 1. The share of rises is asked for."),
        ("(derivatives > 0).float().mean()", "(derivatives > 0).float().sum()",
            "You count them. The share is asked for: divide by the number of pictures."),
        ("pool[rows]", "pool", "You fit against the whole pool each time. Take the draw's rows of it."),
        ("pool[rows]", "pool[draws[0]]", "Each score is of another draw: take its own rows of the pool."),
        ("slopes @ vector", "slopes.mean(0, keepdim=True) @ vector",
            "You average the slopes first: then all pictures count as one. Count picture by picture."),
    ),
)  # fmt: skip
def tcav_scores(slopes, concept, pool, draws):
    """A concept's scores, one for each draw of other pictures: the share whose logit rises along
    your vector (penalty 0.01) between the two.

    slopes: (N, K), each picture's derivative along each channel; concept: (M, K); pool: (P, K);
    draws: (R, M), row numbers of the pool. Returns (R,), floats from 0 to 1.
    """
    scores = []
    for rows in draws:
        vector = cav(concept, pool[rows], 0.01)
        derivatives = slopes @ vector
        scores.append((derivatives > 0).float().mean())
    return torch.stack(scores)


def test_cases(draw: Draw):
    def case(name, r, k, shift=0.0, probe=None):
        scores = draw.pictures(r) * 0.6 + 0.2 + shift
        chances = draw.pictures(k, 1) * 0.7 + 0.2 * draw.pictures(k, r)
        return Case(name, (scores, chances), probe=probe)

    yield case("five scores among twelve random concepts", 5, 12)
    yield case("a score far from chance; the scores must stay", 6, 15, shift=0.9, probe="both")
    yield case("a score below chance", 4, 20, shift=-0.4)
    eighths = torch.randint(9, (14, 4), generator=draw.generator).to(draw.dtype) / 8
    yield Case("one random concept scores the same", (eighths[2].clone(), eighths))


@SHEET.exercise(
    "concepts.two_tests", "Two tests of a score", points=4, minutes=16, difficulty=3, cases=test_cases,
    mistakes=(
        ("(1 + far.sum()) / (1 + len(means))", "far.double().mean()",
            "Never is p 0: count the score itself among them, above and below the line."),
        (".abs() >= (scores.mean() - means.mean()).abs()", " >= scores.mean() - means.mean()",
            "A score far below chance is as unusual as one far above: compare distances from the middle."),
        ("chances.mean(1)", "chances.flatten()",
            "One number a random concept: its mean over draws. Draws of one concept are no new concepts."),
        ("means - means.mean()", "means - 0.5",
            "Chance is not at one half. The middle is the mean of the random concepts' scores."),
        ("n + m - 2", "n + m", "Two means were taken off, so there are n + m - 2 degrees of freedom."),
        ("(1 / n + 1 / m)", "(1 / n)",
            "The chances' mean is uncertain, too: the variance is times 1/n + 1/m."),
        (" ** 0.5", "", "You divide by the variance. Divide by its square root."),
        ("scores.mean() - chances.mean()) /", "chances.mean() - scores.mean()) /",
            "The sign of t is wrong: the concept's scores minus those of chance."),
        ("chances.numel()", "len(chances)",
            "Count all scores of all random concepts for m, not the concepts: chances.numel()."),
    ),
)  # fmt: skip
def two_tests(scores, chances):
    """The paper's t over all scores, and p by the rank of the mean score among random means.

    scores: (R,), of one concept, each of another draw; chances: (K, R), of K random concepts.
    Returns t, with its sign, and p (two-sided): two tensors of one number.
    """
    n, m = len(scores), chances.numel()
    squares = ((scores - scores.mean()) ** 2).sum() + ((chances - chances.mean()) ** 2).sum()
    error = (squares / (n + m - 2) * (1 / n + 1 / m)) ** 0.5
    t = (scores.mean() - chances.mean()) / error
    means = chances.mean(1)
    far = (means - means.mean()).abs() >= (scores.mean() - means.mean()).abs()
    return t, (1 + far.sum()) / (1 + len(means))


def pair_cases(draw: Draw):
    def case(name, n, m, d, probe=None):
        absent = draw.numbers(m, d)
        return Case(name, (draw.numbers(n, d), absent + draw.numbers(m, d), absent), probe=probe)

    yield case("six pairs, four pictures", 4, 6, 5)
    yield case("as many pairs as pictures", 5, 5, 3)
    yield case("one picture; the features must stay", 1, 7, 4, probe="both")


@SHEET.exercise(
    "concepts.pair_effects", "What a pair does to the logit", points=2, minutes=8, difficulty=2,
    cases=pair_cases, blocks=tuple(LIBRARY + name for name in ("paired_cav", "paired_cav_result")),
    mistakes=(
        ("present - absent", "absent - present",
            "The sign is wrong: the thing is there in present, and its coming is asked about."),
        ("(present - absent)", "torch.nn.functional.normalize(present - absent, dim=1)",
            "You make each difference of length 1. Its own length is what makes the answer a logit."),
        ("slopes.mean(0)", "slopes.sum(0)", "Take the mean slope of the pictures, not the sum."),
        ("slopes.mean(0)", "slopes.sign().mean(0)", "Take the slopes themselves, not their signs."),
    ),
)  # fmt: skip
def pair_effects(slopes, present, absent):
    """For each pair of scenes, with a thing and without: the logit's change along the difference.

    slopes: (N, D), the gradient of the logit by the features, a row a picture of the class;
    present, absent: features (M, D) of the same scenes with the thing and without it.
    Returns (M,), in logits: the difference of each pair times the mean slope.
    """
    return (present - absent) @ slopes.mean(0)


def flip_cases(draw: Draw):
    def case(name, pairs, flips, shift=0.0, probe=None):
        signs = draw.masks(flips, pairs).to(draw.dtype) * 2 - 1
        return Case(name, (draw.numbers(pairs) + shift, signs), probe=probe)

    yield case("ten pairs, thirty flips", 10, 30)
    yield case("a clear effect; the numbers must stay", 12, 40, shift=2.0, probe="both")
    yield case("an effect downwards", 8, 25, shift=-1.5)


@SHEET.exercise(
    "concepts.sign_flip_z", "The null of pairs", points=2, minutes=8, difficulty=2, cases=flip_cases,
    blocks=("labkit.core.statistics.permutation_test",),
    mistakes=(
        ("effects.mean() / null.std()", "effects.mean() / effects.std()",
            "That is the spread of single pairs. Divide by the spread of the flipped means."),
        ("signs @ effects / len(effects)", "signs @ effects",
            "The flipped sums are not yet means: divide by the number of pairs."),
        ("effects.mean()", "effects.mean().abs()",
            "Keep the sign: whether the thing speaks for the class or against it."),
        ("effects.mean()", "effects.sum()", "The mean effect is wanted, not the sum."),
        ("signs @ effects", "signs @ effects.abs()",
            "Flip the effects as they are: their own signs belong to them."),
        ("null.std()", "null.var()", "Divide by the standard deviation, not by the variance."),
        ("null.std()", "null.std(correction=0)", "Take .std() as torch gives it, without correction=0."),
        ("effects.mean() /", "(effects.mean() - null.mean()) /",
            "Do not subtract the flipped mean: were all flips tried, it would be 0."),
    ),
)  # fmt: skip
def sign_flip_z(effects, signs):
    """The mean effect, in standard deviations of what it is with the signs of pairs flipped by lot.

    effects: (M,), one a pair; signs: (F, M), of +1. and -1., a row a flip of all pairs.
    Returns one number (a tensor).
    """
    null = signs @ effects / len(effects)
    return effects.mean() / null.std()
