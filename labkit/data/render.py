"""The ray caster: unit primitives under affine matrices, hit by the rays of a camera or of the sun.

A ``Primitive`` is a unit solid (sphere, box, cylinder, frustum, wedge) under a 3 x 4 matrix. ``cast`` finds
what each ray meets first; only the part of the picture that a primitive's eight projected corners enclose is
tested against it. ``surface`` then gives points and normals for the winners alone, which is what keeps plain
NumPy fast. All coordinates are right-handed with z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

KINDS = ("sphere", "box", "cylinder", "frustum", "wedge")
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


@dataclass(frozen=True)
class Paint:
    """What covers a primitive. ``color`` is a role ("body", "accent", "second") or a fixed (r, g, b) in 0..1;
    ``texture`` and ``material`` are names, or the role "body" for the object's own."""

    color: str | tuple[float, float, float]
    texture: str = "plain"
    material: str = "paint"


@dataclass(frozen=True)
class Primitive:
    """A unit solid, its matrix to object coordinates, the part it belongs to ("" = none) and its paint.

    Unit solids: sphere of radius 1; box [-1, 1]^3; cylinder of radius 1 along z in [-1, 1]; frustum of radius
    1 at z = -1 and ``taper`` at z = 1; wedge with |y| <= (1 - z) / 2 in the box, its ridge along x.
    """

    kind: str
    matrix: Float[ndarray, "3 4"]
    part: str
    paint: Paint
    taper: float = 0.0


@dataclass(frozen=True)
class Solid:
    """A primitive placed in the world: matrices both ways, and the numbers a hit must carry."""

    primitive: Primitive
    to_world: Float[ndarray, "3 4"]
    to_unit: Float[ndarray, "3 4"]
    thing: int


def place(primitives: Sequence[Primitive], frame: Float[ndarray, "3 4"], thing: int) -> list[Solid]:
    """The primitives of an object whose own coordinates ``frame`` maps into the world."""
    matrices = np.stack([primitive.matrix for primitive in primitives])
    world = frame[:, :3] @ matrices
    world[:, :, 3] += frame[:, 3]
    back = np.empty_like(world)
    back[:, :, :3] = np.linalg.inv(world[:, :, :3])
    back[:, :, 3] = -(back[:, :, :3] @ world[:, :, 3:])[..., 0]
    return [Solid(p, world[k], back[k], thing) for k, p in enumerate(primitives)]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: ``size`` x ``size`` pixels, the picture plane spanning [-1, 1] at distance ``focal``.

    With ``parallel`` the rays run along ``forward`` and the plane spans [-1, 1] / ``focal``: the sun's view.
    """

    eye: Float[ndarray, " 3"]
    forward: Float[ndarray, " 3"]
    right: Float[ndarray, " 3"]
    up: Float[ndarray, " 3"]
    focal: float
    size: int
    parallel: bool = False

    def grid(self) -> Float[ndarray, " S"]:
        """Positions of the pixel centres on the picture plane, -1 (left, top) to 1."""
        return ((np.arange(self.size) + 0.5) * (2 / self.size) - 1).astype(np.float32)

    def directions(self) -> Float[ndarray, "3 S S"]:
        """One direction a pixel, with component 1 along ``forward``: a hit's parameter is its depth."""
        x, y = self.grid()[None, :], -self.grid()[:, None]
        return np.stack(
            [self.forward[k] + (x * self.right[k] + y * self.up[k]) / self.focal for k in range(3)]
        ).astype(np.float32)

    def project(self, points: Float[ndarray, "P 3"]) -> tuple[ndarray, ndarray, ndarray]:
        """Plane coordinates x, y (up is positive) and depth of world points."""
        offset = points - self.eye
        depth = offset @ self.forward
        scale = self.focal / (1.0 if self.parallel else np.maximum(depth, 1e-3))
        return offset @ self.right * scale, offset @ self.up * scale, depth


