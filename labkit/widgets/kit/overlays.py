"""What the overlay explorer shows: which layers of a network, and how much of their features fits a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["layers_of", "pairs_of", "sizes_within"]

COARSEST, FINEST = 4, 64  # places a side
ROOMY = 1.6  # how many equal shares of the room a small layer may take to be whole
LEAST = 8  # dimensions that are kept of a layer, whatever the room

Shapes = Mapping[str, tuple[int, ...]]


def _shapes(model: torch.nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """The shapes of all feature maps of modules, blocks included, by name."""
    from labkit.core.hooks import borrow
    from labkit.models import record

    names = [name for name, _ in model.named_modules() if name]
    with borrow(model), torch.no_grad(), record(model, *names) as kept:
        model(images)
    found = {name: kept.get(name) for name in names}
    return {n: tuple(v.shape) for n, v in found.items() if isinstance(v, Tensor) and v.ndim == 4}


def layers_of(
    model: torch.nn.Module,
    images: Float[Tensor, "1 C H W"],
    names: Sequence[str] | None = None,
    most: int = 6,
) -> dict[str, tuple[int, ...]]:
    """Layers to look at with the shapes of their maps: those named, or up to ``most`` from early to late.

    Where none is named: blocks and ReLUs of one depth of names whose maps have 4 to 64 places a side.
    Raises KeyError for a name that is not there, ValueError for one that gives no map and where none does.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten()).eval()
    >>> layers_of(net, torch.rand(1, 3, 8, 8))
    {'1': (1, 2, 6, 6)}
    """
    from labkit.core.checks import check_feature_map
    from labkit.core.hooks import find_layer

    for name in names or ():
        find_layer(model, name)
    shapes = _shapes(model, images)
    if names is not None:
        for name in names:
            if name not in shapes:
                check_feature_map(None, name)
        return {name: shapes[name] for name in names}
    kinds, classes = dict(model.named_modules()), len(getattr(model, "classes", None) or ())
    maps = {
        n: shape for n, shape in shapes.items()
        if max(shape[2:]) > 1 and max(shape[2:]) <= FINEST and min(shape[2:]) >= min(COARSEST, max(shape[2:]))
        and shape[1] != classes
    }  # fmt: skip
    bent = [n for n in maps if "ReLU" in type(kinds[n]).__name__ or any(kinds[n].children())]
    depths = {depth: [n for n in bent if n.count(".") == depth] for depth in (1, 0)}
    chosen = max(depths.values(), key=len) or list(maps) or [n for n in shapes if max(shapes[n][2:]) > 1]
    if not chosen:
        raise ValueError("model must have layers that give feature maps (N, K, h, w); none was found.")
    at = torch.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().int().tolist()
    return {chosen[i]: shapes[chosen[i]] for i in at}


def pairs_of(networks: Sequence[Shapes]) -> list[dict[str, Any]]:
    """A row for each layer: its ``name``, its name in each network (``of``), and its ``sides`` there.

    Raises ValueError for networks with different numbers of layers.

    >>> pairs_of([{"a": (1, 8, 4, 4)}, {"b": (1, 9, 5, 4)}])
    [{'name': 'a', 'of': ['a', 'b'], 'sides': [[8, 4, 4], [9, 5, 4]]}]
    """
    counts = [len(shapes) for shapes in networks]
    if len(set(counts)) > 1:
        raise ValueError(
            f"beside_layers must name a layer for each of the first network's {counts[0]}; got {counts[1]}."
        )
    return [
        {
            "name": names[0],
            "of": list(names),
            "sides": [list(s[n][1:]) for s, n in zip(networks, names, strict=True)],
        }
        for names in zip(*networks, strict=True)
    ]


def sizes_within(layers: Sequence[Mapping[str, Any]], pictures: int, room: int) -> dict[tuple[str, int], int]:
    """How many dimensions of each layer of each network fit ``room`` bytes, for so many pictures.

    All of a layer where little more than an equal share of the room holds it; the others share the rest.

    >>> row = {"name": "a", "of": ["a"], "sides": [[100, 10, 10]]}
    >>> sizes_within([row], 2, 20_000), sizes_within([row], 2, 10_000)
    ({('a', 0): 100}, {('a', 0): 50})
    """
    need = {
        (row["name"], network): (side[0], pictures * side[1] * side[2])
        for row in layers
        for network, side in enumerate(row["sides"])
    }
    sizes: dict[tuple[str, int], int] = {}
    for done, key in enumerate(sorted(need, key=lambda key: need[key][0] * need[key][1])):
        count, places = need[key]
        share = room / (len(need) - done)
        whole = count * places <= ROOMY * share and len(need) - done > 1
        sizes[key] = count if whole else min(count, max(LEAST, int(share / places)))
        room -= sizes[key] * places
    return sizes
