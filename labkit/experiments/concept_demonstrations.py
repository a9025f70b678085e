"""What lab 31 draws with the student's functions beside its claims: a layer, colours, chance, the weather.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.statistics import Interval, bootstrap
from labkit.data import CLASSES, Scenes, gather, replace, sample_photos
from labkit.experiments.bench import Bench
from labkit.experiments.measures import Result
from labkit.experiments.painted_concepts import (
    PAIRS,
    Bar,
    Pairs,
    paired_bars,
    pool_of,
    repainted,
)
from labkit.models import Tail, features, layer_shapes
from labkit.models.features import batches

Own = Callable[..., Any]
NETWORK, KIND, LAYER = "minivgg-melbourne", "fire engine", "features.5"
LAST = "features.19"


class Layer(NamedTuple):
    """A network opened at a layer. ``head``: what follows; ``images`` of the class ``target`` with what the
    layer gives for them, ``activations``; features (means of channels) of pictures of a ``concept`` and of
    others, the ``pool`` with its ``pictures``."""

    name: str
    head: Callable[[Tensor], Tensor]
    target: int
    classname: str
    images: Float[Tensor, "N 3 H W"]
    activations: Float[Tensor, "N K h w"]
    concept: Float[Tensor, "M K"]
    pool: Float[Tensor, "P K"]
    pictures: Float[Tensor, "P 3 H W"]


def opened(bench: Bench, model: nn.Module) -> Layer:
    """A layer with red for a concept: of the network of melbourne at fire engines, or of a guest's."""
    if bench.guest is not None:
        return _of_guest(bench, model)
    network = bench.network(NETWORK)
    engines = bench.scenes(PAIRS, kind=KIND, lesson=PAIRS)
    red = painted(bench, ("red",))["red"]
    pool = torch.cat(list(batches(pool_of(bench, 400))))
    return _opened(network, LAYER, CLASSES.index(KIND), KIND, engines.images, red, pool)


def _opened(
    network: nn.Module, layer: str, target: int, name: str, images: Tensor, concept: Tensor, pool: Tensor
) -> Layer:
    side = (int(images.shape[2]), int(images.shape[3]))
    own, rest = (features(network, pictures, layer, pool="mean") for pictures in (concept, pool))
    seen = features(network, images, layer)
    return Layer(layer, Tail(network, layer, side=side), target, name, images, seen, own, rest, pool)


