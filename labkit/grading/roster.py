"""Whose a file or folder is: the roster's ids, e-mails and names, matched to the label that it carries.

Learning systems put much around a name: "Ada Lovelace_123_assignsubmission_file", "lovelaceada_77_901_lab".
Whole words are matched, so that "Li Weining" is not "Li Wei". Of several students that fit, the one at the
label's beginning is meant, and of these the longest match; where two fit alike nobody is guessed.
Where Canvas or Moodle wrote a label before a file's own name, that alone decides; the rest the student chose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.calls.notebook import plain
from labkit.grading.course import Student
from labkit.grading.tables import places, read_table

__all__ = ["Label", "label_of", "owner_of", "others_named", "read_roster"]

SEPARATORS = r"[_\s,\-()]+"
HEADINGS: dict[str, tuple[str, ...]] = {  # the letters of a heading, what is taken first before the rest
    "id": ("id", "studentid", "student", "sid", "studentnumber", "studentno", "matriculationnumber",
           "matriculationno", "matrikelnummer", "matrikelnr", "matrikel", "matnr", "mtknr", "idnumber",
           "idnummer", "kennung", "username", "userid", "user", "login", "loginid", "sisloginid", "sisuserid",
           "benutzername", "benutzerkennung", "nutzername", "anmeldename", "identifier"),
    "name": ("name", "fullname", "studentname", "displayname", "vollständigername", "vollstaendigername",
             "vorundnachname", "namevorname", "student", "studentin", "teilnehmer", "anzeigename"),
    "first name": ("firstname", "firstnames", "givenname", "givennames", "forename", "forenames", "vorname",
                   "vornamen", "rufname"),
    "last name": ("lastname", "surname", "familyname", "nachname", "familienname", "zuname"),
    "e-mail": ("email", "mail", "emailaddress", "mailaddress", "emailadresse", "mailadresse"),
}  # fmt: skip
KNOWN_HEADINGS = (
    "Known are id, student ID, ID number, username, Matrikelnummer, Benutzername; name, full name, "
    "first name, last name, Vorname, Nachname; e-mail, email address, E-Mail-Adresse."
)


def read_roster(path: str | Path | None) -> list[Student]:
    """The students of a CSV file with the columns id, name, e-mail, in its order.

    A heading is recognised in English and German, whatever the order of its columns, and first and last
    names are joined. Semicolons or tabs may stand for the commas. Raises ValueError for an id that stands
    there twice, a heading that is not understood or a file that is not UTF-8, FileNotFoundError for none.
    """
    if path is None:
        return []
    rows = [cells for _, cells in read_table("roster", path)]
    columns = _columns(rows, path) if rows else {}
    students: dict[str, Student] = {}
    for row in rows[1:] if columns else rows:
        found = {kind: row[at] if at < len(row) else "" for kind, at in columns.items()}
        if columns:
            whole = " ".join(filter(None, (found.get("first name"), found.get("last name"))))
            student = Student(found["id"], found.get("name") or whole, found.get("e-mail", ""))
        else:
            student = Student(*row[:3])
        if student.id in students:
            raise ValueError(
                f"the roster {path} holds the id {student.id!r} twice. Give each student one row."
            )
        if student.id:
            students[student.id] = student
    return list(students.values())


def _columns(rows: Sequence[Sequence[str]], path: str | Path) -> Mapping[str, int]:
    """Where each kind of column stands; empty if the first row is a student's."""
    head, below = rows[0], rows[1:]
    said = f"the first line of the roster {path} ({', '.join(head)})"
    found = {kind: [at for at in there if _filled(at, below)] or there[:1]
             for kind, there in places(head, HEADINGS).items() if there}  # fmt: skip
    if not found:
        if any(_not_of_its_column(at, head, below) for at in range(len(head))):
            raise ValueError(
                f"{said} looks like a heading, and none of its words is known. {KNOWN_HEADINGS} If it is a "
                "student, write id,name,e-mail above it."
            )
        return {}
    columns = {kind: there[0] for kind, there in found.items()}
    if "name" in columns and columns["name"] == columns.get("id"):  # "Student" is either
        del columns["name"]
    if "name" in columns and "first name" in columns and "last name" not in columns:
        columns["last name"] = columns.pop("name")  # a name beside a first name is the last one
    if "id" not in columns or (len(head) > 1 and len(columns) == 1):
        lacks = "no column for the id" if "id" not in columns else "no name or e-mail that is known"
        raise ValueError(f"{said} is a heading with {lacks}. {KNOWN_HEADINGS} Leave out what is neither.")
    return columns


def _filled(place: int, rows: Sequence[Sequence[str]]) -> bool:
    return any(place < len(row) and row[place] for row in rows)


def _not_of_its_column(place: int, head: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether all below a cell are addresses, or ids with digits (two at least), and the cell is not."""
    cells = [row[place] for row in below if place < len(row)]
    addresses = bool(cells) and all("@" in cell for cell in cells) and "@" not in head[place]
    digits = len(cells) > 1 and all(re.search(r"\d", cell) for cell in cells)
    return bool(head[place]) and (addresses or (place == 0 and digits and not re.search(r"\d", head[place])))


CANVAS = re.compile(r"(?P<head>[^_]+?)(_LATE)?_(?P<number>\d+)_\d+_(?P<own>.+)", re.IGNORECASE)
MOODLE = re.compile(r"(?P<head>.+?)_(?P<number>\d+)_assignsubmission_[a-z]+(_(?P<own>.*))?", re.IGNORECASE)
A_DAY = re.compile(r".*_20\d\d_\d\d?_.*")


@dataclass(frozen=True)
class Label:
    """A file's or folder's name taken apart: whose it is, the system's number of the uploader (empty where no
    system named it), and the file's own name (None where it cannot be told)."""

    head: str
    number: str = ""
    own: str | None = None

    @property
    def uploader(self) -> str:
        """What all files of one uploader have in common."""
        return f"{self.head}_{self.number}" if self.number else self.head


