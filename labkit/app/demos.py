"""Lecture demos: explorers with all their answers computed, as pages that need no kernel and no network.

On an honest network every map is right and nothing surprises. On one with a planted fault the pages show
scenes of that fault, and the first of them once more without it: ``labkit.data.FAULTS`` says what to draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from labkit.app.demos_dissection import DISSECTIONS
from labkit.app.demos_dreams import DREAMS
from labkit.app.demos_looking import LOOKING
from labkit.app.panels import MENDING
from labkit.data.faults import FAULTS

__all__ = ["DEMOS", "NETWORKS", "check_network", "chosen"]


SIDE = 0.5  # sine of the angle between an object and the eye's line: from behind, a horse is a riddle
LEAST = 0.1  # share of the picture that an object fills, so that the last row sees it
NETWORKS = ("minivgg", "minivgg-2", "minivgg-3", *(n for fault in FAULTS.values() for n in fault.networks))


class Chosen(NamedTuple):
    """A network and what it is shown; ``question`` is "" for an honest one; ``masks`` may be None."""

    network: Any
    images: Any
    labels: Any
    names: list[str]
    masks: Any
    question: str

    @property
    def given(self) -> dict[str, Any]:
        """What all explorers take: captions, and the classes unless the captions say them."""
        return {"names": self.names, "labels": None if self.question else self.labels}


def check_network(name: str) -> None:
    """Raise ValueError unless the demos can be drawn for this network; it says which they are."""
    from labkit.core.checks import check_choice
    from labkit.models import list_models

    if name not in NETWORKS and name in list_models():
        raise ValueError(
            f"--model must be a network that was trained on the objects of the toy world, where the truth is "
            f"planted: one of {', '.join(NETWORKS)}; got {name!r}. Explore other networks in a notebook: "
            f"labkit.widgets.Comparer(load_model({name!r}), pictures)."
        )
    check_choice("--model", name, NETWORKS)


def chosen(name: str, count: int) -> Chosen:
    """The network and ``count`` pictures: of an honest one one a class, of a faulty one its fault's.

    The second picture of a faulty network is the first without the fault. Raises ValueError for a network
    that is not one of ``NETWORKS``.
    """
    from labkit.data import MiniBroden, gather
    from labkit.models import load_model

    check_network(name)
    network = load_model(name)
    faults: Any = network.card.get("faults")  # type: ignore[union-attr, operator]
    if faults:
        return _faulty(network, faults[0], count)
    world = MiniBroden(200, split="test")
    seen: dict[str, Any] = {}
    for scene in map(world.scene, range(len(world))):
        seen.setdefault(scene.objects[0].kind, scene)
    scenes = gather(list(seen.values())[:count])
    names = [f"scene {i + 1}" for i in range(len(scenes.images))]
    return Chosen(network, scenes.images, scenes.labels, names, scenes.masks, "")


def _faulty(network: Any, fault: str, count: int) -> Chosen:
    """The first scenes that the network names, with the fault and without it, as the fault wants."""
    import torch

    from labkit.data import MiniBroden, gather

    about = FAULTS[fault]
    world = MiniBroden(1000, "test", faults=(fault,))
    kept: list[Any] = []
    for scene in map(world.scene, range(len(world))):
        if scene.objects[0].kind != about.kind or abs(math.sin(scene.objects[0].yaw)) < SIDE:
            continue
        pair = about.pair(scene)
        drawn = gather(pair)
        if drawn.masks[0].float().mean() < LEAST:
            continue
        with torch.inference_mode():
            right = network(drawn.images).argmax(1) == drawn.labels
        if tuple(right.tolist()) == about.named:
            kept += pair if not kept else pair[:1]
        if len(kept) >= count:
            break
    scenes = gather(kept[:count])
    with torch.inference_mode():
        named = (network(scenes.images).argmax(1) == scenes.labels)[:, None, None]
    truth = about.truth(scenes)
    # of what is taken for something else, no cause was planted
    masks = None if truth is None else truth & named
    with_it, without = about.captions
    names = [without if i == 1 else with_it for i in range(len(scenes.images))]
    return Chosen(network, scenes.images, scenes.labels, names, masks, about.question)


def _occlusion(model: str = "minivgg") -> str:
    """Cover a part of the picture and watch the score of the class; the map follows the sliders."""
    from labkit.widgets import OcclusionExplorer

    show = chosen(model, 3)
    # finer ones would take minutes
    stops: dict[str, Any] = {"windows": (16, 24, 32, 48), "strides": (8, 16, 24, 32)}
    explorer = OcclusionExplorer(show.network, show.images, **show.given, **stops)
    explorer.precompute(pictures=range(len(show.images)))
    asked = f"What does the score hang on: {show.question}?"
    return explorer.to_html(
        title=asked if show.question else "What does the score lose where a patch covers the picture?"
    )


def _compare(model: str = "minivgg") -> str:
    """Six methods side by side on one picture, with the truth: which of them is right?"""
    from labkit.widgets import Comparer

    show = chosen(model, 4)
    explorer = Comparer(show.network, show.images, masks=show.masks, **show.given)
    for picture, label in enumerate(show.labels.tolist()):
        explorer.precompute([picture], targets=(label, -1))
    asked = f"What does the network go by: {show.question}? Which method tells?"
    return explorer.to_html(title=asked if show.question else "Which method is right?")


def _masks(model: str = "minivgg") -> str:
    """Drag the area: which part of the picture suffices for the class, and which is needed?"""
    from labkit.widgets import MaskExplorer

    show = chosen(model, 2)
    explorer = MaskExplorer(show.network, show.images, masks=show.masks, **show.given)
    explorer.precompute(pictures=range(len(show.images)))
    asked = f"What is enough for the network: {show.question}?"
    return explorer.to_html(title=asked if show.question else "How little of the picture is enough?")


def _sanity(model: str = "minivgg") -> str:
    """Let the network forget, layer by layer: which maps notice?"""
    from labkit.widgets import SanityExplorer

    show = chosen(model, 2)
    explorer = SanityExplorer(show.network, show.images, **show.given)
    explorer.precompute(pictures=range(len(show.images)))
    return explorer.to_html(title="Does the map notice that the network forgets?", limit_mb=8)


SPACE = 400  # pictures of an embedding


def _space(model: str, pixels: bool) -> Any:
    """The explorer of the first test scenes, by the network's last features or by the pixels themselves."""
    import torch

    from labkit.data import CLASSES, GROUNDS, MiniBroden, label_of
    from labkit.evaluation import colour_features
    from labkit.models import load_model
    from labkit.models.features import batches
    from labkit.widgets import EmbeddingExplorer

    check_network(model)
    world = MiniBroden(SPACE, "test")
    pictures, labels = world.pictures()
    grounds = [label_of(world.scene(i), "ground") for i in range(SPACE)]
    rows = torch.cat([colour_features(part, 32).flatten(1) for part in batches(pictures)]) if pixels else None
    groups = {"class": (CLASSES, torch.as_tensor(labels)), "ground": (GROUNDS, torch.tensor(grounds))}
    names = [f"{CLASSES[k]} on {GROUNDS[g]}" for k, g in zip(labels, grounds, strict=True)]
    return EmbeddingExplorer(load_model(model), pictures, features=rows, groups=groups, names=names)


