"""Adversarial patch: a piece of a picture that fools wherever, however turned and however large it is put."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_images, check_positive
from labkit.core.door import asked, seeded
from labkit.core.registry import signature_of
from labkit.core.targets import as_logits, class_indices
from labkit.optimize import minimize

__all__ = ["Patch", "Placing", "adversarial_patch", "adversarial_patch_result", "draw_placing", "paste"]

SHAPES = ("disc", "square")
_CUT = (
    "target must depend on the picture by steps that can be differentiated; no gradient reaches the patch. "
    "Learn it on a network like it, and try it here."
)


class Placing(NamedTuple):
    """Where a patch lies in each picture, how large and how turned: ``x``, ``y`` (N,): its middle, as shares
    of width and height; ``size`` (N,): its side, as a share of the picture's shorter side; ``angle`` (N,) in
    degrees against the clock; ``light`` (N,): what its values are multiplied by."""

    x: Float[Tensor, " N"]
    y: Float[Tensor, " N"]
    size: Float[Tensor, " N"]
    angle: Float[Tensor, " N"]
    light: Float[Tensor, " N"]


class Patch(NamedTuple):
    """``patch`` (C, S, S), 0 to 1; ``shape``: "disc" or "square"; ``losses`` (T,) of the search: the mean
    cross entropy of the class wanted; ``complete``: False if ``should_stop`` ended it."""

    patch: Float[Tensor, "C S S"]
    shape: str
    losses: Float[Tensor, " T"]
    complete: bool


def draw_placing(
    count: int,
    *,
    size: tuple[float, float] = (0.25, 0.4),
    angle: float = 30.0,
    light: float = 0.15,
    generator: torch.Generator | None = None,
) -> Placing:
    """Placings at random: whole within the picture, ``size`` and light in their ranges, turned up to
    ``angle`` degrees either way.

    >>> placing = draw_placing(4, size=(0.2, 0.2))
    >>> bool(placing.x.min() > 0.1), placing.size.tolist()
    (True, [0.20000000298023224, 0.20000000298023224, 0.20000000298023224, 0.20000000298023224])
    """
    check_positive("count", count)
    low, high = size
    if not 0 < low <= high <= 1:
        raise ValueError(f"size must be two shares of the side, 0 < low <= high <= 1; got {size!r}.")
    numbers = torch.rand(5, count, generator=seeded(generator))
    sizes = low + (high - low) * numbers[2]
    room = (1 - sizes).clamp(min=0)
    x, y = sizes / 2 + room * numbers[0], sizes / 2 + room * numbers[1]
    return Placing(x, y, sizes, angle * (2 * numbers[3] - 1), 1 + light * (2 * numbers[4] - 1))


def _alpha(side: int, shape: str, like: Tensor) -> Float[Tensor, "1 S S"]:
    """1 where the patch is, falling to 0 within its last pixel."""
    if shape == "square":
        return torch.ones(1, side, side, dtype=like.dtype, device=like.device)
    line = torch.linspace(-1, 1, side, dtype=like.dtype, device=like.device)
    away = (line[None] ** 2 + line[:, None] ** 2).sqrt()
    return ((1 - away) * side / 2).clamp(0, 1)[None]


def paste(
    images: Float[Tensor, "N C H W"],
    patch: Float[Tensor, "C S S"],
    placing: Placing,
    shape: str = "disc",
) -> Float[Tensor, "N C H W"]:
    """The pictures with the patch laid over them, each at its own place; differentiable by the patch.

    Beyond the picture's edge it is cut off. Raises ValueError for pictures and placings of different numbers.

    >>> one = torch.ones(1)
    >>> middle = Placing(one / 2, one / 2, one / 2, 0 * one, one)
    >>> laid = paste(torch.zeros(1, 3, 8, 8), torch.ones(3, 4, 4), middle, "square")
    >>> laid[0, 0, 0].sum().item(), laid[0, 0, 4].sum().item()
    (0.0, 4.0)
    """
    count, _, height, width = images.shape
    if len(placing.x) != count:
        raise ValueError(f"placing must have one place a picture, {count}; got {len(placing.x)}.")
    own: Any = {"dtype": images.dtype, "device": images.device}
    x, y, size, angle, light = (part.to(**own) for part in placing)
    short = min(height, width)
    turn = angle * math.pi / 180
    cos, sin = turn.cos(), turn.sin()
    wide, high = width / (short * size), height / (short * size)
    # from a place of the picture (-1 to 1) to one of the patch: shift to its middle, turn, enlarge
    dx, dy = 2 * x - 1, 2 * y - 1
    rows = torch.stack([
        torch.stack([cos * wide, -sin * high, -(cos * wide * dx - sin * high * dy)], 1),
        torch.stack([sin * wide, cos * high, -(sin * wide * dx + cos * high * dy)], 1),
    ], 1)  # fmt: skip
    grid = nn.functional.affine_grid(rows, [count, 1, height, width], align_corners=False)
    layers = torch.cat([patch, _alpha(patch.shape[-1], shape, patch)]).expand(count, -1, -1, -1)
    shown = nn.functional.grid_sample(layers, grid, padding_mode="zeros", align_corners=False)
    colour, alpha = shown[:, :-1], shown[:, -1:]
    colour = colour / alpha.clamp(min=1e-6)  # at the rim, half of it is nothing
    inside = alpha.clamp(0, 1)
    return images * (1 - inside) + (colour * light.view(-1, 1, 1, 1)).clamp(0, 1) * inside


def adversarial_patch_result(
    model: nn.Module,
    pictures: Float[Tensor, "N C H W"],
    target: int,
    *,
    side: int = 48,
    size: tuple[float, float] = (0.25, 0.4),
    angle: float = 30.0,
    light: float = 0.15,
    shape: str = "disc",
    batch: int = 16,
    steps: int = 200,
    rate: float = 0.05,
    transformed: bool = True,
    on_frame: Callable[[int, Tensor], object] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Patch:
    """``adversarial_patch`` with its losses (see ``Patch``). Errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    >>> adversarial_patch_result(net, torch.rand(4, 3, 8, 8), 1, side=4, steps=2).patch.shape
    torch.Size([3, 4, 4])
    """
    for name, value in {"side": side, "batch": batch, "steps": steps}.items():
        check_positive(name, value)
    check_choice("shape", shape, SHAPES)
    check_images(pictures)
    own = seeded(generator)
    with asked(model, pictures) as given:
        with torch.no_grad():
            class_indices(model(given[:1].clone()), target)
        noise = torch.rand(given.shape[1], side, side, generator=own, dtype=torch.float64)
        patch = (0.5 + 0.1 * (noise - 0.5)).to(given)
        fixed = draw_placing(1, size=size, angle=0.0, light=0.0, generator=own)
        fixed = fixed._replace(x=fixed.x * 0 + 0.5, y=fixed.y * 0 + 0.5)

        def loss(step: int) -> Tensor:
            rows = torch.randint(len(given), (min(batch, len(given)),), generator=own)
            placing = draw_placing(len(rows), size=size, angle=angle, light=light, generator=own)
            if not transformed:
                placing = Placing(*(part.expand(len(rows)) for part in fixed))
            shown = paste(given[rows.to(given.device)], patch, placing, shape)
            return -as_logits(model(shown)).log_softmax(1)[:, target].mean()

        found = minimize(
            [patch], loss, steps=steps, rate=rate, project=lambda _: patch.clamp_(0, 1), refusal=_CUT,
            on_frame=None if on_frame is None else lambda step, _: on_frame(step, patch.clone()),
            describe="patch", progress=progress, should_stop=should_stop,
        )  # fmt: skip
        return Patch(patch.detach(), shape, found.losses, found.complete)


@signature_of(adversarial_patch_result)
def adversarial_patch(*args: Any, **options: Any) -> Float[Tensor, "C S S"]:
    """A patch that makes the network name ``target``, whatever the picture and wherever it is laid.

    In each of ``steps`` it is laid over ``batch`` of the pictures at places, sizes (shares of the picture's
    side, from ``size[0]`` to ``size[1]``), angles (up to ``angle`` degrees) and lights drawn anew, and takes
    a step of Adam (``rate``) that lowers the mean cross entropy of the target: the expectation over
    transformations. ``transformed`` False learns it at one place in the middle, unturned, to see what the
    expectation is for. ``side``: its own pixels; ``shape``: "disc" or "square". ``on_frame``: told a step and
    the patch after every tenth. ``generator``: of start, pictures and places (None: seed 0).
    Raises ValueError for bad numbers and where no gradient reaches the patch, IndexError for a class that the
    model does not have.

    Unit: picture value. Labels: post hoc, specific to differentiable models, global.
    Source: Brown et al. 2017, "Adversarial Patch", section 2; Athalye et al. 2018, "Synthesizing Robust
    Adversarial Examples", section 2.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    >>> adversarial_patch(net, torch.rand(4, 3, 8, 8), 1, side=4, steps=2).shape
    torch.Size([3, 4, 4])
    """
    return adversarial_patch_result(*args, **options).patch
