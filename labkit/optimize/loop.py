"""The loop that optimizes pictures and masks.

Shared by masks, synthesis, inversion and style: whatever is searched by gradient descent in picture space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from labkit.core.checks import check_choice, check_positive

__all__ = ["Descent", "minimize"]

OPTIMIZERS = ("adam", "sgd", "lbfgs")


class Descent(NamedTuple):
    """What a search left behind: ``losses``, one a step, and ``complete``: False if it was stopped."""

    losses: Float[Tensor, " T"]
    complete: bool


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
