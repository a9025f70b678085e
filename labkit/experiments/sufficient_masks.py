"""Sufficient and necessary masks, lab 23: what keeps an object's class, and which of two alike (A12)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import spearmanr
from torch import Tensor, nn

from labkit.attribution import extremal_perturbation_result
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import MiniBroden, Scene, gather, item, replace
from labkit.evaluation import area_share, energy_inside
from labkit.experiments.bench import SEEDS, Bench, answers, right
from labkit.experiments.measures import Measure, Result
from labkit.optimize import masked

DETAILS = ("wheel", "window", "door", "ladder", "head", "leg", "tail")


class Third(NamedTuple):
    """A network, the next of the three, and test scenes that both name rightly."""

    own: nn.Module
    other: nn.Module
    images: Float[Tensor, "N 3 H W"]
    labels: Int[Tensor, " N"]
    masks: Bool[Tensor, "N H W"]
    scenes: list[Scene]


def thirds(bench: Bench, n: int, lesson: int) -> Iterator[Third]:
    """``n`` test scenes, a part for each network; half as many more are drawn, for some are named wrongly."""
    drawn, seeds = bench.scenes(n + n // 2, lesson=lesson + lesson // 2), bench.seeds
    most = len(drawn.images) * 2 // 3 // len(seeds)
    for k, part in enumerate(torch.arange(len(drawn.images)).chunk(len(seeds))):
        own, other = bench.network(seeds[k]), bench.network(SEEDS[(k + 1) % len(SEEDS)])
        named = [right(net, drawn.images[part], drawn.labels[part]) for net in (own, other)]
        kept = part[named[0] & named[1]][:most]
        scenes = [drawn.scenes[i] for i in kept]
        yield Third(own, other, drawn.images[kept], drawn.labels[kept], drawn.masks[kept], scenes)


def stacked(rows: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """What was found of each part's scenes, in one array for each name."""
    return {what: torch.cat([row[what] for row in rows]).float().numpy() for what in rows[0]}


def _keeps(
    model: nn.Module, images: Tensor, masks: Float[Tensor, "N A H W"], y: Tensor
) -> Bool[Tensor, "N A"]:
    return torch.stack([answers(model, masked(images, m)) == y for m in masks.unbind(1)], 1)


def _details(scenes: list[Scene], truth: Bool[Tensor, "N H W"]) -> tuple[Tensor, Tensor]:
    """Masks of all named parts of the object, and of its details alone."""
    part = torch.stack([item(scene)["part"] for scene in scenes]) * truth
    small = torch.tensor([MiniBroden.names["part"].index(name) for name in DETAILS])
    return part > 0, torch.isin(part, small)


def sufficient_areas(bench: Bench) -> Result:
    """A12, the first half: the smallest of four areas that keeps the class, on the next picture too."""
    areas, rows = (0.02, 0.04, 0.08, 0.16), []
    for own, _, x, y, truth, scenes in thirds(bench, 102, lesson=12):
        done = [
            extremal_perturbation_result(own, a, b, area=areas, steps=bench.steps(50))
            for a, b in zip(x.split(17), y.split(17), strict=True)
        ]
        masks, (named, detail) = torch.cat([d.masks for d in done]), _details(scenes, truth)
        keeps, strange = (_keeps(own, x, laid, y) for laid in (masks, masks.roll(1, 0)))
        chosen, need = _smallest(masks, keeps)
        above = torch.cat([d.rewards for d in done]) > torch.cat([d.whole for d in done])[:, None]
        rows.append(
            {
                "size": area_share(truth), "need": need,
                "strange need": _smallest(masks.roll(1, 0), strange)[1],
                "keeps": keeps, "strange keeps": strange,
                "enough": keeps.any(1), "strange enough": keeps.any(1).roll(1, 0),
                "inside": energy_inside(chosen, truth), "overdriven": above.any(1),
                "named": energy_inside(chosen, named) / area_share(named),
                "named share": named.float().sum((1, 2)) / truth.sum((1, 2)),
                "details": _within(chosen, detail, truth), "all parts": _within(chosen, named, truth),
                "strange details": _within(chosen.roll(1, 0), detail, truth),
            }
        )  # fmt: skip
    return _sufficient(areas, stacked(rows))


def _smallest(masks: Float[Tensor, "N A H W"], keeps: Bool[Tensor, "N A"]) -> tuple[Tensor, Tensor]:
    """The first mask that keeps the class, and its area: 1 where none does."""
    chosen = masks[torch.arange(len(masks)), keeps.int().argmax(1)]
    return chosen, torch.where(keeps.any(1), chosen.mean((1, 2)), 1.0)


def _within(masks: Tensor, part: Tensor, truth: Tensor) -> Float[Tensor, " N"]:
    """How many times its share of what the mask holds of the object a part of the object gets."""
    held = energy_inside(masks, truth) / area_share(truth)
    return energy_inside(masks, part) / area_share(part) / held


def _correlation(rows: np.ndarray) -> float:
    """The rank correlation of two columns; 0 where one is constant, as a few scenes drawn again may be."""
    if (rows == rows[0]).all(0).any():
        return 0.0
    return float(spearmanr(rows[:, 0], rows[:, 1]).statistic)


