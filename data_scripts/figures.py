"""Draw turntable sheets of every class and prop, to be looked at with an exacting eye.

Run from the repository root: ``python data_scripts/figures.py sheet.png [--kinds horse,wolf] [--random]``.
One row a kind at eight yaws, in neutral light; with ``--random`` every cell has another variant, colour,
texture, material, ground and weather, as the data set would draw them.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from labkit.data.objects import CLASSES, CLUTTER, build
from labkit.data.picture import render
from labkit.data.sampler import sample_scene
from labkit.data.surfaces import PALETTE
from labkit.data.world import Scene

YAWS = 8
NATURAL = {
    "fire engine": "red", "bus": "yellow", "car": "blue", "horse": "brown", "zebra": "white",
    "cow": "white", "sheepdog": "grey", "wolf": "grey", "sailboat": "blue", "tank": "green",
    "house": "white", "tree": "green",
}  # fmt: skip


def turntable(kind: str, turn: int) -> Scene:
    """One object in its natural colour on paving, turned by ``turn`` eighths of a circle."""
    scene = sample_scene(0)
    color = NATURAL.get(kind, "orange")
    black, red = PALETTE["black"], PALETTE["red"]
    thing = dataclasses.replace(
        scene.things[0], kind=kind, x=0.0, y=0.0, yaw=np.pi + turn * 2 * np.pi / YAWS, color=color,
        body=PALETTE[color], accent=red if color != "red" else PALETTE["yellow"], second=black,
        texture="plain", material="paint", variant=(0.5, 0.5, 0.5), size=1.0,
    )  # fmt: skip
    return dataclasses.replace(
        scene, ground="paving", weather="sunny", eye=(-5.6, 0.0, 1.9), yaw=0.0, pitch=-0.24, focal=3.6,
        sun_bearing=2.4, sun_height=0.8, warmth=0.3, exposure=1.0, things=(thing,), decals=(),
    )  # fmt: skip


def drawn_at_random(kind: str, start: int) -> list[Scene]:
    """Eight scenes from ``start`` on whose object is of this kind (a prop takes an object's place)."""
    scenes, index = [], start
    while len(scenes) < YAWS:
        scene = sample_scene(index, split="val")
        index += 1
        main = scene.things[0]
        if kind in CLASSES and main.kind == kind:
            scenes.append(scene)
        elif kind in CLUTTER:
            scenes.append(dataclasses.replace(scene, things=(dataclasses.replace(main, kind=kind),)))
    return scenes


def sheet(kinds: Sequence[str], randomly: bool = False, start: int = 0) -> Image.Image:
    """All kinds, one row each, eight pictures a row."""
    rows = []
    for kind in kinds:
        scenes = drawn_at_random(kind, start) if randomly else [turntable(kind, turn) for turn in range(YAWS)]
        rows.append(np.concatenate([render(scene) for scene in scenes], 1))
    return Image.fromarray((np.concatenate(rows) * 255).round().astype(np.uint8))


def main() -> None:
    """Read the command line, draw the sheet, and tell how many primitives each kind has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--kinds", default=",".join(CLASSES))
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--zoom", type=int, default=1)
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    for kind in kinds:
        print(f"{kind}: {len(build(kind))} primitives")
    picture = sheet(kinds, options.random, options.start)
    picture.resize(
        (picture.width * options.zoom, picture.height * options.zoom), Image.Resampling.BICUBIC
    ).save(options.path)


if __name__ == "__main__":
    main()
