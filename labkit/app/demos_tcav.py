"""The demo of testing with concepts: colours and textures painted on the toy world's objects, all classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from labkit.data.faults import FAULTS

__all__ = ["COLOURS", "PATTERNS", "tcav_explorer", "tcav_html"]

COLOURS = ("red", "yellow", "blue", "white")
PATTERNS = ("striped", "dotted", "checkered")
LAYERS = ("features.2", "features.5", "features.9", "features.13", "features.16", "features.19")
SCENES, PICTURES, POOL = 8, 30, 400  # of a class, of a concept, to deal random concepts from


def _first_of_each(count: int) -> list[Any]:
    """The first test scenes of every class, in the classes' order."""
    from labkit.data import CLASSES, MiniBroden

    world, kept = MiniBroden(12 * 40, "test"), {kind: [] for kind in CLASSES}  # type: ignore[var-annotated]
    for scene in map(world.scene, range(len(world))):
        own = kept[scene.objects[0].kind]
        if len(own) < count:
            own.append(scene)
    return [scene for scenes in kept.values() for scene in scenes]


def _plain(scenes: Iterable[Any], seed: int = 0) -> Iterator[Any]:
    """Each scene's object in one colour that is no concept, by lot, without a texture."""
    from labkit.data import BASIC_COLORS, replace

    rng = np.random.default_rng(seed)
    others = [color for color in BASIC_COLORS if color not in COLOURS]
    for scene in scenes:
        yield replace(scene, color=str(rng.choice(others)), texture="plain")


def _with(scenes: Iterable[Any], concept: str) -> Any:
    from labkit.data import gather, replace

    changes: dict[str, Any] = {"color" if concept in COLOURS else "texture": concept}
    return gather(replace(scene, **changes) for scene in scenes).images


def tcav_explorer(model: str, scenes: int = SCENES, pictures: int = PICTURES, pool: int = POOL) -> Any:
    """The explorer of a network's twelve classes and the seven concepts; a pair is a scene painted anew."""
    from labkit.data import MiniBroden, gather
    from labkit.models import load_model
    from labkit.widgets import TcavExplorer

    network = load_model(model)
    base = list(_plain(_first_of_each(scenes)))
    plain = gather(base)
    world = MiniBroden(pool + pictures, "val")
    shown = list(_plain(map(world.scene, range(pool, pool + pictures)), seed=1))
    names = [*COLOURS, *PATTERNS]
    fault = next((f for f in FAULTS.values() if model in f.networks), None)
    first = list(network.classes).index(fault.kind if fault else "fire engine")  # type: ignore[arg-type]
    return TcavExplorer(
        network, plain.images, plain.labels, layers=LAYERS, layer=1, target=first,
        concepts={name: _with(shown, name) for name in names},
        others=MiniBroden(pool, "val").pictures()[0],
        pairs={name: (_with(base, name), plain.images) for name in names},
    )  # fmt: skip


def tcav_html(model: str) -> str:
    """The page of a network, every concept tested for every class at every layer."""
    explorer = tcav_explorer(model)
    explorer.precompute()
    return str(explorer.to_html(title="Which concepts does the network use, and do they move its answer?"))
