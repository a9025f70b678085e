"""What lab 33 draws beside its claims: one concept's pixels, a descent, masks, spaces and their arithmetic.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.concepts import concept_distances
from labkit.concepts.concept_pixels import GRID
from labkit.core.progress import working
from labkit.data import concept_words
from labkit.evaluation import twin
from labkit.experiments.bench import SEEDS, Bench
from labkit.experiments.blind_networks import Blind
from labkit.experiments.net2vec_scenes import ALL, NAMES, WORDS, asked, scenes, space_of
from labkit.models.features import batches

Own = Callable[..., Any]
SEES = ("conv6", "twin", "raw colour", "position")
SHOWN, SIDE = 6, 128


class Concept(NamedTuple):
    """A concept at the pixels of pictures that show it, P to learn from and Q held out: which of the K
    filters are ``on`` (P, K), whether the concept is there, ``label`` (P,); ``held_on`` (Q, K) and
    ``held_label`` (Q,); some ``pictures`` of those held out, and the ``side`` of their pixels."""

    name: str
    on: Bool[Tensor, "P K"]
    label: Bool[Tensor, " P"]
    held_on: Bool[Tensor, "Q K"]
    held_label: Bool[Tensor, " Q"]
    pictures: Float[Tensor, "6 3 128 128"]
    side: int

    def painted(self, said: Bool[Tensor, " Q"]) -> Float[Tensor, "6 3 128 128"]:
        """The pictures, dimmed where nothing is said to be: what is bright is said to be the concept."""
        return dimmed(self.pictures, said.view(-1, self.side, self.side)[: len(self.pictures)])

    def iou(self, said: Bool[Tensor, " Q"]) -> float:
        """Intersection over union with the concept, over the held-out pixels."""
        return float((said & self.held_label).sum() / (said | self.held_label).sum().clamp(min=1))


def dimmed(pictures: Float[Tensor, "N 3 H W"], masks: Bool[Tensor, "N h w"]) -> Float[Tensor, "N 3 H W"]:
    """Pictures at a quarter of their brightness outside of masks."""
    large = F.interpolate(masks[:, None].float(), size=pictures.shape[2:], mode="nearest")
    return pictures * (0.25 + 0.75 * large)


@cache
def _asked(mode: str, sees: str) -> Any:
    bench, data = Bench(mode), scenes(Bench(mode))
    first = bench.network(SEEDS[0])
    if sees == "conv6":
        model = first
    elif sees == "twin":
        model = twin(first, data.pictures)
    else:
        model = Blind("colour" if sees == "raw colour" else sees, data.pictures)
    return asked(model, data)


def concept(bench: Bench, name: str, sees: str = "conv6") -> Concept:
    """A concept, seen by the last layer of minivgg, by its twin, or by "raw colour" or "position" alone."""
    found, number = _asked(bench.mode, sees), WORDS.index(name)
    halves = []
    for half in (found.train, found.held_out):
        rows = half.shown[:, number]
        halves += [half.level[rows].flatten(0, 1) >= found.at, half.label[rows][..., number].flatten()]
    rows = found.held_out.shown[:, number].nonzero()[:SHOWN, 0]
    shown = next(batches(scenes(bench).held_out.images[rows.numpy()]))
    return Concept(name, *halves, shown, round(found.train.label.shape[1] ** 0.5))  # type: ignore[call-arg]


class Learned(NamedTuple):
    """``weights`` (K,) of a descent; ``cut``: the probability, best on the pixels to learn from; ``said``
    (Q,): the mask on held-out pixels; ``iou``: of it."""

    weights: Float[Tensor, " K"]
    cut: float
    said: Bool[Tensor, " Q"]
    iou: float


def descend(
    bench: Bench, of: Concept, *, net2vec_step: Own, concept_mask: Own, steps: int = 150, rate: float = 30.0
) -> Learned:
    """Net2Vec with the student's step, from no weights, and the cut-off chosen where it learned."""
    net2vec_step(torch.tensor([[True]]), torch.tensor([True]), torch.zeros(1), 0.1)  # unwritten: say so
    weights = torch.zeros(of.on.shape[1])
    with working("descending", steps, "step") as work:
        for step in range(bench.steps(steps)):
            weights = net2vec_step(of.on, of.label, weights, rate)
            work.at(step + 1)
    ious = []
    for cut in GRID:
        said = concept_mask(of.on, weights, cut)
        ious.append(float((said & of.label).sum() / (said | of.label).sum()))
    cut = GRID[max(range(len(GRID)), key=ious.__getitem__)]
    said = concept_mask(of.held_on, weights, cut)
    return Learned(weights, cut, said, of.iou(said))


def both_ways(
    bench: Bench, name: str, *, best_single: Own, net2vec_step: Own, concept_mask: Own
) -> dict[str, tuple[float, float]]:
    """For each that can see: the held-out IoU of its best single filter, and of all of its 160."""
    best_single(torch.tensor([[True]]), torch.tensor([True]))  # unwritten: say so at once
    own: dict[str, Any] = {"net2vec_step": net2vec_step, "concept_mask": concept_mask}
    found = {}
    for sees in SEES:
        of = concept(bench, name, sees)
        single, _ = best_single(of.on, of.label)
        found[sees] = (of.iou(of.held_on[:, single]), descend(bench, of, **own).iou)
    return found


class Space(NamedTuple):
    """``vectors`` (C, K), a concept a row, with their ``names``."""

    vectors: Float[Tensor, "C K"]
    names: tuple[str, ...]

    def numbers(self, *names: str) -> list[int]:
        """Which rows these concepts are."""
        return [self.names.index(name) for name in names]

    def words(self, rows: Tensor | Sequence[int]) -> list[str]:
        """The names of rows."""
        return [self.names[int(k)] for k in rows]


@cache
def _space(mode: str) -> Space:
    found = space_of(Bench(mode), Bench(mode).network(SEEDS[0]), scenes(Bench(mode)))
    there = found.any(1)
    return Space(found[there], tuple(name for name, kept in zip(ALL, there.tolist(), strict=True) if kept))


def space(bench: Bench) -> Space:
    """Vectors in minivgg's last layer, of objects, parts, and parts of wholes ("wheel of car")."""
    return _space(bench.mode)


def distances(bench: Bench) -> Mapping[str, Tensor]:
    """Distances between the names that ``space`` has vectors for, by network, WordNet and word vectors."""
    own = space(bench)
    names = [name for kind in NAMES.values() for name in kind if name in own.names]
    words = concept_words(names)
    return {
        "minivgg": concept_distances(own.vectors[own.numbers(*names)]),
        "WordNet": torch.from_numpy(words.steps).float(),
        "word vectors": concept_distances(torch.from_numpy(words.vectors)),
    }
