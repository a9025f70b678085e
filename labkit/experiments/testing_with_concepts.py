"""Testing with concepts, lab 31: paired re-renders of a colour (C1), the rate of false alarms (C2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import BASIC_COLORS, CLASSES, MiniBroden, Scenes, gather, replace
from labkit.experiments.bench import Bench, answers, experiment
from labkit.experiments.measures import Measure, Result
from labkit.experiments.painted_concepts import (
    CHANCES,
    LAYERS,
    PAIRS,
    PENALTY,
    Bar,
    Kim,
    Pairs,
    kim_scores,
    paired_bars,
    pool_of,
    pooled_slopes,
    random_signs,
    repainted,
)
from labkit.models import features

LAB = "31_testing_with_concepts"
ENGINE, BUS = "fire engine", "bus"
COLOURS = ("red", "blue", "yellow", "white")
MELBOURNE, BOTH, HONEST = "minivgg-melbourne", "minivgg-bothcities", "minivgg"
DRAWS, LEVEL = 3, 0.05
FOUR = (ENGINE, "zebra", "sailboat", "house")
Own = Callable[..., Any]


# ---- C1: does the network of one city rely on red?


@experiment("C1", LAB, pair_effects="concepts.pair_effects", sign_flip_z="concepts.sign_flip_z")
def c1(bench: Bench, *, pair_effects: Own, sign_flip_z: Own) -> Result:
    """Red by paired re-renders on a network that learned it, one that did not, and what re-painting does."""
    own = {"pair_effects": pair_effects, "sign_flip_z": sign_flip_z}
    tiny = torch.eye(3, dtype=torch.float64)
    sign_flip_z(pair_effects(tiny, tiny, 0 * tiny), random_signs(4, 3))  # unwritten: say so at once
    engines = bench.scenes(PAIRS * DRAWS, kind=ENGINE, lesson=PAIRS)
    buses = bench.scenes(PAIRS * DRAWS, kind=BUS, lesson=PAIRS)
    size = min(PAIRS, len(engines.labels))
    every = [repainted(engines, ENGINE, colour) for colour in COLOURS] + [repainted(buses, BUS, "red")]
    bars = {
        (network, pairs.kind, pairs.colour): paired_bars(bench.network(network), pairs, **own, size=size)
        for network in (MELBOURNE, BOTH, HONEST)
        for pairs in (every if network == MELBOURNE or bench.mode == "full" else every[:1])
    }
    red, bothcities, measures = {}, {}, []
    for layer in LAYERS:
        red[layer], bothcities[layer] = (bars[n, ENGINE, "red"][layer] for n in (MELBOURNE, BOTH))
        beside = {
            f"{colour} on melbourne": bars[MELBOURNE, ENGINE, colour][layer].z for colour in COLOURS[1:]
        } | {
            "red on the honest network": bars[HONEST, ENGINE, "red"][layer].z,
            "red for bus on melbourne": bars[MELBOURNE, BUS, "red"][layer].z,
        }
        measures += [
            Measure(
                f"z of red, melbourne, {layer}", red[layer].z, ">= 3 (lower bound)", "spreads", beside
            ),
            Measure(f"z of red, bothcities, {layer}", bothcities[layer].z, "< 2 (upper bound)", "spreads"),
            Measure(
                f"effect over counterfactual, melbourne, {layer}, logarithm to base 3",
                _logarithm(red[layer]), "within 1",
                control={
                    "effect": red[layer].effect, "effect with places kept": red[layer].in_place,
                    "counterfactual logit": red[layer].counterfactual,
                },
            ),
            Measure(
                f"effect, bothcities, {layer}", bothcities[layer].effect, "within 0.3", "logits",
                control={"counterfactual logit": bothcities[layer].counterfactual},
            ),
        ]  # fmt: skip
    flips = {name: _flips(bench.network(name), every[0]) for name in (MELBOURNE, BOTH, HONEST)}
    agree = [
        (bar.effect.value > 0) == (bar.counterfactual.value > 0)
        for layers in bars.values()
        for bar in layers.values()
        if bar.counterfactual.low > 0 or bar.counterfactual.high < 0
    ]
    measures += [
        Measure(
            "re-painting a red engine flips, melbourne", flips[MELBOURNE], ">= 0.6",
            control={"the honest network": flips[HONEST]},
        ),
        Measure("re-painting a red engine flips, bothcities", flips[BOTH], "< 0.1"),
        Measure("effects with the sign of their counterfactual logit", share(agree or [True]), ">= 1"),
    ]  # fmt: skip
    kim = _kim_of_colours(bench, engines)
    said = [
        f"Kim's score, {network}, {layer}: "
        + ", ".join(f"{name} {k.score:.2f} (z {k.z:.1f}, p {k.p:.2f})" for name, k in rows.items())
        + f"; chance {next(iter(rows.values())).chance:.2f}"
        for network, layers in kim.items()
        for layer, rows in layers.items()
    ]
    return Result(tuple(measures), notes=tuple(said), show={"bars": bars, "kim": kim, "pairs": every})


def _logarithm(bar: Bar) -> Interval:
    """To base 3, of effect over counterfactual; -3 where it is far less or has another sign."""
    whole = bar.counterfactual.value
    ratios = [max(value / whole, 3.0**-3) if whole else 3.0**-3 for value in bar.effect]
    logs = [math.log(ratio, 3) for ratio in ratios]
    return Interval(logs[0], min(logs), max(logs))


def _flips(model: nn.Module, pairs: Pairs) -> Interval:
    """Of the objects that are named in the colour, the share that is not in another one."""
    label = CLASSES.index(pairs.kind)
    named = answers(model, pairs.present) == label
    changed = (answers(model, pairs.absent) != label)[named]
    return share(changed.numpy() if len(changed) else [False])


def _kim_of_colours(bench: Bench, engines: Scenes) -> dict[str, dict[str, dict[str, Kim]]]:
    """Kim's scores of four colours, each 40 scenes of other classes painted in it, on three networks."""
    others = bench.scenes(PAIRS, not_kind=ENGINE, lesson=PAIRS)
    concepts: dict[str, Any] = {
        colour: gather(replace(scene, color=colour) for scene in others.scenes).images for colour in COLOURS
    }
    pool = pool_of(bench, 1000)
    images = engines.images[:PAIRS]
    return {
        name.removeprefix("minivgg-").replace(HONEST, "the honest network"): kim_scores(
            bench, bench.network(name), images, ENGINE, concepts, pool
        )
        for name in ((MELBOURNE, BOTH, HONEST) if bench.mode == "full" else (MELBOURNE, HONEST))
    }  # fmt: skip


