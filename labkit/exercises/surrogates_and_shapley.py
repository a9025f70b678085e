"""The exercises of the notebook 24: LIME's kernel and fit, Shapley values, KernelSHAP's weights."""

from __future__ import annotations

from math import comb, factorial, perm

import torch
from torch import Tensor

from labkit.calls.exercise import Case, Exercise, Misconception

NOTEBOOK = "24_surrogates_and_shapley"


def _numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _masks(seed: int, samples: int, parts: int) -> Tensor:
    """Zeros and ones, the first row all ones, no row empty."""
    drawn = torch.rand(samples, parts, generator=torch.Generator().manual_seed(seed)) < 0.55
    drawn[0], drawn[:, 0] = True, drawn[:, 0] | ~drawn.any(1)
    return drawn.double()


# ---- LIME's kernel


def lime_weights(masks: Tensor, width: float) -> Tensor:
    cosine = masks.sum(1) / (masks.norm(dim=1) * masks.shape[1] ** 0.5)
    return torch.exp(-((1 - cosine) ** 2) / width**2).sqrt()


def _cosine(masks: Tensor) -> Tensor:
    return (masks.mean(1)) ** 0.5


KERNEL = Exercise(
    id="attribution.lime_weights",
    title="Who is near?",
    points=2,
    minutes=6,
    difficulty=1,
    signature="lime_weights(masks, width)",
    reference=lime_weights,
    public=lambda: [
        Case("nine samples of six parts", (_masks(10, 9, 6), 0.25)),
        Case("a wide kernel", (_masks(11, 7, 5), 0.7)),
    ],
    hidden=lambda seed: [
        Case("other samples", (_masks(seed % 10007, 12, 8), 0.25)),
        Case("another width", (_masks(seed % 9973, 10, 4), 0.4)),
    ],
    misconceptions=(
        Misconception(
            "no_root",
            lambda masks, width: lime_weights(masks, width) ** 2,
            "The square root around the exponential is missing.",
        ),
        Misconception(
            "similarity",
            lambda masks, width: torch.exp(-(_cosine(masks) ** 2) / width**2).sqrt(),
            "You take the likeness for a distance: d is 1 minus the cosine.",
        ),
        Misconception(
            "euclidean",
            lambda masks, width: torch.exp(-((1 - masks) ** 2).sum(1) / width**2).sqrt(),
            "That is the Euclidean distance, which grows with the number of parts. Use 1 minus the cosine.",
        ),
        Misconception(
            "share",
            lambda masks, width: torch.exp(-((1 - masks.mean(1)) ** 2) / width**2).sqrt(),
            "You take the share of covered parts, 1 minus the squared cosine. Take 1 minus the cosine.",
        ),
        Misconception(
            "not_squared",
            lambda masks, width: torch.exp(-(1 - _cosine(masks)) / width**2).sqrt(),
            "The distance is squared before it is divided by the squared width.",
        ),
        Misconception(
            "width_once",
            lambda masks, width: torch.exp(-((1 - _cosine(masks)) ** 2) / width).sqrt(),
            "The width is squared as well.",
        ),
        Misconception(
            "none_squared",
            lambda masks, width: torch.exp(-(1 - _cosine(masks)) / width).sqrt(),
            "Both the distance and the width are squared.",
        ),
        Misconception(
            "cosine_squared",
            lambda masks, width: torch.exp(-(1 - _cosine(masks) ** 2) / width**2).sqrt(),
            "You square the cosine alone, and get a share of parts. The square is around all of 1 - cosine.",
        ),
        Misconception(
            "root_inside",
            lambda masks, width: torch.exp(-(1 - _cosine(masks)) / width),
            "The root is around the exponential. Inside, it undoes the square.",
        ),
        Misconception(
            "halved_twice",
            lambda masks, width: lime_weights(masks, width) ** 0.5,
            "The root already halves the exponent: no further 2 or second root.",
        ),
        Misconception(
            "rising",
            lambda masks, width: 1 / lime_weights(masks, width),
            "Your weights grow with the distance. The exponent is negative.",
        ),
        Misconception(
            "one_length",
            lambda masks, width: torch.exp(
                -((1 - masks.sum(1) / masks.norm() / masks.shape[1] ** 0.5) ** 2) / width**2
            ).sqrt(),
            "You take one length for all masks together. Each row has its own: norm(dim=1).",
        ),
        Misconception(
            "number_of_parts",
            lambda masks, width: torch.exp(
                -((1 - _cosine(masks) / masks.shape[1] ** 0.5) ** 2) / width**2
            ).sqrt(),
            "The row of ones has the length sqrt(M), not M.",
        ),
        Misconception(
            "one_length_missing",
            lambda masks, width: torch.exp(
                -((1 - _cosine(masks) * masks.shape[1] ** 0.5) ** 2) / width**2
            ).sqrt(),
            "The length of the row of ones is missing: the whole picture must have the cosine 1.",
        ),
    ),
    blocks=("labkit.attribution.lime",),
)


