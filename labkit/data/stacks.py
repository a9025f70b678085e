"""Thousands of scenes as bytes with their label maps, drawn once and then mapped from the disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray
from tqdm.auto import tqdm

from labkit.core.checks import check_choice, check_positive
from labkit.data.cache import cache_folder, kept, writing
from labkit.data.picture import render
from labkit.data.scenes import MAPS, label_of, tag_box
from labkit.data.world import RENDER_VERSION, SIZE, Scene

_DRAWN = MAPS[1:]  # the scene's map has one value everywhere
_LAYOUT: dict[str, tuple[tuple[int, ...], type]] = {
    "pictures": ((SIZE, SIZE, 3), np.uint8),
    "maps": ((len(_DRAWN), SIZE, SIZE), np.uint8),
    "facts": ((6,), np.int16),  # label, ground, the tag's x0, y0, x1, y1
}
PARTS_KEPT = tuple(_LAYOUT)


@dataclass(frozen=True)
class SceneStack:
    """Thousands of scenes as bytes with their truth, mostly on the disk.

    ``images``: pictures, 0 to 255, as ``labkit.models.features`` takes them.
    ``maps``: the label maps by kind, "scene", "object", "part", "material", "texture", "color", "instance";
    ``MiniBroden.names`` names their values, 0 = none. Empty where only pictures were asked for.
    ``labels``, ``grounds``: the class of each scene's first object, an index into ``CLASSES`` (-1: none), and
    its ground's index into ``GROUNDS``.
    ``tag_boxes``: the copyright mark's x0, y0, x1, y1 in pixels, the end excluded; zeros where there is none.
    ``scene``: the description of one scene by its number, to be edited and drawn again.
    """

    images: UInt8[ndarray, "N 128 128 3"]
    maps: Mapping[str, UInt8[ndarray, "N 128 128"]]
    labels: Int[ndarray, " N"]
    grounds: Int[ndarray, " N"]
    tag_boxes: Int[ndarray, "N 4"]
    scene: Callable[[int], Scene]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def masks(self) -> Bool[ndarray, "N 128 128"]:
        """The pixels of each scene's first object."""
        return self.maps["instance"] == 1

    @property
    def tags(self) -> Bool[ndarray, "N 128 128"]:
        """The pixels of the copyright mark."""
        y, x = np.ogrid[:SIZE, :SIZE]
        x0, y0, x1, y1 = (self.tag_boxes[:, k, None, None] for k in range(4))
        return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)

    def select(self, rows: Sequence[int] | ndarray) -> SceneStack:
        """The scenes with these numbers, in this order, in memory."""
        chosen = np.asarray(rows)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(int)
        return SceneStack(
            self.images[chosen], {kind: values[chosen] for kind, values in self.maps.items()},
            self.labels[chosen], self.grounds[chosen], self.tag_boxes[chosen],
            lambda i: self.scene(int(chosen[i])),
        )  # fmt: skip


def _draw(scene: Scene, parts: Sequence[str]) -> dict[str, ndarray]:
    """What the files hold of one scene."""
    found: dict[str, ndarray] = {
        "facts": np.array([label_of(scene), label_of(scene, "ground"), *tag_box(scene)], np.int16)
    }
    if "maps" in parts:
        shown, labels = render(scene, buffers=True)
        found["maps"] = np.stack([getattr(labels, kind) for kind in _DRAWN]).astype(np.uint8)
    elif "pictures" in parts:
        shown = render(scene)
    if "pictures" in parts:
        found["pictures"] = (shown * 255 + 0.5).astype(np.uint8)
    return {part: found[part] for part in parts}


def _path(stem: str, n: int, part: str) -> Path:
    return cache_folder() / "scenes" / f"{stem}-{n}.{part}.npy"


def _kept(stem: str, n: int, part: str) -> ndarray | None:
    """The first ``n`` rows of what the cache holds of a part: of its own file, or of one with more scenes."""
    shape, dtype = _LAYOUT[part]
    counts = {n}
    for path in (cache_folder() / "scenes").glob(f"{stem}-*.{part}.npy"):
        match = re.fullmatch(rf"{re.escape(stem)}-(\d+)\.{part}\.npy", path.name)
        counts |= {int(match[1])} if match and int(match[1]) >= n else set()
    for count in sorted(counts):
        found = kept(_path(stem, count, part), (count, *shape), dtype)
        if found is not None:
            return found[:n]
    return None


