"""Arrays in the cache: whole or not there, and a damaged one is as good as none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labkit.data import cache
from labkit.data.cache import kept, writing

SHAPE = (5, 7)
VALUES = np.arange(35, dtype=np.uint8).reshape(SHAPE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "numbers.npy"
    with writing(path, SHAPE, np.uint8) as array:
        array[:] = VALUES
    return path


def test_what_was_written_is_read_by_map_and_cannot_be_changed(file: Path) -> None:
    found = kept(file, SHAPE, np.uint8)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, VALUES)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1
    assert [path.name for path in file.parent.iterdir()] == ["numbers.npy"]
    np.testing.assert_array_equal(np.load(file), VALUES)  # an ordinary file to numpy


@pytest.mark.parametrize(("shape", "dtype"), [((5, 8), np.uint8), ((35,), np.uint8), (SHAPE, np.int8)])
def test_another_array_is_not_the_one_asked_for(file: Path, shape, dtype) -> None:
    assert kept(file, shape, dtype) is None


def flip(data: bytes) -> bytes:
    return data[:150] + bytes([data[150] ^ 1]) + data[151:]


DAMAGES = {
    "a byte short": lambda data: data[:-1],
    "half": lambda data: data[:140],
    "head only": lambda data: data[:60],
    "empty": lambda data: b"",
    "a flipped bit": flip,
    "longer": lambda data: data + b"x",
    "without a checksum": lambda data: data[:-17],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_noticed(file: Path, damage) -> None:
    assert kept(file, SHAPE, np.uint8) is not None
    file.write_bytes(damage(file.read_bytes()))
    assert kept(file, SHAPE, np.uint8) is None


def test_a_file_is_read_through_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept(file, SHAPE, np.uint8) is not None
    monkeypatch.setattr(cache, "_checksum", lambda array: pytest.fail("read through again"))
    assert kept(file, SHAPE, np.uint8) is not None


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert kept(tmp_path / "nothing.npy", SHAPE, np.uint8) is None


def test_an_array_that_was_not_finished_does_not_appear(file: Path) -> None:
    before = file.read_bytes()

    def broken() -> None:
        with writing(file, SHAPE, np.uint8) as array:
            array[:2] = 9
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        broken()
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["numbers.npy"]
