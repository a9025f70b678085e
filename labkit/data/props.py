"""The eight kinds of clutter, which belong to no class."""

from __future__ import annotations

import numpy as np

from labkit.data.render import Paint, Primitive
from labkit.data.shapes import ACCENT, BODY, DARK, STEEL, WHITE, block, ellipsoid, limb, rod

Variant = dict[str, float]
LAMP_GLASS = Paint((0.97, 0.94, 0.82), "plain", "glass")


def traffic_cone(variant: Variant) -> list[Primitive]:
    """A traffic cone: a square foot, a cone, two white bands."""
    return [
        block((0, 0, 0.03), (0.21, 0.21, 0.03), DARK),
        limb((0, 0, 0.05), (0, 0, 0.62), 0.165, 0.03, BODY),
        limb((0, 0, 0.22), (0, 0, 0.33), 0.130, 0.103, WHITE),
        limb((0, 0, 0.42), (0, 0, 0.50), 0.082, 0.063, WHITE),
    ]


def crate(variant: Variant) -> list[Primitive]:
    """A crate: a box with a frame along its edges."""
    h = 0.20 + 0.08 * variant["a"]
    parts = [block((0, 0, h), (h * 0.93, h * 0.93, h * 0.96), BODY)]
    for z in (0.035, 2 * h - 0.035):
        parts += [
            block((0, 0, z), (h, h, 0.035), ACCENT),
        ]
    for sx in (1, -1):
        for sy in (1, -1):
            parts.append(block((sx * (h - 0.03), sy * (h - 0.03), h), (0.035, 0.035, h - 0.02), ACCENT))
    return parts


def fence(variant: Variant) -> list[Primitive]:
    """A fence: pointed pickets on two rails."""
    parts = [block((0, 0.0, z), (0.72, 0.02, 0.04), BODY) for z in (0.18, 0.42)]
    for x in np.linspace(-0.64, 0.64, 6):
        parts.append(block((x, -0.03, 0.29), (0.06, 0.02, 0.29), BODY))
    return parts


def bush(variant: Variant) -> list[Primitive]:
    """A bush: a few blobs of foliage close to the ground."""
    rng = np.random.default_rng(int(variant["a"] * 997))
    parts = [ellipsoid((0, 0, 0.22), (0.30, 0.30, 0.22), BODY, "foliage")]
    for k in range(5):
        turn = 2 * np.pi * (k + rng.uniform(-0.2, 0.2)) / 5
        size = rng.uniform(0.15, 0.2)
        spot = (0.2 * np.cos(turn), 0.2 * np.sin(turn), size + rng.uniform(0, 0.14))
        parts.append(ellipsoid(spot, (size,) * 3, BODY, "foliage"))
    return parts


def rock(variant: Variant) -> list[Primitive]:
    """A rock: three rough lumps."""
    tall = 0.15 + 0.05 * variant["a"]
    return [
        ellipsoid((0, 0, tall), (0.28, 0.22, tall), BODY, yaw=0.4),
        ellipsoid((0.16, 0.08, 0.11), (0.17, 0.15, 0.12), BODY, roll=0.4),
        ellipsoid((-0.15, -0.09, 0.12), (0.16, 0.18, 0.13), BODY, pitch=0.4),
    ]


def lamp_post(variant: Variant) -> list[Primitive]:
    """A lamp post: a foot, a pole, an arm and a lantern."""
    top = 1.5 + 0.3 * variant["a"]
    return [
        limb((0, 0, 0), (0, 0, 0.16), 0.10, 0.06, BODY),
        rod((0, 0, 0.1), (0, 0, top), 0.038, BODY),
        limb((0, 0, top + 0.02), (0, 0, top + 0.22), 0.09, 0.14, LAMP_GLASS),
        limb((0, 0, top + 0.22), (0, 0, top + 0.32), 0.17, 0.02, BODY),
    ]


def barrel(variant: Variant) -> list[Primitive]:
    """A barrel: a swelling drum with two hoops."""
    tall = 0.52 + 0.1 * variant["a"]
    middle = tall / 2
    return [
        limb((0, 0, 0), (0, 0, middle), 0.17, 0.21, BODY),
        limb((0, 0, middle), (0, 0, tall), 0.21, 0.17, BODY),
        rod((0, 0, 0.10), (0, 0, 0.15), 0.20, STEEL),
        rod((0, 0, tall - 0.15), (0, 0, tall - 0.10), 0.20, STEEL),
    ]


def mailbox(variant: Variant) -> list[Primitive]:
    """A mailbox: a box with a rounded top on a post, and a flag."""
    tall = 0.52 + 0.14 * variant["a"]
    return [
        block((0, 0, tall / 2), (0.045, 0.045, tall / 2), Paint((0.42, 0.28, 0.17), "plain", "wood")),
        block((0, 0, tall + 0.08), (0.24, 0.13, 0.09), BODY),
        rod((-0.24, 0, tall + 0.17), (0.24, 0, tall + 0.17), 0.13, BODY),
        block((0.05, 0.15, tall + 0.22), (0.02, 0.012, 0.14), ACCENT),
        block((0.10, 0.15, tall + 0.32), (0.07, 0.012, 0.045), ACCENT),
    ]