def _embedding(model: str = "minivgg") -> str:
    """Pictures where their features lie, by t-SNE, PCA and DeepMDS: drag the perplexity."""
    explorer = _space(model, pixels=False)
    explorer.precompute()
    return explorer.to_html(title="What lies near what, for a network?", limit_mb=8)


def _neighbours(model: str = "minivgg") -> str:
    """The same pictures where their pixels lie: neighbours that share the ground, and not the class."""
    explorer = _space(model, pixels=True)
    explorer.colour = "ground"
    explorer.precompute([0, 1], [2])
    return explorer.to_html(title="What do neighbours in pixels share: the class, or the ground?", limit_mb=8)


def _filters(model: str = "minivgg") -> str:
    """The filters of the first layer beside the same with shuffled phases, and those of higher layers."""
    from labkit.app.sheets import filters_html

    return filters_html(model)


def _ascend(model: str = "minivgg") -> str:
    """A picture made for a class, step by step: regularizers switched on and off, frames to scrub."""
    from labkit.widgets import AscentExplorer

    show = chosen(model, 2)
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


def _activations(model: str = "minivgg") -> str:
    """All channels of four layers for a picture, and under the pointer what each of them says there."""
    return _units(
        model,
        ("features.2", "features.5", "features.13", "features.19"),
        4,
        "What do all channels say of a picture?",
    )


def _patches(model: str = "minivgg") -> str:
    """What the units of two late layers fire at most, with the guided patches: can you name them?"""
    return _units(model, ("features.16", "features.19"), 8, "What does a late unit look for?")


def _units(model: str, layers: tuple[str, ...], channels: int, question: str) -> str:
    """The activation explorer's page, its patches from the first test scenes of the network's own world."""
    from labkit.data import MiniBroden
    from labkit.widgets import ActivationExplorer

    show = chosen(model, 3)
    faults = show.network.card.get("faults", ())
    scenes = MiniBroden(300, "test", faults=faults).stack()
    explorer = ActivationExplorer(
        show.network, show.images, masks=show.masks, data=scenes, layers=layers, steps=(48,), **show.given
    )
    explorer.precompute(pictures=range(len(show.images)), layers=layers, channels=channels)
    return explorer.to_html(title=question, limit_mb=8)


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
    **MENDING,
}
