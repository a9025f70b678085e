"""What a graded class is told: tables for the instructor, a page for each student, files for other systems.

A student's page holds the public cases, the hints and how many hidden cases passed; never a hidden case
itself.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.grading.grade import ClassReport

__all__ = ["write_reports", "feedback_page", "class_page", "item_analysis", "gradescope", "safe_name",
           "write_whole"]  # fmt: skip

TICK, CROSS = "\u2713", "\u2717"
STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --faint: #51606e; --line: #cdd5dd; --head: #f0f3f6;
  --full: #dff2e1; --some: #fff4d6; --none: #fbe3e0; --mark: #2d6da3; --hint: #eef5fb; --paper: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e4eaf0; --faint: #9fadba; --line: #3a4652;
  --head: #222b34; --full: #1d3a26; --some: #423a1b; --none: #452724; --mark: #6fb1e8;
  --hint: #1b2a38; --paper: #14191f } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: var(--ink); background: var(--paper) } a { color: var(--mark) } main { overflow-x: auto }
table { border-collapse: collapse; margin: 1rem 0 } caption { text-align: left; font-weight: 600 }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .7rem; text-align: left; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } th { background: var(--head) }
td.full { background: var(--full) } td.some { background: var(--some) } td.none { background: var(--none) }
td.bars { white-space: nowrap; font-variant-numeric: tabular-nums }
.hint { border-left: 4px solid var(--mark); background: var(--hint); padding: .5rem 1rem }
.bar { display: inline-block; height: .7rem; background: var(--mark) } small { color: var(--faint) }
@media print { body { max-width: none } }
"""


def _esc(text: object) -> str:
    return html.escape(str(text))


def _page(title: str, body: str) -> str:
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_esc(title)}</title><style>{STYLE}</style></head>\n<body><h1>{_esc(title)}</h1>\n<main>{body}</main></body></html>\n"
    )


def _number(value: float) -> str:
    return f"{value:g}" if value == round(value, 2) else f"{value:.2f}"


def _cell(points: float, out_of: float, word: str) -> str:
    kind = "full" if points >= out_of else "some" if points > 0 else "none"
    mark = TICK if kind == "full" else CROSS if kind == "none" else "~"
    said = "" if kind == "full" else f" <small>{_esc(word)}</small>"
    return f"<td class='{kind}'>{mark} {_number(points)}{said}</td>"


