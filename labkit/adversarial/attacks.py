"""Attacks by the gradient: small steps in picture space that change a network's mind."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.door import asked
from labkit.core.targets import class_indices


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
    if isinstance(epsilon, bool) or not 0 <= epsilon <= 1:
        raise ValueError(
            f"epsilon must be a step in picture values, 0 to 1; got {epsilon!r}. "
            "Eight grey levels are 8 / 255."
        )
    with asked(model, images) as start:
        inputs = start.clone().requires_grad_(True)
        outputs = model(inputs.clone())
        wanted = class_indices(outputs, labels, "labels")
        loss = -outputs.log_softmax(1).gather(1, wanted[:, None]).sum()
        slope = torch.autograd.grad(loss, inputs)[0]
        if not torch.isfinite(slope).all():
            raise ValueError("the gradient must be finite; the model gives NaN or infinity for this picture.")
        step = epsilon * slope.sign()
        return (start - step if targeted else start + step).clamp(0, 1).detach()
