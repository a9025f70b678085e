"""The five vehicles: fire engine, bus, car, sailboat and tank."""

from __future__ import annotations

import numpy as np

from labkit.data.render import Paint, Primitive
from labkit.data.shapes import (
    ACCENT,
    BODY,
    DARK,
    GLASS,
    STEEL,
    TYRE,
    WHITE,
    WOOD,
    block,
    ellipsoid,
    limb,
    rod,
    triangle,
)

Variant = dict[str, float]
LAMP = Paint((0.97, 0.93, 0.74), "plain", "glass")
REAR_LAMP = Paint((0.75, 0.10, 0.08), "plain", "glass")
BEACON = Paint((0.10, 0.30, 0.95), "plain", "glass")
SIGN = Paint((0.98, 0.70, 0.12))
LADDER = Paint((0.80, 0.81, 0.83), "plain", "metal")
HOSE = Paint((0.16, 0.15, 0.14))
RUBBER = Paint((0.15, 0.145, 0.14))


def _wheels(axles: tuple[float, ...], width: float, radius: float, thick: float) -> list[Primitive]:
    """Four tyres and, through each axle, a bright hub that shows on both sides."""
    parts = []
    for x in axles:
        for side in (1, -1):
            parts.append(
                rod((x, side * (width - thick), radius), (x, side * width, radius), radius, TYRE, "wheel")
            )
        parts.append(
            rod((x, -width - 0.012, radius), (x, width + 0.012, radius), radius * 0.55, STEEL, "wheel")
        )
    return parts


def _lamps(x: float, y: float, z: float, size: float, paint: Paint) -> list[Primitive]:
    return [block((x, side * y, z), (0.02, size * 1.25, size), paint) for side in (1, -1)]


def fire_engine(variant: Variant) -> list[Primitive]:
    """A fire engine: crew cab, silver lockers, blue beacons and a long ladder that overhangs the cab."""
    rise, tall = 0.05 + 0.25 * variant["a"], 0.06 * (2 * variant["b"] - 1)
    top, cab = 1.05 + tall, 1.08 + tall
    parts = [
        block((-0.42, 0, (0.30 + top) / 2), (0.96, 0.42, (top - 0.30) / 2), BODY, "hull"),
        block((0.95, 0, (0.26 + cab) / 2), (0.43, 0.43, (cab - 0.26) / 2), BODY, "hull"),
        block((1.0, 0, cab - 0.24), (0.335, 0.445, 0.155), GLASS, "window"),
        block((1.36, 0, cab - 0.25), (0.03, 0.37, 0.18), GLASS, "window"),
        block((0.92, 0, cab - 0.24), (0.045, 0.45, 0.17), BODY, "hull"),
        block((1.39, 0, 0.36), (0.07, 0.45, 0.10), WHITE),
        block((1.39, 0, 0.54), (0.02, 0.22, 0.055), DARK),
        *(rod((-1.30, s * 0.34, top), (-1.30, s * 0.34, top + 0.11), 0.065, BEACON) for s in (1, -1)),
        block((1.08, 0, 0.53), (0.18, 0.438, 0.26), BODY, "door"),
        block((0.95, 0, 0.62), (0.434, 0.442, 0.05), WHITE, "hull"),
        rod((-0.62, -0.455, 0.84), (-0.62, 0.455, 0.84), 0.14, HOSE),
        rod((-0.62, -0.47, 0.84), (-0.62, 0.47, 0.84), 0.06, REAR_LAMP),
        *_lamps(1.39, 0.34, 0.56, 0.055, LAMP),
        *_lamps(-1.39, 0.34, 0.42, 0.05, REAR_LAMP),
        block((-1.385, 0, 0.78), (0.015, 0.28, 0.20), STEEL, "door"),
        rod((0.98, -0.33, cab + 0.065), (0.98, 0.33, cab + 0.065), 0.085, BEACON),
        block((0.98, 0, cab + 0.06), (0.095, 0.12, 0.06), WHITE),
        *_wheels((0.82, -0.78), 0.44, 0.27, 0.18),
    ]
    for x, half, low in ((-1.20, 0.155, 0.40), (0.13, 0.34, 0.40), (-0.62, 0.33, 0.66)):
        middle, tall_half = (low + top - 0.08) / 2, (top - 0.08 - low) / 2
        parts.append(block((x, 0, middle), (half, 0.435, tall_half), STEEL, "door"))
    # The ladder rests on a turntable at the rear and rises forward over the cab.
    back, front = np.array([-1.30, 0, top + 0.12]), np.array([1.62, 0, top + 0.20 + rise])
    middle, reach = (back + front) / 2, float(np.linalg.norm(front - back)) / 2
    pitch = float(np.arctan2(front[2] - back[2], front[0] - back[0]))
    parts.append(rod((-0.85, 0, top), (-0.85, 0, top + 0.12), 0.24, DARK))
    for side in (1, -1):
        parts.append(
            block(middle + (0, side * 0.24, 0), (reach, 0.035, 0.065), LADDER, "ladder", pitch=pitch)
        )
    for k in range(7):
        spot = back + (front - back) * (0.03 + 0.94 * k / 6)
        parts.append(block(spot, (0.04, 0.23, 0.03), LADDER, "ladder", pitch=pitch))
    return parts


