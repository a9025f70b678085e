"""Find a student's functions in a notebook, whatever has happened to its cells.

How a worker runs a submission: not cell by cell. A notebook holds plots, widgets, training loops and checks
that cost minutes and may fail for reasons that have nothing to do with the question. For each exercise only
the part that its function needs is taken: the function's definitions by name; the definitions, imports and
assignments of the names it uses, of the names these use, and so on, in the order of the notebook, the last
definition winning. So a copied, deleted, renamed or retyped cell changes nothing, a loop at the top level
of an unrelated cell is never entered, and a broken cell costs only what is defined in it. A name that
nothing defines is reported when the function is called, as a NameError with its cure. What is given up: a
function that relies on a side effect of an unrelated statement (``list.append`` at the top level) sees the
state before it.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.calls.magics import without_magics
from labkit.calls.names import bound_names, called_names, free_names, inner_names, used_names

__all__ = [
    "Notebook",
    "Step",
    "parse_notebook",
    "read_notebook",
    "notebook_name",
    "plain",
    "stale_state",
]

WORDS_HERE = "Your answer here."  # stands where a student is to answer in words

LARGEST = 64 << 20  # bytes: outputs of a lab may well be 40 MB
NOT_ENTERED = {"start", "check", "claim"}


@dataclass(frozen=True)
class Step:
    """One statement of the slice: the source of its cell blanked down to it, so that line numbers hold."""

    cell: int
    source: str


@dataclass
class Notebook:
    """The code cells of a notebook, as written; `broken` maps a cell's number to what is wrong with it;
    `answers` are those in words, by their ids, `questions` the texts above them.

    A statement that Python reads and cannot compile costs itself; one that cannot be read costs its cell.
    """

    cells: list[tuple[int, str]]
    counts: list[int | None] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    questions: dict[str, str] = field(default_factory=dict)
    _parsed: list[tuple[int, str, ast.stmt]] = field(default_factory=list)
    _free: list[set[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, source in self.cells:
            try:
                text = without_magics(_newlines(source))
                tree = ast.parse(text)
            except Exception as error:  # also what IPython's own reader may raise
                self.broken[number] = _fault(error)
                continue
            for statement in tree.body:
                try:
                    free = free_names(_segment(text, statement))
                except Exception as error:
                    self.broken.setdefault(number, _fault(error))
                    continue
                self._parsed.append((number, text, statement))
                self._free.append(free)

    def defines(self, name: str) -> bool:
        """Whether some cell that can be read binds ``name`` at its top level."""
        return any(name in bound_names(statement) for _, _, statement in self._parsed)

    def why_unreadable(self, name: str) -> str:
        """What is wrong with a broken cell that defines this name, empty where there is no such cell."""
        for number, source in self.cells:
            if number in self.broken and re.search(
                rf"^\s*def\s+{name}\b|^\s*{name}\s*=", source, re.MULTILINE
            ):
                return f"the cell that defines {name} cannot be read: {self.broken[number]}"
        return ""

    def slice(self, name: str) -> list[Step]:
        """The statements that the function ``name`` needs, in the order of the notebook."""
        bound = [bound_names(statement) for _, _, statement in self._parsed]
        wanted, taken = [name], set()
        known: set[str] = set()
        while wanted:
            current = wanted.pop()
            if current in known:
                continue
            known.add(current)
            for index, (_, _, statement) in enumerate(self._parsed):
                if index in taken or not (current in bound[index] or "*" in bound[index]):
                    continue
                if called_names(statement) & NOT_ENTERED:
                    continue
                taken.add(index)
                wanted += self._free[index] - known
        return [Step(self._parsed[i][0], _segment(*self._parsed[i][1:])) for i in sorted(taken)]

    def imports(self, name: str) -> set[str]:
        """The top-level modules that the function's slice imports."""
        found: set[str] = set()
        for step in self.slice(name):
            for node in ast.walk(ast.parse(step.source)):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found.add((node.module or "").split(".")[0])
        return found - {"", "__future__"}

    def definition(self, name: str) -> ast.FunctionDef | None:
        """The function's last definition, None where it is not made by ``def`` at the top level."""
        found = [s for _, _, s in self._parsed if isinstance(s, ast.FunctionDef) and s.name == name]
        return found[-1] if found else None

    def words(self, name: str) -> set[str]:
        """Every name and attribute that the function's slice uses."""
        nodes = [node for step in self.slice(name) for node in ast.walk(ast.parse(step.source))]
        used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        return used | {node.id for node in nodes if isinstance(node, ast.Name)}


def _newlines(source: str) -> str:
    """The source with the line breaks that Python knows, and only these, as newlines."""
    return source.replace("\r\n", "\n").replace("\r", "\n")


def _fault(error: BaseException) -> str:
    """What is wrong with a cell, in a line that can be written into any file."""
    where = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
    text = f"{type(error).__name__}{where}: {getattr(error, 'msg', error)}"
    return text.encode("utf-8", "backslashreplace").decode()


def _segment(source: str, statement: ast.stmt) -> str:
    """One statement of a cell, blank lines above it, so that its line numbers hold."""
    lines = source.split("\n")  # not splitlines: U+2028 and \x0b are no line breaks to Python
    first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
    segment = lines[first - 1 : statement.end_lineno]
    one_line = statement.lineno == statement.end_lineno or ";" in segment[-1]
    if one_line and first == statement.lineno:  # several statements may share a line
        segment = (ast.get_source_segment(source, statement) or "").split("\n")
    return "\n" * (first - 1) + "\n".join(segment)


