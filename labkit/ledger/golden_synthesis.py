"""Golden calls of what makes pictures for a unit: spaces, turns, regularizers, and a few steps up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labkit import models, optimize, visualization
from labkit.ledger.golden_calls import EARLY, LAYER, Golden, draw, ground
from labkit.visualization.facets import k_means


def _optimize() -> dict[str, Golden]:
    g, o = ground(), optimize
    waves = g.maps[:, None] * torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64).view(1, 3, 1, 1)

    def parameterized() -> Any:
        found: list[Tensor] = []
        for colours in (None, "decorrelated"):
            for space in (o.Pixels(colours), o.Fourier((128, 128), colours)):
                values = space.values(g.images)
                found += [values, space.picture(0.9 * values + 0.01)]
        return found

    def regularized() -> list[Tensor]:
        four = o.Regularizers(0.1, 1.0, 2, 0.3, 0.2)
        return [four(g.images, waves, step) for step in (0, 1)]

    return {
        "Fourier": Golden(parameterized, (o.Fourier, o.Pixels)),
        "Regularizers": Golden(regularized, (o.Regularizers, o.clip_norms, o.clip_contributions)),
        "Transforms": Golden(
            lambda: [turn(g.images, draw()) for turn in (o.Transforms(5), o.Transforms(5, 0.1, 15.0))],
            (o.Transforms, o.rotated),
        ),
        "centre_bias": Golden(lambda: o.centre_bias(g.images, 0.3)),
        "colour_matrix": Golden(lambda: o.colour_matrix(g.images)),
        "diversity": Golden(lambda: o.diversity(waves)),
    }


def _visualization() -> dict[str, Golden]:
    g, v = ground(), visualization
    few: dict[str, Any] = {"side": 64, "generator": draw()}

    def made() -> Any:
        """Each recipe from noise, which is the same on every machine; no step follows a choice by rank."""
        goal = models.unit(LAYER, 7) - models.class_score(3)
        found: dict[str, Any] = {}
        for name, recipe in v.RECIPES.items():
            whole = {**recipe, "clip_norm": 0.0, "clip_contribution": 0.0}
            found[name] = v.visualize_result(g.model, goal, steps=4, every=2, **few, **whole)
        found["diverse"] = v.visualize_result(
            g.model, models.unit(EARLY, 4), count=2, steps=3, diversity_weight=2.0, centre=0.3, **few
        )
        found["held"] = v.visualize_result(g.model, 2, steps=4, hold=3.0, **few, **v.RECIPES["simonyan"])
        kept = ("images", "score", "scores", "frames")
        named = {f"{name}, {part}": getattr(one, part) for name, one in found.items() for part in kept}
        return named | {"plain": v.visualize(g.model, 1, steps=2, **few)}

    def faceted() -> Any:
        pictures = torch.cat([g.images, g.images.flip(3)])
        found = v.multifaceted_result(
            g.model, 1, pictures, layer=LAYER, facets=2, nearest=2, steps=2, space="pixels", colours=None
        )
        plain = v.multifaceted(g.model, 2, pictures, layer=LAYER, facets=2, top=4, steps=1)
        return [found.images, found.starts, found.top, found.labels, plain]

    return {
        "visualize": Golden(made, (v.visualize, v.visualize_result), 1e-3),
        "multifaceted": Golden(faceted, (v.multifaceted, v.multifaceted_result), 1e-3),
    }


def _facets() -> dict[str, Golden]:
    points = torch.randn(40, 3, generator=draw(), dtype=torch.float64)
    return {"k_means": Golden(lambda: list(k_means(points, 4)), (k_means,))}


TABLES: dict[str, Callable[[], dict[str, Golden]]] = {
    "optimize": _optimize,
    "visualization": _visualization,
    "visualization.facets": _facets,
}
