"""The demo of style: a search over six weights, and one network that gives four styles and blends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["STYLE", "style_explorer"]

PICTURES, SEARCHED, SIDE, STEPS = 2, 1, 128, 30  # pictures; styles that are sought for each; pixels; steps
WEIGHTS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
LOSS = "minivgg-robust"  # its loss network, if no other is asked for


def style_explorer(
    model: str = LOSS,
    photos: Path | None = None,
    pictures: int = PICTURES,
    searched: int = SEARCHED,
    steps: int = STEPS,
) -> Any:
    """The explorer with the searches of every weight and with all blends of ``style-four``."""
    import torch

    from labkit.app.demo_pictures import photographs
    from labkit.data.textures import texture
    from labkit.experiments.bench import Bench
    from labkit.experiments.style_and_content import STYLE_LAYERS
    from labkit.models import load_model
    from labkit.widgets import StyleExplorer

    loss, network = load_model(model), load_model("style-four")
    kinds: list[str] = network.card["styles"]  # type: ignore[index,assignment]
    if photos is None and model in (LOSS, "minivgg"):
        scenes = Bench().firsts(pictures)
        images, names = scenes.images, [scene.objects[0].kind for scene in scenes.scenes]
    else:
        images, names = photographs(SIDE, photos, pictures)
    layers: dict[str, Any] = {}
    if hasattr(loss, "features") and hasattr(loss, "grey"):  # one of the kit's own
        layers = {"style_layers": STYLE_LAYERS, "content_layer": "features.9"}
    explorer = StyleExplorer(
        loss, images, torch.stack([texture(kind, SIDE) for kind in kinds]), style_names=kinds, names=names,
        network=network, style_weights=WEIGHTS, content_weights=(1.0,), mode="blend",
        options={"steps": steps, "optimizer": "adam", "rate": 0.04, "tv_weight": 1.0}, **layers,
    )  # fmt: skip
    settings: list[dict[str, Any]] = [{"mode": "blend"}]
    settings += [
        {"mode": "search", "style": style, "style_weight": weight}
        for style in range(min(searched, len(kinds)))
        for weight in WEIGHTS
    ]
    explorer.precompute(range(len(images)), settings)
    return explorer


def _style(model: str = LOSS, photos: Path | None = None) -> str:
    """Content and style, weighed against each other; four styles of one network, blended at once."""
    return style_explorer(model, photos).to_html(title="What is style, and what is content?", limit_mb=8)


STYLE: dict[str, Callable[..., str]] = {"style": _style}
