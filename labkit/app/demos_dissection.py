"""Lecture demos of network dissection: units against labels, turned, over a training; a scene's labels."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["DISSECTIONS", "labels_html"]

PICTURES, COUNTED = (0, 7, 12), 200  # scenes on the page; scenes that the table counts
WATCHED, KEPT = "minivgg-4", (1, 2, 4)  # a network whose snapshots are kept, and after which epochs
TUNED = ("minivgg-scenes", "minivgg-finetuned")  # of grounds, and the same taught objects afterwards
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


def _training(model: str = "minivgg") -> str:
    """One network before, during and after its training: when does a unit begin to detect something?"""
    from labkit.data import MiniBroden
    from labkit.evaluation import twin
    from labkit.models import load_model
    from labkit.widgets import DissectionExplorer

    stack, end = MiniBroden(SCENES, "test").stack(), load_model(WATCHED)
    untrained = twin(end, stack.images)
    told: Any = end.card
    card = {**told, "snapshot": {"of": WATCHED, "after epochs": 0}}
    object.__setattr__(untrained, "card", card)
    kept = {f"{WATCHED}-after-{epochs}": load_model(f"{WATCHED}-after-{epochs}") for epochs in KEPT}
    models = {f"{WATCHED}, untrained": untrained, **kept, WATCHED: end}
    explorer = DissectionExplorer(
        models, stack, layers="features.19", picture=len(models) - 1, quantiles=(0.005, 0.02)
    )
    explorer.precompute()
    return explorer.to_html(title="When does a unit begin to detect something?", limit_mb=10)


def _fine_tuning(model: str = "minivgg") -> str:
    """Units of a network of grounds, before and after it was taught objects: their pictures and labels."""
    from labkit.app.frames import Choice, frames_html
    from labkit.app.sheets import Panel, Sheet, mosaic
    from labkit.data import MiniBroden
    from labkit.experiments.fine_tuning import before_and_after
    from labkit.models import load_model

    first, then = (load_model(name) for name in TUNED)
    card: Any = then.card
    pairs = before_and_after(first, then, MiniBroden(SCENES, "test").stack(), units=None, count=9)

    def cell(number: int) -> Sheet:
        pair, panels = pairs[number], []
        for when, side in (("before", pair.before), ("after", pair.after)):
            words = f"the nine pictures at which unit {pair.unit} fires most {when} fine-tuning"
            panels.append(Panel(f"{when}: {side}", mosaic(side.pictures, 3, 4), words))
        chance = f"{pair.before.chance:.2f} and {pair.after.chance:.2f}"
        says = (
            f"Unit {pair.unit}: {pair.before.label} before, {pair.after.label} after; with labels of other "
            f"pictures the IoU reaches {chance}. Pictures that stay among the nine: {pair.shared}. After "
            f"{card['recipe']['epochs']} epochs this network names "
            f"{card['accuracy']['clean test']:.2f} of the objects."
        )
        return Sheet(str(pair.unit), says, panels)

    slider = Choice("Unit", [str(pair.unit) for pair in pairs])
    return frames_html("What becomes of a unit when the network is taught another task?", [], slider, cell)


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


DISSECTIONS: dict[str, Callable[[str], str]] = {
    "broden": _broden, "dissect": _dissect, "fine-tuning": _fine_tuning, "rotate": _rotate,
    "training": _training,
}  # fmt: skip
