"""Gradient descent on pictures and masks: the loop that masks, synthesis, inversion and style share."""

from __future__ import annotations

import copy
import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.checks import check_choice, check_positive
from labkit.core.door import backward_in_own_words
from labkit.core.progress import working
from labkit.optimize.constraint import Band, Hold

__all__ = ["Descent", "minimize", "warn_of_dead"]

OPTIMIZERS = ("adam", "sgd", "lbfgs")
SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the steps done -> share of the rate
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


NO_WAY = "loss must depend on the variables; no gradient reaches them."


class Descent(NamedTuple):
    """What a search left behind: ``losses``, one a step; ``complete``: False if it was stopped; ``alive``
    (N,): whether the loss without its price had a slope other than exactly zero in any step, row by row of
    the variables (one for all where these have no rows in common): where it had none, the price alone made
    the result; ``held`` (N,): the held score of each picture at the end, None where none was; ``memory``:
    what the optimizer remembers, for a search that goes on."""

    losses: Float[Tensor, " T"]
    complete: bool
    alive: Bool[Tensor, " N"]
    held: Float[Tensor, " N"] | None = None
    memory: dict[str, Any] | None = None


def warn_of_dead(alive: Bool[Tensor, " N"]) -> None:
    """Warn of pictures whose loss had no slope but exactly zero, with their number: for plain forms.

    >>> warn_of_dead(torch.tensor([True, True]))
    """
    if dead := int((~alive).sum()):
        warnings.warn(
            f"the gradient is exactly zero for {dead} of {len(alive)} pictures in every step: what was found "
            "says nothing about them. A rounding, a saturated step or a layer that is off hides it; ask for "
            'the logit (reward="logit"), or use labkit.attribution.occlusion.',
            stacklevel=3,
        )


class _Slopes:
    """The gradients of a loss and its price by the variables, and whether the loss has any of its own."""

    def __init__(self, variables: Sequence[Tensor], refusal: str, keep: bool) -> None:
        self.variables, self.refusal, self.keep = variables, refusal, keep
        rows = {len(v) if v.ndim else 0 for v in variables}
        self.rows = rows.pop() if len(rows) == 1 else 0
        self.alive = torch.zeros(self.rows or 1, dtype=torch.bool)

    def _of(self, value: Tensor, keep: bool) -> Sequence[Tensor | None]:
        if not value.requires_grad:
            return [None] * len(self.variables)
        with backward_in_own_words():
            return torch.autograd.grad(value, self.variables, retain_graph=keep, allow_unused=True)

    def __call__(self, value: Tensor, price: Tensor | None) -> Sequence[Tensor | None]:
        if price is not None and self.alive.all():  # one pass is enough
            return self._of(value + price, self.keep)
        slopes = self._of(value, self.keep or price is not None)
        if all(slope is None for slope in slopes):
            raise ValueError(self.refusal)
        for slope in slopes:
            if slope is not None and not self.alive.all():
                self.alive |= (slope != 0).reshape(self.rows or 1, -1).any(1).cpu()
        if price is None:
            return slopes
        dues = self._of(price, self.keep)
        both = zip(slopes, dues, strict=True)
        return [b if a is None else a if b is None else a + b for a, b in both]


def _rates(rate: float | Callable[[int], float], schedule: str | None, steps: int) -> Callable[[int], float]:
    """The learning rate of each step."""
    if schedule is not None:
        check_choice("schedule", schedule, SCHEDULES)
    if not callable(rate):
        check_positive("rate", rate, integer=False)

    def at(step: int) -> float:
        value = rate(step) if callable(rate) else rate
        if not isinstance(value, numbers.Real) or not 0 <= value < float("inf"):
            raise ValueError(f"rate must be a finite number of at least 0; at step {step} it is {value!r}.")
        return float(value) if schedule is None else float(value) * SCHEDULES[schedule](step / steps)

    return at


