"""Attribution by gradients of the score, and what every method does before and after its own step."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit._checks import check_images
from labkit.models import Target, borrow, scores


def own_copy(model: nn.Module, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """A copy of the pictures on the model's device and in its precision; the caller's tensor stays untouched.

    Raises ValueError where the model's normalization has another number of channels: subtracting it would
    silently turn a grey picture into three equal channels.
    """
    weight = next((p for p in model.parameters() if p.is_floating_point()), images)
    for name in ("labkit_mean", "mean"):
        mean = getattr(model, name, None)
        if isinstance(mean, Tensor) and mean.ndim == 4 and mean.shape[1] != images.shape[1]:
            raise ValueError(
                f"images must have {mean.shape[1]} channels for this model; got {tuple(images.shape)}. "
                f"Repeat a grey picture: images.expand(-1, {mean.shape[1]}, -1, -1)."
            )
    return images.detach().clone().to(weight.device, weight.dtype)


def derivative(score: Float[Tensor, " N"], by: Tensor) -> Tensor | None:
    """The gradient of each picture's score by a tensor of the same batch; None where it has no influence."""
    if not score.requires_grad:
        return None
    return torch.autograd.grad(score.sum(), by, allow_unused=True)[0]


def finite(maps: Float[Tensor, "N H W"]) -> Float[Tensor, "N H W"]:
    """The maps, detached; raises ValueError for NaN or infinity, which come from the model here."""
    if not torch.isfinite(maps).all():
        raise ValueError(
            "the map must be finite; the model gives NaN or infinity for this picture. Look at its scores "
            "with labkit.models.scores(model, images, target) and at the model's weights."
        )
    return maps.detach()


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
    check_images(images)
    with borrow(model):
        inputs = own_copy(model, images).requires_grad_(True)
        gradient = derivative(scores(model, inputs.clone(), target), inputs)
        if gradient is None:
            raise ValueError(
                "target must depend on the picture by steps that can be differentiated; no gradient reaches "
                "the picture. Remove detach() or no_grad(), or use labkit.attribution.occlusion."
            )
        return finite(gradient.abs().amax(1))
