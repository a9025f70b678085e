"""Do self-supervised networks encode concepts more distributively (C8)? How many filters a concept needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.concept_pixels import fit_weights, strongest
from labkit.concepts.net2vec_segmentation import fewest
from labkit.core.statistics import Interval, bootstrap
from labkit.evaluation import twin
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.blind_networks import Blind
from labkit.experiments.measures import Measure, Result
from labkit.experiments.net2vec_scenes import Halves, asked, counted, epochs_of, net2vec_of, scenes

LAB = "33_concepts_are_vectors"
PRETEXTS = ("selfsup-rotation", "selfsup-colour")
SUPERVISED = "supervised-short"
SEEDS = ("", "-2")
FEW = (1, 2, 4, 8, 16, 32, 64, 96, 128)
ENOUGH = 0.9  # of the IoU of all filters
BAND, MATCHED = 0.03, 8  # how far apart IoUs of all filters may lie, and for how many concepts


class Needs(NamedTuple):
    """For each concept ``share`` (C,), of the filters, that it takes to reach 90 % of the IoU of ``all`` (C,)
    filters; ``single`` (C,): of the best one; ``counted`` (C,): whether enough scenes show it; ``names``."""

    share: Float[Tensor, " C"]
    all: Float[Tensor, " C"]
    single: Float[Tensor, " C"]
    counted: Bool[Tensor, " C"]
    names: tuple[str, ...]


def filters_needed(bench: Bench, model: nn.Module, layer: str, data: Halves) -> Needs:
    """How many of a layer's filters each object and part needs, trained on some scenes, scored on others.

    The strongest F by size of weight are trained anew for each F of ``FEW`` below the layer's width, and the
    number for 90 % is read off between them. ``layer`` "": the last ReLU of the network's feature maps.
    """
    pixels = asked(model, data, layer)
    whole = net2vec_of(bench, pixels)
    width = whole.space.shape[1]
    sizes = {"quick": FEW[:2], "class": FEW[1::2]}.get(bench.mode, FEW)
    few = [size for size in sizes if size < width]
    curve = []
    for size in few:
        chosen = strongest(whole.space, size)
        weights = fit_weights(
            pixels.train, at=pixels.at, allowed=chosen, start=whole.space * chosen,
            epochs=max(1, epochs_of(bench) // 2),
        )  # fmt: skip
        cut = pixels.train.best_cut(weights, at=pixels.at)
        curve.append(pixels.held_out.ious(weights, cut, at=pixels.at))
    number = fewest((*few, width), torch.stack([*curve, whole.iou]), whole.iou, ENOUGH)
    names = tuple(name for _, name in whole.labels)
    return Needs(number / width, whole.iou, whole.single_iou, counted(bench, whole), names)


def matched(found: Sequence[Needs], band: float = BAND) -> Bool[Tensor, " C"]:
    """The concepts that all networks segment alike well: the largest IoU less the smallest is within a band.

    >>> ones = torch.ones(2)
    >>> a, b = (Needs(ones, torch.tensor(v), ones, ones > 0, ("x", "y")) for v in ([0.5, 0.2], [0.52, 0.4]))
    >>> matched([a, b]).tolist()
    [True, False]
    """
    every = torch.stack([needs.all for needs in found])
    alike = every.amax(0) - every.amin(0) <= band
    return alike & torch.stack([needs.counted for needs in found]).all(0)


def networks(bench: Bench) -> list[str]:
    """The self-supervised networks and their supervised counterparts, two trainings each (else one)."""
    return [name + seed for name in (*PRETEXTS, SUPERVISED) for seed in _seeds(bench)]


def _seeds(bench: Bench) -> tuple[str, ...]:
    return SEEDS if bench.mode == "full" else SEEDS[:1]


def _differences(found: Mapping[str, Needs], pretext: str, seed: str, kept: Tensor) -> ndarray:
    own, beside = found[pretext + seed], found[SUPERVISED + seed]
    return (own.share - beside.share)[kept].double().numpy()


@experiment("C8", LAB)
def c8(bench: Bench) -> Result:
    """Do self-supervised networks need more of their filters for a concept that they know as well?"""
    data = scenes(bench)
    found = {name: filters_needed(bench, bench.network(name), "", data) for name in networks(bench)}
    control = {
        "twin": filters_needed(bench, twin(bench.network(SUPERVISED), data.pictures), "", data),
        "colour and position": filters_needed(
            bench, Blind("colour patches and position", data.pictures), "", data
        ),
    }
    kept = matched(list(found.values()))
    enough = int(kept.sum())
    used = kept if enough else found[SUPERVISED].counted  # too few: said by the first measure

    def over(needs: Needs) -> Interval:
        """A control's share less that of the most distributed self-supervised network, concept by concept."""
        most = torch.stack([found[p + s].share for p in PRETEXTS for s in _seeds(bench)]).amax(0)
        return bootstrap((needs.share - most)[used].double().numpy())

    def ratio(needs: Needs) -> Interval:
        own = needs.counted & (needs.single > 0)
        return bootstrap((needs.all[own].mean() / needs.single[own].mean()).reshape(1).double().numpy())

    every = {**found, **control}
    each = [
        bootstrap(_differences(found, pretext, seed, used)) for pretext in PRETEXTS for seed in _seeds(bench)
    ]
    return Result(
        (
            Measure(
                "concepts that all the networks segment alike well, within .03", Interval(*[enough] * 3),
                f">= {MATCHED}",
            ),
            Measure(
                "share of the filters needed, self-supervised less supervised", extent(each),
                "> 0 (lower bound)",
                control={
                    "twin, less the most distributed": over(control["twin"]),
                    "colour and position, less the most distributed": over(control["colour and position"]),
                    **{f"ratio all to single, {name}": ratio(needs) for name, needs in every.items()},
                },
                must={
                    "twin, less the most distributed": "<= 0",
                    "colour and position, less the most distributed": "<= 0",
                },
            ),
        ),
        notes=(
            f"{enough} matched concepts" + ("" if enough >= MATCHED else ": cannot be told here"),
            "the ratio of all filters to the best one is largest for the worst features",
        ),
        show={
            "share": {name: bootstrap(needs.share[used].double().numpy()) for name, needs in every.items()},
            "ratio": {name: ratio(needs) for name, needs in every.items()},
            "all": {name: float(np.nanmean(needs.all.numpy())) for name, needs in every.items()},
            "names": [n for n, k in zip(found[SUPERVISED].names, used.tolist(), strict=True) if k],
        },
    )  # fmt: skip
