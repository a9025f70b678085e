"""Labelled pictures in Broden's layout and Pascal VOC's, and what a set of label maps holds, as a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray

from labkit.core.checks import check_choice, check_positive
from labkit.data.minibroden import MiniBroden
from labkit.data.photos import load_codes, load_photo
from labkit.data.stacks import SceneStack

__all__ = [
    "Broden", "KindOfLabels", "LabelledPictures", "label_table", "load_voc", "minibroden_table",
]  # fmt: skip

_PLAIN = ("image", "split", "ih", "iw", "sh", "sw")  # the columns of index.csv that are no category
VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
SOURCES = {
    "scene": "the ground that was drawn", "object": "the renderer's shapes", "part": "the renderer's shapes",
    "material": "the renderer's paints", "texture": "the renderer's paints",
    "color": "the pixel's own colour",
}  # fmt: skip
NO_LABEL = 255  # of VOC: the border between objects


class LabelledPictures(NamedTuple):
    """Pictures (N, S, S, 3) as bytes with a map of whole numbers (N, H, W) a kind of labels, 0 for none, and
    ``names`` of each kind's numbers from 1 on: what ``labkit.concepts.dissect`` takes."""

    images: UInt8[ndarray, "N S S 3"]
    maps: Mapping[str, Int[ndarray, "N H W"]]
    names: Mapping[str, tuple[str, ...]]


class KindOfLabels(NamedTuple):
    """A row of a data set's table: a kind of labels, how many ``classes`` occur, where they come from, in how
    many pictures a class occurs on average (``samples``), and whether pixels or whole pictures are labelled
    (``level``: "pixel" or "image")."""

    kind: str
    classes: int
    source: str
    samples: float
    level: str


def label_table(
    maps: Mapping[str, Int[ndarray, "N H W"]],
    names: Mapping[str, Sequence[str]],
    *,
    sources: Mapping[str, str] | None = None,
) -> list[KindOfLabels]:
    """What a set of label maps holds, a row a kind, as Broden's table in the paper.

    ``names``: of each kind's labels from 1 on. ``sources``: where a kind's labels come from; "" where it is
    not said. Raises ValueError for a kind without names and for a value that none names.
    Source: Bau et al. 2017, "Network Dissection", table 1.

    >>> ground = np.ones((2, 4, 4), np.uint8)
    >>> label_table({"scene": ground}, {"scene": ("grass", "snow")}, sources={"scene": "drawn"})
    [KindOfLabels(kind='scene', classes=1, source='drawn', samples=2.0, level='image')]
    """
    table = []
    for kind, values in maps.items():
        if kind not in names:
            raise ValueError(
                f"names must name the labels of {kind!r}, from 1 on; it names {', '.join(names)}."
            )
        pictures, whole = np.zeros(len(names[kind]) + 1, int), True
        for one in values:
            there = np.unique(one)
            if there[-1] > len(names[kind]):
                raise ValueError(
                    f"maps[{kind!r}] must hold 0 (none) to {len(names[kind])}, the labels that are named; "
                    f"got {there[-1]}."
                )
            whole &= len(there) == 1
            pictures[there] += 1
        seen = pictures[1:][pictures[1:] > 0]
        table.append(
            KindOfLabels(
                kind, len(seen), (sources or {}).get(kind, ""), float(seen.mean()) if len(seen) else 0.0,
                "image" if whole else "pixel",
            )
        )  # fmt: skip
    return table


def minibroden_table(stack: SceneStack) -> list[KindOfLabels]:
    """The toy world's own table, as Broden's: what some of its scenes hold of each kind of labels.

    >>> table = minibroden_table(MiniBroden(2, "val").stack(cache=False))
    >>> [(row.kind, row.level) for row in table][:2]
    [('scene', 'image'), ('object', 'pixel')]
    """
    names = {kind: MiniBroden.names[kind][1:] for kind in SOURCES}
    return label_table({kind: stack.maps[kind] for kind in SOURCES}, names, sources=SOURCES)


