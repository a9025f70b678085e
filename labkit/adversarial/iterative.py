"""Iterative attacks: PGD, many projected steps in a ball, and the smallest perturbation that fools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.adversarial.attacks import check_step, check_wanted, loss_and_answer, no_slope, slope_of_loss
from labkit.core.checks import check_choice, check_positive
from labkit.core.door import asked, seeded
from labkit.core.progress import working
from labkit.core.registry import signature_of, warn_caller

__all__ = [
    "NORMS", "Minimal", "Pgd", "minimal_perturbation", "minimal_perturbation_result", "pgd", "pgd_result",
    "project",
]  # fmt: skip

NORMS = ("linf", "l2")


class Pgd(NamedTuple):
    """``images`` (N, C, H, W); ``fooled`` (N,): whether each is named another class than its label (targeted:
    the class wanted); ``loss`` (N,): the cross entropy of the labels at the end; ``still`` (N,): the share of
    pixels whose gradient was exactly 0 in every step; ``moved`` (N,): the distance from the picture in the
    norm asked for; ``complete``: False if ``should_stop`` ended it."""

    images: Float[Tensor, "N C H W"]
    fooled: Bool[Tensor, " N"]
    loss: Float[Tensor, " N"]
    still: Float[Tensor, " N"]
    moved: Float[Tensor, " N"]
    complete: bool


class Minimal(NamedTuple):
    """``images`` (N, C, H, W), each as near as was found; ``epsilon`` (N,): its distance, infinite where even
    the largest ball did not fool; ``fooled`` (N,); ``still`` (N,) as of ``Pgd``, in the largest ball."""

    images: Float[Tensor, "N C H W"]
    epsilon: Float[Tensor, " N"]
    fooled: Bool[Tensor, " N"]
    still: Float[Tensor, " N"]


def _size(change: Float[Tensor, "N C H W"], norm: str) -> Float[Tensor, "N 1 1 1"]:
    """The length of each picture's change."""
    flat = change.flatten(1)
    length = flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)
    return length.view(-1, 1, 1, 1)


def project(
    images: Float[Tensor, "N C H W"],
    centre: Float[Tensor, "N C H W"],
    epsilon: float | Float[Tensor, " N"],
    norm: str = "linf",
) -> Float[Tensor, "N C H W"]:
    """The point of the ball about ``centre`` that is nearest to each picture, then clipped to [0, 1].

    ``epsilon``: the ball's radius in picture values, one or one a picture; ``norm``: "linf" or "l2".
    Clipping leads nowhere out of the ball, for its centre is a picture. Raises ValueError for another norm.

    >>> project(torch.full((1, 1, 1, 1), 0.9), torch.full((1, 1, 1, 1), 0.5), 0.1).item()
    0.6000000238418579
    """
    check_choice("norm", norm, NORMS)
    radius = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device).view(-1, 1, 1, 1)
    change = images - centre
    if norm == "linf":
        change = torch.minimum(torch.maximum(change, -radius), radius)
    else:
        change = change * (radius / _size(change, norm).clamp(min=1e-12)).clamp(max=1)
    return change.add_(centre).clamp_(0, 1)


def _along(slope: Float[Tensor, "N C H W"], norm: str) -> Float[Tensor, "N C H W"]:
    """The steepest way up of length 1: by the sign, or along the gradient; 0 where that is 0."""
    if norm == "linf":
        return slope.sign()
    return slope / _size(slope, norm).clamp(min=torch.finfo(slope.dtype).tiny)


def _begin(given: Tensor, radius: Tensor, norm: str, own: torch.Generator) -> Tensor:
    """A place in the ball, the same for every picture, so that a batch gives what its pictures give alone."""
    noise = 2 * torch.rand(given.shape[1:], generator=own, dtype=torch.float64) - 1
    noise = noise.to(given)[None].expand_as(given)
    if norm == "l2":
        noise = noise / _size(noise, norm) * torch.rand((), generator=own, dtype=torch.float64).to(given)
    return (given + radius * noise).clamp(0, 1)


