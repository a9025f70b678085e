"""What lab 41 draws beside its claims: what a network says, errors over epsilon, one scene made many classes.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.evaluation import other_pictures
from labkit.experiments.bench import SEEDS, Bench, answers
from labkit.experiments.fooling_a_network import (
    GREY,
    Named,
    another_class,
    in_parts,
    named,
    random_sign,
    wrong,
)
from labkit.experiments.measures import Result

Own = Callable[..., Any]
LEVELS = (0, 1, 2, 4, 8, 16, 32)  # grey levels


def named_so(
    model: nn.Module, images: Float[Tensor, "N 3 H W"], labels: Int[Tensor, " N"], n: int = 6
) -> Named:
    """The first ``n`` pictures that the network names as their labels say."""
    kept = answers(model, images) == labels
    return Named(images[kept][:n], labels[kept][:n])


def says(model: nn.Module, images: Float[Tensor, "N 3 H W"]) -> list[str]:
    """What the network names each picture, and how sure it is: "bus .98"."""
    with torch.no_grad():
        sure, best = model(images).softmax(1).max(1)
    return [
        f"{name} {float(p):.2f}".replace(" 0.", " .")
        for name, p in zip(names(model, best), sure, strict=True)
    ]


def others(
    model: nn.Module, labels: Int[Tensor, " N"], *names: str, seed: int = 0
) -> Int[Tensor, " N"]:  # fmt: skip
    """The classes of these names, in turn, where the network has them; else one by lot, never the label."""
    lot = another_class(labels, len(model.classes), seed)  # type: ignore[arg-type]
    classes = [str(name) for name in model.classes]  # type: ignore[union-attr]
    for k in range(len(labels)):
        name = names[k % len(names)] if names else ""
        if name in classes and classes.index(name) != int(labels[k]):
            lot[k] = classes.index(name)
    return lot


def names(model: nn.Module, classes: Int[Tensor, " N"]) -> list[str]:
    """The names of classes, short: up to the first comma."""
    return [str(model.classes[int(k)]).split(",")[0] for k in classes]  # type: ignore[index]


def count_wrong(model: nn.Module, images: Float[Tensor, "N 3 H W"], labels: Int[Tensor, " N"]) -> str:
    """How many pictures the network names otherwise than their labels: "5 of 6"."""
    return f"{int(wrong(model, images, labels).sum())} of {len(images)}"


def with_noise(images: Float[Tensor, "N 3 H W"], epsilon: float) -> Float[Tensor, "N 3 H W"]:
    """The pictures with every value up or down by ``epsilon``, by lot."""
    return random_sign(images, epsilon)


class Errors(NamedTuple):
    """``levels``: sizes of a step in grey levels; ``lines``: by its way the share of ``scenes`` misread."""

    levels: tuple[int, ...]
    lines: dict[str, list[float]]
    scenes: int

    @property
    def axes(self) -> dict[str, str]:
        """How curves over the levels are labelled: at equal distances, though each is twice the last."""
        return {
            "xlabel": "epsilon, grey levels (doubled from 1 on)",
            "ylabel": f"share of {self.scenes} scenes misread",
        }


def errors_over_epsilon(bench: Bench, *, fgsm: Own, borrowed_step: Own) -> Errors:
    """The share misread over the size of the step, of the student's FGSM and of its controls."""
    tiny, one = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval(), torch.rand(2, 3, 1, 1)
    both = torch.tensor([0, 1])
    fgsm(tiny, one, both, 0.1)  # unwritten: say so at once
    borrowed_step(tiny, one, both, both.flip(0), 0.1)
    if bench.guest is not None:
        model = bench.guest[0]
        images = bench.guest[1][: bench.count(8, lesson=8)]
        seen = Named(images, answers(model, images))
    else:
        model, seen = bench.network(SEEDS[0]), named(bench, SEEDS[0], 24, lesson=24)
    images, labels = seen
    order = other_pictures(len(images))
    ways: dict[str, Callable[[float], Tensor]] = {
        "FGSM": lambda e: in_parts(lambda p, t: fgsm(model, p, t, e), images, labels, size=8),
        "another picture's signs": lambda e: borrowed_step(model, images, labels, order, e),
        "signs by lot": lambda e: random_sign(images, e),
        "blocks by lot": lambda e: random_sign(images, e, "blocks"),
    }
    lines: dict[str, list[float]] = {}
    with working("steps of all sizes", len(ways) * len(LEVELS), "size") as work:
        for way, step in ways.items():
            for level in LEVELS:
                share = float(wrong(model, step(level * GREY), labels).mean())
                lines.setdefault(way, []).append(share)
                work.at(sum(map(len, lines.values())))
    return Errors(LEVELS, lines, len(images))


def fooled_by(
    model: nn.Module, image: Float[Tensor, "3 H W"], wanted: int, steps: int, *, toward: Own
) -> Callable[[float], bool]:
    """Of one picture and class: a function of an epsilon, whether the student's loop of this size fools."""

    def fools(epsilon: float) -> bool:
        target = torch.tensor([int(wanted)])
        return bool((answers(model, toward(model, image[None], target, epsilon, steps)[0]) == target).all())

    return fools


def read_elsewhere(found: Result) -> str:
    """What D2 found of another network that is shown the pictures, in the words of the question."""
    carried = found.measures[0].control["another seed, all 20 steps"]
    return (
        f"another network names the class wanted in a share of {carried.value:.2f} of few pictures here "
        f"(95% interval {carried.low:.2f} to {carried.high:.2f}); in full: the table's last column, "
        "another seed"
    )
