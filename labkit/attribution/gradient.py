"""Gradients of the score: saliency, gradient x input, and SmoothGrad, which averages over noise."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_positive, check_weight
from labkit.core.door import asked, derivative, finite, seeded
from labkit.models import Target, scores


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


def smooth_grad(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    samples: int = 32,
    noise: float = 0.15,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N H W"]:
    """Saliency of the average: the mean gradient over noisy copies, then the largest |.| over the channels.

    ``noise`` is the standard deviation of the Gaussian noise as a share of the picture's range (its largest
    minus its smallest value); 0 gives ``saliency``. Every picture of a batch meets the same noise, drawn
    from ``generator`` (None: seed 0). Noisy copies are not clipped. Unit: score per unit of picture value.
    Raises ValueError for no samples or negative noise, else as ``saliency``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Smilkov et al. 2017, "SmoothGrad", section 3.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> smooth_grad(net, torch.rand(1, 3, 2, 2), 0, samples=2).shape
    torch.Size([1, 2, 2])
    """
    check_positive("samples", samples)
    check_weight("noise", noise, "It is a share of the picture's range; the paper takes 0.1 to 0.2.")
    generator = seeded(generator)
    with asked(model, images) as inputs:
        spread = noise * (inputs.amax((1, 2, 3), keepdim=True) - inputs.amin((1, 2, 3), keepdim=True))
        total = torch.zeros_like(inputs)
        for _ in range(samples):
            shape = (1, *inputs.shape[1:])
            drawn = torch.randn(shape, generator=generator, device=generator.device, dtype=inputs.dtype)
            total += score_and_gradient(model, inputs + spread * drawn.to(inputs.device), target)[1]
        return finite((total / samples).abs().amax(1))