def label_of(label: str, known: Iterable[str]) -> Label:
    """What Canvas or Moodle wrote before a file's own name; else what stands before a notebook's name.

    >>> label_of("garcíacarlos_LATE_909_77009_s01_01_warm_up", ["01_warm_up"])
    Label(head='garcíacarlos', number='909', own='s01_01_warm_up')
    >>> label_of("ada_77_01_warm_up", ["01_warm_up"])
    Label(head='ada_77', number='', own=None)
    >>> label_of("kimdora_910_7701_warm_up", ["01_warm_up"]).uploader
    'kimdora_910'
    """
    before, rest = _around(label, known)
    for system in (MOODLE, CANVAS):
        found = system.fullmatch(label)
        if found and not (system is CANVAS and rest is not None and _no_system(before, found.start("own"))):
            return Label(found["head"], found["number"], found["own"])
    return Label(before.strip("_- "))


def owner_of(label: str, roster: Sequence[Student], known: Iterable[str], whole: bool = False) -> Student:
    """The student of a label; where nobody of the roster fits, a stranger, called by what stands in it first.

    ``label``: a file's name without its ending, or a folder's; ``known``: the names of the course's
    notebooks, which are not the student's; ``whole``: a stranger's id is the whole label, as of a folder.

    >>> roster = [Student("s1", "Li Wei"), Student("s2", "Li Weining"), Student("01", "Bob")]
    >>> [owner_of(label, roster, ["01_warm_up"]).id for label in ("LiWeining_8_01_warm_up", "Ann_01_warm_up")]
    ['s2', 'Ann']
    """
    before, rest = _around(label, known)
    parts = label_of(label, known)
    winners = _best(_fits(parts.head, roster, ()) if parts.number else _fits(label, roster, known), roster)
    winners = winners or [student for student in roster if _made_of(plain(parts.head), _words(student.name))]
    winners = winners or [student for student in roster if parts.number and student.id == parts.number]
    if len(winners) == 1:
        return winners[0]
    if parts.number and not whole:
        return Student(parts.uploader)
    if whole or len(winners) > 1:
        return Student(label)
    return Student((parts.head if rest is not None else "") or re.split(r"[_\s]", label)[0] or label)


def others_named(
    label: str, owner: Student, roster: Sequence[Student], known: Iterable[str]
) -> list[Student]:
    """The students of the roster, other than its owner, whose names stand in a label too."""
    parts = label_of(label, known)
    fits = _fits(f"{parts.head}_{parts.own or ''}" if parts.number else label, roster, known)
    return [student for student in roster if student.id in fits and student != owner]


def _no_system(before: str, own: int) -> bool:
    """Whether the numbers before a file's ``own`` name are a day, or begin a notebook's name."""
    return (own > len(before) and before.endswith("_")) or A_DAY.fullmatch(before) is not None


def _best(fits: dict[str, tuple[bool, int]], roster: Sequence[Student]) -> list[Student]:
    return [student for student in roster if fits and fits.get(student.id) == max(fits.values())]


def _made_of(head: str, words: Sequence[str], taken: int = 0) -> bool:
    """Whether a name run together is made of two of these words or more, each taken once, in any turn."""
    if not head:
        return taken > 1
    places = [place for place, word in enumerate(words) if head.startswith(word)]
    return any(_made_of(head[len(words[i]) :], [*words[:i], *words[i + 1 :]], taken + 1) for i in places)


def _words(name: str) -> list[str]:
    return [plain(word) for word in re.split(SEPARATORS, name) if plain(word)]


def _fits(label: str, roster: Sequence[Student], known: Iterable[str]) -> dict[str, tuple[bool, int]]:
    """For each student whom a label names: whether at its beginning, and by how many letters."""
    before, rest = _around(label, known)
    words = _words(f"{before} {rest or ''}")
    runs = list(_runs(words))
    fits: dict[str, tuple[bool, int]] = {}
    for student in roster:
        names = _names(student)
        found = [(place == 0, len(run)) for place, run in runs if run in names]
        if student.email and _holds(label, student.email):
            found.append((True, len(plain(student.email))))
        if found:
            fits[student.id] = max(found)
    return fits


def _around(label: str, known: Iterable[str]) -> tuple[str, str | None]:
    """What stands before a notebook's name in a label, and after it; all of it, and None, without one."""
    for name in sorted(known, key=len, reverse=True):
        for part in (name, re.sub(r"^\d+_", "", name)):
            at = label.lower().find(part.lower())
            if at >= 0:
                return label[:at], label[at + len(part) :]
    return label, None


def _runs(words: Sequence[str], longest: int = 5) -> Iterator[tuple[int, str]]:
    """Each run of words that follow on one another, as one, with the place where it begins."""
    for start in range(len(words)):
        for end in range(start + 1, min(start + longest, len(words)) + 1):
            yield start, "".join(words[start:end])


def _names(student: Student) -> set[str]:
    """What a student may be called: the id, and the name in whatever turn its words stand."""
    parts = _words(student.name)
    turned = {"".join(parts[k:] + parts[:k]) for k in range(len(parts))}
    return {name for name in {plain(student.id), *turned} if name}


def _holds(label: str, email: str) -> bool:
    """Whether an e-mail stands in a label, and not the end of a longer one."""
    pattern = rf"(?<![a-z0-9.+-]){re.escape(email.lower())}(?![a-z0-9])"
    return re.search(pattern, label.lower()) is not None
