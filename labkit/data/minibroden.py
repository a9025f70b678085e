"""MiniBroden: the toy world as a data set with exact labels for every pixel."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from numpy import ndarray

from labkit.core.checks import check_choice, check_positive
from labkit.data.faults import check_faults
from labkit.data.objects import CLASSES, CLUTTER, PARTS
from labkit.data.sampler import sample_scene
from labkit.data.scenes import item
from labkit.data.stacks import PARTS_KEPT, SceneStack, drawn, is_kept
from labkit.data.surfaces import BASIC_COLORS, GROUNDS, TEXTURES
from labkit.data.world import MATERIALS, RENDER_VERSION, SPLITS, Scene


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

        ``processes``: how many draw at once; a progress bar shows.
        ``cache``: whether to keep them in the user's cache folder (or in ``LABKIT_CACHE``) under the render
        version, so that a second call only reads. The files appear complete or not at all, a damaged one is
        drawn anew, and fewer scenes are read from the file of more.
        """
        stack = self._stack(("pictures", "facts"), processes, cache)
        return stack.images, stack.labels

    def stack(self, processes: int = 1, cache: bool = True) -> SceneStack:
        """All scenes as bytes with their truth: pictures, label maps, labels. Options as in ``pictures``.

        >>> found = MiniBroden(2, "val").stack(cache=False)
        >>> found.images.shape, found.maps["part"].shape, found.maps["part"].dtype
        ((2, 128, 128, 3), (2, 128, 128), dtype('uint8'))
        """
        return self._stack(PARTS_KEPT, processes, cache)

    def _stack(self, parts: Sequence[str], processes: int, cache: bool) -> SceneStack:
        base: tuple[SceneStack, list[int]] | None = None
        stem = self._stem()
        if self.faults and cache and not is_kept(stem, self.n, parts):
            # A fault changes few scenes: those it leaves alone are taken from the clean world's.
            clean = MiniBroden(self.n, self.split, self.seed, (), self.objects)
            same = [i for i in range(self.n) if self.scene(i) == clean.scene(i)]
            if len(same) > self.n // 4:
                base = clean._stack(parts, processes, cache), same
        return drawn(
            self.scene, self.n, parts=parts, stem=stem if cache else None, processes=processes, base=base
        )

    def _stem(self) -> str:
        faults = "+".join(sorted(self.faults)) or "clean"
        return f"v{RENDER_VERSION}-{self.split}-{self.seed}-{faults}-{self.objects}"
