"""Concepts from scenes painted anew: pairs, what a network's layer says of them, and Kim's scores beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.concept_tests import z_among
from labkit.concepts.concept_vectors import layer_gradients
from labkit.concepts.directions import Directions, by_channel
from labkit.core.statistics import Interval, bootstrap, rank_p
from labkit.data import BASIC_COLORS, CLASSES, MiniBroden, Scenes, gather, replace
from labkit.experiments.bench import Bench
from labkit.models import features

LAYERS = {"conv2": "features.5", "conv3": "features.9"}
PAIRS, FLIPS, CHANCES, PENALTY = 40, 500, 100, 0.01
Own = Callable[..., Any]


class Pairs(NamedTuple):
    """The same scenes with the object in one colour and in another one."""

    kind: str
    colour: str
    present: Float[Tensor, "N 3 H W"]
    absent: Float[Tensor, "N 3 H W"]


class Bar(NamedTuple):
    """What one network's layer says of a colour: over the draws of pairs the z among sign flips and the mean
    effect; over all pairs ``in_place``, the same derivative with each pair's change kept at its own places,
    and ``counterfactual``, the logit's change where the object is painted."""

    z: Interval
    effect: Interval
    in_place: Interval
    counterfactual: Interval


def repainted(scenes: Scenes, kind: str, colour: str, *, seed: int = 0) -> Pairs:
    """Each scene's object in the colour, and in another one by lot that is neither it nor red."""
    rng = np.random.default_rng(seed)
    others = [name for name in BASIC_COLORS if name not in (colour, "red")]
    drawn = rng.choice(others, len(scenes.scenes))
    with_it = gather(replace(scene, color=colour) for scene in scenes.scenes).images
    without = gather(
        replace(scene, color=str(other)) for scene, other in zip(scenes.scenes, drawn, strict=True)
    )
    return Pairs(kind, colour, with_it, without.images)


def pooled_slopes(model: nn.Module, images: Tensor, kind: str, layer: str) -> Float[Tensor, "N K"]:
    """The gradient of a class's logit by a layer's channels, all places moved alike."""
    return by_channel(layer_gradients(model, images, CLASSES.index(kind), layer=layer))


def random_signs(flips: int, pairs: int) -> Float[Tensor, "F M"]:
    """Rows of +1 and -1 by lot, always the same."""
    drawn = torch.rand(flips, pairs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.where(drawn < 0.5, -1.0, 1.0).double()


def paired_bars(
    model: nn.Module, pairs: Pairs, *, pair_effects: Own, sign_flip_z: Own, size: int = PAIRS
) -> dict[str, Bar]:
    """By layer what pairs say, in draws of ``size`` pairs."""
    both, count = torch.cat([pairs.present, pairs.absent]), len(pairs.present)
    with torch.no_grad():
        logits = torch.cat([model(part) for part in both.split(64)])[:, CLASSES.index(pairs.kind)]
    moved = bootstrap((logits[:count] - logits[count:]).numpy())
    bars = {}
    for title, layer in LAYERS.items():
        maps = features(model, both, layer)
        gradients = layer_gradients(model, both, CLASSES.index(pairs.kind), layer=layer)
        change = maps[:count] - maps[count:]
        in_place = (change * (gradients[:count] + gradients[count:]) / 2).flatten(1).double().sum(1)
        slopes, rows = by_channel(gradients).double(), maps.mean((2, 3)).double()
        zs, effects = [], []
        for first in range(0, count - size + 1, size):
            own = torch.arange(first, first + size)
            each = pair_effects(slopes[torch.cat([own, own + count])], rows[own], rows[own + count])
            zs.append(float(sign_flip_z(each, random_signs(FLIPS, size))))
            effects.append(float(each.mean()))
        bars[title] = Bar(_ends(zs), _ends(effects), bootstrap(in_place.numpy()), moved)
    return bars


def _ends(values: list[float]) -> Interval:
    return Interval(sum(values) / len(values), min(values), max(values))


class Kim(NamedTuple):
    """A score by Kim's way, the mean of those of random concepts, z and two-sided p among these."""

    score: float
    chance: float
    z: float
    p: float


def kim_scores(
    bench: Bench, model: nn.Module, images: Tensor, kind: str, concepts: dict[str, Any], pool: ndarray
) -> dict[str, dict[str, Kim]]:
    """By layer and concept the TCAV score over draws of a pool, held against random concepts of as many."""
    names, chances = list(LAYERS.values()), 8 if bench.quick else CHANCES
    rest = features(model, pool, names, pool="mean")
    rows = {name: features(model, pictures, names, pool="mean") for name, pictures in concepts.items()}
    found: dict[str, dict[str, Kim]] = {}
    for title, layer in LAYERS.items():
        size = min(len(pictures) for pictures in concepts.values())
        together = torch.cat([rest[layer], *(rows[name][layer][:size] for name in concepts)])
        vectors = Directions(together, pooled_slopes(model, images, kind, layer), PENALTY)
        own, others = torch.Generator().manual_seed(0), torch.arange(len(pool))
        null = torch.stack([
            (vectors.of_chance(others, size, 10, own) > 0).double().mean() for _ in range(chances)
        ])  # fmt: skip
        found[title] = {}
        for number, name in enumerate(concepts):
            first = len(pool) + number * size
            every = vectors.of_concept(torch.arange(first, first + size), others, 10, own)
            score, middle = float((every > 0).double().mean()), float(null.mean())
            p = rank_p(score - middle, (null - middle).numpy(), side="both")
            found[title][name] = Kim(score, middle, z_among(score, null), p)
    return found


def pool_of(bench: Bench, n: int) -> ndarray:
    """Validation scenes that random concepts are dealt from, as bytes."""
    return MiniBroden(bench.count(n, lesson=400, few=36), "val").pictures()[0]
