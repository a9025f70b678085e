"""Looking without a hypothesis, lab 34: overlays that match parts (C10), a simple model's fidelity (C11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from labkit.core.statistics import Interval, bootstrap
from labkit.data import MiniBroden, SceneStack
from labkit.evaluation import colour_features, other_pictures, position_features, twin
from labkit.experiments.bench import Bench, answers, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.models import features
from labkit.models.features import batches

LAB = "34_looking_without_a_hypothesis"
CONV5, GRID = "features.16", 16
PIXELS = 128 // GRID  # of a place, along a side
DEPTH, DEPTHS = 8, (1, 2, 3, 4, 6, 8, 10, 12)
HONEST, FOOLED = "minivgg", ("minivgg-melbourne", "minivgg-snow", "minivgg-tag")
KINDS = ("part", "material", "texture", "color", "scene")  # what a tree may ask about: no objects
Own = Callable[..., Any]


def scenes(bench: Bench, n: int, lesson: int, few: int) -> SceneStack:
    """The first ``n`` test scenes with their label maps, fewer in class and quick mode."""
    return MiniBroden(bench.count(n, lesson=lesson, few=few), "test").stack()


# ---- C10: a place of one picture, and the most similar of another one


class Queries(NamedTuple):
    """Places asked about: ``of`` and ``to`` are numbers of scenes, ``place`` (Q, 2) of the grid, ``part`` its
    label; ``parts`` (N, 16, 16): the part at each place of each scene's object, 0 = none."""

    of: Int[Tensor, " Q"]
    to: Int[Tensor, " Q"]
    place: Int[Tensor, "Q 2"]
    part: Int[Tensor, " Q"]
    parts: Int[Tensor, "N 16 16"]

    @property
    def candidates(self) -> Int[Tensor, "Q P"]:
        """The parts at all places of the picture that is searched."""
        return self.parts[self.to].flatten(1)


