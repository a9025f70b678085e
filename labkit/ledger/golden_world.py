"""Golden calls of the toy world, and of what claims and scoreboard stand on: bench, measures, worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from labkit import data
from labkit.core import registry
from labkit.evaluation import Interval, detective
from labkit.experiments import bench, measures
from labkit.ledger import scoreboard
from labkit.ledger.golden_calls import Golden, ground


def _data() -> dict[str, Golden]:
    d = data
    specs: tuple[tuple[int, str, int, tuple[str, ...], int], ...] = (
        (3, "train", 0, (), 1), (4, "val", 2, (), 2), (5, "test", 0, (), 3),
        (18, "train", 0, ("canberra",), 1),
        (10, "train", 0, ("tag",), 1), (17, "train", 0, ("snow",), 1), (14, "train", 0, ("weather",), 1),
        (18, "train", 0, ("melbourne", "rare"), 1), (19, "train", 0, ("bothcities",), 1),
    )  # fmt: skip

    def described() -> Any:
        found = []
        for spec in specs:
            s = d.sample_scene(*spec)
            things = [[t.x, t.y, t.yaw, t.size, *t.body, *t.accent, *t.variant] for t in s.things]
            numbers = [*s.eye, s.yaw, s.pitch, s.focal, s.sun_bearing, s.sun_height, s.warmth, s.exposure]
            words = [
                s.ground,
                s.weather,
                *(w for t in s.things for w in (t.kind, t.color, t.texture, t.material)),
            ]
            found.append(
                [numbers, [v for t in things for v in t], words, [v for t in s.decals for v in t.box]]
            )
        return found

    def rendered() -> Any:
        shown = [d.item(d.sample_scene(*spec)) for spec in specs[1:6:2]]
        return {k: torch.stack([i[k] for i in shown]) for k in shown[0] if isinstance(shown[0][k], Tensor)}

    def replaced() -> Any:
        scene = d.sample_scene(*specs[4])
        square = torch.full((6, 6, 3), 0.9).numpy()
        changes: Iterable[Mapping[str, Any]] = (
            {"weather": "overcast", "color": "red"}, {"ground": "snow", "without": "tag"},
            {"texture": "striped", "material": "wood", "decal": square, "at": (20, 30)}, {"without": 1},
        )  # fmt: skip
        return d.gather(d.replace(scene, **change) for change in changes).images

    def one() -> Any:
        made = d.MiniBroden(3, "val", seed=1, faults=("snow",), objects=2)
        return [v for v in made[2].values() if isinstance(v, Tensor)]

    def stacked() -> Any:
        found = d.stack([d.sample_scene(*spec) for spec in specs[3:6:2]], cache=False)
        maps = {kind: torch.from_numpy(values.copy()) for kind, values in found.maps.items()}
        return {"image": torch.from_numpy(found.images), **maps, "label": torch.from_numpy(found.labels)}

    def textured() -> Any:
        return [d.texture(name, side=(40, 56), seed=seed) for seed, name in enumerate(d.STYLES)]

    def gathered() -> Any:
        return d.gather(d.sample_scene(*spec) for spec in specs[:2])[:4]

    return {
        "sample_scene": Golden(described),
        "render": Golden(rendered, (d.render, d.item, d.Scene, d.Thing), 1e-3),
        "replace": Golden(replaced, rtol=1e-3),
        "MiniBroden": Golden(one, rtol=1e-3),
        "stack": Golden(stacked, (d.stack, d.SceneStack), 1e-3),
        "gather": Golden(gathered, rtol=1e-3),
        "texture": Golden(textured, rtol=1e-3),
        "concept_words": Golden(
            lambda: list(d.concept_words(["zebra", "horse", "wheel", "fire engine"])[1:3])
        ),
    }


def _experiments() -> dict[str, Golden]:
    def benches() -> Any:
        found: dict[str, Any] = {}
        for mode in bench.MODES:
            made = bench.Bench(mode)
            sizes = [made.count(n) for n in (3, 60, 400)] + [made.count(60, lesson=20, few=2), made.steps(50)]
            found[mode] = [sizes, " ".join(made.seeds)]
        few = bench.Bench("quick")
        drawn = few.scenes(2, "val", kind="horse", faults=("tag",)), few.scenes(3, not_kind="cow", objects=2)
        for scenes in (*drawn, few.firsts(2)):
            model = few.network("minivgg")
            said = [bench.answers(model, scenes.images), bench.right(model, scenes.images, scenes.labels)]
            found[f"scenes {len(found)}"] = [scenes.images, scenes.labels, *said]
        return found

    def judged() -> Any:
        span, wide = Interval(0.2, -0.1, 0.5), Interval(0.1, 0.05, 0.15)
        words = (">= 0.2", "> 0 (lower bound)", "< 0.5 (upper bound)", "<= 1e-1", "< 0.2", "within 0.4")
        found = [[int(measures.meets(word, one)) for word in words] for one in (span, wide)]
        verdicts = [
            measures.Result(
                (measures.Measure("a", one, "> 0 (lower bound)", control={"b": span}, must={"b": must}),)
            ).verdict
            for one in (span, wide)
            for must in ("> 0", "< 0")
        ]
        return [found, verdicts, measures.extent([span, wide])]

    return {
        "Bench": Golden(benches, (bench.Bench, bench.answers, bench.right, bench.experiment), 1e-3),
        "Measure": Golden(judged, (measures.Measure, measures.Result, measures.meets, measures.extent)),
    }


def _ledger() -> dict[str, Golden]:
    def placed() -> Any:
        found = {world.name: world for world in scoreboard.worlds(1)}
        return {
            name: [w.images, w.targets, w.masks, len(w.controls), *([] if w.without is None else [w.without])]
            for name, w in found.items()
        }

    def measured() -> Any:
        g = ground(torch.float32)
        images, truth = g.images[:2], (g.targets[:2], g.masks[:2])
        plain = scoreboard.World("clean", g.model, images, *truth)
        snow = scoreboard.World("snow", g.model, images, *truth, controls=(g.model,), without=1 - images)
        return {
            world.name: scoreboard.measured(world, maps)
            for world, maps in ((plain, [g.maps[:2]]), (snow, [g.maps[:2], g.others[:2]]))
        }

    return {
        "worlds": Golden(placed, (scoreboard.worlds,), 1e-3),
        "scoreboard": Golden(measured, (scoreboard.measured,), 1e-3),
    }


def _detective() -> dict[str, Golden]:
    """Scenes of a class with one thing changed."""

    def shown() -> Any:
        changes: tuple[dict[str, str], ...] = (
            {"ground": "snow"},
            {"decal": "tag"},
            {"color": "yellow-green"},
        )
        return [detective.pictures("horse", change, 1, seed=4).double() for change in changes]

    return {"pictures": Golden(shown, (detective.pictures,))}


def _core() -> dict[str, Golden]:
    """What a registry makes of its rows."""

    def rowed() -> Any:
        row = registry.Method(data.gather, "Demo", "Nobody 2000", models="agnostic")
        package = SimpleNamespace(__name__="labkit.demo", METHODS={"gather": row}, TOOLS={"again": row})
        found = registry.rows([package])  # type: ignore[list-item]
        return [[name, *row.labels, str(row.deterministic), str(row.result)] for name, row in found.items()]

    return {"rows": Golden(rowed, (registry.rows, registry.Method))}


TABLES: dict[str, Callable[[], dict[str, Golden]]] = {
    "core": _core,
    "detective": _detective,
    "data": _data,
    "experiments": _experiments,
    "ledger": _ledger,
}
