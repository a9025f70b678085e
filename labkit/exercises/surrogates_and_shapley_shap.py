"""The exercises of the notebook 24 on SHAP: KernelSHAP's regression, DeepSHAP's rule at a ReLU."""

from __future__ import annotations

import torch

from labkit.calls.exercise import Case
from labkit.calls.form import Draw, Sheet
from labkit.exercises.surrogates_and_shapley import copies

SHEET = Sheet("24_surrogates_and_shapley")


def regression_cases(draw: Draw):
    for players, rows in ((4, 14), (draw.pick(5, 6), 24)):
        shown = copies(draw, rows + players, players)[1:]
        shown[:, 1] = torch.where(shown.all(1), 0.0, shown[:, 1])  # neither all nor nobody
        empty, full = draw.number(-2, 2), draw.number(3, 6)
        yield Case(
            f"{players} players, {len(shown)} coalitions",
            (shown, draw.numbers(len(shown)), empty, full, draw.net("by_size")),
        )


def _no_end_is_held(coalitions, worth, empty, full, weight):
    weights = worth.new_tensor([weight(len(row), int(row.sum())) for row in coalitions])
    x = torch.cat([coalitions, coalitions[:, :1] ** 0], 1)
    return torch.linalg.solve(x.T @ (weights[:, None] * x), x.T @ (weights * worth))[:-1]


def _sum_is_free(coalitions, worth, empty, full, weight):
    weights = worth.new_tensor([weight(len(row), int(row.sum())) for row in coalitions])
    x = weights[:, None] * coalitions
    return torch.linalg.solve(coalitions.T @ x, x.T @ (worth - empty))


def _stretched(coalitions, worth, empty, full, weight):
    free = _sum_is_free(coalitions, worth, empty, full, weight)
    return free * (full - empty) / free.sum()


def _spread(coalitions, worth, empty, full, weight):
    free = _sum_is_free(coalitions, worth, empty, full, weight)
    return free + (full - empty - free.sum()) / len(free)


@SHEET.exercise(
    "attribution.kernel_shap", "The regression with two ends", points=4, minutes=14, difficulty=3,
    cases=regression_cases,
    blocks=("labkit.attribution.kernel_shap_values", "labkit.attribution.kernel_shap"),
    mistakes=(
        (_sum_is_free,
            "Your shares may sum to anything. The second end is missing: they sum to full - empty."),
        (_no_end_is_held, "You fit a free intercept. What nobody is worth is known: it is empty."),
        (_stretched, "You stretch the shares afterwards. The sum must hold within the regression."),
        (_spread, "You spread what is missing evenly afterwards. The sum must hold within the regression."),
        ("worth - empty - last", "worth - last",
            "Take empty off the worths: that is where the shares begin."),
        ("gain = full - empty", "gain = full", "The shares add up to full - empty, not to full."),
        (" - last * gain", "",
            "The last player's gain is still in y: take off last * gain, as in the formula."),
        (" - last[:, None]", "",
            "The last player takes what the others leave: its column comes off each of theirs."),
        (" - first.sum()", " + 0 * first.sum()",
            "The last share is what the others leave of the gain, not all of it."),
        ({"weights[:, None] * x": "x", "weights * y": "y"}, "The weights are not used."),
        ("weights * y", "y", "The weights are in the matrix only. They belong on the right side as well."),
        ("(weights[:, None] * x)", "x", "The weights are on the right side only. The matrix needs them too."),
        ({"weights[:, None] * x": "weights[:, None] ** 2 * x", "weights * y": "weights**2 * y"},
            "The weights enter twice. Multiply each squared error by its weight once."),
        ("weight(players, int(row.sum()))", "weight(int(row.sum()), players)",
            "Hand weight how many players there are first, then how many are in."),
        ("[first, (gain - first.sum())[None]]", "[(gain - first.sum())[None], first]",
            "The share that you find at the end is the last player's: it stands last."),
    ),
)  # fmt: skip
def kernel_shap(coalitions, worth, empty, full, weight):
    """Shares by KernelSHAP's regression over the coalitions that were asked.

    coalitions: (S, M), rows of 0. and 1., neither all 0 nor all 1; worth: (S,), what each is worth;
    empty, full: numbers, what nobody and everybody are worth; weight: (players, size) -> a number,
    the weight of a coalition's squared error. Returns (M,), signed, with the sum full - empty.
    """
    players, last = coalitions.shape[1], coalitions[:, -1]
    gain = full - empty
    weights = worth.new_tensor([weight(players, int(row.sum())) for row in coalitions])
    x = coalitions[:, :-1] - last[:, None]
    y = worth - empty - last * gain
    first = torch.linalg.solve(x.T @ (weights[:, None] * x), x.T @ (weights * y))
    return torch.cat([first, (gain - first.sum())[None]])


