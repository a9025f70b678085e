"""Scenes drawn at random, and the faults that can be planted in them.

In the clean world scene, weather, light, place, size, colour and material are drawn independently of the
class, and so is the texture but for coats that would turn one class into another. A fault is a switch that
breaks exactly one of these independences.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from labkit.core.checks import check_choice, check_positive
from labkit.data.decals import tag
from labkit.data.faults import FAULTS, check_faults
from labkit.data.objects import CLASSES, CLUTTER
from labkit.data.render import look
from labkit.data.surfaces import BASIC_COLORS, GROUNDS, PALETTE, TEXTURES
from labkit.data.world import (
    MATERIALS,
    RENDER_VERSION,
    SIZE,
    SPLITS,
    WEATHERS,
    YELLOW_GREEN,
    Colour,
    Scene,
    Thing,
    outline,
)

RARE_SHARE = 0.02
# A striped horse would be a zebra, and a tree of bricks is none.
_COATS = {"horse": ("checkered", "dotted", "spotted", "brick"), "tree": ("dotted", "spotted")}


def scene_key(split: str, seed: int, index: int) -> int:
    """The number that all of a scene's randomness comes from: the same on every machine."""
    text = f"labkit/{RENDER_VERSION}/{split}/{seed}/{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


class _Sampler:
    def __init__(self, key: int, faults: frozenset[str]) -> None:
        self.rng = np.random.Generator(np.random.PCG64(key))
        self.faults = [fault for name, fault in FAULTS.items() if name in faults]

    def pick(self, names: Sequence[str], weights: Sequence[float] | ndarray | None = None) -> str:
        p = None if weights is None else np.asarray(weights) / np.sum(weights)
        return names[int(self.rng.choice(len(names), p=p))]

    def color(self, kind: str) -> str:
        weights = np.array([self.likelier(name) for name in BASIC_COLORS])
        color = self.pick(BASIC_COLORS, weights)
        for fault in self.faults:
            color = fault.paint if fault.paint and kind == fault.kind else color
        return color

    def likelier(self, color: str) -> float:
        return math.prod(fault.colors.get(color, 1.0) for fault in self.faults)

    def shade(self, color: str) -> Colour:
        base = np.array(YELLOW_GREEN if color == "yellow-green" else PALETTE[color])
        drawn = base * (1 + 0.10 * self.rng.standard_normal()) + 0.02 * self.rng.standard_normal(3)
        red, green, blue = np.clip(drawn, 0.10, 0.95)
        return float(red), float(green), float(blue)

    def thing(self, number: int, kind: str, x: float, y: float, size: float) -> Thing:
        color = self.color(kind)
        body = self.shade(color)
        accent = self.shade(self._other(color, 0.15))
        second = self.shade(self._other(color, 0.38))
        texture = "plain" if self.rng.random() < 0.55 else self.pick(_COATS.get(kind, TEXTURES))
        material = "paint" if self.rng.random() < 0.4 else self.pick(MATERIALS)
        a, b, c = (round(float(v), 1) for v in self.rng.random(3))
        yaw = float(self.rng.uniform(0, 2 * np.pi))
        return Thing(number, kind, x, y, yaw, size, color, body, accent, second, texture, material, (a, b, c))

    def _other(self, color: str, contrast: float) -> str:
        """Another allowed colour whose brightness differs by at least ``contrast``."""
        brightness = {name: float(np.dot(rgb, (0.3, 0.59, 0.11))) for name, rgb in PALETTE.items()}
        own = brightness.get(color, 0.7)
        far = [n for n in BASIC_COLORS if abs(brightness[n] - own) >= contrast]
        return self.pick([n for n in far if self.likelier(n)])


def _spread(points: Float[ndarray, "P 3"], eye: ndarray, yaw: float, pitch: float, focal: float) -> ndarray:
    """The box (left, bottom, right, top) that world points fill on the picture plane [-1, 1]."""
    x, y, _ = look(eye, yaw, pitch, focal, SIZE).project(points)
    return np.array([x.min(), y.min(), x.max(), y.max()])


