"""What a measured number rests on: the files of the library that some code uses, and a hash of them.

A number is worth keeping while the code beneath it is the same; comments, layout and docstrings change none.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What draws, shows, asks and marks changes no measured number.
OUTSIDE = tuple(f"labkit.{part}" for part in ("plots", "widgets", "grading", "exercises", "doctor", "cli"))


def bare(source: str) -> str:
    """Code without comments, layout and docstrings: what these say changes no number."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Pass()
    return ast.dump(tree)


def _file(dotted: str) -> Path | None:
    """The file of a module or package of labkit; None for what is neither, such as a function."""
    place = ROOT.joinpath(*dotted.split("."))
    return next((p for p in (place / "__init__.py", place.with_suffix(".py")) if p.is_file()), None)


def _imported(source: str) -> set[str]:
    """The modules of labkit that a source takes names from: a package's name leads to where it is defined."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("labkit.")}
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("labkit"):
            continue
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            found.add(whole if _file(whole) else _home(str(node.module), alias.name))
    return found


def _home(module: str, name: str) -> str:
    """The module that a name of a package comes from; the package itself where it is defined there."""
    path = _file(module)
    if path is None or path.name != "__init__.py":
        return module
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
            return str(node.module)
    return module


def rests_on(sources: Iterable[str]) -> list[Path]:
    """The files of the library that these sources use, directly or through one another."""
    waiting, seen = set().union(*(_imported(source) for source in sources)), set()
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is None or path in seen or module.startswith(OUTSIDE):
            continue
        seen.add(path)
        waiting |= _imported(path.read_text("utf-8"))
    return sorted(seen)


def hash_of(sources: Iterable[str], *more: bytes) -> str:
    """A hash of some code, of all that it uses of the library, and of ``more``; sixteen digits.

    >>> hash_of(["x = 1  # one"]) == hash_of(["x = 1"]) != hash_of(["x = 2"])
    True
    """
    kept = list(sources)
    digest = hashlib.sha256()
    for source in [*kept, *(path.read_text("utf-8") for path in rests_on(kept))]:
        digest.update(bare(source).encode())
    for part in more:
        digest.update(part)
    return digest.hexdigest()[:16]
