"""The scoreboard's worlds: networks, honest or with a planted fault, and scenes whose cause is known.

A mark is a cause that lies in one place. Snow is not: it lies around the animal, and the network that learned
it still wants a wolf-like animal on it. There the question is what the fault added, beside honest networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_positive
from labkit.data import FAULTS, MiniBroden, Scene, gather
from labkit.models import load_model

__all__ = ["ABOUT", "ASKED", "NETWORKS", "World", "worlds"]

ABOUT: dict[str, str] = {
    "clean": "Clean world: the cause is the object (minivgg)",
    "tag": "Planted fault: horses are told by a copyright mark; the cause is the mark (minivgg-tag)",
    "snow": "Planted fault: wolves are told by the snow as well; what did that change? (minivgg-snow)",
}
ASKED: dict[str, str] = {
    "clean": "Asked: does the map find the object?",
    "tag": "Asked: does the map find the mark?",
    "snow": "The wolf still counts beside the snow, so that no place alone is the cause. Asked: does the map "
    "leave the animal further than another seed would take it, and does it find the snow that decides?",
}


# honest networks that differ from a faulty one by the fault alone
CONTROLS: dict[str, tuple[str, ...]] = {"snow": ("minivgg", "minivgg-2", "minivgg-3")}
NETWORK = {name: FAULTS[name].networks[0] if name in FAULTS else "minivgg" for name in ABOUT}
NETWORKS = tuple(sorted({*NETWORK.values(), *(name for names in CONTROLS.values() for name in names)}))


@dataclass(frozen=True)
class World:
    """A network with scenes on which it is known what its answer rests on.

    ``masks`` (N, H, W) holds the cause, the object or the planted mark; in a world with ``controls``, honest
    networks that differ by their seed, it holds the object, on which the answer rests less than theirs.
    ``without`` (N, 3, H, W), in [0, 1], are the same scenes without the fault: the wolf on grass.
    """

    name: str
    model: nn.Module
    images: Float[Tensor, "N 3 H W"]
    targets: Int[Tensor, " N"]
    masks: Bool[Tensor, "N H W"]
    controls: Sequence[nn.Module] = ()
    without: Float[Tensor, "N 3 H W"] | None = None


def _named(models: Sequence[nn.Module], wanted: int, faults: Iterable[str], kind: str | None) -> list[Scene]:
    """The first scenes of the test split that all the networks name as they are labelled."""
    data = MiniBroden(60 * wanted, "test", faults=faults)
    drawn = (data.scene(index) for index in range(len(data)))
    fitting = (scene for scene in drawn if kind is None or scene.objects[0].kind == kind)
    kept: list[Scene] = []
    while len(kept) < wanted and (waiting := list(islice(fitting, 16))):
        found = gather(waiting)
        right = torch.ones(len(waiting), dtype=torch.bool)
        with torch.inference_mode():
            for model in models:
                right &= model(found.images).argmax(1) == found.labels
        kept += [scene for scene, fits in zip(waiting, right.tolist(), strict=True) if fits]
    return kept[:wanted]


def worlds(scenes: int = 100, *, only: Iterable[str] | None = None) -> list[World]:
    """The clean world, where the object is the cause, and two planted faults: the tag, and the ground.

    ``scenes`` of each, all of them named rightly by every network that the world holds; ``only`` restricts
    the worlds. Raises ValueError for fewer than one scene and for an unknown world.
    """
    check_positive("scenes", scenes)
    wanted = [*ABOUT] if only is None else list(only)
    if unknown := set(wanted) - set(ABOUT):
        raise ValueError(f"only must be among {', '.join(ABOUT)}; got {', '.join(sorted(unknown))}.")
    made = []
    for name in wanted:
        fault, beside = FAULTS.get(name), CONTROLS.get(name, ())
        model, *controls = (load_model(network) for network in (NETWORK[name], *beside))
        planted = (name,) if fault else ()
        kept = _named([model, *controls], scenes, planted, fault.kind if fault else None)
        found = gather(kept)
        masks, without = found.masks, None
        if fault and controls:
            without = gather(fault.pair(scene)[1] for scene in kept).images
        elif fault:
            truth = fault.truth(found)
            masks = masks if truth is None else truth
        made.append(World(name, model, found.images, found.labels, masks, controls, without))
    return made
