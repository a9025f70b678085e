"""What excites a unit, lab 13: regularizers (V6), facets (V7), what its picture tells a reader (V9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import CLASSES
from labkit.evaluation import controls
from labkit.experiments.bench import SEEDS, Bench, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.experiments.synthesis_judge import (
    SIDE,
    UNITS,
    apart,
    bank,
    codes,
    distance,
    high_share,
    in_spectrum,
    judge,
    named,
    spectrum,
    units_of,
)
from labkit.models import last_spatial, unit
from labkit.visualization import RECIPES, visualize_result
from labkit.visualization.facets import k_means

LAB = "13_what_excites_a_unit"
PATCH = 64  # pixels of a unit's patch, about the peak
SHOWN = {
    "simonyan": "plain L2", "yosinski": "Yosinski's four", "olah": "waves (olah)",
    "twin": "four, random weights", "smoothed": "plain L2, smoothed",
}  # fmt: skip


# ---- V6: better regularizers, more natural class images


def _held(
    model: nn.Module, recipe: str, classes: Tensor, goals: Tensor, steps: int, seed: int, tell: Any
) -> Float[Tensor, "N 3 H W"]:
    """Class images whose logits are held at the goals for all steps."""
    generator = torch.Generator().manual_seed(seed)
    turns = {"jitter": 0, "scale": 0.0, "rotation": 0.0} if recipe == "olah" else {}
    found = visualize_result(
        model, classes, steps=steps, hold=goals, generator=generator, progress=tell, **RECIPES[recipe] | turns
    )
    return found.images


@experiment("V6", LAB)
def v6(bench: Bench) -> Result:
    """Do better regularizers make more natural class images? One logit for all, judged by another network."""
    scenes = bank(bench.count(360, lesson=120, few=48), "test")
    count, starts = bench.count(12, lesson=3, few=2), bench.count(3, lesson=1, few=1)
    steps, model = bench.steps(200, 4), bench.network(SEEDS[0])
    with torch.no_grad():
        logits = torch.cat([model(part) for part in scenes.images.split(64)])
    classes = torch.arange(count).repeat_interleave(starts)
    own = [logits[scenes.labels == c, c] if (scenes.labels == c).any() else logits[:, c] for c in range(12)]
    goals = torch.stack([torch.quantile(own[int(c)], 0.95) for c in classes])
    twin = controls.twin(model, scenes.images[:128])
    with torch.no_grad():
        most = torch.quantile(torch.cat([twin(p) for p in scenes.images.split(64)]), 0.95, dim=0)[classes]
    made: dict[str, Tensor] = {}
    with working("class images", 4, "recipe") as work:
        for done, recipe in enumerate(RECIPES):
            made[recipe] = _held(model, recipe, classes, goals, steps, 0, lambda s, d=done: work.at(d + s))
        made["twin"] = _held(twin, "yosinski", classes, most, steps, 0, lambda s: work.at(3 + s))
    made["smoothed"] = in_spectrum(made["simonyan"], spectrum(made["yosinski"]))
    means = torch.stack([_mean_of(scenes.images, scenes.labels, c) for c in range(count)])
    right = {name: (named(images) == classes).float() for name, images in made.items()}
    known = codes(scenes.images)
    far = {name: distance(codes(images), known).amin(1) for name, images in made.items()}
    high = {name: high_share(images) for name, images in made.items()}

    def gain(of: dict[str, Tensor], one: str, other: str = "simonyan") -> Interval:
        return bootstrap((of[one] - of[other]).numpy())

    real = (named(scenes.images) == scenes.labels).float()
    average = (named(means) == torch.arange(count)).float()
    smooth, four = "plain L2 in the same spectrum, minus plain L2", "yosinski"
    untrained = "the twin's images, share named"
    bars = {SHOWN[name]: _share(hits) for name, hits in right.items()} | {"real scenes": _share(real)}
    return Result(
        (
            Measure(
                "the judge names the class: Yosinski's four minus plain L2", gain(right, four), ">= 0.2",
                control={smooth: gain(right, "smoothed"), untrained: _share(right["twin"])},
                must={smooth: "< 0.2", untrained: "< 0.2"},
            ),
            Measure(
                "distance of the nearest real scene: Yosinski's four minus plain L2", gain(far, four),
                "<= 0 (upper bound)", unit="1 - cosine",
                control={smooth: gain(far, "smoothed"), "Fourier minus plain L2": gain(far, "olah")},
            ),
            Measure(
                "share of high frequencies: Yosinski's four minus plain L2", gain(high, four),
                "< 0 (upper bound)", control={"Fourier minus plain L2": gain(high, "olah")},
            ),
        ),
        notes=(
            f"named by the judge: real scenes {_share(real)}, class means {_share(average)}, "
            + ", ".join(f"{name} {_share(hits)}" for name, hits in right.items()),
            "nearest real scene: " + ", ".join(f"{name} {float(v.mean()):.3f}" for name, v in far.items()),
        ),
        show={
            "bars": bars,
            "images": torch.cat([made[name][::starts][:4] for name in RECIPES]),
            "titles": [f"{SHOWN[name]}: {CLASSES[c]}" for name in RECIPES for c in range(min(count, 4))],
        },
    )  # fmt: skip


def _share(hits: Tensor) -> Interval:
    return share((hits > 0).numpy())


def _mean_of(images: Tensor, labels: Tensor, number: int) -> Tensor:
    own = labels == number
    return images[own].mean(0) if own.any() else images.mean(0)


# ---- V7: a unit has many facets


@experiment("V7", LAB, facet_starts="visualization.facet_starts")
def v7(bench: Bench, *, facet_starts: Callable[..., Tensor]) -> Result:
    """Do a unit's own pictures lead to more different images than pictures that leave it cold?"""
    facet_starts(torch.eye(2), torch.rand(2, 3, 4, 4), torch.eye(2), 1)  # unwritten: say so at once
    scenes = bank(bench.count(1200, lesson=240, few=48), "train")
    top, steps = min(200, len(scenes.images) // 4), bench.steps(100, 3)
    model = bench.network(SEEDS[0])
    units = units_of(bench, 24, 3, model, scenes)
    with torch.no_grad():
        maps = torch.cat([last_spatial(model, part) for part in scenes.images.split(64)])
    drives, known, facets = maps.mean((2, 3)), F.normalize(maps.mean((2, 3)), dim=1), 4
    rows: list[dict[str, float]] = []
    shown: list[Tensor] = []
    with working("facets", len(units), "unit") as work:
        for number, channel in enumerate(units):
            order = drives[:, channel].argsort(descending=True)
            row: dict[str, float] = {}
            best = 0.0
            for name, chosen in (("own", order[:top]), ("cold", order[-top:])):
                centres = k_means(known[chosen], facets).centres
                start = facet_starts(known[chosen], scenes.images[chosen], centres, 10)
                found = visualize_result(
                    model, unit(UNITS, channel), start=start.clamp(0, 1), steps=steps, progress=lambda _: None
                )
                row[f"{name}, start"], row[f"{name}, end"] = apart(start), apart(found.images)
                row[f"{name}, least"] = float(found.score.min())
                best = max(best, float(found.score.max()))
                shown += [start, found.images] if len(shown) < 4 and name == "own" else []
            row["reached"] = min(row["own, least"], row["cold, least"]) / max(best, 1e-6)
            rows.append(row)
            work.at(number + 1)
    got = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    gains = {name: got[f"{name}, end"] - got[f"{name}, start"] for name in ("own", "cold")}
    there = bootstrap(got["own, start"] / np.maximum(got["own, end"], 1e-6))
    return Result(
        (
            Measure(
                "distance gained since the start: own pictures minus pictures that leave the unit cold",
                bootstrap(gains["own"] - gains["cold"]), "> 0 (lower bound)", unit="1 - cosine",
                control={
                    "gained from own pictures": bootstrap(gains["own"]),
                    "gained from cold pictures": bootstrap(gains["cold"]),
                    "distance of the starts over that of the images": there,
                },
            ),
            Measure(
                "least activation of a unit's images over its largest", bootstrap(got["reached"]), ">= 0.8"
            ),
        ),
        notes=(f"{len(units)} units, {facets} facets each from {top} of {len(scenes.images)} scenes",),
        show={"images": torch.cat(shown)},
    )  # fmt: skip


# ---- V9: is interpretability an illusion?


def patches_of(images: Float[Tensor, "N 3 H W"], maps: Float[Tensor, "N h w"]) -> Float[Tensor, "N 3 p p"]:
    """The part of each picture about the peak of its map, 64 pixels wide, moved inwards at the border."""
    side, cells = images.shape[-1], maps.shape[-1]
    found = []
    for image, place in zip(images, maps.flatten(1).argmax(1).tolist(), strict=True):
        middle = [(v + 0.5) * side / cells for v in divmod(place, cells)]
        row, column = (int(min(max(v - PATCH / 2, 0), side - PATCH)) for v in middle)
        found.append(image[:, row : row + PATCH, column : column + PATCH])
    return torch.stack(found)


@experiment("V9", LAB, reader="visualization.reader")
def v9(bench: Bench, *, reader: Callable[..., Any]) -> Result:
    """Which of two new pictures drives a unit more? A reader sees its top patches, or its made image."""
    reader(torch.ones(2), torch.ones(1, 2), torch.ones(1, 2), torch.ones(1), torch.zeros(1))  # unwritten?
    old, new = (
        bank(bench.count(size, lesson=few, few=32), split)
        for size, few, split in ((600, 160, "train"), (240, 100, "test"))
    )
    generator, steps = torch.Generator().manual_seed(0), bench.steps(100, 3)
    known = codes(new.images)
    pairs = torch.randint(len(new.images), (2, bench.count(200, lesson=200, few=40)), generator=generator)
    each: dict[str, list[Interval]] = {}
    with working("reading", len(bench.seeds), "network") as work:
        for number, name in enumerate(bench.seeds):
            for what, rows in _read(bench, name, reader, old, new, known, pairs, steps).items():
                each.setdefault(what, []).append(bootstrap(rows))
            work.at(number + 1)
    found = {what: extent(intervals) for what, intervals in each.items()}
    gap, strange = "top patches minus synthesized", "another unit's image, minus a half"
    # drawn beside the others it is a share like theirs: around a half, not around zero
    bars = {
        what.removesuffix(", minus a half"): Interval(*(end + 0.5 for end in one)) if what == strange else one
        for what, one in found.items() if what != gap
    }  # fmt: skip
    return Result(
        (
            Measure(
                "the reader is right: " + gap, found.pop(gap), ">= 0.05 (lower bound)", control=found,
                must={strange: "within 0.1"},
            ),
        ),
        notes=(f"judge's accuracy on these scenes: {share((named(new.images) == new.labels).numpy())}",),
        show={"bars": bars},
    )  # fmt: skip


def _read(
    bench: Bench, name: str, reader: Callable[..., Any], old: Any, new: Any, known: Tensor, pairs: Tensor,
    steps: int,
) -> dict[str, Any]:  # fmt: skip
    """How often the reader is right, unit by unit, for one network and everything it is shown."""
    model = bench.network(name)
    units = units_of(bench, 40, 6, model, old)
    with torch.no_grad():
        first, then = (
            torch.cat([last_spatial(model, part) for part in scenes.images.split(64)])[:, units]
            for scenes in (old, new)
        )
    made = torch.cat(
        [
            visualize_result(model, unit(UNITS, u), side=SIDE, steps=steps, progress=lambda _: None).images
            for u in units
        ]
    )
    drives = then.mean((2, 3))
    images = codes(made)
    redrawn = codes(in_spectrum(new.images, spectrum(made)))
    blind = {
        "blind: contrast": new.images.std((1, 2, 3)),
        "blind: brightness": new.images.mean((1, 2, 3)),
        "blind: how much fires in all": last_activity(new.images),
    }
    got: dict[str, list[float]] = {}
    a, b = pairs
    for k in range(len(units)):
        tops = first[:, k].amax((1, 2)).topk(min(9, len(first))).indices
        patch = codes(patches_of(old.images[tops], first[tops, k])).mean(0)
        drive = drives[a, k], drives[b, k]
        got.setdefault("top patches", []).append(float(reader(patch, known[a], known[b], *drive)))
        other = images[(k + 1) % len(units)]
        for what, shown, seen in (
            ("synthesized", images[k], known), ("another unit's image, minus a half", other, known),
            ("photographs in the made images' spectrum", images[k], redrawn),
        ):  # fmt: skip
            less = 0.5 if what == "another unit's image, minus a half" else 0.0
            got.setdefault(what, []).append(float(reader(shown, seen[a], seen[b], *drive)) - less)
        for what, value in blind.items():
            right = (value[a] > value[b]) == (drive[0] > drive[1])
            got.setdefault(what, []).append(float(right.float().mean()))
    rows = {what: np.array(values) for what, values in got.items()}
    return rows | {"top patches minus synthesized": rows["top patches"] - rows["synthesized"]}


def last_activity(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
    """How much fires in all of the judge's last feature map, for each picture."""
    with torch.no_grad():
        return torch.cat([last_spatial(judge(), part).mean((1, 2, 3)) for part in images.split(64)])
