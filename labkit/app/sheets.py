"""The demos' own pages: what each adds to ``page.html``, which has the head, the keys and the address.

A page of sheets shows pictures side by side under one question, a sheet at a time by the arrow keys.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jinja2
    from torch import Tensor

__all__ = [
    "Panel",
    "Sheet",
    "facets_html",
    "filters_html",
    "image_address",
    "mosaic",
    "page_html",
    "sheets_html",
]


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    loader = jinja2.PackageLoader("labkit.app", "")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def page_html(template: str, question: str, data: Any, **given: Any) -> str:
    """A page by the name of its template. ``question``: its heading; ``data``: what its script reads.

    >>> "<h1>Is 1 &lt; 2?</h1>" in page_html("sheets.html", "Is 1 < 2?", [], sheets=[], choice="", first=0)
    True
    """
    from markupsafe import Markup

    text = json.dumps(data).replace("<", "\\u003c")  # nothing in it ends the script
    return _environment().get_template(template).render(question=question, data=Markup(text), **given)


def image_address(picture: Tensor) -> str:
    """A picture (3, H, W) as a data address, without loss.

    >>> import torch
    >>> image_address(torch.zeros(3, 2, 2))[:22]
    'data:image/png;base64,'
    """
    from labkit.data.photos import encode

    return f"data:image/png;base64,{base64.b64encode(encode(picture)).decode()}"


class Panel(NamedTuple):
    """A picture (3 or 1, H, W), 0 to 1, with its title, and in words for those who do not see it; ``bars``
    below it are names with a share each, 0 to 1."""

    title: str
    picture: Tensor
    words: str
    bars: Sequence[tuple[str, float]] = ()


class Sheet(NamedTuple):
    """What is shown together: ``name`` on its button, ``says`` the answer to the page's question."""

    name: str
    says: str
    panels: Sequence[Panel]


def mosaic(images: Tensor, columns: int, gap: int = 1) -> Tensor:
    """Small pictures (N, C, h, w) as one (C, H, W), row by row, with ``gap`` pixels of mid grey between.

    >>> import torch
    >>> mosaic(torch.zeros(5, 3, 4, 4), 3).shape
    torch.Size([3, 9, 14])
    """
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    whole = images.new_full((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), 0.5)
    for number, image in enumerate(images):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        whole[:, top : top + height, left : left + width] = image
    return whole


def sheets_html(question: str, sheets: Sequence[Sheet], choice: str = "Sheet", first: int = 0) -> str:
    """The page. ``question`` is its heading, ``choice`` what its buttons choose between, ``first`` the sheet
    that it opens with."""

    def sent(panel: Panel) -> dict[str, Any]:
        address = image_address(panel.picture.expand(3, -1, -1))
        sent = {"title": panel.title, "picture": address, "words": panel.words}
        return sent | {"bars": [[name, round(share, 5)] for name, share in panel.bars]}

    data = [{"says": sheet.says, "panels": [sent(panel) for panel in sheet.panels]} for sheet in sheets]
    return page_html("sheets.html", question, data, sheets=sheets, choice=choice, first=first)


def filters_html(model: str = "minivgg") -> str:
    """The filters of two first layers, each beside the same with shuffled phases, and of higher layers."""
    import torch
    from torch import nn

    from labkit.evaluation.controls import phase_shuffled
    from labkit.experiments.filters import STEMS, described, first_filters
    from labkit.models import load_model
    from labkit.visualization import filter_grid_result

    large, small = load_model(STEMS[0]), load_model(model)

    def first(name: str, network: nn.Module) -> Sheet:
        filters = first_filters(network)
        shuffled = phase_shuffled(filters)
        found = [int(torch.stack(described(part)).any(0).sum()) for part in (filters, shuffled)]
        count, side = len(filters), filters.shape[-1]
        says = (
            f"{found[0]} of {count} filters of {name}, {side} x {side} pixels each, are an edge or a blob of "
            f"opponent colours (r2 above .8); with their phases shuffled {found[1]}."
        )
        panels = []
        for title, part in (("as trained", filters), ("the same, phases shuffled", shuffled)):
            scale = part.flatten(1).abs().amax(1).clamp(min=1e-12).view(-1, 1, 1, 1)
            words = f"{count} filters of {side} by {side} pixels in colour, {title}"
            panels.append(Panel(title, mosaic(0.5 + part / (2 * scale), 8), words))
        return Sheet(f"{name}, layer 1", says, panels)

    def higher(number: int, layer: str) -> Sheet:
        grid = filter_grid_result(large, layer, filters=10, kernels=20)
        says = (
            f"{grid.title}. A row is a filter, a square one of its kernels. Its channels are no colours: "
            "what a kernel of 3 x 3 means hangs on what its channel means."
        )
        picture = mosaic(grid.images, grid.columns)
        return Sheet(f"layer {number}", says, [Panel("kernels of ten filters", picture, grid.title)])

    convolutions = [name for name, module in large.named_modules() if isinstance(module, nn.Conv2d)]
    sheets = [first(STEMS[0], large), first(model, small)]
    sheets += [higher(number, layer) for number, layer in enumerate(convolutions[1:], 2)]
    return sheets_html("What do filters look like?", sheets, "Layer")


def facets_html(model: str = "minivgg", units: Sequence[int] = (7, 40, 101)) -> str:
    """For some units of the last feature map: means of clusters of their top pictures, and what the ascent
    makes of each mean."""
    from labkit.experiments.synthesis_judge import UNITS, apart, bank
    from labkit.models import load_model, unit
    from labkit.visualization import multifaceted_result

    network, scenes = load_model(model), bank(160, "train")

    def of(channel: int) -> Sheet:
        found = multifaceted_result(
            network, unit(UNITS, channel), scenes.images, layer=UNITS, top=48, nearest=12, steps=64
        )
        before, after = apart(found.starts), apart(found.images)
        says = (
            f"Four means of unit {channel}'s top pictures differ by {before:.2f}, the pictures made of "
            f"these by {after:.2f}: ask what was there before the first step."
        )
        return Sheet(
            f"unit {channel}", says,
            [
                Panel("means of clusters", mosaic(found.starts, 2, 2), "four blurred means of top pictures"),
                Panel("made from them", mosaic(found.images, 2, 2), f"four pictures that excite {channel}"),
            ],
        )  # fmt: skip

    return sheets_html("Has a unit many facets?", [of(channel) for channel in units], "Unit")
