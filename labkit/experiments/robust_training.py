"""Training on attacks, lab 43: accuracy under PGD beside that of training on noise (D6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.adversarial import fgsm_result, pgd_result
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


def _slopes(model: nn.Module, at: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the loss and the classes named, both found in bfloat16: a third of the time."""
    at = at.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
    with torch.enable_grad(), torch.autocast(at.device.type, torch.bfloat16):
        scores = model(at).float()
        loss = nn.functional.cross_entropy(scores, labels, reduction="sum")
    return torch.autograd.grad(loss, at)[0], scores.argmax(1)


def under_attack(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    labels: Int[Tensor, " N"],
    epsilon: float,
    *,
    steps: int = STEPS,
    restarts: int = RESTARTS,
) -> Stood:
    """PGD from random beginnings; a picture that is fooled at any step is left alone from there on.

    The way is sought in bfloat16; whether a picture fools is asked of the network as it is.
    """
    own = torch.Generator().manual_seed(0)
    made, alive = images.clone(), torch.zeros(len(images), dtype=torch.bool)
    told = [answers(model, images)]
    step = 2.5 * epsilon / steps
    with borrow(model):
        for _ in range(restarts):
            told.append(_wrong(torch.stack(told), labels))
            for left in torch.arange(len(images))[told[-1] == labels].split(50):
                noise = 2 * torch.rand(images[left].shape, generator=own) - 1
                made[left] = project(images[left] + epsilon * noise, images[left], epsilon)
                for number in range(steps + 1):
                    slope, named = _slopes(model, made[left], labels[left])
                    alive[left] |= (slope != 0).flatten(1).any(1)
                    asked = left if number == steps else left[named != labels[left]]
                    if len(asked):
                        told[-1][asked] = answers(model, made[asked])
                    still = told[-1][left] == labels[left]
                    left, slope = left[still], slope[still]
                    if number == steps or not len(left):
                        break
                    made[left] = project(made[left] + step * slope.sign(), images[left], epsilon)
    return Stood(torch.stack(told), made, int(((told[0] == labels) & ~alive).sum()))


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

    fast = bench.network("minivgg-fgsm")
    once = in_parts(lambda p, t: fgsm_result(fast, p, t, epsilon=SIZES["4/255"]).images, x, y)
    inside = _inside(bench, drawn, seeds)
    beside = {"under FGSM, trained on FGSM only": share(right(fast, once, y).numpy())}
    for way, names in TRAINED.items():
        clean = [stood[name, "4/255"].answers[0] == y for name in names[:seeds]]
        beside[f"clean pictures, trained on {way}"] = extent(share(hits.numpy()) for hits in clean)
    measures = []
    for size in SIZES:
        blind = [gain("noise", size, seed) for seed in range(seeds)]
        control = {"trained on noise, minus clean": weakest(blind, True)}
        control |= {"trained on FGSM only, minus clean": gain("FGSM only", size, 0)}
        for way, names in TRAINED.items():
            control[f"under PGD, trained on {way}"] = extent(accuracy(n, size) for n in names[:seeds])
        measures.append(
            Measure(
                f"accuracy under PGD at {size}, trained on attacks minus clean",
                weakest([gain("attacks", size, seed) for seed in range(seeds)]), ">= 0.3",
                control=control | (beside | inside if size == "4/255" else {}),
                must={"trained on noise, minus clean": "< 0.3 (upper bound)"},
            )
        )  # fmt: skip
    moved = [_transferred(bench, x, y, s, stood[TRAINED["attacks"][s], "4/255"]) for s in range(seeds)]
    measures.append(
        Measure(
            "errors by transfer minus errors by PGD, trained on attacks, 4/255", weakest(moved, True), "<= 0"
        )
    )
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
    name, other = (bench.network(TRAINED["attacks"][one]) for one in (seed, 1 - seed))
    options: dict[str, Any] = {"epsilon": SIZES["4/255"], "steps": bench.steps(10, few=2)}
    options["progress"] = lambda share: None
    made = in_parts(lambda p, t: pgd_result(other, p, t, **options).images, x, y)
    wrong = ~right(name, made, y)
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
