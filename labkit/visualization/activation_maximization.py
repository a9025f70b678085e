"""Activation maximization: a picture that drives a unit, a class or a direction, by gradient ascent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_images, check_positive, check_weight
from labkit.core.door import channels_in_own_words, seeded, sides_of, weight_of
from labkit.core.hooks import find_layer
from labkit.core.registry import signature_of
from labkit.core.target_algebra import Score
from labkit.models import Target, borrow
from labkit.models.slopes import Slopes
from labkit.optimize import Fourier, Hold, Pixels, Regularizers, Transforms, diversity, minimize
from labkit.visualization.ascent import Search, Visualization, first_values, warn_of_unfired

__all__ = ["RECIPES", "visualize", "visualize_result"]

SPACES = ("fourier", "pixels")
_PLAIN: dict[str, Any] = {
    "space": "pixels", "colours": None, "jitter": 0, "scale": 0.0, "rotation": 0.0
}  # fmt: skip
# The options of `visualize` under the names of those who proposed them; its defaults are the last.
RECIPES: dict[str, dict[str, Any]] = {
    "simonyan": {**_PLAIN, "l2": 3.0},
    "yosinski": {
        **_PLAIN, "rate": 0.05, "decay": 0.01, "blur": 1.0, "blur_every": 2, "clip_norm": 0.3,
        "clip_contribution": 0.2,
    },
    "olah": {},
}  # fmt: skip
RATES = {"pixels": 0.02, "fourier": 0.05}


def _count_of(target: Target, count: int | None, start: Any) -> int:
    """How many pictures are made: as many as classes or starts are given, or ``count``."""
    if count is not None:
        check_positive("count", count)
        return count
    if isinstance(start, Visualization):
        return len(start.images)
    if isinstance(start, Tensor):
        return len(start)
    return len(target) if isinstance(target, Tensor | np.ndarray) and target.ndim == 1 else 1


def visualize_result(
    model: nn.Module,
    target: Target,
    *,
    count: int | None = None,
    side: int | tuple[int, int] | None = None,
    channels: int = 3,
    start: str | Float[Tensor, "N C H W"] | Visualization = "noise",
    steps: int = 256,
    rate: float | None = None,
    space: str = "fourier",
    colours: str | Tensor | None = "decorrelated",
    l2: float = 0.0,
    decay: float = 0.0,
    blur: float = 0.0,
    blur_every: int = 4,
    clip_norm: float = 0.0,
    clip_contribution: float = 0.0,
    jitter: int | None = None,
    scale: float = 0.05,
    rotation: float = 5.0,
    centre: float | None = None,
    diversity_weight: float = 0.0,
    diversity_layer: str | None = None,
    hold: float | Float[Tensor, " N"] | None = None,
    every: int | None = None,
    on_frame: Callable[[int, Tensor, Tensor], object] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Visualization:
    """``visualize`` with its scores, its frames and what a search needs to go on (see ``Visualization``).

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> half = visualize_result(net, 1, side=16, steps=2, every=1)
    >>> half.frames.shape, visualize_result(net, 1, side=16, steps=2, start=half).scores.shape
    (torch.Size([3, 1, 3, 16, 16]), torch.Size([4, 1]))
    """
    check_choice("space", space, SPACES)
    for name, weight in {"l2": l2, "diversity_weight": diversity_weight}.items():
        check_weight(name, weight)
    if not isinstance(start, str | Visualization):
        check_images(start, "start")
    before = start if isinstance(start, Visualization) else None
    count = _count_of(target, count, start)
    pictures = before.images if before is not None else start
    here = tuple(pictures.shape[2:]) if isinstance(pictures, Tensor) and pictures.ndim == 4 else None
    given: Any = here if side is None and here is not None else side
    height, width = sides_of(model, given)
    jitter = max(1, round(min(height, width) / 16)) if jitter is None else jitter
    turned, regular = (
        Transforms(jitter, scale, rotation),
        Regularizers(decay, blur, blur_every, clip_norm, clip_contribution),
    )
    turned.check()
    regular.check()
    if channels == 1 and isinstance(colours, str) and colours == "decorrelated":
        colours = None
    spaced = Pixels(colours) if space == "pixels" else Fourier((height, width), colours)
    seed = _seed(generator) if before is None else before.seed
    with borrow(model, frozen=True), channels_in_own_words(model, channels):
        own = weight_of(model, torch.zeros(()))
        own = torch.zeros((), dtype=own.dtype, device=own.device)
        shape = (channels, height, width)
        layer = _layer_of_diversity(model, target, diversity_layer) if diversity_weight else None
        if before is None:
            values = first_values(model, start, count, shape, spaced, seed, own)
        else:
            values = before.values.clone()
        slopes = Slopes(
            model, spaced.picture(values), target, steps=steps, layer=layer, price=diversity
        )  # fmt: skip
        search = Search(slopes, spaced, turned, regular, centre, l2, diversity_weight, seed, values)
        if before is None and every is not None:
            search.keep(0)
        done = minimize(
            [values], search.loss, steps=steps, rate=RATES[space] if rate is None else rate,
            optimizer="sgd" if space == "pixels" else "adam",
            hold=None if hold is None else Hold(search.held, hold, hold, within=search.within),
            project=search.project, first=search.begin(before), every=every or 10,
            memory=None if before is None else dict(before.memory or {}) or None,
            on_frame=partial(search.frame, kept=every is not None, told=on_frame),
            describe="ascending", progress=progress, should_stop=should_stop,
        )  # fmt: skip
        images = spaced.picture(values.detach()).clone()
        return search.result(images, slopes.scores(images), done.complete, done.memory, before)


def _seed(generator: torch.Generator | None) -> int:
    return int(torch.randint(2**62, (), generator=seeded(generator)))


def _layer_of_diversity(model: nn.Module, target: Target, layer: str | None) -> str:
    """The layer whose features are to differ: the one named, or the target's own."""
    own = target.layers if isinstance(target, Score) else ()
    if layer is None and not own:
        raise ValueError(
            "diversity_layer must name a feature map for a target that reads no layer; got None. "
            "labkit.models.layer_names(model) lists the layers."
        )
    name = own[0] if layer is None else layer
    find_layer(model, name)
    return name


