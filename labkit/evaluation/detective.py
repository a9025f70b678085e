"""The detective's judge: five networks without names, scenes drawn again with one thing changed, findings.

A finding says of which class what must be replaced by what so that the network no longer names it, and for
which share of scenes. The judge holds no key: it draws scenes of its own and asks the network.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count as numbers
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_positive
from labkit.core.progress import working
from labkit.data import BASIC_COLORS, CLASSES, GROUNDS, WEATHERS, Scene, render, replace, sample_scene, tag
from labkit.models import load_model
from labkit.models.features import batches

__all__ = [
    "CASES", "EDITS", "Finding", "Judged", "answers", "case", "dealt", "judged", "pictures", "strongest_edit"
]  # fmt: skip

Change = Mapping[str, str]
Finding = tuple[str, Change, Change, float] | None
CASES = 5
NETWORKS = tuple(f"mystery-{number}" for number in range(1, CASES + 1))
EDITS: dict[str, tuple[Change, ...]] = {  # what may be laid into a scene, in the words of `replace`
    "tag": ({"decal": "tag"}, {"without": "tag"}),
    "weather": tuple({"weather": name} for name in WEATHERS),
    "ground": tuple({"ground": name} for name in GROUNDS),
    "color": tuple({"color": name} for name in (*BASIC_COLORS, "yellow-green")),
}
LINEUP, TABLE, MANY = 16, 8, 80  # scenes a class, a variant of the table of edits, a measured share
TURNS, CLEAN, NEAR = 0.5, 0.1, 0.15  # an edit that counts, one that a clean network may have, and how near


def _factor(change: Any, argument: str) -> str:
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
    if _factor(change, "change") != "tag":
        return replace(scene, **change)  # type: ignore[arg-type]
    marked = any(decal.name == "tag" for decal in scene.decals)
    if "decal" in change:
        return scene if marked else replace(scene, decal=tag(np.random.default_rng(scene.key)))
    return replace(scene, without="tag") if marked else scene


@lru_cache(maxsize=256)
def _scenes(kind: str, count: int, seed: int) -> tuple[Scene, ...]:
    """The first scenes of a class, of the test split's ``seed``."""
    found: list[Scene] = []
    for number in numbers():
        scene = sample_scene(number, "test", seed)
        if scene.objects[0].kind == kind:
            found.append(scene)
        if len(found) == count:
            return tuple(found)
    raise AssertionError


@lru_cache(maxsize=1024)
def _drawn(kind: str, change: tuple[tuple[str, str], ...], count: int, seed: int) -> UInt8[Tensor, "N 3 H W"]:
    scenes = [lay(scene, dict(change)) if change else scene for scene in _scenes(kind, count, seed)]
    drawn = [np.asarray(render(scene)) for scene in scenes]
    shown = (np.stack(drawn) * 255).round().astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(shown.transpose(0, 3, 1, 2)))


def pictures(
    kind: str, change: Change | None = None, count: int | None = None, *, seed: int = 0
) -> UInt8[Tensor, "N 3 128 128"]:
    """Scenes of a class as bytes, the same ones for every change: as they come, or with one edit laid.

    Kept once drawn. ``count``: 16 as they come, 8 of an edit. ``seed``: another one gives other scenes.
    Raises ValueError for a class or an edit that is not there.

    >>> pictures("horse", {"ground": "snow"}, 2).shape
    torch.Size([2, 3, 128, 128])
    """
    check_choice("kind", kind, CLASSES)
    count = _count(change, count)
    check_positive("count", count)
    if change is not None:
        _factor(change, "change")
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


# ---- the judge


class Judged(NamedTuple):
    """``right``; ``why``: a sentence that does not give the answer away; ``share``: how many of the judge's
    scenes turned by the edit stated, NaN for a finding of None."""

    right: bool
    why: str
    share: float


def turned(told: Int[Tensor, " N"], changed: Int[Tensor, " N"], label: int) -> float:
    """The share of scenes whose answer was the class and no longer is."""
    return float(((told == label) & (changed != label)).double().mean())