def bus(variant: Variant) -> list[Primitive]:
    """A city bus: a long box, a row of windows, a windscreen in two panes, a lit sign, a glazed door."""
    top, long = 1.12 + 0.14 * (variant["a"] - 0.5), 1.36 + 0.06 * (2 * variant["b"] - 1)
    sill, head = 0.62, top - 0.15
    parts = [
        block((0, 0, (0.20 + top) / 2), (long, 0.41, (top - 0.20) / 2), BODY, "hull"),
        block((0, 0, top + 0.01), (long - 0.06, 0.36, 0.045), ACCENT, "roof"),
        block((-0.30, 0, top + 0.07), (0.42, 0.22, 0.06), WHITE, "roof"),
        block((-0.02, 0, (sill + head) / 2), (long - 0.10, 0.42, (head - sill) / 2), GLASS, "window"),
        block((0, 0, 0.36), (long + 0.006, 0.416, 0.05), ACCENT, "hull"),
        block((long, 0, 0.70), (0.025, 0.365, 0.215), GLASS, "window"),
        block((long + 0.015, 0, 0.70), (0.02, 0.022, 0.225), BODY, "hull"),
        block((long, 0, top - 0.10), (0.03, 0.30, 0.07), DARK),
        block((long + 0.02, 0, top - 0.10), (0.02, 0.24, 0.042), SIGN),
        block((-long, 0, 0.80), (0.02, 0.30, 0.13), GLASS, "window"),
        block((long + 0.02, 0, 0.27), (0.04, 0.40, 0.05), DARK),
        *_lamps(long + 0.01, 0.31, 0.42, 0.055, LAMP),
        *_lamps(-long - 0.01, 0.32, 0.50, 0.075, REAR_LAMP),
        block((-long - 0.01, 0, 0.50), (0.02, 0.20, 0.07), DARK),
        block((-long - 0.01, 0, top - 0.10), (0.02, 0.17, 0.06), DARK),
        block((-long - 0.02, 0, top - 0.10), (0.02, 0.12, 0.035), SIGN),
        block((-long - 0.02, 0, 0.26), (0.04, 0.40, 0.05), DARK),
        block((long - 0.27, -0.40, 0.57), (0.195, 0.03, 0.33), WHITE, "door"),
        block((long - 0.362, -0.41, 0.59), (0.075, 0.03, 0.28), GLASS, "door"),
        block((long - 0.178, -0.41, 0.59), (0.075, 0.03, 0.28), GLASS, "door"),
        *_wheels((0.62, -0.80), 0.425, 0.22, 0.15),
    ]
    for x in np.linspace(-long + 0.52, long - 0.62, 5):
        parts.append(block((x, 0, (sill + head) / 2), (0.035, 0.424, (head - sill) / 2), BODY, "hull"))
    return parts


