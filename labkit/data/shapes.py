"""Helpers that place unit primitives (limbs, ellipsoids, blocks, rods, wedges), and the usual paints.

Object coordinates: x forward, y left, z up, ground at z = 0, in metres of the toy world.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from labkit.data.render import Paint, Primitive

Point = Sequence[float] | ndarray

BODY = Paint("body", "body", "body")
ACCENT = Paint("accent", "plain", "body")
SECOND = Paint("second", "plain", "body")
GLASS = Paint((0.10, 0.14, 0.19), "plain", "glass")
TYRE = Paint((0.11, 0.11, 0.115))
DARK = Paint((0.13, 0.125, 0.12))
STEEL = Paint((0.66, 0.68, 0.71), "plain", "metal")
WHITE = Paint((0.88, 0.88, 0.86))
WOOD = Paint((0.42, 0.28, 0.17), "plain", "wood")


def _matrix(x: ndarray, y: ndarray, z: ndarray, center: Point) -> Float[ndarray, "3 4"]:
    return np.stack([x, y, z, np.asarray(center, float)], axis=1).astype(float)


def _rotation(yaw: float, pitch: float, roll: float) -> Float[ndarray, "3 3"]:
    """Turn by roll about x, then raise the nose by pitch about y, then turn by yaw about z (radians)."""
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, -sp], [0, 1, 0], [sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


def _solid(
    kind: str, center: Point, half: Point, paint: Paint, part: str, yaw: float, pitch: float, roll: float
) -> Primitive:
    turned = _rotation(yaw, pitch, roll) * np.asarray(half, float)
    return Primitive(kind, _matrix(turned[:, 0], turned[:, 1], turned[:, 2], center), part, paint)


def ellipsoid(
    center: Point,
    radii: Point,
    paint: Paint,
    part: str = "",
    *,
    yaw: float = 0,
    pitch: float = 0,
    roll: float = 0,
) -> Primitive:
    """An ellipsoid with the given radii along x, y and z, turned by angles in radians.

    >>> ellipsoid((0, 0, 1), (2, 1, 1), BODY).matrix[:, 3].tolist()
    [0.0, 0.0, 1.0]
    """
    return _solid("sphere", center, radii, paint, part, yaw, pitch, roll)


def block(
    center: Point,
    half: Point,
    paint: Paint,
    part: str = "",
    *,
    yaw: float = 0,
    pitch: float = 0,
    roll: float = 0,
) -> Primitive:
    """A box with the given half sizes along x, y and z, turned by angles in radians.

    >>> block((0, 0, 0.5), (1, 1, 0.5), BODY, "hull").kind
    'box'
    """
    return _solid("box", center, half, paint, part, yaw, pitch, roll)


def sheared_block(
    center: Point, along: Point, across: Point, up: Point, paint: Paint, part: str = ""
) -> Primitive:
    """A parallelepiped from its three half edges, for slabs whose ends stay upright.

    >>> sheared_block((0, 0, 0), (1, 0, 0), (0, 1, -1), (0, 0, 0.1), BODY).matrix.shape
    (3, 4)
    """
    x, y, z = (np.asarray(edge, float) for edge in (along, across, up))
    return Primitive("box", _matrix(x, y, z, center), part, paint)


def _across(axis: ndarray) -> tuple[ndarray, ndarray]:
    """Two unit vectors across an axis, the second one as near to left (y) as it can be."""
    side = np.array([0.0, 1.0, 0.0]) - axis[1] * axis
    if np.linalg.norm(side) < 0.2:
        side = np.array([1.0, 0.0, 0.0]) - axis[0] * axis
    side = side / np.linalg.norm(side)
    return np.cross(side, axis), side


def limb(
    a: Point, b: Point, ra: float, rb: float, paint: Paint, part: str = "", *, flat: float = 1.0
) -> Primitive:
    """A round stick from a to b, radius ra at a and rb at b; `flat` scales its width from left to right.

    >>> limb((0, 0, 1), (0, 0, 0), 0.2, 0.1, BODY, "leg").taper
    0.5
    """
    start, end = np.asarray(a, float), np.asarray(b, float)
    length = np.linalg.norm(end - start)
    axis = (end - start) / length
    front, side = _across(axis)
    matrix = _matrix(front * ra, side * ra * flat, axis * length / 2, (start + end) / 2)
    return Primitive("frustum", matrix, part, paint, float(rb / ra))


def rod(a: Point, b: Point, radius: float, paint: Paint, part: str = "", *, flat: float = 1.0) -> Primitive:
    """A cylinder from a to b; `flat` scales its width from left to right.

    >>> rod((0, -1, 0.3), (0, 1, 0.3), 0.3, TYRE, "wheel").kind
    'cylinder'
    """
    start, end = np.asarray(a, float), np.asarray(b, float)
    axis = (end - start) / np.linalg.norm(end - start)
    front, side = _across(axis)
    return Primitive(
        "cylinder",
        _matrix(front * radius, side * radius * flat, (end - start) / 2, (start + end) / 2),
        part,
        paint,
    )


def gable(center: Point, half: Point, paint: Paint, part: str = "", *, lean: float = 0.0) -> Primitive:
    """A triangular prism with its ridge along x; `lean` moves the ridge left (1: above the left edge).

    >>> gable((0, 0, 1), (1, 0.5, 0.3), BODY, "roof").kind
    'wedge'
    """
    hx, hy, hz = half
    # In the unit wedge |y| <= (1 - z) / 2; the shear puts the middle of its base back under the centre.
    x, y, z = np.array([hx, 0, 0]), np.array([0, hy, 0]), np.array([0, hy * lean / 2, hz])
    middle = np.asarray(center, float) + np.array([0, hy * lean / 2, 0])
    return Primitive("wedge", _matrix(x, y, z, middle), part, paint)


def triangle(
    foot_a: Point, foot_b: Point, tip: Point, thickness: float, paint: Paint, part: str = ""
) -> Primitive:
    """A flat triangle with three given corners, such as a sail or a sloping pane between two side panes.

    >>> triangle((0, 0, 0), (1, 0, 0), (0, 0, 2), 0.02, WHITE, "sail").kind
    'wedge'
    """
    a, b, top = (np.asarray(point, float) for point in (foot_a, foot_b, tip))
    normal = np.cross(b - a, top - a)
    across = normal / np.linalg.norm(normal) * thickness / 2
    foot = (a + b) / 2
    return Primitive("wedge", _matrix(across, (b - a) / 2, (top - foot) / 2, (top + foot) / 2), part, paint)
