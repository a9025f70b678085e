"""What the demos show: scenes of a network's own world, or photographs for any network.

On an honest network every map is right and nothing surprises. On one with a planted fault the pages show
scenes of that fault, and the first of them once more without it: ``labkit.data.FAULTS`` says what to draw.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from labkit.data.faults import FAULTS

__all__ = ["NETWORKS", "Chosen", "check_network", "chosen", "of_the_toy_world", "photographs"]


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


def check_network(name: str, photographs: bool = False) -> None:
    """Raise ValueError unless the demos can be drawn for this network; it says which they are.

    ``photographs``: whether the page that is asked for could show photographs to any network instead.
    """
    from labkit.core.checks import check_choice
    from labkit.models import list_models

    if name not in NETWORKS and name in list_models():
        cure = f", or show it photographs: --model {name} --photos FOLDER" if photographs else ""
        raise ValueError(
            f"--model must be one of the networks that this page's scenes and layers are chosen for: "
            f"{', '.join(NETWORKS)}; got {name!r}. Others may know the same objects, but nobody has chosen "
            f"what to show of them. Take minivgg{cure}. Explore other networks in a notebook: "
            f"labkit.widgets.Comparer(load_model({name!r}), pictures)."
        )
    check_choice("--model", name, NETWORKS)


def of_the_toy_world(name: str, photos: Path | None) -> bool:
    """Whether a demo shows scenes: no photographs are asked for, and the network knows the toy world."""
    return photos is None and name in NETWORKS


# ImageNet classes of which two are of one kind: dogs, buses and trucks, cats, birds
KINDS = (range(151, 269), (407, 555, 569, 675, 717, 734, 779, 864, 867, 874), range(281, 286), range(7, 25))


def photographs(
    side: int, folder: Path | None, count: int | None = None, *, in_pairs: bool = False
) -> tuple[Any, list[str]]:
    """The first photographs of a folder (N, 3, side, side) with their names, or those that come with other
    packages; ``in_pairs``: two of one kind before others, where ImageNet classes or names tell kinds."""
    import torch

    from labkit.data import sample_photos

    found = sample_photos(side, folder)
    found = (_paired(found) if in_pairs else found)[:count]
    names = [photo.name.lstrip("0123456789").strip("_").replace("_", " ") for photo in found]
    return torch.stack([photo.image for photo in found]), names


def _paired(photos: list[Any]) -> list[Any]:
    """Two photographs of each kind that has two, then all others as they come."""
    kinds: dict[Any, list[int]] = {kind: [] for kind in range(len(KINDS))}
    for i, photo in enumerate(photos):
        own = [kind for kind, labels in enumerate(KINDS) if photo.label in labels]
        kinds.setdefault(own[0] if own else photo.name.strip("0123456789_- ()"), []).append(i)
    first = [i for group in kinds.values() if len(group) > 1 for i in group[:2]]
    return [photos[i] for i in [*first, *(i for i in range(len(photos)) if i not in first)]]


def chosen(name: str, count: int, photos: Path | None = None) -> Chosen:
    """The network and ``count`` pictures: of an honest one one a class, of a faulty one its fault's.

    The second picture of a faulty network is the first without the fault. With ``photos``, and for networks
    that are not bundled, photographs, each with the class that the network names. Raises ValueError for a
    bundled network that is not one of ``NETWORKS``.
    """
    from labkit.data import MiniBroden, gather
    from labkit.models import bundled_models, load_model
    from labkit.models.features import batches

    if photos is not None or name not in bundled_models():
        import torch

        network = load_model(name)
        images, names = photographs(int(network.input_size), photos, count)  # type: ignore[arg-type]
        with torch.inference_mode():
            labels = torch.cat([network(part).argmax(1) for part in batches(images)])
        return Chosen(network, images, labels, names, None, "")
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
