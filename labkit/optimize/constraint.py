"""A score held within a band while something else is optimized: projected gradients, Newton's restoration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_positive
from labkit.core.door import backward_in_own_words

__all__ = ["Band", "Hold"]

_AT = 1e-3  # how near the band's end counts as at it, in parts of the end's size (of 1 for small ones)
_TRIES = 20  # restorations after the last step


class Hold(NamedTuple):
    """A score that ``minimize`` keeps within a band, from both sides: ``low`` <= score <= ``high``.

    At the end of the band, or beyond it, the part of the loss's gradient that leads further out is taken away
    before the optimizer sees it, and the variables move along the score's own gradient by what brings it back
    (Newton's step, the shortest way), picture by picture. Within the band the loss alone decides.

    ``score``: a function of the step that gives one number a picture, (N,); it is called right after the
    loss of the same step, so that it may return what that has worked out already.
    ``low``, ``high``: the band's ends in the score's own unit, a number or one a picture; equal ends hold the
    score at a value.
    ``most``: the largest restoration of one step, as a root mean square over a picture's values, in their own
    unit: a score far away is reached in several steps.
    ``within``: the range that a restoration may not leave, such as (0, 1) for pictures.
    ``again``: how many more restorations a step may take until the score is within, each at the price of
    another pass; 0 is enough where steps are short. After the last step up to twenty are taken in any case.

    Source: Rosen 1961, "The Gradient Projection Method for Nonlinear Programming", part II.
    """

    score: Callable[[int], Float[Tensor, " N"]]
    low: float | Tensor
    high: float | Tensor
    most: float = 0.05
    within: tuple[float, float] | None = None
    again: int = 0


class Band:
    """A ``Hold`` at work on variables (N, ...): ``tangent`` for the gradients, ``restore`` after the step.

    Raises ValueError for a band that is upside down or not finite, for scores that are not one a picture, and
    for variables that are not one a picture either.
    """

    def __init__(self, hold: Hold, variables: Sequence[Tensor]) -> None:
        self.hold, self.variables = hold, variables
        check_positive("most", hold.most, integer=False)
        low, high = torch.as_tensor(hold.low), torch.as_tensor(hold.high)
        if not (torch.isfinite(low).all() and torch.isfinite(high).all() and (low <= high).all()):
            raise ValueError(f"hold must have low <= high, both finite; got {hold.low} and {hold.high}.")
        self.moves: list[Tensor] = []

    def measured(self, step: int) -> Float[Tensor, " N"]:
        """The score of each picture, checked."""
        score = self.hold.score(step)
        if not isinstance(score, Tensor) or score.ndim != 1 or not torch.isfinite(score).all():
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise ValueError(f"hold's score must give one finite number a picture, shape (N,); got {got}.")
        if any(v.ndim == 0 or len(v) != len(score) for v in self.variables):
            shapes = ", ".join(str(tuple(v.shape)) for v in self.variables)
            raise ValueError(
                f"hold needs variables with a row a picture, as many as scores ({len(score)}); got {shapes}."
            )
        return score

    def _slopes(self, score: Tensor, keep: bool) -> list[Tensor]:
        """The gradient of each picture's score; raises ValueError where none reaches the variables."""
        found: Sequence[Tensor | None] = [None] * len(self.variables)
        if score.requires_grad:
            with backward_in_own_words():
                found = torch.autograd.grad(score.sum(), self.variables, retain_graph=keep, allow_unused=True)
        if all(slope is None for slope in found):
            raise ValueError("hold's score must depend on the variables; no gradient reaches them.")
        return [torch.zeros_like(v) if s is None else s for s, v in zip(found, self.variables, strict=True)]

    def _ends(self, score: Tensor) -> tuple[Tensor, Tensor]:
        ends = (self.hold.low, self.hold.high)
        low, high = (torch.as_tensor(end).to(score).expand_as(score) for end in ends)
        return low, high

    def _aim(self, score: Tensor, slopes: list[Tensor]) -> None:
        """Set ``moves``, what brings the scores back, along what of the slope stays ``within``."""
        low, high = self._ends(score)
        lack = (low - score).clamp(min=0) - (score - high).clamp(min=0)
        if self.hold.within is not None:
            least, most = self.hold.within
            ways = [_rows(lack, s) * s for s in slopes]
            free = [
                ((v > least) | (w > 0)) & ((v < most) | (w < 0))
                for v, w in zip(self.variables, ways, strict=True)
            ]
            slopes = [s * f for s, f in zip(slopes, free, strict=True)]
        size = _dot(slopes, slopes)
        count = sum(s[0].numel() for s in slopes)
        longest = self.hold.most * count**0.5 / size.sqrt()
        scale = torch.where(size > 0, (lack / size).clamp(-longest, longest), 0)
        self.moves = [_rows(scale, s) * s for s in slopes]

    def tangent(self, step: int, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """The loss's gradients without the part that would lead a score out of its band, or further out."""
        score = self.measured(step)
        slopes = self._slopes(score, True)
        self._aim(score.detach(), slopes)
        low, high = self._ends(score.detach())
        lowest = score <= low + _AT * low.abs().clamp(min=1)
        highest = score >= high - _AT * high.abs().clamp(min=1)
        size = _dot(slopes, slopes)
        given = [torch.zeros_like(s) if g is None else g for g, s in zip(gradients, slopes, strict=True)]
        along = _dot(given, slopes)  # a step against the gradient lowers the score where this is above 0
        out = ((along > 0) & lowest) | ((along < 0) & highest)
        scale = torch.where(out & (size > 0), along / size, 0)
        return [g - _rows(scale, s) * s for g, s in zip(given, slopes, strict=True)]

    def restore(self) -> None:
        """Move the variables by what brings the scores that were outside back, as far as ``most`` allows."""
        with torch.no_grad():
            for variable, move in zip(self.variables, self.moves, strict=True):
                variable.add_(move)
                if self.hold.within is not None:
                    touched = move != 0
                    variable.copy_(torch.where(touched, variable.clamp(*self.hold.within), variable))

    def settle(self, step: int, loss: Callable[[int], object], tries: int = _TRIES) -> None:
        """Restore until every score is within its band, or the tries are used up."""
        for _ in range(tries):
            loss(step)  # which the score may come from
            score = self.measured(step)
            self._aim(score.detach(), self._slopes(score, False))
            if not any(move.any() for move in self.moves):
                return
            self.restore()

    def final(self, step: int, loss: Callable[[int], object]) -> Float[Tensor, " N"]:
        """The scores at the end, brought back as far as may be."""
        self.settle(step, loss)
        with torch.no_grad():
            loss(step)
            return self.measured(step).detach()


def _rows(numbers: Float[Tensor, " N"], like: Tensor) -> Tensor:
    return numbers.view(-1, *[1] * (like.ndim - 1))


def _dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> Float[Tensor, " N"]:
    """Each picture's inner product over all variables."""
    parts = [(a * b).flatten(1).sum(1) if a.ndim > 1 else a * b for a, b in zip(first, second, strict=True)]
    return torch.stack(parts).sum(0)