def car(variant: Variant) -> list[Primitive]:
    """A car: low rounded body, sloping windscreen and rear window under a painted roof."""
    tail, tall = -0.62 - 0.14 * variant["a"], 0.04 * (2 * variant["b"] - 1)
    waist, top = 0.46, 0.74 + tall
    middle, half = (waist + top) / 2, (top - waist) / 2
    front, back = 0.16, -0.34 - 0.10 * variant["c"]
    return [
        block((0, 0, 0.30), (0.66, 0.345, 0.15), BODY, "hull"),
        rod((0.62, -0.335, 0.30), (0.62, 0.335, 0.30), 0.15, BODY, "hull"),
        rod((-0.66, -0.335, 0.32), (-0.66, 0.335, 0.32), 0.135, BODY, "hull"),
        ellipsoid((0.42, 0, 0.395), (0.36, 0.33, 0.085), BODY, "hull"),
        ellipsoid((-0.56, 0, 0.405), (0.25, 0.33, 0.075), BODY, "hull"),
        block(((front + back) / 2, 0, middle), ((front - back) / 2, 0.30, half), GLASS, "window"),
        _slope(front, 0.47, waist, top, 0.295, GLASS),
        _slope(back, tail, waist, top, 0.295, GLASS),
        block(
            ((front + back) / 2 - 0.01, 0, top + 0.01),
            ((front - back) / 2 + 0.04, 0.285, 0.035),
            BODY,
            "roof",
        ),
        block(((front + back) / 2, 0, middle), (0.03, 0.304, half), BODY, "hull"),
        block((back, 0, middle), (0.04, 0.304, half), BODY, "hull"),
        block((0.77, 0, 0.23), (0.04, 0.34, 0.05), STEEL),
        block((-0.79, 0, 0.25), (0.035, 0.34, 0.05), STEEL),
        block((0.765, 0, 0.325), (0.02, 0.13, 0.035), DARK),
        *_lamps(0.755, 0.235, 0.34, 0.055, LAMP),
        *_lamps(-0.79, 0.25, 0.36, 0.045, REAR_LAMP),
        block((-0.815, 0, 0.25), (0.02, 0.11, 0.04), WHITE),
        block((0.125, 0, 0.335), (0.155, 0.353, 0.115), BODY, "door"),
        block((-0.21, 0, 0.335), (0.165, 0.353, 0.115), BODY, "door"),
        block((-0.06, 0, 0.385), (0.36, 0.357, 0.012), DARK, "door"),
        *_wheels((0.46, -0.46), 0.36, 0.165, 0.12),
    ]


def _slope(inner: float, outer: float, low: float, high: float, width: float, paint: Paint) -> Primitive:
    """A pane that leans: a right triangle, upright at `inner`, running down to `outer`, across the car."""
    a, b, tip = (inner, 0.0, low), (outer, 0.0, low), (inner, 0.0, high)
    return triangle(a, b, tip, 2 * width, paint, "window")


