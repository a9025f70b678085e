"""``labkit release``: the students' notebooks, generated from the solutions.

Between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` stands what students write; it becomes ``# YOUR CODE
HERE`` and ``raise NotImplementedError()``. Cells that would fail for that reason, here or further down, get
the tag ``raises-exception``, so that an unsolved notebook still runs to its end. Cells carry nbgrader's
metadata (schema 3), completed in the sources where it is missing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import labkit
from labkit.calls.exercise import Exercise
from labkit.calls.names import bound_names, used_names
from labkit.calls.notebook import WORDS_HERE
from labkit.core.files import write_whole
from labkit.grading.solutions import BEGIN, CHECK, END, annotate, text_of, write_answers

__all__ = ["ReleaseError", "release", "student_copy", "is_edited"]

TAG = "raises-exception"


class ReleaseError(ValueError):
    """A solution notebook that must not be released; the message names the cell and the reason."""


def _where(name: str, number: int, cell: dict[str, Any]) -> str:
    return f"{name}, cell {number} (id {cell.get('id', 'none')})"


def _strip(text: str, where: str, markdown: bool) -> str:
    """The text with each solution region replaced by its stub."""
    lines, inside = [], False
    for line in text.split("\n"):
        mark = line.strip().removeprefix("<!--").removesuffix("-->").strip()
        if mark == BEGIN:
            if inside:
                raise ReleaseError(f"{where}: {BEGIN} stands within a solution. Close the one before.")
            inside, indent = True, line[: len(line) - len(line.lstrip())]
            stub = [f"*{WORDS_HERE}*"] if markdown else ["# YOUR CODE HERE", "raise NotImplementedError()"]
            lines += [indent + stub_line for stub_line in stub]
        elif mark == END:
            if not inside:
                raise ReleaseError(f"{where}: {END} without {BEGIN}. Write it above the solution.")
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise ReleaseError(f"{where}: {BEGIN} without {END}. Write it below the solution.")
    stripped = "\n".join(lines)
    if re.search(r"(BEGIN|END) SOLUTION", stripped):
        raise ReleaseError(f"{where}: a solution's mark is left. It must stand alone on its line: {BEGIN}.")
    return stripped


def _regions(text: str) -> list[str]:
    return [part.split(END)[0] for part in text.split(BEGIN)[1:]]


def _tainted(cell: str, taint: set[str]) -> tuple[bool, set[str]]:
    """Whether a cell fails while ``taint`` cannot be used, and the names that it then fails to give."""
    plain = re.sub(r"^\s*[%!].*$", "", cell, flags=re.MULTILINE)
    try:
        statements = ast.parse(plain).body
    except SyntaxError:
        return True, set()
    failed = False
    spoilt: set[str] = set()
    for statement in statements:
        definition = isinstance(statement, (ast.FunctionDef, ast.ClassDef))
        if definition and not failed:
            if used_names(statement) & (taint | spoilt) or "raise NotImplementedError()" in ast.unparse(
                statement
            ):
                spoilt |= bound_names(statement)
            continue
        is_check = CHECK.match(ast.unparse(statement)) is not None
        used = set() if is_check else used_names(statement)
        stub = not definition and "raise NotImplementedError()" in ast.unparse(statement)
        failed = failed or stub or bool(used & (taint | spoilt))
        if failed:
            spoilt |= bound_names(statement)
    return failed, spoilt


def student_copy(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """The student's notebook for a solution notebook (parsed JSON), cleared and tagged.

    Raises ReleaseError naming the cell for marks that do not pair, text of a solution that is left, and ids
    that repeat.
    """
    book = deepcopy(raw)
    taint: set[str] = set()
    ids: set[str] = set()
    regions = [region for cell in raw["cells"] for region in _regions(text_of(cell))]
    for number, cell in enumerate(book["cells"], start=1):
        where = _where(name, number, cell)
        grade_id = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")
        for id in filter(None, (cell.get("id"), grade_id and "nbgrader " + grade_id)):
            if id in ids:
                raise ReleaseError(f"{where}: the id {id!r} stands there twice. Give this cell another.")
            ids.add(id)
        text = _strip(text_of(cell), where, cell["cell_type"] == "markdown")
        cell["source"] = text.splitlines(keepends=True)
        for region in regions:
            if region.strip().count("\n") >= 2 and _squeezed(region) in _squeezed(text):
                raise ReleaseError(f"{where}: the text of a solution is left. Take it out of this cell.")
        if cell["cell_type"] != "code":
            continue
        cell["outputs"], cell["execution_count"] = [], None
        tags = [tag for tag in cell["metadata"].get("tags", []) if tag != TAG]
        fails, spoilt = _tainted(text, taint)
        taint |= spoilt
        if TAG in raw["cells"][number - 1].get("metadata", {}).get("tags", []):
            raise ReleaseError(f"{where}: a solution must not carry the tag {TAG}. Take it off.")
        if fails:
            tags.append(TAG)
        if tags:
            cell["metadata"]["tags"] = tags
    for key in ("widgets", "signature"):
        book["metadata"].pop(key, None)
    book["metadata"]["labkit"] = {"notebook": name, "kit": labkit.__version__}
    book["metadata"]["labkit"]["released"] = _digest(book)
    return book


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _digest(book: dict[str, Any]) -> str:
    cells = [[cell.get("cell_type"), text_of(cell)] for cell in book["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]


def is_edited(path: Path) -> bool:
    """Whether a notebook's cells differ from those it was released with (or it was not released at all)."""
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        return book["metadata"]["labkit"]["released"] != _digest(book)
    except (ValueError, KeyError, TypeError):
        return True