@signature_of(visualize_result)
def visualize(*args: Any, **options: Any) -> Float[Tensor, "N C H W"]:
    """A picture that drives ``target`` up as far as it goes: what a unit, a class or a direction looks for.

    ``target``: a class index, a tensor of them (a picture each), a callable on the outputs, ``unit(...)``,
    ``direction(...)`` or a weighted sum of such; a class counts by its score before the softmax.
    ``count``: how many pictures, by default as many as classes or starts are given, else one. They differ by
    their noise, and do not depend on each other but for ``diversity_weight``.
    ``side``: the picture's side or (height, width), by default ``model.input_size``; ``channels``: of it.
    ``start``: "noise", "grey", "mean" (what the model's normalization subtracts), pictures, or an earlier
    ``Visualization``, from which the search goes on as if it had not ended.
    ``steps``, ``rate``: of Adam in Fourier space (rate .05); on pixels (.02) of the gradient divided by its
    root mean square, averaged over some ten steps.
    ``space``, ``colours``: "fourier" or "pixels"; "decorrelated", a matrix, or None for plain red, green and
    blue, and always for one channel (see ``labkit.optimize.Fourier``).
    ``l2``: the penalty of the squared distance from grey (Simonyan), against a gradient of root mean square
    1: a constant one leads to a distance of 1 / (2 l2).
    ``decay``, ``blur``, ``blur_every``, ``clip_norm``, ``clip_contribution``: Yosinski's four, after each
    step (see ``labkit.optimize.Regularizers``).
    ``jitter`` (pixels, None: a sixteenth of the side), ``scale`` (share), ``rotation`` (degrees): the largest
    random turn before each step; ``centre``: a gradient that falls off from the middle
    (see ``labkit.optimize.transforms``).
    ``diversity_weight``, ``diversity_layer``: the price of one picture of a batch whose Gram matrix at a
    layer is another's; the layer is by default the target's own.
    ``hold``: a value, or one a picture, at which the score is held from both sides while the rest goes on.
    ``every``, ``on_frame``: keep a frame after so many steps; told the steps done, the pictures, the scores.
    ``generator``: of noise and turns (None: seed 0). ``RECIPES`` has options under the names of papers.

    A unit that does not fire at the start has no gradient: while that is exactly zero it is let through the
    ReLUs that are off, and where none comes even so, noise takes its place. A warning tells how many pictures
    needed it, or that a target never fired at all, and their pictures say nothing.
    Raises ValueError for options out of range, for a layer that is no feature map and where no gradient leads
    to the picture, KeyError for a wrong layer, IndexError for a class out of range, RuntimeError for a model
    in training mode.

    Unit: picture value. Labels: post hoc, specific to differentiable models, global.
    Source: Simonyan et al. 2014, "Deep Inside Convolutional Networks", section 2; Yosinski et al. 2015,
    "Understanding Neural Networks Through Deep Visualization", section 4; Olah, Mordvintsev and Schubert
    2017, "Feature Visualization". The first two take steps of the gradient as it is; we divide it by its
    root mean square, so that one rate and one penalty fit all units.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> visualize(net, 1, side=16, steps=2).shape
    torch.Size([1, 3, 16, 16])
    """
    found = visualize_result(*args, **options)
    warn_of_unfired(found)
    return found.images
