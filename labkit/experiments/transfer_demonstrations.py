"""What lab 42 draws beside its claims: pictures that fool another network, a waving square, squares filmed.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.data import CLASSES
from labkit.experiments.attacks_without_the_weights import BOX, DISJOINT, made, random_sign, shown
from labkit.experiments.bench import SEEDS, Bench, answers
from labkit.experiments.measures import Result
from labkit.experiments.printed_squares import OVER, cut_out

Own = Callable[..., Any]
Sheet = tuple[Float[Tensor, "N 3 H W"], list[str]]  # pictures with their titles
TEN = 10


class Attacked(NamedTuple):
    """Pictures, the same after PGD on one network, the same after random signs, and the class of each."""

    images: Float[Tensor, "N 3 H W"]
    attacked: Float[Tensor, "N 3 H W"]
    noisy: Float[Tensor, "N 3 H W"]
    labels: Int[Tensor, " N"]


def attacked(bench: Bench, lesson: int = 24) -> Attacked:
    """Test scenes, attacked by way of the first network's gradient at 8/255."""
    seen = shown(bench, lesson, lesson)
    return Attacked(seen.images, made(bench, bench.network(BOX), seen), random_sign(seen.images), seen.labels)


def words(bench: Bench, name: str, images: Float[Tensor, "N 3 H W"]) -> list[str]:
    """The class that a network names for each picture."""
    return [CLASSES[int(k)] for k in answers(bench.network(name), images)]


def gallery(bench: Bench, seen: Attacked, control: Float[Tensor, "N 3 H W"], count: int = 5) -> Sheet:
    """Rows: the pictures, ten times the change, the attacked ones, those with another picture's change.

    Titles say what a network hears that was not attacked.
    """
    few = slice(0, count)
    change = (0.5 + TEN * (seen.attacked[few] - seen.images[few])).clamp(0, 1)
    rows = [seen.images[few], change, seen.attacked[few], control[few]]
    titles = words(bench, SEEDS[1], rows[0]) + [f"{TEN} x the change"] * len(change)
    return torch.cat(rows), titles + words(bench, SEEDS[1], rows[2]) + words(bench, SEEDS[1], rows[3])


def heard(bench: Bench, images: Float[Tensor, "N 3 H W"]) -> dict[str, Int[Tensor, " N"]]:
    """The answers of two networks that were not attacked: another training, and other data and design."""
    return {name: answers(bench.network(name), images) for name in (SEEDS[1], DISJOINT)}


# ---- a square on a surface that waves


class Waving(NamedTuple):
    """One scene at some moments, and where on it a waving square is seen: arguments of a student's film."""

    pictures: Float[Tensor, "N 3 H W"]
    patch: Float[Tensor, "3 S S"]
    place: Float[Tensor, "N H W 2"]
    light: Float[Tensor, "N 1 H W"]
    mask: Float[Tensor, "N 1 H W"]


def waving(bench: Bench, moments: Sequence[float] = (0.0, 0.25, 0.5, 0.75)) -> Waving:
    """A cloth before a scene, as waves run through it; on it a real bus, cut out of another picture."""
    scene = bench.firsts(1).images
    side = scene.shape[-1]
    line = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(line, line, indexing="ij")
    places, lights, masks = [], [], []
    for moment in moments:
        turn = 2 * math.pi * (0.9 * x + 0.2 * y - moment)
        across = x / 0.72 + 0.05 * torch.cos(turn)
        down = (y + 0.22) / 0.5 + 0.22 * torch.sin(turn)
        edge = torch.minimum(1 - across.abs(), 1 - down.abs())
        places.append(torch.stack([across, down], 2))
        lights.append((0.85 + 0.3 * torch.cos(turn))[None])
        masks.append((edge * side / 4).clamp(0, 1)[None])
    patch = cut_out("bus", count=1, side=64)[0]
    given = torch.stack(places), torch.stack(lights), torch.stack(masks)
    return Waving(scene.expand(len(moments), -1, -1, -1).clone(), patch, *given)


# ---- squares filmed


def strip(
    bench: Bench, found: Result, what: str, title: str = OVER, count: int = 10, name: str = BOX
) -> Sheet:
    """The first unseen views of one square of D4, with what a network says of each.

    ``what``: "crate, bus", "crate, wolf" or "T-shirt, bus"; ``title``: as its controls are named.
    """
    kept = found.show[what]
    views = kept["views"].unseen
    with torch.no_grad():
        pictures = views(kept["squares"][title], range(min(count, views.count)))
    return pictures, words(bench, name, pictures)


def squares(found: Result, what: str) -> Sheet:
    """The squares of D4 themselves, by their names."""
    kept = found.show[what]["squares"]
    return torch.stack(list(kept.values())), list(kept)
