"""What the Net2Vec experiments share: scenes, what a network's units say at their pixels, concept names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts import Net2Vec
from labkit.concepts.concept_pixels import Pixels, fit_weights, pixels_of
from labkit.concepts.net2vec_segmentation import CUTS, segmentation
from labkit.concepts.thresholds import thresholds_of
from labkit.data import CLASSES, CLUTTER, PARTS, MiniBroden, SceneStack
from labkit.data.objects import build
from labkit.evaluation import other_pictures
from labkit.experiments.bench import Bench
from labkit.experiments.blind_networks import Blind
from labkit.models import features

QUANTILE, STRIDE = 0.02, 4  # .005 caps what a unit can reach on this world; every fourth row and column
LEAST = 5  # pictures of a concept, to train on and held out, for its IoU to count
KINDS = ("wheel", "window", "head", "leg")  # of part, whose wholes the analogies exchange
NAMES: dict[str, tuple[str, ...]] = {"object": (*CLASSES, *CLUTTER), "part": PARTS}


class Halves(NamedTuple):
    """Scenes to train on and held out, none of which a network was trained on, with their label maps."""

    train: SceneStack
    held_out: SceneStack

    @property
    def pictures(self) -> ndarray:
        """Those to train on, as bytes."""
        return self.train.images


@cache
def _drawn(train: int, held_out: int) -> Halves:
    return Halves(MiniBroden(train, "val").stack(), MiniBroden(held_out, "test").stack())


def scenes(bench: Bench) -> Halves:
    """400 scenes of the val split to train on, 400 of the test split held out; fewer in class and quick."""
    return _drawn(bench.count(400, lesson=120, few=36), bench.count(400, lesson=120, few=30))


def last_layer(model: nn.Module) -> str:
    """The last ReLU of a network's feature maps; "units" of a blind one."""
    if isinstance(model, Blind):
        return "units"
    return [
        name for name, m in model.named_modules() if name.startswith("features.") and isinstance(m, nn.ReLU)
    ][-1]


def objects_and_parts(stack: SceneStack) -> dict[str, ndarray]:
    """The label maps of the 20 kinds of objects and the 12 kinds of parts."""
    return {kind: stack.maps[kind] for kind in NAMES}


def dealt(maps: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """The label maps of other pictures."""
    order = other_pictures(len(next(iter(maps.values())))).numpy()
    return {kind: values[order] for kind, values in maps.items()}


class Asked(NamedTuple):
    """Pixels of the scenes to train on and of those held out, for one network's layer."""

    train: Pixels
    held_out: Pixels
    at: int
    shares: tuple[float, ...]


def asked(
    model: nn.Module, data: Halves, layer: str = "", *, maps: Sequence[Mapping[str, ndarray]] | None = None,
    names: Mapping[str, Sequence[str]] = NAMES,
) -> Asked:  # fmt: skip
    """What a network's units say at the scenes' pixels; cut-offs are taken on the scenes to train on."""
    layer = layer or last_layer(model)
    shares = tuple(sorted({QUANTILE, *CUTS}, reverse=True))
    labels = maps or [objects_and_parts(stack) for stack in data]
    found, thresholds = [], torch.zeros(0)  # type: ignore[var-annotated]
    for stack, own in zip(data, labels, strict=True):
        given = features(model, stack.images, layer)
        if not found:
            thresholds = thresholds_of(given, shares)
        found.append(pixels_of(given, thresholds=thresholds, maps=own, names=names, stride=STRIDE))
    return Asked(found[0], found[1], shares.index(QUANTILE) + 1, shares)


def epochs_of(bench: Bench) -> int:
    """How often the weights see all scenes."""
    return {"quick": 2, "class": 15, "full": 20}[bench.mode]


def net2vec_of(bench: Bench, found: Asked, few: Sequence[int] = ()) -> Net2Vec:
    """Net2Vec of all objects and parts, both cut-offs chosen on the scenes to train on."""
    labels = tuple((kind, name) for kind, names in NAMES.items() for name in names)
    return segmentation(
        found.train, found.held_out, labels, few=few, at=found.at, shares=found.shares, tune=True,
        epochs=epochs_of(bench),
    )  # fmt: skip


def counted(bench: Bench, found: Net2Vec) -> Bool[Tensor, " C"]:
    """The concepts that enough scenes show, to train on and held out."""
    return (found.shown >= (1 if bench.quick else LEAST)).all(0)


def wholes_of(part: str) -> list[str]:
    """The classes that have a part of this kind."""
    return [kind for kind in CLASSES if part in {piece.part for piece in build(kind)}]


PAIRS = tuple((part, whole) for part in KINDS for whole in wholes_of(part))
OF = tuple(f"{part} of {whole}" for part, whole in PAIRS)
ALL_NAMES: dict[str, tuple[str, ...]] = {**NAMES, "part of": OF}
WORDS = (*NAMES["object"], *NAMES["part"])
ALL = (*WORDS, *OF)
ANALOGIES = tuple(
    (f"{part} of {a}", a, b, f"{part} of {b}")
    for part in KINDS for a in wholes_of(part) for b in wholes_of(part) if a != b
)  # fmt: skip
"""Part of the whole a - a + b = part of the whole b, by rule, for four kinds of part."""


def with_wholes(stack: SceneStack) -> dict[str, ndarray]:
    """The label maps of objects, of parts, and of the parts of each whole."""
    maps = objects_and_parts(stack)
    of = np.zeros(maps["part"].shape, np.uint8)
    for number, (part, whole) in enumerate(PAIRS, 1):
        mine = maps["part"] == PARTS.index(part) + 1
        of[mine & (maps["object"] == CLASSES.index(whole) + 1)] = number
    return {**maps, "part of": of}


def space_of(bench: Bench, model: nn.Module, data: Halves) -> Float[Tensor, "C K"]:
    """Vectors of objects, parts, and parts of wholes in the last layer, in the order of ``ALL``."""
    maps = [with_wholes(stack) for stack in data]
    # only the scenes to train on are needed
    one = Halves(data.train, data.train.select(range(1)))
    found = asked(model, one, maps=[maps[0], {k: v[:1] for k, v in maps[0].items()}], names=ALL_NAMES)
    return fit_weights(found.train, at=found.at, epochs=epochs_of(bench))
