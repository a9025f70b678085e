"""The exercises of the notebook 24: LIME's kernel and fit, Shapley values, KernelSHAP's weight."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("24_surrogates_and_shapley")


def copies(draw: Draw, samples: int, parts: int):
    """Rows of zeros and ones, the first all ones, none of them all zero."""
    shown = draw.masks(samples, parts, share=0.55)
    shown[0], shown[:, 0] = True, shown[:, 0] | ~shown.any(1)
    return shown.to(draw.dtype)


def kernel_cases(draw: Draw):
    yield Case("nine copies of six parts", (copies(draw, 9, 6), 0.25))
    yield Case("a wide kernel", (copies(draw, 12, 8), draw.number(0.4, 0.7)))


@SHEET.exercise(
    "attribution.lime_weights", "Who is near?", points=2, minutes=6, difficulty=1,
    cases=kernel_cases, blocks=("labkit.attribution.lime",),
    mistakes=(
        (".sqrt()", "", "The square root around the exponential is missing."),
        ("(1 - cosine)", "cosine", "You take the likeness for a distance: d is 1 minus the cosine."),
        ("((1 - cosine) ** 2)", "((1 - masks) ** 2).sum(1)",
            "That is the Euclidean distance, which grows with the number of parts. Use 1 minus the cosine."),
        ("cosine) **", "cosine**2) **",
            "You take the share of covered parts, 1 minus the squared cosine. Take 1 minus the cosine."),
        ("((1 - cosine) ** 2)", "(1 - cosine)",
            "The distance is squared before it is divided by the squared width."),
        ("width**2", "width", "The width is squared as well."),
        ({"((1 - cosine) ** 2)": "(1 - cosine)", "width**2": "width"},
            "Both the distance and the width are squared."),
        ("((1 - cosine) ** 2)", "(1 - cosine**2)",
            "You square the cosine alone, and get a share of parts. The square is around all of 1 - cosine."),
        ({"((1 - cosine) ** 2)": "(1 - cosine)", "width**2).sqrt()": "width)"},
            "The root is around the exponential. Inside, it undoes the square."),
        ("width**2", "(2 * width**2)", "The root already halves the exponent: no further 2 or second root."),
        ("-((", "((", "Your weights grow with the distance. The exponent is negative."),
        ("norm(dim=1)", "norm()",
            "You take one length for all masks together. Each row has its own: norm(dim=1)."),
        (" ** 0.5", "", "The row of ones has the length sqrt(M), not M."),
        (" * masks.shape[1] ** 0.5", "",
            "The length of the row of ones is missing: the whole picture must have the cosine 1."),
    ),
)  # fmt: skip
def lime_weights(masks, width):
    """Weight of each covered copy: 1 for the whole picture, less the more is covered.

    masks: (S, M), rows of 0. and 1., float32 or float64, no row all 0; width: a number.
    Returns (S,), of the masks' dtype.
    """
    cosine = masks.sum(1) / (masks.norm(dim=1) * masks.shape[1] ** 0.5)
    return torch.exp(-((1 - cosine) ** 2) / width**2).sqrt()


def fit_cases(draw: Draw):
    for name, alpha in (("forty covered pictures", 0.6), ("a strong penalty", draw.number(3, 5))):
        masks = copies(draw, 40, 6)
        scores = 2 + masks @ draw.numbers(6) + 0.3 * masks[:, 0] * masks[:, 1] + 0.1 * draw.numbers(40)
        yield Case(name, (masks, scores, lime_weights(masks, 0.25), alpha))


CENTRED = "masks - share @ masks, scores - share @ scores"


@SHEET.exercise(
    "attribution.fit_surrogate", "A line for a network", points=4, minutes=14, difficulty=3,
    cases=fit_cases, blocks=("labkit.attribution.lime",), imports=("torch", "numpy", "math", "sklearn"),
    mistakes=(
        ("share =", "weights = torch.ones_like(weights)\n    share =",
            "The weights are not used: a picture with nearly all parts must count more than one with few."),
        (CENTRED, "masks, scores",
            "There is no intercept: a fully covered picture would score 0. Take the weighted means off."),
        ("masks - share @ masks", "masks",
            "You take the mean off the scores only. Take the weighted mean off the masks as well."),
        ({CENTRED: "torch.cat([masks, masks[:, :1] ** 0], 1), scores",
          "eye(masks.shape[1])": "eye(masks.shape[1] + 1)", "(weights * y))": "(weights * y))[:-1]"},
            "The penalty must not touch the intercept: take the means off instead of adding a column."),
        (" + alpha * torch.eye(masks.shape[1])", "", "The penalty alpha is not used."),
        ("alpha * torch.eye(masks.shape[1])", "alpha",
            "You add alpha to the whole matrix. It belongs on the diagonal: alpha times the identity."),
        ("alpha * ", "", "The identity is added without alpha."),
        ("alpha", "alpha**2",
            "The penalty is alpha squared here. Rows that are appended to x hold the root of alpha."),
        ({"weights[:, None]": "share[:, None]", "weights * y": "share * y"},
            "Your alpha is too strong beside the weights. Scale neither: leave both as they are given."),
        ({"weights[:, None]": "weights[:, None] ** 2", "weights * y": "weights**2 * y"},
            "The weights enter twice. Multiply each squared error by its weight once."),
        ({"weights[:, None]": "weights[:, None].sqrt()", "weights * y": "weights.sqrt() * y"},
            "The root of the weights goes on x and on y, so that each product holds the whole weight."),
        ("weights * y", "y",
            "The weights are in the matrix but not on the right side: there y has its weights as well."),
        ("(weights[:, None] * x)", "x", "The weights are on the right side but not in the matrix."),
        ({"(weights[:, None] * x)": "x", "weights * y": "y"},
            "The weights are in the means only. Each squared error counts by its weight too."),
        ("weights / weights.sum()", "torch.ones_like(weights) / len(weights)",
            "The means that you take off must be weighted ones, or the line misses the middle."),
        ("weights.sum()", "len(weights)",
            "A weighted mean is divided by the sum of the weights, not by their number."),
    ),
)  # fmt: skip
def fit_surrogate(masks, scores, weights, alpha):
    """Slopes of a weighted ridge regression; its intercept is not penalized and not returned.

    masks: (S, M); scores: (S,); weights: (S,), not to be scaled; alpha: the penalty's factor.
    The three tensors are of one dtype, float32 or float64. Returns (M,).
    """
    share = weights / weights.sum()
    x, y = masks - share @ masks, scores - share @ scores
    matrix = x.T @ (weights[:, None] * x) + alpha * torch.eye(masks.shape[1])
    return torch.linalg.solve(matrix, x.T @ (weights * y))


def game_cases(draw: Draw):
    yield Case("three players", (draw.numbers(2**3), 3))
    players = draw.pick(5, 6)
    yield Case(f"{players} players", (draw.numbers(2**players), players))


FRACTION = "factorial(size) * factorial(players - size - 1) / factorial(players)"
STEP = "+= weight * (value[c | 1 << i] - value[c])"
WITH = "You count the player itself into |S|: the size is that of the coalition without it."


@SHEET.exercise(
    "attribution.shapley_values", "A fair share", points=4, minutes=14, difficulty=3, cases=game_cases,
    blocks=("labkit.attribution.shapley_values", "labkit.attribution.kernel_shap_values"),
    mistakes=(
        (STEP, "= value[1 << i] - value[0]",
            "That is what each player adds alone. Average what it adds to every coalition without it."),
        (STEP, "= value[-1] - value[-1 - (1 << i)]",
            "That is what is lost when each player leaves the whole group. It joins smaller coalitions too."),
        (STEP, "= value[(2 << i) - 1] - value[(1 << i) - 1]",
            "That is one order of joining, player after player. Average over all of them."),
        (STEP, "= value[(torch.arange(len(value)) >> i) % 2 == 1].mean()",
            "You average the worth of coalitions. Average what the player adds to them."),
        (FRACTION, "1 / 2 ** (players - 1)",
            "All coalitions count alike (that is Banzhaf's value). Weigh by the orders that lead to each."),
        (FRACTION, "1 / 2**players",
            "You divide by the number of coalitions. Each has a weight of its own, by its size."),
        (FRACTION, "1 / players",
            "One over the number of players is the same for all: some sizes come up more often than others."),
        ("weight * (value", "(value",
            "The weights are missing: multiply what the player adds by the fraction of factorials."),
        (" / factorial(players)", "",
            "Divide by the number of orders, players factorial: the shares must add up."),
        ("factorial(size)", "factorial(size + 1)",
            "The first factorial is that of the coalition before the player joins, without it."),
        ({"c.bit_count()": "c.bit_count() + 1", FRACTION: f"{FRACTION} if size < players else 0"}, WITH),
        ({"c.bit_count()": "c.bit_count() + 1", "players - size - 1": "max(players - size - 1, 0)"}, WITH),
        ("players - size - 1", "players - size",
            "The player is not one of those who are still to come: players - size - 1 others are."),
        ("factorial(players)", "factorial(players - 1)",
            "You average in each size, then add up. Average over the sizes too: players! is below the line."),
        ({"players - size - 1": "players - size", "/ factorial(players)": "/ factorial(players) / players"},
            "Only coalitions of the other players count: choose from one player less."),
        ("range(2**players)", "range(1, 2**players)", "The empty coalition counts too: begin with 0."),
        (" - value[c]", "",
            "You weigh the worth with the player. Take off what the coalition is worth without it."),
        (" - value[c]", " - value[0]",
            "You compare with nobody. Compare with the same coalition without the player."),
        ("- value[c])", "- value[c]).abs()", "A player may also do harm: keep the sign of what it adds."),
        ("return shares", "return shares.flip(0)",
            "Your players stand in reverse order: bit 0 is the last digit of a binary number."),
        ("value[c | 1 << i] - value[c]", "value[c] - value[c | 1 << i]",
            "The sign is turned: with the player minus without it."),
    ),
)  # fmt: skip
def shapley_values(value, players):
    """Each player's fair share of a game.

    value: (2 ** players,), the worth of each coalition c; bit i of c: is player i a member?
    players: how many. Returns (players,), signed, of value's dtype.
    """
    from math import factorial

    shares = torch.zeros(players, dtype=value.dtype)
    for c in range(2**players):
        for i in range(players):
            if not c >> i & 1:
                size = c.bit_count()
                weight = factorial(size) * factorial(players - size - 1) / factorial(players)
                shares[i] += weight * (value[c | 1 << i] - value[c])
    return shares


def weight_cases(draw: Draw):
    for size in (1, 2, 3, -2):
        players = 5 + draw.index(20)
        yield Case(f"{size % players} of {players}", (players, size % players))


@SHEET.exercise(
    "attribution.kernel_shap_weight", "The kernel that makes it Shapley's", points=2, minutes=6, difficulty=1,
    cases=weight_cases,
    mistakes=(
        ("comb(players, size) * ", "",
            "Divide by the number of coalitions of this size as well, the binomial coefficient."),
        ({"(players - 1)": "1", " * size *": " *"},
            "That is Shapley's weight of a step. The regression needs another one: see the formula."),
        (" * size * (players - size)", "",
            "The product size * (players - size) below the line is missing: small and large coalitions "
            "count most."),
        ("(players - 1)", "players", "Above the line stands players - 1."),
        ({"(players - 1) / ": "", "(players - size))": "(players - size)) / (players - 1)"},
            "The fraction is upside down: coalitions of middle size must count least."),
        ("(comb(players, size) * size * (players - size))", "comb(players, size) * size * (players - size)",
            "Set parentheses around the whole product below the line, or only its first factor divides."),
        ("* size * (players - size))", "* size) * (players - size)",
            "The last factor, players - size, multiplies here; it stands below the line too."),
        ("(players - 1)", "players - 1", "Set parentheses around players - 1, or the 1 alone is divided."),
        ("(players - 1)", "1", "What stands above the line is missing."),
        (" * size *", " *", "The factor size is missing below the line."),
        (" * (players - size)", "", "The factor players - size is missing below the line."),
        ("comb(players,", "comb(players - 1,",
            "The coalition is chosen from all players here, not from one less."),
        ("import comb", "import perm as comb",
            "You count ordered choices. In a coalition the order plays no part: the binomial coefficient."),
        ("comb(players, size) * size * (players - size)", "comb(players, size) + size + players - size",
            "Below the line stands a product, not a sum."),
    ),
)  # fmt: skip
def kernel_shap_weight(players, size):
    """Weight of one coalition in KernelSHAP's regression.

    players: how many there are; size: how many of them are in, from 1 to players - 1.
    Returns a number.
    """
    from math import comb

    return (players - 1) / (comb(players, size) * size * (players - size))
