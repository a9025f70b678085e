"""Human ratings of units: dealt blind among a twin's, kept as CSV, agreement between raters as kappa."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray

from labkit.core.checks import check_positive
from labkit.core.door import seeded
from labkit.core.registry import signature_of
from labkit.core.statistics import Interval, bootstrap, share

__all__ = ["Kappa", "dealt_blind", "kappa", "kappa_result", "read_ratings", "yes_by_source"]

COLUMNS = ("rater", "item", "answer", "what")
SAID = {"yes": True, "no": False}


class Kappa(NamedTuple):
    """``value`` with its interval over items; ``shuffled``: what the second rater's answers give when
    dealt to the items by lot, with the middle 95%; ``agreed``: the plain share of equal answers; ``yes``: how
    often each says yes; ``items``: how many both answered."""

    value: float
    low: float
    high: float
    shuffled: Interval
    agreed: float
    yes: tuple[float, float]
    items: int


def _answers(argument: str, values: Any) -> ndarray:
    found = np.asarray(values)
    if found.ndim != 1 or len(found) < 2 or not np.isin(found, (0, 1)).all():
        raise ValueError(
            f"{argument} must be at least 2 answers, True and False (or 1 and 0), one an item; got "
            f"{found.tolist()!r}."[:300]
        )
    return found.astype(bool)


def _kappa(pairs: ndarray) -> float:
    """Cohen's kappa of pairs of answers; 0 where chance alone would agree on all."""
    agreed = float((pairs[:, 0] == pairs[:, 1]).mean())
    first, second = pairs.mean(0)
    chance = float(first * second + (1 - first) * (1 - second))
    return (agreed - chance) / (1 - chance) if chance < 1 else 0.0


def kappa_result(
    first: Sequence[bool], second: Sequence[bool], *, shuffles: int = 500,
    generator: torch.Generator | None = None,
) -> Kappa:  # fmt: skip
    """``kappa`` with its interval, what answers by lot give, and how often each says yes (see ``Kappa``)."""
    a, b = _answers("first", first), _answers("second", second)
    check_positive("shuffles", shuffles)
    if len(a) != len(b):
        raise ValueError(
            f"first and second must be answers about the same items, in one order; got {len(a)} and {len(b)}."
        )
    own = seeded(generator)
    pairs = np.stack([a, b], 1).astype(float)
    seed = int(torch.randint(2**31, (1,), generator=own))
    found = bootstrap(pairs, _kappa, seed=seed)
    by_lot = [
        _kappa(np.stack([a, b[torch.randperm(len(b), generator=own).numpy()]], 1).astype(float))
        for _ in range(shuffles)
    ]
    low, high = np.quantile(by_lot, [0.025, 0.975])
    return Kappa(
        found.value, found.low, found.high, Interval(float(np.mean(by_lot)), float(low), float(high)),
        float((a == b).mean()), (float(a.mean()), float(b.mean())), len(a),
    )  # fmt: skip


@signature_of(kappa_result)
def kappa(*args: Any, **options: Any) -> float:
    """How far two raters agree beyond what their rates of yes would give by chance: 1 wholly, 0 not at all.

    Two who say yes to nearly all agree nearly always, and know nothing: that is what is taken off.
    ``first``, ``second``: answers (K,), True or False, about the same items. ``kappa_result`` has the
    interval, the same for answers dealt by lot, and the rates of yes. Where both say the same to all, chance
    agrees as well, and it is 0. Raises ValueError for fewer than 2 answers, others than yes and no, and lists
    of different lengths.

    Unit: none. Labels: post hoc, agnostic, global.
    Source: Cohen 1960, "A Coefficient of Agreement for Nominal Scales".

    >>> kappa([True, True, False, False], [True, True, False, False])
    1.0
    >>> kappa([True, True, True, False], [True, True, False, True])
    -0.3333333333333333
    """
    return kappa_result(*args, **options).value


def dealt_blind(
    sources: Mapping[str, int], *, generator: torch.Generator | None = None
) -> list[tuple[str, int]]:
    """The units of several networks in an order by lot: ``(source, number)`` for each item, from the first.

    ``sources``: name -> how many units. The same generator gives the same order, which is the key to the
    answers. Raises ValueError for no units.

    >>> sorted(dealt_blind({"network": 2, "twin": 1}))
    [('network', 0), ('network', 1), ('twin', 0)]
    """
    every = [(name, number) for name, count in sources.items() for number in range(count)]
    if not every:
        raise ValueError("sources must have at least one unit; they have none.")
    return [every[k] for k in torch.randperm(len(every), generator=seeded(generator)).tolist()]


def read_ratings(files: Iterable[str | Path]) -> dict[str, dict[int, bool]]:
    """Answers by rater and item, from files as the rating panel writes them (rater, item, answer, what).

    A rater's last answer to an item counts. Raises ValueError for a file with other columns, an item that is
    no number and an answer that is neither yes nor no; FileNotFoundError for one that is not there.
    """
    found: dict[str, dict[int, bool]] = {}
    for file in map(Path, files):
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text)
            if not set(COLUMNS[:3]) <= set(rows.fieldnames or ()):
                raise ValueError(
                    f"{file.name} must have the columns {', '.join(COLUMNS)}; it has "
                    f"{', '.join(rows.fieldnames or ()) or 'none'}. Save it with the panel's button."
                )
            for number, row in enumerate(rows, 2):
                said, item = (row["answer"] or "").strip().lower(), (row["item"] or "").strip()
                if said not in SAID or not item.isdigit():
                    raise ValueError(
                        f"{file.name}, line {number}: item must be a number and answer yes or no; got "
                        f"{row['item']!r} and {row['answer']!r}."
                    )
                found.setdefault((row["rater"] or "").strip() or file.stem, {})[int(item)] = SAID[said]
    return found


def yes_by_source(answers: Mapping[int, bool], key: Sequence[tuple[str, int]]) -> dict[str, Interval]:
    """For one rater the share of yes for each source, with its interval; items count from 1.

    Raises ValueError for an item that was not dealt.

    >>> yes_by_source({1: True, 2: False}, [("twin", 0), ("network", 0)])["twin"].value
    1.0
    """
    strange = [item for item in answers if not 1 <= item <= len(key)]
    if strange:
        raise ValueError(f"items must be those dealt, 1 to {len(key)}; got {strange[0]}.")
    said: dict[str, list[bool]] = {}
    for item, answer in sorted(answers.items()):
        said.setdefault(key[item - 1][0], []).append(answer)
    return {source: share(given) for source, given in said.items()}
