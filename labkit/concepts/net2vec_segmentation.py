"""Net2Vec: a concept as a vector over all units of a layer, beside the best single unit and the best few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.concept_pixels import (
    Pixels,
    fit_weights,
    pixels_of,
    strongest,
    unit_ious,
)
from labkit.concepts.label_maps import check_labels, side_of
from labkit.concepts.thresholds import thresholds_of
from labkit.core.checks import check_feature_map, check_share
from labkit.core.door import seeded
from labkit.core.registry import signature_of
from labkit.models.features import features

__all__ = [
    "CUTS", "Net2Vec", "check_shown", "fewest", "net2vec", "net2vec_result", "parted", "segmentation",
]  # fmt: skip

CUTS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
"""Shares of a unit's activations above its cut-off, among which the single unit's is chosen."""


class Net2Vec(NamedTuple):
    """``space`` (C, K): each concept's weights over the units, zeros where no training picture shows it;
    ``labels``: (kind, name) of each; ``iou`` (C,): of all units, on held-out pictures; ``cut`` (C,): the
    probability above which a pixel counts; ``single`` (C,): the best unit on the training pictures, ``share``
    (C,) of its activations above its cut-off, ``single_iou`` (C,): its IoU on held-out pictures; ``curve``
    (F, C): IoU of the ``few`` strongest units by size of weight, trained anew; ``shown`` (2, C): how many
    training and held-out pictures show the concept. IoUs are nan where no picture does."""

    space: Float[Tensor, "C K"]
    labels: tuple[tuple[str, str], ...]
    iou: Float[Tensor, " C"]
    cut: Float[Tensor, " C"]
    single: Int[Tensor, " C"]
    share: Float[Tensor, " C"]
    single_iou: Float[Tensor, " C"]
    few: tuple[int, ...]
    curve: Float[Tensor, "F C"]
    shown: Int[Tensor, "2 C"]

    def units_of(self, share: float = 0.9) -> Int[Tensor, " C"]:
        """How many units a concept needs: the fewest whose weights make up a share of all weights' sizes."""
        sizes = self.space.abs().sort(1, descending=True).values.cumsum(1)
        return (sizes < share * sizes[:, -1:]).sum(1) + (sizes[:, -1] > 0)

    def concepts_of(self, count: int = 10) -> Int[Tensor, " K"]:
        """How many concepts have each unit among their ``count`` strongest."""
        return (strongest(self.space, count) & (self.space != 0)).sum(0)


def fewest(
    few: Sequence[int], curve: Float[Tensor, "F C"], whole: Float[Tensor, " C"], share: float = 0.9
) -> Float[Tensor, " C"]:
    """How many of the units reach a share of all units' IoU, read off between the points of a curve.

    ``few``: numbers of units, rising; ``curve``: their IoU for each concept; ``whole``: that of all units. A
    curve that begins above the wanted IoU needs its first number; one that never reaches it gives infinity.

    >>> fewest([1, 3, 9], torch.tensor([[0.1], [0.3], [0.5]]), torch.tensor([0.5]), 0.8)
    tensor([6.])
    """
    sizes, wanted = torch.tensor([float(f) for f in few]), share * whole
    found = torch.full_like(whole, torch.inf)
    for c in range(len(whole)):
        above = (curve[:, c] >= wanted[c]).nonzero()
        if len(above):
            at = int(above[0])
            found[c] = sizes[at]
            if at:
                low, high = curve[at - 1, c], curve[at, c]
                part = (wanted[c] - low) / (high - low).clamp(min=1e-12)
                found[c] = sizes[at - 1] + part * (sizes[at] - sizes[at - 1])
    return found


def segmentation(
    train: Pixels,
    held_out: Pixels,
    labels: tuple[tuple[str, str], ...],
    *,
    few: Sequence[int] = (),
    at: int = 1,
    shares: Sequence[float] = (0.0,),
    tune: bool = False,
    epochs: int = 30,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
) -> Net2Vec:
    """``net2vec`` of pixels that are there already, one set to train on, another to be scored on.

    ``at``: which of the pixels' thresholds the combination uses, 1 the loosest; ``shares``: what shares of
    activations lie above each; ``tune``: whether both cut-offs are chosen on the training pixels.
    """
    own, count = seeded(generator), 1 + len(few)
    here = {"epochs": epochs, "at": at, "generator": own}

    def told(part: int) -> Callable[[float], None] | None:
        return None if progress is None else (lambda done: progress((part + done) / count))

    def scored(weights: Tensor) -> tuple[Tensor, Tensor]:
        cut = train.best_cut(weights, at=at) if tune else torch.full((len(weights),), 0.5)
        return held_out.ious(weights, cut, at=at), cut

    space = fit_weights(train, **here, progress=told(0))  # type: ignore[arg-type]
    iou, cut = scored(space)
    ways = range(1, len(shares) + 1) if tune else (at,)
    alone = torch.stack([unit_ious(train, at=way) for way in ways]).nan_to_num(nan=-1)  # (Q, K, C)
    best = alone.flatten(0, 1).argmax(0)
    way, single = best // alone.shape[1], best % alone.shape[1]
    beside = torch.stack([unit_ious(held_out, at=w) for w in ways])
    each = torch.arange(len(labels))
    curve = []
    for number, size in enumerate(few):
        weights = fit_weights(
            train, allowed=strongest(space, size), start=space * strongest(space, size), **here,  # type: ignore[arg-type]
            progress=told(1 + number),
        )  # fmt: skip
        curve.append(scored(weights)[0])
    return Net2Vec(
        space, labels, iou, cut, single, torch.tensor([shares[w - 1] for w in ways])[way],
        beside[way, single, each], tuple(few), torch.stack(curve) if curve else torch.zeros(0, len(labels)),
        torch.stack([train.shown.sum(0), held_out.shown.sum(0)]),
    )  # fmt: skip


