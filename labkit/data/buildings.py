"""What stands rooted: the house and the tree."""

from __future__ import annotations

import numpy as np

from labkit.data.render import Paint, Primitive
from labkit.data.shapes import (
    ACCENT,
    BODY,
    DARK,
    GLASS,
    SECOND,
    WHITE,
    block,
    ellipsoid,
    gable,
    limb,
    rod,
    sheared_block,
)

Variant = dict[str, float]
BRICK = Paint((0.55, 0.30, 0.24))
BARK = Paint((0.36, 0.25, 0.17), "plain", "wood")
LEAF = Paint("body", "plain", "wool")
BLOSSOM = Paint("body", "body", "wool")


def house(variant: Variant) -> list[Primitive]:
    """A house: walls, gable roof with overhang, chimney, a door, and framed windows on all four sides."""
    eaves, ridge = 0.86 + 0.12 * variant["a"], 0.60 + 0.18 * variant["b"]
    width, depth = 1.0, 0.72
    rise = eaves + ridge
    door = 0.55 if variant["c"] < 0.5 else -0.55
    parts = [
        block((0, 0, eaves / 2), (width, depth, eaves / 2), BODY, "hull"),
        gable((0, 0, eaves + ridge / 2), (width, depth, ridge / 2), BODY, "hull"),
        block((0, 0, 0.05), (width + 0.03, depth + 0.03, 0.05), Paint((0.45, 0.44, 0.43))),
        block((-0.50, 0.28, rise - 0.05), (0.12, 0.12, 0.27), BRICK),
        block((-0.50, 0.28, rise + 0.23), (0.15, 0.15, 0.04), DARK),
    ]
    # Slabs that lean from below the eaves to the ridge and reach over the walls on every side.
    over = 0.16
    for side in (1, -1):
        foot = np.array([0, side * (depth + over), eaves - over * ridge / depth])
        top = np.array([0, -side * 0.02, rise + 0.02 * ridge / depth])
        half = (top - foot) / 2
        middle = (top + foot) / 2 + (0, 0, 0.05)
        parts.append(sheared_block(middle, (width + 0.15, 0, 0), half, (0, 0, 0.055), ACCENT, "roof"))
    parts.append(rod((-width - 0.15, 0, rise + 0.09), (width + 0.15, 0, rise + 0.09), 0.05, ACCENT, "roof"))
    for x in (door, -door):
        if x != door:
            parts += [
                block((x, 0, 0.50), (0.26, depth + 0.02, 0.25), WHITE, "window"),
                block((x, 0, 0.50), (0.21, depth + 0.035, 0.20), GLASS, "window"),
                block((x, 0, 0.50), (0.02, depth + 0.045, 0.20), WHITE, "window"),
            ]
    parts += [
        block((door, 0, 0.37), (0.22, depth + 0.02, 0.37), WHITE, "door"),
        block((door, 0, 0.35), (0.17, depth + 0.035, 0.33), SECOND, "door"),
        block((0, 0, 0.50), (width + 0.02, 0.30, 0.25), WHITE, "window"),
        block((0, 0, 0.50), (width + 0.035, 0.25, 0.20), GLASS, "window"),
        block((0, 0, 0.50), (width + 0.045, 0.02, 0.20), WHITE, "window"),
        rod((-width - 0.03, 0, eaves + 0.22), (width + 0.03, 0, eaves + 0.22), 0.12, GLASS, "window"),
    ]
    return parts


def _broadleaf(variant: Variant) -> list[Primitive]:
    spread, base = 0.9 + 0.2 * variant["b"], 0.95
    rng = np.random.default_rng(int(variant["c"] * 997))
    parts = [
        limb((0, 0, 0), (0, 0, 1.2), 0.15, 0.09, BARK),
        limb((0, 0, 0), (0, 0, 0.16), 0.22, 0.13, BARK),
        limb((0, 0, 0.6), (0.32, 0.10, 1.15), 0.07, 0.05, BARK),
        limb((0, 0, 0.7), (-0.26, -0.16, 1.2), 0.07, 0.05, BARK),
        ellipsoid((0, 0, base + 0.60), (0.55 * spread, 0.55 * spread, 0.52), LEAF, "foliage"),
    ]
    for k in range(9):
        turn = 2 * np.pi * (k + rng.uniform(-0.25, 0.25)) / 9
        out, up = 0.46 * spread, base + 0.28 + 0.17 * (k % 3) + rng.uniform(-0.05, 0.05)
        size = rng.uniform(0.21, 0.35)
        parts.append(
            ellipsoid(
                (out * np.cos(turn), out * np.sin(turn), up),
                (size, size, size * 0.88),
                BLOSSOM if k % 3 == 0 else LEAF,
                "foliage",
            )
        )
    for k in range(5):
        turn = 2 * np.pi * (k + rng.uniform(-0.25, 0.25)) / 5
        size = rng.uniform(0.20, 0.31)
        parts.append(
            ellipsoid(
                (0.27 * np.cos(turn), 0.27 * np.sin(turn), base + 0.95),
                (size, size, size * 0.85),
                BLOSSOM if k == 2 else LEAF,
                "foliage",
            )
        )
    return parts


def _conifer(variant: Variant) -> list[Primitive]:
    spread = 0.9 + 0.2 * variant["b"]
    rng = np.random.default_rng(int(variant["c"] * 997))
    parts = [
        limb((0, 0, 0), (0, 0, 0.6), 0.14, 0.11, BARK),
        limb((0, 0, 0), (0, 0, 0.12), 0.19, 0.12, BARK),
    ]
    for low, high, radius, leaf in (
        (0.44, 1.12, 0.72, LEAF),
        (0.74, 1.42, 0.58, BLOSSOM),
        (1.10, 1.76, 0.46, LEAF),
        (1.44, 2.03, 0.33, BLOSSOM),
        (1.75, 2.25, 0.21, LEAF),
    ):
        tilt = rng.uniform(-0.05, 0.05, 2)
        parts.append(limb((tilt[0], tilt[1], low), (0, 0, high), radius * spread, 0.02, leaf, "foliage"))
    return parts


def tree(variant: Variant) -> list[Primitive]:
    """A tree: broadleaf with a clustered crown, or (a >= 0.5) a conifer of stacked skirts."""
    return _conifer(variant) if variant["a"] >= 0.5 else _broadleaf(variant)
