"""Source text as a number may rest on it: without comments, docstrings, white space and error sentences.

Written for the standard library alone, and for any Python that labkit runs on: the same text gives the same
hash on 3.11, 3.12 and 3.13. A syntax tree would not (its printed form differs), nor would bare tokens (3.12
splits an f-string into several): an f-string counts as one piece, as it is written.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
_OPENS = {
    getattr(tokenize, f"{kind}STRING_START", -1) for kind in ("F", "T")
}  # from 3.12 on, and from 3.14 on
_CLOSES = {getattr(tokenize, f"{kind}STRING_END", -1) for kind in ("F", "T")}
_STEPS = {tokenize.INDENT: "{", tokenize.DEDENT: "}"}


def _pieces(source: str) -> Iterator[tuple[int, str]]:
    """The tokens of a source that say something, an f-string as one of them: (kind, text)."""
    lines = io.StringIO(source).readlines()
    depth, start = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _OPENS:
            start = token.start if depth == 0 else start
            depth += 1
        elif token.type in _CLOSES:
            depth -= 1
            if depth == 0:
                rows = [*lines[start[0] - 1 : token.end[0]]]
                rows[-1] = rows[-1][: token.end[1]]
                rows[0] = rows[0][start[1] :]
                yield tokenize.NUMBER, "".join(rows)  # as a plain f-string of 3.11, and never a docstring
        elif depth == 0 and token.type not in _SILENT:
            string = token.string
            if token.type == tokenize.STRING and "f" in string[: string.index(string[-1])].lower():
                yield tokenize.NUMBER, string
            else:
                yield token.type, string


def _statements(source: str) -> Iterator[list[tuple[int, str]]]:
    """The logical lines of a source; where a block begins or ends there is a line of its own."""
    line: list[tuple[int, str]] = []
    for kind, string in _pieces(source):
        if kind in _STEPS:
            yield [(kind, _STEPS[kind])]
        elif kind == tokenize.NEWLINE:
            yield line
            line = []
        else:
            line.append((kind, string))
    if line:
        yield line


def _without_sentence(words: list[str]) -> list[str]:
    """A logical line, cut off after the name of the error that it raises."""
    for place, word in enumerate(words):
        if word == "raise" and (place == 0 or words[place - 1] in (":", ";")):
            end = place + 1
            while end < len(words) and (words[end] == "." or words[end].isidentifier()):
                end += 1
            return words[:end]
    return words


def text(source: str) -> str:
    """Source in a form that only its code decides: a logical line a line, its tokens a space apart.

    Raises SyntaxError or tokenize.TokenError for what is no Python.

    >>> text('def f(x):  # one\\n    "A docstring."\\n    return x+1\\n')
    'def f ( x ) :\\n{\\nreturn x + 1\\n}'
    """
    kept = []
    for line in _statements(source):
        if line and not all(kind == tokenize.STRING for kind, _ in line):
            kept.append(" ".join(_without_sentence([string for _, string in line])))
    return "\n".join(kept)


def hash_of(sources: Iterable[str]) -> str:
    """A hash of some sources, sixteen digits, which comments, docstrings, layout and error sentences leave.

    >>> hash_of(["x = 1  # one"]) == hash_of(["x  =  1"]) != hash_of(["x = 2"])
    True
    """
    digest = hashlib.sha256("\0".join(text(source) for source in sources).encode())
    return digest.hexdigest()[:16]


def _defined(tree: ast.Module) -> dict[str, ast.stmt]:
    """What a file defines at its top: functions, classes and what is assigned."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)):
                found[name] = node
    return found


def _imported(tree: ast.Module, folder: str) -> dict[str, tuple[str, str]]:
    """The names that a file takes from modules of a folder of labkit: name -> (file, name there)."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            folder.replace("/", ".") + "."
        ):
            for alias in node.names:
                file = str(node.module).replace(".", "/") + ".py"
                found[alias.asname or alias.name] = file, alias.name
    return found


def _source(lines: list[str], node: ast.stmt) -> str:
    """The lines of a definition, its decorators included."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "".join(lines[first - 1 : node.end_lineno])


def reached(place: str, *, without: Iterable[str] = (), root: Path = ROOT) -> dict[str, str]:
    """The sources that a definition consists of: its own, and those that it uses of its file and its folder.

    ``place`` is written "labkit/experiments/learned_masks.py::a12"; ``without`` are files that are left out.
    Gives place -> source, and raises LookupError where the definition is not there.
    """
    found: dict[str, str] = {}
    waiting = [place]
    while waiting:
        here = waiting.pop()
        file, _, name = here.partition("::")
        if here in found or file in without:
            continue
        path = root / file
        source = path.read_text("utf-8") if path.is_file() else ""
        tree = ast.parse(source)
        defined, taken = _defined(tree), _imported(tree, file.rpartition("/")[0])
        if name not in defined:
            if here == place:
                raise LookupError(f"{place} is not there.")
            continue
        node = defined[name]
        if isinstance(node, ast.FunctionDef) and file.startswith("labkit/exercises/"):
            node.decorator_list = []  # an exercise's hints and cases: no number rests on these
        found[here] = _source(source.splitlines(keepends=True), node)
        for used in {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}:
            if used in defined:
                waiting.append(f"{file}::{used}")
            elif used in taken:
                waiting.append("::".join(taken[used]))
    return dict(sorted(found.items()))


def code_of(place: str, *, without: Iterable[str] = (), root: Path = ROOT) -> str:
    """The hash of a definition with all that it uses of its folder; see ``reached``."""
    return hash_of(reached(place, without=without, root=root).values())
