"""Whose a file or folder is: the roster's ids, e-mails and names, matched to the label that it carries.

Learning systems put much around a name: "Ada Lovelace_123_assignsubmission_file", "lovelaceada_77_901_lab".
Whole words are matched, so that "Li Weining" is not "Li Wei". Of several students that fit, the one at the
label's beginning is meant, and of these the longest match; where two fit alike nobody is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from labkit.calls.notebook import plain
from labkit.grading.course import Student

__all__ = ["owner_of", "others_named"]

SEPARATORS = r"[_\s,\-()]+"


def owner_of(label: str, roster: Sequence[Student], known: Iterable[str], whole: bool = False) -> Student:
    """The student of a label; where nobody of the roster fits, a stranger, called by what stands in it first.

    ``label``: a file's name without its ending, or a folder's; ``known``: the names of the course's
    notebooks, which are not the student's; ``whole``: a stranger's id is the whole label, as of a folder.

    >>> roster = [Student("s1", "Li Wei"), Student("s2", "Li Weining"), Student("01", "Bob")]
    >>> [owner_of(label, roster, ["01_warm_up"]).id for label in ("LiWeining_8_01_warm_up", "Ann_01_warm_up")]
    ['s2', 'Ann']
    """
    before, rest = _around(label, known)
    fits = _fits(label, roster, known)
    winners = [student for student in roster if fits and fits.get(student.id) == max(fits.values())]
    if len(winners) == 1:
        return winners[0]
    if whole or len(winners) > 1:
        return Student(label)
    named = before.strip("_- ") if rest is not None else ""
    return Student(named or re.split(r"[_\s]", label)[0] or label)


def others_named(
    label: str, owner: Student, roster: Sequence[Student], known: Iterable[str]
) -> list[Student]:
    """The students of the roster, other than its owner, whose names stand in a label too."""
    fits = _fits(label, roster, known)
    return [student for student in roster if student.id in fits and student != owner]


def _fits(label: str, roster: Sequence[Student], known: Iterable[str]) -> dict[str, tuple[bool, int]]:
    """For each student whom a label names: whether at its beginning, and by how many letters."""
    before, rest = _around(label, known)
    words = [plain(word) for word in re.split(SEPARATORS, f"{before} {rest or ''}") if plain(word)]
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
    parts = [plain(word) for word in re.split(SEPARATORS, student.name) if plain(word)]
    turned = {"".join(parts[k:] + parts[:k]) for k in range(len(parts))}
    return {name for name in {plain(student.id), *turned} if name}


def _holds(label: str, email: str) -> bool:
    """Whether an e-mail stands in a label, and not the end of a longer one."""
    pattern = rf"(?<![a-z0-9.+-]){re.escape(email.lower())}(?![a-z0-9])"
    return re.search(pattern, label.lower()) is not None