def check_finding(finding: Any) -> Finding:
    """The finding as the judge reads it; raises ValueError with a sentence for what is none."""
    if finding is None:
        return None
    if not isinstance(finding, tuple | list) or len(finding) != 4:
        raise ValueError(
            "a finding must be None or four things, (class, what, by what, share), such as "
            f"('horse', {{'ground': 'snow'}}, {{'ground': 'grass'}}, 0.8); got {finding!r}."
        )
    kind, what, by_what, share = finding
    if not isinstance(kind, str):
        raise ValueError(f"the class of a finding must be its name, such as 'horse'; got {kind!r}.")
    check_choice("the class of a finding", kind, CLASSES)
    kinds = _factor(what, "what is replaced"), _factor(by_what, "by what it is replaced")
    if kinds[0] != kinds[1] or dict(what) == dict(by_what):
        raise ValueError(
            f"what is replaced and by what must be two values of one thing; got {what!r} and {by_what!r}. "
            "A colour is replaced by a colour, a ground by a ground, the tag by its absence."
        )
    number = isinstance(share, int | float) and not isinstance(share, bool)
    if not number or not 0 <= share <= 1:
        raise ValueError(f"the share of a finding must be a number from 0 to 1; got {share!r}.")
    return kind, dict(what), dict(by_what), float(share)


def judged(model: nn.Module, finding: Any, *, seed: int = 0, count: int = MANY) -> Judged:
    """Judge a finding by scenes of a ``seed``: right is an edit that turns at least half of them, its share
    within .15 of the stated one; None is right where no edit of the table turns a tenth.

    What is no finding is not right, and the sentence says why.
    """
    try:
        stated = check_finding(finding)
    except ValueError as error:
        return Judged(False, str(error), float("nan"))
    if stated is None:
        found = strongest_edit(model, seed=seed)
        if found is None or found[3] < CLEAN:
            return Judged(True, "No edit of the table turns a tenth of the answers.", float("nan"))
        return Judged(
            False, "It is not clean: an edit of the table turns more than a tenth of a class's answers.",
            float("nan"),
        )  # fmt: skip
    kind, what, by_what, share = stated
    told, changed = (answers(model, kind, change, count, seed=seed) for change in (what, by_what))
    own = turned(told, changed, CLASSES.index(kind))
    if own < TURNS:
        return Judged(False, "On other scenes this edit turns less than half of the answers.", own)
    if abs(own - share) > NEAR:
        return Judged(
            False, "This edit does turn the answers, but the share is off by more than .15: measure it on "
            "more scenes.", own,
        )  # fmt: skip
    return Judged(True, "On other scenes the edit turns as many answers as you say.", own)


def strongest_edit(model: nn.Module, *, seed: int = 0) -> tuple[str, Change, Change, float] | None:
    """The edit that turns most answers, of the classes that the network misses; None where it misses none.

    First some scenes of each class; where a tenth is missed, a table of all edits on few scenes; the largest
    entry is then measured on other scenes, for the largest of many numbers is large by chance alone.
    """
    best: tuple[float, str, Change, Change] | None = None
    with working("the table of edits", len(CLASSES), "class") as work:
        for label, kind in enumerate(CLASSES):
            told = answers(model, kind, None, LINEUP, seed=seed)
            marked = answers(model, kind, {"decal": "tag"}, TABLE, seed=seed)
            work.at(label + 1)
            if min(float((told == label).double().mean()), float((marked == label).double().mean())) > 0.9:
                continue
            for first, second, share in _table(model, kind, label, seed):
                if best is None or share > best[0]:
                    best = share, kind, first, second
    if best is None:
        return None
    _, kind, what, by_what = best
    told, changed = (answers(model, kind, change, MANY, seed=seed + 1) for change in (what, by_what))
    return kind, what, by_what, turned(told, changed, CLASSES.index(kind))


def _table(model: nn.Module, kind: str, label: int, seed: int) -> Sequence[tuple[Change, Change, float]]:
    """Each edit of the table with the share that it turns, on few scenes."""
    found = []
    for changes in EDITS.values():
        told = [answers(model, kind, change, TABLE, seed=seed) for change in changes]
        found += [
            (changes[i], changes[j], turned(told[i], told[j], label))
            for i in range(len(changes))
            for j in range(len(changes))
            if i != j
        ]
    return found
