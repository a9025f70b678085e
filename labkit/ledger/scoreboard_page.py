"""The scoreboard as one page: a table for a slide, sorted by a click, light or dark, with no network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from labkit.attribution import METHODS
from labkit.evaluation import Interval
from labkit.ledger.scoreboard import ABOUT, BASELINES, LOW_IS_GOOD, METRICS, Row
from labkit.ledger.scoreboard_worlds import ASKED

__all__ = ["scoreboard_html"]

CSS = """
:root { color-scheme: light dark; --ink: #1c2430; --faint: #6a7686; --line: #d8dee6; --paper: #fff;
  --bar: #cfe3f7; --best: #0b5cad; --none: #f3f5f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf4; --faint: #97a5b6; --line: #35404d;
  --paper: #14191f; --bar: #21415f; --best: #7cc0ff; --none: #1c232b; } }
body { margin: 2rem auto; max-width: 78rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.4 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { color: var(--faint); margin: .2rem 0; max-width: 60rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; table-layout: fixed; width: 0; font-variant-numeric: tabular-nums; }
col { width: 9.8rem; } col:first-child { width: 13rem; } col:last-child { width: 6.2rem; }
th, td { padding: .28rem .45rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; }
thead th { font-weight: 600; }
thead button { all: unset; cursor: pointer; } thead button:focus-visible { outline: 2px solid var(--best); }
[aria-sort=ascending] button::after { content: " \\25b4"; }
[aria-sort=descending] button::after { content: " \\25be"; }
td { background: linear-gradient(var(--bar), var(--bar)) no-repeat left center / calc(var(--v, 0) * 1%) 76%; }
td small { color: var(--faint); font-size: .72em; display: inline-block; min-width: 7.2em; }
td.best { color: var(--best); font-weight: 700; } td.best small { font-weight: 400; }
tr.baseline { background: var(--none); } tr.baseline th { font-style: italic; }
tr.refused th { color: var(--faint); white-space: normal; }
th small { font-size: .75em; font-weight: 400; font-style: italic; }
@media print { thead button::after { content: none !important; } }
"""
SCRIPT = """
for (const button of document.querySelectorAll('thead button')) button.addEventListener('click', () => {
  const head = button.closest('th'), table = head.closest('table'), body = table.tBodies[0];
  const up = head.getAttribute('aria-sort') === 'descending' || (!head.ariaSort && 'low' in head.dataset);
  for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const key = row => { const cell = row.cells[head.cellIndex].dataset.v;
    return cell === undefined ? null : cell; };
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    const order = head.cellIndex ? x - y : x.localeCompare(y);
    return up ? order : -order;
  });
  body.append(...rows);
});
"""


NOTHING = '<td aria-label="not defined">&ndash;</td>'


def _cell(value: Interval | None, most: float, best: bool) -> str:
    """A number with its interval and a bar from 0 to ``most``, the largest of its column."""
    if value is None:
        return NOTHING
    share = 100 * max(0.0, value.value) / most if most > 0 else 0.0
    digits = 2 if most < 10 else 1
    middle, low, high = (f"{v:.{digits}f}".replace("-", "&minus;") for v in value)
    between = " to " if value.low < 0 else "&ndash;"
    return (
        f'<td{" class=best" if best else ""} data-v="{value.value:.5f}" style="--v:{share:.1f}">'
        f"{middle} <small>{low}{between}{high}</small></td>"
    )


def _columns(rows: Iterable[Row]) -> list[str]:
    """The measures that the rows hold, in the order of METRICS."""
    held = {metric for row in rows for metric in row.values}
    return [metric for metric in METRICS if metric in held]


def _head(row: Row) -> str:
    """A row's name, with its options to hover over, or with the reason why it holds no number."""
    options = ", ".join(f"{key}={value}" for key, value in row.options.items()) or "defaults"
    note = " <small>not defined here</small>" if row.refused else ""
    return (
        f'<th scope=row data-v="{html.escape(row.method)}" title="{html.escape(row.refused or options)}">'
        f"{html.escape(row.method)}{note}</th>"
    )


def _table(rows: Sequence[Row]) -> str:
    top: dict[str, float] = {}
    best: dict[str, float] = {}
    metrics = _columns(rows)
    for metric in metrics:
        found = [row.values.get(metric) for row in rows]
        top[metric] = max((v.value for v in found if v is not None), default=1.0)
        able = [v.value for row in rows if row.method in METHODS and (v := row.values.get(metric))]
        if able:
            best[metric] = min(able) if metric in LOW_IS_GOOD else max(able)
    heads = "".join(
        f'<th scope=col title="{html.escape(METRICS[metric])}"{" data-low" if metric in LOW_IS_GOOD else ""}>'
        f"<button>{metric} {'↓' if metric in LOW_IS_GOOD else '↑'}</button></th>"
        for metric in metrics
    )
    lines = []
    for row in rows:
        cells = ""
        for metric in metrics:
            value = row.values.get(metric)
            shines = value is not None and row.method in METHODS and value.value == best.get(metric)
            cells += _cell(value, top[metric], shines)
        kind = " class=refused" if row.refused else " class=baseline" if row.method in BASELINES else ""
        taken = row.seconds
        cells += NOTHING if taken is None else f'<td data-v="{taken:.5f}">{taken:.2g}</td>'
        lines.append(f"<tr{kind}>{_head(row)}{cells}</tr>")
    return (
        f"<div class=wide><table><colgroup><col>{'<col>' * len(metrics)}<col></colgroup>"
        "<thead><tr><th scope=col><button>method</button></th>"
        f"{heads}<th scope=col data-low><button>s / picture</button></th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def scoreboard_html(rows: Sequence[Row], *, about: Mapping[str, str] = ABOUT) -> str:
    """The page for the scoreboard's rows: a table a world, with the columns of its rows.

    The legend names the columns that are shown. A method that refused the network is there without numbers.
    Bold marks the best method of a column, not the best baseline; a small range is the 95% interval over
    scenes. Raises ValueError for no rows.

    >>> row = Row("clean", "saliency", {"energy": Interval(2.0, 1.8, 2.2)}, 0.01, 100)
    >>> "saliency" in scoreboard_html([row])
    True
    """
    if not rows:
        raise ValueError("rows must hold at least one row; got none.")
    parts = []
    for world in dict.fromkeys(row.world for row in rows):
        own = [row for row in rows if row.world == world]
        parts.append(
            f"<h2>{html.escape(about.get(world, world))}</h2>"
            f"<p>{own[0].scenes} scenes that every network of the table names rightly. "
            f"{html.escape(ASKED.get(world, ''))}</p>{_table(own)}"
        )
    legend = "".join(f"<p><b>{metric}</b>: {html.escape(METRICS[metric])}.</p>" for metric in _columns(rows))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
        'content="width=device-width, initial-scale=1">'
        f"<title>Which method is right?</title><style>{CSS}</style><h1>Which method is right?</h1>"
        "<p>All methods of labkit, on scenes whose cause is known. Rows in italics are no methods: what does "
        "not beat them has shown nothing. Click a heading to sort; hover over a name for its options.</p>"
        f"{''.join(parts)}<h2>What the columns say</h2>{legend}"
        "<p>Small numbers: the interval at 95% over scenes.</p>"
        f"<script>{SCRIPT}</script></html>"
    )
