"""Attacks by the gradient, small steps in picture space that change a network's mind: FGSM."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_images
from labkit.core.door import asked, derivative
from labkit.core.registry import signature_of, warn_caller
from labkit.core.targets import as_logits, class_indices

NO_WAY = (
    "the loss must depend on the picture by steps that can be differentiated; no gradient reaches the "
    "picture. Remove detach(), no_grad() or a rounding. Where only its answers are to be had, "
    "labkit.adversarial.substitute learns a network like it: attack that one and try the result."
)


class Attack(NamedTuple):
    """``images`` (N, C, H, W): the pictures after the step; ``gradient`` (N, C, H, W) of each picture's loss
    where it started; ``still`` (N,): share of the pixels whose gradient is exactly 0 in all channels, which
    no step moves; ``moved`` (N,): the largest change of a pixel value, from the pictures given."""

    images: Float[Tensor, "N C H W"]
    gradient: Float[Tensor, "N C H W"]
    still: Float[Tensor, " N"]
    moved: Float[Tensor, " N"]


class Slope(NamedTuple):
    """``loss`` (N,): the cross entropy of each picture's label; its ``gradient`` (N, C, H, W); ``named``
    (N,): the classes that the network names."""

    loss: Float[Tensor, " N"]
    gradient: Float[Tensor, "N C H W"]
    named: Int[Tensor, " N"]


def check_step(name: str, value: Any, most: float = 1.0) -> None:
    """Raise ValueError unless a step is one in picture values.

    >>> check_step("epsilon", 8)
    Traceback (most recent call last):
    ...
    ValueError: epsilon must be a step in picture values, 0 to 1; got 8. Eight grey levels are 8 / 255.
    """
    known = isinstance(value, Real | Tensor) and not isinstance(value, bool)
    if not known or not 0 <= value <= most:
        raise ValueError(
            f"{name} must be a step in picture values, 0 to {most:g}; got {value!r}. "
            "Eight grey levels are 8 / 255."
        )


def slope_of_loss(model: nn.Module, at: Float[Tensor, "N C H W"], labels: Any) -> Slope:
    """The cross entropy of the labels by log-softmax, so that saturation hides nothing, and its gradient.

    For a model that is borrowed. Raises ValueError for one class, labels that do not fit and a gradient that
    does not reach the picture or is not finite, IndexError for a class that the model does not have.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> slope_of_loss(net, torch.rand(1, 3, 2, 2), 0).loss.shape
    torch.Size([1])
    """
    inputs = (at.detach().clone() if at.is_inference() else at.detach()).requires_grad_(True)
    with torch.enable_grad():
        outputs = model(inputs.clone())  # it may write into what it is given
        loss = _cross_entropy(outputs, labels)
        slope = derivative(loss, inputs, NO_WAY)
    if not all(map(math.isfinite, slope.aminmax())):  # a tenth of the time of isfinite
        raise ValueError("the gradient must be finite; the model gives NaN or infinity for this picture.")
    return Slope(loss.detach(), slope, outputs.detach().argmax(1))


def _cross_entropy(outputs: Any, labels: Any) -> Float[Tensor, " N"]:
    """Each label's cross entropy; errors as of ``slope_of_loss``."""
    wanted = class_indices(outputs, labels, "labels")
    if outputs.shape[1] == 1:
        raise ValueError(
            f"an attack needs at least two classes; the model gives {tuple(outputs.shape)}, whose "
            "cross entropy is always 0. Attack a model that gives both classes' scores, as "
            "torch.cat([torch.zeros_like(out), out], 1) has them for a sigmoid network."
        )
    return -as_logits(outputs).log_softmax(1).gather(1, wanted[:, None])[:, 0]


def loss_and_answer(
    model: nn.Module, at: Float[Tensor, "N C H W"], labels: Any
) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
    """The cross entropy of the labels and the classes that the network names, forwards alone: a third of the
    time of ``slope_of_loss``. For a model that is borrowed; errors as there, but for the gradient's.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> loss_and_answer(net, torch.rand(1, 3, 2, 2), 0)[1].shape
    torch.Size([1])
    """
    with torch.no_grad():
        outputs = model(at.detach().clone())
        return _cross_entropy(outputs, labels), outputs.argmax(1)


def no_slope(slope: Float[Tensor, "N C H W"]) -> Bool[Tensor, "N H W"]:
    """Where the gradient is exactly 0 in all channels.

    >>> no_slope(torch.tensor([[[[0.0, 0.0]], [[0.0, -1.0]]]]))
    tensor([[[ True, False]]])
    """
    return (slope.amax(1) == 0) & (slope.amin(1) == 0)  # a fifth of the time of (slope == 0).all(1)


