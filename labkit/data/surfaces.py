"""What covers things: tileable noise, the six textures of objects, the six grounds, and the sky.

Everything works on arrays of points and returns linear RGB; patterns fade with the size of a pixel's
footprint, so that nothing shimmers near the horizon.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

GROUNDS = ("grass", "street", "snow", "sand", "water", "paving")
TEXTURES = ("striped", "checkered", "dotted", "spotted", "brick", "zigzag")
TILE = 512


def linear(rgb: object) -> Float[ndarray, "... 3"]:
    """Display values (0 to 1) as light."""
    return np.asarray(rgb, np.float32) ** np.float32(2.2)


@cache
def noise_tile(slope: float, seed: int) -> Float[ndarray, "T T"]:
    """A tileable noise picture of spectrum 1 / f^slope, its values spread evenly over [0, 1]."""
    rng = np.random.Generator(np.random.PCG64(seed))
    fy, fx = np.meshgrid(np.fft.fftfreq(TILE), np.fft.rfftfreq(TILE), indexing="ij")
    radius = np.hypot(fx, fy)
    radius[0, 0] = np.inf
    field = np.fft.irfft2(
        np.fft.rfft2(rng.standard_normal((TILE, TILE))) / np.maximum(radius, 0.006) ** slope
    )
    order = np.empty(TILE * TILE, np.float32)
    order[np.argsort(field.round(9).ravel(), kind="stable")] = np.linspace(
        0, 1, TILE * TILE, dtype=np.float32
    )
    return order.reshape(TILE, TILE)


def noise(u: ndarray, v: ndarray, scale: float, slope: float = 1.0, seed: int = 0) -> ndarray:
    """Noise in [0, 1] at points; one texel is ``scale`` / 512 wide."""
    k = np.float32(TILE / scale)
    return noise_tile(slope, seed)[(v * k).astype(np.int32) % TILE, (u * k).astype(np.int32) % TILE]


def _band(x: ndarray, edge: ndarray | float) -> ndarray:
    """1 where the fraction of x lies in [0, .5), 0 in [.5, 1), with edges ``edge`` wide."""
    f = np.abs((x % 1.0) * 2 - 1)
    return np.clip((f - 0.5) / np.maximum(edge, 1e-3) + 0.5, 0, 1)


def pattern(
    name: str, p: Float[ndarray, "P 3"], n: Float[ndarray, "P 3"], pixel: Float[ndarray, " P"]
) -> ndarray:
    """Share (0 to 1) of the second colour at object points ``p`` (in units of the object's radius) with
    object normals ``n``; ``pixel`` is the width of a pixel there."""
    if name == "plain":
        return np.zeros(len(p), np.float32)
    axis = np.abs(n).argmax(1)
    u = np.where(axis == 0, p[:, 1], p[:, 0])
    v = np.where(axis == 2, p[:, 1], p[:, 2])
    if name == "striped":
        return _band(p[:, 0] / 0.25 + 0.25 + 0.12 * np.sin(p[:, 2] * 5), pixel * 8)
    if name == "checkered":
        a, b = _band(u / 0.34, pixel * 6), _band(v / 0.34, pixel * 6)
        return a * b + (1 - a) * (1 - b)
    if name == "dotted":
        du, dv = (u / 0.26 + 0.5) % 1 - 0.5, (v / 0.26 + 0.5) % 1 - 0.5
        return np.clip((0.31 - np.hypot(du, dv)) / np.maximum(pixel * 5, 1e-3) + 0.5, 0, 1)
    if name == "spotted":
        x, y, z = (p * np.float32(1.9)).T
        wave = np.sin(x * 5.3 + 1.7 * np.sin(z * 3.1)) + np.sin(z * 4.7 + 2.1 * np.sin(y * 3.7))
        wave = wave + np.sin(y * 4.1 + 1.9 * np.sin(x * 2.9) + 1.0)
        return np.clip((wave - 0.45) / np.maximum(pixel * 15, 0.05) + 0.5, 0, 1)
    if name == "brick":
        row = np.floor(v / 0.15)
        across = np.abs(((u / 0.34 + 0.5 * (row % 2)) % 1) - 0.5) * 0.34
        up = np.abs((v / 0.15) % 1 - 0.5) * 0.15
        joint = np.maximum(across - 0.17 + 0.02, up - 0.075 + 0.02)
        return np.clip(joint / np.maximum(pixel, 0.01) + 0.5, 0, 1) * 0.9
    return _band(v / 0.26 + 0.45 * np.abs((u / 0.3) % 1 * 2 - 1), pixel * 7)


def ground(
    name: str, u: Float[ndarray, " P"], v: Float[ndarray, " P"], pixel: Float[ndarray, " P"], seed: int
) -> Float[ndarray, "P 3"]:
    """Albedo of the ground at points (in units of the main object's radius), ``pixel`` wide on the ground."""
    rng = np.random.Generator(np.random.PCG64(seed))
    turn, du, dv, tint = rng.uniform(0, 6.28), *rng.uniform(0, 90, 2), rng.uniform(-1, 1)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    a, b = c * u - s * v, s * u + c * v
    fine_fade = 1 / (1 + (pixel / 0.035) ** 2)
    mid_fade = 1 / (1 + (pixel / 0.16) ** 2)
    broad = noise(a + du, b + dv, 14.0, 1.6)[:, None]
    mid = ((noise(a + dv, b + du, 5.0, 1.1, 1) - 0.5) * mid_fade)[:, None]
    fine = ((noise(a + du, b - dv, 3.6, 0.25, 2) - 0.5) * fine_fade)[:, None]
    if name == "grass":
        green, dry = linear((0.27 + 0.03 * tint, 0.41, 0.19)), linear((0.45, 0.48, 0.27))
        colour = green + (dry - green) * np.clip(broad * 0.9 - 0.2 + mid * 0.5, 0, 1)
        return colour * (1 + 1.0 * fine + 0.6 * mid)
    if name == "snow":
        hollow, bright = linear((0.70, 0.76, 0.84)), linear((0.87, 0.87, 0.87))
        return (hollow + (bright - hollow) * np.clip(broad * 0.8 + 0.25 + mid, 0, 1)) * (1 + 0.10 * fine)
    if name == "sand":
        dune = (
            np.sin(a * 9 + 5 * noise(a, b, 9.0, 1.6, 3) + 1.2 * np.sin(b * 1.1))[:, None] * mid_fade[:, None]
        )
        base = linear((0.80 + 0.02 * tint, 0.69, 0.50))
        return base * (0.93 + 0.16 * (broad - 0.5) + 0.11 * dune + 0.35 * fine + 0.15 * mid)
    if name == "water":
        return linear((0.08, 0.27 + 0.04 * tint, 0.36)) * (0.85 + 0.4 * (broad - 0.5) + 0.5 * mid)
    stone = linear((0.60, 0.53 + 0.02 * tint, 0.47 + 0.03 * tint))
    tu, tv = a / 0.62, b / 0.62 + 0.5 * (np.floor(a / 0.62) % 2)
    joint = np.minimum(np.minimum(tu % 1, 1 - tu % 1), np.minimum(tv % 1, 1 - tv % 1)) * 0.62
    edge = np.clip((0.022 - joint) / np.maximum(pixel, 0.004) + 0.5, 0, 1) * np.clip(0.06 / pixel, 0, 1)
    hue = noise(np.floor(tu) * 0.37, np.floor(tv) * 0.61, 3.6, 0.25, 2)[:, None] - 0.5
    slabs = (
        stone * (0.95 + 0.28 * hue * mid_fade[:, None] + 0.4 * fine + 0.3 * mid) * (1 - 0.55 * edge[:, None])
    )
    if name == "paving":
        return slabs
    asphalt = linear((0.34, 0.345, 0.36)) * (1 + 0.75 * fine + 0.4 * mid + 0.2 * (broad - 0.5))
    dash = _band(a / 1.5, pixel * 2) * np.clip((0.06 - np.abs(b)) / np.maximum(pixel, 0.01) + 0.5, 0, 1)
    line = np.clip((0.05 - np.abs(np.abs(b) - 1.75)) / np.maximum(pixel, 0.01) + 0.5, 0, 1)
    mark = (np.maximum(dash, line) * np.clip(0.09 / pixel, 0, 1) * 0.9)[:, None]
    road = asphalt * (1 - mark) + linear((0.82, 0.82, 0.79)) * mark
    walk = np.clip((np.abs(b) - 2.0) / np.maximum(pixel, 0.01) + 0.5, 0, 1)[:, None]
    kerb = np.clip((0.07 - np.abs(np.abs(b) - 2.03)) / np.maximum(pixel, 0.01) + 0.5, 0, 1)[:, None]
    grey = linear((0.62, 0.62, 0.61))
    pavement = slabs.mean(1, keepdims=True) / stone.mean() * grey
    return (road * (1 - walk) + pavement * walk) * (1 - 0.35 * kerb)


def sky_gradient(height: Float[ndarray, " P"], weather: str, warmth: float) -> Float[ndarray, "P 3"]:
    """The light of the empty sky towards directions with z component ``height``."""
    h = np.clip(height, 0, 1)[:, None]
    if weather == "sunny":
        low = linear((0.80 + 0.10 * warmth, 0.86 - 0.02 * warmth, 0.92 - 0.12 * warmth))
        high = linear((0.20, 0.42 - 0.02 * warmth, 0.74))
        return low + (high - low) * (1 - (1 - h) ** 3)
    low = linear((0.74, 0.76, 0.78 - 0.03 * warmth))
    high = linear((0.55, 0.58, 0.62))
    return low + (high - low) * (1 - (1 - h) ** 2)


def backdrop(
    direction: Float[ndarray, "3 P"], weather: str, warmth: float, seed: int
) -> Float[ndarray, "P 3"]:
    """Sky with clouds and two painted rows of hills, towards unit directions that miss the ground."""
    rng = np.random.Generator(np.random.PCG64(seed + 1))
    shift, cover, rise = rng.uniform(0, 60, 4), rng.uniform(0.45, 0.7), rng.uniform(0.7, 1.3)
    x, y, z = direction
    sky = sky_gradient(z, weather, warmth)
    lift = 1 / np.maximum(z + 0.12, 0.05)
    puff = noise(x * lift + shift[0], y * lift + shift[1], 9.0, 1.7, 4)
    wisp = noise(x * lift + shift[1], y * lift + shift[0], 5.0, 1.2, 5)
    cloud = puff * 0.75 + wisp * 0.25
    if weather == "sunny":
        mask = np.clip((cloud - cover) * 5, 0, 1)[:, None] * 0.9
        white = linear((0.97, 0.96 - 0.03 * warmth, 0.95 - 0.08 * warmth)) * (0.82 + 0.25 * cloud[:, None])
        sky = sky * (1 - mask) + white * mask
    else:
        sky = sky * (0.72 + 0.5 * cloud[:, None])
    bearing = np.arctan2(y, x)
    haze = sky_gradient(np.zeros(1, np.float32), weather, warmth)
    for layer, (top, tone, far) in enumerate(
        (((0.11), (0.34, 0.45, 0.44), 0.62), ((0.055), (0.24, 0.34, 0.22), 0.38))
    ):
        ridge = noise(bearing * 1.3 + shift[2 + layer], np.full_like(bearing, shift[layer]), 6.0, 1.8, 6)
        trees = noise(bearing * 2.0 + shift[layer], np.full_like(bearing, 3.0 + layer), 4.0, 0.6, 7)
        limit = rise * top * (0.35 + 0.9 * ridge) + 0.012 * (layer + 0.5) * trees
        colour = linear(tone) * (0.8 + 0.4 * trees[:, None]) * (1.0 if weather == "sunny" else 0.85)
        colour = colour * (1 - far) + haze * far
        mask = np.clip((limit - z) / 0.012 + 0.5, 0, 1)[:, None]
        sky = sky * (1 - mask) + colour * mask
    return sky


BASIC_COLORS = (
    "black",
    "white",
    "grey",
    "red",
    "green",
    "yellow",
    "blue",
    "brown",
    "purple",
    "pink",
    "orange",
)
PALETTE: dict[str, tuple[float, float, float]] = {
    "black": (0.15, 0.15, 0.16),
    "white": (0.92, 0.92, 0.90),
    "grey": (0.55, 0.56, 0.57),
    "red": (0.80, 0.10, 0.09),
    "green": (0.13, 0.52, 0.20),
    "yellow": (0.95, 0.80, 0.10),
    "blue": (0.10, 0.28, 0.72),
    "brown": (0.45, 0.27, 0.14),
    "purple": (0.46, 0.17, 0.60),
    "pink": (0.93, 0.55, 0.68),
    "orange": (0.94, 0.47, 0.06),
}


@cache
def _color_table() -> Int[ndarray, "32 32 32"]:
    """The basic colour term (1 to 11) of each of 32 x 32 x 32 display colours."""
    import colorsys

    table = np.zeros((32, 32, 32), np.int8)
    for r, g, b in np.ndindex(32, 32, 32):
        hue, saturation, value = colorsys.rgb_to_hsv(*((np.array([r, g, b]) + 0.5) / 32))
        chroma, degrees = saturation * value, hue * 360
        if value < 0.16 or (chroma < 0.07 and value < 0.24):
            term = "black"
        elif chroma < 0.10 or saturation < 0.13:
            term = "white" if value > 0.78 else "grey" if value > 0.24 else "black"
        elif degrees < 14 or degrees >= 345:
            term = "pink" if saturation < 0.58 and value > 0.6 else "brown" if value < 0.30 else "red"
        elif degrees < 44:
            dull = value < 0.62 or saturation < 0.5
            term = "brown" if dull else "orange"
        elif degrees < 68:
            term = "yellow" if value > 0.5 else "brown" if degrees < 54 else "green"
        elif degrees < 168:
            term = "green"
        elif degrees < 258:
            term = "blue"
        elif degrees < 300:
            term = "purple"
        else:
            term = "pink" if value > 0.66 and (saturation < 0.62 or degrees > 325) else "purple"
        table[r, g, b] = BASIC_COLORS.index(term) + 1
    return table


def color_terms(picture: Float[ndarray, "H W 3"]) -> Int[ndarray, "H W"]:
    """The basic colour term of each pixel, 1 to 11 in the order of ``BASIC_COLORS``, judged as displayed."""
    r, g, b = np.clip(picture * 32, 0, 31).astype(np.int8).transpose(2, 0, 1)
    return _color_table()[r, g, b].astype(np.int64)
