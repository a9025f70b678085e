"""Arrays in the kit's cache folder: written whole, read by memory map, noticed where they are damaged."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy import ndarray
from platformdirs import user_cache_path

__all__ = ["cache_folder", "kept", "writing"]

_MARK = b"labkit-crc32:"  # before the checksum, behind the array, where numpy does not look
_BLOCK = 1 << 24
_READ: dict[Path, tuple[int, int]] = {}  # what this process has read through already: its time and size


def cache_folder() -> Path:
    """The kit's cache: ``LABKIT_CACHE``, or the system's usual place."""
    return Path(os.environ.get("LABKIT_CACHE") or user_cache_path("labkit"))


def _checksum(array: ndarray) -> bytes:
    data, sum_ = memoryview(array).cast("B"), 0  # type: ignore[arg-type]
    for first in range(0, len(data), _BLOCK):
        sum_ = zlib.crc32(data[first : first + _BLOCK], sum_)
    return _MARK + sum_.to_bytes(4, "big")


def kept(path: Path, shape: tuple[int, ...], dtype: type) -> ndarray | None:
    """The array of a file, read-only and mapped into memory; None where it is not there whole and sound.

    A file that was cut short, changed, or holds another shape counts as not there. It is read through once a
    process.
    """
    try:
        state = path.stat()
        array = np.load(path, mmap_mode="r")
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            return None
        stamp = (state.st_mtime_ns, state.st_size)
        if _READ.get(path) != stamp:
            with path.open("rb") as file:
                file.seek(-len(_MARK) - 4, os.SEEK_END)
                if file.read() != _checksum(array):
                    return None
            _READ[path] = stamp
    except (OSError, ValueError, EOFError):
        return None
    return array


@contextmanager
def writing(path: Path, shape: tuple[int, ...], dtype: type) -> Iterator[ndarray]:
    """An array to be filled, which then appears as the file, whole, or not at all after an error.

    It lies on the disk while it is filled, so that it may be larger than the memory. Raises OSError where the
    folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        array = np.lib.format.open_memmap(part, "w+", dtype, shape)
        yield array
        array.flush()
        end = _checksum(array)
        del array
        with part.open("ab") as file:
            file.write(end)
        try:
            os.replace(part, path)
        except PermissionError:  # Windows, where another process has the same array mapped
            if kept(path, shape, dtype) is None:
                raise
            part.unlink(missing_ok=True)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
