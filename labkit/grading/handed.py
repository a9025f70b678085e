"""What one student handed in: notebooks, small files beside them, and what could not be read.

Copies that Jupyter or labkit made by themselves (checkpoints, ``NAME.new.ipynb``) are left aside. They count
only where there is nothing else, and that is told.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labkit.calls.notebook import LARGEST, Notebook, read_notebook
from labkit.grading.choice import choose, told
from labkit.grading.course import Student
from labkit.grading.parcel import Parcel, digest_of, laid_aside

__all__ = ["Submission", "readable"]


@dataclass
class Submission:
    """One student's notebooks (newest last), small text files beside them, and what could not be read.

    ``doubts``: what an instructor should look at; ``raw``: a digest of each file, in order; ``label``: what
    the learning system calls the newest of it, a folder (a slash at the end) or a file without its ending;
    ``aside``: copies that nobody handed in by will; ``others``: the ending, time and label of each file that
    is no notebook; ``labs``: the lab of each function asked for.
    """

    student: Student
    notebooks: list[tuple[str, Notebook]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    handed_in: float | None = None
    raw: list[bytes] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    label: str = ""
    aside: list[tuple[str, Notebook]] = field(default_factory=list)
    others: list[tuple[str, float, str]] = field(default_factory=list)
    labs: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.notebooks and not self.problems

    @property
    def digest(self) -> str:
        """What was handed in, as a hash: another one at each hand-in, the same when graded again."""
        return hashlib.sha256(b"".join(sorted(self.raw))).hexdigest()

    def holder(self, function: str) -> tuple[str, Notebook] | None:
        """The notebook that counts for a function."""
        return choose(self.notebooks, function, self.labs)[0]

    def choices(self, functions: Iterable[str]) -> list[str]:
        """Doubts where several notebooks answer the same differently."""
        return told(self.notebooks, self.aside, functions, self.labs)

    def take(self, parcel: Parcel) -> None:
        """Add what a zip holds."""
        self._add(parcel.notebooks, parcel.name)
        self.aside += parcel.aside
        self.problems += parcel.problems
        self.raw += parcel.raw
        self.doubts += parcel.doubts
        for name, text in parcel.files.items():
            self.files.setdefault(name, text)

    def take_notebook(self, path: Path, within: str) -> None:
        """Add a notebook from a file; ``within``: the folder that it lies in."""
        name = readable(path.name)
        aside = laid_aside(name)
        try:
            data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
            self.raw.append(digest_of(data))
            book = (name, read_notebook(path))
        except Exception as error:  # whatever a file holds, it is its student's alone
            if not aside:
                self.problems.append(readable(str(error)))
            return
        if aside:
            self.aside.append(book)
        else:
            self._add([book], within)

    def take_side_file(self, path: Path, name: str) -> None:
        """Add a small text file that a notebook may read or import under ``name``."""
        try:
            if path.stat().st_size > 1 << 20 or len(self.files) >= 20:
                return
            self.files[name] = path.read_text(encoding="utf-8", errors="replace")
            self.raw.append(digest_of(self.files[name].encode()))
        except OSError as error:
            self.problems.append(readable(f"{name} cannot be read: {error.strerror}"))

    def close(self) -> None:
        """When all is taken: what counts where no notebook came."""
        if self.empty and self.aside:
            self.notebooks, self.aside = self.aside, []
            names = ", ".join(name for name, _ in self.notebooks)
            self.doubts.append(
                f"nothing but {names} was handed in, a copy that labkit or Jupyter made: it is graded"
            )
        if self.empty and self.others:
            endings = sorted({ending for ending, _, _ in self.others})[:3]
            were = "was" if len(endings) == 1 else "were"
            self.problems.append(
                f"a {' and a '.join(endings)} {were} handed in, a notebook (.ipynb) or its zip is needed"
            )
            _, when, self.label = max(self.others, key=lambda other: other[1])
            self.handed_in = max(self.handed_in or 0.0, when)

    def _add(self, books: Iterable[tuple[str, Notebook]], within: str) -> None:
        """Add notebooks; a name that is there already is told by where it lies."""
        for name, book in books:
            taken = {known for known, _ in self.notebooks}
            place, count = name, 1
            while place in taken:
                place = f"{within}/{name}" if count == 1 and within else f"{name} ({count})"
                count += 1
            self.notebooks.append((place, book))


def readable(label: str) -> str:
    """A file's name as text: bytes that are not UTF-8 are read as Latin-1, as old systems wrote them.

    >>> readable("M\\udcfcller")
    'Müller'
    """
    try:
        label.encode()
        return label
    except UnicodeEncodeError:
        return os.fsencode(label).decode("latin-1")
