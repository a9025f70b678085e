"""The ledger of the lectures' claims: what was measured for each, when, on what it rests, and if that stands.

One JSON file, which ships: a claim's numbers with their intervals, thresholds and controls, its verdict, and
the first value ever measured beside the last. A claim is *valid* while nothing that it rests on has changed,
and else *stale*, for reasons that are told. Nothing here measures (`labkit.ledger.measuring`) or loads torch.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labkit.core.files import write_whole
from labkit.ledger.code import ROOT
from labkit.ledger.staleness import Rests, checkout, stale_because

__all__ = ["FILE", "Entry", "Number", "enter", "entry_of", "known", "read", "reasons"]

FILE = Path(__file__).with_name("measured.json")
BEFORE = "measured before experiments had files of their own"
Triple = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Number:
    """One measured number: ``value`` with its interval, what was asked of it, its controls and what these
    must show, whether it ``holds`` and its controls let it ``stand``, and the ``first`` value ever."""

    what: str
    value: Triple
    threshold: str
    holds: bool
    stands: bool = True
    unit: str = ""
    control: Mapping[str, Triple] = field(default_factory=dict)
    must: Mapping[str, str] = field(default_factory=dict)
    first: float | None = None

    def __str__(self) -> str:
        value, low, high = self.value
        return f"{value:.3g} [{low:.3g}, {high:.3g}] {self.unit}".rstrip()


@dataclass(frozen=True)
class Entry:
    """What the ledger keeps of a claim.

    ``rests`` is what its numbers rest on (see `labkit.ledger.staleness`), None where that was not kept;
    ``versions`` of Python, torch and NumPy are told and make nothing stale; ``earlier`` has the first values
    of numbers that are not measured any more; ``changes`` what was changed between measurements, in words.
    """

    lab: str
    verdict: str
    numbers: tuple[Number, ...]
    date: str
    commit: str
    seconds: float
    rests: Rests | None
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    earlier: Mapping[str, float] = field(default_factory=dict)
    changes: Sequence[str] = ()

    def number(self, what: str) -> Number | None:
        """The number of this name."""
        return next((n for n in self.numbers if n.what == what), None)


def entry_of(raw: Mapping[str, Any]) -> Entry:
    """An entry as it was written in JSON."""
    numbers = tuple(
        Number(**{**n, "value": tuple(n["value"]), "control": {k: tuple(v) for k, v in n["control"].items()}})
        for n in raw["numbers"]
    )
    return Entry(**{**raw, "numbers": numbers})


def _order(id: str) -> tuple[str, int]:
    return id[:1], int(id[1:]) if id[1:].isdigit() else 0


def read(path: Path | None = None) -> dict[str, Entry]:
    """The ledger (None: the one that ships): claim -> its entry, in the order of their ids."""
    path = path or FILE
    raw = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {id: entry_of(raw[id]) for id in sorted(raw, key=_order)}


def enter(id: str, entry: Entry, path: Path | None = None, note: str = "") -> Entry:
    """Write a claim's entry into the ledger, whole or not at all, and give it back as it stands there.

    The first values ever measured stay, also of numbers that have another name now; ``note`` says what was
    changed since the last time.
    """
    ledger = read(path)
    before = ledger.get(id)
    firsts: dict[str, float] = dict(before.earlier) if before else {}
    firsts |= {n.what: n.value[0] if n.first is None else n.first for n in (before.numbers if before else ())}
    numbers = tuple(Number(**{**vars(n), "first": firsts.get(n.what, n.value[0])}) for n in entry.numbers)
    gone = {what: value for what, value in firsts.items() if what not in {n.what for n in numbers}}
    changes = [*(before.changes if before else ()), *([note] if note else [])]
    full = Entry(**{**vars(entry), "numbers": numbers, "earlier": gone, "changes": changes})
    ledger[id] = full
    write_whole(path or FILE, text_of(ledger))
    return full


def text_of(ledger: Mapping[str, Entry]) -> str:
    """The file's text: what was measured a line a number, so that a change can be read in a diff."""
    raw = {id: asdict(ledger[id]) for id in sorted(ledger, key=_order)}
    text = json.dumps(raw, indent=1, ensure_ascii=False) + "\n"
    return re.sub(r"\[\s+(-?[\d.e+-]+),\s+(-?[\d.e+-]+),\s+(-?[\d.e+-]+)\s+\]", r"[\1, \2, \3]", text)


def known(root: Path = ROOT) -> dict[str, str]:
    """Every claim that has an experiment: id -> its place, read from the files without running them."""
    found = {}
    for path in sorted((root / "labkit" / "experiments").glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            for call in getattr(node, "decorator_list", ()):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "experiment":
                    id = str(ast.literal_eval(call.args[0]))
                    found[id] = f"labkit/experiments/{path.name}::{node.name}"  # type: ignore[attr-defined]
    return {id: found[id] for id in sorted(found, key=_order)}


def reasons(entry: Entry, root: Path = ROOT) -> list[str] | None:
    """Why an entry is stale, a reason a line; empty where it is valid, None where nobody can tell.

    Only a checkout can tell: there a test holds the golden answers against the code.
    """
    if not checkout(root):
        return None
    return [BEFORE] if entry.rests is None else stale_because(entry.rests, root)
