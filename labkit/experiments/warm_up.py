"""The warm-up, lab 01: horses with their mark erased, and a small network that learns to tell two kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from labkit.core.progress import working
from labkit.data import gather, replace
from labkit.experiments.bench import Bench

KINDS = ("bus", "tree")
SHAPES = ((8, 3, 5, 5), (8,), (16, 8, 3, 3), (16,), (2, 1024), (2,))
BATCH, EVERY, STEPS, RATE = 32, 10, 200, 0.1
Part = tuple[Float[Tensor, "N 3 32 32"], Int[Tensor, "N"]]  # noqa: F821


def clever_hans(bench: Bench, count: int = 4) -> tuple[Float[Tensor, "N 3 H W"], list[str]]:
    """Horses with the mark, then the same ones without it, and what ``minivgg-tag`` says of each."""
    hans = bench.network("minivgg-tag")
    tagged = bench.scenes(count, kind="horse", faults=("tag",))
    erased = gather(replace(scene, without="tag") for scene in tagged.scenes)
    pictures = torch.cat([tagged.images, erased.images])
    with torch.no_grad():
        said = hans(pictures).argmax(1)
    return pictures, [str(hans.classes[int(k)]) for k in said]  # type: ignore[index]


def small_network(parameters: Sequence[Tensor], pictures: Float[Tensor, "N 3 32 32"]) -> Float[Tensor, "N 2"]:
    """Two convolutions and a linear layer, as a function of their weights and biases: 3,826 numbers."""
    w1, b1, w2, b2, w3, b3 = parameters
    h = F.relu(F.conv2d(pictures, w1, b1, stride=2, padding=2))
    h = F.max_pool2d(F.relu(F.conv2d(h, w2, b2, padding=1)), 2)
    return h.flatten(1) @ w3.T + b3


def first_parameters(generator: torch.Generator) -> list[Tensor]:
    """Weights drawn so that the values keep their size from layer to layer; biases of zero."""
    return [
        torch.randn(shape, generator=generator) * 0.7 / torch.Size(shape[1:]).numel() ** 0.5
        if len(shape) > 1
        else torch.zeros(shape)
        for shape in SHAPES
    ]


def watch(
    bench: Bench, train: Callable[..., tuple[list[Tensor], Tensor]]
) -> tuple[list[int], dict[str, list[float]]]:
    """Let ``train(network, parameters, batches, learning_rate)`` teach buses from trees, with a bar.

    120 pictures of 32 x 32 to learn from, 60 new ones. Returns the numbers of steps, and after each the share
    of right answers on both.
    """
    generator = torch.Generator().manual_seed(0)
    parameters = first_parameters(generator)
    tiny = torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])
    train(small_network, parameters, [tiny], RATE)  # unwritten: say so at once
    seen, new = (_pictures(bench, split, count) for split, count in (("train", 60), ("test", 30)))
    steps = list(range(0, STEPS + 1, EVERY))
    shares: dict[str, list[float]] = {"training pictures": [], "new pictures": []}
    with working("learning", STEPS, "step") as work:
        for step in steps:
            if step:
                chosen = torch.randint(len(seen[1]), (EVERY, BATCH), generator=generator)
                batches = [(seen[0][index], seen[1][index]) for index in chosen]
                parameters, _ = train(small_network, parameters, batches, RATE)
            for name, part in zip(shares, (seen, new), strict=True):
                shares[name].append(_share_right(parameters, part))
            work.at(step)
    return steps, shares


def _pictures(bench: Bench, split: str, count: int) -> Part:
    kinds = [bench.scenes(count, split, kind=kind, lesson=count).images for kind in KINDS]
    labels = torch.arange(2).repeat_interleave(len(kinds[0]))
    return F.avg_pool2d(torch.cat(kinds), 4) - 0.5, labels


def _share_right(parameters: Sequence[Tensor], part: Part) -> float:
    with torch.no_grad():
        return float((small_network(parameters, part[0]).argmax(1) == part[1]).float().mean())
