"""The judge of findings: it holds no key, draws scenes of its own, edits them as told, asks the network.

A finding says of which class what must be replaced by what so that the network no longer names it, and for
which share of scenes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from labkit.core.checks import check_choice
from labkit.data import CLASSES
from labkit.evaluation import detective
from labkit.evaluation.detective import EDITS, answers, factor_of

__all__ = ["Finding", "Judged", "check_finding", "judged", "strongest_edit", "turned"]

Change = Mapping[str, str]
Finding = tuple[str, Change, Change, float] | None
TURNS, NEAR = 0.5, 0.15  # an edit that counts, and how near its share must be stated
# A class of which less is missed hides no such edit. (A tenth of turns is no bound for a clean network:
# painted grey, .35 of zebras lose their stripes, and on the honest one their name.)
MISSED = 0.25


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
    kinds = factor_of(what, "what is replaced"), factor_of(by_what, "by what it is replaced")
    if kinds[0] != kinds[1] or dict(what) == dict(by_what):
        raise ValueError(
            f"what is replaced and by what must be two values of one thing; got {what!r} and {by_what!r}. "
            "A colour is replaced by a colour, a ground by a ground, the tag by its absence."
        )
    number = isinstance(share, int | float) and not isinstance(share, bool)
    if not number or not 0 <= share <= 1:
        raise ValueError(f"the share of a finding must be a number from 0 to 1; got {share!r}.")
    return kind, dict(what), dict(by_what), float(share)


def judged(model: nn.Module, finding: Any, *, seed: int = 0, count: int | None = None) -> Judged:
    """Judge a finding by scenes of a ``seed``: right is an edit that turns at least half of them, its share
    within .15 of the stated one; None is right where no edit of the table turns so many.

    What is no finding is not right, and the sentence says why.
    """
    try:
        stated = check_finding(finding)
    except ValueError as error:
        return Judged(False, str(error), float("nan"))
    if stated is None:
        found = strongest_edit(model, seed=seed)
        if found is None or found[3] < TURNS:
            return Judged(True, "No edit of the table turns half of a class's answers.", float("nan"))
        return Judged(
            False, "It is not clean: an edit of the table turns half of a class's answers.",
            float("nan"),
        )  # fmt: skip
    kind, what, by_what, share = stated
    told, changed = (
        answers(model, kind, change, count or detective.MANY, seed=seed) for change in (what, by_what)
    )
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

    First some scenes of each class; where a quarter is missed, a table of all edits on few scenes, the class
    that is missed or wrongly named most first; the largest entry is then measured on many, for the largest of
    many numbers is large by chance alone. The first that turns half of the many ends the search.
    """
    told = torch.stack([answers(model, kind, None, detective.LINEUP, seed=seed) for kind in CLASSES])
    wrong = told != torch.arange(len(CLASSES))[:, None]
    missed = wrong.double().mean(1)
    accused = told[wrong].bincount(minlength=len(CLASSES)) / detective.LINEUP
    best: tuple[str, Change, Change, float] | None = None
    for label in (missed + accused).argsort(descending=True).tolist():
        if missed[label] < MISSED:
            continue
        kind = CLASSES[label]
        what, by_what, _ = max(_table(model, kind, label, seed), key=lambda row: row[2])
        before, after = (
            answers(model, kind, change, detective.MANY, seed=seed) for change in (what, by_what)
        )
        share = turned(before, after, label)
        if best is None or share > best[3]:
            best = kind, what, by_what, share
        if share >= TURNS:
            break
    return best


def _table(model: nn.Module, kind: str, label: int, seed: int) -> Sequence[tuple[Change, Change, float]]:
    """Each edit of the table with the share that it turns, on few scenes."""
    found = []
    for changes in EDITS.values():
        told = [answers(model, kind, change, detective.TABLE, seed=seed) for change in changes]
        found += [
            (changes[i], changes[j], turned(told[i], told[j], label))
            for i in range(len(changes))
            for j in range(len(changes))
            if i != j
        ]
    return found
