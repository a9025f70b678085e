"""The detective: scenes drawn again with one thing changed, five networks without names, dealt by an id."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import count as numbers
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_positive
from labkit.data import (
    BASIC_COLORS,
    CLASSES,
    GROUNDS,
    RENDER_VERSION,
    WEATHERS,
    Scene,
    render,
    replace,
    sample_scene,
    tag,
)
from labkit.data.cache import cache_folder, kept, writing
from labkit.data.sampler import scene_key
from labkit.data.world import SPLITS
from labkit.models import load_model
from labkit.models.features import batches

__all__ = [
    "CASES", "EDITS", "LINEUP", "MANY", "TABLE", "answers", "case", "dealt", "factor_of", "lay", "pictures",
    "scenes_of",
]  # fmt: skip

Change = Mapping[str, str]
CASES, SIDE = 5, 128
NETWORKS = tuple(f"mystery-{number}" for number in range(1, CASES + 1))
EDITS: dict[str, tuple[Change, ...]] = {  # what may be laid into a scene, in the words of `replace`
    "tag": ({"decal": "tag"}, {"without": "tag"}),
    "weather": tuple({"weather": name} for name in WEATHERS),
    "ground": tuple({"ground": name} for name in GROUNDS),
    "color": tuple({"color": name} for name in (*BASIC_COLORS, "yellow-green")),
}
LINEUP, TABLE, MANY = 12, 6, 60  # scenes a class, a variant of the table of edits, a measured share


def factor_of(change: Any, argument: str) -> str:
    """The kind of an edit; raises ValueError for what is none of the table's."""
    if isinstance(change, Mapping) and len(change) == 1:
        for factor, known in EDITS.items():
            if dict(change) in known:
                return factor
    raise ValueError(
        f"{argument} must be one of the edits, {{'color': 'red'}}, {{'ground': 'snow'}}, "
        "{'weather': 'sunny'}, {'decal': 'tag'}, {'without': 'tag'} and their kin; "
        f"got {change!r}. labkit.evaluation.detective.EDITS lists them."
    )


def lay(scene: Scene, change: Change) -> Scene:
    """A scene with one of the edits laid: as `replace`, the copyright mark by its name.

    Where there is no mark to take off, the scene stays as it is. Raises ValueError for another edit.
    """
    if factor_of(change, "change") != "tag":
        return replace(scene, **change)  # type: ignore[arg-type]
    marked = any(decal.name == "tag" for decal in scene.decals)
    if "decal" in change:
        return scene if marked else replace(scene, decal=tag(np.random.default_rng(scene.key)))
    return replace(scene, without="tag") if marked else scene


@lru_cache(maxsize=256)
def scenes_of(kind: str, count: int, *, split: str = "test", seed: int = 0) -> tuple[Scene, ...]:
    """The first scenes of a class of a split, which are those of `MiniBroden`, without drawing up the others.

    Raises ValueError for a class or a split that is not there.

    >>> scenes_of("horse", 1)[0].objects[0].kind
    'horse'
    """
    check_choice("kind", kind, CLASSES)
    check_choice("split", split, SPLITS)
    check_positive("count", count)
    own, found = CLASSES.index(kind), list[Scene]()
    for number in numbers():
        lot = np.random.Generator(np.random.PCG64(scene_key(split, seed, number)))
        if lot.permutation(len(CLASSES))[0] == own:  # what a scene's sampler draws first
            found.append(sample_scene(number, split, seed))
        if len(found) == count:
            break
    return tuple(found)


