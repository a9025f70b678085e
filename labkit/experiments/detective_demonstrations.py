"""What lab 35 draws beside its claim: five in a line, tables of edits, what rows read of a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.data import CLASSES
from labkit.evaluation.detective import CASES, EDITS, answers, case, pictures
from labkit.experiments.finding_and_fixing import HEAD, LAST
from labkit.models import features

Own = Callable[..., Any]


def words(change: Mapping[str, str]) -> str:
    """An edit in a word or two.

    >>> words({"ground": "snow"}), words({"without": "tag"}), words({"decal": "tag"})
    ('on snow', 'without tag', 'with tag')
    """
    ((what, value),) = change.items()
    return {"ground": "on {}", "without": "without {}", "decal": "with {}"}.get(what, "{}").format(value)


class Table(NamedTuple):
    """``values`` with a name for each row and column."""

    values: Float[Tensor, "R C"]
    rows: list[str]
    columns: list[str]


def lineup(student: str, *, missed: Own) -> Table:
    """The share of each class that each of the five networks misses, on the same scenes."""
    missed(torch.zeros(2, 2))  # unwritten: say so at once
    shares = []
    with working("scenes of twelve classes", CASES, "case") as work:
        for number in range(1, CASES + 1):
            network = case(student, number)
            shares.append(missed(torch.stack([answers(network, kind) for kind in CLASSES])))
            work.at(number)
    return Table(torch.stack(shares), [f"case {n}" for n in range(1, CASES + 1)], list(CLASSES))


def table_of(model: nn.Module, kind: str, factor: str, *, turn_table: Own) -> Table:
    """The student's table of edits of one kind, such as "color", for a class."""
    turn_table(torch.zeros(2, 2), 0)  # unwritten: say so at once
    changes = EDITS[factor]
    told = torch.stack([answers(model, kind, change) for change in changes])
    names = [words(change) for change in changes]
    return Table(turn_table(told, CLASSES.index(kind)), names, names)


def readings(
    models: Mapping[str, nn.Module], kind: str, what: Mapping[str, str], by_what: Mapping[str, str],
    count: int, *, paired_direction: Own,
) -> Table:  # fmt: skip
    """How much each class's row of the last layer reads of the direction that an edit takes away: the change
    of its score when the features move as far as the edit moves them, in logits."""
    paired_direction(torch.ones(2, 2), torch.zeros(2, 2))  # unwritten: say so at once
    rows = []
    for model in models.values():
        shown, gone = (
            features(model, pictures(kind, change, count), LAST, pool="mean") for change in (what, by_what)
        )
        direction = paired_direction(shown, gone)
        far = (shown - gone).mean(0) @ direction
        weight = model.get_submodule(HEAD).weight.detach()  # type: ignore[union-attr, operator]
        rows.append(far * (weight @ direction))  # type: ignore[operator]
    return Table(torch.stack(rows), list(models), list(CLASSES))
