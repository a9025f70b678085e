"""``labkit submit notebook.ipynb``: one zip to hand in, with a receipt.

The zip holds the notebook as it is, small Python files beside it, and ``submission.json``: the student's
id, the kit's version, how the public checks went in a clean process, and the receipt, a hash over all of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import labkit
from labkit.calls.call import another_id
from labkit.calls.exercise import Exercise
from labkit.checking.notebook import check_notebook
from labkit.core.files import write_whole

PLACE = "YOUR-ID"  # what the last cell of a notebook says
__all__ = ["submit", "Receipt", "receipt_of", "remembered_id"]


@dataclass(frozen=True)
class Receipt:
    """What was written: the zip, the receipt hash, the check summary by exercise."""

    path: Path
    student: str
    receipt: str
    checks: dict[str, str]

    def __str__(self) -> str:
        checks = ", ".join(f"{id} {passed}" for id, passed in self.checks.items())
        return f"wrote {self.path}\npublic checks: {checks}\nreceipt {self.receipt} for {self.student}"


def _id_file() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("labkit")) / "student"


def remembered_id(file: Path | None = None) -> str:
    """The id given the last time, or the empty string."""
    file = file or _id_file()
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""


def _valid(student: str) -> str:
    student = student.strip()
    if student.upper() == PLACE:
        raise ValueError(
            f"the id (--id) must be your own; {student} only stands for it. Write it in its place."
        )
    if not re.fullmatch(r"[\w.@+-]{1,100}", student):
        raise ValueError(
            f"the id (--id) must be one word of letters, digits and . _ - @ +; got {student!r}. "
            "Write it as it stands in the course's roster."
        )
    return student


def receipt_of(manifest: dict[str, Any]) -> str:
    """The receipt: sha256 over the manifest but its time, in 16 digits: the same work has the same."""
    plain = {key: value for key, value in manifest.items() if key not in ("receipt", "time")}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def submit(
    path: str | Path,
    student_id: str | None = None,
    *,
    folder: str | Path | None = None,
    ask: Callable[[str], str] = input,
    id_file: Path | None = None,
    exercises: Sequence[Exercise] | None = None,
    sure: Callable[[list[str]], bool] = lambda missing: True,
) -> Receipt:
    """Run the public checks in a clean process and write the zip to hand in.

    ``student_id``: as in the roster; by default the one given the last time, else it is asked for, once.
    ``folder``: where the zip goes; beside the notebook by default.
    ``ask``: how to ask for the id.
    ``sure``: shown what is missing, if anything is; False writes nothing.
    ``id_file``: where the id is remembered (the user's configuration folder by default).
    ``exercises``: the exercises, where they are not the kit's.

    Handing in is never refused for failed checks. Raises ValueError for an id that is not one word (before
    anything is run), for a file that is not a notebook or holds no exercise, and where ``sure`` says no.
    """
    path, file = Path(path), id_file or _id_file()
    known = remembered_id(file)
    given = _valid(student_id) if student_id else ""
    report = check_notebook(path, exercises)
    student = given or known
    told = [sentence] if student and (sentence := another_id(report.signed, student)) else []
    if (report.missing or told) and not sure(report.missing + told):
        raise ValueError("nothing was written. Hand the notebook in when it is ready, or with --yes.")
    student = _valid(student or ask("Your id, as in the course's roster: "))
    if student != known:
        write_whole(file, student + "\n")
    data = path.read_bytes()
    extras = {p.name: p.read_bytes() for p in sorted(path.parent.glob("*.py")) if p.stat().st_size <= 1 << 20}
    manifest: dict[str, Any] = {
        "student": student,
        "notebook": path.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "files": {name: hashlib.sha256(extra).hexdigest() for name, extra in extras.items()},
        "kit": labkit.__version__,
        "python": platform.python_version(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "checks": report.summary,
        "notes": report.stale + told,
    }
    manifest["receipt"] = receipt_of(manifest)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.name, data)
        for name, extra in extras.items():
            archive.writestr(name, extra)
        archive.writestr("submission.json", json.dumps(manifest, indent=1))
    target = write_whole(Path(folder or path.parent) / f"{student}_{path.stem}.zip", packed.getvalue())
    return Receipt(target, student, manifest["receipt"], report.summary)
