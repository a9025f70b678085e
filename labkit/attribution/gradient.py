"""Attribution by gradients of the score: saliency."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.door import asked, derivative, finite
from labkit.models import Target, scores


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
        inputs.requires_grad_(True)
        gradient = derivative(scores(model, inputs.clone(), target), inputs)
        return finite(gradient.abs().amax(1))
