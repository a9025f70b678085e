"""The scoreboard as one page: a table for a slide, sorted by a click, light or dark, with no network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from labkit.attribution import METHODS
from labkit.evaluation import Interval
from labkit.scoreboard import ABOUT, BASELINES, LOW_IS_GOOD, METRICS, Row

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
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; }
thead th { font-weight: 600; }
thead button { all: unset; cursor: pointer; } thead button:focus-visible { outline: 2px solid var(--best); }
[aria-sort=ascending] button::after { content: " \\25b4"; }
[aria-sort=descending] button::after { content: " \\25be"; }
td { background: linear-gradient(var(--bar), var(--bar)) no-repeat left center / calc(var(--v, 0) * 1%) 76%; }
td small { color: var(--faint); font-size: .75em; display: inline-block; min-width: 6.2em; }
td.best { color: var(--best); font-weight: 700; }
tr.baseline { background: var(--none); } tr.baseline th { font-style: italic; }
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


def _cell(value: Interval | None, metric: str, most: float, best: bool) -> str:
    if value is None:
        return '<td aria-label="not defined">&ndash;</td>'
    share = 100 * max(0.0, value.value) / most if most > 0 else 0.0
    return (
        f'<td{" class=best" if best else ""} data-v="{value.value:.5f}" style="--v:{share:.1f}">'
        f"{value.value:.2f} <small>{value.low:.2f}&ndash;{value.high:.2f}</small></td>"
    )


def _table(rows: Sequence[Row]) -> str:
    top: dict[str, float] = {}
    best: dict[str, float] = {}
    for metric in METRICS:
        found = [row.values[metric] for row in rows]
        top[metric] = max((v.value for v in found if v is not None), default=1.0)
        able = [v.value for row in rows if row.method in METHODS and (v := row.values[metric]) is not None]
        if able:
            best[metric] = min(able) if metric in LOW_IS_GOOD else max(able)
    heads = "".join(
        f'<th scope=col title="{html.escape(text)}"{" data-low" if metric in LOW_IS_GOOD else ""}>'
        f"<button>{metric} {'↓' if metric in LOW_IS_GOOD else '↑'}</button></th>"
        for metric, text in METRICS.items()
    )
    lines = []
    for row in rows:
        cells = ""
        for metric in METRICS:
            value = row.values[metric]
            shines = value is not None and row.method in METHODS and value.value == best.get(metric)
            cells += _cell(value, metric, top[metric], shines)
        options = ", ".join(f"{key}={value}" for key, value in row.options.items()) or "defaults"
        lines.append(
            f"<tr{' class=baseline' if row.method in BASELINES else ''}>"
            f'<th scope=row data-v="{html.escape(row.method)}" title="{html.escape(options)}">'
            f"{html.escape(row.method)}</th>{cells}"
            f'<td data-v="{row.seconds:.5f}">{row.seconds:.2g}</td></tr>'
        )
    return (
        "<div class=wide><table><thead><tr><th scope=col><button>method</button></th>"
        f"{heads}<th scope=col data-low><button>s / picture</button></th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def scoreboard_html(rows: Sequence[Row], *, about: Mapping[str, str] = ABOUT) -> str:
    """The page for rows of ``labkit.scoreboard.scoreboard``, one table a world.

    Bold marks the best method of a column, not the best baseline; a small range is the 95% interval over
    scenes. Raises ValueError for no rows.

    >>> row = Row("clean", "saliency", dict.fromkeys(METRICS, Interval(0.5, 0.4, 0.6)), 0.01, 100)
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
            f"<p>{own[0].scenes} scenes that the network names rightly.</p>{_table(own)}"
        )
    legend = "".join(f"<p><b>{metric}</b>: {html.escape(text)}.</p>" for metric, text in METRICS.items())
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
