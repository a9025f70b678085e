"""The page of one scene with its label maps under the pointer, and the data set's own table beside."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from importlib.resources import files

__all__ = ["labels_html"]

PICTURES, COUNTED = (0, 7, 12), 200  # scenes on the page; scenes that the table counts


def labels_html(pictures: Sequence[int] = PICTURES, counted: int = COUNTED) -> str:
    """The page. ``pictures``: numbers of test scenes; ``counted``: how many scenes the table is about."""
    import jinja2
    import torch
    from markupsafe import Markup

    from labkit.data import MiniBroden, minibroden_table
    from labkit.data.photos import encode

    stack = MiniBroden(max(counted, *(number + 1 for number in pictures)), "test").stack()
    table = minibroden_table(stack.select(range(counted)))
    kinds = [row.kind for row in table]
    scenes = []
    for number in pictures:
        image = torch.from_numpy(stack.images[number].copy()).permute(2, 0, 1).float() / 255
        maps = {kind: base64.b64encode(stack.maps[kind][number].tobytes()).decode() for kind in kinds}
        shown = base64.b64encode(encode(image)).decode()
        scenes.append({"picture": f"data:image/png;base64,{shown}", "maps": maps})
    data = {
        "side": stack.images.shape[1], "names": {kind: MiniBroden.names[kind] for kind in kinds},
        "scenes": scenes,
    }  # fmt: skip
    template = files("labkit.app").joinpath("label_maps.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        question="What does each pixel show?", table=table, counted=counted, count=len(scenes),
        data=Markup(json.dumps(data).replace("<", "\\u003c")),
    )  # fmt: skip
