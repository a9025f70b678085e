"""What lab 43 draws beside its claims: a few steps of training on attacks, curves over epsilon, gradients.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.attribution import saliency
from labkit.core.progress import working
from labkit.core.statistics import Interval, share
from labkit.evaluation import edge_map, energy_inside
from labkit.experiments.bench import Bench, right
from labkit.experiments.defences_and_how_they_fall import in_parts, random_sign
from labkit.experiments.heatmap_defence import heatmap_defence
from labkit.experiments.robust_training import TRAINED, under_attack

Own = Callable[..., Any]
GREYS = (0, 1, 2, 4, 6, 8, 12)  # grey levels, of the curves over epsilon


def wrong(model: nn.Module, images: Float[Tensor, "N 3 H W"], labels: Int[Tensor, " N"]) -> str:
    """How many pictures a network misreads, in words."""
    return f"{int((~right(model, images, labels)).sum())} of {len(labels)} misread"


class Course(NamedTuple):
    """``updates``: after how many it was asked; ``losses`` by what was shown, of new pictures under attack;
    ``accuracy``: of them under attack, at the end, and "before"."""

    updates: list[int]
    losses: dict[str, list[float]]
    accuracy: dict[str, float]


def train_a_little(
    bench: Bench,
    *,
    climb: Own,
    hardened: Own,
    updates: int = 12,
    epsilon: float = 4 / 255,
    rate: float = 0.02,
) -> Course:
    """The plain network, some steps of the student's training on: on the student's attacks, and on noise."""

    def surprise(scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels, reduction="none")

    def on_attacks(model: nn.Module, images: Tensor, labels: Tensor, steps: int = 2) -> Tensor:
        return climb(model, surprise, images, labels, epsilon, steps)

    def on_noise(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return random_sign(images, epsilon)

    line = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    hardened(line, on_attacks, torch.rand(1, 3, 2, 2), torch.tensor([0]), 0.1)  # unwritten: say so at once
    updates, size, every = bench.steps(updates, few=2), 6 if bench.quick else 24, 1 if bench.quick else 3
    drawn = bench.scenes(4 * size, "train", lesson=4 * size)
    new = bench.scenes(16, lesson=16)
    losses: dict[str, list[float]] = {"attacks": [], "noise": []}
    found: dict[str, float] = {}

    def judged(model: nn.Module) -> tuple[float, float]:
        made = in_parts(lambda p, t: on_attacks(model, p, t, 3), new.images, new.labels)
        with torch.no_grad():
            loss = float(F.cross_entropy(model(made), new.labels))
        return loss, float(right(model, made, new.labels).double().mean())

    with working("training", 2 * updates, "update") as work:
        for number, (shown, attack) in enumerate({"attacks": on_attacks, "noise": on_noise}.items()):
            model = copy.deepcopy(bench.network("minivgg"))
            first, found["before"] = judged(model)
            losses[shown].append(first)
            for update in range(updates):
                rows = torch.arange(update * size, (update + 1) * size) % len(drawn.labels)
                weights = hardened(model, attack, drawn.images[rows], drawn.labels[rows], rate)
                with torch.no_grad():
                    for weight, value in zip(model.parameters(), weights, strict=True):
                        weight.copy_(value)
                if (update + 1) % every == 0:
                    loss, found[shown] = judged(model)
                    losses[shown].append(loss)
                work.at(number * updates + update + 1)
    return Course(list(range(0, updates + 1, every)), losses, found)


def curves(bench: Bench, *, robust_accuracy: Own) -> tuple[Sequence[int], dict[str, list[Interval]]]:
    """Robust accuracy over epsilon, in grey levels, of every way of training (in full of every network)."""
    robust_accuracy(torch.zeros(2, 2), torch.zeros(2))  # unwritten: say so at once
    drawn = bench.scenes(100, lesson=24)
    greys = GREYS[::3] if bench.quick else GREYS
    steps = bench.steps(10, few=2)
    lines: dict[str, list[Interval]] = {}
    names = [(way, name) for way, of in TRAINED.items() for name in (of if bench.mode == "full" else of[:1])]
    with working("curves", len(names), "network") as work:
        for way, name in names:
            points = []
            for grey in greys:
                found = under_attack(
                    bench.network(name), drawn.images, drawn.labels, grey / 255, steps=steps, restarts=1
                )
                value = float(robust_accuracy(found.answers, drawn.labels))
                around = share((found.answers == drawn.labels).all(0).numpy())
                points.append(around._replace(value=value))
            lines[f"trained on {way}{', other seed' if name.endswith('-2') else ''}"] = points
            work.at(len(lines))
    return greys, lines


class Gradients(NamedTuple):
    """``images`` (N, 3, H, W), ``maps`` by network; ``inside``: the mean share of each on the object."""

    images: Float[Tensor, "N 3 H W"]
    maps: dict[str, Float[Tensor, "N H W"]]
    inside: dict[str, float]


def gradients(bench: Bench, count: int = 5) -> Gradients:
    """The gradients of networks trained on clean pictures, noise and attacks, beside what edges show."""
    drawn = bench.scenes(30, lesson=30)
    maps = {"edges, no network": edge_map(drawn.images)}
    for way in ("clean", "noise", "attacks"):
        model = bench.network(TRAINED[way][0])
        maps[f"trained on {way}"] = in_parts(partial(saliency, model), drawn.images, drawn.labels)
    inside = {way: float(energy_inside(found, drawn.masks).mean()) for way, found in maps.items()}
    return Gradients(drawn.images[:count], {way: found[:count] for way, found in maps.items()}, inside)


def detectors(bench: Bench) -> tuple[Float[Tensor, "R C"], list[str], list[str]]:
    """Values, rows and columns of a table: what each detector of attacks is worth, and what gets past it."""
    columns = ["AUC, PGD", "AUC, PGD on both", "gets past, PGD", "gets past, PGD on both", "false alarms"]
    found = heatmap_defence(bench)
    print(f"pixels for which the map's alarm has a gradient of exactly 0: {found['map'].dead:.0%}")
    values = [[*one.auc.values(), *one.fooled.values(), one.clean] for one in found.values()]
    table = torch.tensor([[value.value for value in row] for row in values])
    return table, [f"looks at the {by}" for by in found], columns
