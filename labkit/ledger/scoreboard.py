"""All methods and all measures: a table for the clean world, and one for each network with a planted fault.

``labkit scoreboard`` writes it as a page for a slide. Every row is measured on the same scenes; three rows
are no methods at all (the picture's centre, its edges, chance): what does not beat them has shown nothing.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.attribution import METHODS
from labkit.core.checks import check_positive
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
from labkit.ledger.scoreboard_rows import (
    BUNDLED,
    LOW_IS_GOOD,
    MEASURES,
    METRICS,
    OPTIONS,
    SCENES,
    Row,
    keep,
    kept_rows,
    rows_in,
)
from labkit.ledger.scoreboard_worlds import ABOUT, World, worlds
from labkit.ledger.staleness import resting
from labkit.ledger.tracing import Ran, traced
from labkit.optimize.images import Fill

__all__ = [
    "ABOUT",
    "BASELINES",
    "BUNDLED",
    "LOW_IS_GOOD",
    "MEASURES",
    "METRICS",
    "OPTIONS",
    "SCENES",
    "Row",
    "World",
    "kept_rows",
    "measure",
    "measured",
    "scoreboard",
    "worlds",
]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of a map's maximum, for its box

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]
BASELINES: dict[str, Maps] = {
    "the centre": lambda model, images, targets: centre_map(images),
    "the edges": lambda model, images, targets: edge_map(images),
    "chance": lambda model, images, targets: random_map(images, torch.Generator().manual_seed(0)),
}


def _boxed(maps: Float[Tensor, "N H W"], boxes: Tensor) -> Bool[Tensor, " N"]:
    """Whether each map's box hits, cut off at the level that serves the other half of the scenes best."""
    hits = torch.stack([box_localization(maps, boxes, level=level).hits for level in LEVELS])
    half = torch.arange(len(maps)) % 2 == 0
    best = {part: hits[:, half == part].float().sum(1).argmax() for part in (True, False)}
    return torch.where(half, hits[best[False]], hits[best[True]])


def _shift(world: World, found: Tensor, honest: list[Tensor]) -> Interval:
    """The part that lies less on the animal than for the control that differs least, in percent.

    0 on scenes where one of the two maps has nothing positive.
    """
    own = energy_inside(found, world.masks)
    moved = [(energy_inside(maps, world.masks) - own).nan_to_num(0.0) for maps in honest]
    return bootstrap(100 * torch.stack(moved, 1).numpy(), lambda rows: rows.mean(0).min())