def is_kept(stem: str, n: int, parts: Sequence[str]) -> bool:
    """Whether the cache holds these parts of the scenes of a name, sound."""
    return all(_kept(stem, n, part) is not None for part in parts)


def drawn(
    scene: Callable[[int], Scene],
    n: int,
    *,
    parts: Sequence[str] = PARTS_KEPT,
    stem: str | None = None,
    processes: int = 1,
    base: tuple[SceneStack, Sequence[int]] | None = None,
) -> SceneStack:
    """Scenes 0 to n - 1 as bytes, from the cache or drawn and kept there.

    ``scene``: gives the description of one by its number.
    ``parts``: which of "pictures", "maps" and "facts" are needed; what the cache lacks of them is drawn.
    ``stem``: their name in the cache, under which the same scenes must always be meant; None keeps nothing.
    ``processes``: how many draw at once.
    ``base``: a stack and the numbers of the scenes that are the same in it, which are copied.
    """
    check_positive("processes", processes)
    for part in parts:
        check_choice("part", part, _LAYOUT)
    found = {part: None if stem is None else _kept(stem, n, part) for part in parts}
    missing = [part for part in parts if found[part] is None]
    if missing:
        with ExitStack() as files:
            for part in missing:
                shape, dtype = _LAYOUT[part]
                found[part] = (
                    np.empty((n, *shape), dtype) if stem is None
                    else files.enter_context(writing(_path(stem, n, part), (n, *shape), dtype))
                )  # fmt: skip
            _fill({part: found[part] for part in missing}, scene, n, processes, base)  # type: ignore[misc]
        if stem is not None:
            found |= {part: _kept(stem, n, part) for part in missing}
    facts = found["facts"].astype(int)  # type: ignore[union-attr]
    maps: dict[str, ndarray] = {}
    if "maps" in parts:
        ground = (facts[:, 1] + 1).astype(np.uint8)
        maps["scene"] = np.broadcast_to(ground[:, None, None], (n, SIZE, SIZE))
        maps |= {kind: found["maps"][:, k] for k, kind in enumerate(_DRAWN)}  # type: ignore[index]
    shown = found["pictures"] if "pictures" in parts else np.empty((n, 0, 0, 3), np.uint8)
    return SceneStack(shown, maps, facts[:, 0], facts[:, 1], facts[:, 2:], scene)  # type: ignore[arg-type]


def _fill(
    arrays: Mapping[str, ndarray],
    scene: Callable[[int], Scene],
    n: int,
    processes: int,
    base: tuple[SceneStack, Sequence[int]] | None,
) -> None:
    work: Sequence[int] = range(n)
    if base is not None:
        stack, same = base
        for i in same:
            if "pictures" in arrays:
                arrays["pictures"][i] = stack.images[i]
            if "maps" in arrays:
                arrays["maps"][i] = np.stack([stack.maps[kind][i] for kind in _DRAWN])
            if "facts" in arrays:
                arrays["facts"][i] = [stack.labels[i], stack.grounds[i], *stack.tag_boxes[i]]
        work = sorted(set(work) - set(same))
    draw = partial(_draw, parts=tuple(arrays))
    with ExitStack() as after:
        if processes == 1:
            pieces: Iterable[dict[str, ndarray]] = map(draw, map(scene, work))
        else:
            pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
            pieces = after.enter_context(pool).map(draw, map(scene, work), chunksize=16)
        bar = tqdm(zip(work, pieces, strict=True), "drawing scenes", len(work), unit="scene", delay=1.5)
        for i, piece in bar:
            for part, value in piece.items():
                arrays[part][i] = value


def stack(scenes: Iterable[Scene], *, processes: int = 1, cache: bool = True) -> SceneStack:
    """Any scenes, edited ones included, as bytes with their truth; drawn once and then read from the cache.

    Options as in ``MiniBroden.stack``. Raises ValueError for no scenes.

    >>> from labkit.data import MiniBroden, replace
    >>> red = (replace(MiniBroden(2).scene(i), color="red") for i in range(2))
    >>> len(stack(red, cache=False))
    2
    """
    found = list(scenes)
    if not found:
        raise ValueError("scenes must hold at least one scene; got none.")
    digest = hashlib.sha256()
    for scene in found:
        digest.update(repr(scene).encode())
        digest.update(b"".join(np.ascontiguousarray(decal.rgba).tobytes() for decal in scene.decals))
    stem = f"v{RENDER_VERSION}-own-{digest.hexdigest()[:24]}" if cache else None
    return drawn(found.__getitem__, len(found), stem=stem, processes=processes)
