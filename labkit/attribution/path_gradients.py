"""Integrated gradients: what the gradients along a path from a baseline to the picture sum to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.attribution.gradient import score_and_gradient
from labkit.core.checks import check_images, check_positive
from labkit.core.door import finite, own_copy
from labkit.models import Target, Unit, borrow, scores
from labkit.optimize.images import Fill, filling


def _of(target: Target, number: int) -> Target:
    """The target of one picture of a batch, as one that fits any number of its copies."""
    return int(target[number]) if isinstance(target, Tensor) and target.ndim else target


class IntegratedGradients(NamedTuple):
    """All that ``integrated_gradients`` measured.

    ``map`` (N, H, W); ``values`` (N, C, H, W) before the sum over channels; ``difference`` (N,): score of the
    picture minus that of the baseline; ``residual`` (N,): what the values' sum misses of it; ``steps`` (N,):
    intervals used; ``met`` (N,): whether the residual is within the tolerance.
    """

    map: Float[Tensor, "N H W"]
    values: Float[Tensor, "N C H W"]
    difference: Float[Tensor, " N"]
    residual: Float[Tensor, " N"]
    steps: Int[Tensor, " N"]
    met: Tensor


def _grids(limit: int) -> Iterator[tuple[int, Tensor]]:
    """Numbers of intervals, doubling up to ``limit``, each with the points on [0, 1] that it adds."""
    count = min(8, limit)
    yield count, torch.linspace(0, 1, count + 1, dtype=torch.float64)
    while 2 * count <= limit:
        count *= 2
        yield count, torch.arange(1, count, 2, dtype=torch.float64) / count


def _spread(model: nn.Module, image: Tensor, target: Target, difference: Tensor) -> Tensor:
    """How far a picture's scores lie apart: the scale on which a residual is small."""
    if callable(target) or isinstance(target, Unit):
        return difference.abs()
    outputs = model(image.clone()).detach()
    return outputs.amax() - outputs.amin()


def integrated_gradients_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    baseline: Fill = "black",
    steps: int = 256,
    tolerance: float = 1e-3,
    batch_size: int = 32,
) -> IntegratedGradients:
    """``integrated_gradients`` with its values, residual and steps (see ``IntegratedGradients``).

    Never warns: look at ``met``. Errors as in ``integrated_gradients``.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> done = integrated_gradients_result(net, torch.rand(1, 3, 2, 2), 0)
    >>> done.steps.tolist(), bool(done.met.all())
    ([8], True)
    """
    check_images(images)
    for name, value in {"steps": steps, "batch_size": batch_size}.items():
        check_positive(name, value)
    check_positive("tolerance", tolerance, integer=False)
    with borrow(model):
        inputs = own_copy(model, images)
        reference = filling(inputs, baseline)
        if isinstance(target, Tensor) and target.ndim:
            scores(model, inputs.clone(), target)  # a target that does not fit is refused for the whole batch
        values, differences, residuals, used, met = [], [], [], [], []
        for number, (image, start) in enumerate(zip(inputs, reference, strict=True)):
            own, way = _of(target, number), image - start
            total, allowed = torch.zeros_like(image), torch.zeros(())
            ends: dict[float, Tensor] = {}
            for count, points in _grids(steps):
                for chunk in points.to(inputs).split(batch_size):
                    score, slope = score_and_gradient(model, start + chunk.view(-1, 1, 1, 1) * way, own)
                    # the trapezoid rule: a point within counts whole, each end half
                    weight = torch.where((chunk == 0) | (chunk == 1), 0.5, 1.0).to(chunk)
                    total += torch.einsum("b,bchw->chw", weight, slope)
                    ends |= {float(a): s for a, s in zip(chunk, score, strict=True) if a in (0, 1)}
                sums = total / count * way
                difference = ends[1.0] - ends[0.0]
                if count <= 8:
                    spread = _spread(model, image[None], own, difference)
                    allowed = tolerance * torch.maximum(difference.abs(), 0.1 * spread)
                residual = difference - sums.sum()
                if abs(residual) <= allowed:
                    break
            values.append(sums)
            differences.append(difference)
            residuals.append(residual)
            used.append(count)
            met.append(abs(residual) <= allowed)
        stacked = torch.stack(values)
        return IntegratedGradients(
            finite(stacked.sum(1)), stacked, torch.stack(differences), torch.stack(residuals),
            torch.tensor(used), torch.stack(met),
        )  # fmt: skip


def integrated_gradients(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    baseline: Fill = "black",
    steps: int = 256,
    tolerance: float = 1e-3,
    batch_size: int = 32,
) -> Float[Tensor, "N H W"]:
    """What each pixel adds to the score on the straight way from a baseline to the picture.

    The gradient is averaged along the way, multiplied by (picture - baseline) and summed over RGB, so that a
    map sums to the difference of the two scores. ``baseline`` is any fill of ``occlusion``. The number of
    steps starts at 8 and doubles until the sum misses the difference by at most ``tolerance`` times the
    larger of the difference and a tenth of the logits' spread; where ``steps`` is used up before that, a
    RuntimeWarning says by how much. Signed. Unit: score. Errors as in ``saliency`` and ``occlusion``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", section 3. They take a
    fixed number of steps and the left ends of the intervals; the trapezoid rule here keeps every point when
    the steps double.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> integrated_gradients(net, torch.rand(1, 3, 2, 2), 0).shape
    torch.Size([1, 2, 2])
    """
    done = integrated_gradients_result(
        model, images, target, baseline=baseline, steps=steps, tolerance=tolerance, batch_size=batch_size
    )
    if not done.met.all():
        worst = int((done.residual.abs() / done.difference.abs().clamp(min=1e-12)).argmax())
        warnings.warn(
            f"the map of picture {worst} misses {float(done.residual[worst]):.3g} of a difference of "
            f"{float(done.difference[worst]):.3g} after {steps} steps. "
            "Pass more steps or a larger tolerance.",
            RuntimeWarning,
            stacklevel=2,
        )
    return done.map
