"""Golden calls of concepts: vectors, derivatives, tests, dissection, rotations, overlays, Net2Vec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from labkit import concepts
from labkit.concepts.concept_pixels import (
    Pixels,
    fit_weights,
    pixels_of,
    strongest,
    unit_ious,
)
from labkit.concepts.concept_spaces import hits
from labkit.concepts.concept_tests import paper_p, z_among
from labkit.concepts.concept_vectors import layer_gradients
from labkit.concepts.directions import Directions, by_channel
from labkit.concepts.dissection import summary_of, unit_counts
from labkit.concepts.label_maps import check_labels
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
    answers: Any = [1, 1, 0, 1, 0, 0, 1, 0], [1, 0, 0, 1, 0, 1, 1, 0]

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

    def many() -> Any:
        rows, slopes = g.images.flatten(1)[:, ::97], by_channel(g.images)
        vectors = Directions(rows, rows[:2], 0.01)
        first = vectors.of_concept(torch.arange(2), torch.arange(2, 4), 2, draw())
        chance = vectors.of_chance(torch.arange(4), 2, 2, draw())
        scores = torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64)
        return [slopes, first, chance, z_among(0.7, scores), paper_p(scores, scores[None] / 2)]

    def mended() -> Any:
        wide = torch.linspace(-1, 2, 160, dtype=torch.float64).sin()
        read = torch.linspace(0, 9, 5 * 160, dtype=torch.float64).cos().view(5, 160)
        given: dict[str, Any] = {"layer": "classifier"}
        one = c.project_out(g.model, wide, **given, row=2, features=read)
        early = c.project_out(g.model, wide[:48], layer="features.7")
        return [one(g.images), c.project_out(g.model, wide, **given)(g.images), early(g.images)]

    def fitted() -> Any:
        return [*c.cav_result(light, g.images), c.cav(light, g.images)]

    def topped() -> Any:
        given: dict[str, Any] = {"units": [0, 5, 11], "count": 2, "quantile": 0.02}
        found = c.top_pictures_result(g.model, g.images, EARLY, **given)
        shown = c.top_pictures(g.model, g.images, EARLY, **given)
        return [found.values, found.pictures.double(), found.masks.double().mean((2, 3)), shown]

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
        "directions": Golden(many, (Directions, by_channel, z_among, paper_p)),
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
        "edit_row": Golden(
            lambda: c.edit_row(
                g.model, torch.arange(160.0).sin(), layer="classifier", row=3, bias=-0.5
            )(g.images),
            (c.edit_row,),
        ),
        "project_out": Golden(mended, (c.project_out,)),
        "kappa": Golden(
            lambda: list(c.kappa_result(*answers, shuffles=20)),
            (c.kappa, c.kappa_result),
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
        "top_pictures": Golden(
            topped, (c.top_pictures, c.top_pictures_result)
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
                thresholds_of, unit_ious, Pixels, c.Net2Vec, check_labels,
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
