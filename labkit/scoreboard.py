"""One table of all methods and all measures, on the clean world and on networks with a planted fault.

``labkit scoreboard`` writes it as a page for a slide. Every row is measured on the same scenes; three rows
are no methods at all (the picture's centre, its edges, chance): what does not beat them has shown nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit._checks import check_positive
from labkit.attribution import METHODS
from labkit.data import MiniBroden, Scene
from labkit.evaluation import (
    Interval,
    area_share,
    bootstrap,
    box_localization,
    boxes_of,
    centre_map,
    deletion,
    edge_map,
    energy_inside,
    insertion,
    pointing_hits,
    random_map,
    share,
)
from labkit.lab import gather
from labkit.models import load_model
from labkit.provenance import bare, hash_of

__all__ = [
    "ABOUT",
    "BASELINES",
    "METRICS",
    "OPTIONS",
    "Row",
    "World",
    "kept_rows",
    "measure",
    "scoreboard",
    "worlds",
]

ABOUT: dict[str, str] = {
    "clean": "Clean world: the cause is the object (minivgg)",
    "tag": "Planted fault: horses are told by a copyright mark; the cause is the mark (minivgg-tag)",
    "snow": "Planted fault: wolves are told by the snow; the cause is all but the wolf (minivgg-snow)",
}
NETWORKS = ("minivgg", "minivgg-tag", "minivgg-snow")
METRICS: dict[str, str] = {
    "pointing": "share of maps whose peak lies on the cause, within 7% of the side",
    "off-centre": "the same where the cause does not cover the picture's centre",
    "energy": "share of the map's positive part on the cause, over the cause's share of the picture",
    "box": "share of boxes around the map's strongest part with an IoU of at least .5 with the cause's box; "
    "cut off at the share of the maximum that is best on the other half of the scenes",
    "deletion": "probability while pixels are blurred in the map's order: mean over the way, low is good",
    "insertion": "probability while they come back in that order: mean over the way, high is good",
}
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of a map's maximum, for its box
LOW_IS_GOOD = {"deletion"}

# Options where a method's defaults would take more than some two seconds a picture on one core.
OPTIONS: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 24, "stride": 8},
    "rise": {"masks": 500},
    "lime": {"samples": 256},
    "kernel_shap": {"samples": 256},
    "extremal_perturbation": {"area": (0.1, 0.3)},
    "meaningful_perturbation": {"steps": 100},
    "integrated_gradients": {"steps": 64, "tolerance": 10.0},
    "deep_shap": {"baselines": "grey"},
}

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]
BASELINES: dict[str, Maps] = {
    "the centre": lambda model, images, targets: centre_map(images),
    "the edges": lambda model, images, targets: edge_map(images),
    "chance": lambda model, images, targets: random_map(images, torch.Generator().manual_seed(0)),
}


@dataclass(frozen=True)
class World:
    """A network with scenes on which the cause of its answer is known.

    ``causes`` (N, H, W) holds what the answer rests on: the object, or the planted fault.
    """

    name: str
    model: nn.Module
    images: Float[Tensor, "N 3 H W"]
    targets: Int[Tensor, " N"]
    causes: Bool[Tensor, "N H W"]


@dataclass(frozen=True)
class Row:
    """One method in one world: measure -> value with its interval, and the seconds a picture took."""

    world: str
    method: str
    values: Mapping[str, Interval | None]
    seconds: float
    scenes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""


def kept_rows() -> Path:
    """Where rows are kept unless another place is named: a file in the cache folder."""
    from labkit.data.downloads import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "scoreboard.jsonl"


@cache
def _code(method: str) -> str:
    """A hash of what a row rests on: its method, the measures, the scenes, the networks and this file."""
    sources = [
        "from labkit.data import MiniBroden",
        "from labkit.lab import gather",
        "from labkit.models import load_model",
        "from labkit.evaluation import box_localization, deletion, energy_inside, pointing_hits",
    ]
    if method in METHODS:
        sources.append(f"from labkit.attribution import {method}")
    else:
        sources.append("from labkit.evaluation import centre_map")
    weights = Path(__file__).parent / "models" / "weights"
    networks = [(weights / f"{name}.safetensors").read_bytes() for name in NETWORKS]
    return hash_of(sources, bare(Path(__file__).read_text("utf-8")).encode(), *networks)


def _named(model: nn.Module, wanted: int, faults: Iterable[str], kind: str | None) -> Any:
    """The first scenes of the test split that the network names as they are labelled."""
    data = MiniBroden(60 * wanted, "test", faults=faults)
    kept: list[Scene] = []
    waiting: list[Scene] = []
    for index in range(len(data)):
        scene = data.scene(index)
        if kind is None or scene.objects[0].kind == kind:
            waiting.append(scene)
        if len(waiting) == 16 or index == len(data) - 1:
            drawn = gather(waiting)
            with torch.inference_mode():
                right = model(drawn.images).argmax(1) == drawn.labels
            kept += [scene for scene, fits in zip(waiting, right.tolist(), strict=True) if fits]
            waiting = []
        if len(kept) >= wanted:
            break
    return gather(kept[:wanted])


def worlds(scenes: int = 100) -> list[World]:
    """The clean world, where the object is the cause, and two planted faults: the tag, and the ground.

    ``scenes`` of each, all of them named rightly by their network. Raises ValueError for fewer than one.
    """
    check_positive("scenes", scenes)
    made = []
    for name, network, faults, kind in (
        ("clean", "minivgg", (), None),
        ("tag", "minivgg-tag", ("tag",), "horse"),
        ("snow", "minivgg-snow", ("snow",), "wolf"),
    ):
        model = load_model(network)
        found = _named(model, scenes, faults, kind)
        causes = {"clean": found.masks, "tag": found.tags, "snow": ~found.masks}[name]
        made.append(World(name, model, found.images, found.labels, causes))
    return made


def _boxed(maps: Float[Tensor, "N H W"], boxes: Tensor) -> Bool[Tensor, " N"]:
    """Whether each map's box hits, cut off at the level that serves the other half of the scenes best."""
    hits = torch.stack([box_localization(maps, boxes, level=level).hits for level in LEVELS])
    half = torch.arange(len(maps)) % 2 == 0
    best = {part: hits[:, half == part].float().sum(1).argmax() for part in (True, False)}
    return torch.where(half, hits[best[False]], hits[best[True]])


