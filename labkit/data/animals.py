"""The five animals: horse, zebra, cow, sheepdog and wolf, on tapered legs with hip, knee and foot."""

from __future__ import annotations

import numpy as np

from labkit.data.render import Paint, Primitive
from labkit.data.shapes import BODY, Point, ellipsoid, limb

Variant = dict[str, float]
PALE = Paint((0.86, 0.84, 0.79), "plain", "body")
PALE_FUR = Paint((0.70, 0.68, 0.63), "plain", "wool")
SADDLE = Paint((0.19, 0.18, 0.175), "plain", "wool")
RUG = Paint("accent", "body", "wool")
EAR = Paint((0.24, 0.225, 0.22), "plain", "wool")
PINK = Paint((0.83, 0.56, 0.54))
HORN = Paint((0.80, 0.74, 0.60))
HOOF = Paint((0.16, 0.14, 0.13))
EYE = Paint((0.11, 0.105, 0.10), "plain", "glass")
WOOL = Paint("body", "body", "wool")
WHITE_WOOL = Paint((0.88, 0.87, 0.84), "plain", "wool")
HAIR = {True: Paint((0.14, 0.115, 0.10), "plain", "wool"), False: Paint((0.80, 0.72, 0.55), "plain", "wool")}


def _leg(hip: Point, knee: Point, foot: Point, radii: Point, upper: Paint, lower: Paint) -> list[Primitive]:
    """Round hip, tapered thigh and shank; the foot itself is added apart."""
    top = np.asarray(knee) + 0.12 * (np.asarray(knee) - np.asarray(foot))
    return [
        ellipsoid(hip, (radii[0], radii[0] * 0.8, radii[0]), upper, "leg"),
        limb(hip, knee, radii[0], radii[1], upper, "leg", flat=0.8),
        limb(top, foot, radii[1] * 0.9, radii[2], lower, "leg"),
    ]


def _hoof(foot: Point, size: float) -> Primitive:
    x, y, z = foot
    return limb((x + size * 0.25, y, 0), (x, y, z + 0.03), size, size * 0.68, HOOF, "leg")


def _pair(
    center: Point, radii: Point, paint: Paint, part: str, *, roll: float = 0, pitch: float = 0
) -> list[Primitive]:
    """The same ellipsoid on the left and, mirrored, on the right."""
    x, y, z = center
    return [ellipsoid((x, s * y, z), radii, paint, part, roll=s * roll, pitch=pitch) for s in (1, -1)]


def _spikes(base: Point, tip: Point, radius: float, paint: Paint, flat: float = 1.0) -> list[Primitive]:
    """A pointed ear or horn on the left and, mirrored, on the right."""
    return [
        limb(
            (base[0], s * base[1], base[2]),
            (tip[0], s * tip[1], tip[2]),
            radius,
            radius * 0.08,
            paint,
            "head",
            flat=flat,
        )
        for s in (1, -1)
    ]


