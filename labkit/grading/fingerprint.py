"""The fingerprint of what marks rest on: a mended exercise or another setting means that a class is graded
again.

An exercise counts with its data (points, seconds, blocks, imports, misconceptions' hints, cases) and with the
code of the files that its functions stand in, between comments and docstrings; so do the modules that find a
function in a notebook, judge it and give its status.
What a reference takes from the rest of the library is told by the kit's version.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import labkit
from labkit.calls import call, magics, names, notebook, probe, recipes
from labkit.calls.exercise import Exercise
from labkit.calls.wire import encode
from labkit.checking import compare, judge
from labkit.grading import choice, student
from labkit.grading.course import Course

__all__ = ["fingerprint", "code_of"]

JUDGES = (call, magics, names, notebook, probe, recipes, compare, judge, choice, student)


def fingerprint(exercises: Sequence[Exercise], course: Course) -> str:
    """A hash that changes with all that marks rest on but the submissions and the secret."""
    digest = hashlib.sha256()
    files = {str(module.__file__) for module in JUDGES}
    digest.update(f"{labkit.__version__} {_settings(course)}".encode())
    for exercise in exercises:
        digest.update(repr(_data(exercise)).encode())
        for case in _cases(exercise):
            digest.update(repr((case.name, case.points, case.probe, _named(case.compare))).encode())
            digest.update(encode((case.args, dict(case.kwargs))))
        files |= {file for function in _functions(exercise) if (file := _file(function))}
    for file in sorted(files):
        digest.update(code_of(Path(file).read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def code_of(source: str) -> str:
    """The code of a Python file in a form that no comment, docstring or line break changes.

    >>> code_of("x = 1  # one") == code_of("'''Ones.'''\\nx = (1)") != code_of("x = 2")
    True
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


def _settings(course: Course) -> str:
    def plain(value: Any) -> Any:
        return sorted(value) if isinstance(value, frozenset) else str(value)

    return json.dumps(asdict(course), sort_keys=True, default=plain)


def _data(exercise: Exercise) -> list[Any]:
    mistakes = [(wrong.name, wrong.hint, _named(wrong.function)) for wrong in exercise.misconceptions]
    functions = [_named(f) for f in (exercise.reference, exercise.compare)]
    return [exercise.id, exercise.title, exercise.points, exercise.seconds, exercise.blocks, exercise.imports,
            functions, mistakes]  # fmt: skip


def _cases(exercise: Exercise) -> Iterator[Any]:
    return (case for _, case in exercise.cases(0))


def _named(function: Any) -> str:
    """What an exercise calls a function; lambdas of one file are told apart by the file's code alone."""
    return getattr(function, "__qualname__", str(function))


def _functions(exercise: Exercise) -> Iterable[Any]:
    yield from (exercise.reference, exercise.public, exercise.hidden, exercise.compare)
    yield from (wrong.function for wrong in exercise.misconceptions)
    yield from (case.compare for case in _cases(exercise))


def _file(function: Callable[..., Any] | str | None) -> str | None:
    """The file that a function stands in, where it is one of Python's."""
    plain = inspect.unwrap(getattr(function, "func", function))  # type: ignore[arg-type]
    code = getattr(plain, "__code__", None)
    return code.co_filename if code is not None and Path(code.co_filename).is_file() else None