# ---- C2: how often is a random concept called significant?


@experiment("C2", LAB, cav="concepts.cav", two_tests="concepts.two_tests")
def c2(bench: Bench, *, cav: Own, two_tests: Own) -> Result:
    """Random concepts held against random concepts, by the means of these and by the paper's t-test."""
    from scipy.stats import t as students

    cav(torch.eye(2), -torch.eye(2), 1.0)  # unwritten: say so at once
    two_tests(torch.rand(3), torch.rand(4, 3))
    pool = _two_thousand(bench)
    size, draws = (6, 2) if bench.quick else (PAIRS, 10)
    concepts = bench.count(100, lesson=10, few=2)
    chances = bench.count(CHANCES, lesson=CHANCES, few=4)
    seen = {kind: bench.scenes(PAIRS, kind=kind, lesson=20).images for kind in FOUR}
    painted = _painted(bench, size)
    model, names = bench.network(HONEST), list(LAYERS.values())
    every = features(model, pool, names, pool="mean")
    coloured = [features(model, pictures, names, pool="mean") for pictures in painted]
    ours: list[list[bool]] = [[] for _ in range(concepts)]
    papers: list[list[bool]] = [[] for _ in range(concepts)]
    white: list[bool] = []
    own = torch.Generator().manual_seed(0)
    for layer in LAYERS.values():
        rows = every[layer].double()
        slopes = {kind: pooled_slopes(model, images, kind, layer).double() for kind, images in seen.items()}

        def scored(concept: Tensor, others: Tensor) -> dict[str, Tensor]:
            """By class the scores along the vectors of one concept, against draws of as many others."""
            drawn = [others[torch.randperm(len(others), generator=own)[: len(concept)]] for _ in range(draws)]
            vectors = torch.stack([cav(concept, rest, PENALTY) for rest in drawn])
            return {kind: (by @ vectors.T > 0).double().mean(0) for kind, by in slopes.items()}  # noqa: B023

        def chance(others: Tensor) -> dict[str, Tensor]:
            shuffled = others[torch.randperm(len(others), generator=own)]
            return scored(shuffled[:size], shuffled[size:])

        def tested(concept: Tensor, others: Tensor) -> list[tuple[bool, bool]]:
            """For each class whether both tests call the concept significant, ours first."""
            scores, null = scored(concept, others), [chance(others) for _ in range(chances)]
            found = []
            for kind in FOUR:
                t, p = two_tests(scores[kind], torch.stack([n[kind] for n in null]))
                degrees = draws * (1 + chances) - 2
                by_paper = 2 * students.sf(abs(float(t)), degrees) < LEVEL
                found.append((bool(p <= LEVEL), bool(by_paper)))
            return found

        for number in range(concepts):
            shuffled = rows[torch.randperm(len(rows), generator=own)]
            for right, wrong in tested(shuffled[:size], shuffled[size:]):
                ours[number].append(right)
                papers[number].append(wrong)
        null = [chance(rows) for _ in range(chances)]
        for of_colour in coloured:
            scores = scored(of_colour[layer].double(), rows)
            for kind in FOUR:
                p = two_tests(scores[kind], torch.stack([n[kind] for n in null]))[1]
                white.append(bool(p <= LEVEL))
    rates = [bootstrap(np.array(found, float).mean(1)) for found in (ours, papers)]
    return Result(
        (
            Measure(
                "random concepts called significant at .05, by the means of random concepts", rates[0],
                "<= 0.08 (upper bound)",
                control={
                    "the paper's t-test": rates[1], "colours of other objects, by our test": share(white),
                },
                must={"the paper's t-test": ">= 0.15 (lower bound)"},
            ),
        ),
        show={"rates": {
            "our test": rates[0], "the paper's t-test": rates[1], "our test, colours": share(white)
        }},
    )  # fmt: skip


def _two_thousand(bench: Bench) -> ndarray:
    """All validation and test scenes that the kit's other numbers rest on, too; fewer in class and quick."""
    first = pool_of(bench, 1000)
    if bench.mode != "full":
        return first
    return np.concatenate([first, MiniBroden(1000, "test").pictures()[0]])


def _painted(bench: Bench, size: int) -> list[Float[Tensor, "N 3 H W"]]:
    """By colour the same scenes of other classes than the four, their objects painted in it."""
    scenes = [s for s in bench.scenes(2 * PAIRS, lesson=2 * PAIRS).scenes if s.objects[0].kind not in FOUR]
    colours = BASIC_COLORS[:2] if bench.quick else BASIC_COLORS if bench.mode == "full" else COLOURS
    return [gather(replace(s, color=colour) for s in scenes[:size]).images for colour in colours]