def parted(count: int, held_out: float, own: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures to train on and held out, by lot."""
    check_share("held_out", held_out, "A third is 1/3.")
    if count < 2:
        raise ValueError(
            f"images must be at least 2, to train on and to be scored on, better 200; got {count}."
        )
    taken = min(max(1, round(held_out * count)), count - 1)
    order = torch.randperm(count, generator=own)
    return order[taken:].sort().values, order[:taken].sort().values


def check_shown(shown: Bool[Tensor, "N C"], train: Tensor, held: Tensor) -> None:
    if not (shown[train].any(0) & shown[held].any(0)).any():
        raise ValueError(
            "maps must show at least one concept both in pictures to train on and in pictures held out; they "
            "do not. Give more pictures."
        )


def net2vec_result(
    model: nn.Module,
    images: Tensor | ndarray,
    *,
    layer: str,
    maps: Mapping[str, ndarray],
    names: Mapping[str, Sequence[str]],
    quantile: float = 0.005,
    few: Sequence[int] = (),
    tune: bool = False,
    held_out: float = 1 / 3,
    stride: int = 4,
    epochs: int = 30,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
) -> Net2Vec:
    """``net2vec`` with its IoU, the best single unit and the best few beside it (see ``Net2Vec``)."""
    check_share("quantile", quantile, "0.005 is the paper's.")
    labels, own = check_labels(maps, names, len(images), side_of(images)), seeded(generator)
    train, held = parted(len(images), held_out, own)
    told = [None if progress is None else (lambda done, p=p: progress((p + done) / 2)) for p in range(2)]
    given = features(model, images, layer, progress=told[0])
    check_feature_map(given, layer)
    units = given.shape[1]
    if any(not 1 <= size <= units for size in few):
        raise ValueError(
            f"few must hold numbers of units from 1 to {units}, all of {layer!r}; got {tuple(few)}."
        )
    shares = sorted({quantile, *(CUTS if tune else ())}, reverse=True)
    thresholds = thresholds_of(given[train], shares)
    pixels = pixels_of(given, thresholds=thresholds, maps=maps, names=names, stride=stride)
    check_shown(pixels.shown, train, held)
    return segmentation(
        pixels.select(train), pixels.select(held), labels, few=few, at=shares.index(quantile) + 1,
        shares=shares, tune=tune, epochs=epochs, generator=own, progress=told[1],
    )  # fmt: skip


@signature_of(net2vec_result)
def net2vec(*args: Any, **options: Any) -> Float[Tensor, "C K"]:
    """Concepts as vectors: for each concept the weights over a layer's units that segment it.

    Each unit's map is cut where a share ``quantile`` of its activations on the training pictures lie above
    (``labkit.concepts.thresholds``); a pixel's probability is the sigmoid of the weighted sum of the units
    that are on there. Weighted binary cross entropy, alpha = 1 - the concept's mean area, on the pictures
    that show it; descent with momentum, as in the paper.

    **Its IoU is not dissection's.** Here the set IoU is over held-out pictures that *show the concept*, so a
    false alarm elsewhere costs nothing; ``dissect`` takes all pictures in which the concept's *kind* is
    labelled, training pictures and all. Here the IoU is higher, and the two must not stand in one table.

    ``maps``: whole numbers (N, H, W) for each kind of label, 0 for none; ``names``: their names from 1 on.
    ``few``: numbers of units for the curve of ``net2vec_result``. ``tune``: choose the cut-offs, of the
    single unit's map and of the probability, on the training pictures; the paper's are ``quantile`` and .5.
    ``held_out``: share of the pictures, by lot. ``stride``: every so manyth row and column of pixels counts.
    Raises KeyError for a wrong layer, ValueError for a layer that is no feature map, for maps that do not
    fit the pictures, shares outside (0, 1), numbers of units that the layer has not, and where no concept is
    shown on both sides.

    Unit: log odds. Labels: post hoc, specific to networks with feature maps, global.
    Source: Fong and Vedaldi 2018, "Net2Vec", sections 3.1 and 4.1.

    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()).eval()
    >>> pictures = torch.rand(6, 3, 8, 8)
    >>> maps = {"thing": (pictures[:, 0] > 0.5).long().numpy()}
    >>> net2vec(net, pictures, layer="1", maps=maps, names={"thing": ["red"]}, epochs=2).shape
    torch.Size([1, 2])
    """
    return net2vec_result(*args, **options).space