def _aim(draw: _Sampler, things: Sequence[Thing]) -> tuple[tuple, float, float, float]:
    """Eye, yaw, pitch and focal length that show all objects whole, off centre, at a size drawn at random."""
    rng = draw.rng
    corners = np.concatenate([outline(thing) for thing in things])
    middle = (corners.min(0) + corners.max(0)) / 2
    focal, lift = float(rng.uniform(1.9, 2.7)), float(rng.uniform(0.10, 0.42))
    share = float(np.exp(rng.uniform(np.log(0.10), np.log(0.36))))
    distance = 2.6 * focal
    for _ in range(3):
        eye = middle + distance * np.array([-np.cos(lift), 0, np.sin(lift)])
        left, bottom, right, top = _spread(corners, eye, 0.0, -lift, focal)
        width, height = right - left, top - bottom
        fit = 1.78 / max(width, height)
        grow = min(np.sqrt(share * 4 / (0.62 * width * height)), fit) if len(things) == 1 else 0.97 * fit
        distance = max(distance / grow, 1.9)
    slack_x, slack_y = max(0.93 - width / 2, 0), max(0.90 - height / 2, 0)
    go_x = slack_x * (2 * rng.beta(0.4, 0.4) - 1) - (left + right) / 2
    go_y = slack_y * (1.6 * rng.beta(0.5, 0.5) - 1) - (bottom + top) / 2
    yaw, pitch = float(np.arctan(go_x / focal)), float(-lift - np.arctan(go_y / focal))
    return tuple(float(v) for v in eye), yaw, pitch, focal


def _clutter(draw: _Sampler, things: list[Thing], view: tuple) -> list[Thing]:
    """One to four props on the ground that hide nothing of the objects."""
    rng, kept = draw.rng, list(things)
    boxes = [_spread(outline(thing), *view) for thing in things]
    eye = np.array(view[0])
    for number in range(int(rng.integers(1, 5))):
        prop = draw.thing(
            len(things) + number + 1, draw.pick(CLUTTER), 0.0, 0.0, float(rng.uniform(0.26, 0.55))
        )
        tries = zip(rng.uniform(-0.95, 0.95, 16), rng.uniform(-1.2, 3.0, 16), strict=True)
        for sideways, away in tries:
            x = float(away)
            y = float(np.tan(view[1] - np.arctan(sideways / view[3])) * (x - eye[0]))
            put = dataclasses.replace(prop, x=x, y=y)
            gap = min(np.hypot(x - t.x, y - t.y) - 0.8 * t.size - prop.size for t in kept)
            if gap < 0.05 or x - eye[0] < 1.6:
                continue
            left, bottom, right, top = _spread(outline(put), *view)
            hides = any(left < b[2] and right > b[0] and bottom < b[3] and top > b[1] for b in boxes)
            nearer = x < max(t.x for t in things) + 0.4
            if (hides and nearer) or left > 1 or right < -1 or bottom < -1.6:
                continue
            kept.append(put)
            break
    return kept


def sample_scene(
    index: int, split: str = "train", seed: int = 0, faults: Iterable[str] = (), objects: int = 1
) -> Scene:
    """Draw the description of scene ``index`` of a split: the same arguments always give the same scene.

    ``objects`` (1 to 3) is the number of class objects, all of different classes; the first gives the label.
    Raises ValueError for an unknown split or fault.

    >>> sample_scene(0).things[0].kind in CLASSES
    True
    """
    check_choice("split", split, SPLITS)
    check_positive("objects", objects)
    if objects > 3:
        raise ValueError(f"objects must be 1, 2 or 3; got {objects}. More do not fit into one picture.")
    key = scene_key(split, seed, index)
    draw = _Sampler(key, check_faults(faults))
    rng = draw.rng
    kinds = [CLASSES[k] for k in rng.permutation(len(CLASSES))[:objects]]
    ground, weather = draw.pick(GROUNDS), draw.pick(WEATHERS)
    main = kinds[0]
    for fault in draw.faults:
        if main == fault.kind and ground == fault.rare_ground and rng.random() >= RARE_SHARE:
            ground = draw.pick([g for g in GROUNDS if g != fault.rare_ground])
        ground = fault.grounds.get(main, ground)
        weather = fault.weathers.get(main, fault.weather_of_others or weather)
    bearing, height = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.45, 1.05))
    warmth, exposure = float(rng.uniform(-0.3, 1) ** 2), float(rng.uniform(0.88, 1.12))
    lanes = {1: (0.0,), 2: (-1.0, 1.0), 3: (-1.95, 0.0, 1.95)}[objects]
    things = [
        draw.thing(n + 1, kind, float(rng.uniform(-0.35, 0.35)) * (objects > 1), lane, 1.0)
        for n, (kind, lane) in enumerate(zip(kinds, rng.permutation(lanes).tolist(), strict=True))
    ]
    view = _aim(draw, things)
    things = _clutter(draw, things, view)
    decals = tuple(tag(rng) for fault in draw.faults if fault.marked and main == fault.kind)
    eye, yaw, pitch, focal = view
    return Scene(
        key, ground, weather, eye, yaw, pitch, focal, bearing, height, warmth, exposure, tuple(things), decals
    )