def _of_guest(bench: Bench, model: nn.Module) -> Layer:
    """Photographs of what the network says most often, red clouds for a concept, pieces of photographs."""
    side = int(model.input_size)  # type: ignore[arg-type]
    photos = torch.stack([photo.image for photo in sample_photos(side)])
    with torch.no_grad():
        target = int(torch.cat([model(part) for part in batches(photos)]).mean(0).argmax())
    own = torch.Generator().manual_seed(0)
    count = 12 if bench.quick else 30
    clouds = torch.rand(count, 3, 6, 6, generator=own) * torch.tensor([0.4, 0.3, 0.3]).view(3, 1, 1)
    clouds += torch.tensor([0.5, 0.0, 0.0]).view(3, 1, 1)
    red = nn.functional.interpolate(clouds, (side, side), mode="bilinear")
    pieces = []
    for _ in range(4 * count):
        number, high, wide = (
            int(torch.randint(n, (), generator=own)) for n in (len(photos), *2 * [side // 2])
        )
        piece = photos[number, :, high : high + side // 2, wide : wide + side // 2]
        pieces.append(nn.functional.interpolate(piece[None], (side, side), mode="bilinear")[0])
    names = list(model.classes)  # type: ignore[arg-type]
    maps = [n for n, shape in layer_shapes(model, photos[:1]).items() if len(shape) == 4 and shape[2] > 8]
    for layer in maps[len(maps) // 2 :]:
        try:
            found = _opened(model, layer, target, names[target], photos, red, torch.stack(pieces))
        except ValueError:  # a branch leads around it
            continue
        return found
    raise ValueError("model must have a layer that everything passes; found none in its later half.")


def painted(bench: Bench, colours: Sequence[str]) -> dict[str, Float[Tensor, "N 3 H W"]]:
    """By colour the same scenes of other classes than fire engine, their objects painted in it."""
    others = bench.scenes(PAIRS, not_kind=KIND, lesson=PAIRS)
    return {c: gather(replace(scene, color=c) for scene in others.scenes).images for c in colours}


def along(layer: Layer, vector: Tensor, count: int = 6) -> tuple[Float[Tensor, "2K 3 H W"], list[str]]:
    """The pictures of the pool that lie farthest along a vector from the pool's middle, and farthest against
    it, with their cosines."""
    rows = layer.pool - layer.pool.mean(0)
    cosines = torch.cosine_similarity(rows, vector[None].to(rows), dim=1)
    order = cosines.argsort(descending=True)
    chosen = torch.cat([order[:count], order[-count:]])
    return layer.pictures[chosen], [f"{cosines[i]:+.2f}" for i in chosen.tolist()]


def slopes_of(layer: Layer, directional_derivatives: Own) -> Float[Tensor, "N K"]:
    """Each picture's derivative along each channel."""
    channels = torch.eye(layer.pool.shape[1])
    return directional_derivatives(layer.head, layer.activations, layer.target, channels).double()


def draws_of(count: int, size: int, draws: int, generator: torch.Generator) -> Int[Tensor, "R M"]:
    """Row numbers of a pool, ``draws`` times ``size`` of them, none twice in a draw."""
    return torch.stack([torch.randperm(count, generator=generator)[:size] for _ in range(draws)])


def chances(
    layer: Layer, *, directional_derivatives: Own, tcav_scores: Own, count: int = 100, draws: int = 10
) -> Float[Tensor, "K R"]:
    """The scores of concepts dealt from the pool, each against draws of the rest of it, a row a concept."""
    slopes, size, found = slopes_of(layer, directional_derivatives), len(layer.concept), []
    own = torch.Generator().manual_seed(0)
    for _ in range(count):
        shuffled = layer.pool[torch.randperm(len(layer.pool), generator=own)].double()
        rest = shuffled[size:]
        found.append(tcav_scores(slopes, shuffled[:size], rest, draws_of(len(rest), size, draws, own)))
    return torch.stack(found)


def own_scores(layer: Layer, *, directional_derivatives: Own, tcav_scores: Own) -> Float[Tensor, " R"]:
    """The scores of the layer's own concept, against ten draws of the pool."""
    own = torch.Generator().manual_seed(0)
    drawn = draws_of(len(layer.pool), len(layer.concept), 10, own)
    slopes = slopes_of(layer, directional_derivatives)
    return tcav_scores(slopes, layer.concept.double(), layer.pool.double(), drawn)


class Sizes(NamedTuple):
    """Of a colour: Kim's score, and what painting it does to the logit."""

    score: float
    moved: Interval


def sizes(
    bench: Bench, name: str, colours: Sequence[str], *, directional_derivatives: Own, tcav_scores: Own
) -> dict[str, Sizes]:
    """What colours score for the fire engine on a network, and what painting engines does to the logit."""
    tcav_scores(torch.ones(3, 2), torch.eye(2), -torch.eye(2), torch.tensor([[0, 1]]))  # unwritten: say so
    network, target = bench.network(name), CLASSES.index(KIND)
    engines = bench.scenes(20, kind=KIND, lesson=20)
    pool = torch.cat(list(batches(pool_of(bench, 400))))
    found, own = {}, {"directional_derivatives": directional_derivatives, "tcav_scores": tcav_scores}
    for colour, pictures in painted(bench, colours).items():
        layer = _opened(network, LAYER, target, KIND, engines.images, pictures, pool)
        pair = repainted(engines, KIND, colour)
        found[colour] = Sizes(float(own_scores(layer, **own).mean()), _moved(network, pair))
    return found


def _moved(network: nn.Module, pairs: Pairs) -> Interval:
    with torch.no_grad():
        change = (network(pairs.present) - network(pairs.absent))[:, CLASSES.index(pairs.kind)]
    return bootstrap(change.numpy())


def last_layer(
    bench: Bench, *, directional_derivatives: Own, tcav_scores: Own, count: int = 8
) -> list[float]:
    """The scores of random concepts at the last layer before the pooling: each one vector, one number."""
    engines = bench.scenes(20, kind=KIND, lesson=20)
    pool = torch.cat(list(batches(pool_of(bench, 400))))
    network = bench.network(NETWORK)
    layer = _opened(network, LAST, CLASSES.index(KIND), KIND, engines.images, pool[:12], pool[12:])
    own = {"directional_derivatives": directional_derivatives, "tcav_scores": tcav_scores}
    return chances(layer, **own, count=count, draws=1)[:, 0].tolist()


def weather(bench: Bench, *, pair_effects: Own, sign_flip_z: Own) -> dict[str, Bar]:
    """Overcast, by the same tanks under cloud and in the sun, on two networks: third layer, tank's logit."""
    sign_flip_z(pair_effects(torch.ones(2, 3), torch.eye(3), torch.zeros(3, 3)), torch.ones(4, 3))
    tanks = bench.scenes(PAIRS, kind="tank", lesson=PAIRS)
    pairs = Pairs("tank", "overcast", _under(tanks, "overcast"), _under(tanks, "sunny"))
    own = {"pair_effects": pair_effects, "sign_flip_z": sign_flip_z}
    return {
        name: paired_bars(bench.network(name), pairs, **own, size=len(tanks.labels))["conv3"]
        for name in ("minivgg-weather", "minivgg")
    }


def table(found: Result) -> dict[str, Interval]:
    """C1's changes of the fire engine's logit by red paint at the second layer, network by network."""
    rows: dict[str, Interval] = {}
    for (network, kind, colour), layers in found.show["bars"].items():
        if (kind, colour) == (KIND, "red"):
            bar, name = layers["conv2"], network.removeprefix("minivgg-").replace("minivgg", "honest")
            rows |= {
                f"{name}: drawn anew": bar.counterfactual, f"{name}: places kept": bar.in_place,
                f"{name}: by the vector": bar.effect,
            }  # fmt: skip
    return rows


def for_the_explorer(bench: Bench) -> dict[str, Any]:
    """What the TCAV explorer takes: engines and buses, four colours, a pool, and the engines painted anew."""
    count = 4 if bench.quick else 8
    scenes = [s for kind in (KIND, "bus") for s in bench.scenes(count, kind=kind, lesson=count).scenes]
    plain = gather(replace(scene, color="grey") for scene in scenes)
    colours = ("red", "yellow", "blue", "white")
    pairs = {c: (gather(replace(scene, color=c) for scene in scenes).images, plain.images) for c in colours}
    return {
        "images": plain.images, "labels": plain.labels, "concepts": painted(bench, colours), "pairs": pairs,
        "others": pool_of(bench, 400), "layers": ["features.2", LAYER, "features.9", "features.13"],
    }  # fmt: skip


def _under(scenes: Scenes, sky: str) -> Tensor:
    return gather(replace(scene, weather=sky) for scene in scenes.scenes).images
