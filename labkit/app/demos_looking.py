"""Demos of looking without a hypothesis: similarity overlays, a tree that stands in for the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["LOOKING", "OF_PHOTOGRAPHS"]

KINDS = ("fire engine", "fire engine", "bus", "zebra")  # of the scenes of an overlay
PART = "wheel"  # at which it begins
LEAST = 0.12  # share of the picture that an object fills
PHOTOGRAPHS = 6


class Shown(NamedTuple):
    """Pictures with their names, and the pixel at which to begin."""

    images: Any
    names: list[str]
    place: list[int] | None


def _scenes() -> Shown:
    """Two fire engines, a bus and a zebra, each large; the overlay begins at a wheel."""
    import torch

    from labkit.data import MiniBroden

    world, kept = MiniBroden(400, "test"), []
    for kind in KINDS:
        for index in range(len(world)):
            if world.scene(index).objects[0].kind != kind or index in [i for i, _ in kept]:
                continue
            item = world[index]
            if float((item["instance"] == 1).float().mean()) >= LEAST:
                kept.append((index, item))
                break
    number = MiniBroden.names["part"].index(PART)
    wheel = (kept[0][1]["part"] == number).nonzero().float()
    row, column = wheel[(wheel - wheel[0]).norm(dim=1).argsort()[: len(wheel) // 3]].mean(0).int().tolist()
    names = [
        f"{kind} {1 + KINDS[:k].count(kind)}" if KINDS.count(kind) > 1 else kind
        for k, kind in enumerate(KINDS)
    ]
    return Shown(torch.stack([item["image"] for _, item in kept]), names, [column, row])


def _photographs(side: int, folder: Path | None) -> Shown:
    """The first photographs of a folder, or those that come with other packages."""
    import torch

    from labkit.data import sample_photos

    found = sample_photos(side, folder)[:PHOTOGRAPHS]
    names = [photo.name.lstrip("0123456789").strip("_").replace("_", " ") for photo in found]
    return Shown(torch.stack([photo.image for photo in found]), names, None)


def _overlay(model: str = "minivgg", photos: Path | None = None) -> str:
    """Point at a place of a picture: where else, in all of them, does a network see the same?"""
    from labkit.app.demos import NETWORKS
    from labkit.evaluation import twin
    from labkit.models import load_model
    from labkit.widgets import OverlayExplorer

    network = load_model(model)
    toy = photos is None and model in NETWORKS
    shown = _scenes() if toy else _photographs(int(network.input_size), photos)  # type: ignore[arg-type]
    given: dict[str, Any] = {"place": shown.place} if shown.place else {}
    if len(shown.images) > 1:
        given["beside"] = twin(network, shown.images)
    explorer = OverlayExplorer(
        network, shown.images, names=shown.names, titles=("trained", "untrained"), both=False, **given
    )
    explorer.precompute()
    return explorer.to_html(title="What looks the same to a network?", limit_mb=8)


LOOKING: dict[str, Callable[..., str]] = {"overlay": _overlay}
OF_PHOTOGRAPHS = ("overlay",)  # those that need no planted truth
