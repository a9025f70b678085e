"""Attacks by the gradient: small steps in picture space that change a network's mind."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_class, check_images
from labkit.models import borrow


def _classes(outputs: Tensor, labels: int | Tensor) -> Tensor:
    """The classes of a batch as a tensor on the outputs' device, or an error that says what they must be."""
    if outputs.ndim != 2:
        raise ValueError(
            f"model must give one score a class, shape (N, classes); it gives {tuple(outputs.shape)}."
        )
    if isinstance(labels, bool) or not (isinstance(labels, Tensor) or hasattr(labels, "__index__")):
        raise TypeError(
            f"labels must be a class index or a tensor with one a picture; got {type(labels).__name__}."
        )
    classes = torch.as_tensor(labels, device=outputs.device)
    if classes.is_floating_point() or classes.dtype == torch.bool or classes.ndim > 1:
        raise ValueError(f"labels must hold class indices, int64 (N,); got {classes.dtype} {classes.shape}.")
    if classes.ndim == 1 and len(classes) != len(outputs):
        raise ValueError(f"labels must hold one class a picture ({len(outputs)}); got {len(classes)}.")
    for index in classes.flatten().tolist():
        check_class(index, outputs.shape[1], "labels")
    return classes.long().expand(len(outputs))


def fgsm(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    labels: int | Int[Tensor, " N"],
    *,
    epsilon: float = 8 / 255,
    targeted: bool = False,
) -> Float[Tensor, "N C H W"]:
    """The fast gradient sign method: one step of ``epsilon`` in every pixel that raises the loss fastest.

    ``labels`` are the true classes, whose loss is raised; with ``targeted`` the classes wanted, whose loss is
    lowered. The loss is cross entropy by log-softmax, so that a saturated network is attacked too; where a
    pixel has no gradient it stays (sign(0) = 0). The result is clipped to [0, 1], detached, and never further
    than ``epsilon`` from the picture. Unit: picture value. Raises ValueError for a negative epsilon or labels
    that do not fit, IndexError for a class the model does not have, else as ``labkit.attribution.saliency``.

    Source: Goodfellow, Shlens and Szegedy 2015, "Explaining and Harnessing Adversarial Examples", section 4.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> image = torch.full((1, 3, 2, 2), 0.5)
    >>> round(float((fgsm(net, image, 0, epsilon=0.1) - image).abs().max()), 3)
    0.1
    """
    check_images(images)
    if isinstance(epsilon, bool) or not 0 <= epsilon <= 1:
        raise ValueError(
            f"epsilon must be a step in picture values, 0 to 1; got {epsilon!r}. "
            "Eight grey levels are 8 / 255."
        )
    with borrow(model):
        weight = next((p for p in model.parameters() if p.is_floating_point()), images)
        start = images.detach().clone().to(weight.device, weight.dtype)
        inputs = start.clone().requires_grad_(True)
        outputs = model(inputs.clone())
        wanted = _classes(outputs, labels)
        loss = -outputs.log_softmax(1).gather(1, wanted[:, None]).sum()
        slope = torch.autograd.grad(loss, inputs)[0]
        if not torch.isfinite(slope).all():
            raise ValueError("the gradient must be finite; the model gives NaN or infinity for this picture.")
        step = epsilon * slope.sign()
        return (start - step if targeted else start + step).clamp(0, 1).detach()
