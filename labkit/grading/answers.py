"""Answers in the solution notebooks: written from the exercise files, which are their one source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from labkit.calls.exercise import Exercise

__all__ = ["BEGIN", "END", "write_answers"]

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


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
            text = "".join(cell["source"])
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
