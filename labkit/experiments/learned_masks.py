"""Learned masks, lab 23: guards (A10), areas (A11), what suffices (A12), which channels decide (A13)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.attribution import (
    channel_attribution,
    extremal_perturbation_result,
    meaningful_perturbation_result,
)
from labkit.core.statistics import Interval, bootstrap, share
from labkit.evaluation import iou
from labkit.experiments.bench import SEEDS, Bench, answers, experiment
from labkit.experiments.measures import Measure, Result
from labkit.experiments.sufficient_masks import stacked, sufficient_areas, thirds, two_of_a_kind
from labkit.models import edit, gap_head
from labkit.optimize import gaussian_blur

LAB = "23_learned_masks"
LAST = "features.19"  # the tensor that enters the pooling


@experiment("A10", LAB, blend="attribution.blend")
def a10(bench: Bench, *, blend: Callable[..., Tensor]) -> Result:
    """Are minimal masks artefacts, and do the guards of version 2 cure it? Each mask also on the next one."""
    blend(torch.ones(1, 3, 2, 2), torch.ones(1, 2, 2), torch.zeros(1, 3, 2, 2))  # unwritten: say so at once
    rows = []
    for own, other, x, y, truth, _ in thirds(bench, 102, lesson=18):
        row = {}
        for v in (1, 2):
            done = meaningful_perturbation_result(own, x, y, version=v, steps=bench.steps(100))
            for what, where in {"IoU": truth, "IoU with the next object": truth.roll(1, 0)}.items():
                row[f"version {v}: {what}"] = iou(done.map > 0.5, where).nan_to_num(0.0)
            row[f"version {v}: fools the network"] = answers(own, done.shown) != y
            row[f"version {v}: fools another"] = answers(other, done.shown) != y
        strange = blend(x, 1 - done.map.roll(1, 0), gaussian_blur(x, x.shape[-1] * 10 / 224))
        row["version 2 on a wrong picture: fools another"] = answers(other, strange) != y
        rows.append(row)
    got = stacked(rows)

    def gain(one: str, other: str) -> Interval:
        return bootstrap(got[one] - got[other])

    bars = {what: bootstrap(v) if "IoU" in what else share(v > 0) for what, v in got.items()}
    v1, v2, wrong = "version 1: ", "version 2: ", "version 2 on a wrong picture: fools another"
    near = "IoU with the next object"
    return Result(
        (
            Measure(
                v1 + "IoU with the object", bars[v1 + "IoU"], "< 0.2",
                control={"the next picture's object": bars[v1 + near]},
            ),
            Measure(
                "version 2 minus version 1: IoU", gain(v2 + "IoU", v1 + "IoU"), "> 0 (lower bound)",
                control={"the next picture's object": gain(v2 + near, v1 + near)},
            ),
            Measure(
                "version 2 minus version 1: fools another",
                gain(v2 + "fools another", v1 + "fools another"), "> 0 (lower bound)",
                control={"version 2's masks on wrong pictures": gain(wrong, v1 + "fools another")},
            ),
        ),
        show={"bars": {what: bar for what, bar in bars.items() if near not in what}},
    )  # fmt: skip


@experiment("A11", LAB, area_loss="attribution.area_loss")
def a11(bench: Bench, *, area_loss: Callable[..., Tensor]) -> Result:
    """Has an extremal mask the area asked for? With what the area loss says of how sharp it is."""
    area_loss(torch.ones(2, 2), 0.5)  # unwritten: say so at once
    sizes = {"quick": (64,), "class": (64, 128)}.get(bench.mode, (64, 224, 128))
    areas, worst, notes = (0.05, 0.1, 0.2, 0.4), [], []
    model, images = bench.subjects(2 if bench.quick else 3, SEEDS[0])[0]
    target = answers(model, images)
    for size in sizes:
        small = F.interpolate(images, size, mode="bilinear", antialias=True)
        found = extremal_perturbation_result(model, small, target, area=areas, steps=bench.steps(100, 12))
        worst.append(float((found.achieved / torch.tensor(areas) - 1).abs().max()))
        losses = [float(area_loss(m, a)) for masks in found.masks for m, a in zip(masks, areas, strict=True)]
        got = ", ".join(f"{v:.3f}" for v in found.achieved.mean(0))
        notes.append(f"{size} px: asked {areas}, got {got}; area loss {np.mean(losses):.4f}")
    rows = {f"area {a}": found.masks[:, i] for i, a in enumerate(areas)}
    return Result(
        (
            Measure(
                "largest deviation from the area asked for, as a share of it",
                Interval(max(worst), min(worst), max(worst)), "<= 0.1",
            ),
        ),
        notes=tuple(notes),
        show={"images": small, "masks": rows},
    )  # fmt: skip


@experiment("A12", LAB)
def a12(bench: Bench) -> Result:
    """Does the foreground suffice, and do several objects add up? Both halves."""
    first, second = sufficient_areas(bench), two_of_a_kind(bench)
    return Result(first.measures + second.measures, first.notes + second.notes, {**first.show, **second.show})


# ---- channels


@experiment("A13", LAB)
def a13(bench: Bench) -> Result:
    """Do a few channels explain a decision? A learned tenth beside a random one and the top by evidence."""
    rows, generator = [], torch.Generator().manual_seed(0)
    for own, _, x, y, *_ in thirds(bench, 102, lesson=48):
        learned = channel_attribution(own, x, y, layer=LAST, steps=bench.steps(100, 10))
        with torch.no_grad():
            features, weight, _ = gap_head(own, x)
            assert weight is not None
        evidence = weight[y] * features.mean((2, 3))
        lots = [torch.rand(learned.shape, generator=generator) for _ in range(5)]
        kept = []
        for order in (learned, evidence, *lots):
            rank = order.argsort(1, descending=True).argsort(1)
            mask = (rank < round(0.1 * rank.shape[1])).float()[:, :, None, None]
            with edit(own, {LAST: mask.mul}):
                kept.append((answers(own, x, len(x)) == y).float())
        rows.append({"learned": kept[0], "evidence": kept[1], "random": torch.stack(kept[2:]).mean(0)})
    got = stacked(rows)
    tenth, evident = share(got["learned"] > 0), share(got["evidence"] > 0)
    random, top = bootstrap(got["random"]), "the top tenth by weight x activation"
    return Result(
        (
            Measure(
                "a learned tenth of the channels keeps the class", tenth, ">= 0.7",
                control={"a random tenth": random, top: evident},
            ),
            Measure(
                "class kept: learned minus random tenth", bootstrap(got["learned"] - got["random"]),
                "> 0 (lower bound)", control={top: bootstrap(got["evidence"] - got["random"])},
            ),
            Measure(
                f"class kept: learned minus {top}", bootstrap(got["learned"] - got["evidence"]),
                "> 0 (lower bound)",
            ),
        ),
        show={"bars": {"learned": tenth, "by weight x activation": evident, "random": random}},
    )  # fmt: skip
