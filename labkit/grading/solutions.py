"""The solution notebooks: answers written from the exercise files, nbgrader's metadata completed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from labkit.calls.exercise import Exercise

__all__ = ["BEGIN", "CHECK", "END", "annotate", "text_of", "write_answers"]

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CHECK = re.compile(r"""^\s*(?:\w+\s*=\s*)?check\(\s*["']([\w.]+)["']\s*,\s*(\w+)""", re.MULTILINE)


def text_of(cell: dict[str, Any]) -> str:
    """A cell's source, which may be stored as lines."""
    source = cell.get("source", "")
    return "".join(source) if isinstance(source, list) else source


def write_answers(raw: dict[str, Any], exercises: Sequence[Exercise]) -> list[str]:
    """Write each answer into the cell that defines it between the marks; the names of those that changed.

    ``raw``: a solution notebook, parsed JSON, changed in place. Signature and docstring come from the
    exercise too. What stands above or below the function in its cell stays. A body that holds marks of its
    own, around the part that students write, is taken as it is. An exercise that was not made from an answer
    is passed.
    """
    changed = []
    for exercise in exercises:
        if not exercise.answer:
            continue
        for cell in raw["cells"]:
            text = text_of(cell)
            written = _written(text, exercise)
            if cell["cell_type"] == "code" and written != text:
                cell["source"] = written.splitlines(keepends=True)
                changed.append(exercise.name)
    return changed


def _written(text: str, exercise: Exercise) -> str:
    """A cell's text with the exercise's answer in place of the function that stands there."""
    stands = re.search(
        rf"^def {exercise.name}\(.*?^[ \t]*{re.escape(END)}[^\n]*$", text, re.MULTILINE | re.DOTALL
    )
    if not stands:
        return text
    head, body = exercise.answer
    if BEGIN not in body:
        indent = body[: len(body) - len(body.lstrip())]
        body = f"{indent}{BEGIN}\n{body}\n{indent}{END}"
    return text[: stands.start()] + f"{head}\n{body}" + text[stands.end() :]


def annotate(raw: dict[str, Any], exercises: Sequence[Exercise]) -> bool:
    """Complete nbgrader's metadata in a solution notebook; whether anything was missing."""
    points, changed = {exercise.id: exercise.points for exercise in exercises}, False
    for cell in raw["cells"]:
        text, wanted = text_of(cell), {}
        checked = CHECK.search(text) if cell["cell_type"] == "code" else None
        base = {"schema_version": 3, "task": False}
        if BEGIN in text:
            manual = cell["cell_type"] == "markdown"
            wanted = {**base, "grade": manual, "solution": True, "locked": False, "grade_id": _grade_id(cell)}
            wanted |= {"points": 0} if manual else {}
        elif checked:
            worth = points.get(checked[1], 0)
            wanted = {**base, "grade": True, "solution": False, "locked": True, "points": worth,
                      "grade_id": "check_" + checked[1].replace(".", "_")}  # fmt: skip
        if wanted and cell.setdefault("metadata", {}).get("nbgrader") != wanted:
            if cell["metadata"].get("nbgrader", {}).get("grade_id"):
                wanted["grade_id"] = cell["metadata"]["nbgrader"]["grade_id"]
            changed |= cell["metadata"].get("nbgrader") != wanted
            cell["metadata"]["nbgrader"] = wanted
    return changed


def _grade_id(cell: dict[str, Any]) -> str:
    defined = re.search(r"^def (\w+)", text_of(cell), re.MULTILINE)
    return "write_" + (defined[1] if defined else str(cell.get("id", "cell")))
