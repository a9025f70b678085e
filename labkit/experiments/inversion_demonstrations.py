"""What lab 51 draws beside its claims: roughness, inversions by layer, one step of a dream, dreams by layer.

A function that takes a student's calls it on something tiny before it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.experiments.bench import Bench
from labkit.experiments.dreaming_layers import dreamt
from labkit.experiments.inverting_and_dreaming import (
    LAYERS,
    STEPS,
    correlation_of,
    features_of,
    inverted,
    written,
)
from labkit.models import borrow, record
from labkit.models.minivgg import MiniVGG
from labkit.optimize import gaussian_blur

Own = Callable[..., Any]
OCTAVE = 1.4  # how many times as large the next size is


class Row(NamedTuple):
    """Pictures with their titles, as a contact sheet takes them."""

    images: Float[Tensor, "N 3 H W"]
    titles: list[str]


def layers_of(model: nn.Module, images: Float[Tensor, "N 3 H W"]) -> dict[str, str]:
    """Four layers from early to late, with short names: of a guest those that change the map, spread."""
    if isinstance(model, MiniVGG):
        return LAYERS
    parts, classes = dict(model.named_modules()), len(getattr(model, "classes", ()))
    wanted = [
        name for name, part in parts.items()
        if name and ("ReLU" in type(part).__name__ or any(part.children()))
    ]  # fmt: skip
    with borrow(model), torch.no_grad(), record(model, *wanted) as kept:
        model(images[:1].clone())
    shapes = {name: tuple(kept[name].shape) for name in wanted if isinstance(kept.get(name), Tensor)}
    maps = [
        name for name, shape in shapes.items() if len(shape) == 4 and shape[-1] > 1 and shape[1] != classes
    ]
    # blocks of one depth of names, the shallowest at which there are some
    depths = [name.count(".") for name in maps]
    many = [depth for depth in sorted(set(depths)) if depths.count(depth) >= 4]
    row = [name for name, depth in zip(maps, depths, strict=True) if not many or depth == many[0]]
    if not row:
        raise ValueError("model must have layers that give feature maps (N, K, h, w), ReLUs or blocks.")
    chosen = [row[round(k * (len(row) - 1) / 4)] for k in (1, 2, 3, 4)]
    return {name: name for name in dict.fromkeys(chosen)}


def roughness(pictures: Float[Tensor, "N 3 H W"], *, total_variation: Own) -> dict[str, float]:
    """The total variation of a picture, of its blur, of the picture with noise, and of noise alone."""
    first = pictures[:1]
    noise = torch.rand(first.shape, generator=torch.Generator().manual_seed(0))
    kinds = {
        "the picture": first, "blurred": gaussian_blur(first, 2.0),
        "with a little noise": (first + 0.2 * (noise - 0.5)).clamp(0, 1), "noise": noise,
    }  # fmt: skip
    return {name: float(total_variation(image, 2)) for name, image in kinds.items()}


def inversions(
    bench: Bench, model: nn.Module, pictures: Float[Tensor, "N 3 H W"], tv_weight: float = 1.0,
    *, total_variation: Own, inversion_loss: Own, search: Own,
) -> Row:  # fmt: skip
    """Each picture, and beside it its inversion at four layers by the student's functions."""
    own = {"total_variation": total_variation, "inversion_loss": inversion_loss, "search": search}
    written(**own, correlation=correlation_of)
    layers = layers_of(model, pictures)
    columns = [pictures] + [
        inverted(model, layer, pictures, tv_weight, bench.steps(STEPS, 2), **own)[0]
        for layer in layers.values()
    ]
    images = torch.stack(columns, 1).flatten(0, 1)
    return Row(images, ["the picture", *layers] * len(pictures))


def one_step(
    model: nn.Module, pictures: Float[Tensor, "N 3 H W"], *, dream_step: Own, rate: float = 0.01
) -> dict[str, list[float]]:
    """The length of four layers for the first picture, before and after one step of each of them."""
    found = {}
    with borrow(model, frozen=True):
        for name, layer in layers_of(model, pictures).items():
            seen_by = features_of(model, layer)
            made = dream_step(seen_by, pictures[:1], rate)
            with torch.no_grad():
                found[name] = [float(seen_by(images.clone()).norm()) for images in (pictures[:1], made)]
    return found


def sides_of(pictures: Float[Tensor, "N 3 H W"], count: int = 3) -> list[tuple[int, int]]:
    """The sizes of so many octaves, the smallest first, the pictures' own last."""
    height, width = pictures.shape[2:]
    return [(round(height / OCTAVE**k), round(width / OCTAVE**k)) for k in range(count)][::-1]


def dreams(
    bench: Bench, model: nn.Module, pictures: Float[Tensor, "N 3 H W"], steps: int = 4,
    *, dream_step: Own, octaves: Own,
) -> Row:  # fmt: skip
    """Each picture, and beside it its dreams of four layers by the student's functions."""
    octaves(lambda images: dream_step(lambda x: x, images, 0.1), F.avg_pool2d(pictures[:1], 8), [(8, 8)], 1)
    layers, sides = layers_of(model, pictures), tuple(sides_of(pictures))
    columns = [pictures] + [
        dreamt(
            model, layer, pictures, bench.steps(steps, 1), dream_step=dream_step, octaves=octaves, sides=sides
        )
        for layer in layers.values()
    ]
    images = torch.stack(columns, 1).flatten(0, 1)
    return Row(images, ["the picture", *layers] * len(pictures))


def beside_controls(show: dict[str, Any], layer: str) -> Row:
    """Of claim S2: one picture, its dream, and the other changes of the same size."""
    kept = show["dreams"][layer]
    return Row(
        torch.stack([show["pictures"][0], *(images[0] for images in kept.values())]), ["the picture", *kept]
    )


def over_weights(show: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Of claim S1: by layer the feature error, and the correlation, over the weights of the variation."""
    return {
        what: {layer: found[what] for layer, found in show["curve"].items()}
        for what in ("error", "correlation")
    }