def _table(path: Path, columns: Iterable[str], what: str) -> list[dict[str, str]]:
    """The rows of a CSV file that must hold some columns."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"folder must hold {path.name}, {what}; there is none in {path.parent}. "
            "Pass the folder in which index.csv and images/ lie."
        ) from None
    lacking = [name for name in columns if not rows or name not in rows[0]]
    if lacking:
        raise ValueError(f"{path.name} must have the columns {', '.join(columns)}; it lacks {lacking[0]!r}.")
    return rows


class Broden:
    """A folder in Broden's layout, as Network Dissection's releases have it, read when asked for.

    ``index.csv``: a row a picture: ``image``, ``split``, its size ``ih, iw``, its label maps' ``sh, sw``, and
    a column a category. There a file name is a map of every pixel's label, and a number one label for the
    whole picture; several stand between semicolons. ``category.csv``: the categories' names; ``label.csv``:
    every label's number and name; ``c_object.csv`` and so on: a category's own codes from 1 on. Pictures and
    maps lie in ``images/``; a pixel's label is R + 256 G of the map.

    ``names`` (of each category, from code 1 on), ``splits``, and ``len``. Where a picture has a second map of
    a category (a wheel that is part of a car that is part of a street), it stands under "part 2" with the
    same names. Raises FileNotFoundError for a missing file, ValueError for one that lacks a column.

    Source: Bau et al. 2017, "Network Dissection", section 2.1.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser()
        self.index = _table(self.folder / "index.csv", _PLAIN, "a row a picture")
        categories = [row["name"] for row in _table(self.folder / "category.csv", ["name"], "the categories")]
        labels = _table(self.folder / "label.csv", ("number", "name"), "every label's number and name")
        self._names = {int(row["number"]): row["name"] for row in labels}
        self._codes: dict[str, dict[int, int]] = {}  # of a category: a label's number -> its code
        self.names: dict[str, tuple[str, ...]] = {}
        for kind in categories:
            if kind not in self.index[0]:
                raise ValueError(f"index.csv must have a column for each category; it lacks {kind!r}.")
            rows = _table(self.folder / f"c_{kind}.csv", ("code", "number"), f"the codes of {kind}")
            own = sorted((int(row["code"]), int(row["number"])) for row in rows)
            if [code for code, _ in own] != list(range(1, len(own) + 1)):
                raise ValueError(f"c_{kind}.csv must number its codes from 1 on without gaps.")
            for _, number in own:
                if number not in self._names:
                    raise ValueError(f"label.csv must name the label {number} of c_{kind}.csv; it does not.")
            self._codes[kind] = {number: code for code, number in own}
            self.names[kind] = tuple(self._names[number] for _, number in own)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"Broden({self.folder.name!r}, pictures={len(self)}, kinds={list(self.names)})"

    @property
    def splits(self) -> list[str]:
        """The split of each picture, such as "train" or "val"."""
        return [row["split"] for row in self.index]

    def load(
        self, rows: Sequence[int] | None = None, *, size: int, kinds: Sequence[str] | None = None
    ) -> LabelledPictures:
        """Some pictures, cut to ``size``, with their label maps; a shard of a set that no memory holds.

        ``kinds``: the categories wanted, all by default. Raises FileNotFoundError for a picture or map that
        is missing, ValueError for maps of another size and labels that the category does not have.
        """
        check_positive("size", size)
        wanted = list(self.names) if kinds is None else list(kinds)
        for kind in wanted:
            check_choice("kinds", kind, list(self.names))
        chosen = [self.index[row] for row in (range(len(self)) if rows is None else rows)]
        if not chosen:
            raise ValueError("rows must hold at least one picture; got none.")
        for row in chosen:
            if row["ih"] != row["iw"] or row["sh"] != row["sw"]:
                raise ValueError(
                    f"pictures and label maps must be square, so that they are cut alike; {row['image']} is "
                    f"{row['ih']} x {row['iw']} with maps of {row['sh']} x {row['sw']}."
                )
        high, wide = int(chosen[0]["sh"]), int(chosen[0]["sw"])
        images = np.empty((len(chosen), size, size, 3), np.uint8)
        maps: dict[str, ndarray] = {}
        for number, row in enumerate(chosen):
            shown = load_photo(self.folder / "images" / row["image"], size)
            images[number] = (shown * 255 + 0.5).byte().permute(1, 2, 0).numpy()
            for kind in wanted:
                for place, said in enumerate(word for word in row[kind].split(";") if word.strip()):
                    key = kind if place == 0 else f"{kind} {place + 1}"
                    own = maps.setdefault(key, np.zeros((len(chosen), high, wide), np.uint16))
                    own[number] = self._map(kind, said.strip(), row["image"], (high, wide))
        for kind in wanted:
            maps.setdefault(kind, np.zeros((len(chosen), high, wide), np.uint16))
        names = {key: self.names[key if key in self.names else key.rpartition(" ")[0]] for key in maps}
        return LabelledPictures(images, maps, names)

    def _map(self, kind: str, said: str, image: str, side: tuple[int, int]) -> Int[ndarray, "H W"]:
        """One cell of the index: a map of codes, from a file of label numbers or one number for all."""
        if said.isdigit():
            numbers = np.full(side, int(said))
        else:
            numbers = load_codes(self.folder / "images" / said)
            if numbers.shape != side:
                raise ValueError(
                    f"the label maps must be of one size, {side[0]} x {side[1]} as index.csv says first; "
                    f"{said} of {image} is {numbers.shape[0]} x {numbers.shape[1]}."
                )
        there = np.unique(numbers)
        unknown = [int(n) for n in there if n and int(n) not in self._codes[kind]]
        if unknown:
            raise ValueError(
                f"c_{kind}.csv must have every label of the maps; {said} of {image} holds {unknown[0]}."
            )
        table = np.zeros(int(there[-1]) + 1, np.uint16)
        for n in there[there > 0].tolist():
            table[n] = self._codes[kind][n]
        return table[numbers]