def item_analysis(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line per exercise, the costliest first: mean share of its points, and what cost the class most.

    Counted over the students who handed something in; ``misconceptions`` are (name, hint, how many, points
    lost).
    """
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["status"] == "missing":
            continue
        for item in row["exercises"]:
            line = lines.setdefault(
                item["id"],
                {"id": item["id"], "title": item["title"], "students": 0, "points": 0.0, "out_of": 0.0,
                 "words": Counter(), "names": Counter(), "lost": Counter(), "hints": {}},
            )  # fmt: skip
            line["students"] += 1
            line["points"] += item["points"]
            line["out_of"] += item["out_of"]
            line["words"][item["word"]] += 1
            if item["misconception"]:
                line["names"][item["misconception"]] += 1
                line["lost"][item["misconception"]] += item["out_of"] - item["points"]
                line["hints"][item["misconception"]] = item["hint"]
    for line in lines.values():
        line["lost_points"] = round(line["out_of"] - line["points"], 2)
        line["share"] = line["points"] / line["out_of"] if line["out_of"] else 0.0
        line["misconceptions"] = [
            (name, line["hints"][name], line["names"][name], round(lost, 2))
            for name, lost in line["lost"].most_common()
        ]
    return sorted(lines.values(), key=lambda line: -line["lost_points"])


def class_page(report: ClassReport, pages: dict[str, str]) -> str:
    """The page an instructor reads: a row per student, a column per exercise, and what cost the class
    most."""
    rows, heads = report.rows, report.exercises
    counts = Counter(row["status"] for row in rows)
    totals = [row["total"] for row in rows if row["status"] != "missing"]
    said = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    mean = f"; mean of those handed in {_number(round(sum(totals) / len(totals), 2))}" if totals else ""
    out_of = rows[0]["out_of"] if rows else 0
    body = [f"<p>{len(rows)} students: {_esc(said)}{mean} of {_number(out_of)} points.</p>"]
    body.append(f"<p>{_esc(report.sandbox)}.</p>")
    body.append("<table><caption>Marks</caption><thead><tr><th>student</th><th>status</th>")
    body += [f"<th title='{_esc(e.id)}'>{_esc(e.title)}</th>" for e in heads]
    body.append("<th class='n'>total</th></tr></thead><tbody>")
    for row in rows:
        name = f"<a href='{_esc(pages[row['student']])}'>{_esc(row['student'])}</a>"
        late = f"<br><small>{row['late_days']} days late</small>" if row["late_days"] else ""
        why = f"<br><small>{_esc(row['problems'][0])}</small>" if row["problems"] else ""
        body.append(f"<tr><td>{name} {_esc(row['name'])}{late}</td><td>{_esc(row['status'])}{why}</td>")
        body += [_cell(item["points"], item["out_of"], item["word"]) for item in row["exercises"]]
        body.append(f"<td class='n'><b>{_number(row['total'])}</b></td></tr>")
    body.append("</tbody></table>")
    body.append("<table><caption>What cost the class most</caption><thead><tr><th>exercise</th>")
    body.append("<th class='n'>points lost</th><th>mean</th><th>recognised mistakes</th></tr></thead><tbody>")
    for line in item_analysis(rows):
        found = "<br>".join(
            f"{count} &times; {_esc(name)} ({_number(lost)} points): {_esc(hint)}"
            for name, hint, count, lost in line["misconceptions"]
        )
        words = ", ".join(f"{count} {word}" for word, count in line["words"].most_common())
        share = round(100 * line["share"])
        body.append(
            f"<tr><td>{_esc(line['title'])}<br><small>{_esc(words)}</small></td>"
            f"<td class='n'>{_number(line['lost_points'])}</td>"
            f"<td class='bars'><span class='bar' style='width:{share}px'></span> {share}%</td>"
            f"<td>{found or 'none'}</td></tr>"
        )
    body.append("</tbody></table>")
    notes = [
        (row["student"], e["title"], note) for row in rows for e in row["exercises"] for note in e["notes"]
    ]
    if notes:
        body.append("<h2>To look at</h2><ul>")
        body += [f"<li>{_esc(who)}, {_esc(title)}: {_esc(note)}</li>" for who, title, note in notes]
        body.append("</ul>")
    return _page(report.course.name or "Marks", "\n".join(body))


def feedback_page(row: dict[str, Any]) -> str:
    """A student's page."""
    late = f", {row['late_days']} days late" if row["late_days"] else ""
    body = [
        f"<p><b>{_number(row['total'])} of {_number(row['out_of'])} points</b> "
        f"({_esc(row['status'])}{late}).</p>"
    ]
    body += [f"<p>{_esc(problem)}</p>" for problem in row["problems"]]
    for item in row["exercises"]:
        body.append(
            f"<h2>{_esc(item['title'])}: {_number(item['points'])} of {_number(item['out_of'])}</h2><table>"
        )
        for case in item["cases"]:
            if case["group"] != "public":
                continue
            verdict = case["verdict"]
            mark = TICK if verdict["passed"] else CROSS
            kind = "full" if verdict["passed"] else "none"
            body.append(
                f"<tr><td class='{kind}'>{mark} {_esc(verdict['word'])}</td>"
                f"<td>{_esc(case['name'])}<br><small>{_esc(verdict['difference'])}</small></td></tr>"
            )
        hidden = [case for case in item["cases"] if case["group"] == "hidden"]
        passed = sum(case["verdict"]["passed"] for case in hidden)
        body.append(f"</table><p>{passed} of {len(hidden)} hidden checks passed.</p>")
        if item["hint"]:
            body.append(f"<p class='hint'><b>Hint.</b> {_esc(item['hint'])}</p>")
        body += [f"<p><small>Note: {_esc(note)}</small></p>" for note in item["notes"]]
    return _page(f"Feedback for {row['name'] or row['student']}", "\n".join(body))


def gradescope(row: dict[str, Any]) -> dict[str, Any]:
    """Gradescope's ``results.json`` for one student: a test per exercise, hidden cases not described."""
    tests = []
    for item in row["exercises"]:
        lines = []
        for case in item["cases"]:
            if case["group"] == "public":
                mark = TICK if case["verdict"]["passed"] else CROSS
                verdict = case["verdict"]
                lines.append(f"{mark} {verdict['word']}: {case['name']}. {verdict['difference']}")
        hidden = [case["verdict"]["passed"] for case in item["cases"] if case["group"] == "hidden"]
        lines.append(f"{sum(hidden)} of {len(hidden)} hidden checks passed.")
        if item["hint"]:
            lines.append(f"Hint: {item['hint']}")
        full = item["points"] >= item["out_of"]
        tests.append(
            {
                "name": item["title"],
                "score": item["points"],
                "max_score": item["out_of"],
                "status": "passed" if full else "failed",
                "output": "\n".join(lines),
                "visibility": "visible",
            }
        )
    return {"score": row["total"], "output": f"status: {row['status']}", "tests": tests}


def _table(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[_tame(cell) for cell in row] for row in rows])
    return text.getvalue()


def _tame(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula is made plain text."""
    return "'" + cell if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell


def safe_name(student: str) -> str:
    """A file name for a student's id; different ids never share one.

    >>> safe_name("ada"), safe_name("../ada")[:4]
    ('ada', '.._a')
    """
    safe = re.sub(r"[^\w.@+-]", "_", student)
    if safe == student and not safe.startswith(".") and len(safe) < 100 and safe == safe.lower():
        return safe
    return f"{safe[:80]}-{hashlib.sha256(student.encode()).hexdigest()[:8]}"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_reports(report: ClassReport) -> None:
    """Write grades.csv, items.csv, index.html, feedback/*.html and gradescope/*.json into the report's
    folder."""
    out: Path = report.out
    for folder in ("feedback", "gradescope"):
        (out / folder).mkdir(exist_ok=True)
    pages = {}
    for row in report.rows:
        name = safe_name(row["student"])
        pages[row["student"]] = f"feedback/{name}.html"
        write_whole(out / "feedback" / f"{name}.html", feedback_page(row))
        write_whole(out / "gradescope" / f"{name}.json", json.dumps(gradescope(row), indent=1))
    heads = [exercise.id for exercise in report.exercises]
    grades = [["student", "name", "email", *heads, "total", "out_of", "late_days", "status"]]
    for row in report.rows:
        marks = [item["points"] for item in row["exercises"]]
        grades.append(
            [row["student"], row["name"], row["email"], *marks,
             row["total"], row["out_of"], row["late_days"], row["status"]]
        )  # fmt: skip
    write_whole(out / "grades.csv", _table(grades))
    items: list[list[Any]] = [
        ["exercise", "students", "mean_share", "points_lost", "misconception", "count", "lost"]
    ]
    for line in item_analysis(report.rows):
        base = [line["id"], line["students"], round(line["share"], 3), line["lost_points"]]
        items += [[*base, name, count, lost] for name, _, count, lost in line["misconceptions"]] or [
            [*base, "", 0, 0]
        ]
    write_whole(out / "items.csv", _table(items))
    write_whole(out / "index.html", class_page(report, pages))
