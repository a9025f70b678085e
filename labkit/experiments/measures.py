"""What an experiment gives back: a measure beside its controls, a result with its verdict."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.core.checks import check_choice
from labkit.core.statistics import Interval

_SIGNS = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt}


_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"


def meets(threshold: str, found: Interval) -> bool:
    """Whether a measured number reaches a threshold in words: ">= 0.6", "> 0 (lower bound)", "within 0.1".

    The last one asks that the whole interval lies between -0.1 and 0.1: so "no difference" is shown, for an
    interval that merely holds 0 few scenes would give as well. Raises ValueError for a threshold that is not
    so written.

    >>> meets("> 0 (lower bound)", Interval(0.2, -0.1, 0.5)), meets("<= 0.3", Interval(0.2, -0.1, 0.5))
    (False, True)
    >>> meets("within 0.1", Interval(0.0, -0.2, 0.05))
    False
    """
    if band := re.fullmatch(rf"within ({_NUMBER})", threshold):
        return -float(band[1]) <= found.low and found.high <= float(band[1])
    parts = re.fullmatch(rf"(>=|<=|<|>) ({_NUMBER})(?: \((lower|upper) bound\))?", threshold)
    if parts is None:
        raise ValueError(
            "threshold must be written like '>= 0.6', '> 0 (lower bound)' or 'within 0.1'; "
            f"got {threshold!r}."
        )
    sign, number, bound = parts.groups()
    value = {None: found.value, "lower": found.low, "upper": found.high}[bound]
    return bool(_SIGNS[sign](value, float(number)))


def extent(found: Iterable[Interval]) -> Interval:
    """One number from several networks: their mean, the smallest lower and the largest upper end.

    >>> extent([Interval(1.0, 0.5, 1.5), Interval(2.0, 1.5, 2.25)])
    Interval(value=1.5, low=0.5, high=2.25)
    """
    each = list(found)
    return Interval(
        sum(one.value for one in each) / len(each), min(one.low for one in each), max(o.high for o in each)
    )


def verdict_of(holds: bool, stands: bool) -> str:
    """In words: whether the threshold is reached, and whether what it was held against shows what it must.

    >>> verdict_of(True, False)
    'holds, and so does its control'
    """
    if not holds:
        return "does not hold"
    return "holds" if stands else "holds, and so does its control"


@dataclass(frozen=True)
class Measure:
    """One number of a claim: what it is, with its interval, what was to be reached, and its controls.

    ``control`` holds what a blind or unrelated thing gives for the same number; ``must`` says, in the words
    of a threshold, what a control has to show for the number to mean something. A control without an entry in
    ``must`` is shown and not judged. Identities have no control.
    """

    what: str
    value: Interval
    threshold: str
    unit: str = ""
    control: Mapping[str, Interval] = field(default_factory=dict)
    must: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        meets(self.threshold, self.value)
        for name, threshold in self.must.items():
            check_choice("must", name, self.control)
            meets(threshold, self.control[name])

    @property
    def holds(self) -> bool:
        """Whether the threshold is reached."""
        return meets(self.threshold, self.value)

    @property
    def stands(self) -> bool:
        """Whether every control that is judged shows what it must."""
        return all(meets(threshold, self.control[name]) for name, threshold in self.must.items())

    @property
    def verdict(self) -> str:
        """ "holds", "holds, and so does its control" (it proves nothing) or "does not hold"."""
        return verdict_of(self.holds, self.stands)


@dataclass(frozen=True)
class Result:
    """What an experiment found: its measures, notes in a line each, and what a notebook may draw.

    ``uses`` are the ids of the exercises whose functions it ran; the decorator `experiment` fills ``id`` and
    ``uses`` in.
    """

    measures: tuple[Measure, ...]
    notes: tuple[str, ...] = ()
    show: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    uses: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """ "holds", "holds, and so does its control" (it proves nothing) or "does not hold"."""
        return verdict_of(all(m.holds for m in self.measures), all(m.stands for m in self.measures))
