"""Contact sheets of the toy world: by class, view, ground, fault, texture, material or colour.

python data_scripts/contact_sheet.py class --columns 10 --out sheet.png
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from labkit.data import CLASSES, FAULTS, GROUNDS, MATERIALS, TEXTURES, Scene, render, replace, sample_scene
from labkit.data.surfaces import BASIC_COLORS


def scenes(keep: Callable[[Scene], bool], count: int, **options: object) -> list[Scene]:
    """The first ``count`` scenes of the validation split that are to be kept."""

    def stream() -> Iterator[Scene]:
        index = 0
        while True:
            scene = sample_scene(index, "val", **options)  # type: ignore[arg-type]
            index += 1
            if keep(scene):
                yield scene

    found = stream()
    return [next(found) for _ in range(count)]


def rows(kind: str, columns: int) -> dict[str, list[Scene]]:
    """A caption and its scenes for each row of a sheet."""
    first = scenes(lambda s: True, columns)
    if kind == "class":
        return {c: scenes(lambda s, c=c: s.objects[0].kind == c, columns) for c in CLASSES}
    if kind == "view":
        out = {}
        for c in CLASSES:
            scene = scenes(lambda s, c=c: s.objects[0].kind == c, 1)[0]
            turns = np.linspace(0, 2 * np.pi, columns, endpoint=False)
            out[c] = [
                dataclasses.replace(scene, things=(dataclasses.replace(scene.things[0], yaw=float(t)),))
                for t in turns
            ]
        return out
    if kind == "ground":
        return {g: [replace(s, ground=g) for s in first] for g in GROUNDS}
    if kind == "texture":
        return {t: [replace(s, texture=t) for s in first] for t in ("plain", *TEXTURES)}
    if kind == "material":
        return {m: [replace(s, material=m, texture="plain") for s in first] for m in ("paint", *MATERIALS)}
    if kind == "color":
        return {c: [replace(s, color=c, texture="plain") for s in first] for c in BASIC_COLORS}
    if kind == "fault":
        return {
            name: scenes(lambda s, k=fault.kind: s.objects[0].kind == k, columns, faults=(name,))
            for name, fault in FAULTS.items()
        }
    return {f"{n} objects": scenes(lambda s: True, columns, objects=n) for n in (1, 2, 3)}


def sheet(table: dict[str, list[Scene]], scale: int) -> Image.Image:
    """The rows as one picture with a caption at the left of each."""
    size, left = 128 * scale, 110
    columns = max(len(v) for v in table.values())
    page = Image.new("RGB", (left + columns * (size + 2), len(table) * (size + 2)), (24, 24, 26))
    pen = ImageDraw.Draw(page)
    for y, (caption, row) in enumerate(table.items()):
        pen.text((8, y * (size + 2) + size // 2 - 6), caption, fill=(230, 230, 230))
        for x, scene in enumerate(row):
            picture = Image.fromarray((render(scene) * 255 + 0.5).astype(np.uint8))
            page.paste(
                picture.resize((size, size), Image.Resampling.LANCZOS),
                (left + x * (size + 2), y * (size + 2)),
            )
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = ["class", "view", "ground", "fault", "texture", "material", "color", "objects"]
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("contact_sheet.png"))
    options = parser.parse_args()
    sheet(rows(options.kind, options.columns), options.scale).save(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
