"""What lab 25 draws with the student's instruments beside its claims: a cascade, predictions, photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.attribution import occlusion, saliency
from labkit.core.statistics import Interval, bootstrap, share
from labkit.evaluation import centre_map, edge_map, random_map, rank_correlation
from labkit.experiments.bench import Bench
from labkit.experiments.can_you_trust_a_heatmap import THREE, in_batches
from labkit.experiments.known_causes import without_each
from labkit.experiments.written_regions import written_regions

Maps = Callable[..., Tensor]


class Cascades(NamedTuple):
    """``depths``: how many layers are fresh; ``curves``: method -> likeness at each depth, with the likeness
    of two unrelated pictures' maps in its name; ``ends``: maps of the network that knows nothing."""

    depths: range
    curves: dict[str, list[Interval]]
    ends: dict[str, Float[Tensor, "N H W"]]


def cascades(
    bench: Bench,
    model: nn.Module,
    images: Float[Tensor, "N 3 H W"],
    target: Int[Tensor, " N"],
    *,
    cascade: Callable[..., tuple[Tensor, Tensor]],
) -> Cascades:
    """The cascade of the exercise for three methods."""
    tiny = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    cascade(tiny, saliency, images[:2, :, :8, :8], target[:2] * 0)  # unwritten: say so at once
    curves, ends, depth = {}, {}, 0
    for name, method in THREE.items():
        maps, alike = cascade(model, method, images, target)
        whole = maps[0].detach()
        unrelated = float(rank_correlation(whole, whole.roll(1, 0), absolute=True).nan_to_num(0.0).mean())
        curve = [bootstrap(row.nan_to_num(0.0).numpy()) for row in alike.detach()]
        curves[f"{name} (unrelated pictures: {unrelated:.2f})"], depth = curve, len(curve)
        ends[f"{name}, all forgotten"] = maps[-1].detach()
    return Cascades(range(1, depth + 1), curves, ends)


def predictions(
    bench: Bench, *, prediction_holds: Callable[[Tensor, Tensor, Tensor, Tensor], Bool[Tensor, " N"]]
) -> dict[str, Interval]:
    """How often maps name the object of two whose loss costs the network more, judged by the exercise.

    A few methods and three blind maps on the scenes of A17, which takes them all.
    """
    tiny = torch.eye(2)
    prediction_holds(tiny[None], tiny[None, :, None] > 0, tiny[:1], 2 * tiny[:1])  # unwritten: say so at once
    model, x, named, parts, without, control = without_each(bench)
    asked = dict(THREE) if bench.quick else THREE | {"occlusion": partial(occlusion, window=24, stride=8)}
    bar = tqdm(asked.items(), "maps", leave=False)
    maps = {name: in_batches(method, model, x, named) for name, method in bar}
    maps |= {"the edges": edge_map(x), "the centre": centre_map(x), "chance": random_map(x)}
    return {n: share(prediction_holds(m, parts, without, control).numpy()) for n, m in maps.items()}


class Photograph(NamedTuple):
    """``text``: name, probability and how much of each map lies in the region; ``image`` and ``maps``."""

    text: str
    image: Float[Tensor, "1 3 H W"]
    maps: dict[str, Float[Tensor, "1 H W"]]


def photographs(
    bench: Bench, model: nn.Module, options: Mapping[str, Mapping[str, Any]]
) -> Iterator[Photograph]:
    """Every method on the photographs whose region was written down before any map was made.

    ``options``: method -> those that make it affordable.
    """
    for photo in written_regions(bench, model, int(model.input_size), options):  # type: ignore[arg-type]
        shares = ", ".join(f"{name} {value:.1f}" for name, value in photo.shares.items())
        refused = "".join(f"\n   {name}: {why}" for name, why in photo.refused.items())
        text = f"{photo.name} (p = {photo.probability:.2f}): {shares}{refused}"
        yield Photograph(text, photo.image, photo.maps)
