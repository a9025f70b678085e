"""Attribution by gradients of the score with respect to the picture."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit._checks import check_images
from labkit.models import Target, borrow, scores


def _leaf(images: Tensor, model: nn.Module) -> Tensor:
    """A copy of the caller's pictures on the model's device that gradients may flow to."""
    device = next((p.device for p in model.parameters()), images.device)
    return images.detach().clone().to(device).requires_grad_(True)


def saliency(model: nn.Module, images: Float[Tensor, "N C H W"], target: Target) -> Float[Tensor, "N H W"]:
    """How strongly the score reacts to each pixel: |d score / d image|, the largest over the colour channels.

    Unit: score (before the softmax) per unit of picture value. The map is detached, never rescaled, on the
    model's device; an all-zero map is legal. Raises ValueError or TypeError for illegal images, IndexError
    for a class the model does not have, RuntimeError for a model in training mode.

    Labels: post hoc, specific to differentiable models, local.
    Source: Simonyan, Vedaldi and Zisserman 2014, "Deep Inside Convolutional Networks", section 3.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> saliency(net, torch.full((1, 3, 2, 2), 0.5), 0).shape
    torch.Size([1, 2, 2])
    """
    check_images(images)
    with borrow(model):
        inputs = _leaf(images, model)
        score = scores(model, inputs, target)
        (gradient,) = torch.autograd.grad(score.sum(), inputs)
    return gradient.abs().amax(1)