def measure(world: World, name: str, *, batch: int = 10, show: bool = True) -> Row:
    """One row: the maps of one method (or baseline) in one world, timed, and held to the cause."""
    options = dict(OPTIONS.get(name, {}))
    function: Maps
    if name in BASELINES:
        function = BASELINES[name]
    else:
        method = METHODS[name].function

        def function(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
            return method(model, images, targets, **options)

    maps, seconds = [], 0.0
    starts = range(0, len(world.images), batch)
    for start in tqdm(starts, f"{world.name}: {name}", leave=False, disable=not show):
        images, targets = world.images[start : start + batch], world.targets[start : start + batch]
        began = time.perf_counter()
        maps.append(function(world.model, images, targets))
        seconds += time.perf_counter() - began
    found = torch.cat(maps)
    middle = found.shape[1] // 2
    hits, _ = pointing_hits(found, world.causes)
    away = ~world.causes[:, middle, middle]
    energy = (energy_inside(found, world.causes) / area_share(world.causes)).nan_to_num(0.0)
    values: dict[str, Interval | None] = {
        "pointing": share(hits.numpy()),
        "off-centre": share(hits[away].numpy()) if away.any() else None,
        "energy": bootstrap(energy.numpy()),
        "box": None
        if world.name == "snow"  # the ground's box is the picture
        else share(_boxed(found, boxes_of(world.causes)).numpy()),
    }
    for metric, function_ in (("deletion", deletion), ("insertion", insertion)):
        auc = function_(world.model, world.images, found, world.targets, steps=16).auc
        values[metric] = bootstrap(auc.numpy())
    return Row(world.name, name, values, seconds / len(found), len(found), options, _code(name))


def scoreboard(
    scenes: int = 100,
    *,
    methods: Iterable[str] | None = None,
    only: Iterable[str] | None = None,
    kept: Path | None = None,
) -> list[Row]:
    """All rows: every method and baseline in every world.

    ``methods`` and ``only`` restrict the methods and the worlds. ``kept`` names a file to which each row is
    written as soon as it is there, and from which rows of an earlier run with as many scenes are taken.
    Raises ValueError for an unknown method or world.
    """
    names = [*METHODS, *BASELINES] if methods is None else list(methods)
    for name in names:
        if name not in METHODS and name not in BASELINES:
            raise ValueError(f"methods must be among {', '.join([*METHODS, *BASELINES])}; got {name!r}.")
    wanted = [*ABOUT] if only is None else list(only)
    if unknown := set(wanted) - set(ABOUT):
        raise ValueError(f"only must be among {', '.join(ABOUT)}; got {', '.join(sorted(unknown))}.")
    places = worlds(scenes)
    rows = [row for row in _read(kept) if row.scenes == scenes]
    there = {(row.world, row.method) for row in rows}
    todo = [(w, n) for w in places if w.name in wanted for n in names if (w.name, n) not in there]
    for world, name in tqdm(todo, "scoreboard", disable=not todo):
        rows.append(measure(world, name))
        if kept is not None:
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(rows[-1])) + "\n")
    chosen = {(w, n): i for i, (w, n) in enumerate((w, n) for w in wanted for n in names)}
    rows = [row for row in rows if (row.world, row.method) in chosen]
    return sorted(rows, key=lambda row: chosen[row.world, row.method])


def _read(kept: Path | None) -> list[Row]:
    if kept is None or not kept.exists():
        return []
    rows = []
    for line in kept.read_text("utf-8").splitlines():
        raw = json.loads(line)
        raw["values"] = {k: None if v is None else Interval(*v) for k, v in raw["values"].items()}
        if raw["code"] == _code(raw["method"]) and raw["options"] == json.loads(
            json.dumps(OPTIONS.get(raw["method"], {}))
        ):
            rows.append(Row(**raw))
    return rows
