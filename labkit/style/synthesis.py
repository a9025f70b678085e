"""A texture made anew from a network's Gram matrices: a search among pictures, in pixels or in waves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_positive, check_weight
from labkit.core.door import own_copy, seeded
from labkit.core.hooks import borrow, record
from labkit.core.registry import signature_of
from labkit.optimize import Fourier, Pixels, colour_matrix, minimize, total_variation
from labkit.style.gram import (
    OPTIMIZERS,
    Layers,
    Styled,
    check_varied,
    gram_loss,
    gram_matrix,
    layer_weights,
)

__all__ = ["SPACES", "gram_texture", "gram_texture_result"]

SPACES = ("fourier", "pixels")
RATES = {"lbfgs": 1.0, "adam": 0.05}
_CUT = (
    "layers must depend on the picture by steps that can be differentiated; no gradient reaches it. Remove "
    "detach() or no_grad(), or name earlier layers."
)


def _space(space: str, texture: Tensor, side: tuple[int, int]) -> Fourier | Pixels:
    """The numbers that are searched; waves are mixed by the texture's own colours, if it is in colour."""
    if space == "pixels":
        return Pixels(None)
    if texture.shape[1] != 3:
        return Fourier(side, None)
    colours = colour_matrix(texture)
    return Fourier(side, colours + 0.05 * torch.eye(3).to(colours))


def gram_texture_result(
    model: nn.Module,
    texture: Float[Tensor, "1 C h w"],
    layers: Layers,
    *,
    side: int | tuple[int, int] | None = None,
    space: str = "fourier",
    optimizer: str = "lbfgs",
    steps: int = 10,
    rate: float | None = None,
    tv_weight: float = 0.0,
    on_frame: Callable[[int, Tensor], object] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Styled:
    """``gram_texture`` with its losses (see ``Styled``). Errors as there.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> gram_texture_result(net, torch.rand(1, 3, 12, 12), "1", steps=2).losses.shape
    torch.Size([2])
    """
    check_choice("optimizer", optimizer, OPTIMIZERS)
    check_choice("space", space, SPACES)
    check_positive("steps", steps)
    check_weight("tv_weight", tv_weight)
    check_varied("texture", texture)
    height, width = (side, side) if isinstance(side, int) else side or tuple(texture.shape[2:])
    check_positive("side", height)
    check_positive("the second side", width)
    with borrow(model, frozen=True):
        weights = layer_weights(model, layers, "layers")
        like = own_copy(model, texture)
        spaced = _space(space, like, (height, width))
        noise = torch.randn(1, like.shape[1], height, width, generator=seeded(generator))
        values = spaced.values((0.5 + 0.03 * noise).to(like))

        def grams(images: Tensor) -> dict[str, Tensor]:
            with record(model, *weights) as kept:
                model(images.clone())
            return {layer: kept[layer] for layer in weights}

        with torch.no_grad():
            goals = {layer: gram_matrix(found) for layer, found in grams(like).items()}

        def styled(images: Tensor) -> Tensor:
            found = grams(images)
            losses = [weight * gram_loss(found[layer], goals[layer]) for layer, weight in weights.items()]
            return torch.stack(losses).sum()

        def loss(_: int) -> Tensor:
            images = spaced.picture(values)
            smooth = total_variation(images).sum() / images[0].numel() if tv_weight else 0.0
            return styled(images) + tv_weight * smooth

        def project(_: int) -> None:
            if isinstance(spaced, Pixels):
                spaced.project(values)

        found = minimize(
            [values], loss, steps=steps, rate=rate or RATES[optimizer], optimizer=optimizer, project=project,
            refusal=_CUT, every=1, describe="texture", progress=progress, should_stop=should_stop,
            on_frame=None if on_frame is None else lambda step, _: on_frame(step + 1, spaced.picture(values)),
        )  # fmt: skip
        with torch.no_grad():
            images = spaced.picture(values).clone()
            return Styled(images, found.losses, float(styled(images)), 0.0, found.complete)


@signature_of(gram_texture_result)
def gram_texture(*args: Any, **options: Any) -> Float[Tensor, "1 C H W"]:
    """A new picture with a texture's Gram matrices: which channels fire together, and nothing of where.

    From grey with a little noise the picture of ``side`` (or height and width; None: the texture's) is sought
    whose Gram matrices at ``layers`` (a name, several, or names with weights, made to add to 1) are those of
    ``texture``; the loss is the squared distance of each over the squared length of the texture's own.
    ``space``: what is searched, "fourier" (waves scaled by their length, in the texture's own colours) or
    "pixels" (kept in [0, 1]), where a small network's texture is full of noise that it does not see.
    ``optimizer``: "lbfgs" (each step up to 20 evaluations) or "adam", for ``steps`` at ``rate``.
    ``tv_weight``: of the mean total variation. ``on_frame``: told the steps done and the picture.
    ``generator``: of the noise (None: seed 0). A loss below that of another crop of the same texture is no
    better picture: it copies, the more so where the Gram matrices hold more numbers than the picture does.
    Raises ValueError for layers that are no feature map, several textures, one of one colour (of rank one)
    and bad options, TypeError for layers that are no names, KeyError for wrong ones, RuntimeError for a model
    in training mode.

    Unit: picture value. Labels: post hoc, specific to differentiable models, local.
    Source: Gatys, Ecker and Bethge 2015, "Texture Synthesis Using Convolutional Neural Networks"; they search
    pixels of a large network's. The waves are those of Olah, Mordvintsev and Schubert 2017.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> gram_texture(net, torch.rand(1, 3, 12, 12), "1", steps=2).shape
    torch.Size([1, 3, 12, 12])
    """
    return gram_texture_result(*args, **options).images
