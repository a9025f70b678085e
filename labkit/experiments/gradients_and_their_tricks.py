"""Gradients and their tricks, lab 22: class selectivity of a map (A3), segmentation seeded by it (A15)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from labkit.attribution import deconvnet, grabcut, grad_cam, guided_backprop, saliency, threshold
from labkit.core.statistics import Interval, bootstrap
from labkit.data import CLASSES
from labkit.evaluation import centre_map, iou, rank_correlation
from labkit.experiments.bench import SEEDS, Bench, experiment, extent
from labkit.experiments.measures import Measure, Result

LAB = "22_gradients_and_their_tricks"
METHODS = {"deconvnet": deconvnet, "saliency": saliency, "guided": guided_backprop, "Grad-CAM": grad_cam}

# ---- does the map ask for the class?


class Pairs(NamedTuple):
    """Scenes with objects of two classes: ``images``, ``kinds`` (N, 2) and the ``first`` object's mask."""

    images: Tensor
    kinds: Tensor
    first: Tensor


def pairs(bench: Bench) -> Pairs:
    """Test scenes with two objects, of which those of two kinds are kept."""
    drawn = bench.scenes(100, objects=2, lesson=40)
    kinds = [[CLASSES.index(thing.kind) for thing in scene.objects[:2]] for scene in drawn.scenes]
    two = torch.tensor([len(set(both)) == 2 for both in kinds])
    named = torch.tensor([both for both in kinds if len(set(both)) == 2])
    return Pairs(drawn.images[two], named, drawn.masks[two])


@experiment("A3", LAB)
def a3(bench: Bench) -> Result:
    """Rank correlation of the maps of two classes: guided minus Grad-CAM, the plain gradient beside it."""
    images, kinds, _ = pairs(bench)
    asked = ("two present classes", "likeliest and least likely")
    gaps: dict[str, list[Interval]] = {what: [] for what in asked}
    plain: dict[str, list[Interval]] = {what: [] for what in asked}
    notes = []
    for name in bench.seeds:
        network = bench.network(name)
        with torch.no_grad():
            order = network(images).argsort(1)
        for what, classes in zip(asked, (kinds, order[:, [-1, 0]]), strict=True):
            alike = {}
            for method in ("guided", "saliency", "Grad-CAM"):
                maps = [METHODS[method](network, images, classes[:, k]) for k in (0, 1)]
                # a map without any value is like no other
                alike[method] = rank_correlation(*maps).nan_to_num(0.0)
            gaps[what].append(bootstrap((alike["guided"] - alike["Grad-CAM"]).numpy()))
            plain[what].append(bootstrap((alike["saliency"] - alike["Grad-CAM"]).numpy()))
            found = ", ".join(f"{method} {values.mean():.2f}" for method, values in alike.items())
            notes.append(f"{name}, {what}: {found}")
    return Result(
        tuple(
            Measure(
                f"guided minus Grad-CAM, {what}", extent(gaps[what]), ">= 0.3",
                control={"plain gradient minus Grad-CAM": extent(plain[what])},
            )
            for what in asked
        ),
        notes=tuple(notes),
        show={"images": images, "kinds": kinds},
    )  # fmt: skip


# ---- from a map to the object


@experiment("A15", LAB)
def a15(bench: Bench) -> Result:
    """IoU of a graph cut that a map seeds, minus the map's best cut-off; a blob in the middle beside it."""
    model, scenes = bench.network(SEEDS[0]), bench.scenes(100, lesson=60)
    maps = {
        "a blob in the middle": centre_map(scenes.images),
        **{name: METHODS[name](model, scenes.images, scenes.labels) for name in ("saliency", "Grad-CAM")},
    }
    gains, notes = {}, []
    for name, found in maps.items():
        cut = iou(grabcut(scenes.images, found), scenes.masks)
        levels = [iou(threshold(found, q), scenes.masks) for q in (0.7, 0.8, 0.85, 0.9, 0.95, 0.98)]
        best = max(levels, key=lambda level: float(level.mean()))
        gains[name] = bootstrap((cut - best).numpy())
        notes.append(f"{name}: cut-off {best.mean():.2f}, GrabCut {cut.mean():.2f}")
    blob = gains.pop("a blob in the middle")
    four, seeds = scenes.images[:4], maps["Grad-CAM"][:4]
    rows = {"Grad-CAM": seeds, "GrabCut": grabcut(four, seeds).float(), "truth": scenes.masks[:4].float()}
    return Result(
        tuple(
            Measure(
                f"IoU of GrabCut minus the best cut-off, {name}", gain, "> 0 (lower bound)",
                control={"a blob in the middle": blob},
            )
            for name, gain in gains.items()
        ),
        notes=tuple(notes),
        show={"images": four, "rows": rows},
    )  # fmt: skip
