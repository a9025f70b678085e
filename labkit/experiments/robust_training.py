"""Training on attacks, lab 43: accuracy under PGD beside that of training on noise (D6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.adversarial import fgsm_result, pgd_result
from labkit.adversarial.attacks import slope_of_loss
from labkit.adversarial.iterative import project
from labkit.attribution import saliency
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import Scenes
from labkit.evaluation import area_share, edge_map, energy_inside
from labkit.experiments.bench import Bench, answers, experiment, extent, right
from labkit.experiments.defences_and_how_they_fall import LAB, STEPS, in_parts, weakest
from labkit.experiments.measures import Measure, Result
from labkit.models import borrow

SIZES = {"4/255": 4 / 255, "8/255": 8 / 255}  # the size trained on, and one never seen
RESTARTS = 3
TRAINED = {  # by training the networks of two seeds
    "clean": ("minivgg", "minivgg-2"),
    "attacks": ("minivgg-robust", "minivgg-robust-2"),
    "noise": ("minivgg-noise", "minivgg-noise-2"),
    "FGSM only": ("minivgg-fgsm",),
}
Own = Callable[..., Any]


class Stood(NamedTuple):
    """``answers`` (1 + R, N): the class named of each clean picture and after each restart; ``images`` as the
    last restart left them; ``dead``: how many pictures never had a gradient."""

    answers: Int[Tensor, "R N"]
    images: Float[Tensor, "N C H W"]
    dead: int


def under_attack(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    labels: Int[Tensor, " N"],
    epsilon: float,
    *,
    steps: int = STEPS,
    restarts: int = RESTARTS,
) -> Stood:
    """PGD from random beginnings; a picture that is fooled at any step is left alone from there on."""
    own = torch.Generator().manual_seed(0)
    made, alive = images.clone(), torch.zeros(len(images), dtype=torch.bool)
    told = [answers(model, images)]
    step = 2.5 * epsilon / steps
    with borrow(model):
        for _ in range(restarts):
            told.append(_wrong(torch.stack(told), labels))
            fooled = told[-1] != labels
            for rows in torch.arange(len(images))[~fooled].split(50):
                noise = 2 * torch.rand(images[rows].shape, generator=own) - 1
                made[rows] = project(images[rows] + epsilon * noise, images[rows], epsilon)
                left = rows
                for number in range(steps + 1):
                    slope = slope_of_loss(model, made[left], labels[left])
                    told[-1][left] = slope.named
                    alive[left] |= (slope.gradient != 0).flatten(1).any(1)
                    still = slope.named == labels[left]
                    left, gradient = left[still], slope.gradient[still]
                    if number == steps or not len(left):
                        break
                    made[left] = project(made[left] + step * gradient.sign(), images[left], epsilon)
    started = told[0] == labels
    return Stood(torch.stack(told), made, int((started & ~alive).sum()))


def _wrong(named: Int[Tensor, "R N"], labels: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Of each picture the last wrong class that was named, or its label where there was none."""
    last = labels.clone()
    for row in named:
        last = torch.where(row != labels, row, last)
    return last


