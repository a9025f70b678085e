"""Adversarial pictures told by their heatmaps, and mended where these are strong, lab 25 (A14).

Fong and Vedaldi 2017 saw attacks in their learned masks; here plain gradient maps are tried, beside a
detector without any map and a smoothing that asks no map.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.adversarial import fgsm
from labkit.attribution import guided_backprop, saliency
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import MiniBroden
from labkit.experiments.bench import Bench, answers, experiment, right
from labkit.experiments.measures import Measure, Result
from labkit.optimize import gaussian_blur

LAB = "25_can_you_trust_a_heatmap"
SIZE = 4 / 255  # of the attack


def _in_parts(function: Callable[..., Tensor], *given: Tensor) -> Tensor:
    parts = zip(*(g.split(50) for g in given), strict=True)
    return torch.cat([function(*part).detach() for part in parts])


def _small_steps(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The attack that the detector has never seen: ten small steps instead of one."""
    attacked = images
    for _ in range(10):
        attacked = _in_parts(lambda p, t: fgsm(model, p, t, epsilon=SIZE / 4), attacked, labels)
        attacked = (images + (attacked - images).clamp(-SIZE, SIZE)).clamp(0, 1)
    return attacked


def _features(maps: Float[Tensor, "N 1 H W"], *, scaled: bool) -> Float[ndarray, "N F"]:
    """Where a map is strong on a grid of 16 x 16, and how evenly; ``scaled`` to its maximum, or as it is."""
    small = F.adaptive_avg_pool2d(maps, 16).flatten(1)
    if scaled:
        small = small / small.amax(1, keepdim=True)
    return torch.cat([small, small.sort(1).values], 1).numpy()


def _by_map(model: nn.Module, images: Tensor) -> ndarray:
    maps = _in_parts(lambda p, t: guided_backprop(model, p, t), images, answers(model, images, 50))
    return _features(maps[:, None], scaled=True)


def _by_grain(images: Tensor) -> ndarray:
    """The control: no map and no network, only what a blur takes away."""
    grain = (images - gaussian_blur(images, 1.0)).abs().mean(1, keepdim=True)
    return _features(grain, scaled=False)


def _alarms(
    features: Callable[[Tensor], ndarray], learned: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor]
) -> Float[ndarray, "N 2"]:
    """How sure a forest, taught on clean and attacked pictures, is that others were attacked."""
    from sklearn.ensemble import RandomForestClassifier

    detector = RandomForestClassifier(300, random_state=0)
    truth = np.repeat([0, 1], [len(part) for part in learned])
    detector.fit(np.concatenate([features(part) for part in learned]), truth)
    return np.stack([detector.predict_proba(features(part))[:, 1] for part in asked], 1)


def auc(rows: Float[ndarray, "N 2"]) -> float:
    """Area under the ROC curve of clean (first column) against attacked pictures (second).

    How often an attacked picture raises more alarm than a clean one; a tie counts half.

    >>> auc(np.array([[0.1, 0.9], [0.5, 0.5]]))
    0.875
    """
    clean, attacked = rows[:, 0], rows[:, 1][:, None]
    return float((attacked > clean).mean() + 0.5 * (attacked == clean).mean())


