"""What lab 13 draws beside its claims: the student's own ascents, a sheet of units, facets, and the quiz."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.core.statistics import Interval, share
from labkit.experiments.bench import SEEDS, Bench, answers
from labkit.experiments.synthesis_judge import UNITS, bank, codes, units_of
from labkit.experiments.what_excites_a_unit import patches_of
from labkit.models import last_spatial, record, unit
from labkit.optimize import gaussian_blur
from labkit.visualization import visualize_result
from labkit.visualization.facets import k_means

GREY = 0.5
Score = Callable[[Tensor], Tensor]


def grey(count: int, side: int) -> Float[Tensor, "N 3 H W"]:
    """Grey pictures with a little noise, the same every time."""
    noise = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return (GREY + 0.05 * noise).clamp(0, 1)


def class_images(
    bench: Bench, model: nn.Module, targets: Sequence[int], *, ascend: Callable, jittered: Callable
) -> dict[str, Float[Tensor, "N 3 H W"]]:
    """Images of some classes by one's own ascent: bare, with each regularizer, with both, and with jitter."""
    side, steps = getattr(model, "input_size", 128) or 128, bench.steps(80, 2)
    rows, start = torch.arange(len(targets)), grey(len(targets), side)
    draw = torch.Generator().manual_seed(0)

    def score(images: Tensor) -> Tensor:
        return model(images)[rows, list(targets)]

    def moved(images: Tensor) -> Tensor:
        down, right = torch.randint(-8, 9, (2,), generator=draw).tolist()
        return jittered(score, images, down, right)

    def blur(images: Tensor) -> Tensor:
        return gaussian_blur(images, 1.0)

    ways: dict[str, tuple[Score, float, int]] = {
        "bare": (score, 0.0, steps + 1), "decay": (score, 0.03, steps + 1), "blur": (score, 0.0, 2),
        "decay and blur": (score, 0.01, 2), "all, and jitter": (moved, 0.01, 2),
    }  # fmt: skip
    found = {}
    with working("class images", len(ways), "way") as work:
        for name, (way, decay, every) in ways.items():
            found[name] = ascend(way, start, steps, 0.04, decay, blur, every)
            work.at(len(found))
    return found


def sheet(
    bench: Bench, model: nn.Module, layers: Sequence[str], units: int = 6, side: int = 64
) -> dict[str, Float[Tensor, "U 3 H W"]]:
    """The first units of each layer that fire, first layer to last, a picture each."""
    found = {}
    with working("layers", len(layers), "layer") as work:
        for layer in layers:
            with torch.no_grad(), record(model, layer) as kept:
                model(bank(bench.count(24, lesson=24, few=6), "train").images)
            alive = kept[layer].amax((0, 2, 3)).argsort(descending=True)[: units * 4 : 4].tolist()
            made = [
                visualize_result(
                    model, unit(layer, u), side=side, steps=bench.steps(64, 2), progress=lambda _: None
                ).images
                for u in alive[:units]
            ]
            found[layer] = torch.cat(made)
            work.at(len(found))
    return found


def diverse(
    bench: Bench, model: nn.Module, layer: str, channel: int, *, ascend: Callable, diversity_loss: Callable
) -> dict[str, Float[Tensor, "3 3 H W"]]:
    """Three images of one unit by one's own ascent, without and with the price of being alike."""
    diversity_loss(torch.rand(2, 2, 2, 2))  # unwritten: say so at once
    found = {}
    for name, weight in {"each for itself": 0.0, "must differ": 3.0}.items():

        def score(images: Tensor, weight: float = weight) -> Tensor:
            with record(model, layer) as kept:
                model(images)
            features = kept[layer]
            return features[:, channel].mean((1, 2)) - weight * diversity_loss(features)

        found[name] = ascend(
            score, grey(3, 96), bench.steps(80, 2), 0.04, 0.01, lambda x: gaussian_blur(x, 1.0), 2
        )
    return found


def facets(
    bench: Bench, model: nn.Module, channel: int, *, facet_starts: Callable, count: int = 4
) -> tuple[Float[Tensor, "K 3 H W"], Float[Tensor, "K 3 H W"]]:
    """A unit's starts, means of clusters of its top pictures, and what the ascent makes of them."""
    scenes = bank(bench.count(240, lesson=240, few=48), "train")
    with torch.no_grad():
        maps = torch.cat([last_spatial(model, part) for part in scenes.images.split(64)])
    top = maps[:, channel].mean((1, 2)).argsort(descending=True)[: 60 if len(maps) > 100 else 16]
    points, pictures = codes(scenes.images[top], model), scenes.images[top]
    starts = facet_starts(points, pictures, k_means(points, count).centres, 10)
    steps = bench.steps(80, 2)
    made = visualize_result(model, unit(UNITS, channel), start=starts.clamp(0, 1), steps=steps)
    return starts, made.images