def load_voc(
    root: str | os.PathLike[str], *, size: int, year: str = "2012", split: str = "val", n: int | None = None
) -> LabelledPictures:
    """Pascal VOC's segmentation, where torchvision has downloaded it: pictures with one kind of labels.

    ``root``: as ``torchvision.datasets.VOCSegmentation`` takes it; the folder ``VOCdevkit`` lies there.
    Pictures and maps are cut to the centre square of ``size``. ``n``: the first so many. Raises
    FileNotFoundError where it was not downloaded. Source: Everingham et al. 2010.
    """
    from torchvision.datasets import VOCSegmentation

    check_positive("size", size)
    try:
        found = VOCSegmentation(str(Path(root).expanduser()), year, split)
    except (RuntimeError, FileNotFoundError):
        raise FileNotFoundError(
            f"root must hold VOCdevkit/VOC{year} with its list of {split!r}; there is none in {root}. "
            f"Download it once: torchvision.datasets.VOCSegmentation({str(root)!r}, {year!r}, download=True)."
        ) from None
    count = len(found.images) if n is None else min(n, len(found.images))
    if count < 1:
        raise ValueError("n must be at least 1, and the list of pictures must not be empty.")
    images, maps = np.empty((count, size, size, 3), np.uint8), np.empty((count, size, size), np.uint8)
    for number in range(count):
        shown = load_photo(found.images[number], size)
        images[number] = (shown * 255 + 0.5).byte().permute(1, 2, 0).numpy()
        codes = load_codes(found.masks[number], size)
        maps[number] = np.where(codes == NO_LABEL, 0, codes)
    return LabelledPictures(images, {"object": maps}, {"object": VOC})
