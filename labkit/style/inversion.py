"""Inversion: a picture is sought whose features are the ones given, to see what a layer keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_positive, check_weight
from labkit.core.door import channels_in_own_words, seeded, sides_of, weight_of
from labkit.core.hooks import find_layer
from labkit.core.registry import signature_of
from labkit.models import borrow, record
from labkit.optimize import minimize, total_variation

_CUT = (
    "layer must depend on the picture by steps that can be differentiated; no gradient of {} reaches it. "
    "Remove the detach() or no_grad() before it, or name an earlier layer."
)


class Inversion(NamedTuple):
    """``images`` (N, C, H, W), 0 to 1; ``error`` (N,): squared distance of the features over the squared norm
    of those given; ``losses`` of the search; ``complete``: False if ``should_stop`` ended it."""

    images: Float[Tensor, "N C H W"]
    error: Float[Tensor, " N"]
    losses: Float[Tensor, " T"]
    complete: bool


def _features(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    with record(model, layer) as kept:
        model(images)
    if not isinstance(kept[layer], Tensor) or not kept[layer].is_floating_point():
        raise ValueError(
            f"layer must give one tensor of numbers; {layer!r} gives {type(kept[layer]).__name__}. Name a "
            "layer within it or before it."
        )
    return kept[layer]


def alpha_norm(images: Float[Tensor, "N C H W"], alpha: float = 6.0) -> Float[Tensor, " N"]:
    """The mean over all values of their distance from grey, from 0 to 1, to the power ``alpha``.

    A high power leaves all values alone but those near 0 and 1. Source: Mahendran and Vedaldi 2015, section
    3.1; they take the sum, and of pictures minus their mean.

    >>> alpha_norm(torch.tensor([[[[0.5, 1.0]]]]))
    tensor([0.5000])
    """
    return (2 * (images - 0.5)).abs().pow(alpha).flatten(1).mean(1)


def invert_result(
    model: nn.Module,
    layer: str,
    features: Float[Tensor, "N ..."],
    *,
    side: int | tuple[int, int] | None = None,
    channels: int = 3,
    steps: int = 200,
    rate: float = 0.05,
    alpha: float = 6.0,
    beta: float = 2.0,
    alpha_weight: float = 1e-2,
    tv_weight: float = 1e-3,
    on_frame: Callable[[int, Tensor], object] | None = None,
    every: int = 10,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Inversion:
    """``invert`` with the error that is left and the losses (see ``Inversion``). Errors as there.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> invert_result(net, "1", torch.rand(1, 4, 8, 8), side=8, steps=2).error.shape
    torch.Size([1])
    """
    check_positive("channels", channels)
    for name, exponent in {"alpha": alpha, "beta": beta}.items():
        check_positive(name, exponent, integer=False)
        if exponent < 1:
            raise ValueError(f"{name} is an exponent of at least 1, such as 2; got {exponent!r}.")
    for name, weight in {"alpha_weight": alpha_weight, "tv_weight": tv_weight}.items():
        check_weight(name, weight)
    if not isinstance(features, Tensor) or not torch.isfinite(features).all():
        raise ValueError("features must be a finite tensor (N, ...), as record() gives them for the layer.")
    height, width = sides_of(model, side)
    generator = seeded(generator)
    with borrow(model, frozen=True):
        find_layer(model, layer)
        own = weight_of(model, features)
        goal = features.detach().to(own.device, own.dtype)
        # the same start for every picture, so that a batch gives what its pictures give alone
        noise = 0.5 + 0.05 * torch.randn(1, channels, height, width, generator=generator, dtype=goal.dtype)
        images = noise.clamp(0, 1).to(goal.device).repeat(len(goal), 1, 1, 1)
        with torch.no_grad(), channels_in_own_words(model, channels):
            shape = _features(model, images.clone(), layer).shape
        if shape != goal.shape:
            raise ValueError(
                f"features must have the shape that {layer!r} gives for {height} x {width} pixels, "
                f"{tuple(shape)}; got {tuple(goal.shape)}. Pass the side of the picture they came from."
            )
        norm = (goal**2).flatten(1).sum(1).clamp(min=1e-12)
        pixels = channels * height * width

        def error() -> Tensor:
            away = _features(model, images.clone(), layer) - goal
            return (away**2).flatten(1).sum(1) / norm

        def loss(_: int) -> tuple[Tensor, Tensor]:
            # both priors as means over the values
            bound, smooth = alpha_norm(images, alpha), total_variation(images, beta) / pixels
            return error().sum(), (alpha_weight * bound + 1e2 * tv_weight * smooth).sum()

        def told(step: int, _: float) -> None:
            if on_frame is not None:
                on_frame(step + 1, images.detach().clone())

        found = minimize(
            [images], loss, steps=steps, rate=rate, project=lambda _: images.clamp_(0, 1),
            refusal=_CUT.format(repr(layer)), describe="inversion", progress=progress,
            should_stop=should_stop, on_frame=told, every=every,
        )  # fmt: skip
        with torch.no_grad():
            left = error()
        return Inversion(images.detach(), left, found.losses, found.complete)


@signature_of(invert_result)
def invert(*args: Any, **options: Any) -> Float[Tensor, "N C H W"]:
    """A picture whose ``layer`` gives the features asked for: what the layer keeps, seen as a picture.

    The loss is the squared distance of the features over the squared norm of those given, plus
    ``alpha_weight`` times the alpha norm (the mean of the distance from grey to the power ``alpha``), plus
    100 ``tv_weight`` times the mean total variation (squared steps to the power ``beta`` / 2). Any layer that
    gives a tensor, also one without places. Adam from the same faint noise (``generator``, None: seed 0),
    clipped to [0, 1]. ``side``: the picture's side or (height, width), by default ``model.input_size``;
    ``channels``: of it. ``on_frame``: told the steps done and the pictures, after the first step and
    ``every`` so many more.
    Raises KeyError for a wrong layer, ValueError for features that do not fit it, a layer that gives
    no tensor or that no gradient leads from to the picture, and exponents below 1, RuntimeError
    for a model in training mode.

    Unit: picture value. Labels: post hoc, specific to differentiable models, local.
    Source: Mahendran and Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them",
    section 3; they use gradient descent with momentum on the picture minus its mean.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> invert(net, "1", torch.rand(1, 4, 8, 8), side=8, steps=2).shape
    torch.Size([1, 3, 8, 8])
    """
    return invert_result(*args, **options).images
