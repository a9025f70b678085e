"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit.core.files import write_whole


def test_text_and_bytes_are_written_and_readable_by_all(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "new" / "grades.csv", "name;Zoë\n")
    assert path.read_bytes() == "name;Zoë\n".encode()
    assert write_whole(path, b"\0\1").read_bytes() == b"\0\1"
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_leaves_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_whole(tmp_path / "kept.json", "old")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]
    assert path.read_text() == "old"
