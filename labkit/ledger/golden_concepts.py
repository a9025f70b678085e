"""Golden calls of concepts: vectors, their derivatives and tests, dissection, rotations, overlays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from labkit import concepts
from labkit.concepts.concept_vectors import layer_gradients
from labkit.concepts.dissection import summary_of, unit_counts
from labkit.concepts.overlay import place_at
from labkit.concepts.rotations import random_rotation, rotation_power
from labkit.concepts.thresholds import unit_thresholds
from labkit.ledger.golden_calls import Golden, draw, ground

EARLY = "features.5"


def _concepts() -> dict[str, Golden]:
    c, g = concepts, ground()
    light = (g.images * 1.2).clamp(0, 1)
    both = torch.cat([g.images, g.images.flip(3), g.images.flip(2)])
    vector = torch.randn(48, generator=draw(), dtype=torch.float64)

    def tested() -> Any:
        given: dict[str, Any] = {
            "layer": EARLY,
            "concept": light,
            "others": both,
            "random_concepts": 3,
            "draws": 2,
        }
        whole = c.tcav_result(g.model, g.images, g.targets, **given)
        return [*whole[:7], c.tcav(g.model, g.images, 3, **given, pool="mean")]

    def paired() -> Any:
        given: dict[str, Any] = {"layer": EARLY, "present": light, "absent": g.images, "flips": 20}
        return [
            *c.paired_cav_result(g.model, g.images, 3, **given),
            c.paired_cav(g.model, g.images, 3, **given),
        ]

    def dissected() -> Any:
        maps = {
            "object": g.masks.numpy().astype(np.uint8),
            "light": (g.images.mean(1) > 0.5).numpy().astype(int),
        }
        given: dict[str, Any] = {
            "layer": EARLY,
            "maps": maps,
            "names": {"object": ("object",), "light": ("light",)},
            "quantile": 0.02,
        }
        found = c.dissect_result(g.model, g.images, **given)
        turned = c.dissect(g.model, g.images, rotation=rotation_power(random_rotation(48), 0.5), **given)
        return [found.iou, found.ceiling, found.thresholds, found.mean_best, [value for *_, value in turned]]

    def fitted() -> Any:
        return [*c.cav_result(light, g.images), c.cav(light, g.images)]

    def stands_in() -> Any:
        rows = torch.rand(80, 4, generator=draw())
        answers = (rows[:, 0] > 0.5).long() + 2 * (rows[:, 1] + 0.3 * rows[:, 2] > 0.6).long()
        shown = torch.cat([g.images.roll(k, 3) for k in range(6)])[:, :, ::8, ::8].float()
        taught = torch.arange(len(shown)) % len(g.images) % 2
        found = c.distill_result(rows, answers, depth=3)
        network = c.distill_result(shown, taught, kind="network", epochs=2)
        return [
            *found.fidelity,
            found.held_out,
            found.predict(rows),
            c.distill(rows, answers, kind="linear"),
            network.student[-1].bias,
        ]

    return {
        "cav": Golden(fitted, (c.cav, c.cav_result)),
        "directional_derivatives": Golden(
            lambda: c.directional_derivatives(g.model, g.images, g.targets, layer=EARLY, vector=vector),
            (c.directional_derivatives, layer_gradients),
        ),
        "concept_shares": Golden(
            lambda: c.concept_shares((4 * g.images.mean(1)).long(), 4), (c.concept_shares,)
        ),
        "distill": Golden(stands_in, (c.distill, c.distill_result), 1e-3),
        "dissect": Golden(
            dissected,
            (
                c.dissect, c.dissect_result, summary_of, unit_counts, unit_thresholds, random_rotation,
                rotation_power,
            ),
        ),
        "paired_cav": Golden(paired, (c.paired_cav, c.paired_cav_result)),
        "similarity_map": Golden(
            lambda: [
                c.similarity_map(g.model, g.images, layer=EARLY, picture=1, place=(3, 4)),
                list(place_at(20, 30, (128, 128), (32, 32))),
            ],
            (c.similarity_map, place_at),
        ),
        "sort_by_cav": Golden(
            lambda: list(c.sort_by_cav(g.model, g.images, layer=EARLY, vector=vector)), (c.sort_by_cav,)
        ),
        "tcav": Golden(tested, (c.tcav, c.tcav_result), 1e-3),
    }  # fmt: skip


TABLES: dict[str, Callable[[], dict[str, Golden]]] = {"concepts": _concepts}
