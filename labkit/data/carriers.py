"""Things in the world that carry a printed square: a crate with it on four sides, a dummy in a T-shirt.

What is printed is not known here: for each point of the printed surface this file says which place of the
square is seen there. The T-shirt leans and has waves, other ones in every scene.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from labkit.core.checks import check_choice
from labkit.data.objects import build
from labkit.data.render import Paint, Primitive, Solid, look, place
from labkit.data.shapes import DARK, STEEL, WHITE, limb, rod
from labkit.data.world import SIZE, Colour, Scene, Thing, frame

CARRIERS = ("crate", "T-shirt")
COPIES = 3  # of the square around the T-shirt
_KINDS = {"crate": "crate", "T-shirt": "mailbox"}  # whose size and contact with the ground a carrier takes
_SIZES = {"crate": (0.3, 0.42), "T-shirt": (0.44, 0.58)}
_HALF = (0.806, 0.738)  # the part of a crate's side that its frame leaves open
_TRIES, _NEAR = 60, 1.6


class Carrier(NamedTuple):
    """A scene with a carrier in it: ``thing`` is its last; ``waves``: size and two phases of a T-shirt's, and
    how far it leans."""

    scene: Scene
    kind: str
    waves: tuple[float, float, float, float]

    @property
    def thing(self) -> Thing:
        """The carrier's own entry in the scene."""
        return self.scene.things[-1]

    def solids(self, printed: Colour) -> tuple[list[Solid], set[int]]:
        """All solids of the scene, the print in one colour (display values), and the numbers of the printed.

        Without a texture and in plain paint, so that light from there is linear in the colour's light.
        """
        index = len(self.scene.things) - 1
        others = [
            solid
            for number, thing in enumerate(self.scene.things[:-1])
            for solid in place(build_of(thing), frame(thing), number)
        ]
        parts, which = self._parts(Paint(printed))
        return others + place(parts, frame(self.thing), index), {len(others) + number for number in which}

    def _parts(self, paint: Paint) -> tuple[list[Primitive], set[int]]:
        if self.kind == "crate":
            parts = build("crate", {"a": 0.5})
            return [dataclasses.replace(parts[0], paint=paint), *parts[1:]], {0}
        lean = self.waves[3]
        # an upright cylinder, wider than deep, whose top is shifted sideways: columns are its axes
        matrix = np.array([[0.17, 0, 0, lean / 2], [0, 0.25, lean / 2, 0], [0, 0, 0.31, 0.63]], float)
        neck, top = np.array((lean / 2, lean / 2, 0.92)), np.array((lean / 2, lean / 2, 1.0))
        arms = [
            limb((lean / 2, side * 0.18, 0.86), (lean / 2, side * 0.36, 0.72), 0.085, 0.075, WHITE)
            for side in (1, -1)
        ]
        stand = [rod((0, 0, 0), (0, 0, 0.34), 0.03, STEEL), rod((0, 0, 0), (0, 0, 0.03), 0.18, DARK)]
        torso = Primitive("cylinder", matrix, "", paint)
        return [torso, *arms, limb(neck, top, 0.07, 0.06, DARK), *stand], {0}

    def spots(
        self, unit: Float[ndarray, "P 3"]
    ) -> tuple[Float[ndarray, "P 2"], Bool[ndarray, " P"], Float[ndarray, " P"]]:
        """For points on the printed solid, in its own coordinates: the places of the square that are seen
        there (across, down; -1 to 1), whether any is, and how much of the light the waves leave."""
        x, y, z = unit.T
        if self.kind == "crate":
            front = np.abs(x) > np.abs(y)
            across = np.where(front, np.sign(x) * y, -np.sign(y) * x) / _HALF[0]
            down = -z / _HALF[1]
            side = np.maximum(np.abs(x), np.abs(y)) >= np.abs(z)
            inside = side & (np.abs(across) <= 1) & (np.abs(down) <= 1)
            return np.stack([across, down], 1).astype(np.float32), inside, np.ones(len(x), np.float32)
        size, first, second, _ = self.waves
        turn = np.arctan2(y, x) * COPIES / (2 * np.pi)
        across, down = 2 * (turn - np.round(turn)), -z
        fold = 2 * np.pi * (1.2 * down + 0.5 * np.sin(2 * np.pi * turn / COPIES) + first)
        across = across + size * np.sin(fold)
        down = down + size * np.sin(np.pi * across + 2 * np.pi * second)
        across = np.where(
            np.abs(across) > 1, 2 * np.sign(across) - across, across
        )  # mirrored beyond its edge
        inside = np.abs(z) < 0.999
        lit = 1 - 1.6 * size * (0.5 + 0.5 * np.cos(fold))
        return np.stack([across, np.clip(down, -1, 1)], 1).astype(np.float32), inside, lit.astype(np.float32)