@lru_cache(maxsize=2048)  # a hundred MB at most
def _bytes(scene: Scene) -> UInt8[ndarray, "3 H W"]:
    """A scene's picture; many edits leave a scene as it is."""
    shown = (np.asarray(render(scene)) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(shown.transpose(2, 0, 1))


@lru_cache(maxsize=1024)
def _drawn(kind: str, change: tuple[tuple[str, str], ...], count: int, seed: int) -> UInt8[Tensor, "N 3 H W"]:
    """Drawn once, and kept in the kit's cache where that can be written."""
    words = [f"v{RENDER_VERSION}", kind, *map("-".join, change), str(count), str(seed)]
    path = cache_folder() / "detective" / f"{'_'.join(words).replace(' ', '-')}.npy"
    shape = count, 3, SIDE, SIDE
    if (found := kept(path, shape, np.uint8)) is not None:
        return torch.from_numpy(np.array(found))
    scenes = [lay(scene, dict(change)) if change else scene for scene in scenes_of(kind, count, seed=seed)]
    shown = np.stack([_bytes(scene) for scene in scenes])
    with suppress(OSError), writing(path, shape, np.uint8) as array:
        array[:] = shown
    return torch.from_numpy(shown)


def pictures(
    kind: str, change: Change | None = None, count: int | None = None, *, seed: int = 0
) -> UInt8[Tensor, "N 3 128 128"]:
    """Scenes of a class as bytes, the same ones for every change: as they come, or with one edit laid.

    Kept once drawn. ``count``: 12 as they come, 6 of an edit. ``seed``: another one gives other scenes.
    Raises ValueError for a class or an edit that is not there.

    >>> pictures("horse", {"ground": "snow"}, 2).shape
    torch.Size([2, 3, 128, 128])
    """
    check_choice("kind", kind, CLASSES)
    count = _count(change, count)
    check_positive("count", count)
    if change is not None:
        factor_of(change, "change")
    return _drawn(kind, tuple(dict(change or {}).items()), count, seed)


def _count(change: Change | None, count: int | None) -> int:
    return count if count is not None else LINEUP if change is None else TABLE


_TOLD: dict[tuple[Any, ...], Tensor] = {}


def _state(model: nn.Module) -> tuple[Any, ...]:
    """What a network's answers rest on: itself, and how often its weights were written to."""
    tensors = [*model.parameters(), *model.buffers()]
    return id(model), sum(t._version for t in tensors if not t.is_inference()), tuple(map(id, tensors[:4]))


def answers(
    model: nn.Module, kind: str, change: Change | None = None, count: int | None = None, *, seed: int = 0
) -> Int[Tensor, " N"]:
    """The class that a network names for each of `pictures`; kept, so that asking again costs nothing.

    Raises ValueError for a class or an edit that is not there.
    """
    shown = pictures(kind, change, count, seed=seed)
    key = (*_state(model), kind, tuple(dict(change or {}).items()), len(shown), seed)
    if key not in _TOLD:
        with torch.no_grad():
            _TOLD[key] = torch.cat([model(part).argmax(1) for part in batches(shown)])
        _KEPT.append(model)  # so that no other network gets its number
    return _TOLD[key].clone()


_KEPT: list[nn.Module] = []


# ---- the cases


def dealt(student: str) -> tuple[str, ...]:
    """The networks in the order in which they are dealt to an id, which is drawn from it.

    Raises ValueError for an id that is no word, such as the dots that stand there at first.
    """
    if not isinstance(student, str) or not student.strip() or student.strip().strip(".") == "":
        raise ValueError(
            f"student must be your id, as it stands in the course's roster: STUDENT = 'ada'; got {student!r}."
        )
    own = student.strip().lower()

    def lot(name: str) -> str:
        return hashlib.sha256(f"the detective/{own}/{name}".encode()).hexdigest()

    return tuple(sorted(NETWORKS, key=lot))


def case(student: str, number: int) -> nn.Module:
    """The network of a case, 1 to 5, as dealt to an id; it does not say which one it is.

    Raises ValueError for an id that is no word and for another number.
    """
    names = dealt(student)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= CASES:
        raise ValueError(f"number must be a whole number from 1 to {CASES}; got {number!r}.")
    return _nameless(names[number - 1])


@lru_cache(maxsize=CASES)
def _nameless(name: str) -> nn.Module:
    model = copy.deepcopy(load_model(name))
    object.__setattr__(model, "card", {"planted": "object"})
    return model
