"""A zip that was handed in: its notebooks and small files, read in memory and within bounds.

Each member is read by itself, so that one flipped bit costs one member; a zip within the zip is opened too.
What ``labkit submit`` wrote into it is checked against its receipt.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from labkit.calls.notebook import LARGEST, Notebook, parse_notebook
from labkit.grading.submit import receipt_of

__all__ = ["SIDE_FILES", "Parcel", "open_parcel", "digest_of", "hidden", "laid_aside"]

MANIFEST = "submission.json"
SIDE_FILES = {".py", ".csv", ".txt", ".json", ".toml"}
MOST_FILES = 200  # of all members that are read
MOST_BYTES = 128 << 20  # of all members together, unpacked


@dataclass
class Parcel:
    """What a zip holds; ``student``: whose it says that it is, empty if it does not; ``label``: its name;
    ``aside``: see `laid_aside`.
    """

    name: str
    student: str = ""
    notebooks: list[tuple[str, Notebook]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    label: str = ""
    aside: list[tuple[str, Notebook]] = field(default_factory=list)


def hidden(parts: Sequence[str]) -> bool:
    """Whether a path leads into what systems and Jupyter hide: checkpoints, ``__MACOSX``, dotted names.

    >>> hidden(("labs", ".ipynb_checkpoints", "a.ipynb")), hidden(("..", "a.ipynb"))
    (True, False)
    """
    kept = [part for part in parts if part not in (".", "..")]
    return any(part.startswith(".") or part in ("__MACOSX", "__pycache__") for part in kept)


def laid_aside(name: str) -> bool:
    """Whether a notebook is a copy that ``labkit lab`` or Jupyter laid beside the student's own.

    >>> [laid_aside(name) for name in ("a.new.ipynb", "a.new-2.ipynb", "a-checkpoint.ipynb", "new.ipynb")]
    [True, True, True, False]
    """
    return re.search(r"(\.new(-\d+)?|-checkpoint)(-\d+| ?\(\d+\))?\.ipynb$", name, re.IGNORECASE) is not None


def digest_of(data: bytes) -> bytes:
    """The sha256 of a file."""
    return hashlib.sha256(data).digest()


def open_parcel(path: Path, name: str) -> Parcel:
    """The parcel in a zip; whatever is wrong with it is one of its problems."""
    parcel = Parcel(name)
    manifest: dict[str, Any] = {}
    digests: set[str] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(_members(archive, parcel, _Room()), key=lambda one: one[:2])  # the newest last
    except Exception as error:  # a damaged zip raises what it likes
        parcel.problems.append(f"{name} cannot be opened ({error}); hand it in again")
        return parcel
    counts = Counter(place.name for _, place, _ in members)
    for _, place, data in members:
        member = place.name
        if member == MANIFEST:
            manifest = _manifest(data)
            continue
        parcel.raw.append(digest_of(data))
        digests.add(hashlib.sha256(data).hexdigest())
        if member.endswith(".ipynb"):
            aside, called = laid_aside(member), member if counts[member] == 1 else str(place)
            try:
                (parcel.aside if aside else parcel.notebooks).append((called, parse_notebook(data, member)))
            except Exception as error:
                parcel.problems += [] if aside else [f"{name}: {error}"]
        elif len(data) <= 1 << 20 and len(parcel.files) < 20:
            parcel.files[member] = data.decode("utf-8", "replace")
    if not parcel.notebooks and not parcel.aside and not parcel.problems:
        parcel.problems.append(f"{name} holds no notebook (.ipynb); hand it in again with one")
    if manifest:
        parcel.student = manifest["student"].strip() if isinstance(manifest.get("student"), str) else ""
        parcel.doubts += _checked(manifest, digests, name)
    return parcel


class _Room:
    """How much may still be read."""

    def __init__(self) -> None:
        self.files, self.bytes = MOST_FILES, MOST_BYTES

    def take(self, info: zipfile.ZipInfo) -> None:
        """Reckon a member in. Raises ValueError where there is no room for it."""
        if info.file_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MB; clear the outputs")
        self.files, self.bytes = self.files - 1, self.bytes - info.file_size
        if self.files < 0 or self.bytes < 0:
            raise ValueError(
                f"a zip may hold {MOST_FILES} files and {MOST_BYTES >> 20} MB; the rest is not read"
            )


def _members(
    archive: zipfile.ZipFile, parcel: Parcel, room: _Room, inner: bool = False
) -> Iterator[tuple[tuple[int, ...], PurePosixPath, bytes]]:
    """The times, paths and bytes of the members that count, those of zips within included."""
    for info in archive.infolist():
        member = PurePosixPath(info.filename.replace("\\", "/"))
        ending = member.suffix.lower()
        within = ending == ".zip" and not inner
        if hidden(member.parts) or info.is_dir():
            continue
        if not within and ending not in {".ipynb", *SIDE_FILES}:
            continue
        try:
            room.take(info)
            data = archive.read(info)
            if not within:
                yield info.date_time, member.with_suffix(ending), data
                continue
            with zipfile.ZipFile(io.BytesIO(data)) as nested:
                yield from _members(nested, parcel, room, inner=True)
        except Exception as error:  # a flipped bit in one member must not cost the others
            parcel.problems.append(f"{parcel.name}: {member.name} cannot be read ({error})")
            if room.files < 0 or room.bytes < 0:
                return


def _manifest(data: bytes) -> dict[str, Any]:
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _checked(manifest: dict[str, Any], digests: set[str], name: str) -> list[str]:
    """Doubts where a parcel is not what ``labkit submit`` has written."""
    if manifest.get("receipt") != receipt_of(manifest):
        return [f"the receipt in {name} does not fit what it says: it was changed after labkit submit"]
    if manifest.get("sha256") not in digests:
        return [f"the notebook in {name} is not the one that its receipt was written for"]
    return []
