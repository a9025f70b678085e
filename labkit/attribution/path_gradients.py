"""Integrated gradients: what the gradients along a path from a baseline to the picture sum to."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.attribution.gradient import score_and_gradient
from labkit.core.checks import check_positive
from labkit.core.door import asked, finite
from labkit.core.registry import signature_of
from labkit.core.targets import is_class, select
from labkit.models import Target, scores
from labkit.optimize.images import Fill, filling


class IntegratedGradients(NamedTuple):
    """All that ``integrated_gradients`` measured.

    ``map`` (N, H, W); ``values`` (N, C, H, W) before the sum over channels; ``difference`` (N,): score of the
    picture minus that of the baseline; ``residual`` (N,): what the values' sum misses of it; ``steps`` (N,):
    intervals used; ``met`` (N,): whether the residual is within the tolerance, and not by chance.
    """

    map: Float[Tensor, "N H W"]
    values: Float[Tensor, "N C H W"]
    difference: Float[Tensor, " N"]
    residual: Float[Tensor, " N"]
    steps: Int[Tensor, " N"]
    met: Tensor


def _worst(missing: Float[Tensor, " S"], parts: list[int], left: int) -> list[int]:
    """The stretches that together miss half of what is missing, as far as their doubling fits ``left``."""
    lack, chosen, got = missing.abs().tolist(), [], 0.0
    for stretch in sorted(range(len(lack)), key=lambda k: -lack[k]):
        if parts[stretch] <= left and got < sum(lack) / 2:
            chosen.append(stretch)
            left -= parts[stretch]
            got += lack[stretch]
    return chosen


def _spread(model: nn.Module, ends: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """The difference of a picture's score and its baseline's, and the scale on which a residual is small: the
    difference, or a tenth of how far the picture's logits lie apart."""
    with torch.no_grad():
        start, end = scores(model, ends.clone(), target)
        difference = end - start
        if not is_class(target):
            return difference, difference.abs()
        outputs = model(ends[1:].clone())
        return difference, torch.maximum(difference.abs(), 0.1 * (outputs.amax() - outputs.amin()))


def _along(
    model: nn.Module,
    image: Tensor,
    baseline: Tensor,
    target: Target,
    steps: int,
    tolerance: float,
    batch: int,
) -> tuple[Tensor, ...]:
    """One picture's values, the scores' difference, the residual, the steps and whether they sufficed."""
    path = image - baseline
    difference, scale = _spread(model, torch.stack([baseline, image]), target)
    count = min(8, steps)

    def asked_at(points: Tensor) -> tuple[Tensor, Tensor]:
        places = (baseline + chunk.view(-1, 1, 1, 1) * path for chunk in points.to(image).split(batch))
        found = [score_and_gradient(model, place, target) for place in places]
        score, gradient = (torch.cat(column) for column in zip(*found, strict=True))
        return score, gradient

    # the way in stretches: what each should sum to is known from the scores at its ends
    score, gradient = asked_at(torch.linspace(0, 1, count + 1, dtype=torch.float64))
    gains, totals, parts = score.diff(), (gradient[1:] + gradient[:-1]) / 2, [1] * count
    while True:
        sizes = torch.tensor(parts).to(image)
        means = totals / sizes.view(-1, 1, 1, 1)
        values = path * means.mean(0)
        residual = difference - values.sum()
        missing = gains - (path * means).flatten(1).sum(1) / count
        met = (residual.abs() <= tolerance * scale) & (missing.abs().sum() <= 10 * tolerance * scale)
        worst = _worst(missing, parts, steps - sum(parts))
        if met or not worst:
            break
        for stretch in worst:
            halves = torch.arange(1, 2 * parts[stretch], 2, dtype=torch.float64) / (2 * parts[stretch])
            totals[stretch] += asked_at((stretch + halves) / count)[1].sum(0)
            parts[stretch] *= 2
    return values, difference, residual, torch.tensor(sum(parts)), met


def integrated_gradients_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    baseline: Fill = "black",
    steps: int = 512,
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
    for name, value in {"steps": steps, "batch_size": batch_size}.items():
        check_positive(name, value)
    check_positive("tolerance", tolerance, integer=False)
    with asked(model, images) as inputs:
        baselines = filling(inputs, baseline)
        with torch.no_grad():
            finite(
                scores(model, inputs.clone(), target)
            )  # a target that does not fit is refused for the whole batch
        found = [
            _along(model, image, start, select(target, number), steps, tolerance, batch_size)
            for number, (image, start) in enumerate(zip(inputs, baselines, strict=True))
        ]
        values, *rest = (torch.stack(column) for column in zip(*found, strict=True))
        return IntegratedGradients(finite(values.sum(1)), values, *rest)


@signature_of(integrated_gradients_result)
def integrated_gradients(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """What each pixel adds to the score on the straight way from a baseline to the picture.

    The gradient is averaged along the way, multiplied by (picture - baseline) and summed over RGB, so that a
    map sums to the difference of the two scores. ``baseline`` is any fill of ``occlusion``. The way begins as
    8 stretches of one step. A stretch should sum to the difference of the scores at its ends, and those that
    miss most of it get twice their steps, until the whole sum misses the whole difference by at most
    ``tolerance`` times the larger of that and a tenth of the logits' spread, and the stretches by ten times
    that together, for a sum may be right by chance; where ``steps`` is used up before, a RuntimeWarning says
    by how much. Signed. Unit: score. Errors as in ``saliency`` and ``occlusion``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", section 3. They take a
    fixed number of equal steps and the left ends of the intervals; the trapezoid rule here keeps every point
    when steps double, and puts most where the score bends most, often close to the baseline.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> integrated_gradients(net, torch.rand(1, 3, 2, 2), 0).shape
    torch.Size([1, 2, 2])
    """
    done = integrated_gradients_result(*args, **options)
    if not done.met.all():
        worst = int((done.residual.abs() / done.difference.abs().clamp(min=1e-12)).argmax())
        warnings.warn(
            f"the map of picture {worst} misses {float(done.residual[worst]):.3g} of a difference of "
            f"{float(done.difference[worst]):.3g} after {int(done.steps[worst])} steps. "
            "Pass more steps or a larger tolerance.",
            RuntimeWarning,
            stacklevel=2,
        )
    return done.map
