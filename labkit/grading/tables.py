"""The tables that an instructor has, as spreadsheets and learning systems write them in English or German.

Commas, semicolons or tabs may part the cells. A heading is known by its letters alone: ``E-Mail``, ``email``
and ``E mail`` are one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.calls.notebook import plain

__all__ = ["did_you_mean", "places", "read_table", "read_text", "tame", "untame"]


def read_text(what: str, path: str | Path) -> str:
    """A file's text. Raises FileNotFoundError or ValueError saying which file of the course it is."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {what} at {path}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"the {what} {path} is not in UTF-8. Save it anew as UTF-8.") from None


def read_table(what: str, path: str | Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file that hold something, each with the number of its line; errors as `read_text`."""
    text = read_text(what, path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    mark = max(",;\t", key=first.count)  # of none, the first
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    return [(number, cells) for number, cells in rows if any(cells)]


def places(head: Sequence[str], known: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """For each kind of column the places where it stands, those of the earlier words first.

    >>> places(["E-Mail", "ID number", "Matrikelnummer"], {"id": ("matrikelnummer", "idnumber")})
    {'id': [2, 1]}
    """
    letters = [plain(cell) for cell in head]
    return {
        kind: [place for word in words for place, cell in enumerate(letters) if cell == word]
        for kind, words in known.items()
    }


def did_you_mean(name: str, there: Iterable[str], n: int = 3) -> str:
    """A cure for a name that is not there, empty where there is nothing that could be meant.

    >>> did_you_mean("adda", ["ada", "bob"], n=1)
    " Did you mean 'ada'?"
    """
    from labkit.core.checks import nearest

    close = nearest(name, sorted(there), n=n)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def tame(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula is made plain text."""
    return "'" + cell if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def untame(cell: str) -> str:
    """What a cell was before `tame`.

    >>> untame(tame("=cmd()")), untame("'tis")
    ('=cmd()', "'tis")
    """
    return cell[1:] if cell[:1] == "'" and tame(cell[1:]) == cell else cell
