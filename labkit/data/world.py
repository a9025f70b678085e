"""Scenes as plain descriptions that can be edited.

A scene is a frozen dataclass of numbers and names: ``labkit.data.sampler`` draws one at random,
``labkit.data.picture`` shows it, and ``replace`` changes one thing of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from labkit.core.checks import check_choice
from labkit.data.decals import Decal
from labkit.data.objects import CLASSES, build
from labkit.data.render import Primitive
from labkit.data.surfaces import BASIC_COLORS, GROUNDS, PALETTE, TEXTURES

RENDER_VERSION = 1
"""Pixels of old seeds never change under one version: every checkpoint depends on them."""

SIZE = 128
MATERIALS = ("metal", "wood", "wool", "glass")
WEATHERS = ("sunny", "overcast")
SPLITS = ("train", "val", "test")
YELLOW_GREEN = (0.72, 0.86, 0.08)
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """One object: its kind, place on the ground, turn about z (radians), bounding radius and looks."""

    id: int
    kind: str
    x: float
    y: float
    yaw: float
    size: float
    color: str
    body: Colour
    accent: Colour
    second: Colour
    texture: str
    material: str
    variant: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Everything the renderer draws. Objects come first in ``things`` (ids 1, 2, ...), then the clutter."""

    key: int
    ground: str
    weather: str
    eye: tuple[float, float, float]
    yaw: float
    pitch: float
    focal: float
    sun_bearing: float
    sun_height: float
    warmth: float
    exposure: float
    things: tuple[Thing, ...]
    decals: tuple[Decal, ...] = ()

    @property
    def objects(self) -> tuple[Thing, ...]:
        """The things that belong to a class."""
        return tuple(thing for thing in self.things if thing.kind in CLASSES)


@lru_cache(maxsize=4096)
def figure(kind: str, variant: Sequence[float]) -> tuple[tuple[Primitive, ...], ndarray]:
    """An object's primitives and its bounding box (2, 3) in its own coordinates."""
    primitives = tuple(build(kind, dict(zip("abc", variant, strict=True))))
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    points = np.concatenate([corners @ p.matrix[:, :3].T + p.matrix[:, 3] for p in primitives])
    return primitives, np.stack([points.min(0), points.max(0)])


def scale(thing: Thing) -> float:
    """World units per unit of the object's own coordinates: half its box's diagonal becomes ``size``."""
    low, high = figure(thing.kind, thing.variant)[1]
    return float(thing.size / (np.linalg.norm(high - low) / 2))


def frame(thing: Thing) -> Float[ndarray, "3 4"]:
    """The matrix from object to world coordinates."""
    k = scale(thing)
    c, s = np.cos(thing.yaw) * k, np.sin(thing.yaw) * k
    return np.array([[c, -s, 0, thing.x], [s, c, 0, thing.y], [0, 0, k, 0]])


def outline(thing: Thing) -> Float[ndarray, "8 3"]:
    """The world corners of the object's bounding box."""
    low, high = figure(thing.kind, thing.variant)[1]
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    matrix = frame(thing)
    return (low + corners * (high - low)) @ matrix[:, :3].T + matrix[:, 3]


def replace(
    scene: Scene,
    *,
    weather: str | None = None,
    ground: str | None = None,
    color: str | None = None,
    texture: str | None = None,
    material: str | None = None,
    thing: int = 1,
    without: int | str | None = None,
    decal: Decal | Float[ndarray, "H W C"] | None = None,
    at: tuple[int, int] = (16, 16),
) -> Scene:
    """The same scene with one thing changed; drawn again, every untouched pixel keeps its value.

    ``color``, ``texture`` and ``material`` repaint the object with id ``thing``; ``without`` removes an
    object by its id, or a decal by its name ("tag"); ``decal`` pastes an RGB or RGBA array in [0, 1] with
    its upper left corner at ``at`` = (x, y) pixels. "Keeps its value" means up to the last bit of a float32,
    and exactly as a picture of bytes. Raises ValueError for a name or id that the scene does not have.
    """
    changes: dict[str, Any] = {}
    if weather is not None:
        check_choice("weather", weather, WEATHERS)
        changes["weather"] = weather
    if ground is not None:
        check_choice("ground", ground, GROUNDS)
        changes["ground"] = ground
    ids = [t.id for t in scene.things]
    looks: dict[str, Any] = {}
    if color is not None:
        check_choice("color", color, (*BASIC_COLORS, "yellow-green"))
        body = YELLOW_GREEN if color == "yellow-green" else PALETTE[color]
        looks |= {"color": color, "body": body}
    if texture is not None:
        check_choice("texture", texture, ("plain", *TEXTURES))
        looks["texture"] = texture
    if material is not None:
        check_choice("material", material, ("paint", *MATERIALS))
        looks["material"] = material
    if (looks and thing not in ids) or (isinstance(without, int) and without not in ids):
        wanted = without if isinstance(without, int) else thing
        raise ValueError(f"the scene has no object with the id {wanted}; its ids are {ids}.")
    things = tuple(dataclasses.replace(t, **looks) if looks and t.id == thing else t for t in scene.things)
    decals = scene.decals
    if isinstance(without, str):
        names = [d.name for d in decals]
        if without not in names:
            raise ValueError(f"the scene has no decal named {without!r}; it has {names}.")
        decals = tuple(d for d in decals if d.name != without)
    elif without is not None:
        things = tuple(t for t in things if t.id != without)
    if decal is not None:
        decals = (*decals, decal if isinstance(decal, Decal) else Decal.of(decal, at))
    return dataclasses.replace(scene, things=things, decals=decals, **changes)
