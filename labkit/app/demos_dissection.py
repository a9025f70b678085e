"""Lecture demos of network dissection: units against labels, the same units turned, one scene's labels."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["DISSECTIONS", "labels_html"]

PICTURES, COUNTED = (0, 7, 12), 200  # scenes on the page; scenes that the table counts
SCENES = 120  # that a page dissects with: a share of the claim's thousand


def _explorer(model: str, layers: tuple[str, ...], twin_too: bool, **given: Any) -> Any:
    """The explorer of some layers over test scenes, beside the network's untrained twin if asked."""
    from labkit.app.demo_pictures import check_network
    from labkit.data import MiniBroden
    from labkit.evaluation import twin
    from labkit.models import load_model
    from labkit.widgets import DissectionExplorer

    check_network(model)
    network, stack = load_model(model), MiniBroden(SCENES, "test").stack()
    models = {model: network, "untrained": twin(network, stack.images)} if twin_too else network
    return DissectionExplorer(models, stack, layers=layers, **given)


def _dissect(model: str = "minivgg") -> str:
    """What each unit detects, early, late and untrained: beside its ceiling and other pictures' labels."""
    explorer = _explorer(model, ("features.5", "features.19"), True, picture=1, quantiles=(0.005, 0.02))
    explorer.precompute()
    return explorer.to_html(title="What do the units detect?", limit_mb=10)


def _rotate(model: str = "minivgg") -> str:
    """Turn the units of a layer: the next layer could undo it, but do the units still mean something?"""
    explorer = _explorer(
        model, ("features.13",), False, powers=(0.0, 0.25, 0.5, 0.75, 1.0), quantiles=(0.02,)
    )
    explorer.precompute(powers=range(5))
    return explorer.to_html(title="What is left of the units when they are turned?", limit_mb=10)


def labels_html(pictures: Sequence[int] = PICTURES, counted: int = COUNTED) -> str:
    """A page of test scenes (``pictures``: their numbers) with their label maps under the pointer, and the
    table of the first ``counted`` scenes."""
    import torch

    from labkit.app.sheets import image_address, page_html
    from labkit.data import MiniBroden, minibroden_table

    stack = MiniBroden(max(counted, *(number + 1 for number in pictures)), "test").stack()
    table = minibroden_table(stack.select(range(counted)))
    kinds = [row.kind for row in table]
    scenes = []
    for number in pictures:
        image = torch.from_numpy(stack.images[number].copy()).permute(2, 0, 1).float() / 255
        maps = {kind: base64.b64encode(stack.maps[kind][number].tobytes()).decode() for kind in kinds}
        scenes.append({"picture": image_address(image), "maps": maps})
    data = {
        "side": stack.images.shape[1], "names": {kind: MiniBroden.names[kind] for kind in kinds},
        "scenes": scenes,
    }  # fmt: skip
    return page_html(
        "label_maps.html", "What does each pixel show?", data, table=table, counted=counted, count=len(scenes)
    )


def _broden(model: str = "minivgg") -> str:
    """One scene, and the labels of the pixel under the pointer; the data set's own table beside."""
    return labels_html()


DISSECTIONS: dict[str, Callable[[str], str]] = {"broden": _broden, "dissect": _dissect, "rotate": _rotate}