def _equine(variant: Variant, coat: Paint, zebra: bool) -> list[Primitive]:
    stride, fat = 0.13 * (2 * variant["a"] - 1), 0.94 + 0.12 * variant["b"]
    drop = -0.05 + (0.16 if zebra else 0.2) * variant["c"]
    hair = Paint((0.14, 0.13, 0.13), "plain", "wool") if zebra else HAIR[variant["b"] < 0.6]
    muzzle = Paint((0.15, 0.14, 0.14)) if zebra else coat
    poll = np.array([0.66 + 0.3 * drop, 0, 1.36 - drop])
    if zebra:
        poll = poll + (-0.03, 0, -0.06)
    nose = poll + (0.30, 0, -0.27)
    withers, root = np.array([0.27, 0, 1.0]), np.array([-0.6, 0, 1.0])
    parts = [
        ellipsoid((-0.02, 0, 0.89), (0.52, 0.225 * fat, 0.235 * fat), coat, "torso"),
        ellipsoid((0.28, 0, 0.90), (0.27, 0.21 * fat, 0.27), coat, "torso"),
        ellipsoid((-0.36, 0, 0.93), (0.29, 0.225 * fat, 0.255), coat, "torso"),
        limb((0.31, 0, 0.92), poll + (0.01, 0, -0.05), 0.23, 0.115, coat, "torso", flat=0.68),
        ellipsoid(poll + (0.05, 0, -0.04), (0.15, 0.098, 0.12), coat, "head", pitch=-0.7),
        limb(poll + (0.05, 0, -0.04), nose, 0.115, 0.072, coat, "head", flat=0.8),
        ellipsoid(nose + (-0.005, 0, 0.005), (0.085, 0.07, 0.085), muzzle, "head"),
        *_pair(poll + (0.12, 0.082, -0.055), (0.026,) * 3, EYE, "head"),
    ]
    ear = 0.15 if zebra else 0.14
    parts += _spikes(poll + (0.0, 0.05, 0.04), poll + (0.0, 0.085, 0.04 + ear), 0.05, coat)
    crest = (poll + withers) / 2
    along = poll - withers
    reach, rise = float(np.linalg.norm(along)) / 2, float(np.arctan2(along[2], along[0]))
    if zebra:
        stripe = Paint(coat.color, coat.texture, coat.material)
        parts += [
            ellipsoid(crest + (-0.05, 0, 0.075), (reach * 1.12, 0.035, 0.10), stripe, "torso", pitch=rise),
            ellipsoid(crest + (-0.085, 0, 0.105), (reach * 1.02, 0.028, 0.085), hair, "torso", pitch=rise),
            limb(root, root + (-0.10, 0, -0.36), 0.035, 0.025, coat, "tail"),
            limb(root + (-0.095, 0, -0.32), root + (-0.11, 0, -0.56), 0.045, 0.03, hair, "tail"),
        ]
    else:
        # The object's own texture is on a rug, so that a striped horse is no zebra.
        parts += [
            ellipsoid((-0.05, 0, 0.90), (0.28, 0.25 * fat, 0.255), RUG, "torso"),
            ellipsoid((poll + nose) / 2 + (0.075, 0, 0.045), (0.17, 0.03, 0.03), PALE, "head", pitch=-0.75),
            ellipsoid(crest + (-0.05, 0.02, 0.03), (reach * 1.15, 0.095, 0.115), hair, "torso", pitch=rise),
            ellipsoid(poll + (0.06, 0, 0.05), (0.09, 0.045, 0.045), hair, "head", pitch=-0.6),
            limb(root + (0.05, 0, 0.04), root + (-0.12, 0, -0.12), 0.06, 0.085, hair, "tail"),
            ellipsoid(root + (-0.13, 0, -0.33), (0.085, 0.075, 0.30), hair, "tail", pitch=-0.05),
        ]
    for side in (1, -1):
        step = stride * side
        fore, hind = 0.30 + step, -0.40 - step
        parts += _leg(
            (0.31, side * 0.115, 0.88),
            (0.31 + step * 0.7, side * 0.115, 0.42),
            (fore, side * 0.115, 0.09),
            (0.125, 0.062, 0.045),
            coat,
            coat,
        )
        parts += _leg(
            (-0.37, side * 0.115, 0.90),
            (-0.49 - step * 0.6, side * 0.12, 0.45),
            (hind, side * 0.12, 0.09),
            (0.185, 0.066, 0.045),
            coat,
            coat,
        )
        parts += [_hoof((fore, side * 0.115, 0.08), 0.075), _hoof((hind, side * 0.12, 0.08), 0.075)]
    return parts


def horse(variant: Variant) -> list[Primitive]:
    """A horse: long neck with a mane, long face, tail of hair, long legs on hooves."""
    return _equine(variant, Paint("body", "plain", "body"), zebra=False)


def zebra(variant: Variant) -> list[Primitive]:
    """A zebra: striped whatever the object's own texture, with an upright mane and a dark muzzle."""
    return _equine(variant, Paint("body", "striped", "body"), zebra=True)