def _value(
    metric: str, world: World, found: Tensor, honest: list[Tensor], courses: Mapping[str, Tensor]
) -> Interval | None:
    """One measure of one method's maps (N, H, W); ``honest`` are its maps of the world's controls.

    ``courses`` holds the areas (N,) under the way "down" and the way "up". None where no scene allows it.
    """
    if metric == "shift":
        return _shift(world, found, honest) if honest else None
    if metric == "energy":
        energy = energy_inside(found, world.masks) / area_share(world.masks)
        return bootstrap(energy.nan_to_num(0.0).numpy())
    if metric == "box":
        return share(_boxed(found, boxes_of(world.masks)).numpy())
    if metric in ("pointing", "off-centre"):
        hits, counts = pointing_hits(found, world.masks)
        if metric == "off-centre":
            counts = ~world.masks[:, found.shape[1] // 2, found.shape[2] // 2]
        return share(hits[counts].numpy()) if counts.any() else None
    if metric == "gap":
        return bootstrap((courses["up"] - courses["down"]).numpy())
    return bootstrap(courses["down" if metric in LOW_IS_GOOD else "up"].numpy())


def measured(world: World, maps: Sequence[Tensor]) -> dict[str, Interval | None]:
    """The measures of a world for a method's maps (N, H, W) of its network, and of each of its controls."""
    found, *honest = maps
    fill: Fill = "blur" if world.without is None else world.without
    courses = {
        way: course(world.model, world.images, found, world.targets, steps=16, fill=fill).auc
        for way, course in (("down", deletion), ("up", insertion))
    }
    return {m: _value(m, world, found, honest, courses) for m in MEASURES[world.name]}


def measure(world: World, name: str, *, batch: int = 10, show: bool = True, before: Ran | None = None) -> Row:
    """One row: the maps of one method (or baseline) in one world, timed, and held to what is known there.

    The time is that of the maps of ``world.model`` alone. Where the method raises ValueError, because it
    does not go with a network, the row says so and holds no number. ``before`` is what ran when the world
    was made, on which the row rests too.
    """
    options = dict(OPTIONS.get(name, {}))
    function: Maps
    if name in BASELINES:
        function = BASELINES[name]
    else:
        method = METHODS[name].function

        def function(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
            return method(model, images, targets, **options)

    models = (world.model, *world.controls)
    maps: list[list[Tensor]] = [[] for _ in models]
    seconds, count, refused = 0.0, len(world.images), ""
    values: dict[str, Interval | None] = dict.fromkeys(MEASURES[world.name])
    with traced() as ran:
        try:
            for start in tqdm(range(0, count, batch), f"{world.name}: {name}", leave=False, disable=not show):
                images, targets = world.images[start : start + batch], world.targets[start : start + batch]
                for number, model in enumerate(models):
                    began = time.perf_counter()
                    maps[number].append(function(model, images, targets))
                    seconds += time.perf_counter() - began if number == 0 else 0.0
        except ValueError as problem:
            refused = str(problem)
        else:
            values = measured(world, [torch.cat(parts) for parts in maps])
    made = before or Ran()
    rests = resting(ran.golden | made.golden, ran.places | made.places, made.networks)
    taken = None if refused else seconds / count
    today = datetime.date.today().isoformat()
    return Row(world.name, name, values, taken, count, options, refused, today, rests)


def scoreboard(
    scenes: int | None = None,
    *,
    methods: Iterable[str] | None = None,
    only: Iterable[str] | None = None,
    kept: Path | None = None,
    bundled: Path | None = BUNDLED,
    fresh: bool = False,
) -> list[Row]:
    """All rows: every method and baseline in every world, each with the measures of its world.

    ``scenes``: their number in each world (None: ``SCENES``). ``methods`` and ``only`` restrict the methods
    and the worlds. ``kept``: a file to which each row is written as soon as it is there. Rows of an earlier
    run with as many scenes, from there or from ``bundled``, those that ship with the kit, are taken as they
    are; in a checkout they say in ``stale`` if something beneath them has changed. ``fresh`` measures such
    rows anew, ``bundled=None`` leaves out those that ship. Raises ValueError for an unknown method or world,
    or fewer than one scene.
    """
    names = [*METHODS, *BASELINES] if methods is None else list(methods)
    for name in names:
        if name not in METHODS and name not in BASELINES:
            raise ValueError(f"methods must be among {', '.join([*METHODS, *BASELINES])}; got {name!r}.")
    wanted = [*dict.fromkeys(ABOUT if only is None else only)]
    if unknown := set(wanted) - set(ABOUT):
        raise ValueError(f"only must be among {', '.join(ABOUT)}; got {', '.join(sorted(unknown))}.")
    if scenes is not None:
        check_positive("scenes", scenes)
    count = {name: SCENES[name] if scenes is None else scenes for name in wanted}
    known = [row for row in (*rows_in(bundled), *rows_in(kept)) if row.scenes == count.get(row.world)]
    # of two rows of one kind the one that stands, else the later one
    rows = {(row.world, row.method): row for row in sorted(known, key=lambda row: not row.stale)}
    missing = {w: [n for n in names if (w, n) not in rows or (fresh and rows[w, n].stale)] for w in wanted}
    todo = sum(map(len, missing.values()))
    with tqdm(total=todo, desc="scoreboard", disable=not todo) as bar:
        for world in (w for w in wanted if missing[w]):
            with traced() as ran:
                (place,) = worlds(count[world], only=[world])
            for name in missing[world]:
                rows[world, name] = measure(place, name, before=ran)
                if kept is not None:
                    keep(kept, rows[world, name])
                bar.update()
    return [rows[world, name] for world in wanted for name in names]