# ---- the weighted fit


def fit_surrogate(masks: Tensor, scores: Tensor, weights: Tensor, alpha: float) -> Tensor:
    return _fit(masks, scores, weights, alpha)


def _fit(
    masks, scores, weights, alpha, *, share=None, matrix=1.0, right=1.0, centre=1.0, level=1.0, penalty=None
):
    share = weights / weights.sum() if share is None else share
    x, y = masks - centre * (share @ masks), scores - level * (share @ scores)
    penalty = alpha * torch.eye(masks.shape[1], dtype=masks.dtype) if penalty is None else penalty
    left = x.T @ ((weights**matrix)[:, None] * x) + penalty
    return torch.linalg.lstsq(left, x.T @ (weights**right * y)).solution


def _wrong_fit(**options):
    return lambda *args: _fit(*args, **options)


def _with_column(masks, scores, weights, alpha):
    """A column of ones that is penalized like all others."""
    x = torch.cat([masks, torch.ones_like(masks[:, :1])], 1)
    return _fit(x, scores, weights, alpha, centre=0, level=0)[:-1]


def _fit_case(name: str, seed: int, alpha: float) -> Case:
    masks = _masks(seed, 40, 6)
    scores = (
        2 + masks @ _numbers(seed + 1, 6) + 0.3 * masks[:, 0] * masks[:, 1] + 0.1 * _numbers(seed + 2, 40)
    )
    return Case(name, (masks, scores, lime_weights(masks, 0.25), alpha))


FIT_MISTAKES = (
    Misconception("unweighted", lambda x, y, w, a: _fit(x, y, torch.ones_like(w), a),
        "The weights are not used: a picture with nearly all parts must count more than one with few."),
    Misconception("no_intercept", _wrong_fit(centre=0, level=0),
        "There is no intercept: a fully covered picture would score 0. Take the weighted means off."),
    Misconception("scores_only", _wrong_fit(centre=0),
        "You take the mean off the scores only. Take the weighted mean off the masks as well."),
    Misconception("penalized_intercept", _with_column,
        "The penalty must not touch the intercept: take the means off instead of adding a column."),
    Misconception("no_penalty", lambda x, y, w, a: _fit(x, y, w, 0.0), "The penalty alpha is not used."),
    Misconception("everywhere", lambda x, y, w, a: _fit(x, y, w, 0.0, penalty=a),
        "You add alpha to the whole matrix. It belongs on the diagonal: alpha times the identity."),
    Misconception("identity_alone", lambda x, y, w, a: _fit(x, y, w, 1.0),
        "The identity is added without alpha."),
    Misconception("alpha_squared", lambda x, y, w, a: _fit(x, y, w, a**2),
        "The penalty is alpha squared here. Rows that are appended to x hold the root of alpha."),
    Misconception("of_the_mean", lambda x, y, w, a: _fit(x, y, w / w.sum(), a),
        "Your alpha is too strong beside the weights. Scale neither: leave both as they are given."),
    Misconception("weights_twice", _wrong_fit(matrix=2, right=2),
        "The weights enter twice. Multiply each squared error by its weight once."),
    Misconception("root_weights", _wrong_fit(matrix=0.5, right=0.5),
        "The root of the weights goes on x and on y, so that each product holds the whole weight."),
    Misconception("right_unweighted", _wrong_fit(right=0),
        "The weights are in the matrix but not on the right side: there y has its weights as well."),
    Misconception("matrix_unweighted", _wrong_fit(matrix=0),
        "The weights are on the right side but not in the matrix."),
    Misconception("means_only", _wrong_fit(matrix=0, right=0),
        "The weights are in the means only. Each squared error counts by its weight too."),
    Misconception("plain_means", lambda *args: _fit(*args, share=torch.ones_like(args[2]) / len(args[2])),
        "The means that you take off must be weighted ones, or the line misses the middle."),
    Misconception("means_by_count", lambda *args: _fit(*args, share=args[2] / len(args[2])),
        "A weighted mean is divided by the sum of the weights, not by their number."),
)  # fmt: skip