def cow(variant: Variant) -> list[Primitive]:
    """A cow: deep barrel on short legs, low broad head with horns, pink muzzle and udder, thin tail."""
    stride, fat, drop = 0.08 * (2 * variant["a"] - 1), 0.95 + 0.1 * variant["b"], 0.22 * variant["c"]
    coat = Paint("body", "spotted", "body")
    head = np.array([0.74, 0, 0.98 - drop])
    parts = [
        ellipsoid((-0.02, 0, 0.74), (0.60, 0.31 * fat, 0.32), coat, "torso"),
        ellipsoid((-0.40, 0, 0.80), (0.26, 0.28 * fat, 0.27), coat, "torso"),
        ellipsoid((0.34, 0, 0.77), (0.27, 0.27 * fat, 0.30), coat, "torso"),
        limb((0.40, 0, 0.80), head + (-0.06, 0, -0.02), 0.25, 0.15, coat, "torso", flat=0.75),
        ellipsoid(head, (0.17, 0.145, 0.16), coat, "head"),
        limb(head + (0.03, 0, -0.02), head + (0.22, 0, -0.17), 0.14, 0.105, coat, "head", flat=1.0),
        ellipsoid(head + (0.23, 0, -0.18), (0.09, 0.135, 0.095), PINK, "head"),
        *_pair(head + (0.115, 0.11, 0.02), (0.032,) * 3, EYE, "head"),
        *_pair(head + (-0.04, 0.23, 0.03), (0.05, 0.11, 0.06), coat, "head", roll=-0.25),
        ellipsoid((-0.28, 0, 0.45), (0.17, 0.15, 0.13), PINK, "torso"),
        limb((-0.63, 0, 0.92), (-0.70, 0, 0.45), 0.035, 0.025, coat, "tail"),
        ellipsoid((-0.70, 0, 0.38), (0.055, 0.055, 0.12), HAIR[True], "tail"),
    ]
    for side in (1, -1):
        root, bend = head + (-0.03, side * 0.09, 0.12), head + (-0.02, side * 0.24, 0.19)
        parts += [
            limb(root, bend, 0.045, 0.036, HORN, "head"),
            limb(bend, bend + (0.04, side * 0.03, 0.13), 0.036, 0.006, HORN, "head"),
        ]
        step = stride * side
        fore, hind = 0.36 + step, -0.42 - step
        parts += _leg(
            (0.34, side * 0.17, 0.66),
            (0.35 + step * 0.6, side * 0.17, 0.32),
            (fore, side * 0.17, 0.08),
            (0.135, 0.078, 0.06),
            coat,
            coat,
        )
        parts += _leg(
            (-0.42, side * 0.17, 0.72),
            (-0.47 - step * 0.6, side * 0.17, 0.34),
            (hind, side * 0.17, 0.08),
            (0.18, 0.08, 0.06),
            coat,
            coat,
        )
        parts += [_hoof((fore, side * 0.17, 0.07), 0.085), _hoof((hind, side * 0.17, 0.07), 0.085)]
    return parts


def sheepdog(variant: Variant) -> list[Primitive]:
    """An Old English sheepdog: a ball of tufts on short legs, white head and chest, fringe over the eyes."""
    stride, fat, drop = 0.06 * (2 * variant["a"] - 1), 0.94 + 0.12 * variant["b"], 0.10 * variant["c"]
    head = np.array([0.38, 0, 0.76 - drop])
    parts = [
        ellipsoid((-0.10, 0, 0.49), (0.40, 0.25 * fat, 0.24), WOOL, "torso"),
        ellipsoid((-0.34, 0, 0.50), (0.22, 0.26 * fat, 0.26), WOOL, "torso"),
        ellipsoid((0.20, 0, 0.49), (0.21, 0.235 * fat, 0.28), WHITE_WOOL, "torso"),
        ellipsoid((0.26, 0, 0.62), (0.19, 0.20, 0.22), WHITE_WOOL, "torso", pitch=0.6),
        ellipsoid(head, (0.20, 0.21, 0.20), WHITE_WOOL, "head"),
        ellipsoid(head + (0.15, 0, -0.07), (0.16, 0.15, 0.12), WHITE_WOOL, "head"),
        ellipsoid(head + (0.10, 0.055, 0.10), (0.15, 0.11, 0.105), WHITE_WOOL, "head", pitch=-0.6),
        ellipsoid(head + (0.11, -0.065, 0.09), (0.15, 0.11, 0.105), WHITE_WOOL, "head", pitch=-0.6),
        ellipsoid(head + (0.31, 0, -0.04), (0.055, 0.07, 0.055), EYE, "head"),
        ellipsoid(head + (0.255, 0, -0.185), (0.065, 0.06, 0.065), PINK, "head"),
        *_pair(head + (-0.03, 0.20, -0.06), (0.11, 0.06, 0.20), EAR, "head", roll=0.15),
        limb((-0.46, 0, 0.54), (-0.66, 0, 0.70), 0.10, 0.115, WOOL, "tail"),
        ellipsoid((-0.70, 0, 0.75), (0.21, 0.10, 0.11), WHITE_WOOL, "tail", pitch=-0.75),
        ellipsoid((-0.12, 0.03, 0.66), (0.20, 0.17, 0.10), WOOL, "torso", pitch=-0.15),
    ]
    # Locks of hair that hang from the flanks.
    for x, z, long in ((-0.44, 0.42, 0.20), (-0.27, 0.36, 0.21), (-0.08, 0.35, 0.19), (0.06, 0.40, 0.20)):
        parts += _pair((x, 0.19 * fat, z), (0.115, 0.085, long), WOOL, "torso", roll=-0.2)
    for side in (1, -1):
        for x, wool, step in ((0.22, WHITE_WOOL, stride * side), (-0.34, WOOL, -stride * side)):
            foot = (x + step, side * 0.145, 0.05)
            parts += [
                ellipsoid((x + step / 2, side * 0.14, 0.28), (0.125, 0.105, 0.22), wool, "leg"),
                limb((x + step / 2, side * 0.14, 0.26), foot, 0.11, 0.115, wool, "leg"),
                ellipsoid((foot[0] + 0.04, foot[1], 0.065), (0.13, 0.105, 0.065), WHITE_WOOL, "leg"),
            ]
    return parts