def minimize(
    variables: Sequence[Tensor],
    loss: Callable[[int], Tensor | tuple[Tensor, Tensor]],
    *,
    steps: int,
    rate: float | Callable[[int], float],
    optimizer: str = "adam",
    schedule: str | None = None,
    hold: Hold | None = None,
    project: Callable[[int], object] | None = None,
    on_frame: Callable[[int, float], object] | None = None,
    every: int = 10,
    first: int = 0,
    memory: dict[str, Any] | None = None,
    refusal: str = NO_WAY,
    describe: str = "optimizing",
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Descent:
    """Change ``variables`` in place so that ``loss(step)`` falls: one number, or a loss and its price.

    A price, such as that of a mask's area, has a slope of its own and would end in a finished-looking result
    where none comes from the loss: given apart, both are added, and the loss must still reach the variables.
    ``rate``: the learning rate, or a function of the step that gives it.
    ``optimizer``: "adam", "sgd" (momentum .9, with the same dampening) or "lbfgs" (each step up to 20
    evaluations).
    ``schedule``: "linear" or "cosine" lets the rate fall to zero over the steps; None keeps it.
    ``hold``: a score kept within a band meanwhile, from both sides (see ``Hold``).
    ``project``: called with each step after it, without gradients, to clamp or to blur; "lbfgs" forgets its
    curvature where that moves a variable.
    ``on_frame``: called without gradients with the step and its loss after the first step, after ``every``
    steps more and after the last: for pictures of the search, which the variables hold then.
    ``first``, ``memory``: the number of the first step and the ``memory`` of a search that this one goes on
    from, as if it had not ended.
    ``refusal``: what is said where no gradient of the loss reaches the variables.
    ``describe``, ``progress``: the bar's title; gets the share done in place of a bar, which shows if it
    takes more than a moment.
    ``should_stop``: asked before every step.

    Gradients are taken by the variables alone: nothing else's ``.grad`` is touched. Raises ValueError for bad
    options, for a loss or a held score that is not finite and for a loss that does not depend on the
    variables.

    >>> x = torch.tensor([3.0])
    >>> done = minimize([x], lambda step: (x**2).sum(), steps=200, rate=0.1)
    >>> bool(x.abs() < 0.1), done.complete, len(done.losses)
    (True, True, 200)
    """
    check_positive("steps", steps)
    check_positive("every", every)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    rates = _rates(rate, schedule, first + steps)
    band = None if hold is None else Band(hold, variables)
    if band is not None and optimizer == "lbfgs":
        raise ValueError(
            'optimizer must be "adam" or "sgd" where a score is held; got "lbfgs", whose line search needs '
            "the loss's whole gradient."
        )
    begin = rates(first)
    asking = [v.requires_grad for v in variables]
    search: torch.optim.Optimizer
    if optimizer == "adam":
        # a slope that is nothing but rounding must not become a whole step
        search = torch.optim.Adam(variables, begin, eps=1e-5)
    elif optimizer == "sgd":
        search = torch.optim.SGD(variables, begin, momentum=0.9, dampening=0.9)
    else:
        search = torch.optim.LBFGS(variables, begin, max_iter=20, line_search_fn="strong_wolfe")
    if memory is not None:
        search.load_state_dict(memory)
    losses: list[float] = []
    slopes_of = _Slopes(variables, refusal, band is not None)
    for variable in variables:
        variable.requires_grad_(True)
    try:
        with working(describe, steps, "step", progress=progress, should_stop=should_stop) as work:
            for step in range(first, first + steps):
                if work.stopped():
                    break
                if callable(rate) or schedule is not None:
                    for group in search.param_groups:
                        group["lr"] = rates(step)

                def evaluate(step: int = step) -> float:
                    given = loss(step)
                    own, price = given if isinstance(given, tuple) else (given, None)
                    value = own if price is None else own + price
                    if not torch.isfinite(value):
                        raise ValueError(
                            f"loss must be finite; it is {float(value.detach())} at step {step}. "
                            "Lower the rate, or look at the model's scores for this picture."
                        )
                    found = slopes_of(own, price)
                    if band is not None:
                        found = band.tangent(step, found)
                    for variable, slope in zip(variables, found, strict=True):
                        variable.grad = slope
                    return float(value.detach())

                losses.append(float(search.step(evaluate)))  # type: ignore[arg-type]
                if band is not None:
                    band.restore()
                    band.settle(step, loss, hold.again if hold else 0)
                with torch.no_grad():
                    if project is not None:
                        before = [v.clone() for v in variables] if optimizer == "lbfgs" else []
                        project(step)
                        if not all(map(torch.equal, before, variables)):
                            search.state.clear()  # what it knows of the slope is of where the variables were
                    if on_frame is not None and (step % every == 0 or step == first + steps - 1):
                        on_frame(step, losses[-1])
                work.at(step + 1 - first)
        held = None if band is None else band.final(max(0, first + len(losses) - 1), loss)
    finally:
        for variable, needed in zip(variables, asking, strict=True):
            variable.grad = None
            variable.requires_grad_(needed)
    kept = copy.deepcopy(search.state_dict())
    return Descent(torch.tensor(losses), work.complete, slopes_of.alive, held, kept)
