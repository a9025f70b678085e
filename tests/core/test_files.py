"""A file is there whole or not at all, and as open or closed as any other new one."""

import os
import stat
import sys

import pytest

from labkit.core.files import write_whole


def test_text_and_bytes_are_written_as_they_are(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    assert write_whole(path, "one\nŽ") == path
    assert path.read_bytes() == "one\nŽ".encode()
    write_whole(path, b"\r\n\0")
    assert path.read_bytes() == b"\r\n\0"
    assert os.listdir(path.parent) == ["a.txt"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_whole(tmp_path / "a.txt", "old")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file mode mask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_teachers_mask_keeps_marks_closed(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = write_whole(tmp_path / "grades.csv", "ada,4")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