def wolf(variant: Variant) -> list[Primitive]:
    """A wolf: lean, dark back over pale legs, ruff, long muzzle, pointed ears, straight low bushy tail."""
    stride, fat, drop = 0.10 * (2 * variant["a"] - 1), 0.94 + 0.12 * variant["b"], 0.14 * variant["c"]
    head = np.array([0.50, 0, 0.81 - drop])
    fur, ruff = BODY, head + (-0.15, 0, -0.13)
    face = Paint("body", "plain", "body")
    parts = [
        ellipsoid((-0.02, 0, 0.57), (0.42, 0.13 * fat, 0.145), fur, "torso"),
        ellipsoid((0.20, 0, 0.56), (0.22, 0.155 * fat, 0.19), fur, "torso"),
        ellipsoid((-0.06, 0, 0.655), (0.40, 0.105 * fat, 0.085), SADDLE, "torso", pitch=0.04),
        ellipsoid((0.02, 0, 0.48), (0.30, 0.10, 0.10), PALE_FUR, "torso", pitch=-0.1),
        ellipsoid(ruff, (0.24, 0.165, 0.185), fur, "torso", pitch=0.65),
        ellipsoid(ruff + (0.05, 0, -0.045), (0.12, 0.12, 0.20), PALE_FUR, "torso", pitch=0.45),
        ellipsoid(ruff + (-0.09, 0, 0.085), (0.19, 0.12, 0.12), SADDLE, "torso", pitch=0.6),
        ellipsoid(head, (0.135, 0.14, 0.125), face, "head"),
        limb(head + (0.05, 0, -0.02), head + (0.29, 0, -0.065), 0.10, 0.06, face, "head"),
        limb(head + (0.05, 0, -0.07), head + (0.27, 0, -0.105), 0.08, 0.05, PALE_FUR, "head"),
        ellipsoid(head + (0.29, 0, -0.045), (0.036, 0.042, 0.034), EYE, "head"),
        *_pair(head + (0.105, 0.065, 0.035), (0.028,) * 3, EYE, "head"),
        *_spikes(head + (-0.04, 0.08, 0.06), head + (-0.04, 0.115, 0.23), 0.078, face),
        *_spikes(head + (0.02, 0.04, -0.04), head + (-0.10, 0.24, -0.15), 0.12, face),
        limb((-0.38, 0, 0.62), (-0.58, 0, 0.40), 0.05, 0.09, face, "tail"),
        ellipsoid((-0.60, 0, 0.36), (0.105, 0.10, 0.19), face, "tail", pitch=-0.45),
        limb((-0.61, 0, 0.32), (-0.70, 0, 0.13), 0.085, 0.015, SADDLE, "tail"),
    ]
    for side in (1, -1):
        step = stride * side
        fore, hind = 0.24 + step, -0.34 - step
        parts += _leg(
            (0.20, side * 0.10, 0.54),
            (0.20 + step * 0.6, side * 0.10, 0.28),
            (fore, side * 0.10, 0.05),
            (0.095, 0.05, 0.042),
            fur,
            PALE_FUR,
        )
        parts += _leg(
            (-0.28, side * 0.09, 0.56),
            (-0.40 - step * 0.6, side * 0.10, 0.29),
            (hind, side * 0.10, 0.05),
            (0.13, 0.05, 0.042),
            fur,
            PALE_FUR,
        )
        parts += [
            ellipsoid((x + 0.035, side * 0.10, 0.04), (0.075, 0.055, 0.04), PALE_FUR, "leg")
            for x in (fore, hind)
        ]
    return parts