def parts_of(seen: SceneStack) -> Int[Tensor, "N 16 16"]:
    """The part of each scene's object at the middle of each place, 0 where there is none."""
    middle = slice(PIXELS // 2, None, PIXELS)
    parts = np.where(seen.masks[:, middle, middle], seen.maps["part"][:, middle, middle], 0)
    return torch.from_numpy(parts.astype(np.int64))


def queries(seen: SceneStack, same_class: bool = True) -> Queries:
    """For each scene one place on a part, by lot, and the next scene of the same class, or of another one,
    whose object shows this part and others beside."""
    generator = torch.Generator().manual_seed(0)
    parts, labels, count = parts_of(seen), seen.labels, len(seen)
    there = [set(one.unique().tolist()) - {0} for one in parts]
    rows = []
    for i in range(count):
        places = parts[i].nonzero()
        for k in torch.randperm(len(places), generator=generator).tolist():
            part = int(parts[i][tuple(places[k])])
            around = (j % count for j in range(i + 1, i + count))
            fits = (
                j for j in around
                if (labels[j] == labels[i]) == same_class and part in there[j] and len(there[j]) > 1
            )  # fmt: skip
            if (j := next(fits, None)) is not None:
                rows.append([i, j, *places[k].tolist(), part])
                break
    found = torch.tensor(rows).view(-1, 5)
    return Queries(found[:, 0], found[:, 1], found[:, 2:4], found[:, 4], parts)


def by_cosine(maps: Float[Tensor, "N K 16 16"], asked: Queries, overlay: Own) -> Float[Tensor, "Q P"]:
    """The similarity of all places of the other picture with the one asked about, by a student's overlay."""
    found = [
        overlay(maps[[int(i), int(j)]], 0, (int(p[0]), int(p[1])))[1]
        for i, j, p in zip(asked.of, asked.to, asked.place, strict=True)
    ]
    return torch.stack(found).flatten(1)


def by_distance(maps: Float[Tensor, "N F 16 16"], asked: Queries) -> Float[Tensor, "Q P"]:
    """The same by the nearness of features without a network."""
    own = maps[asked.of, :, asked.place[:, 0], asked.place[:, 1]]
    return -(maps[asked.to].flatten(2) - own[:, :, None]).norm(dim=1)


def without_network(seen: SceneStack) -> dict[str, Float[Tensor, "N F 16 16"]]:
    """Features that any camera has: where a place lies, its mean colour, its pixels."""
    ways = {
        "position": lambda part: position_features(part, GRID),
        "mean colour": lambda part: colour_features(part, GRID),
        "raw patch": lambda part: colour_features(part, GRID, patch=PIXELS),
    }
    return {name: torch.cat([way(part) for part in batches(seen.images)]) for name, way in ways.items()}


@experiment("C10", LAB, overlay="concepts.cosine_overlay", hits="concepts.part_hits")
def c10(bench: Bench, *, overlay: Own, hits: Own) -> Result:
    """Do overlays match parts across pictures, better than place, colour and pixels do?"""
    overlay(torch.ones(2, 1, 2, 2), 0, (0, 0))  # unwritten: say so at once
    hits(torch.zeros(1, 2), torch.ones(1, 2).long(), torch.ones(1).long())
    seen = scenes(bench, 600, lesson=150, few=30)
    asked = {"same": queries(seen), "other": queries(seen, same_class=False)}
    plain = without_network(seen)

    def on_parts(similarity: Tensor, what: Queries) -> Float[np.ndarray, " Q"]:
        return hits(similarity, what.candidates, what.part).double().numpy()

    def anywhere(similarity: Tensor, what: Queries) -> Float[np.ndarray, " Q"]:
        best = similarity.argmax(1, keepdim=True)
        return (what.candidates.gather(1, best)[:, 0] == what.part).double().numpy()

    blind = {
        (name, which): on_parts(by_distance(maps, what), what)
        for name, maps in plain.items()
        for which, what in asked.items()
    }
    gains: dict[str, list[Interval]] = {"same": [], "other": []}
    shares: dict[str, list[Interval]] = {"conv5": [], "twin": [], "whole": []}
    for draw, name in enumerate(bench.seeds):
        network = bench.network(name)
        own = features(network, seen.images, CONV5)
        random = features(twin(network, seen.images, seed=draw), seen.images, CONV5)
        for which, what in asked.items():
            similarity = by_cosine(own, what, overlay)
            found = on_parts(similarity, what)
            controls = {n: blind[n, which] for n in plain}
            controls["twin"] = on_parts(by_cosine(random, what, overlay), what)
            best = max(controls.values(), key=np.mean)
            gains[which].append(bootstrap(found - best))
            if which == "same":
                shares["conv5"].append(bootstrap(found))
                shares["twin"].append(bootstrap(controls["twin"]))
                shares["whole"].append(bootstrap(anywhere(similarity, what)))
    beside = {name: bootstrap(blind[name, "same"]) for name in plain}
    colour = bootstrap(anywhere(by_distance(plain["mean colour"], asked["same"]), asked["same"]))
    least = min(gains["same"], key=lambda gain: gain.value)
    return Result(
        (
            Measure(
                "hit share on part places, conv5 minus the best control, the seed that gains least",
                least, ">= 0.08",
                control={
                    "conv5": extent(shares["conv5"]), "twin": extent(shares["twin"]), **beside,
                    "another class, minus its best control": extent(gains["other"]),
                    "whole picture, conv5": extent(shares["whole"]), "whole picture, mean colour": colour,
                },
            ),
        ),
        notes=(
            f"{len(asked['same'].of)} places, {len(asked['other'].of)} with another class",
            "seeds: " + ", ".join(f"{gain.value:+.2f}" for gain in gains["same"]),
        ),
        show={
            "part places": {"conv5": extent(shares["conv5"]), "twin": extent(shares["twin"]), **beside},
            "whole picture": {"conv5": extent(shares["whole"]), "mean colour": colour},
            "another class": extent(gains["other"]),
        },
    )  # fmt: skip


# ---- C11: a tree on concepts in the network's place


class Table(NamedTuple):
    """What a tree is given of scenes: ``rows`` (N, D) of shares, a name a column, and the true classes."""

    rows: Float[Tensor, "N D"]
    names: list[str]
    labels: Int[Tensor, " N"]


def table(seen: SceneStack, concept_vector: Own) -> Table:
    """The share of each part, material, texture, colour and ground in each picture; no objects."""
    columns, names = [], []
    for kind in KINDS:
        known = MiniBroden.names[kind][1:]
        maps = (
            torch.from_numpy(part.astype(np.int64))
            for part in np.array_split(seen.maps[kind], len(seen) // 200 + 1)
        )
        columns.append(torch.cat([concept_vector(part, len(known)) for part in maps]).float())
        names += [f"{kind}: {name}" for name in known]
    return Table(torch.cat(columns, 1), names, torch.as_tensor(seen.labels))


def said(bench: Bench, name: str, seen: SceneStack) -> Int[Tensor, " N"]:
    """What a network names in each scene."""
    return torch.cat([answers(bench.network(name), part) for part in batches(seen.images)])


class Fit(NamedTuple):
    """Answers on held-out scenes: the network's, those of a tree taught its answers and of one taught the
    truth; ``wrong``: where the network is."""

    network: Int[Tensor, " M"]
    taught: Int[Tensor, " M"]
    truth: Int[Tensor, " M"]
    wrong: Bool[Tensor, " M"]

    def gap(self, fidelity: Own, where: Bool[Tensor, " M"]) -> Interval:
        """The fidelity of the tree taught the answers minus that of the tree taught the truth."""
        both = [(one == self.network)[where].double().numpy() for one in (self.taught, self.truth)]
        value = float(fidelity(self.taught, self.network, where) - fidelity(self.truth, self.network, where))
        _, low, high = bootstrap(both[0] - both[1])
        return Interval(value, low, high)


def fits(given: Table, network: Int[Tensor, " N"], stand_in: Own, depth: int = DEPTH) -> Fit:
    """Two trees, taught on the first half of the scenes, on the second half."""
    half = len(given.rows) // 2
    old, new = given.rows[:half], given.rows[half:]
    taught = stand_in(old, network[:half], new, depth)
    truth = stand_in(old, given.labels[:half], new, depth)
    wrong = network[half:] != given.labels[half:]
    return Fit(network[half:], taught, truth, wrong if wrong.any() else torch.ones_like(wrong))


@experiment(
    "C11", LAB, concept_vector="concepts.concept_vector", stand_in="concepts.stand_in",
    fidelity="concepts.fidelity",
)  # fmt: skip
def c11(bench: Bench, *, concept_vector: Own, stand_in: Own, fidelity: Own) -> Result:
    """Does a tree taught a network's answers know more of it than one taught the truth, where it is wrong?"""
    concept_vector(torch.zeros(1, 2, 2).long(), 1)  # unwritten: say so at once
    stand_in(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), 1)
    fidelity(torch.zeros(2), torch.zeros(2), torch.tensor([True, False]))
    seen = scenes(bench, 4000, lesson=600, few=80)
    given = table(seen, concept_vector)
    half = len(given.rows) // 2
    dealt = given._replace(rows=given.rows[other_pictures(len(given.rows))])
    gaps, shuffled, whole, curves, notes = {}, [], [], {}, []
    for name in FOOLED:
        network = said(bench, name, seen)
        own = fits(given, network, stand_in)
        everywhere = torch.ones_like(own.wrong)
        gaps[name] = own.gap(fidelity, own.wrong)
        shuffled.append(fits(dealt, network, stand_in).gap(fidelity, own.wrong))
        whole.append(own.gap(fidelity, everywhere))
        curves[name] = [
            tuple(float(fidelity(t, f.network, f.wrong)) for t in (f.taught, f.truth))
            for f in (fits(given, network, stand_in, depth) for depth in DEPTHS)
        ]
        right = float((own.network == given.labels[half:]).double().mean())
        same = [float(fidelity(t, own.network, own.wrong)) for t in (own.taught, own.truth)]
        notes.append(
            f"{name}: right in {right:.2f} of {half} scenes, wrong in {int(own.wrong.sum())}; there the tree "
            f"taught its answers says the same in {same[0]:.2f}, the tree taught the truth in {same[1]:.2f}"
        )
    honest = fits(given, said(bench, HONEST, seen), stand_in)
    everywhere = torch.ones_like(honest.wrong)
    as_model = bootstrap((honest.truth == given.labels[half:]).double().numpy())
    same = [float(fidelity(t, honest.network, everywhere)) for t in (honest.taught, honest.truth)]
    notes.append(
        f"{HONEST}: of all scenes a tree taught its answers says the same in {same[0]:.2f}, one taught the "
        f"truth in {same[1]:.2f}"
    )
    least = min(gaps, key=lambda name: gaps[name].value)
    return Result(
        (
            Measure(
                "fidelity where the network is wrong, a tree taught its answers minus one taught the truth, "
                "the network that gains least",
                gaps[least], ">= 0.2 (lower bound)",
                control={
                    "shuffled concepts": extent(shuffled),
                    "honest network, all scenes": honest.gap(fidelity, everywhere),
                    "fooled networks, all scenes": extent(whole), "the tree as the model, accuracy": as_model,
                },
                must={"shuffled concepts": "<= 0.1", "honest network, all scenes": "within 0.05"},
            ),
        ),
        notes=tuple(notes),
        show={"gaps": gaps, "depths": DEPTHS, "curves": curves, "accuracy of the tree": as_model},
    )  # fmt: skip
