"""Downloads: one registry with checksums, a progress bar, an atomic move, a message for offline machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pooch

from labkit.core.checks import check_choice


class Entry(NamedTuple):
    """Where a file comes from, its sha256 (at least its first 8 digits), and its folder."""

    url: str
    sha256: str
    folder: Path


REGISTRY: dict[str, Entry] = {}
"""Files the kit can fetch beside torchvision's weights; later labs add theirs."""


def torch_folder() -> Path:
    """Where torch keeps weights: ``TORCH_HOME``/hub/checkpoints, shared with every other program."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _digest(path: Path) -> str:
    return pooch.file_hash(str(path), alg="sha256")


def fetch_file(name: str, entry: Entry) -> Path:
    """The file of an entry, downloaded if it is not there yet.

    A file appears under its name only when it is complete and its checksum is right. Raises ValueError for a
    file that is there with another checksum, RuntimeError if the download fails or is corrupt, saying what to
    run where there is a network.
    """
    path = entry.folder / entry.url.rsplit("/", 1)[-1]
    if path.exists():
        if not _digest(path).startswith(entry.sha256):
            raise ValueError(
                f"{path} is not the file it should be: its sha256 does not begin with {entry.sha256}. "
                f"Delete it and run: labkit fetch {name}"
            )
        return path
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    entry.folder.mkdir(parents=True, exist_ok=True)
    try:
        # the downloader itself: pooch.retrieve would tell students to copy a hash into a call they never made
        pooch.HTTPDownloader(progressbar=True, timeout=30)(entry.url, str(part), None)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        part.unlink(missing_ok=True)
        raise RuntimeError(
            f"{name!r} is not on this machine and could not be downloaded from {entry.url} "
            f"({type(error).__name__}). Where there is a network, run: labkit fetch {name}\n"
            f"or copy {path.name} to {entry.folder}"
        ) from error
    except BaseException:  # the stop button
        part.unlink(missing_ok=True)
        raise
    if not _digest(part).startswith(entry.sha256):
        part.unlink()
        raise RuntimeError(
            f"the download of {name!r} is corrupt: its sha256 does not begin with {entry.sha256}. "
            f"Nothing was kept; run again: labkit fetch {name}"
        )
    os.replace(part, path)
    return path


def fetch_weights(name: str, url: str) -> Path:
    """torchvision's weights from torch's cache as they are, downloaded if missing.

    The name of a download ends in the first digits of its checksum; what is there already is trusted, as
    torch itself does.
    """
    there = torch_folder() / url.rsplit("/", 1)[-1]
    if there.exists():
        return there
    stem = url.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return fetch_file(name, Entry(url, stem.rsplit("-", 1)[-1], torch_folder()))


def fetch(name: str) -> Path:
    """Download what belongs to a name (torchvision classifier or entry of the registry); returns its path.

    Raises ValueError for an unknown name, with the nearest known ones, and RuntimeError offline.
    """
    if name in REGISTRY:
        return fetch_file(name, REGISTRY[name])
    from torchvision import models

    known = models.list_models(module=models)
    check_choice("name", name, [*REGISTRY, *known])
    return fetch_weights(name, next(iter(models.get_model_weights(name))).url)