FIT = Exercise(
    id="attribution.fit_surrogate",
    title="A line for a network",
    points=4,
    minutes=14,
    difficulty=3,
    signature="fit_surrogate(masks, scores, weights, alpha)",
    reference=fit_surrogate,
    public=lambda: [_fit_case("forty covered pictures", 20, 1.0), _fit_case("a strong penalty", 24, 5.0)],
    hidden=lambda seed: [
        _fit_case("other pictures", seed % 10007 + 30, 1.0),
        _fit_case("more", seed % 9973 + 90, 0.5),
    ],
    misconceptions=FIT_MISTAKES,
    blocks=("labkit.attribution.lime", "sklearn.linear_model"),
)


# ---- Shapley values


def shapley_values(value: Tensor, players: int) -> Tensor:
    return _shapley(value, players, lambda size: _in_order(size, players))


def _adds(value: Tensor, before: int, player: int) -> Tensor:
    return value[before | 1 << player] - value[before]


def _shapley(value: Tensor, players: int, weight, gain=_adds) -> Tensor:
    found = torch.zeros(players, dtype=value.dtype)
    for coalition in range(2**players):
        size = coalition.bit_count()
        for player in range(players):
            if not coalition >> player & 1:
                found[player] += weight(size) * gain(value, coalition, player)
    return found


def _of_each(number):
    """One number for each player."""
    return lambda value, players: torch.stack([number(value, player) for player in range(players)])


def _weighed(weight):
    """Weighed in another way, by coalition size and number of players."""
    return lambda value, players: _shapley(value, players, lambda size: weight(size, players))


def _in_order(size: int, players: int) -> float:
    return factorial(size) * factorial(players - size - 1) / factorial(players)


def _other_gain(gain):
    return lambda value, players: _shapley(value, players, lambda size: _in_order(size, players), gain)


def _size_with(size: int, players: int) -> float:
    """As if a coalition with the player, everybody left out, were one without it."""
    return _in_order(size + 1, players) if size + 1 < players else 0.0


def _sv_case(name: str, seed: int, players: int) -> Case:
    return Case(name, (_numbers(seed, 2**players), players))


SHARE_MISTAKES = (
    Misconception("alone", _of_each(lambda value, i: value[1 << i] - value[0]),
        "That is what each player adds alone. Average what it adds to every coalition without it."),
    Misconception("last", _of_each(lambda value, i: value[-1] - value[-1 - (1 << i)]),
        "That is what is lost when each player leaves the whole group. It joins smaller coalitions too."),
    Misconception("one_order", _of_each(lambda value, i: _adds(value, (1 << i) - 1, i)),
        "That is one order of joining, player after player. Average over all of them."),
    Misconception("means", _of_each(lambda value, i: value[(torch.arange(len(value)) >> i) % 2 == 1].mean()),
        "You average the worth of coalitions. Average what the player adds to them."),
    Misconception("equal_weights", _weighed(lambda s, m: 1 / 2 ** (m - 1)),
        "All coalitions count alike (that is Banzhaf's value). Weigh by the orders that lead to each."),
    Misconception("all_coalitions", _weighed(lambda s, m: 1 / 2**m),
        "You divide by the number of coalitions. Each has a weight of its own, by its size."),
    Misconception("one_over_players", _weighed(lambda s, m: 1 / m),
        "One over the number of players is the same for all: some sizes come up more often than others."),
    Misconception("no_weights", _weighed(lambda s, m: 1),
        "The weights are missing: multiply what the player adds by the fraction of factorials."),
    Misconception("unnormalized", _weighed(lambda s, m: factorial(s) * factorial(m - s - 1)),
        "Divide by the number of orders, players factorial: the shares must add up."),
    Misconception("size_with", _weighed(lambda s, m: factorial(s + 1) * factorial(m - s - 1) / factorial(m)),
        "The first factorial is that of the coalition before the player joins, without it."),
    Misconception("counted_with", _weighed(_size_with),
        "You count the player itself into |S|: the size is that of the coalition without it."),
    Misconception("counts_itself", _weighed(lambda s, m: factorial(s) * factorial(m - s) / factorial(m)),
        "The player is not one of those who are still to come: players - size - 1 others are."),
    Misconception("per_size", _weighed(lambda s, m: 1 / comb(m - 1, s)),
        "You average in each size, then add up. Average over the sizes too: players! is below the line."),
    Misconception("all_of_a_size", _weighed(lambda s, m: 1 / (m * comb(m, s))),
        "Only coalitions of the other players count: choose from one player less."),
    Misconception("no_empty", _other_gain(lambda value, c, i: _adds(value, c, i) * (c > 0)),
        "The empty coalition counts too: begin with 0."),
    Misconception("worth", _other_gain(lambda value, c, i: value[c | 1 << i]),
        "You weigh the worth with the player. Take off what the coalition is worth without it."),
    Misconception("from_nothing", _other_gain(lambda value, c, i: value[c | 1 << i] - value[0]),
        "You compare with nobody. Compare with the same coalition without the player."),
    Misconception("absolute", _other_gain(lambda value, c, i: _adds(value, c, i).abs()),
        "A player may also do harm: keep the sign of what it adds."),
    Misconception("reversed", lambda value, players: shapley_values(value, players).flip(0),
        "Your players stand in reverse order: bit 0 is the last digit of a binary number."),
    Misconception("sign", lambda value, players: -shapley_values(value, players),
        "The sign is turned: with the player minus without it."),
)  # fmt: skip