def build_of(thing: Thing) -> list[Primitive]:
    """A thing's primitives."""
    return build(thing.kind, dict(zip("abc", thing.variant, strict=True)))


def _box(points: Float[ndarray, "P 3"], scene: Scene) -> ndarray:
    x, y, _ = look(scene.eye, scene.yaw, scene.pitch, scene.focal, SIZE).project(points)
    return np.array([x.min(), y.min(), x.max(), y.max()])


def _corners(thing: Thing, half: float, high: float) -> Float[ndarray, "8 3"]:
    points = np.array([(x, y, z) for x in (-half, half) for y in (-half, half) for z in (0, high)])
    matrix = frame(thing)
    return points @ matrix[:, :3].T + matrix[:, 3]


def with_carrier(
    scene: Scene, kind: str, rng: np.random.Generator, size: tuple[float, float] | None = None
) -> Carrier | None:
    """The scene with a carrier before or beside its object, turned, placed and waving as drawn by lot.

    ``size``: its height on the picture, as a share of the picture's, between these two (None: 0.3 to 0.42 for
    a crate, 0.44 to 0.58 for a T-shirt on its stand). Gives None where no place is
    found that leaves the object's middle open. Raises ValueError for another kind.

    >>> from labkit.data import sample_scene
    >>> found = with_carrier(sample_scene(0), "crate", np.random.default_rng(0))
    >>> found.thing.kind
    'crate'
    """
    check_choice("kind", kind, CARRIERS)
    main = scene.things[0]
    middle = _box(np.array([[main.x, main.y, 0.5 * main.size]]), scene)[:2]
    eye, span = np.array(scene.eye), size or _SIZES[kind]
    grey = (0.6, 0.6, 0.6)
    high = 0.48 if kind == "crate" else 1.0
    for _ in range(_TRIES):
        sideways, x, wanted = rng.uniform(-0.8, 0.8), rng.uniform(-1.6, 0.9), rng.uniform(*span)
        away = x - eye[0]
        if away < _NEAR:
            continue
        y = float(np.tan(scene.yaw - np.arctan(sideways / scene.focal)) * away)
        thing = Thing(
            max(t.id for t in scene.things) + 1, _KINDS[kind], float(x), y, float(rng.uniform(0, 2 * np.pi)),
            1.0, "grey", grey, (0.45, 0.33, 0.2), grey, "plain", "paint", (0.5, 0.5, 0.5),
        )  # fmt: skip
        tall = 2 * wanted * math.hypot(away, y) / scene.focal  # in world units
        own = frame(thing)[2, 2] * high
        thing = dataclasses.replace(thing, size=float(tall / own))
        left, bottom, right, top = _box(_corners(thing, 0.24, high), scene)
        over = left < middle[0] < right and bottom < middle[1] < top
        if over or left < -0.98 or right > 0.98 or bottom < -0.98 or top > 0.98:
            continue
        kept = [
            t for t in scene.things if t is main or math.hypot(t.x - x, t.y - y) > 0.7 * thing.size + t.size
        ]
        if math.hypot(main.x - x, main.y - y) < 0.45 * (thing.size + main.size):
            continue
        size_of, first, second = (float(v) for v in (rng.uniform(0.06, 0.14), *rng.random(2)))
        waves = (size_of, first, second, float(rng.uniform(-0.12, 0.12)))
        return Carrier(dataclasses.replace(scene, things=(*kept, thing)), kind, waves)
    return None