@experiment("D6", LAB, robust_accuracy="adversarial.robust_accuracy")
def d6(bench: Bench, *, robust_accuracy: Own) -> Result:
    """Does training on attacks help where training on noise of the same size and steps does not?"""
    robust_accuracy(torch.zeros(2, 2), torch.zeros(2))  # unwritten: say so at once
    drawn = bench.scenes(200, lesson=24)
    x, y = drawn.images, drawn.labels
    steps, restarts = bench.steps(STEPS, few=2), 1 if bench.quick else RESTARTS
    seeds = 2 if bench.mode == "full" else 1
    stood = {
        (name, size): under_attack(bench.network(name), x, y, epsilon, steps=steps, restarts=restarts)
        for names in TRAINED.values()
        for name in names[:seeds]
        for size, epsilon in SIZES.items()
    }

    def accuracy(name: str, size: str) -> Interval:
        return share(_standing(stood[name, size], y).numpy())

    def gain(way: str, size: str, seed: int) -> Interval:
        own, clean = stood[TRAINED[way][seed], size].answers, stood[TRAINED["clean"][seed], size].answers
        rows = torch.cat([own.T, clean.T, y[:, None]], 1).numpy()
        k = len(own)

        def difference(part: Any) -> float:
            told = torch.as_tensor(part).T
            return float(robust_accuracy(told[:k], told[-1]) - robust_accuracy(told[k:-1], told[-1]))

        return bootstrap(rows, difference)

    measures = []
    for size, epsilon in SIZES.items():
        control = {
            "trained on noise, minus clean": weakest([gain("noise", size, s) for s in range(seeds)], True)
        }
        control["trained on FGSM only, minus clean"] = gain("FGSM only", size, 0)
        for way, names in TRAINED.items():
            control[f"under PGD, trained on {way}"] = extent(accuracy(n, size) for n in names[:seeds])
        measures.append(
            Measure(
                f"accuracy under PGD at {size}, trained on attacks minus clean",
                weakest([gain("attacks", size, s) for s in range(seeds)]), ">= 0.3",
                control=control, must={"trained on noise, minus clean": "< 0.3 (upper bound)"},
            )
        )  # fmt: skip
    moved = [_transferred(bench, x, y, s, stood[TRAINED["attacks"][s], "4/255"]) for s in range(seeds)]
    measures.append(
        Measure(
            "errors by transfer minus errors by PGD, trained on attacks, 4/255", weakest(moved, True), "<= 0"
        )
    )
    once = in_parts(
        lambda p, t: fgsm_result(bench.network("minivgg-fgsm"), p, t, epsilon=SIZES["4/255"]).images, x, y
    )
    fast = share(right(bench.network("minivgg-fgsm"), once, y).numpy())
    plain = {
        f"clean pictures, trained on {way}": extent(
            share((stood[n, "4/255"].answers[0] == y).numpy()) for n in names[:seeds]
        )
        for way, names in TRAINED.items()
    }
    inside = _inside(bench, drawn, seeds)
    measures[0] = Measure(
        measures[0].what, measures[0].value, measures[0].threshold,
        control={**measures[0].control, "under FGSM, trained on FGSM only": fast, **plain, **inside},
        must=measures[0].must,
    )  # fmt: skip
    dead = sum(found.dead for found in stood.values())
    return Result(
        tuple(measures),
        notes=(
            f"pictures whose gradient was exactly zero in every step: {dead}",
            "a picture counts as robust that is named rightly as it is and after each of "
            f"{restarts} restarts; one that is fooled at any step is not",
        ),
        show={
            "accuracy": {
                f"trained on {way}, {size}": extent(accuracy(n, size) for n in names[:seeds])
                for way, names in TRAINED.items()
                for size in SIZES
            },
            "inside": inside,
        },
    )


def _standing(found: Stood, labels: Int[Tensor, " N"]) -> Tensor:
    return (found.answers == labels).all(0)


def _transferred(bench: Bench, x: Tensor, y: Tensor, seed: int, own: Stood) -> Interval:
    """Errors by pictures made on the other network trained on attacks, minus those by PGD on its own."""
    name, other = TRAINED["attacks"][seed], TRAINED["attacks"][1 - seed]
    steps = bench.steps(STEPS, few=2)
    made = in_parts(
        lambda p, t: pgd_result(
            bench.network(other), p, t, epsilon=epsilon, steps=steps, progress=lambda share: None
        ).images,
        x, y,
    )  # fmt: skip
    wrong = ~right(bench.network(name), made, y)
    return bootstrap(wrong.double().numpy() - (~_standing(own, y)).double().numpy())


def _inside(bench: Bench, drawn: Scenes, seeds: int) -> dict[str, Interval]:
    """The share of the gradient's size that lies on the object, beside what needs no network."""
    few = min(len(drawn.labels), 100)
    x, y, masks = drawn.images[:few], drawn.labels[:few], drawn.masks[:few]

    def on_object(name: str) -> Interval:
        maps = in_parts(partial(saliency, bench.network(name)), x, y)
        return bootstrap(energy_inside(maps, masks).numpy())

    found = {
        f"gradient on the object, trained on {way}": extent(on_object(name) for name in names[:seeds])
        for way, names in TRAINED.items()
    }
    blind = {"edges on the object": energy_inside(edge_map(x), masks), "the object's area": area_share(masks)}
    return found | {what: bootstrap(rows.numpy()) for what, rows in blind.items()}
