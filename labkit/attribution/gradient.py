"""Gradients of the score: saliency, gradient x input, and SmoothGrad, which averages over noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.core.checks import check_positive, check_weight
from labkit.core.door import asked, derivative, finite, seeded
from labkit.core.registry import signature_of
from labkit.core.targets import class_indices, is_class, pick, rewarded, select
from labkit.models import Target, scores
from labkit.models.fast import memory_format

_NOISE, _HALVINGS = 0.15, 6  # of smooth_grad, where none is given: that of the paper's figures, and what it
# may come down to, a 400th of the picture's range: half a grey level


def score_and_gradient(model: nn.Module, points: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """The scores at some points and their gradients there; raises ValueError where no gradient arrives."""
    inputs = points.detach().requires_grad_(True)
    score = scores(model, inputs.clone(), target)
    gradient = derivative(score, inputs)
    return score.detach(), gradient


def saliency(model: nn.Module, images: Float[Tensor, "N C H W"], target: Target) -> Float[Tensor, "N H W"]:
    """How strongly the score reacts to each pixel: |d score / d image|, the largest over the colour channels.

    ``target`` is a class index, a tensor with one a picture, a callable on the outputs that gives one score
    a picture, or ``unit(layer, channel)``. Each picture gets the gradient of its own score. Unit: score
    (before the softmax) per unit of picture value (0 to 1). The map is never rescaled and lives on the
    model's device; an all-zero map is legal. Raises ValueError or TypeError for illegal images and for a
    target that no gradient reaches, IndexError for a class the model does not have, RuntimeError for a model
    in training mode.

    Labels: post hoc, specific to differentiable models, local.
    Source: Simonyan, Vedaldi and Zisserman 2014, "Deep Inside Convolutional Networks", section 3. There the
    gradient is taken by the picture after the mean was subtracted; here normalization is a part of the model,
    so its standard deviation scales the map.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> saliency(net, torch.full((1, 3, 2, 2), 0.5), 0).shape
    torch.Size([1, 2, 2])
    """
    with asked(model, images) as inputs:
        return finite(score_and_gradient(model, inputs, target)[1].abs().amax(1))


def gradient_x_input(
    model: nn.Module, images: Float[Tensor, "N C H W"], target: Target
) -> Float[Tensor, "N H W"]:
    """What each pixel adds to the score if the model were linear: gradient times picture, summed over RGB.

    Signed. Unit: score. Zero wherever the picture is black, whatever the model does there. The plain gradient
    does not change if the picture is shifted and the first bias compensates; this map does (Kindermans
    et al. 2017). Errors as in ``saliency``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Shrikumar et al. 2016, "Not Just a Black Box", section 2; here "black" is the value 0 of the
    picture, not of the normalized picture.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> gradient_x_input(net, torch.zeros(1, 3, 2, 2), 0).sum()
    tensor(0.)
    """
    with asked(model, images) as inputs:
        return finite((score_and_gradient(model, inputs, target)[1] * inputs).sum(1))


class SmoothGrad(NamedTuple):
    """``map`` (N, H, W); ``noise`` (N,): used for each picture, as a share of its range; ``whole`` (N,): the
    class's probability for the picture (the score where there is no other class, and for other targets);
    ``left`` (N,): the same, on average over the noisy copies."""

    map: Float[Tensor, "N H W"]
    noise: Float[Tensor, " N"]
    whole: Float[Tensor, " N"]
    left: Float[Tensor, " N"]


def confidence(target: Target) -> Target:
    """How sure the model is of what is asked: a class's probability, or its score where it is the only one;
    the score of any other target.

    >>> net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> scores(net, torch.zeros(1, 2, 4, 4), confidence(0))
    tensor([0.5000])
    """
    if not is_class(target):
        return target

    def sure(outputs: Tensor) -> Float[Tensor, " N"]:
        classes = class_indices(outputs, target)  # which says what is wrong with other outputs
        return pick(outputs, rewarded(classes, "logit" if outputs.shape[1] == 1 else "probability"))

    return sure


def lost(left: Float[Tensor, " N"], whole: Float[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """Which pictures have lost what the model saw in them: less than half of the whole's confidence is left.

    >>> lost(torch.tensor([0.4, 0.6]), torch.tensor([1.0, 1.0]))
    tensor([ True, False])
    """
    return torch.where(whole > 0, left < whole / 2, left > whole / 2)


def smooth_grad_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    samples: int = 32,
    noise: float | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 16,
) -> SmoothGrad:
    """``smooth_grad`` with the noise it took and what that left (see ``SmoothGrad``). Errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> smooth_grad_result(net, torch.rand(1, 3, 2, 2), 0, samples=2, noise=0.1).noise
    tensor([0.1000])
    """
    check_positive("samples", samples)
    check_positive("batch_size", batch_size)
    if noise is not None:
        check_weight("noise", noise, "It is a share of the picture's range; the paper takes 0.1 to 0.2.")
    generator = seeded(generator)
    with asked(model, images) as inputs:
        n, shape = len(inputs), (1, *inputs.shape[1:])
        extent = inputs.amax((1, 2, 3), keepdim=True) - inputs.amin((1, 2, 3), keepdim=True)
        used = torch.full((n,), _NOISE if noise is None else noise, dtype=inputs.dtype, device=inputs.device)

        order = memory_format(model, inputs[:1])

        def copies(rows: Tensor, count: int) -> tuple[Tensor, Target]:
            """So many noisy copies of each of some pictures, one draw for all, and their target."""
            drawn = torch.cat([
                torch.randn(shape, generator=generator, device=generator.device, dtype=inputs.dtype)
                for _ in range(count)
            ]).to(inputs.device)  # fmt: skip
            spread = used[rows].view(-1, 1, 1, 1) * extent[rows]
            noisy = inputs[rows] + spread * drawn[:, None]
            return noisy.flatten(0, 1).contiguous(memory_format=order), select(target, rows.repeat(count))

        rows = torch.arange(n, device=inputs.device)
        with torch.no_grad():
            whole = finite(scores(model, inputs.clone(), confidence(target)))
            start, few, worn = generator.get_state(), min(samples, 4), rows
            for _ in range(_HALVINGS if noise is None else 0):
                generator.set_state(start)
                points, own = copies(worn, few)
                left = scores(model, points, confidence(own)).view(few, -1).mean(0)
                worn = worn[lost(left, whole[worn])]
                if not len(worn):
                    break
                used[worn] /= 2
            generator.set_state(start)
        total, left, done = torch.zeros_like(inputs), torch.zeros_like(whole), 0
        while done < samples:
            count = min(max(1, batch_size // n), samples - done)
            points, own = copies(rows, count)
            seen: list[Tensor] = []

            def noted(outputs: Tensor, own: Target = own, seen: list[Tensor] = seen) -> Tensor:
                seen.append(pick(outputs.detach(), confidence(own)))
                return pick(outputs, own)

            score, gradient = score_and_gradient(model, points, noted if is_class(own) else own)
            total += gradient.view(count, *inputs.shape).sum(0)
            left += (seen[0] if seen else score).view(count, n).sum(0)
            done += count
        return SmoothGrad(finite((total / samples).abs().amax(1)), used, whole, left / samples)


@signature_of(smooth_grad_result)
def smooth_grad(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """The mean gradient over noisy copies of the picture, then the largest |.| over the channels.

    ``noise`` is the standard deviation of the Gaussian noise as a share of the picture's range (its largest
    minus its smallest value); 0 gives ``saliency``. None: 0.15, halved for a picture until four noisy copies
    keep at least half of its class's probability on average (of its score, for other targets), for a map of
    pictures that the model no longer knows is none of this one; at most six times. Every picture of a batch
    meets the same noise, drawn from ``generator`` (None: seed 0). Noisy copies are not clipped. Unit: score
    per unit of picture value. Raises ValueError for no samples or negative noise, else as ``saliency``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Smilkov et al. 2017, "SmoothGrad", section 3; they take one noise, 0.1 to 0.2, for all pictures.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> smooth_grad(net, torch.rand(1, 3, 2, 2), 0, samples=2).shape
    torch.Size([1, 2, 2])
    """
    return smooth_grad_result(*args, **options).map