def _sufficient(areas: tuple[float, ...], got: dict[str, np.ndarray]) -> Result:
    size, need, enough = got["size"], got["need"], got["enough"] > 0

    def mean(what: str, counts: np.ndarray = enough) -> Interval:
        return bootstrap(got[what][counts & np.isfinite(got[what])])

    rank = bootstrap(np.stack([size, need / size], 1), _correlation)
    rng = np.random.default_rng(0)
    lots = [_correlation(np.stack([size, rng.permutation(need) / size], 1)) for _ in range(500)]
    low, high = np.quantile(lots, [0.025, 0.975])
    lot = Interval(float(np.mean(lots)), float(low), float(high))
    return Result(
        (
            Measure(
                "a part smaller than the object suffices", share(need < size), ">= 0.6",
                control={"masks of the next picture": share(got["strange need"] < size)},
            ),
            Measure(
                "rank correlation of the object's size and the share of it that is needed, "
                "minus the 2.5 % quantile of needs dealt by lot",
                Interval(*(v - lot.low for v in rank)), "< 0",
                control={"needs dealt by lot": Interval(*(v - lot.low for v in lot))},
            ),
            Measure(
                "details within the object: share of the mask / their share", mean("details"),
                ">= 1 (lower bound)",
                control={
                    "masks of the next picture": mean("strange details", got["strange enough"] > 0),
                    "all named parts": mean("all parts"),
                    "named parts' share of the object": bootstrap(got["named share"]),
                },
            ),
        ),
        notes=(
            f"that rank correlation itself: {rank}, with needs dealt by lot {lot}",
            f"mask on named parts / their area share: {mean('named')}",
            f"{len(size)} scenes; needed: {np.median(need[enough]):.3f} of the picture (median), no area "
            f"sufficed in {int((~enough).sum())}; {got['inside'][enough].mean():.2f} of the mask lies on the "
            f"object; overdriven (a mask scores above the whole picture): {int(got['overdriven'].sum())}; "
            f"size and area needed: rank correlation {_correlation(np.stack([size, need], 1)):.2f}",
        ),
        show={
            "areas": areas,
            "kept": {
                name: [share(column > 0) for column in got[what].T]
                for what, name in {"keeps": "own mask", "strange keeps": "another picture's"}.items()
            },
        },
        id="A12",
    )  # fmt: skip


def _twins(n: int) -> Iterator[Scene]:
    """Scenes with two objects of one class, in different colours and poses."""
    for scene in map(MiniBroden(n, "test", objects=2).scene, range(n)):
        a, b, *rest = scene.things
        b = dataclasses.replace(b, kind=a.kind, variant=a.variant, texture=a.texture)
        yield dataclasses.replace(scene, things=(a, b, *rest))


def two_of_a_kind(bench: Bench) -> Result:
    """A12, the second half: does letting go of either of two alike objects bring the deleted class back?"""
    drawn, rows, gains, seeds = gather(_twins(bench.count(54, lesson=18))), [], [], bench.seeds
    most = len(drawn.images) * 2 // 3 // len(seeds)
    for own, part in zip(
        map(bench.network, seeds), torch.arange(len(drawn.images)).chunk(len(seeds)), strict=True
    ):
        kept = part[right(own, drawn.images[part], drawn.labels[part])][:most]
        x, y, scenes = drawn.images[kept], drawn.labels[kept], [drawn.scenes[i] for i in kept]
        one, two = (torch.stack([item(s)["instance"] == k for s in scenes]) for k in (1, 2))
        done = extremal_perturbation_result(
            own, x, y, area=(0.1, 0.2, 0.4), mode="delete", steps=bench.steps(50)
        )
        gone = ~_keeps(own, x, 1 - done.masks, y)
        mask = done.masks[torch.arange(len(x)), gone.int().argmax(1)]
        first, second, ground = (
            answers(own, masked(x, 1 - mask * ~free)) == y for free in (one, two, ~(one | two))
        )
        back = {"either": first & second, "one": first | second, "ground": ground}
        rows.append({name: value[gone.any(1)] for name, value in back.items()})
        alone = [gather(replace(s, without=k) for s in scenes).images for k in (1, 2)]
        with torch.no_grad():
            score = [own(pictures).gather(1, y[:, None])[:, 0] for pictures in (x, *alone)]
        gains.append(score[0] - (score[1] + score[2]) / 2)
    got, gain = stacked(rows), torch.cat(gains).numpy()
    returned = {name: share(value > 0) for name, value in got.items()}
    return Result(
        (
            Measure(
                "two of a kind: letting go of either brings the class back", returned["either"], ">= 0.6",
                control={"letting go of the background": returned["ground"]},
            ),
            Measure(
                "two of a kind: score of both minus score of one", bootstrap(gain), "> 0 (lower bound)",
                unit="logits",
            ),
        ),
        notes=(
            f"class destroyed in {len(got['either'])} of {len(gain)}; at least one of the two brings it "
            f"back: {returned['one'].value:.2f}",
        ),
        show={"pictures": torch.cat([x[:4], masked(x, 1 - mask)[:4]])},
        id="A12",
    )  # fmt: skip
