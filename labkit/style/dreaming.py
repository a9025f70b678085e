"""DeepDream: what a layer, a channel or a direction sees in a picture, made stronger, octave by octave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_feature_map, check_positive, check_weight
from labkit.core.door import asked, derivative, seeded
from labkit.core.hooks import find_layer, record
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.core.targets import Target
from labkit.models import scores
from labkit.optimize import shift

__all__ = ["Dream", "deepdream", "deepdream_result", "layer_norm"]


class Dream(NamedTuple):
    """``images`` (N, C, H, W), 0 to 1; ``scores`` (T, N): what was amplified, before each step; ``complete``:
    False if ``should_stop`` ended it."""

    images: Float[Tensor, "N C H W"]
    scores: Float[Tensor, "T N"]
    complete: bool


def layer_norm(model: nn.Module, images: Float[Tensor, "N C H W"], layer: str) -> Float[Tensor, " N"]:
    """Half the squared length of what a layer gives for each picture, in the graph: its gradient by the layer
    is the activation itself.

    For a model that is borrowed. Raises KeyError for a wrong layer, ValueError for one that is no feature
    map: of scores a class or a unit is the target.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> layer_norm(net, torch.rand(2, 3, 8, 8), "1").shape
    torch.Size([2])
    """
    with record(model, layer) as kept:
        model(images.clone())
    return (check_feature_map(kept[layer], layer) ** 2).flatten(1).sum(1) / 2


def _sides(height: int, width: int, octaves: int, scale: float) -> list[tuple[int, int]]:
    """The sides of each octave, the smallest first."""
    return [(max(8, round(height / scale**k)), max(8, round(width / scale**k))) for k in range(octaves)][::-1]


def deepdream_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target | str,
    *,
    octaves: int = 3,
    octave_scale: float = 1.4,
    steps: int = 10,
    rate: float = 0.03,
    jitter: int = 8,
    on_frame: Callable[[int, Tensor], object] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Dream:
    """``deepdream`` with what was amplified at each step (see ``Dream``). Errors as there.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> deepdream_result(net, torch.rand(1, 3, 16, 16), "1", octaves=2, steps=2).scores.shape
    torch.Size([4, 1])
    """
    check_positive("octaves", octaves)
    check_positive("steps", steps)
    check_weight("rate", rate)
    check_weight("jitter", jitter)
    if not octave_scale > 1:
        raise ValueError(f"octave_scale must be above 1, such as 1.4; got {octave_scale!r}.")
    draw, told = seeded(generator), []
    with asked(model, images) as given:
        if isinstance(target, str):
            find_layer(model, target)

        def score(shown: Tensor) -> Float[Tensor, " N"]:
            if isinstance(target, str):
                return layer_norm(model, shown, target)
            return scores(model, shown, target)

        sides = _sides(given.shape[2], given.shape[3], octaves, octave_scale)
        detail = torch.zeros_like(given)
        shown = given
        with working("dreaming", octaves * steps, "step", progress=progress, should_stop=should_stop) as work:
            for number, size in enumerate(sides):
                base = F.interpolate(given, size, mode="bilinear", antialias=True, align_corners=False)
                detail = F.interpolate(detail, size, mode="bilinear", align_corners=False)
                shown = (base + detail).clamp(0, 1)
                for step in range(steps):
                    if work.stopped():
                        break
                    leaf = shown.detach().clone().requires_grad_(True)
                    with torch.enable_grad():
                        value = score(shift(leaf, int(jitter), draw))
                        slope = derivative(value, leaf)
                    told.append(value.detach())
                    size_of = slope.abs().mean((1, 2, 3), keepdim=True)
                    shown = (shown + rate * slope / size_of.clamp(min=1e-12)).clamp(0, 1)
                    work.at(number * steps + step + 1)
                    if on_frame is not None:
                        on_frame(number * steps + step + 1, shown.clone())
                detail = shown - base
        if shown.shape != given.shape:  # stopped before the last octave
            larger = F.interpolate(detail, given.shape[2:], mode="bilinear", align_corners=False)
            shown = (given + larger).clamp(0, 1)
        kept = torch.stack(told) if told else given.new_zeros(0, len(given))
        return Dream(shown.detach(), kept, work.complete)


@signature_of(deepdream_result)
def deepdream(*args: Any, **options: Any) -> Float[Tensor, "N C H W"]:
    """The pictures with more of what ``target`` sees in them.

    ``target``: a layer's name, whose squared length grows, so that the layer's gradient is its own
    activation; or any target: a class, ``unit(layer, channel)``, ``direction(layer, vector)``, a sum.
    From the smallest of ``octaves`` sizes, each ``octave_scale`` times the one before, ``steps`` of ``rate``
    times the gradient over its mean size are taken; what they added is enlarged and laid over the next size.
    ``jitter``: before each step the picture is moved by up to so many pixels. ``on_frame``: told the steps
    done and the pictures. ``generator``: of the moves (None: seed 0).
    Raises ValueError for bad options, a layer that is no feature map and where no gradient reaches the
    picture, TypeError for what is no target, KeyError for a wrong layer, RuntimeError for a model in
    training mode.

    Unit: picture value. Labels: post hoc, specific to differentiable models, local.
    Source: Mordvintsev, Olah and Tyka 2015, "Inceptionism: Going Deeper into Neural Networks".

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> deepdream(net, torch.rand(1, 3, 16, 16), "1", octaves=2, steps=2).shape
    torch.Size([1, 3, 16, 16])
    """
    return deepdream_result(*args, **options).images