def look(eye: Sequence[float] | ndarray, yaw: float, pitch: float, focal: float, size: int) -> Camera:
    """A camera at ``eye`` that looks along ``yaw`` (about z, radians) and ``pitch`` (up is positive)."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    forward = np.array([cp * cy, cp * sy, sp])
    return Camera(
        np.asarray(eye, float),
        forward,
        np.array([sy, -cy, 0.0]),
        np.array([-sp * cy, -sp * sy, cp]),
        focal,
        size,
    )


def sun_camera(sun: Float[ndarray, " 3"], center: Sequence[float], radius: float, size: int) -> Camera:
    """The sun's parallel view of the world around ``center``."""
    right = np.cross(-sun, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    eye = np.asarray(center, float) + sun * 4 * radius
    return Camera(eye, -sun, right, np.cross(right, -sun), 1 / radius, size, parallel=True)


def _interval(kind: str, o: list, d: list, taper: float) -> tuple[ndarray, ndarray]:
    """Entry and exit of rays through a unit solid; entry > exit where the ray misses (all are convex)."""
    if kind == "sphere":
        a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
        b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
        root = b * b - a * (o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 1)
        root = np.where(root > 0, np.sqrt(np.abs(root)), np.nan)
        return (-b - root) / a, (-b + root) / a
    if kind in ("box", "wedge"):
        planes = [(d[0], 1 - o[0]), (-d[0], 1 + o[0])]
        if kind == "box":
            planes += [(d[1], 1 - o[1]), (-d[1], 1 + o[1]), (d[2], 1 - o[2]), (-d[2], 1 + o[2])]
        else:
            planes += [(-d[2], 1 + o[2])]
            planes += [(2 * s * d[1] + d[2], 1 - 2 * s * o[1] - o[2]) for s in (1, -1)]
        enter, leave = np.full((), -np.inf, np.float32), np.full((), np.inf, np.float32)
        for slope, room in planes:
            t = room / slope
            leave = np.fmin(leave, np.where(slope > 0, t, np.inf))
            enter = np.fmax(enter, np.where(slope < 0, t, -np.inf))
        return enter, leave
    low, high = (-1 - o[2]) / d[2], (1 - o[2]) / d[2]
    enter, leave = np.fmin(low, high), np.fmax(low, high)
    k = (taper - 1) / 2 if kind == "frustum" else 0.0
    radius = ((1 + taper) / 2 if kind == "frustum" else 1.0) + k * o[2]
    a = d[0] * d[0] + d[1] * d[1] - (k * d[2]) ** 2
    b = o[0] * d[0] + o[1] * d[1] - k * d[2] * radius
    root = b * b - a * (o[0] * o[0] + o[1] * o[1] - radius * radius)
    hit = root > 0
    root = np.sqrt(np.where(hit, root, 0))
    one, two = (-b - root) / a, (-b + root) / a
    # a < 0: the ray is steeper than the cone, inside it before `two` and after `one`.
    round_enter = np.where(a > 0, one, np.where(enter <= two, enter, one))
    round_leave = np.where(a > 0, two, np.where(enter <= two, two, leave))
    enter, leave = np.fmax(enter, round_enter), np.fmin(leave, round_leave)
    return np.where(hit | (a < 0), enter, np.nan), leave


def _screen_boxes(camera: Camera, solids: Sequence[Solid]) -> list[list[int]]:
    """First and last column and row that each solid can touch (empty for one behind the camera)."""
    if not solids:
        return []
    world = np.stack([solid.to_world for solid in solids])
    corners = _CORNERS @ world[:, :, :3].transpose(0, 2, 1) + world[:, None, :, 3]
    x, y, z = (v.reshape(len(solids), 8) for v in camera.project(corners.reshape(-1, 3)))
    half = camera.size / 2
    first = np.floor((np.stack([x.min(1), -y.max(1)], 1) + 1) * half)
    last = np.ceil((np.stack([x.max(1), -y.min(1)], 1) + 1) * half)
    last[z.min(1) < 0.05] = -1
    return (
        np.concatenate([np.clip(first, 0, camera.size), np.clip(last, 0, camera.size)], 1)
        .astype(int)
        .tolist()
    )


@dataclass
class Hits:
    """What each ray meets first: its depth (inf for nothing) and the index of the solid (-1 for nothing)."""

    depth: Float[ndarray, "S S"]
    solid: Int[ndarray, "S S"]


def cast(camera: Camera, solids: Sequence[Solid], directions: Float[ndarray, "3 S S"] | None = None) -> Hits:
    """Send one ray a pixel and keep the nearest solid. Objects behind the camera are not drawn."""
    size = camera.size
    depth = np.full((size, size), np.inf, np.float32)
    winner = np.full((size, size), -1, np.int16)
    grid = camera.grid()
    if not camera.parallel and directions is None:
        directions = camera.directions()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for index, (solid, (c0, r0, c1, r1)) in enumerate(
            zip(solids, _screen_boxes(camera, solids), strict=True)
        ):
            if c0 >= c1 or r0 >= r1:
                continue
            linear, offset = solid.to_unit[:, :3], solid.to_unit[:, 3]
            o: list
            d: list
            if camera.parallel:
                right, up = linear @ camera.right / camera.focal, linear @ camera.up / camera.focal
                start, along = linear @ camera.eye + offset, linear @ camera.forward
                px, py = grid[None, c0:c1], -grid[r0:r1, None]
                o = [
                    np.float32(start[k]) + np.float32(right[k]) * px + np.float32(up[k]) * py
                    for k in range(3)
                ]
                d = [np.float32(v) if abs(v) > 1e-7 else np.float32(1e-7) for v in along]
            else:
                assert directions is not None
                part = directions[:, r0:r1, c0:c1]
                o = [np.float32(v) for v in linear @ camera.eye + offset]
                turn = linear.astype(np.float32)
                d = [turn[k, 0] * part[0] + turn[k, 1] * part[1] + turn[k, 2] * part[2] for k in range(3)]
            enter, leave = _interval(solid.primitive.kind, o, d, solid.primitive.taper)
            near = depth[r0:r1, c0:c1]
            better = (enter < leave) & (enter < near) & (enter > 0)
            near[better] = np.broadcast_to(enter, better.shape)[better]
            winner[r0:r1, c0:c1][better] = index
    return Hits(depth, winner)


def surface(
    solid: Solid, points: Float[ndarray, "P 3"]
) -> tuple[Float[ndarray, "P 3"], Float[ndarray, "P 3"]]:
    """Unit coordinates and outward world normals of points on a solid."""
    unit = points @ solid.to_unit[:, :3].T.astype(np.float32) + solid.to_unit[:, 3].astype(np.float32)
    kind, taper = solid.primitive.kind, solid.primitive.taper
    x, y, z = unit.T
    normal = np.zeros_like(unit)
    if kind == "sphere":
        normal = unit
    elif kind == "box":
        axis = np.abs(unit).argmax(1)
        rows = np.arange(len(unit))
        normal[rows, axis] = np.sign(unit[rows, axis])
    elif kind == "wedge":
        face = np.stack([np.abs(x) - 1, -z - 1, (2 * np.abs(y) + z - 1) / 2.3]).argmax(0)
        normal[:, 0] = np.where(face == 0, np.sign(x), 0)
        normal[:, 1] = np.where(face == 2, 2 * np.sign(y), 0)
        normal[:, 2] = np.where(face == 2, 1, np.where(face == 1, -1, 0))
    else:
        k = (taper - 1) / 2 if kind == "frustum" else 0.0
        radius = ((1 + taper) / 2 if kind == "frustum" else 1.0) + k * z
        cap = np.abs(z) - 1 > np.hypot(x, y) - radius - 1e-3
        normal = np.stack(
            [np.where(cap, 0, x), np.where(cap, 0, y), np.where(cap, np.sign(z), -k * radius)], 1
        )
    world = normal @ solid.to_unit[:, :3].astype(np.float32)
    return unit, world / np.maximum(np.sqrt(np.einsum("ij,ij->i", world, world)), 1e-9)[:, None]


def shade_fraction(camera: Camera, depth: Float[ndarray, "S S"], points: Float[ndarray, "P 3"]) -> ndarray:
    """Share of light (0 to 1) that reaches points, from the sun's depth map, with edges one texel soft."""
    x, y, z = camera.project(points)
    col, row = (x + 1) * (camera.size / 2) - 0.5, (1 - y) * (camera.size / 2) - 0.5
    c, r = np.floor(col).astype(int), np.floor(row).astype(int)
    fx, fy = (col - c).astype(np.float32), (row - r).astype(np.float32)
    inside = (c >= 0) & (r >= 0) & (c < camera.size - 1) & (r < camera.size - 1)
    c, r = np.where(inside, c, 0), np.where(inside, r, 0)
    limit = z - 0.035
    lit = [(depth[r + j, c + i] > limit).astype(np.float32) for j in (0, 1) for i in (0, 1)]
    top, bottom = lit[0] * (1 - fx) + lit[1] * fx, lit[2] * (1 - fx) + lit[3] * fx
    return np.where(inside, top * (1 - fy) + bottom * fy, np.float32(1))
