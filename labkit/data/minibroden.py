"""MiniBroden: the toy world as a data set with exact labels for every pixel."""

from __future__ import annotations

import operator
import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray
from platformdirs import user_cache_path
from tqdm.auto import tqdm

from labkit.core.checks import check_choice, check_positive
from labkit.data.faults import check_faults
from labkit.data.objects import CLASSES, CLUTTER, PARTS
from labkit.data.picture import render
from labkit.data.sampler import sample_scene
from labkit.data.surfaces import BASIC_COLORS, GROUNDS, TEXTURES
from labkit.data.world import MATERIALS, RENDER_VERSION, SIZE, SPLITS, Scene

if TYPE_CHECKING:
    import torch

MAPS = ("scene", "object", "part", "material", "texture", "color", "instance")


class MiniBroden:
    """A torch data set of ``n`` scenes of the toy world, drawn when asked for.

    An item is a dict: ``image`` float32 (3, 128, 128) in [0, 1]; ``label`` int, an index into
    ``names["label"]``; ``present`` bool (12,), the classes in the picture; ``box`` int64 (4,), the first
    object's x0, y0, x1, y1 in pixels (end excluded; zeros if it is hidden); ``tag`` bool (128, 128), where
    the copyright mark is; and the int64 maps ``scene, object, part, material, texture, color, instance``
    (128, 128), 0 = none. ``names[kind][value]`` names a map's values.

    ``split`` is "train", "val" or "test"; scenes of two splits, seeds or indices never coincide. ``faults``
    are names of ``labkit.data.FAULTS``; ``objects`` (1 to 3) is the number of class objects a scene shows.
    Raises ValueError for an unknown split or fault, IndexError beyond the end.

    >>> d = MiniBroden(4)
    >>> tuple(d[0]["image"].shape), d[0]["label"] == d.names["label"].index(d.scene(0).objects[0].kind)
    ((3, 128, 128), True)
    """

    names: dict[str, list[str]] = {
        "label": list(CLASSES),
        "scene": ["none", *GROUNDS],
        "object": ["none", *CLASSES, *CLUTTER],
        "part": ["none", *PARTS],
        "material": ["none", *MATERIALS],
        "texture": ["none", *TEXTURES],
        "color": ["none", *BASIC_COLORS],
    }

    def __init__(
        self, n: int, split: str = "train", seed: int = 0, faults: Iterable[str] = (), objects: int = 1
    ) -> None:
        check_positive("n", n)
        check_choice("split", split, SPLITS)
        check_positive("objects", objects)
        self.n, self.split, self.seed, self.objects = int(n), split, int(seed), int(objects)
        self.faults = check_faults(faults)
        self.scene(0)

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        faults = f", faults={sorted(self.faults)}" if self.faults else ""
        objects = f", objects={self.objects}" if self.objects != 1 else ""
        return f"MiniBroden({self.n}, split={self.split!r}, seed={self.seed}{faults}{objects})"

    def scene(self, i: int) -> Scene:
        """The editable description of scene ``i`` (see ``labkit.data.replace``)."""
        i = operator.index(i)
        if not -self.n <= i < self.n:
            raise IndexError(f"index must lie from 0 to {self.n - 1}; got {i}.")
        return sample_scene(i % self.n, self.split, self.seed, self.faults, self.objects)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return item(self.scene(i))

    def pictures(self, processes: int = 1, cache: bool = True) -> tuple[ndarray, ndarray]:
        """All pictures as uint8 (n, 128, 128, 3) and their labels int64 (n,), for training.

        Drawn by ``processes`` processes with a progress bar, and kept in the user's cache folder (or in
        ``LABKIT_CACHE``) under the render version, so that a second call only reads. The file appears
        complete or not at all.
        """
        labels = np.array([label_of(self.scene(i)) for i in range(self.n)])
        path = _cache_folder() / f"{self._stem()}.npy"
        if cache and path.exists():
            return np.load(path, mmap_mode="r"), labels
        shown = np.empty((self.n, SIZE, SIZE, 3), np.uint8)
        work: Sequence[int] = range(self.n)
        if self.faults and cache:
            # A fault changes few scenes: those it leaves alone are taken from the clean world's pictures.
            clean = MiniBroden(self.n, self.split, self.seed, (), self.objects)
            same = [i for i in work if self.scene(i) == clean.scene(i)]
            if len(same) > self.n // 4:
                shown[same] = clean.pictures(processes)[0][same]
                work = sorted(set(work) - set(same))
        if processes == 1:
            for i in tqdm(work, desc="drawing scenes", unit="scene"):
                shown[i] = self._bytes(i)
        else:
            with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
                drawn = pool.map(self._bytes, work, chunksize=32)
                pairs = zip(work, drawn, strict=True)
                for i, picture in tqdm(pairs, desc="drawing scenes", unit="scene", total=len(work)):
                    shown[i] = picture
        if cache:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                np.save(file, shown)
            os.replace(part, path)
        return shown, labels

    def _bytes(self, i: int) -> ndarray:
        return (render(self.scene(i)) * 255 + 0.5).astype(np.uint8)

    def _stem(self) -> str:
        faults = "+".join(sorted(self.faults)) or "clean"
        return f"v{RENDER_VERSION}-{self.split}-{self.seed}-{faults}-{self.objects}-{self.n}"


def _cache_folder() -> Path:
    return Path(os.environ.get("LABKIT_CACHE") or user_cache_path("labkit")) / "scenes"


def label_of(scene: Scene, of: str = "object") -> int:
    """What a network is to name in a scene: the class of its first object, or its "ground".

    An index into ``CLASSES`` (-1 where the scene has no object) or into ``GROUNDS``. Raises ValueError for
    another word.

    >>> GROUNDS[label_of(MiniBroden(1).scene(0), "ground")] == MiniBroden(1).scene(0).ground
    True
    """
    check_choice("of", of, ("object", "ground"))
    if of == "ground":
        return GROUNDS.index(scene.ground)
    return CLASSES.index(scene.objects[0].kind) if scene.objects else -1


def to_tensor(picture: ndarray) -> torch.Tensor:
    """A drawn picture (H, W, 3) as the float32 tensor (3, H, W) that models take."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32))


def item(scene: Scene) -> dict[str, Any]:
    """Picture and labels of any scene, edited ones included, as ``MiniBroden`` gives them."""
    import torch

    picture, labels = render(scene, buffers=True)
    kinds = [thing.kind for thing in scene.objects]
    present = torch.zeros(len(CLASSES), dtype=torch.bool)
    present[[CLASSES.index(kind) for kind in kinds]] = True
    mask = labels.instance == (scene.objects[0].id if scene.objects else -1)
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]
    mark = np.zeros((SIZE, SIZE), bool)
    for decal in scene.decals:
        if decal.name == "tag":
            x0, y0, x1, y1 = np.clip(decal.box, 0, SIZE)
            mark[y0:y1, x0:x1] = True
    return {
        "image": to_tensor(picture),
        "label": label_of(scene),
        "present": present,
        "box": torch.tensor([int(v) for v in box]),
        "tag": torch.from_numpy(mark),
        **{kind: torch.from_numpy(np.ascontiguousarray(getattr(labels, kind), np.int64)) for kind in MAPS},
    }
