"""Concepts as vectors, lab 33: several filters a concept (C7), arithmetic and spaces that agree (C9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy import ndarray
from torch import Tensor

from labkit.concepts import Net2Vec, concept_distances, mantel_result
from labkit.concepts.concept_pixels import fit_weights
from labkit.concepts.concept_spaces import hits
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import concept_words
from labkit.evaluation import twin
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.blind_networks import Blind
from labkit.experiments.measures import Measure, Result
from labkit.experiments.net2vec_scenes import (
    ALL,
    ANALOGIES,
    WORDS,
    Asked,
    asked,
    counted,
    dealt,
    epochs_of,
    net2vec_of,
    objects_and_parts,
    scenes,
    space_of,
)

LAB = "33_concepts_are_vectors"
FEW = (1, 3, 8, 20, 60)
HITS = 5
NETWORKS = (
    "minivgg", "minivgg-2", "minivgg-3", "minivgg-11", "minivgg-11-2", "minivgg-11-3", "minivgg-bothcities",
    "minivgg-melbourne", "minivgg-rare", "minivgg-scenes", "minivgg-snow", "minivgg-tag", "minivgg-tag-8",
    "minivgg-weather",
)  # fmt: skip
Own = Callable[..., Any]


# ---- C7: several filters a concept, several concepts a filter


@experiment("C7", LAB, top_filters="concepts.top_filters")
def c7(bench: Bench, *, top_filters: Own) -> Result:
    """Do concepts need several filters, by more than an untrained network's or raw colour's do?"""
    top_filters(torch.tensor([[1.0, -2.0]]), 1)  # unwritten: say so at once
    data = scenes(bench)
    few = FEW[:2] if bench.quick else FEW
    draws = range(len(bench.seeds)) if bench.mode == "full" else range(1)
    first = bench.network(bench.seeds[0])
    maps = [dealt(objects_and_parts(stack)) for stack in data]
    of_twins = [net2vec_of(bench, asked(twin(first, data.pictures, seed=d), data)) for d in draws]
    of_seeds, curves = [], {}
    for name in bench.seeds:
        pixels = asked(bench.network(name), data)
        of_seeds.append(net2vec_of(bench, pixels))
        if name == bench.seeds[0]:
            curves["conv6"] = _curve(bench, pixels, of_seeds[0], few, top_filters)
    blind = {sees: asked(Blind(sees, data.pictures), data) for sees in ("colour", "position")}
    beside = {f"raw {k}" if k == "colour" else k: net2vec_of(bench, v) for k, v in blind.items()}
    beside["labels of other pictures"] = net2vec_of(bench, asked(first, data, maps=maps))
    own = counted(bench, of_seeds[0])

    def gain(found: Net2Vec) -> ndarray:
        return (found.iou - found.single_iou)[own].nan_to_num().double().numpy()

    def over(found: Net2Vec, number: int) -> Interval:
        return bootstrap(gain(found) - gain(of_twins[number % len(of_twins)]))

    def beats(found: Net2Vec) -> Interval:
        return share(gain(found) > 0)

    whole = {"conv6": of_seeds[0], "twin": of_twins[0], **beside}
    if bench.mode == "full":
        curves["twin"] = _curve(bench, asked(twin(first, data.pictures), data), of_twins[0], few, top_filters)
        curves["raw colour"] = _curve(bench, blind["colour"], beside["raw colour"], few, top_filters)
    control = {name: over(found, 0) for name, found in beside.items()}
    return Result(
        (
            Measure(
                "IoU of all filters less the best one's, conv6 minus twin",
                extent(over(found, k) for k, found in enumerate(of_seeds)), "> 0 (lower bound)",
                control={
                    **control, "conv6 itself": extent(bootstrap(gain(f)) for f in of_seeds),
                    "twin itself": extent(bootstrap(gain(f)) for f in of_twins),
                },
                must=dict.fromkeys(control, "<= 0"),
            ),
        ),
        notes=(
            f"{int(own.sum())} concepts; all filters beat the best one for "
            + ", ".join(f"{beats(found).value:.2f} ({name})" for name, found in whole.items()),
            "IoU over the pictures that show the concept: higher than dissection's, not to be compared",
        ),
        show={
            "gain": {name: bootstrap(gain(found)) for name, found in whole.items()},
            "beats": {name: beats(found) for name, found in whole.items()},
            "few": (*few, of_seeds[0].space.shape[1]),
            "curves": curves,
            "filters a concept": of_seeds[0].units_of()[own].tolist(),
            "concepts a filter": of_seeds[0].concepts_of().tolist(),
            "all": {name: found.iou[own].tolist() for name, found in whole.items()},
            "single": {name: found.single_iou[own].tolist() for name, found in whole.items()},
            "names": [name for (_, name), kept in zip(of_seeds[0].labels, own.tolist(), strict=True) if kept],
        },
    )  # fmt: skip


def _curve(bench: Bench, found: Asked, whole: Net2Vec, few: Sequence[int], top_filters: Own) -> list[float]:
    """Mean IoU of the F strongest filters, trained anew, for each F; and of all."""
    own, line = counted(bench, whole), []
    for size in few:
        chosen = top_filters(whole.space.clone(), size)
        weights = fit_weights(
            found.train, at=found.at, allowed=chosen != 0, start=chosen, epochs=max(1, epochs_of(bench) // 2)
        )
        cut = found.train.best_cut(weights, at=found.at)
        line.append(float(found.held_out.ious(weights, cut, at=found.at)[own].nanmean()))
    return [*line, float(whole.iou[own].nanmean())]


# ---- C9: arithmetic, and spaces that agree


def _known(spaces: Mapping[str, Tensor]) -> Bool[Tensor, " C"]:
    return torch.stack([space.any(1) for space in spaces.values()]).all(0)


@experiment("C9", LAB, analogy="concepts.analogy", rank_agreement="concepts.rank_agreement")
def c9(bench: Bench, *, analogy: Own, rank_agreement: Own) -> Result:
    """Do concept vectors do arithmetic, do networks' spaces agree, and with words?"""
    analogy(torch.eye(5), 0, 1, 2, 1)  # unwritten: say so at once
    rank_agreement(torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]]), 1 - torch.eye(3))
    data = scenes(bench)
    names = NETWORKS if bench.mode == "full" else (*bench.seeds, "minivgg-11")
    first = bench.network(bench.seeds[0])
    spaces = {name: space_of(bench, bench.network(name), data) for name in names}
    draws = range(3 if bench.mode == "full" else 1)
    twins = {f"twin {d}": space_of(bench, twin(first, data.pictures, seed=d), data) for d in draws}
    blind = space_of(bench, Blind("colour", data.pictures), data)
    known = _known({**spaces, **twins, "colour": blind})
    there = [name for name, kept in zip(ALL, known.tolist(), strict=True) if kept]
    questions = [
        tuple(there.index(name) for name in names) for names in ANALOGIES if set(names) <= set(there)
    ]
    repeats = {"quick": 19, "class": 199, "full": 999}[bench.mode]

    def answered(space: Tensor) -> tuple[ndarray, ndarray]:
        found = [answer in analogy(space[known], a, b, c, HITS).tolist() for a, b, c, answer in questions]
        return np.array(found, float), hits(space[known], questions, count=HITS)[1].astype(float)

    of_seeds = [answered(spaces[name]) for name in bench.seeds]
    of_twins = [answered(space) for space in twins.values()]
    kept = [k for k in range(len(WORDS)) if known[k]]
    near = {
        name: concept_distances(space[kept]) for name, space in {**spaces, **twins, "colour": blind}.items()
    }
    words = concept_words([WORDS[k] for k in kept])
    of_words = {
        "WordNet": torch.from_numpy(words.steps).float(),
        "word vectors": concept_distances(torch.from_numpy(words.vectors)),
    }

    def p(a: Tensor, b: Tensor) -> Interval:
        return Interval(*[mantel_result(a, b, repeats=repeats).p] * 3)

    pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    agree = {pair: float(rank_agreement(near[pair[0]], near[pair[1]])) for pair in pairs}
    with_twins = [float(rank_agreement(near[a], near[b])) for a in bench.seeds for b in twins]

    def spread(values: Sequence[float]) -> Interval:
        return Interval(sum(values) / len(values), min(values), max(values))

    def worst(found: Sequence[Interval]) -> Interval:
        return max(found)

    measures = [
        Measure(
            "hits@5 of the arithmetic less hits@5 of its first term alone",
            extent(bootstrap(whole - alone) for whole, alone in of_seeds), "> 0 (lower bound)",
            control={
                "twin": extent(bootstrap(whole - alone) for whole, alone in of_twins),
                "hits@5, arithmetic": extent(bootstrap(whole) for whole, _ in of_seeds),
                "hits@5, first term": extent(bootstrap(alone) for _, alone in of_seeds),
                "hits@5, twin": extent(bootstrap(whole) for whole, _ in of_twins),
            },
            must={"twin": "<= 0"},
        ),
        Measure(
            "Mantel p of two networks' distances, the largest of all pairs",
            worst([p(near[a], near[b]) for a, b in pairs]), "<= 0.01",
            control={
                "twin": p(near[bench.seeds[0]], near["twin 0"]),
                "raw colour": p(near[bench.seeds[0]], near["colour"]),
                "rank correlation": spread(list(agree.values())),
                "rank correlation with the twin": spread(with_twins),
            },
            must={"twin": "> 0.01"},
        ),
    ]  # fmt: skip
    for title, own in of_words.items():
        measures.append(
            Measure(
                f"Mantel p of a network's distances and {title}, the largest of the seeds",
                worst([p(near[name], own) for name in bench.seeds]), "<= 0.01",
                control={
                    "twin": p(near["twin 0"], own), "raw colour": p(near["colour"], own),
                    "rank correlation": spread([float(rank_agreement(near[n], own)) for n in bench.seeds]),
                    "rank correlation of the twin": spread([float(rank_agreement(near["twin 0"], own))]),
                },
                must={"twin": "> 0.01"},
            )
        )  # fmt: skip
    every = {**{n: near[n] for n in names}, "twin": near["twin 0"], "raw colour": near["colour"], **of_words}
    return Result(
        tuple(measures),
        notes=(f"{len(questions)} analogies, {len(kept)} names, {int(known.sum())} possible answers",),
        show={
            "rows": list(every),
            "agreement": torch.tensor(
                [[1.0 if a == b else float(rank_agreement(every[a], every[b])) for b in every] for a in every]
            ),
            "hits": {
                "arithmetic": extent(bootstrap(whole) for whole, _ in of_seeds),
                "first term alone": extent(bootstrap(alone) for _, alone in of_seeds),
                "twin, arithmetic": extent(bootstrap(whole) for whole, _ in of_twins),
                "twin, first term alone": extent(bootstrap(alone) for _, alone in of_twins),
            },
        },
    )
