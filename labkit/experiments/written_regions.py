"""Maps of photographs held to regions that were written down before any map was made (lab 25).

On photographs nobody planted the truth, and afterwards everything looks obvious. No claim: what one saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.attribution import METHODS
from labkit.data import sample_photos
from labkit.evaluation import area_share, energy_inside
from labkit.experiments.bench import Bench

# ImageNet class -> boxes as shares of the sides (left, top, right, bottom), fixed before the first map.
REGIONS: dict[int, list[tuple[float, float, float, float]]] = {
    250: [(0.38, 0.45, 1.0, 0.78)],  # Siberian husky
    340: [(0.0, 0.1, 0.9, 0.95)],  # zebra
    555: [(0.0, 0.27, 1.0, 0.98)],  # fire engine
    558: [(0.0, 0.63, 0.75, 0.73), (0.0, 0.33, 0.42, 0.43)],  # flute
    235: [(0.37, 0.16, 0.7, 0.8)],  # German shepherd
}


class WrittenRegion(NamedTuple):
    """A photograph (1, 3, H, W) with its ``name`` and ``probability``, the region and the methods' ``maps``,
    ``shares``: method -> energy inside the region over its area share, the largest first, and ``refused``:
    method -> why it does not go with the network."""

    name: str
    probability: float
    image: Float[Tensor, "1 3 H W"]
    maps: dict[str, Float[Tensor, "1 H W"]]
    shares: dict[str, float]
    refused: dict[str, str]


def region(label: int, side: int) -> Bool[Tensor, "1 H W"]:
    """The pixels of a class's boxes in a square photograph."""
    inside = torch.zeros(1, side, side, dtype=torch.bool)
    for left, top, right, bottom in REGIONS[label]:
        inside[:, round(top * side) : round(bottom * side), round(left * side) : round(right * side)] = True
    return inside


def written_regions(
    bench: Bench, model: nn.Module, side: int, options: Mapping[str, Mapping[str, Any]]
) -> Iterator[WrittenRegion]:
    """Every method on the photographs whose class has a region, one photograph after another.

    ``side``: of the square photographs, in pixels; ``options``: method -> those that make it affordable.
    """
    photos = [(p, p.label) for p in sample_photos(side) if p.label is not None and p.label in REGIONS]
    for photo, label in photos[: 1 if bench.quick else 5]:
        x, inside = photo.image[None], region(label, side)
        maps: dict[str, Tensor] = {"region": inside.float()}
        refused = {}
        for name, method in METHODS.items():
            chosen = method.options if bench.quick else options.get(name, {})
            try:
                maps[name] = method.function(model, x, label, **chosen)
            except ValueError as reason:
                refused[name] = str(reason)
        fair = {
            n: float(energy_inside(m, inside) / area_share(inside)) for n, m in maps.items() if n != "region"
        }
        with torch.no_grad():
            probability = float(model(x).softmax(1)[0, label])
        shares = dict(sorted(fair.items(), key=lambda pair: -pair[1]))
        yield WrittenRegion(photo.name, probability, x, maps, shares, refused)
