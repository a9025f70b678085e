"""From a scene's description to its picture and its exact labels."""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from labkit.data import surfaces
from labkit.data.labels import Labels, codes, geometry, label
from labkit.data.render import Camera, Solid, cast, look, place, shade_fraction, sun_camera, surface
from labkit.data.world import SIZE, Scene, Thing, figure, frame, scale

SUPERSAMPLING = 2
_SUN_MAP = 288
_REACH = 4.6


def solids(scene: Scene) -> list[Solid]:
    """All primitives of the scene in the world, object by object."""
    return [
        solid
        for index, thing in enumerate(scene.things)
        for solid in place(figure(thing.kind, thing.variant)[0], frame(thing), index)
    ]


def camera(scene: Scene, size: int = SIZE * SUPERSAMPLING) -> Camera:
    """The scene's camera with ``size`` x ``size`` rays (by default two by two a pixel)."""
    return look(scene.eye, scene.yaw, scene.pitch, scene.focal, size)


def _resolve(role: str | tuple[float, float, float], thing: Thing) -> Float[ndarray, " 3"]:
    colour = (
        {"body": thing.body, "accent": thing.accent, "second": thing.second}[role]
        if isinstance(role, str)
        else role
    )
    return surfaces.linear(colour)


def _contact(scene: Scene, x: ndarray, y: ndarray) -> ndarray:
    """How much of the sky's light reaches the ground beside the objects (ambient occlusion), 0 to 1."""
    open_sky = np.ones(len(x), np.float32)
    for thing in scene.things:
        hx, hy, _ = np.diff(figure(thing.kind, thing.variant)[1], axis=0)[0] / 2
        k = scale(thing)
        c, s = np.float32(np.cos(thing.yaw)), np.float32(np.sin(thing.yaw))
        dx, dy = x - np.float32(thing.x), y - np.float32(thing.y)
        a, b = np.abs(c * dx + s * dy) - 0.75 * hx * k, np.abs(c * dy - s * dx) - 0.75 * hy * k
        outside = np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0)
        soft = 0.30 * thing.size
        open_sky *= 1 - 0.62 * np.clip((soft - outside) / (1.6 * soft), 0, 1) ** 1.5
    return open_sky


def _tone(light: Float[ndarray, "... 3"]) -> Float[ndarray, "... 3"]:
    """A film-like curve from light to display values."""
    x = light * np.float32(0.92)
    return np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1) ** (1 / 2.2)


# How much paint, metal, wood, wool, glass mirror straight on and at the rim; sharpness, strength of glints.
_GLOSS = np.array([0.05, 0.34, 0.03, 0.0, 0.12], np.float32)
_RIM = np.array([0.14, 0.35, 0.1, 0.05, 0.75], np.float32)
_POWER = np.array([40.0, 90.0, 24.0, 8.0, 160.0], np.float32)
_STRENGTH = np.array([0.30, 1.3, 0.16, 0.0, 1.6], np.float32)


class _Light(NamedTuple):
    sun: ndarray
    sun_colour: ndarray
    sky: ndarray
    bounce: ndarray


def _light(scene: Scene, sun: ndarray) -> _Light:
    w, level = scene.warmth, scene.exposure
    if scene.weather == "sunny":
        colour = np.array([1.52 + 0.16 * w, 1.40, 1.22 - 0.28 * w], np.float32) * level
        sky = np.array([0.40, 0.47, 0.58], np.float32) * level
    else:
        colour = np.array([0.16, 0.16, 0.16], np.float32) * level
        sky = np.array([0.80 + 0.04 * w, 0.82, 0.85 - 0.05 * w], np.float32) * level
    # The same bounce over every ground, so that another ground leaves the objects' pixels as they are.
    ambient = surfaces.linear((0.50, 0.48, 0.44)) * (colour * max(sun[2], 0.2) * 0.45 + sky * 0.6)
    return _Light(sun.astype(np.float32), colour, sky, ambient.astype(np.float32))


