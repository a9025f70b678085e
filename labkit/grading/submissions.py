"""Find what each student handed in: a folder per student, nbgrader's tree, or a flat download.

The learning system's own label, the folder's or the file's name, says whose a file is; what a submission says
of itself is believed only where nobody's label fits, and doubt is told. Nothing that a file holds stops the
search: what cannot be read becomes a problem of its student.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from labkit.grading.course import Student
from labkit.grading.handed import Submission, readable
from labkit.grading.parcel import SIDE_FILES, Parcel, hidden, open_parcel
from labkit.grading.roster import label_of, others_named, owner_of

__all__ = ["Submission", "find_submissions"]


BOOKS = {".ipynb", ".zip"}
DOCUMENTS = {".pdf", ".html", ".htm", ".doc", ".docx", ".odt", ".rtf", ".rar", ".7z", ".tar", ".gz", ".tgz"}
LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}


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
    uploaders: dict[str, set[str]] = {}

    def of(student: Student) -> Submission:
        student = lower.get(student.id.lower(), student)
        return found.setdefault(student.id, Submission(student))

    strangers: list[tuple[Student, Parcel, float]] = []
    beside: list[Path] = []
    whose: dict[str, str] = {}
    for path in _files(folder):
        top = path.relative_to(folder).parts
        flat, name, ending = len(top) == 1, readable(path.name), path.suffix.lower()
        if flat and ending not in BOOKS:
            beside.append(path)
            continue
        label = readable(path.stem if flat else top[0])
        owner, when = owner_of(label, roster, known, whole=not flat), path.stat().st_mtime
        doubts = _named(label if flat else f"{label}_{readable(path.stem)}", owner, roster, known)
        parts = label_of(label, known)
        uploaders.setdefault(owner.id, set()).add(parts.number)
        if flat and parts.uploader:
            whose[parts.uploader] = owner.id
        if ending == ".zip":
            parcel = open_parcel(path, name)
            parcel.doubts += doubts
            if flat and owner not in roster:
                parcel.label = label
                strangers.append((owner, parcel, when))
                continue
            if roster and parcel.student and parcel.student.lower() != owner.id.lower():
                parcel.doubts.append(_says(name, parcel.student, owner))
            of(owner).take(parcel)
        elif ending == ".ipynb":
            of(owner).take_notebook(path, "/".join(map(readable, top[1:-1])))
            of(owner).doubts += doubts
        else:
            if ending in SIDE_FILES:
                of(owner).take_side_file(path, readable(path.stem) + ending)
            of(owner).others.append((ending or "file without an ending", when, f"{label}/"))
            continue
        of(owner).label = label if flat else f"{label}/"
        of(owner).handed_in = max(of(owner).handed_in or 0.0, when)
    whose |= _of_strangers(of, strangers, bool(roster), known)
    for path in beside:
        _beside(of, path, whose, roster, known)
    for path in folder.iterdir():
        if path.is_dir() and not hidden(path.relative_to(folder).parts):
            of(owner_of(readable(path.name), roster, known, whole=True))
    for submission in found.values():
        submission.close()
        numbers = uploaders.get(submission.student.id, set()) - {""}
        if len(numbers) > 1:
            submission.doubts.append(
                f"came from the uploaders {' and '.join(sorted(numbers))}: look whether one of them, as the "
                "learning system numbers them, is another student"
            )
        if roster and submission.student not in roster and not submission.empty:
            submission.doubts.append("nobody of the roster fits what the learning system calls this")
    return sorted(found.values(), key=lambda submission: submission.student.id)


def _files(folder: Path) -> list[Path]:
    """What may have been handed in, the newest last."""
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not hidden(path.relative_to(folder).parts)
        and path.name.lower() not in LEFT_BY_SYSTEMS
    ]
    return sorted(files, key=lambda path: (path.stat().st_mtime, path.name))


def _beside(
    of: Callable[[Student], Submission],
    path: Path,
    whose: Mapping[str, str],
    roster: Sequence[Student],
    known: Sequence[str],
) -> None:
    """A file of a flat download that is no notebook: whose the notebook of the same label is, else whose the
    label says; one of the instructor's own, such as a table, is nobody's."""
    label, ending = readable(path.stem), path.suffix.lower()
    parts = label_of(label, known)
    same = [start for start in whose if re.match(rf"{re.escape(start)}([_\s-]|$)", label)]
    start = parts.uploader if parts.number else max(same, key=len, default="")
    owner = owner_of(label, roster, known)
    if start in whose:
        owner = Student(whose[start])
    elif owner not in roster and not parts.number and ending not in DOCUMENTS:
        return
    own = (parts.own or label) if parts.number else label[len(start) :].lstrip("_- ") or label
    if ending == ".py":  # Canvas numbers what is handed in again, and no module's name has a hyphen
        own = re.sub(r"-\d+$", "", own)
    submission = of(owner)
    if ending in SIDE_FILES:
        submission.take_side_file(path, own + ending)
    submission.others.append((ending or "file without an ending", path.stat().st_mtime, label))


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
    of: Callable[[Student], Submission],
    strangers: Sequence[tuple[Student, Parcel, float]],
    tell: bool,
    known: Sequence[str],
) -> dict[str, str]:
    """Zips whose labels fit nobody: whose they say, unless that one has a label of his own. Gives whose the
    uploaders' files are."""
    whose = {}
    claimed: dict[str, str] = {}
    for owner, parcel, when in sorted(strangers, key=lambda one: (one[0].id != one[1].student, one[2])):
        submission = None
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
        submission = submission or of(owner)
        claimed.setdefault(submission.student.id, owner.id)
        submission.take(parcel)
        submission.label = parcel.label
        submission.handed_in = max(submission.handed_in or 0.0, when)
        whose[label_of(parcel.label, known).uploader] = submission.student.id
    return whose