def rescale_cases(draw: Draw):
    for name in ("some are equal", "another draw"):
        x, baseline = (draw.numbers(2, 3, 5, 4) * draw.masks(2, 3, 5, 4, share=0.8) for _ in range(2))
        yield Case(name, (x, torch.where(draw.masks(2, 3, 5, 4, share=0.3), x, baseline)))  # some both 0


RATIO = "(x.relu() - baseline.relu()) / torch.where(alike, 1.0, difference)"


@SHEET.exercise(
    "attribution.rescale_multiplier", "One rule for one ReLU, again", points=2, minutes=8, difficulty=2,
    cases=rescale_cases, blocks=("labkit.attribution.deep_shap",),
    mistakes=(
        ("torch.where(alike, slope, ratio)", "slope",
            "That is the gradient: the slope at x. The multiplier is the slope between baseline and x."),
        ("torch.where(alike, slope, ratio)", "(baseline > 0).to(x)",
            "That is the slope at the baseline. The multiplier is the slope between baseline and x."),
        ("torch.where(alike, slope, ratio)", "(slope + (baseline > 0).to(x)) / 2",
            "You average the slopes at both ends. Divide the difference behind by the difference before."),
        ("torch.where(alike, slope, ratio)", "torch.where(alike, 0.0, ratio)",
            "Where the two are equal, the slope at x is asked for, not 0."),
        ("torch.where(alike, slope, ratio)", "torch.where(alike, 1.0, ratio)",
            "Where the two are equal, the slope at x is asked for: 0 where the ReLU is off."),
        ("torch.where(alike, slope, ratio)", "x.relu() - baseline.relu()",
            "That is the difference behind the ReLU. Divide it by the one before, x - baseline."),
        ("(x > 0)", "(x >= 0)", "At exactly 0 the ReLU is off: x > 0, not >=."),
        (RATIO, "difference.relu() / torch.where(alike, 1.0, difference)",
            "You take the ReLU of the difference. Take the difference of the two ReLUs."),
        (RATIO, "x.relu() / torch.where(alike, 1.0, difference)",
            "Above the line stands the difference of both ReLUs: the baseline's is missing."),
        (RATIO, "(x.relu() - baseline.relu()) / torch.where(alike, 1.0, x)",
            "You divide by x. Divide by the difference, x - baseline."),
        (RATIO, "(baseline.relu() - x.relu()) / torch.where(alike, 1.0, difference)",
            "The sign is turned: above and below the line it is x minus baseline."),
    ),
)  # fmt: skip
def rescale_multiplier(x, baseline):
    """DeepLIFT's multiplier of a ReLU: its mean slope on the way from the baseline to x.

    x, baseline: what enters the ReLU for the picture and for the baseline, of one shape.
    Returns that shape; where the two are closer than 1e-6, the slope at x (1 or 0).
    """
    difference = x - baseline
    alike = difference.abs() < 1e-6
    slope = (x > 0).to(x.dtype)
    ratio = (x.relu() - baseline.relu()) / torch.where(alike, 1.0, difference)
    return torch.where(alike, slope, ratio)