def _shade_things(scene: Scene, cam: Camera, rays: ndarray, hits, placed, table, sun_map, light: _Light):
    """Light of all object subpixels, in the order of their flat positions, with their normals and uv."""
    flat = np.flatnonzero(hits.solid >= 0)
    order = np.argsort(hits.solid.ravel()[flat], kind="stable")
    flat = flat[order]
    index = hits.solid.ravel()[flat]
    depth = hits.depth.ravel()[flat]
    direction = rays.reshape(3, -1)[:, flat].T
    points = cam.eye.astype(np.float32) + direction * depth[:, None]
    count = len(flat)
    normal, local = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    local_normal = np.empty((count, 3), np.float32)
    first, second = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    material, texture = np.zeros(count, np.int8), np.zeros(count, np.int8)
    bounds = np.searchsorted(index, np.arange(len(placed) + 1))
    for k in np.unique(index):
        part, solid = slice(bounds[k], bounds[k + 1]), placed[k]
        thing, paint = scene.things[solid.thing], solid.primitive.paint
        _, normal[part] = surface(solid, points[part])
        turn = np.array(
            [[np.cos(thing.yaw), -np.sin(thing.yaw)], [np.sin(thing.yaw), np.cos(thing.yaw)]], np.float32
        )
        local[part] = points[part] - np.array([thing.x, thing.y, 0], np.float32)
        local[part, :2] = local[part, :2] @ turn
        local[part] /= np.float32(thing.size)
        local_normal[part] = normal[part]
        local_normal[part, :2] = normal[part, :2] @ turn
        first[part] = _resolve(paint.color, thing)
        second[part] = _resolve("second", thing)
        texture[part], material[part] = table[k]["texture"], table[k]["material"]
    pixel = depth * np.float32(1 / (SIZE * cam.focal) * 2)
    albedo = first
    for code, name in enumerate(surfaces.TEXTURES, 1):
        where = np.flatnonzero(texture == code)
        if len(where):
            share = surfaces.pattern(name, local[where], local_normal[where], pixel[where])[:, None]
            albedo[where] = first[where] * (1 - share) + second[where] * share
    grain = (
        surfaces.noise(local[:, 0] + 0.7 * local[:, 1], local[:, 2] + 0.4 * local[:, 1], 3.0, 0.6, 8) - 0.5
    )
    wood, wool = material == 2, material == 3
    rings = np.sin(local[:, 2] * 46 + 7 * grain + 5 * local[:, 1])
    albedo = (
        albedo
        * (1 + np.where(wood, 0.17 * rings + 0.25 * grain, np.where(wool, 0.65 * grain, 0.10 * grain)))[
            :, None
        ]
    )
    view = direction / np.sqrt(np.einsum("ij,ij->i", direction, direction))[:, None]
    facing = -np.einsum("ij,ij->i", normal, view)
    normal_z = normal[:, 2]
    towards = normal @ light.sun
    lit = np.ones(count, np.float32)
    if sun_map is not None:
        towards_sun = towards > 0.02
        lit[towards_sun] = shade_fraction(
            sun_map[0], sun_map[1], points[towards_sun] + normal[towards_sun] * 0.02
        )
    wrap = np.where(wool, np.clip((towards + 0.35) / 1.35, 0, 1), np.clip(towards, 0, 1))
    up = (0.5 + 0.5 * normal_z)[:, None]
    near_ground = np.clip(0.45 + 1.5 * points[:, 2], 0, 1)[:, None]
    ambient = (light.sky * up + light.bounce * (1 - up)) * near_ground
    colour = albedo * (ambient + light.sun_colour * (wrap * lit)[:, None])
    mirror = view + 2 * facing[:, None] * normal
    fresnel = np.clip(1 - facing, 0, 1) ** 4
    shine_sky = surfaces.sky_gradient(mirror[:, 2], scene.weather, scene.warmth)
    shine_ground = light.bounce * 1.2
    reflected = np.where(mirror[:, 2:] > 0, shine_sky * scene.exposure, shine_ground)
    glint = np.clip(mirror @ light.sun, 0, 1)
    gloss = _GLOSS[material] + _RIM[material] * fresnel
    power, strength = _POWER[material], _STRENGTH[material]
    sheen = glint**power * strength * lit * (0.25 if scene.weather == "overcast" else 1.0)
    tint = np.where(
        (material == 1)[:, None], 0.35 + 0.65 * albedo / (albedo.max(1, keepdims=True) + 1e-3), 1.0
    )
    colour = (
        colour * (1 - gloss * np.where(material == 1, 1.0, 0.6))[:, None] + reflected * tint * gloss[:, None]
    )
    colour = colour + light.sun_colour * 0.65 * sheen[:, None]
    uv = local[:, [0, 2]]
    return flat, colour, depth, normal, uv


