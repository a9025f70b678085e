"""Lecture demos: explorers with all their answers computed, as pages that need no kernel and no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labkit.app.demo_pictures import NETWORKS, check_network, chosen, of_the_toy_world, photographs
from labkit.app.demos_attack import attack_html
from labkit.app.demos_dissection import DISSECTIONS
from labkit.app.demos_dreams import DREAMS
from labkit.app.demos_fooling import FOOLING
from labkit.app.demos_looking import LOOKING
from labkit.app.demos_prior import PRIOR
from labkit.app.demos_style import STYLE
from labkit.app.demos_texture import TEXTURE
from labkit.app.demos_transfer import WITHOUT
from labkit.app.panels import MENDING

__all__ = ["DEMOS", "NETWORKS", "OF_PHOTOGRAPHS", "check_network", "chosen"]

# what needs no planted truth: shown on photographs, and on any network
OF_PHOTOGRAPHS = (
    "activations", "ascend", "attack", "compare", "defend", "dream", "embedding", "grow", "invert",
    "masks", "neighbours", "occlusion", "overlay", "patch-attack", "patches", "sanity", "style",
    "texture",
)  # fmt: skip


def _occlusion(model: str = "minivgg", photos: Path | None = None) -> str:
    """Cover a part of the picture and watch the score of the class; the map follows the sliders."""
    from labkit.widgets import OcclusionExplorer

    show = chosen(model, 3, photos)
    # finer ones would take minutes
    stops: dict[str, Any] = {"windows": (16, 24, 32, 48), "strides": (8, 16, 24, 32)}
    explorer = OcclusionExplorer(show.network, show.images, **show.given, **stops)
    explorer.precompute(pictures=range(len(show.images)))
    asked = f"What does the score hang on: {show.question}?"
    return explorer.to_html(
        title=asked if show.question else "What does the score lose where a patch covers the picture?"
    )


def _compare(model: str = "minivgg", photos: Path | None = None) -> str:
    """Six methods side by side on one picture, with the truth: which of them is right?"""
    from labkit.widgets import Comparer

    show = chosen(model, 4, photos)
    explorer = Comparer(show.network, show.images, masks=show.masks, **show.given)
    for picture, label in enumerate(show.labels.tolist()):
        explorer.precompute([picture], targets=(label, -1))
    asked = f"What does the network go by: {show.question}? Which method tells?"
    return explorer.to_html(title=asked if show.question else "Which method is right?")


def _masks(model: str = "minivgg", photos: Path | None = None) -> str:
    """Drag the area: which part of the picture suffices for the class, and which is needed?"""
    from labkit.widgets import MaskExplorer

    show = chosen(model, 2, photos)
    explorer = MaskExplorer(show.network, show.images, masks=show.masks, **show.given)
    explorer.precompute(pictures=range(len(show.images)))
    asked = f"What is enough for the network: {show.question}?"
    return explorer.to_html(title=asked if show.question else "How little of the picture is enough?")


def _sanity(model: str = "minivgg", photos: Path | None = None) -> str:
    """Let the network forget, layer by layer: which maps notice?"""
    from labkit.widgets import SanityExplorer

    show = chosen(model, 2, photos)
    explorer = SanityExplorer(show.network, show.images, **show.given)
    explorer.precompute(pictures=range(len(show.images)))
    return explorer.to_html(title="Does the map notice that the network forgets?", limit_mb=8)


SPACE = 400  # pictures of an embedding


def _space(model: str, pixels: bool, photos: Path | None) -> Any:
    """The explorer of the first test scenes or of photographs, by the network's features or by pixels."""
    import torch

    from labkit.evaluation import colour_features
    from labkit.models import load_model
    from labkit.models.features import batches
    from labkit.widgets import EmbeddingExplorer

    network = load_model(model)
    given: dict[str, Any] = {}
    if of_the_toy_world(model, photos):
        pictures, given = _scenes(SPACE)
    else:
        pictures, names = photographs(int(network.input_size), photos)  # type: ignore[arg-type]
        given["names"] = names
    rows = torch.cat([colour_features(part, 32).flatten(1) for part in batches(pictures)]) if pixels else None
    return EmbeddingExplorer(network, pictures, features=rows, **given)


def _scenes(count: int) -> tuple[Any, dict[str, Any]]:
    """The first test scenes as bytes, and their classes, grounds and captions as the explorer takes them."""
    import torch

    from labkit.data import CLASSES, GROUNDS, MiniBroden, label_of

    world = MiniBroden(count, "test")
    pictures, labels = world.pictures()
    grounds = [label_of(world.scene(i), "ground") for i in range(count)]
    groups = {"class": (CLASSES, torch.as_tensor(labels)), "ground": (GROUNDS, torch.tensor(grounds))}
    names = [f"{CLASSES[k]} on {GROUNDS[g]}" for k, g in zip(labels, grounds, strict=True)]
    return pictures, {"groups": groups, "names": names}


def _embedding(model: str = "minivgg", photos: Path | None = None) -> str:
    """Pictures where their features lie, by t-SNE, PCA and DeepMDS: drag the perplexity."""
    explorer = _space(model, False, photos)
    explorer.precompute()
    return explorer.to_html(title="What lies near what, for a network?", limit_mb=8)


