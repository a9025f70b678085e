"""Find what each student handed in: a folder per student, nbgrader's tree, or a flat download.

The learning system's own label, the folder's or the file's name, says whose a file is; what a submission says
of itself is believed only where nobody's label fits, and doubt is told. Nothing that a file holds stops the
search: what cannot be read becomes a problem of its student.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkit.calls.notebook import LARGEST, Notebook, read_notebook
from labkit.grading.course import Student
from labkit.grading.parcel import Parcel, digest_of, open_parcel
from labkit.grading.roster import others_named, owner_of

__all__ = ["Submission", "find_submissions"]

SIDE_FILES = {".py", ".csv", ".txt", ".json", ".toml"}


@dataclass
class Submission:
    """One student's notebooks (newest last), small text files beside them, and what could not be read.

    ``doubts``: what an instructor should look at; ``raw``: a digest of each file, in order; ``label``: what
    the learning system calls the newest of it, a folder (a slash at the end) or a file without its ending.
    """

    student: Student
    notebooks: list[tuple[str, Notebook]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    handed_in: float | None = None
    raw: list[bytes] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    label: str = ""

    @property
    def empty(self) -> bool:
        return not self.notebooks and not self.problems

    @property
    def digest(self) -> str:
        """What was handed in, as a hash: another one at each hand-in, the same when graded again."""
        return hashlib.sha256(b"".join(sorted(self.raw))).hexdigest()

    def holder(self, function: str) -> tuple[str, Notebook] | None:
        """The newest notebook that defines a function."""
        return next((item for item in reversed(self.notebooks) if item[1].defines(function)), None)

    def take(self, parcel: Parcel) -> None:
        """Add what a zip holds."""
        self.notebooks += parcel.notebooks
        self.problems += parcel.problems
        self.raw += parcel.raw
        self.doubts += parcel.doubts
        for name, text in parcel.files.items():
            self.files.setdefault(name, text)


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


def _hidden(path: Path, top: Path) -> bool:
    parts = path.relative_to(top).parts
    return any(part.startswith(".") or part in ("__MACOSX", "__pycache__") for part in parts)


def _take_file(submission: Submission, path: Path, name: str) -> None:
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        submission.raw.append(digest_of(data))
        submission.notebooks.append((name, read_notebook(path)))
    except Exception as error:  # whatever a file holds, it is its student's alone
        submission.problems.append(readable(str(error)))


def _take_side_file(submission: Submission, path: Path, name: str) -> None:
    try:
        if path.stat().st_size > 1 << 20 or len(submission.files) >= 20:
            return
        submission.files[name] = path.read_text(encoding="utf-8", errors="replace")
        submission.raw.append(digest_of(submission.files[name].encode()))
    except OSError as error:
        submission.problems.append(readable(f"{name} cannot be read: {error.strerror}"))


def find_submissions(folder: str | Path, roster: Sequence[Student], known: Iterable[str]) -> list[Submission]:
    """One `Submission` for each student of the roster and for each one found beside it, sorted by id.

    ``folder``: holds a folder per student (of any depth: nbgrader's ``student/assignment/notebook.ipynb``
    too), or notebooks and zips whose names begin with the student. ``roster``: may be empty; then the
    students are those found. ``known``: the names of the course's notebooks.

    Raises FileNotFoundError if there is no such folder, NotADirectoryError if it is a file.
    """
    folder, known = Path(folder), list(known)
    if folder.is_file():
        raise NotADirectoryError(
            f"{folder} is a file, no folder of submissions. Give the one that holds a folder per student."
        )
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder of submissions at {folder}. Give the folder that holds one folder per student."
        )
    found = {student.id: Submission(student) for student in roster}
    lower = {student.id.lower(): student for student in roster}

    def of(student: Student) -> Submission:
        student = lower.get(student.id.lower(), student)
        return found.setdefault(student.id, Submission(student))

    files = [path for path in folder.rglob("*") if path.is_file() and not _hidden(path, folder)]
    strangers: list[tuple[Student, Parcel, float]] = []
    for path in sorted(files, key=lambda p: (p.stat().st_mtime, p.name)):
        top = path.relative_to(folder).parts
        flat, name = len(top) == 1, readable(path.name)
        if path.is_symlink() or path.suffix not in {".ipynb", ".zip", *SIDE_FILES}:
            continue
        if flat and path.suffix in SIDE_FILES:
            continue
        label = readable(path.stem if flat else top[0])
        owner, when = owner_of(label, roster, known, whole=not flat), path.stat().st_mtime
        doubts = _named(label if flat else f"{label}_{readable(path.stem)}", owner, roster, known)
        if path.suffix == ".zip":
            parcel = open_parcel(path, name)
            parcel.doubts += doubts
            if flat and owner not in roster:
                parcel.label = label
                strangers.append((owner, parcel, when))
                continue
            if roster and parcel.student and parcel.student.lower() != owner.id.lower():
                parcel.doubts.append(_says(name, parcel.student, owner))
            of(owner).take(parcel)
        elif path.suffix == ".ipynb":
            _take_file(of(owner), path, name)
            of(owner).doubts += doubts
        else:
            _take_side_file(of(owner), path, name)
            continue
        of(owner).label = label if flat else f"{label}/"
        of(owner).handed_in = max(of(owner).handed_in or 0.0, when)
    _of_strangers(of, strangers, bool(roster))
    for path in folder.iterdir():
        if path.is_dir() and not _hidden(path, folder):
            of(owner_of(readable(path.name), roster, known, whole=True))
    return sorted(found.values(), key=lambda submission: submission.student.id)


def _named(label: str, owner: Student, roster: Sequence[Student], known: Iterable[str]) -> list[str]:
    """A doubt where the name of a file tells of other students of the roster as well."""
    others = ", ".join(other.id for other in others_named(label, owner, roster, known))
    return [f"the name {label} tells of {others} as well; it is taken as {owner.id}'s"] if others else []


def _says(name: str, said: str, owner: Student) -> str:
    return (
        f"{name} says that it is {said}'s, and what the learning system calls it says {owner.id}'s: it is "
        f"graded as {owner.id}'s"
    )


def _of_strangers(
    of: Callable[[Student], Submission], strangers: Sequence[tuple[Student, Parcel, float]], tell: bool
) -> None:
    """Zips whose labels fit nobody: whose they say, unless that one has a label of his own."""
    claimed: dict[str, str] = {}
    for owner, parcel, when in sorted(strangers, key=lambda one: (one[0].id != one[1].student, one[2])):
        submission = of(owner)
        if parcel.student and parcel.student != owner.id:
            said = of(Student(parcel.student))
            if said.empty or claimed.get(said.student.id) == owner.id:
                submission = said
                if tell:
                    parcel.doubts.append(
                        f"{parcel.name} is taken as {said.student.id}'s on its own word alone"
                    )
            else:
                parcel.doubts.append(_says(parcel.name, parcel.student, owner))
        claimed.setdefault(submission.student.id, owner.id)
        submission.take(parcel)
        submission.label = parcel.label
        submission.handed_in = max(submission.handed_in or 0.0, when)
