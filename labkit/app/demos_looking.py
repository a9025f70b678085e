"""Demos of looking without a hypothesis: similarity overlays, a tree that stands in for the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["LOOKING"]

PHOTOGRAPHS = 4  # with those of a second network below them, as many as a projector shows large


class Shown(NamedTuple):
    """Pictures with their names, and the pixel at which to begin."""

    images: Any
    names: list[str]
    place: list[int] | None


def _scenes() -> Shown:
    """Two fire engines, a bus and a zebra, each large; the overlay begins at a wheel."""
    from labkit.data import gather
    from labkit.experiments.overlay_demonstrations import KINDS, four_scenes, numbered

    scenes, pixel = four_scenes()
    return Shown(gather(scenes).images, numbered(KINDS), list(pixel))


def _overlay(model: str = "minivgg", photos: Path | None = None) -> str:
    """Point at a place of a picture: where else, in all of them, does a network see the same?"""
    from labkit.app.demo_pictures import of_the_toy_world, photographs
    from labkit.evaluation import twin
    from labkit.models import load_model
    from labkit.widgets import OverlayExplorer

    network = load_model(model)
    if of_the_toy_world(model, photos):
        shown = _scenes()
    else:
        side = int(network.input_size)  # type: ignore[arg-type]
        shown = Shown(*photographs(side, photos, PHOTOGRAPHS, in_pairs=True), None)
    given: dict[str, Any] = {"place": shown.place} if shown.place else {}
    if len(shown.images) > 1:
        given["beside"] = twin(network, shown.images)
    explorer = OverlayExplorer(
        network, shown.images, names=shown.names, titles=("trained", "untrained"), both=False, **given
    )
    explorer.precompute()
    return explorer.to_html(title="What looks the same to a network?", limit_mb=8)


SCENES, DEEPEST = 1200, 3  # a table's rows; how many questions are drawn


def _distil(model: str = "minivgg-melbourne") -> str:
    """A tree in the network's place, question by question: how faithful is it, where the network is wrong?"""
    from labkit.app.demo_pictures import check_network
    from labkit.app.sheets import Panel, Sheet, sheets_html
    from labkit.concepts import concept_shares, distill_result
    from labkit.data import CLASSES, MiniBroden
    from labkit.evaluation import other_pictures
    from labkit.experiments.bench import Bench
    from labkit.experiments.looking_without_a_hypothesis import DEPTHS, said, table
    from labkit.plots import show_curves, show_tree

    check_network(model)
    seen = MiniBroden(SCENES, "test").stack()
    given, heard = table(seen, concept_shares), said(Bench(), model, seen)
    wrong = heard != given.labels
    ways = {
        "taught its answers": (given.rows, heard),
        "taught the truth": (given.rows, given.labels),
        "its answers, concepts shuffled": (given.rows[other_pictures(SCENES)], heard),
    }
    trees = {
        (way, depth): distill_result(*both, depth=depth) for way, both in ways.items() for depth in DEPTHS
    }

    def faithful(way: str, depth: int, everywhere: bool) -> float:
        found = trees[way, depth]
        rows = found.held_out if everywhere else found.held_out[wrong[found.held_out]]
        same = found.predict(ways[way][0][rows]) == heard[rows]
        return float(same.double().mean()) if len(rows) else float("nan")

    everywhere = not bool(wrong[trees["taught the truth", 1].held_out].any())
    lines = {way: [faithful(way, depth, everywhere) for depth in DEPTHS] for way in ways}
    place = "all scenes" if everywhere else f"the scenes where {model} is wrong"
    sheets = []
    for number, depth in enumerate(DEPTHS):
        own, truth, lot = (lines[way][number] for way in ways)
        whole = [faithful(way, depth, True) for way in ways]
        says = (
            f"In {place} the tree taught its answers says the same in {own:.2f}, one taught the truth in "
            f"{truth:.2f}; on shuffled concepts {lot:.2f}. In all scenes: {whole[0]:.2f} and {whole[1]:.2f}."
        )
        student = trees["taught its answers", depth].student
        drawn = show_tree(student, given.names, [CLASSES[int(k)] for k in student.classes_], depth=DEEPEST)
        curve = show_curves(DEPTHS, lines, xlabel="questions the tree may ask", ylabel="fidelity", here=depth)
        panels = [
            Panel(
                "its first questions",
                _pixels_of(drawn),
                f"a tree of {depth} questions, the first three drawn",
            ),
            Panel(f"fidelity, {place}", _pixels_of(curve), says),
        ]
        sheets.append(Sheet(f"{depth}", says, panels))
    return sheets_html("Does a simple model stand in for the network?", sheets, "Questions")


def _pixels_of(figure: Any) -> Any:
    """A figure as a picture (3, H, W) on white."""
    import io

    import numpy as np
    import torch
    from PIL import Image

    figure.set_facecolor("white")
    figure.patch.set_alpha(1)
    kept = io.BytesIO()
    figure.savefig(kept, format="png", dpi=170, bbox_inches="tight", pad_inches=0.1)
    kept.seek(0)
    shown = np.asarray(Image.open(kept).convert("RGB"))
    return torch.from_numpy(shown.copy()).permute(2, 0, 1) / 255


LOOKING: dict[str, Callable[..., str]] = {"distil": _distil, "overlay": _overlay}
