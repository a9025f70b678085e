"""Which of a student's notebooks counts for an exercise, where several define its function.

One of the exercise's own lab or of no lab's name comes before that of another lab, which may well import a
function of this name; a written function before an untouched stub; of these the newest. Where two are written
differently the choice is told as a doubt.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from labkit.calls.notebook import Notebook, notebook_name

__all__ = ["choose", "told", "is_written"]

Book = tuple[str, Notebook]


def choose(books: Sequence[Book], name: str, labs: Mapping[str, str]) -> tuple[Book | None, list[str]]:
    """The notebook that counts for a function, and the names of those that hold another one of this name.

    ``books``: the newest last; ``labs``: the lab of each function asked for. A notebook whose cell cannot be
    read is among the others.
    """
    own = [book for book in books if not _of_another_lab(book[0], name, labs)]
    there = [book for book in own if book[1].defines(name)]
    if not there:
        there = [b for b in books if b not in own and b[1].definition(name) is not None]
    written = [book for book in there if is_written(book[1], name)]
    if not there:
        return None, []
    counted = (written or there)[-1]
    code = _code(counted[1], name) if len(books) > 1 else None
    others = [book[0] for book in written if book is not counted and _code(book[1], name) != code]
    others += [file for file, book in own if file != counted[0] and book.why_unreadable(name)]
    return counted, others


def told(
    books: Sequence[Book], aside: Sequence[Book], names: Iterable[str], labs: Mapping[str, str]
) -> list[str]:
    """A doubt for each choice that was made, and for each answer in a notebook left ``aside``."""
    found: dict[tuple[str, ...], list[str]] = {}
    left: dict[str, list[str]] = {}
    for name in names:
        counted, others = choose(books, name, labs)
        if counted and others:
            found.setdefault((counted[0], *others), []).append(name)
        if counted is None or not is_written(counted[1], name):
            for file, book in aside:
                if book.defines(name) and is_written(book, name) and not _of_another_lab(file, name, labs):
                    left.setdefault(file, []).append(name)
    doubts = []
    for (file, *others), functions in found.items():
        doubts.append(f"{_are(functions)} written otherwise in {', '.join(others)}: {file} counted")
    for file, functions in left.items():
        doubts.append(
            f"{_are(functions)} written only in {file}, a copy that labkit or Jupyter laid beside the "
            "notebook: it is not counted"
        )
    return doubts


def is_written(book: Notebook, name: str) -> bool:
    """Whether a function is more than the stub that was handed out: one that only raises and never returns.

    >>> book = Notebook([(1, "def f(x):\\n    raise NotImplementedError()"), (2, "g = abs")])
    >>> is_written(book, "f"), is_written(book, "g")
    (False, True)
    """
    function = book.definition(name)
    last = function.body[-1] if function is not None else None
    if function is None or not isinstance(last, ast.Raise) or last.exc is None:
        return True
    raised = last.exc.func if isinstance(last.exc, ast.Call) else last.exc
    gives = any(isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) for node in ast.walk(function))
    return gives or getattr(raised, "id", "") != "NotImplementedError"


def _of_another_lab(file: str, name: str, labs: Mapping[str, str]) -> bool:
    lab = notebook_name(PurePosixPath(file).name, set(labs.values()))
    return lab is not None and lab != labs.get(name, lab)


def _code(book: Notebook, name: str) -> list[str]:
    """What a function is and rests on but imports, without its comments and places."""
    bodies = [statement for step in book.slice(name) for statement in ast.parse(step.source).body]
    return [ast.dump(body) for body in bodies if not isinstance(body, (ast.Import, ast.ImportFrom))]


def _are(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
