"""What lab 31 draws with the student's functions beside its claims: a layer, colours, chance, the weather.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.statistics import Interval, bootstrap
from labkit.data import CLASSES, Scenes, gather, replace, sample_photos
from labkit.experiments.bench import Bench
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
    rows = [features(network, pictures, layer, pool="mean") for pictures in (concept, pool)]
    seen = features(network, images, layer)
    return Layer(layer, Tail(network, layer, side=side), target, name, images, seen, *rows, pool)


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
    names = [n for n, shape in layer_shapes(model, photos[:1]).items() if len(shape) == 4 and shape[2] > 8]
    for layer in names[len(names) // 2 :]:
        try:
            found = _opened(
                model, layer, target, str(model.classes[target]), photos, red, torch.stack(pieces)
            )  # type: ignore[index]
        except ValueError:  # a branch leads around it
            continue
        return found
    raise ValueError("model must have a layer that everything passes; found none in its later half.")


def painted(bench: Bench, colours: Sequence[str]) -> dict[str, Float[Tensor, "N 3 H W"]]:
    """By colour the same scenes of other classes than fire engine, their objects painted in it."""
    others = bench.scenes(PAIRS, not_kind=KIND, lesson=PAIRS)
    return {c: gather(replace(scene, color=c) for scene in others.scenes).images for c in colours}


def along(layer: Layer, vector: Tensor, count: int = 6) -> tuple[Float[Tensor, "2K 3 H W"], list[str]]:
    """The pictures of the pool that lie farthest along a vector by cosine, and farthest against it."""
    cosines = torch.cosine_similarity(layer.pool, vector[None].to(layer.pool), dim=1)
    order = cosines.argsort(descending=True)
    chosen = torch.cat([order[:count], order[-count:]])
    return layer.pictures[chosen], [f"{cosines[i]:+.2f}" for i in chosen.tolist()]


def chances(
    layer: Layer, *, cav: Own, directional_derivatives: Own, tcav_score: Own, count: int = 100,
    draws: int = 10, of_concept: bool = False,
) -> Float[Tensor, "K R"]:  # fmt: skip
    """The scores of concepts dealt from the pool, or of the layer's own concept, a row a concept."""
    slopes = directional_derivatives(
        layer.head, layer.activations, layer.target, torch.eye(layer.pool.shape[1])
    )
    own, size, rows = torch.Generator().manual_seed(0), len(layer.concept), []
    for _ in range(1 if of_concept else count):
        shuffled = layer.pool[torch.randperm(len(layer.pool), generator=own)].double()
        concept, rest = shuffled[:size], shuffled[size:]
        if of_concept:
            concept = layer.concept.double()
        drawn = [rest[torch.randperm(len(rest), generator=own)[:size]] for _ in range(draws)]
        vectors = torch.stack([cav(concept, others, 0.01) for others in drawn])
        rows.append(tcav_score(slopes.double() @ vectors.T))
    return torch.stack(rows)


class Sizes(NamedTuple):
    """Of a colour: Kim's score, the mean derivative in logits a unit step, and the logit of re-painting."""

    score: float
    derivative: float
    moved: Interval


def sizes(
    bench: Bench, name: str, colours: Sequence[str], *, cav: Own, directional_derivatives: Own,
    tcav_score: Own,
) -> dict[str, Sizes]:  # fmt: skip
    """What colours score for the fire engine on a network, and what painting engines does to the logit."""
    tcav_score(torch.ones(3, 2) @ cav(torch.eye(2), -torch.eye(2), 1.0)[:, None])  # unwritten: say so at once
    network, target = bench.network(name), CLASSES.index(KIND)
    engines = bench.scenes(20, kind=KIND, lesson=20)
    pool = torch.cat(list(batches(pool_of(bench, 400))))
    found = {}
    for colour, pictures in painted(bench, colours).items():
        layer = _opened(network, LAYER, target, KIND, engines.images, pictures, pool)
        own = torch.Generator().manual_seed(0)
        drawn = [torch.randperm(len(pool), generator=own)[: len(pictures)] for _ in range(10)]
        vectors = torch.stack([cav(layer.concept.double(), layer.pool[d].double(), 0.01) for d in drawn])
        given = layer.head, layer.activations, target, vectors.float()
        derivatives = directional_derivatives(*given)
        pair = repainted(engines, KIND, colour)
        found[colour] = Sizes(
            float(tcav_score(derivatives).mean()), float(derivatives.mean()), _moved(network, pair)
        )
    return found


def _moved(network: nn.Module, pairs: Pairs) -> Interval:
    with torch.no_grad():
        change = (network(pairs.present) - network(pairs.absent))[:, CLASSES.index(pairs.kind)]
    return bootstrap(change.numpy())


def last_layer(
    bench: Bench, *, cav: Own, directional_derivatives: Own, tcav_score: Own, count: int = 8
) -> list[float]:
    """The scores of random concepts at the last layer before the pooling: each one vector, one number."""
    engines = bench.scenes(20, kind=KIND, lesson=20)
    pool = torch.cat(list(batches(pool_of(bench, 400))))
    network = bench.network(NETWORK)
    layer = _opened(network, LAST, CLASSES.index(KIND), KIND, engines.images, pool[:12], pool[12:])
    own = {"cav": cav, "directional_derivatives": directional_derivatives, "tcav_score": tcav_score}
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


def _under(scenes: Scenes, sky: str) -> Tensor:
    return gather(replace(scene, weather=sky) for scene in scenes.scenes).images