# ---- the quiz: is it an illusion?


class Quiz(NamedTuple):
    """For each unit: its ``made`` image, its top ``patches`` (U, 4, 3, p, p), two new pictures (``pairs``:
    (U, 2, 3, H, W)), and ``right``: a letter a unit, A or B."""

    made: Float[Tensor, "U 3 H W"]
    patches: Float[Tensor, "U 4 3 p p"]
    pairs: Float[Tensor, "U 2 3 H W"]
    drives: Float[Tensor, "U 2"]
    right: str


def quiz(bench: Bench, count: int = 6) -> Quiz:
    """Units of the bundled network with the pictures of a guess; the pairs are drawn by lot, not picked."""
    model = bench.network(SEEDS[0])
    old, new = (bank(bench.count(160, lesson=160, few=32), split) for split in ("train", "test"))
    units = units_of(bench, count, count, model, old)
    with torch.no_grad():
        first, then = (
            torch.cat([last_spatial(model, part) for part in scenes.images.split(64)])[:, units]
            for scenes in (old, new)
        )
    draw, steps = torch.Generator().manual_seed(3), bench.steps(100, 2)
    made, patches, pairs, drives = [], [], [], []
    with working("quiz", len(units), "unit") as work:
        for k, channel in enumerate(units):
            tops = first[:, k].amax((1, 2)).topk(4).indices
            patches.append(patches_of(old.images[tops], first[tops, k]))
            two = torch.randperm(len(new.images), generator=draw)[:2]
            pairs.append(new.images[two])
            drives.append(then[two, k].mean((1, 2)))
            found = visualize_result(
                model, unit(UNITS, channel), side=128, steps=steps, progress=lambda _: None
            )
            made.append(found.images[0])
            work.at(k + 1)
    both = torch.stack(drives)
    right = "".join("A" if a > b else "B" for a, b in both.tolist())
    return Quiz(torch.stack(made), torch.stack(patches), torch.stack(pairs), both, right)


def shown_images(asked: Quiz) -> tuple[Float[Tensor, "R 3 H W"], list[str]]:
    """What the first guess is made from: a unit a row of three, its made image and the pictures A and B."""
    rows = [torch.cat([made[None], pair]) for made, pair in zip(asked.made, asked.pairs, strict=True)]
    titles = [f"unit {k + 1}: {what}" for k in range(len(rows)) for what in ("made for it", "A", "B")]
    return torch.cat(rows), titles


def shown_patches(asked: Quiz) -> tuple[Float[Tensor, "R 3 H W"], list[str]]:
    """What the second guess is made from: a unit a row of six, its four top patches, then A and B again."""
    side = asked.pairs.shape[-2:]
    rows = [
        torch.cat([F.interpolate(part, size=side, mode="nearest"), pair])
        for part, pair in zip(asked.patches, asked.pairs, strict=True)
    ]
    what = ("top 1", "top 2", "top 3", "top 4", "A", "B")
    return torch.cat(rows), [f"unit {k + 1}: {one}" for k in range(len(rows)) for one in what]


def marks(asked: Quiz, said: object, reader: Callable[..., Tensor], of: str) -> dict[str, Interval]:
    """The share of right guesses: one's own (letters, one a unit) and the reader's, who sees the same."""
    seen = [codes(made[None])[0] for made in asked.made]
    if of == "patches":
        seen = [codes(part).mean(0) for part in asked.patches]
    pairs: list[Tensor] = [codes(pair) for pair in asked.pairs]
    read = [
        bool(reader(code, pair[:1], pair[1:], drive[:1], drive[1:]) > 0.5)
        for code, pair, drive in zip(seen, pairs, asked.drives, strict=True)
    ]
    found = {"the reader": share(read)}
    letters = [c for c in str(said).upper() if c in "AB"] if said is not ... else []
    if len(letters) == len(asked.right):
        found = {"you": share([a == b for a, b in zip(letters, asked.right, strict=True)])} | found
    return found


def answered(
    asked: Quiz, predictions: Mapping[str, object], reader: Callable[..., Tensor]
) -> dict[str, Interval]:
    """One's own and the reader's shares of right guesses, from the made images and from the patches."""
    ways = {"from the made images": "images", "from the top patches": "patches"}
    return {
        f"{who}, {name}": found
        for name, of in ways.items()
        for who, found in marks(asked, predictions.get(name, ...), reader, of).items()
    }


def named_by(
    models: Mapping[str, nn.Module], ways: Mapping[str, Float[Tensor, "N 3 H W"]], targets: Sequence[int]
) -> list[str]:
    """For each way of making images, the share of them that each network names as was meant."""
    wanted = torch.tensor(list(targets))
    return [
        f"{way:16} " + ", ".join(
            f"named by {name} {float((answers(net, images) == wanted).float().mean()):.2f}"
            for name, net in models.items()
        )
        for way, images in ways.items()
    ]  # fmt: skip