def check_wanted(named: Int[Tensor, " N"], labels: Any) -> None:
    """Raise ValueError where a network names a picture the class wanted already: nothing is left to attack.

    >>> check_wanted(torch.tensor([0, 2]), 2)
    Traceback (most recent call last):
    ...
    ValueError: labels must be classes that the network does not name already, for a targeted attack; 1 of 2 \
pictures is, first number 1, named 2. Want another class of it, or leave it out.
    """
    same = (named == torch.as_tensor(labels, device=named.device)).nonzero()[:, 0]
    if len(same):
        first, one = int(same[0]), len(same) == 1
        raise ValueError(
            "labels must be classes that the network does not name already, for a targeted attack; "
            f"{len(same)} of {len(named)} pictures {'is' if one else 'are'}, first number {first}, named "
            f"{int(named[first])}. Want another class of {'it' if one else 'them'}, or leave "
            f"{'it' if one else 'them'} out."
        )


def fgsm_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    labels: int | Int[Tensor, " N"],
    *,
    epsilon: float = 8 / 255,
    targeted: bool = False,
    start: Float[Tensor, "N C H W"] | None = None,
    step: float | None = None,
) -> Attack:
    """``fgsm`` with its gradient and what that moved (see ``Attack``). Never warns: look at ``still``.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> fgsm_result(net, torch.full((1, 3, 2, 2), 0.5), 0).still
    tensor([0.])
    """
    check_step("epsilon", epsilon)
    check_step("step", 0.0 if step is None else step)
    if start is not None:
        check_images(start, "start")
        if not isinstance(images, Tensor) or start.shape != images.shape:
            got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(
                f"start must have the pictures' shape {got}; got {tuple(start.shape)}. "
                "It is where the step begins, such as the pictures with noise."
            )
    with asked(model, images) as given:
        begin = given if start is None else start.detach().to(given)
        found = slope_of_loss(model, begin, labels)
        if targeted and start is None:
            check_wanted(found.named, labels)
        slope, size = found.gradient, epsilon if step is None else step
        moved = slope.sign().mul_(-size if targeted else size).add_(begin)
        if start is not None or step is not None:
            moved = moved.clamp(given - epsilon, given + epsilon)
        moved = moved.clamp_(0, 1).detach()
        far = (moved - given).abs_().flatten(1).amax(1)
        return Attack(moved, slope, no_slope(slope).flatten(1).float().mean(1), far)


@signature_of(fgsm_result)
def fgsm(*args: Any, **options: Any) -> Float[Tensor, "N C H W"]:
    """The fast gradient sign method: one step of ``epsilon`` in every pixel that raises the loss fastest.

    ``labels`` are the true classes, whose loss is raised; with ``targeted`` the classes wanted, whose loss is
    lowered. The loss is cross entropy by log-softmax, so that a saturated network is attacked too. The result
    is clipped to [0, 1], detached, and never further than ``epsilon`` from the picture. Unit: picture value.

    ``start``: where the step begins and the gradient is taken, default the picture; with noise it gets past
    a gradient that is only zero at the picture, with the last result it is a step of the iterative attack.
    ``step``: the step's own size, default ``epsilon``; what leads out of the ball is cut off.

    Where a pixel has no gradient it stays (sign(0) = 0). Warns, with their number, of pictures whose gradient
    is exactly zero: nothing moved there, and a network that still answers rightly has withstood nothing.
    Raises ValueError for an epsilon below 0 or above 1, labels or a start that do not fit, a class wanted
    that a picture is named already, and a gradient that does not reach the picture, IndexError for a class
    the model does not have, else as ``labkit.attribution.saliency``.

    Labels: post hoc, specific to differentiable models, local.
    Source: Goodfellow, Shlens and Szegedy 2015, "Explaining and Harnessing Adversarial Examples", section 4;
    start and step: Kurakin, Goodfellow and Bengio 2017, "Adversarial Examples in the Physical World", and
    Tramer et al. 2018, "Ensemble Adversarial Training"; zero gradients: Athalye, Carlini and Wagner 2018,
    "Obfuscated Gradients Give a False Sense of Security".

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> image = torch.full((1, 3, 2, 2), 0.5)
    >>> round(float((fgsm(net, image, 0, epsilon=0.1) - image).abs().max()), 3)
    0.1
    """
    found = fgsm_result(*args, **options)
    if dead := int((found.still == 1).sum()):
        warn_caller(
            f"the gradient is exactly zero for {dead} of {len(found.still)} pictures, which did not move: an "
            "attack that moves nothing is no test. A rounding or a saturated step hides the gradient; begin "
            "elsewhere (start=), or attack the model without it."
        )
    return found.images
