"""Attribution by differences: DeepLIFT's rescale rule, averaged over baselines (DeepSHAP)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.attribution.deeplift_multipliers import refuse
from labkit.attribution.deeplift_rules import rescale_rule
from labkit.core.checks import check_choice, check_fraction, check_images, check_positive
from labkit.core.door import asked, derivative, finite
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.core.targets import Score, is_class, select
from labkit.models import Target, scores
from labkit.models.functions import steps_between
from labkit.models.operations import operations
from labkit.optimize.images import FILLS, Fill, filling

BASELINES: tuple[Fill, ...] = ("black", "grey", "blur")
# what the rules replace: to meet one in the graph means that no Python function was called
UNSEEN = operations("relu", "bend", "gate", "max_pool", "softmax")


class DeepShap(NamedTuple):
    """All that ``deep_shap`` measured.

    ``map`` (N, H, W); ``values`` (N, C, H, W) before the sum over channels; ``difference`` (N,): score of the
    picture minus the mean score of its baselines; ``residual`` (N,): what the values' sum misses of it.
    """

    map: Float[Tensor, "N H W"]
    values: Float[Tensor, "N C H W"]
    difference: Float[Tensor, " N"]
    residual: Float[Tensor, " N"]


def _references(images: Tensor, baselines: Fill | Sequence[Fill] | None) -> Float[Tensor, "K N C H W"]:
    """Each baseline for each picture."""
    if baselines is None:
        baselines = BASELINES
    if isinstance(baselines, Tensor):
        baselines = list(baselines) if baselines.ndim == 4 else [baselines]
    elif isinstance(baselines, str | float | int):
        baselines = [baselines]
    if len(baselines) == 0:
        raise ValueError(
            "baselines must hold at least one baseline; got none. Pass for example baselines='grey'."
        )
    references = []
    for baseline in baselines:
        if isinstance(baseline, Tensor):
            if baseline.ndim > images.ndim or any(
                own not in (1, side)
                for own, side in zip(reversed(baseline.shape), reversed(images.shape), strict=False)
            ):
                raise ValueError(
                    f"baselines must broadcast to the images' shape {tuple(images.shape)}; got one of "
                    f"{tuple(baseline.shape)}. Resize it to the pictures' size."
                )
            check_images(baseline.expand_as(images), "baselines")
        elif isinstance(baseline, str):
            check_choice("baselines", baseline, FILLS)
        else:
            check_fraction("baselines", baseline)
        references.append(filling(images, baseline))
    return torch.stack(references)


def _check_graph(outputs: Tensor) -> None:
    """Raise ValueError for steps that have a rule where no Python function was called (scripted parts)."""
    for step in steps_between(outputs):
        if step.name in UNSEEN or step.hides:
            refuse(f"{step.title} out of reach in a scripted part")


def deep_shap_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    baselines: Fill | Sequence[Fill] | None = None,
    batch_size: int = 16,
) -> DeepShap:
    """``deep_shap`` with its values, the difference they share out and the residual (see ``DeepShap``).

    Never warns: look at ``residual``, which is rounding alone wherever every function of the model has a
    rule. Errors as in ``deep_shap``.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    >>> done = deep_shap_result(net, torch.rand(1, 3, 2, 2), 0, baselines="grey")
    >>> tuple(done.values.shape), bool(done.residual.abs() < 1e-5)
    ((1, 3, 2, 2), True)
    """
    check_positive("batch_size", batch_size)
    with asked(model, images) as inputs:
        references = _references(inputs, baselines)
        number, each = len(inputs), len(references)
        if is_class(target) or isinstance(target, Score):
            with torch.no_grad():  # a target that does not fit is refused for the whole batch
                scores(model, inputs.clone(), target)
        values = torch.zeros_like(inputs)
        difference = torch.zeros(number, dtype=inputs.dtype, device=inputs.device)
        pairs = torch.arange(number * each)
        with working("deep_shap", len(pairs), "pair") as work:
            for chunk in pairs.split(batch_size):
                which, baseline = chunk // each, chunk % each
                pictures = inputs[which].requires_grad_(True)
                others = references[baseline, which]
                own = select(target, which.repeat(2))
                rules = rescale_rule(2 * len(chunk))
                with rules:
                    both = scores(model, torch.cat([pictures, others]), own)
                _check_graph(both)
                multiplier = derivative(both[: len(chunk)], pictures, grad=rules.grad)
                score, start = both.detach().chunk(2)
                at = which.to(inputs.device)
                values.index_add_(0, at, multiplier * (pictures.detach() - others) / each)
                difference.index_add_(0, at, (score - start).to(difference) / each)
                work.at(work.done + len(chunk))
        return DeepShap(finite(values.sum(1)), values, difference, difference - values.sum((1, 2, 3)))


@signature_of(deep_shap_result)
def deep_shap(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """What each pixel's difference from a baseline adds to the score, averaged over baselines.

    Every function of the network passes on the difference between its output for the picture and for the
    baseline, so that a map, summed over RGB, sums to the picture's score minus the mean score of the
    baselines. ``baselines`` is one fill of ``occlusion``, a sequence of them, or a tensor (K, C, H, W) of
    pictures that serve every image. The default is black, grey and the picture's blur: with one colour alone,
    pixels of that colour get nothing, whatever they do; the blur keeps the picture's colours and asks about
    detail. ``batch_size`` counts pairs of a picture and a baseline. Signed. Unit: score (before the softmax).

    Rules exist for elementwise functions, maxima and max pooling (overlapping too), products of two
    activations (gates, attention), softmax, and layer, group and instance norm. Raises ValueError with the
    function's name for one known to have none; where another leaves more than a thousandth of the difference
    unexplained, a RuntimeWarning says how much. Raises ValueError for no baselines or one that does not fit,
    else errors as in ``saliency``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Shrikumar, Greenside and Kundaje 2017, "Learning Important Features Through Propagating Activation
    Differences", section 3.5.1 (the rescale rule); Lundberg and Lee 2017, "A Unified Approach to Interpreting
    Model Predictions", section 4.2. They take one data set as baselines, which a single photograph lacks, and
    give no rule for max pooling, products or softmax; here each has one that loses nothing.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    >>> deep_shap(net, torch.rand(1, 3, 2, 2), 0).shape
    torch.Size([1, 2, 2])
    """
    done = deep_shap_result(*args, **options)
    rounding = 32 * torch.finfo(done.values.dtype).eps * done.values.abs().sum((1, 2, 3))
    missed = done.residual.abs() - 1e-3 * done.difference.abs() - rounding
    worst = int(missed.argmax())
    if missed[worst] > 0:
        warnings.warn(
            f"the map of picture {worst} misses {float(done.residual[worst]):.3g} of a difference of "
            f"{float(done.difference[worst]):.3g}: the model holds a function that deep_shap has no rule "
            "for. Use labkit.attribution.integrated_gradients, which needs gradients alone.",
            RuntimeWarning,
            stacklevel=2,
        )
    return done.map