def _background(scene: Scene, cam: Camera, sun_map, light: _Light):
    """Light, depth and ground coordinates of ground and sky, one value a pixel."""
    rays = cam.directions().reshape(3, -1)
    length = np.sqrt((rays**2).sum(0))
    unit = rays / length
    down = unit[2] < -0.004
    out = np.empty((rays.shape[1], 3), np.float32)
    depth = np.full(rays.shape[1], np.inf, np.float32)
    haze = surfaces.sky_gradient(np.zeros(1, np.float32), scene.weather, scene.warmth) * scene.exposure
    out[~down] = surfaces.backdrop(unit[:, ~down], scene.weather, scene.warmth, scene.key) * scene.exposure
    t = np.float32(-cam.eye[2]) / rays[2, down]
    x, y = (np.float32(cam.eye[k]) + t * rays[k, down] for k in (0, 1))
    grazing = -unit[2, down]
    pixel = t * np.float32(2 / (SIZE * cam.focal)) / np.sqrt(np.maximum(grazing, 0.02))
    albedo = np.minimum(surfaces.ground(scene.ground, x, y, pixel, scene.key), 0.74)
    near = (np.abs(x) < _REACH) & (np.abs(y) < _REACH)
    open_sky, lit = np.ones(len(t), np.float32), np.ones(len(t), np.float32)
    open_sky[near] = _contact(scene, x[near], y[near])
    if sun_map is not None:
        points = np.stack([x[near], y[near], np.full(near.sum(), 0.03, np.float32)], 1)
        lit[near] = shade_fraction(sun_map[0], sun_map[1], points)
    colour = albedo * (light.sky * open_sky[:, None] + light.sun_colour * (light.sun[2] * lit)[:, None])
    if scene.ground == "water":
        fade = 1 / (1 + (pixel / 0.12) ** 2)
        ripple = (surfaces.noise(x, y, 4.0, 1.3, 9) - 0.5) * fade
        wave = (surfaces.noise(y, x, 11.0, 1.6, 10) - 0.5) * (0.4 + 0.6 * fade)
        fresnel = 0.06 + 0.75 * np.clip(1 - grazing - 0.25 * ripple, 0, 1) ** 4
        mirror = np.clip(grazing + 0.5 * ripple + 0.35 * wave, 0.02, 1)
        reflected = surfaces.sky_gradient(mirror, scene.weather, scene.warmth) * scene.exposure
        glitter = np.clip(ripple * 1.6 + wave - 0.85, 0, 1) * (1.6 if scene.weather == "sunny" else 0.3)
        strength = (fresnel * (0.35 + 0.65 * open_sky) * (0.55 + 0.45 * lit))[:, None]
        colour = (
            colour * (1 - strength)
            + reflected * strength
            + glitter[:, None] * lit[:, None] * light.sun_colour * 0.5
        )
    fog = (1 - np.exp(-np.maximum(t * length[down] - 6, 0) / (40 if scene.weather == "sunny" else 26)))[
        :, None
    ]
    out[down] = colour * (1 - fog) + haze * fog * np.float32(0.92)
    depth[down] = t
    uv = np.zeros((rays.shape[1], 2), np.float32)
    uv[down] = np.stack([x, y], 1)
    return out, depth, uv