def _neighbours(model: str = "minivgg", photos: Path | None = None) -> str:
    """The same pictures where their pixels lie: neighbours that share the ground, and not the class."""
    explorer = _space(model, True, photos)
    if of_the_toy_world(model, photos):
        explorer.colour = "ground"
    explorer.precompute([0, 1], [min(2, len(explorer.stops) - 1)])
    return explorer.to_html(title="What do neighbours in pixels share: the class, or the ground?", limit_mb=8)


def _filters(model: str = "minivgg") -> str:
    """The filters of the first layer beside the same with shuffled phases, and those of higher layers."""
    from labkit.app.sheets import filters_html

    return filters_html(model)


def _ascend(model: str = "minivgg", photos: Path | None = None) -> str:
    """A picture made for a class, step by step: regularizers switched on and off, frames to scrub."""
    from labkit.widgets import AscentExplorer

    show = chosen(model, 2, photos)
    explorer = AscentExplorer(show.network, target=int(show.labels[0]), steps=64)
    switched: list[dict[str, Any]] = [
        {}, {"decay": True}, {"decay": True, "blur": True}, {"decay": True, "blur": True, "clip": True},
        {"fourier": True}, {"fourier": True, "jitter": True},
    ]  # fmt: skip
    explorer.precompute(settings=switched)
    other = int(show.labels[1])
    explorer.precompute(settings=[{"target": other, **on} for on in (switched[0], *switched[4:])])
    return explorer.to_html(title="What would excite the network most?", limit_mb=8)


def _facets(model: str = "minivgg") -> str:
    """The kinds of pictures that excite a unit, and what is made when one starts from the mean of each."""
    from labkit.app.sheets import facets_html

    return facets_html(model)


def _net2vec(model: str = "minivgg") -> str:
    """One concept by its strongest 1, 2, 3, ... filters, beside as many units on raw colour."""
    from labkit.app.vector_pages import net2vec_html

    check_network(model)
    return net2vec_html(model)


def _arithmetic(model: str = "minivgg") -> str:
    """Wheel of a car - car + bus: what is nearest to the sum, and to its first term alone."""
    from labkit.app.vector_pages import arithmetic_html

    check_network(model)
    return arithmetic_html(model)


def _activations(model: str = "minivgg", photos: Path | None = None) -> str:
    """All channels of four layers for a picture, and under the pointer what each of them says there."""
    layers = ("features.2", "features.5", "features.13", "features.19")
    return _units(model, layers, 4, "What do all channels say of a picture?", photos)


def _patches(model: str = "minivgg", photos: Path | None = None) -> str:
    """What the units of two late layers fire at most, with the guided patches: can you name them?"""
    return _units(model, ("features.16", "features.19"), 8, "What does a late unit look for?", photos)


def _units(model: str, layers: Sequence[str], channels: int, question: str, photos: Path | None) -> str:
    """The activation explorer's page; patches come from the first test scenes of the network's own world, or
    from all photographs. ``layers`` are minivgg's: of others as many, spread evenly over their depth."""
    from labkit.data import MiniBroden
    from labkit.widgets import ActivationExplorer

    show = chosen(model, 3, photos)
    if of_the_toy_world(model, photos):
        data: Any = MiniBroden(300, "test", faults=show.network.card.get("faults", ())).stack()
    else:
        data = photographs(int(show.network.input_size), photos)[0]
    if model not in NETWORKS:
        known = ActivationExplorer(show.network, show.images, synthesize=False).layers
        classes = len(show.network.classes)  # type: ignore[arg-type]
        every = [one["name"] for one in known if one["height"] > 1 and one["channels"] != classes]
        last = len(every) - 1
        start = 0 if len(layers) > 2 else last // 2
        count = len(layers) - 1
        layers = [every[start + (last - start) * k // count] for k in range(count + 1)]
    explorer = ActivationExplorer(
        show.network, show.images, masks=show.masks, data=data, layers=layers, steps=(48,), **show.given
    )
    middle = [side // 2 for side in reversed(show.images.shape[2:])]
    explorer.precompute(pictures=range(len(show.images)), layers=layers, channels=channels, places=[middle])
    explorer.place = middle
    explorer.wait_idle()
    return explorer.to_html(title=question, limit_mb=8 if model in NETWORKS else 20)


def _tcav(model: str = "minivgg") -> str:
    """Colours and textures tested on every class and layer, beside chance and what painting them does."""
    from labkit.app.demos_tcav import tcav_html

    check_network(model)
    return tcav_html(model)


DEMOS: dict[str, Callable[..., str]] = {
    **LOOKING,
    "activations": _activations,
    "arithmetic": _arithmetic,
    "ascend": _ascend,
    "attack": attack_html,
    "compare": _compare,
    "embedding": _embedding,
    "facets": _facets,
    "filters": _filters,
    "masks": _masks,
    "neighbours": _neighbours,
    "net2vec": _net2vec,
    "occlusion": _occlusion,
    "patches": _patches,
    "sanity": _sanity,
    "tcav": _tcav,
    **DISSECTIONS,
    **DREAMS,
    **FOOLING,
    **MENDING,
    **PRIOR,
    **TEXTURE,
    **STYLE,
    **WITHOUT,
}