def sailboat(variant: Variant) -> list[Primitive]:
    """A sailboat: pointed hull, cabin, mast, and two sails swung out so that they show from every side."""
    swing, tall = 0.6 + 0.3 * variant["a"], 2.05 + 0.15 * variant["b"]
    side = 1 if variant["c"] < 0.5 else -1
    canvas = Paint((0.90, 0.89, 0.85), "plain", "wool")
    mast = np.array([0.14, 0, 0])
    away = np.array([-np.cos(swing), side * np.sin(swing), 0])
    lean = np.array([-0.03, 0, 0])
    clew, tack, peak = (
        mast + away * 0.92 + (0, 0, 0.56),
        mast + away * 0.05 + (0, 0, 0.54),
        mast + lean + (0, 0, tall),
    )
    belly = np.array([-np.sin(swing), -side * np.cos(swing), 0]) * -0.07
    bow = np.array([0.90, 0, 0.44])
    # The jib stands out on the other side, so that two sails show from the front and from the rear.
    jib = mast + (-0.05, -side * 0.40, 0.52)
    return [
        limb((0, 0, 0), (0, 0, 0.40), 0.62, 0.88, BODY, "hull", flat=0.36),
        limb((0, 0, 0), (0, 0, 0.13), 0.63, 0.715, ACCENT, "hull", flat=0.362),
        rod((0.0, 0, 0.38), (0.0, 0, 0.415), 0.83, WOOD, "hull", flat=0.35),
        limb((0.60, 0, 0.36), (1.0, 0, 0.43), 0.15, 0.02, BODY, "hull", flat=0.9),
        block((-0.26, 0, 0.47), (0.26, 0.16, 0.085), WHITE, "hull"),
        block((-0.26, 0, 0.475), (0.21, 0.168, 0.05), GLASS, "window"),
        rod(mast + (0, 0, 0.4), mast + lean + (0, 0, tall + 0.03), 0.035, WOOD),
        rod(mast + (0, 0, 0.54), clew, 0.028, WOOD),
        triangle(tack, clew, peak, 0.03, canvas, "sail"),
        triangle(tack + belly, clew - away * 0.1 + belly, tack * 0.45 + peak * 0.55, 0.03, ACCENT, "sail"),
        triangle(jib, bow, mast + lean + (0.05, 0, tall * 0.88), 0.03, Paint("body", "body", "wool"), "sail"),
        triangle(peak + (0, 0, 0.02), peak + (0, 0, 0.16), peak + away * 0.25 + (0, 0, 0.09), 0.02, ACCENT),
    ]


def tank(variant: Variant) -> list[Primitive]:
    """A tank: two tracks with road wheels, sloped hull, turret with hatch and a long gun."""
    lift, long = 0.14 * variant["a"], 1.10 + 0.25 * variant["b"]
    turn = 0.5 * (2 * variant["c"] - 1)
    ahead = np.array([np.cos(turn), np.sin(turn), 0])
    pivot = np.array([-0.08, 0, 0.74])
    mouth = pivot + ahead * (0.34 + long * 0.9) + (0, 0, lift)
    parts = [
        block((0, 0, 0.36), (0.80, 0.33, 0.22), BODY, "hull"),
        triangle((0.79, 0, 0.18), (0.79, 0, 0.56), (1.04, 0, 0.36), 0.66, BODY, "hull"),
        block((-0.02, 0, 0.525), (0.92, 0.52, 0.045), BODY, "hull"),
        limb(pivot + (0, 0, -0.18), pivot + (0, 0, 0.13), 0.45, 0.33, BODY, "hull", flat=0.88),
        rod(pivot + (-0.12, 0.08, 0.13), pivot + (-0.12, 0.08, 0.21), 0.15, BODY, "hull"),
        block(pivot + ahead * 0.38, (0.12, 0.17, 0.11), BODY, "hull", yaw=turn),
        rod(pivot + ahead * 0.34, mouth, 0.055, BODY, "hull"),
        rod(mouth - ahead * 0.10, mouth + ahead * 0.06, 0.085, DARK, "hull"),
        block(pivot - ahead * 0.40, (0.11, 0.25, 0.09), BODY, "hull", yaw=turn),
        *_lamps(0.91, 0.40, 0.55, 0.045, LAMP),
    ]
    for side in (1, -1):
        y0, y1 = side * 0.32, side * 0.53
        parts += [
            block((0, side * 0.425, 0.24), (0.70, 0.105, 0.24), RUBBER, "wheel"),
            rod((0.70, y0, 0.27), (0.70, y1, 0.27), 0.21, RUBBER, "wheel"),
            rod((-0.70, y0, 0.24), (-0.70, y1, 0.24), 0.24, RUBBER, "wheel"),
        ]
    for x in (-0.72, -0.36, 0.0, 0.36, 0.72):
        parts.append(rod((x, -0.545, 0.25), (x, 0.545, 0.25), 0.155, BODY, "wheel"))
    return parts
