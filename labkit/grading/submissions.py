"""Find what each student handed in: a folder per student, nbgrader's tree, or a flat download."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkit.calls.notebook import LARGEST, Notebook, parse_notebook, read_notebook
from labkit.grading.course import Student
from labkit.grading.roster import owner_of

__all__ = ["Submission", "find_submissions"]

MANIFEST = "submission.json"
SIDE_FILES = {".py", ".csv", ".txt", ".json", ".toml"}


@dataclass
class Submission:
    """One student's notebooks (newest last), small text files beside them, and what could not be read."""

    student: Student
    notebooks: list[tuple[str, Notebook]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    handed_in: float | None = None
    raw: list[bytes] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.notebooks and not self.problems

    def holder(self, function: str) -> tuple[str, Notebook] | None:
        """The newest notebook that defines a function."""
        return next((item for item in reversed(self.notebooks) if item[1].defines(function)), None)


def _hidden(path: Path, top: Path) -> bool:
    parts = path.relative_to(top).parts
    return any(part.startswith(".") or part in ("__MACOSX", "__pycache__") for part in parts)


def _take_file(submission: Submission, path: Path) -> None:
    data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    submission.raw.append(data)
    try:
        submission.notebooks.append((path.name, read_notebook(path)))
    except (ValueError, OSError) as error:
        submission.problems.append(str(error))


def _take_zip(submission: Submission, path: Path) -> dict[str, str]:
    """The notebooks in a zip, read in memory; gives its manifest (empty if it has none)."""
    manifest: dict[str, str] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = Path(info.filename).name
                if name == MANIFEST and info.file_size < 1 << 20:
                    read = json.loads(archive.read(info))
                    manifest = read if isinstance(read, dict) else {}
                elif name.endswith(".ipynb") and "__MACOSX" not in info.filename:
                    if info.file_size > LARGEST:
                        raise ValueError(f"{name} is larger than {LARGEST >> 20} MB")
                    data = archive.read(info)
                    submission.raw.append(data)
                    submission.notebooks.append((name, parse_notebook(data, name)))
    except (zipfile.BadZipFile, ValueError, OSError, RuntimeError, NotImplementedError) as error:
        submission.problems.append(f"{path.name}: {error}")
    return manifest


def find_submissions(folder: str | Path, roster: Sequence[Student], known: Iterable[str]) -> list[Submission]:
    """One `Submission` for each student of the roster and for each one found beside it, sorted by id.

    ``folder``: holds a folder per student (of any depth: nbgrader's ``student/assignment/notebook.ipynb``
    too), or notebooks and zips whose names begin with the student. ``roster``: may be empty; then the
    students are those found. ``known``: the names of the course's notebooks.

    Raises FileNotFoundError if there is no such folder.
    """
    folder, known = Path(folder), list(known)
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
    for path in sorted(files, key=lambda p: (p.stat().st_mtime, p.name)):
        top = path.relative_to(folder).parts
        flat = len(top) == 1
        if path.is_symlink() or path.suffix not in {".ipynb", ".zip", *SIDE_FILES}:
            continue
        if flat and path.suffix in SIDE_FILES:
            continue
        owner = owner_of(path.stem if flat else top[0], roster, known, whole=not flat)
        if path.suffix == ".zip":
            parcel = Submission(owner)
            manifest = _take_zip(parcel, path)
            if flat and isinstance(manifest.get("student"), str) and manifest["student"]:
                owner = Student(manifest["student"])
            submission = of(owner)
            submission.notebooks += parcel.notebooks
            submission.problems += parcel.problems
            submission.raw += parcel.raw
        else:
            submission = of(owner)
            if path.suffix == ".ipynb":
                _take_file(submission, path)
            elif path.stat().st_size <= 1 << 20 and len(submission.files) < 20:
                submission.files[path.name] = path.read_text(encoding="utf-8", errors="replace")
                submission.raw.append(submission.files[path.name].encode())
                continue
        submission.handed_in = max(submission.handed_in or 0.0, path.stat().st_mtime)
    for path in folder.iterdir():
        if path.is_dir() and not _hidden(path, folder):
            of(owner_of(path.name, roster, known, whole=True))
    return sorted(found.values(), key=lambda submission: submission.student.id)
