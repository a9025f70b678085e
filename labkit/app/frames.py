"""Pages with a slider: pictures side by side that follow it at once, and buttons for what is shown."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from labkit.app.sheets import Panel, Sheet, image_address, page_html

__all__ = ["Choice", "frames_html"]

QUALITY = 90  # of the JPEG files that hold photographs; small pictures stay as they are
SMALL = 160  # pixels a side


class Choice(NamedTuple):
    """What buttons or a slider choose between: ``name`` and the words of its ``options``."""

    name: str
    options: Sequence[str]


def _sent(picture: Any) -> str:
    """A picture (3, H, W) as a data address: without loss where it is small, else as a photograph."""
    from PIL import Image

    if max(picture.shape[1:]) <= SMALL:
        return image_address(picture)
    kept = io.BytesIO()
    pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(kept, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(kept.getvalue()).decode()}"


def frames_html(
    question: str,
    choices: Sequence[Choice],
    slider: Choice,
    cell: Callable[..., Sheet],
    start: Sequence[int] | None = None,
) -> str:
    """The page. ``question``: its heading; ``choices``: rows of buttons; ``slider``: what it runs over.

    ``cell(*numbers)`` gives what is shown for an option of each choice and a place of the slider, always as
    many panels; a picture that stands in several of them is sent once. ``start``: where the page begins.

    >>> import torch
    >>> def cell(layer: int, step: int) -> Sheet:
    ...     return Sheet("", f"layer {layer}, step {step}", [Panel("dream", torch.rand(3, 4, 4), "a dream")])
    >>> "layer 1, step 2" in frames_html("?", [Choice("Layer", "ab")], Choice("Step", "012"), cell)
    True
    """
    sizes = [len(one.options) for one in (*choices, slider)]
    places: dict[str, int] = {}

    def sent(panel: Panel) -> dict[str, Any]:
        number = places.setdefault(_sent(panel.picture), len(places))
        bars = [[name, round(share, 3)] for name, share in panel.bars]
        return {"title": panel.title, "picture": number, "words": panel.words, "bars": bars}

    cells = []
    for numbers in itertools.product(*map(range, sizes)):
        shown = cell(*numbers)
        cells.append({"says": shown.says, "panels": [sent(panel) for panel in shown.panels]})
    data = {
        "pictures": list(places), "cells": cells, "sizes": sizes, "ticks": list(slider.options),
        "start": list(start or [0] * len(sizes)),
    }  # fmt: skip
    return page_html("frames.html", question, data, choices=choices, slider=slider)
