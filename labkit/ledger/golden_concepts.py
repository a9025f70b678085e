"""Golden calls of concepts: vectors, derivatives, tests, dissection, rotations, overlays, Net2Vec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from labkit import concepts
from labkit.concepts.concept_pixels import fit_weights, pixels_of, strongest, unit_ious
from labkit.concepts.concept_spaces import hits
from labkit.concepts.concept_vectors import layer_gradients
from labkit.concepts.dissection import summary_of, unit_counts
from labkit.concepts.net2vec_segmentation import fewest, segmentation
from labkit.concepts.overlay import place_at
from labkit.concepts.rotations import random_rotation, rotation_power
from labkit.concepts.thresholds import thresholds_of, unit_thresholds
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

    return {
        "cav": Golden(fitted, (c.cav, c.cav_result)),
        "directional_derivatives": Golden(
            lambda: c.directional_derivatives(g.model, g.images, g.targets, layer=EARLY, vector=vector),
            (c.directional_derivatives, layer_gradients),
        ),
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


def _spaces() -> dict[str, Golden]:
    c, g = concepts, ground()
    pictures = torch.cat([g.images, g.images.flip(3)])
    masks = torch.cat([g.masks, g.masks.flip(2)]).numpy().astype(np.uint8)
    light = (pictures.mean(1) > 0.5).numpy().astype(int)
    given: dict[str, Any] = {
        "layer": EARLY,
        "maps": {"object": masks, "light": light},
        "names": {"object": ("object",), "light": ("light",)},
    }
    space = torch.randn(9, 6, generator=draw(), dtype=torch.float64)

    def segmented() -> Any:
        found = c.net2vec_result(
            g.model, pictures, quantile=0.05, few=(2, 8), tune=True, epochs=3, stride=8, **given
        )
        plain = c.net2vec(g.model, pictures, epochs=1, stride=16, **given)
        return [
            found.space, found.iou, found.cut, found.share, found.single_iou, found.curve, found.units_of(),
            found.concepts_of(), fewest(found.few, found.curve, found.iou, 0.5), plain,
        ]  # fmt: skip

    def told() -> Any:
        shown = {"light": np.where(np.arange(len(light))[:, None, None] % 3 == 0, light, 0)}
        own = {**given, "maps": shown, "names": {"light": ("light",)}}
        whole = c.net2vec_classification_result(g.model, pictures, few=(2,), held_out=0.5, **own)
        return [
            *whole[:2], whole.accuracy, whole.single_accuracy, whole.curve,
            c.net2vec_classification(g.model, pictures, held_out=0.5, **own),
        ]  # fmt: skip

    def agreed() -> Any:
        near, other = c.concept_distances(space), c.concept_distances(space + 0.5)
        found = c.mantel_result(near, other, repeats=19)
        return [found.value, found.p, found.null, c.mantel(near, near.flip(0, 1), repeats=3)]

    return {
        "analogy": Golden(
            lambda: [
                c.analogy(space, [0, 2], [1], count=3),
                *(found.tolist() for found in hits(space, [(0, 1, 2, 3), (4, 5, 6, 7)])),
            ],
            (c.analogy, hits),
        ),
        "concept_distances": Golden(lambda: c.concept_distances(space), (c.concept_distances,)),
        "mantel": Golden(agreed, (c.mantel, c.mantel_result)),
        "net2vec": Golden(
            segmented,
            (
                c.net2vec, c.net2vec_result, segmentation, fewest, fit_weights, pixels_of, strongest,
                thresholds_of, unit_ious,
            ),
            1e-3,
        ),
        "net2vec_classification": Golden(
            told, (c.net2vec_classification, c.net2vec_classification_result), 1e-3
        ),
    }  # fmt: skip


TABLES: dict[str, Callable[[], dict[str, Golden]]] = {
    "concepts": lambda: {**_concepts(), **_spaces()},
}