def _ascend(
    model: nn.Module, given: Tensor, begin: Tensor, labels: Any, radius: Tensor, step: Tensor, steps: int,
    norm: str, sign: float, each: Callable[[], bool], first: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The pictures after the steps, and where no step had a gradient; ``first``: that of the first step."""
    shown, still = begin, torch.ones_like(given[:, 0], dtype=torch.bool)
    for _ in range(steps):
        if each():
            break
        slope, first = slope_of_loss(model, shown, labels).gradient if first is None else first, None
        still &= no_slope(slope)
        shown = project(_along(slope, norm).mul_(sign * step).add_(shown), given, radius.flatten(), norm)
    return shown, still.flatten(1).float().mean(1)


def pgd_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    labels: int | Int[Tensor, " N"],
    *,
    epsilon: float | Float[Tensor, " N"] = 8 / 255,
    steps: int = 20,
    step: float | None = None,
    targeted: bool = False,
    restarts: int = 1,
    random_start: bool = True,
    norm: str = "linf",
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Pgd:
    """``pgd`` with what it reached (see ``Pgd``). Never warns: look at ``still``. Errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> pgd_result(net, torch.full((2, 3, 2, 2), 0.5), 0, steps=2).fooled.shape
    torch.Size([2])
    """
    check_choice("norm", norm, NORMS)
    check_positive("steps", steps)
    check_positive("restarts", restarts)
    several = isinstance(epsilon, Tensor | ndarray | list | tuple)
    for value in torch.as_tensor(epsilon).flatten().tolist() if several else [epsilon]:
        check_step("epsilon", value, 1.0 if norm == "linf" else 1e3)
    if step is not None:
        check_step("step", step, 1.0 if norm == "linf" else 1e3)
    own, sign = seeded(generator), -1.0 if targeted else 1.0
    with asked(model, images) as given:
        if isinstance(epsilon, Tensor) and epsilon.ndim and len(epsilon) != len(given):
            raise ValueError(
                f"epsilon must be one number or one a picture, {len(given)}; got {len(epsilon)}."
            )
        radius = torch.as_tensor(epsilon, dtype=given.dtype, device=given.device).view(-1, 1, 1, 1)
        stride = 2.5 * radius / steps if step is None else radius * 0 + step
        if random_start:
            slope, (loss, named) = None, loss_and_answer(model, given, labels)
        else:
            loss, slope, named = slope_of_loss(model, given, labels)
        wanted = torch.as_tensor(labels, device=given.device).expand(len(given))
        if targeted:
            check_wanted(named, wanted)
        found, fooled = given.clone(), (named == wanted) == targeted
        still = torch.ones(len(given), dtype=torch.float32, device=given.device)
        with working("pgd", restarts * steps, "step", progress=progress, should_stop=should_stop) as work:
            done = 0

            def each() -> bool:
                nonlocal done
                work.at(done)
                done += 1
                return work.stopped()

            for number in range(restarts):
                at = _begin(given, radius, norm, own) if random_start or number else given
                how = labels, radius, stride, steps, norm, sign, each, None if number else slope
                shown, dead = _ascend(model, given, at, *how)
                last, named = loss_and_answer(model, shown, labels)
                hit = (named == wanted) == targeted
                still = torch.minimum(still, dead)
                better = (hit & ~fooled) | ((hit == fooled) & (sign * last > sign * loss))
                found = torch.where(better[:, None, None, None], shown, found)
                loss, fooled = torch.where(better, last, loss), fooled | hit
                if work.stopped():
                    break
        return Pgd(found, fooled, loss, still, _size(found - given, norm).flatten(), work.complete)


def _warn_of_still(still: Float[Tensor, " N"]) -> None:
    if dead := int((still == 1).sum()):
        warn_caller(
            f"the gradient is exactly zero for {dead} of {len(still)} pictures in every step: an attack that "
            "follows no gradient is no test. A rounding or a saturated step hides it; attack the model "
            "without it, or try what fools a network like it."
        )


@signature_of(pgd_result)
def pgd(*args: Any, **options: Any) -> Float[Tensor, "N C H W"]:
    """Projected gradient descent: many small steps that raise the loss, each brought back into the ball.

    ``labels`` are the true classes, whose loss is raised; with ``targeted`` the classes wanted, whose loss is
    lowered. Every step is ``step`` long (None: 2.5 ``epsilon`` / ``steps``) along the gradient's sign
    (norm "linf") or the gradient ("l2"), then projected to the ball of radius ``epsilon`` (one, or one a
    picture) and clipped to [0, 1]. ``restarts``: begin again elsewhere in the ball, and keep for each picture
    what fools, else the best loss; with ``random_start`` False the first begins at the picture itself.
    ``generator``: of these beginnings (None: seed 0), which are the same for every picture.

    Warns, with their number, of pictures whose gradient is exactly zero throughout. Raises ValueError for
    options out of range, labels that do not fit, a class wanted that a picture is named already, and a
    gradient that does not reach the picture, IndexError for a class that the model does not have, else as
    ``labkit.attribution.saliency``.

    Unit: picture value. Labels: post hoc, specific to differentiable models, local.
    Source: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", section 2;
    step size: their code; norm "l2" and restarts: section 5.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> image = torch.full((1, 3, 2, 2), 0.5)
    >>> round(float((pgd(net, image, 0, epsilon=0.1) - image).abs().max()), 3)
    0.1
    """
    found = pgd_result(*args, **options)
    _warn_of_still(found.still)
    return found.images


def minimal_perturbation_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    labels: int | Int[Tensor, " N"],
    *,
    targeted: bool = False,
    norm: str = "l2",
    most: float | None = None,
    halvings: int = 12,
    steps: int = 40,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Minimal:
    """``minimal_perturbation`` with each picture's distance (see ``Minimal``). Errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> minimal_perturbation_result(net, torch.full((2, 3, 2, 2), 0.5), 0, halvings=2, steps=2).epsilon.shape
    torch.Size([2])
    """
    check_positive("halvings", halvings)
    largest = most if most is not None else (1.0 if norm == "linf" else 16.0)
    check_step("most", largest, 1.0 if norm == "linf" else 1e3)
    given: dict[str, Any] = {"steps": steps, "targeted": targeted, "norm": norm, "random_start": False}
    given |= {"progress": lambda _: None, "should_stop": should_stop, "generator": generator}
    bar = working("bisection", halvings + 1, "ball", progress=progress, should_stop=should_stop)
    with torch.inference_mode(False), bar as work:
        first = pgd_result(model, images, labels, epsilon=0.0, **{**given, "steps": 1})
        whole = pgd_result(model, images, labels, epsilon=largest, **given)
        work.at(1)
        low, high = torch.zeros_like(whole.moved), torch.where(whole.fooled, whole.moved, torch.inf)
        found = whole.images
        for number in range(halvings):
            if work.stopped():
                break
            middle = torch.where(high.isinf(), low, (low + high) / 2)
            now = pgd_result(model, images, labels, epsilon=middle, **given)
            closer = now.fooled & ~high.isinf()
            found = torch.where(closer[:, None, None, None], now.images, found)
            high = torch.where(closer, torch.minimum(now.moved, middle), high)
            low = torch.where(closer, low, middle)
            work.at(number + 2)
        found = torch.where(first.fooled[:, None, None, None], first.images, found)
        high = torch.where(first.fooled, 0.0, high)
    return Minimal(found, high, first.fooled | whole.fooled, whole.still)


@signature_of(minimal_perturbation_result)
def minimal_perturbation(*args: Any, **options: Any) -> Float[Tensor, "N C H W"]:
    """The nearest picture that the network misreads: the smallest ball in which PGD fools it, by bisection.

    Start anywhere, pick any class, stop when fooled. ``labels`` and ``targeted`` as of ``pgd``; ``norm``:
    "l2" or "linf". From the ball of radius ``most`` (None: 16 in l2, 1 in linf) the radius is halved in
    ``halvings`` steps towards the smallest in which ``steps`` of PGD still fool. What is found bounds the
    distance to the border from above; on a linear network it is the distance. A picture that is misread
    already stays, at 0; one that the largest ball does not fool comes back as far as it went.

    Warns, with their number, of pictures whose gradient is exactly zero throughout, and of others that were
    not fooled. Errors as of ``pgd``.

    Unit: picture value. Labels: post hoc, specific to differentiable models, local.
    Source: Szegedy et al. 2014, "Intriguing Properties of Neural Networks", section 4.1, who search by
    L-BFGS with a penalty and halve its weight in place of the ball.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> image = torch.full((1, 3, 2, 2), 0.5)
    >>> named = net(image).argmax(1)
    >>> bool(net(minimal_perturbation(net, image, named)).argmax(1) != named)
    True
    """
    found = minimal_perturbation_result(*args, **options)
    _warn_of_still(found.still)
    if left := int((~found.fooled & (found.still < 1)).sum()):
        warn_caller(
            f"the largest ball fooled the network for all but {left} of {len(found.fooled)} pictures; these "
            "are as far as they went. Give it a larger most= or more steps."
        )
    return found.images