SHAPLEY = Exercise(
    id="attribution.shapley_values",
    title="A fair share",
    points=4,
    minutes=14,
    difficulty=3,
    signature="shapley_values(value, players)",
    reference=shapley_values,
    public=lambda: [_sv_case("three players", 40, 3), _sv_case("four players", 41, 4)],
    hidden=lambda seed: [
        _sv_case("another game", seed % 10007 + 500, 5),
        _sv_case("six players", seed % 9973 + 600, 6),
    ],
    misconceptions=SHARE_MISTAKES,
    blocks=("labkit.attribution.shapley_values", "labkit.attribution.kernel_shap_values"),
)


# ---- KernelSHAP's weights


def kernel_shap_weight(players: int, size: int) -> float:
    return (players - 1) / (comb(players, size) * size * (players - size))


WEIGHT = Exercise(
    id="attribution.kernel_shap_weight",
    title="The kernel that makes it Shapley's",
    points=2,
    minutes=6,
    difficulty=1,
    signature="kernel_shap_weight(players, size)",
    reference=kernel_shap_weight,
    public=lambda: [Case(f"{s} of {m}", (m, s)) for m, s in ((5, 1), (5, 2), (8, 6))],
    hidden=lambda seed: [
        Case("another size", (9 + seed % 5, 2 + seed % 3)),
        Case("one alone", (6 + seed % 7, 1)),
    ],
    misconceptions=(
        Misconception(
            "no_binomial",
            lambda players, size: (players - 1) / (size * (players - size)),
            "Divide by the number of coalitions of this size as well, the binomial coefficient.",
        ),
        Misconception(
            "shapley",
            lambda players, size: factorial(size) * factorial(players - size - 1) / factorial(players),
            "That is Shapley's weight of a step. The regression needs another one: see the formula.",
        ),
        Misconception(
            "no_sides",
            lambda players, size: (players - 1) / comb(players, size),
            "The product size * (players - size) below the line is missing: small and large "
            "coalitions count most.",
        ),
        Misconception(
            "players",
            lambda players, size: players / (comb(players, size) * size * (players - size)),
            "Above the line stands players - 1.",
        ),
        Misconception(
            "upside_down",
            lambda players, size: (comb(players, size) * size * (players - size)) / (players - 1),
            "The fraction is upside down: coalitions of middle size must count least.",
        ),
        Misconception(
            "no_parentheses",
            lambda m, s: (m - 1) / comb(m, s) * s * (m - s),
            "Set parentheses around the whole product below the line, or only its first factor divides.",
        ),
        Misconception(
            "some_parentheses",
            lambda m, s: (m - 1) / (comb(m, s) * s) * (m - s),
            "The last factor, players - size, multiplies here; it stands below the line too.",
        ),
        Misconception(
            "one_less_last",
            lambda m, s: m - 1 / (comb(m, s) * s * (m - s)),
            "Set parentheses around players - 1, or the 1 alone is divided.",
        ),
        Misconception(
            "one_above", lambda m, s: 1 / (comb(m, s) * s * (m - s)), "What stands above the line is missing."
        ),
        Misconception(
            "size_missing",
            lambda m, s: (m - 1) / (comb(m, s) * (m - s)),
            "The factor size is missing below the line.",
        ),
        Misconception(
            "others_missing",
            lambda m, s: (m - 1) / (comb(m, s) * s),
            "The factor players - size is missing below the line.",
        ),
        Misconception(
            "others_only",
            lambda m, s: (m - 1) / (comb(m - 1, s) * s * (m - s)),
            "The coalition is chosen from all players here, not from one less.",
        ),
        Misconception(
            "ordered",
            lambda m, s: (m - 1) / (perm(m, s) * s * (m - s)),
            "You count ordered choices. In a coalition the order plays no part: the binomial coefficient.",
        ),
        Misconception(
            "summed",
            lambda m, s: (m - 1) / (comb(m, s) + s + m - s),
            "Below the line stands a product, not a sum.",
        ),
    ),
)

EXERCISES = (KERNEL, FIT, SHAPLEY, WEIGHT)
