"""The scoreboard as one page: a table for a slide, sorted by a click, light or dark, with no network.

``scoreboard.html`` beside this file is its template; what is made here are the cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from labkit.attribution import METHODS
from labkit.evaluation import Interval
from labkit.ledger.scoreboard import ABOUT, BASELINES, LOW_IS_GOOD, METRICS, Row
from labkit.ledger.scoreboard_worlds import ASKED

__all__ = ["scoreboard_html"]

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


@cache
def _template() -> jinja2.Template:
    text = Path(__file__).with_name("scoreboard.html").read_text("utf-8")
    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)


def _cell(value: Interval | None, most: float, best: bool) -> dict[str, Any] | None:
    """A number with its interval and a bar from 0 to ``most``, the largest of its column."""
    if value is None:
        return None
    share = 100 * max(0.0, value.value) / most if most > 0 else 0.0
    digits = 2 if most < 10 else 1
    middle, low, high = (f"{v:.{digits}f}".replace("-", MINUS) for v in value)
    return {
        "value": f"{value.value:.5f}", "share": f"{share:.1f}", "middle": middle, "low": low, "high": high,
        "between": " to " if value.low < 0 else DASH, "best": best,
    }  # fmt: skip


def _columns(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The measures that the rows hold, in the order of METRICS."""
    held = {metric for row in rows for metric in row.values}
    return [{"name": m, "says": METRICS[m], "low": m in LOW_IS_GOOD} for m in METRICS if m in held]


def _row(row: Row, cells: list[dict[str, Any] | None]) -> dict[str, Any]:
    """A row; its name has the options to hover over, or the reason why it holds no number or is stale."""
    options = ", ".join(f"{key}={value}" for key, value in row.options.items()) or "defaults"
    old = f"stale: {'; '.join(row.stale)}" if row.stale else ""
    kinds = {"refused": row.refused, "baseline": row.method in BASELINES, "stale": row.stale}
    return {
        "name": row.method, "title": "; ".join(filter(None, [row.refused or options, old])), "cells": cells,
        "kinds": " ".join(kind for kind, true in kinds.items() if true), "refused": bool(row.refused),
        "seconds": row.seconds,
    }  # fmt: skip


def _table(rows: Sequence[Row], about: str, asked: str) -> dict[str, Any]:
    columns = _columns(rows)
    top: dict[str, float] = {}
    best: dict[str, float] = {}
    for metric in (column["name"] for column in columns):
        found = [row.values.get(metric) for row in rows]
        top[metric] = max((v.value for v in found if v is not None), default=1.0)
        able = [v.value for row in rows if row.method in METHODS and (v := row.values.get(metric))]
        if able:
            best[metric] = min(able) if metric in LOW_IS_GOOD else max(able)
    lines = []
    for row in rows:
        cells = []
        for metric in (column["name"] for column in columns):
            value = row.values.get(metric)
            shines = value is not None and row.method in METHODS and value.value == best.get(metric)
            cells.append(_cell(value, top[metric], shines))
        lines.append(_row(row, cells))
    return {
        "about": about, "asked": asked, "scenes": rows[0].scenes, "columns": columns, "rows": lines
    }  # fmt: skip


def _stale(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Why rows are stale, each reason with the rows that it concerns."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for reason in row.stale:
            found.setdefault(reason, []).append(f"{row.method} ({row.world})")
    return [(reason, ", ".join(names)) for reason, names in found.items()]


def scoreboard_html(rows: Sequence[Row], *, about: Mapping[str, str] = ABOUT) -> str:
    """The page for the scoreboard's rows: a table a world, with the columns of its rows.

    The legend names the columns that are shown. A method that refused the network is there without numbers,
    a row that is stale with a dagger and the reason below. Bold marks the best method of a column, not the
    best baseline; a small range is the 95% interval over scenes. Raises ValueError for no rows.

    >>> row = Row("clean", "saliency", {"energy": Interval(2.0, 1.8, 2.2)}, 0.01, 100)
    >>> "saliency" in scoreboard_html([row])
    True
    """
    if not rows:
        raise ValueError("rows must hold at least one row; got none.")
    tables = [
        _table([r for r in rows if r.world == world], about.get(world, world), ASKED.get(world, ""))
        for world in dict.fromkeys(row.world for row in rows)
    ]
    return _template().render(tables=tables, legend=_columns(rows), stale=_stale(rows))