def _code_cells(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cells = raw.get("cells")
    if not isinstance(cells, list):  # nbformat 3 kept its cells in worksheets
        cells = [cell for sheet in raw.get("worksheets") or [] for cell in sheet.get("cells", [])]
    for cell in cells:
        if isinstance(cell, dict):
            yield cell


def _asked_in_words(cell: dict[str, Any]) -> str:
    """The id of a cell in which a student is to answer in words, else the empty string."""
    about = cell.get("metadata")
    about = about.get("nbgrader") if isinstance(about, dict) else None
    wanted = isinstance(about, dict) and about.get("solution") and cell.get("cell_type") == "markdown"
    return str(about.get("grade_id") or "") if wanted and isinstance(about, dict) else ""


def _no_notebook(name: str, error: Exception) -> str:
    """What is wrong with a file, in words that need no knowledge of how notebooks are stored."""
    if not name.lower().endswith(".ipynb"):
        return "a notebook's name ends in .ipynb"
    if isinstance(error, json.JSONDecodeError) and error.lineno > 1:
        return f"it is damaged or breaks off in line {error.lineno}; save it in JupyterLab once more"
    return "it is empty, damaged or something else with the name of one; save it in JupyterLab once more"


def parse_notebook(data: bytes, name: str) -> Notebook:
    """The notebook in ``data``; only its JSON is read. Raises ValueError, with what is wrong, naming
    ``name``.

    A cell that has been retyped as text is read as code where it holds a definition or an import.
    """
    try:
        raw = json.loads(data.decode("utf-8-sig"))
        if not {"cells", "worksheets"} & raw.keys():
            raise TypeError("no cells")
        cells, counts, answers, questions, above = [], [], {}, {}, ""
        for number, cell in enumerate(_code_cells(raw), start=1):
            source = cell.get("source", cell.get("input", ""))
            source = "".join(map(str, source)) if isinstance(source, list) else str(source)
            if id := _asked_in_words(cell):
                answers[id], questions[id] = source, above
            above = source if cell.get("cell_type") == "markdown" else ""
            retyped = cell.get("cell_type") != "code" and re.match(r"\s*(def|import|from|@)\s", source)
            if cell.get("cell_type") == "code" or retyped:
                cells.append((number, source))
                counts.append(cell.get("execution_count"))
        metadata = raw.get("metadata")
        about = metadata if isinstance(metadata, dict) else {}
        return Notebook(cells, counts, about, answers=answers, questions=questions)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} is not a notebook that can be read: {_no_notebook(name, error)}") from None


def read_notebook(path: str | Path) -> Notebook:
    """The notebook at ``path``, see `parse_notebook`. Raises ValueError also for one that is far too
    large."""
    path = Path(path)
    if path.stat().st_size > LARGEST:
        raise ValueError(
            f"{path.name} is larger than {LARGEST >> 20} MB; clear its outputs and hand it in again."
        )
    return parse_notebook(path.read_bytes(), path.name)


def notebook_name(filename: str, known: Iterable[str]) -> str | None:
    """Which of the known notebooks a file is, by its name, whatever a learning system has put around it.

    >>> notebook_name("ada_1234_21_which_pixels_matter-2.ipynb", ["01_warm_up", "21_which_pixels_matter"])
    '21_which_pixels_matter'
    """
    letters = plain(filename)
    fits = [name for name in known if plain(re.sub(r"^\d+_", "", name)) in letters]
    return max(fits, key=len) if fits else None


def plain(text: str) -> str:
    """Only the letters and digits of a name, of any alphabet, composed: systems change all the rest.

    >>> plain("Doe, Jane_01-Warm-Up"), plain("Š. Žižek"), plain("李 雷")
    ('doejane01warmup', 'šžižek', '李雷')
    """
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", text).casefold())


def stale_state(notebook: Notebook, names: Iterable[str]) -> list[str]:
    """What a notebook relies on that a clean run from top to bottom would not give, one sentence each."""
    sentences = [f"cell {number} cannot be read: {why}" for number, why in sorted(notebook.broken.items())]
    ran = [
        (number, count)
        for (number, _), count in zip(notebook.cells, notebook.counts, strict=False)
        if isinstance(count, int)
    ]
    for (number, count), (later, smaller) in zip(ran, ran[1:], strict=False):
        if smaller < count:
            sentences.append(
                f"cell {later} was run before cell {number}, which stands above it: restart the kernel and "
                "run all cells in order"
            )
    for name in names:
        places = [
            cell for cell, _, s in notebook._parsed if isinstance(s, ast.FunctionDef) and s.name == name
        ]
        if len(places) > 1:
            sentences.append(
                f"{name} is defined in the cells {', '.join(map(str, places))}; the last one counts"
            )
    return sentences + _used_too_early(notebook._parsed)


def _used_too_early(parsed: list[tuple[int, str, ast.stmt]]) -> list[str]:
    """A sentence for each name that stands above the cell which defines it, however often it is used."""
    first: dict[str, int] = {}
    for number, _, statement in parsed:
        for name in bound_names(statement):
            first.setdefault(name, number)
    bound: set[str] = set()
    early: dict[str, list[int]] = {}
    for number, _, statement in parsed:
        if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            used = used_names(statement) & set(first)
            for name in sorted(used - bound - bound_names(statement) - inner_names(statement)):
                early.setdefault(name, [])
                early[name] += [number] if number not in early[name] else []
        bound |= bound_names(statement)
    return [
        f"{name} is used in cell {', '.join(map(str, cells))}, above cell {first[name]}, which defines it: "
        "move that one up"
        for name, cells in early.items()
    ]
