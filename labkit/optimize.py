"""The loop that optimizes pictures and masks, with what it is fed: blurs, shifts, and smoothness.

Shared by masks, synthesis, inversion and style: whatever is searched by gradient descent in picture space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit._checks import check_choice, check_positive

__all__ = ["Descent", "blur_pyramid", "frozen", "gaussian_blur", "minimize", "shift", "total_variation"]

OPTIMIZERS = ("adam", "sgd", "lbfgs")


class Descent(NamedTuple):
    """What a search left behind: ``losses``, one a step, and ``complete``: False if it was stopped."""

    losses: Float[Tensor, " T"]
    complete: bool


def frozen(model: nn.Module) -> nn.Module:
    """The model with no parameter asking for gradients, which saves a third of a backward pass.

    Only within ``borrow(model)``, which puts ``requires_grad`` back.
    """
    return model.requires_grad_(False)


def minimize(
    variables: Sequence[Tensor],
    loss: Callable[[int], Tensor],
    *,
    steps: int,
    rate: float,
    optimizer: str = "adam",
    project: Callable[[int], object] | None = None,
    describe: str = "optimizing",
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Descent:
    """Change ``variables`` in place so that ``loss(step)``, one number, falls.

    ``optimizer`` is "adam", "sgd" (momentum .9, with the same dampening) or "lbfgs" (each step up to 20
    evaluations); ``rate`` its learning rate. ``project(step)`` is called after every step, without gradients,
    to clamp or to blur. ``progress`` gets the share done; without it a bar shows if it takes more than a
    moment. ``should_stop`` is asked before every step. Gradients are taken by the variables alone: nothing
    else's ``.grad`` is touched. Raises ValueError for bad options, for a loss that is not finite and for one
    that does not depend on the variables.

    >>> x = torch.tensor([3.0])
    >>> done = minimize([x], lambda step: (x**2).sum(), steps=200, rate=0.1)
    >>> bool(x.abs() < 0.1), done.complete, len(done.losses)
    (True, True, 200)
    """
    check_positive("steps", steps)
    check_positive("rate", rate, integer=False)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    kept = [v.requires_grad for v in variables]
    search: torch.optim.Optimizer
    if optimizer == "adam":
        # a slope that is nothing but rounding must not become a whole step
        search = torch.optim.Adam(variables, rate, eps=1e-5)
    elif optimizer == "sgd":
        search = torch.optim.SGD(variables, rate, momentum=0.9, dampening=0.9)
    else:
        search = torch.optim.LBFGS(variables, rate, max_iter=20, line_search_fn="strong_wolfe")
    losses: list[float] = []
    complete = True
    for variable in variables:
        variable.requires_grad_(True)
    try:
        with tqdm(
            total=steps, desc=describe, unit="step", leave=False, delay=1.5, disable=progress is not None
        ) as bar:
            for step in range(steps):
                if should_stop is not None and should_stop():
                    complete = False
                    break

                def evaluate(step: int = step) -> float:
                    value = loss(step)
                    if not torch.isfinite(value):
                        raise ValueError(
                            f"loss must be finite; it is {float(value.detach())} at step {step}. "
                            "Lower the rate, or look at the model's scores for this picture."
                        )
                    slopes = torch.autograd.grad(value, variables, allow_unused=True)
                    if all(slope is None for slope in slopes):
                        raise ValueError("loss must depend on the variables; no gradient reaches them.")
                    for variable, slope in zip(variables, slopes, strict=True):
                        variable.grad = slope
                    return float(value.detach())

                losses.append(float(search.step(evaluate)))  # type: ignore[arg-type]
                if project is not None:
                    with torch.no_grad():
                        project(step)
                bar.update()
                if progress is not None:
                    progress((step + 1) / steps)
    finally:
        for variable, needed in zip(variables, kept, strict=True):
            variable.grad = None
            variable.requires_grad_(needed)
    return Descent(torch.tensor(losses), complete)


def gaussian_blur(images: Float[Tensor, "N C H W"], sigma: float) -> Float[Tensor, "N C H W"]:
    """A Gaussian blur, ``sigma`` in pixels, that reflects at the border so that no frame darkens.

    >>> gaussian_blur(torch.ones(1, 1, 8, 8, dtype=torch.float64), 2.0).mean().round(decimals=9)
    tensor(1., dtype=torch.float64)
    """
    check_positive("sigma", sigma, integer=False)
    reach = min(int(3 * sigma + 0.5), min(images.shape[2:]) - 1)
    if reach < 1:
        return images
    x = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (reach,) * 4, mode="reflect")
    across = F.conv2d(padded, kernel[:, :, None, :], groups=images.shape[1])
    return F.conv2d(across, kernel[:, :, :, None], groups=images.shape[1])


def blur_pyramid(
    images: Float[Tensor, "N C H W"], sigma: float, levels: int = 8
) -> Float[Tensor, "L N C H W"]:
    """The picture at ``levels`` strengths of blur from ``sigma`` (first) to none at all (last).

    >>> blur_pyramid(torch.rand(1, 3, 8, 8), 3.0, 4).shape
    torch.Size([4, 1, 3, 8, 8])
    """
    strengths = [sigma * (1 - k / (levels - 1)) for k in range(levels)]
    return torch.stack([gaussian_blur(images, s) if s > 0.25 else images for s in strengths])


def total_variation(x: Float[Tensor, "N C H W"], beta: float = 2.0) -> Float[Tensor, " N"]:
    """The sum over places of (squared step down + squared step right) to the power beta / 2.

    Source: Mahendran and Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them", eq. 6.

    >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
    tensor([2.])
    """
    down = F.pad(x[:, :, 1:] - x[:, :, :-1], (0, 0, 0, 1))
    right = F.pad(x[:, :, :, 1:] - x[:, :, :, :-1], (0, 1))
    squares = down**2 + right**2
    # the root of zero has no slope: there the difference itself is zero, and so is what is added
    return (squares if beta == 2 else (squares + 1e-8) ** (beta / 2)).sum((1, 2, 3))


def shift(
    images: Float[Tensor, "N C H W"], most: int, generator: torch.Generator
) -> Float[Tensor, "N C H W"]:
    """All pictures moved by one random step of at most ``most`` pixels in each direction, reflected in.

    >>> shift(torch.ones(1, 1, 4, 4), 2, torch.Generator()).unique()
    tensor([1.])
    """
    most = min(most, min(images.shape[2:]) - 1)
    if most < 1:
        return images
    down, right = (int(v) for v in torch.randint(0, 2 * most + 1, (2,), generator=generator))
    height, width = images.shape[2:]
    padded = F.pad(images, (most,) * 4, mode="reflect")
    return padded[:, :, down : down + height, right : right + width]