def _median(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """The median of 5 x 5 pixels, channel by channel."""
    padded = F.pad(images, (2,) * 4, mode="reflect").flatten(0, 1)[:, None]
    return F.unfold(padded, 5).median(1).values.view_as(images)


def _mended(
    model: nn.Module, images: Tensor, labels: Tensor, flagged: Bool[Tensor, " N"], *, where: str
) -> Bool[Tensor, " N"]:
    """Whether each picture is named rightly once the flagged ones are smoothed: on the strongest 30 % of the
    "map", of "another" picture's map, or on the "whole" picture."""
    maps = _in_parts(lambda p, t: saliency(model, p, t), images, answers(model, images, 50))
    maps = gaussian_blur(maps[:, None], 1.0)
    mask = maps > maps.flatten(1).quantile(0.7, 1)[:, None, None, None]
    mask = mask.roll(1, 0) if where == "another" else mask | (where == "whole")
    shown = torch.where(mask & flagged[:, None, None, None], _median(images), images)
    return right(model, shown, labels)


@experiment("A14", LAB)
def a14(bench: Bench) -> Result:
    """Do maps expose adversarial pictures, and is what they mark what must be smoothed to undo the attack?

    Two controls decide whether the map is needed: the same forest on the picture's grain, and the median on
    the whole picture. Both are taken as differences to what the map achieves.
    """
    model, drawn = bench.network("minivgg"), bench.scenes(450, lesson=220)
    fine = right(model, drawn.images, drawn.labels)
    x, y = drawn.images[fine], drawn.labels[fine]
    cut = 2 * len(x) // 3
    once = _in_parts(lambda p, t: fgsm(model, p, t, epsilon=SIZE), x[:cut], y[:cut])
    clean, truth = x[cut:], y[cut:]
    tenfold = _small_steps(model, clean, truth)
    alarm, grain = (
        _alarms(features, (x[:cut], once), (clean, tenfold))
        for features in (lambda images: _by_map(model, images), _by_grain)
    )
    rung = torch.from_numpy(alarm > 0.5).T
    fooled = ~right(model, tenfold, truth)
    saved, cost = {}, {}
    for where in ("map", "another", "whole"):
        saved[where] = _mended(model, tenfold, truth, rung[1], where=where)[fooled].numpy()
        if where != "another":
            cost[where] = 1 - _mended(model, clean, truth, rung[0], where=where).double().numpy()
    few = torch.cat([clean[:3], tenfold[:3]])
    told, names = answers(model, few), list(MiniBroden.names["label"])
    notes = (
        f"attacks that succeed: {fooled.double().mean():.2f}; "
        f"alarms: {rung[1].double().mean():.2f} of the attacked, {rung[0].double().mean():.2f} of the clean",
    )
    return Result(
        measures(alarm, grain, saved, cost),
        notes,
        show={
            "pictures": few,
            "maps": {"guided backprop": guided_backprop(model, few, told)},
            "titles": [f"{'attacked' if i > 2 else 'clean'}: {names[int(k)]}" for i, k in enumerate(told)],
        },
    )


def measures(
    alarm: ndarray, grain: ndarray, saved: dict[str, ndarray], cost: dict[str, ndarray]
) -> tuple[Measure, ...]:
    """The claim's four numbers, each beside what needs no map."""

    def more(rows: ndarray) -> Interval:
        return bootstrap(rows, lambda r: auc(r[:, 2:]) - auc(r[:, :2]))

    def ratio(rows: ndarray) -> float:
        return float(rows[:, 0].mean() / max(rows[:, 1].mean(), 1 / len(rows)))

    blind, whole = "the same forest on the picture alone", "the median on the whole picture"
    own, other, smooth = (saved[where].astype(float) for where in ("map", "another", "whole"))
    return (
        Measure(
            "detector's AUC on an attack it never saw", bootstrap(alarm, auc), ">= 0.9",
            control={blind: bootstrap(grain, auc), f"{blind}, minus this": more(np.hstack([alarm, grain]))},
            must={f"{blind}, minus this": "< 0 (upper bound)"},
        ),
        Measure(
            "successful attacks undone", share(saved["map"]), ">= 0.3",
            control={whole: share(saved["whole"]), f"{whole}, minus this": bootstrap(smooth - own)},
            must={f"{whole}, minus this": "< 0 (upper bound)"},
        ),
        Measure(
            "undone, over another picture's mask", bootstrap(np.stack([own, other], 1), ratio), ">= 2",
            control={"undone by another picture's mask": share(saved["another"])},
        ),
        Measure(
            "clean accuracy lost", bootstrap(cost["map"]), "<= 0.1", control={whole: bootstrap(cost["whole"])}
        ),
    )  # fmt: skip
