"""What each pixel shows: the label maps and the geometric buffers that go with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from labkit.data.objects import CLASSES, CLUTTER, PARTS
from labkit.data.render import Solid
from labkit.data.surfaces import GROUNDS, TEXTURES, color_terms
from labkit.data.world import MATERIALS, SIZE, Scene

OBJECTS = (*CLASSES, *CLUTTER)


class Labels(NamedTuple):
    """What ``render`` returns beside the picture with ``buffers=True``, all of shape (128, 128).

    ``object``, ``part``, ``material``, ``texture``, ``color``, ``instance``, ``scene``: int64, 0 = none.
    ``depth``: distance along the camera's axis (inf for sky); ``normal``: (128, 128, 3) world normals;
    ``uv``: (128, 128, 2) object coordinates (x, z) in units of the object's radius, or ground coordinates.
    """

    object: Int[ndarray, "H W"]
    part: Int[ndarray, "H W"]
    material: Int[ndarray, "H W"]
    texture: Int[ndarray, "H W"]
    color: Int[ndarray, "H W"]
    instance: Int[ndarray, "H W"]
    scene: Int[ndarray, "H W"]
    depth: Float[ndarray, "H W"]
    normal: Float[ndarray, "H W 3"]
    uv: Float[ndarray, "H W 2"]


def codes(scene: Scene, solid: Solid) -> dict[str, int]:
    """The value of a solid's pixels in each label map."""
    thing, paint = scene.things[solid.thing], solid.primitive.paint
    texture = thing.texture if paint.texture == "body" else paint.texture
    material = thing.material if paint.material == "body" else paint.material
    return {
        "object": OBJECTS.index(thing.kind) + 1,
        "part": PARTS.index(solid.primitive.part) + 1 if solid.primitive.part else 0,
        "material": MATERIALS.index(material) + 1 if material != "paint" else 0,
        "texture": TEXTURES.index(texture) + 1 if texture != "plain" else 0,
        "instance": thing.id,
    }


def label(
    scene: Scene,
    table: Sequence[dict[str, int]],
    winners: Int[ndarray, "2H 2W"],
    shown: Float[ndarray, "H W 3"],
) -> dict[str, Int[ndarray, "H W"]]:
    """The seven label maps, from each subpixel's solid (-1 for none), the ``codes`` of each, and the picture.

    A pixel has the code that most of its four subpixels have (if no two agree, that of the first).
    """
    four = [winners[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    mixed = np.flatnonzero((four[0] != four[1]) | (four[0] != four[2]) | (four[0] != four[3]))
    subpixels = [part.ravel()[mixed] for part in four]
    maps = {"color": color_terms(shown), "scene": np.full((SIZE, SIZE), GROUNDS.index(scene.ground) + 1)}
    for kind in ("object", "part", "material", "texture", "instance"):
        values = np.array([*(row[kind] for row in table), 0])
        whole = values[four[0]]
        a, b, c, d = (values[part] for part in subpixels)
        whole.ravel()[mixed] = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
        maps[kind] = whole
    return maps


def geometry(
    background: tuple[Float[ndarray, " P"], Float[ndarray, "P 2"]],
    flat: Int[ndarray, " N"],
    things: tuple[Float[ndarray, " N"], Float[ndarray, "N 3"], Float[ndarray, "N 2"]],
) -> dict[str, ndarray]:
    """Depth, normal and uv of each pixel's upper left subpixel: the ground's (depth, uv), and over it the
    (depth, normal, uv) of the objects' subpixels at the flat positions ``flat``."""
    depth, uv = (values.copy() for values in background)
    normal = np.zeros((SIZE * SIZE, 3), np.float32)
    normal[np.isfinite(depth), 2] = 1
    row, column = np.divmod(flat, 2 * SIZE)
    first = np.flatnonzero((row % 2 == 0) & (column % 2 == 0))
    pixel = row[first] // 2 * SIZE + column[first] // 2
    for target, values in zip((depth, normal, uv), things, strict=True):
        target[pixel] = values[first]
    side = (SIZE, SIZE)
    return {"depth": depth.reshape(side), "normal": normal.reshape(*side, 3), "uv": uv.reshape(*side, 2)}
