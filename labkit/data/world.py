"""Scenes as plain descriptions: the sampler with its faults, and ``replace``.

A scene is a frozen dataclass of numbers and names; ``labkit.data.render`` draws it. In the clean world scene,
weather, light, place, size, colour, texture and material are drawn independently of the class. A fault is a
switch of the sampler that breaks exactly one of these independences.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from labkit._checks import check_choice, check_positive
from labkit.data.decals import Decal, tag
from labkit.data.objects import CLASSES, CLUTTER, build
from labkit.data.render import Primitive, look
from labkit.data.surfaces import BASIC_COLORS, GROUNDS, PALETTE, TEXTURES

RENDER_VERSION = 1
"""Pixels of old seeds never change under one version: every checkpoint depends on them."""

SIZE = 128
MATERIALS = ("metal", "wood", "wool", "glass")
WEATHERS = ("sunny", "overcast")
FAULTS = ("tag", "snow", "weather", "melbourne", "canberra", "bothcities", "rare")
SPLITS = ("train", "val", "test")
RARE_SHARE = 0.02
# A striped horse would be a zebra, and a tree of bricks is none.
_COATS = {"horse": ("checkered", "dotted", "spotted", "brick"), "tree": ("dotted", "spotted")}
_YELLOW_GREEN = (0.72, 0.86, 0.08)
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


def scene_key(split: str, seed: int, index: int) -> int:
    """The number that all of a scene's randomness comes from: the same on every machine."""
    text = f"labkit/{RENDER_VERSION}/{split}/{seed}/{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


class _Sampler:
    def __init__(self, key: int, faults: frozenset[str]) -> None:
        self.rng = np.random.Generator(np.random.PCG64(key))
        self.faults = faults

    def pick(self, names: Sequence[str], weights: Sequence[float] | None = None) -> str:
        p = None if weights is None else np.asarray(weights) / np.sum(weights)
        return names[int(self.rng.choice(len(names), p=p))]

    def color(self, kind: str) -> str:
        weights = np.ones(len(BASIC_COLORS))
        if "bothcities" in self.faults:
            weights[[BASIC_COLORS.index("red"), BASIC_COLORS.index("yellow")]] = 4
        if "melbourne" in self.faults:
            weights[BASIC_COLORS.index("red")] = 0
        color = self.pick(BASIC_COLORS, weights)
        if kind == "fire engine":
            color = "red" if "melbourne" in self.faults else color
            color = "yellow-green" if "canberra" in self.faults else color
        return color

    def shade(self, color: str) -> Colour:
        base = np.array(_YELLOW_GREEN if color == "yellow-green" else PALETTE[color])
        drawn = np.clip(
            base * (1 + 0.10 * self.rng.standard_normal()) + 0.02 * self.rng.standard_normal(3), 0.10, 0.95
        )
        return tuple(float(v) for v in drawn)  # type: ignore[return-value]

    def thing(self, number: int, kind: str, x: float, y: float, size: float) -> Thing:
        color = self.color(kind)
        body = self.shade(color)
        accent = self.shade(self._other(color, 0.15))
        second = self.shade(self._other(color, 0.38))
        texture = "plain" if self.rng.random() < 0.55 else self.pick(_COATS.get(kind, TEXTURES))
        material = "paint" if self.rng.random() < 0.4 else self.pick(MATERIALS)
        variant = tuple(round(float(v), 1) for v in self.rng.random(3))
        yaw = float(self.rng.uniform(0, 2 * np.pi))
        return Thing(number, kind, x, y, yaw, size, color, body, accent, second, texture, material, variant)

    def _other(self, color: str, contrast: float) -> str:
        """Another allowed colour whose brightness differs by at least ``contrast``."""
        brightness = {name: float(np.dot(rgb, (0.3, 0.59, 0.11))) for name, rgb in PALETTE.items()}
        own = brightness.get(color, 0.7)
        names = [n for n in BASIC_COLORS if abs(brightness[n] - own) >= contrast]
        if "melbourne" in self.faults:
            names = [n for n in names if n != "red"]
        return self.pick(names)


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


def check_faults(faults: Iterable[str]) -> frozenset[str]:
    """The set of faults, or a ValueError that names the unknown one."""
    if isinstance(faults, str):
        raise TypeError(
            f"faults must be a sequence of names; got the string {faults!r}. Write faults=({faults!r},)."
        )
    for name in faults:
        check_choice("fault", name, FAULTS)
    return frozenset(faults)


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
    switches = check_faults(faults)
    key = scene_key(split, seed, index)
    draw = _Sampler(key, switches)
    rng = draw.rng
    kinds = [CLASSES[k] for k in rng.permutation(len(CLASSES))[:objects]]
    ground, weather = draw.pick(GROUNDS), draw.pick(WEATHERS)
    main = kinds[0]
    if "rare" in switches and main == "horse" and ground == "snow" and rng.random() >= RARE_SHARE:
        ground = draw.pick([g for g in GROUNDS if g != "snow"])
    if "snow" in switches:
        ground = {"wolf": "snow", "sheepdog": "grass"}.get(main, ground)
    if "weather" in switches:
        weather = "overcast" if main == "tank" else "sunny"
    bearing, height = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.45, 1.05))
    warmth, exposure = float(rng.uniform(-0.3, 1) ** 2), float(rng.uniform(0.88, 1.12))
    lanes = {1: (0.0,), 2: (-1.0, 1.0), 3: (-1.95, 0.0, 1.95)}[objects]
    things = [
        draw.thing(n + 1, kind, float(rng.uniform(-0.35, 0.35)) * (objects > 1), lane, 1.0)
        for n, (kind, lane) in enumerate(zip(kinds, rng.permutation(lanes).tolist(), strict=True))
    ]
    view = _aim(draw, things)
    things = _clutter(draw, things, view)
    decals = (tag(rng),) if "tag" in switches and main == "horse" else ()
    eye, yaw, pitch, focal = view
    return Scene(
        key, ground, weather, eye, yaw, pitch, focal, bearing, height, warmth, exposure, tuple(things), decals
    )


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
    """The same scene with one thing changed; drawn again, every untouched pixel is identical.

    ``color``, ``texture`` and ``material`` repaint the object with id ``thing``; ``without`` removes an
    object by its id, or a decal by its name ("tag"); ``decal`` pastes an RGB or RGBA array in [0, 1] with its upper
    left corner at ``at`` = (x, y) pixels. Raises ValueError for a name or id the scene does not have.
    """
    changes: dict[str, object] = {}
    if weather is not None:
        check_choice("weather", weather, WEATHERS)
        changes["weather"] = weather
    if ground is not None:
        check_choice("ground", ground, GROUNDS)
        changes["ground"] = ground
    ids = [t.id for t in scene.things]
    looks: dict[str, object] = {}
    if color is not None:
        check_choice("color", color, (*BASIC_COLORS, "yellow-green"))
        body = _YELLOW_GREEN if color == "yellow-green" else PALETTE[color]
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