class Traced(NamedTuple):
    """A scene before it is developed. ``back``: display values of ground and sky, (2H * 2W, 3); ``flat``
    (n,): the subpixels that show an object, ``light`` (n, 3) what comes from there, ``depth``, ``normal`` and
    ``uv`` of these; ``winners`` (2H, 2W): the solid that each subpixel shows, -1 for none; ``placed``: the
    solids; ``ground``: depth and coordinates of the background."""

    back: Float[ndarray, "P 3"]
    flat: Int[ndarray, " n"]
    light: Float[ndarray, "n 3"]
    depth: Float[ndarray, " n"]
    normal: Float[ndarray, "n 3"]
    uv: Float[ndarray, "n 2"]
    winners: Int[ndarray, "S S"]
    placed: list[Solid]
    ground: tuple[ndarray, ndarray]


def trace(scene: Scene, placed: list[Solid] | None = None) -> Traced:
    """What light comes from each subpixel of a scene; ``placed``: other solids than those of its things."""
    fine, coarse = camera(scene), camera(scene, SIZE)
    placed = solids(scene) if placed is None else placed
    ca = np.cos(scene.sun_height)
    sun = np.array([np.cos(scene.sun_bearing) * ca, np.sin(scene.sun_bearing) * ca, np.sin(scene.sun_height)])
    light = _light(scene, sun)
    sun_map = None
    if scene.weather == "sunny":
        lamp = sun_camera(sun, (0, 0, 0.3), _REACH, _SUN_MAP)
        sun_map = lamp, cast(lamp, placed).depth
    rays = fine.directions()
    hits = cast(fine, placed, rays)
    back, back_depth, back_uv = _background(scene, coarse, sun_map, light)
    shown = np.repeat(np.repeat(_tone(back).reshape(SIZE, SIZE, 3), 2, 0), 2, 1).reshape(-1, 3)
    table = [codes(scene, solid) for solid in placed]
    found = _shade_things(scene, fine, rays, hits, placed, table, sun_map, light)
    flat, lit, depth, normal, uv = found
    return Traced(shown, flat, lit, depth, normal, uv, hits.solid, placed, (back_depth, back_uv))


def lens(scene: Scene) -> tuple[Float[ndarray, "H W 1"], Float[ndarray, "H W 1"]]:
    """What a camera adds: the factor that darkens its corners, and the grain of this scene's picture."""
    grid = camera(scene, SIZE).grid()
    grain = np.random.Generator(np.random.PCG64(scene.key + 2)).standard_normal((SIZE, SIZE, 1), np.float32)
    return (1 - 0.10 * (grid[:, None] ** 2 + grid[None, :] ** 2))[..., None], 0.008 * grain


def exposed(traced: Traced) -> Float[ndarray, "H W 3"]:
    """The display values of each pixel, the mean of its subpixels, as no lens and no grain changed them."""
    picture = traced.back.copy()
    picture[traced.flat] = _tone(np.maximum(traced.light, 0))
    rows = picture.reshape(SIZE, 2, SIZE, 2, 3)
    return (rows[:, 0, :, 0] + rows[:, 0, :, 1] + rows[:, 1, :, 0] + rows[:, 1, :, 1]) / 4


@overload
def render(scene: Scene, buffers: Literal[False] = False) -> Float[ndarray, "H W 3"]: ...


@overload
def render(scene: Scene, buffers: Literal[True]) -> tuple[Float[ndarray, "H W 3"], Labels]: ...


def render(
    scene: Scene, buffers: bool = False
) -> Float[ndarray, "H W 3"] | tuple[Float[ndarray, "H W 3"], Labels]:
    """Draw a scene: float32 (128, 128, 3) in [0, 1]; with ``buffers=True`` also its ``Labels``.

    Deterministic; two descriptions that differ in one thing give pictures that differ only where that thing,
    its shadow or its contact shadow is seen.
    """
    traced = trace(scene)
    corners, grain = lens(scene)
    shown = np.clip(exposed(traced) * corners + grain, 0, 1).astype(np.float32)
    for decal in scene.decals:
        shown = decal.paste(shown)
    if not buffers:
        return shown
    maps = label(scene, [codes(scene, solid) for solid in traced.placed], traced.winners, shown)
    things = traced.depth, traced.normal, traced.uv
    return shown, Labels(**maps, **geometry(traced.ground, traced.flat, things))
