"""Whether this machine draws the toy world as the machine did on which the networks were trained.

Beside this file lie the fingerprints of 24 scenes (``golden.json``) and every second pixel of their pictures
(``golden.png``), written once per ``RENDER_VERSION`` by ``data_scripts/golden.py``. Another processor may
round an edge differently: up to one grey level, and a few label pixels, are no reason to train anew.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from labkit.data.labels import Labels
from labkit.data.picture import render
from labkit.data.sampler import sample_scene
from labkit.data.world import RENDER_VERSION, Scene

FILE = Path(__file__).with_suffix(".json")
COLUMNS = 6
STEP = 2
STRAY_PIXELS = 16
"""How many of a map's 16384 pixels may carry another label on another machine."""

_MAPS = ("scene", "object", "part", "material", "texture", "color", "instance")
# (index, split, seed, faults, objects): clean scenes of every split, each fault on a class it bears on,
# several objects. The clean ones show all classes, grounds and weathers.
SCENES: tuple[tuple[int, str, int, tuple[str, ...], int], ...] = (
    *((i, "train", 0, (), 1) for i in (0, 2, 3, 4, 5, 7, 10, 11, 12, 18, 19, 28)),
    (0, "val", 0, (), 1), (1, "test", 0, (), 1), (2, "train", 1, (), 1),
    (10, "train", 0, ("tag",), 1), (17, "train", 0, ("snow",), 1), (14, "train", 0, ("weather",), 1),
    (18, "train", 0, ("melbourne",), 1), (18, "train", 0, ("canberra",), 1),
    (18, "train", 0, ("bothcities",), 1), (36, "train", 0, ("rare",), 1),
    (0, "val", 0, (), 2), (0, "val", 0, (), 3),
)  # fmt: skip


class Verdict(NamedTuple):
    """``same``: every byte agrees. ``grey_levels``: the largest difference of a stored pixel. ``stray``: the
    largest number of label pixels by which a map differs. ``fits``: within one level and a few pixels."""

    same: bool
    grey_levels: int
    stray: int
    fits: bool

    def __str__(self) -> str:
        if self.same:
            return f"the toy world is drawn byte for byte as render version {RENDER_VERSION} says"
        how = "within the tolerance" if self.fits else "NOT the world that the networks were trained on"
        return f"pictures differ by up to {self.grey_levels} grey levels, maps by {self.stray} pixels: {how}"


@cache
def scenes() -> tuple[Scene, ...]:
    """The descriptions of the 24 golden scenes."""
    return tuple(sample_scene(*spec) for spec in SCENES)


def fingerprint(picture: UInt8[ndarray, "H W 3"], labels: Labels) -> dict[str, Any]:
    """Hash of the picture's bytes, hash of all label maps, and how often each map has each value."""
    maps = {kind: np.ascontiguousarray(getattr(labels, kind), "<i2") for kind in _MAPS}
    digest = hashlib.sha256(b"".join(values.tobytes() for values in maps.values()))
    counts = {kind: np.bincount(values.ravel()).tolist() for kind, values in maps.items()}
    image = hashlib.sha256(picture.tobytes())
    return {"image": image.hexdigest(), "maps": digest.hexdigest(), "counts": counts}


def draw() -> tuple[list[dict[str, Any]], UInt8[ndarray, "A B 3"]]:
    """Fingerprints of the golden scenes as drawn here, and the strip of every second pixel."""
    prints, tiles = [], []
    for scene in scenes():
        shown, labels = render(scene, buffers=True)
        picture = (shown * 255 + 0.5).astype(np.uint8)
        prints.append(fingerprint(picture, labels))
        tiles.append(picture[::STEP, ::STEP])
    lines = [np.concatenate(tiles[k : k + COLUMNS], 1) for k in range(0, len(tiles), COLUMNS)]
    return prints, np.concatenate(lines)


def _stray(one: list[int], other: list[int]) -> int:
    size = max(len(one), len(other))
    a, b = (np.pad(np.asarray(v), (0, size - len(v))) for v in (one, other))
    return int(np.abs(a - b).sum()) // 2


def compare() -> Verdict:
    """Draw the golden scenes and compare them with the stored ones.

    Raises RuntimeError if the stored ones belong to another ``RENDER_VERSION``.
    """
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    if stored["render_version"] != RENDER_VERSION:
        raise RuntimeError(
            f"golden.json holds render version {stored['render_version']}, the code draws {RENDER_VERSION}. "
            "Run python data_scripts/golden.py --write and train the networks anew."
        )
    prints, strip = draw()
    with Image.open(FILE.with_suffix(".png")) as file:
        levels = int(np.abs(np.asarray(file, np.int16) - strip).max())
    pairs = list(zip(prints, stored["scenes"], strict=True))
    same = all(new["image"] == old["image"] and new["maps"] == old["maps"] for new, old in pairs)
    # The colour map is judged from the picture, so one grey level may move more of its pixels.
    stray = max(
        _stray(new["counts"][kind], old["counts"][kind])
        for new, old in pairs for kind in _MAPS if kind != "color"
    )  # fmt: skip
    return Verdict(same, levels, stray, levels <= 1 and stray <= STRAY_PIXELS)