def _verify(raw: dict[str, Any], book: dict[str, Any], name: str, exercises: Sequence[Exercise]) -> None:
    """Raise ReleaseError unless the solution passes all, the stub nothing, and no misconception
    everything."""
    from labkit.calls.notebook import parse_notebook
    from labkit.checking.audit import audit
    from labkit.checking.judge import Judge
    from labkit.sandbox.job import Job
    from labkit.sandbox.sandbox import plain_sandbox

    known = {exercise.id: exercise for exercise in exercises}
    checked: dict[str, str] = {}
    for number, cell in enumerate(raw["cells"], start=1):
        for id, function in CHECK.findall(text_of(cell)) if cell["cell_type"] == "code" else ():
            where = _where(name, number, cell)
            if id not in known:
                raise ReleaseError(
                    f"{where}: no exercise {id!r} belongs to this notebook ({', '.join(known)})."
                )
            if id in checked:
                raise ReleaseError(f"{where}: {id!r} is checked here and in {checked[id]}.")
            if function != known[id].name:
                raise ReleaseError(f"{where}: check({id!r}, {function}) should hand over {known[id].name}.")
            checked[id] = where
    for id in known:
        if id not in checked:
            raise ReleaseError(f"{name}: no cell checks {id!r}. Write check({id!r}, {known[id].name}).")
    solved, untouched = (parse_notebook(json.dumps(b).encode(), name) for b in (raw, book))
    blocks = sorted({block for exercise in exercises for block in exercise.blocks})
    for id, exercise in known.items():
        judge = Judge(exercise, seed=2024)
        cases = [case for _, case in judge.cases]

        def run(notebook: Any, exercise: Exercise = exercise, cases: list[Any] = cases) -> Any:
            steps = notebook.slice(exercise.name)
            return plain_sandbox().run(Job(exercise.name, steps, cases, blocks, exercise.seconds))

        done = run(solved)
        for (group, case), verdict in zip(judge.cases, judge.verdicts(done.outcomes), strict=True):
            if not verdict.passed:
                why = f"{verdict.word}: {verdict.difference or done.notes}"
                raise ReleaseError(
                    f"{checked[id]}: the solution of {id} fails the {group} case {case.name!r} ({why})."
                )
        for (_, case), verdict in zip(judge.cases, judge.verdicts(run(untouched).outcomes), strict=True):
            if verdict.passed:
                raise ReleaseError(f"{checked[id]}: the stub of {id} passes the case {case.name!r}.")
        for complaint in audit(exercise, seed=2024):
            raise ReleaseError(f"{checked[id]}: {complaint}")


def release(
    solutions: str | Path = "solutions",
    notebooks: str | Path = "notebooks",
    *,
    exercises: Mapping[str, Sequence[Exercise]] | None = None,
    verify: bool = True,
) -> list[Path]:
    """Write the students' notebooks; gives the paths written (those that are up to date are left alone).

    ``solutions``: folder of the solution notebooks; answers are written there from the exercise files, and
    missing nbgrader metadata is completed.
    ``notebooks``: folder of the student copies; made if it is not there.
    ``exercises``: notebooks' names with their exercises; default: the kit's.
    ``verify``: also run the solutions, the stubs and the misconceptions.

    Nothing is written unless every notebook may be. Raises ReleaseError naming the cell, and
    FileNotFoundError where there are no solutions.
    """
    from labkit.exercises import notebooks as course

    sources = sorted(Path(solutions).glob("*.ipynb"))
    if not sources:
        raise FileNotFoundError(
            f"no solution notebooks in {Path(solutions)}. Run this in a checkout of the kit."
        )
    kits = exercises if exercises is not None else course()
    planned: list[tuple[Path, str]] = []
    for path in sources:
        raw = json.loads(path.read_text(encoding="utf-8"))
        asked = kits.get(path.stem, ())
        if [*write_answers(raw, asked), annotate(raw, asked)] != [False]:
            planned.append((path, _dump(raw)))
        book = student_copy(raw, path.stem)
        if verify:
            _verify(raw, book, path.stem, asked)
        target, text = Path(notebooks) / path.name, _dump(book)
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        if target.exists() and is_edited(target):
            raise ReleaseError(
                f"{target} has been edited since its release. Move it away, then release again."
            )
        planned.append((target, text))
    for target, text in planned:
        write_whole(target, text)
    return [target for target, _ in planned]


def _dump(book: dict[str, Any]) -> str:
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
