"""What a method explains: a class's score, a unit, a direction, a sum of these; one number a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_class
from labkit.core.hooks import record
from labkit.core.target_algebra import Direction, Output, Score, Sum, Unit, direction, unit

__all__ = [
    "Direction",
    "Score",
    "Sum",
    "Target",
    "Unit",
    "class_score",
    "direction",
    "pick",
    "reads_layers",
    "scores",
    "unit",
]

Target: TypeAlias = int | Int[Tensor, "N"] | Callable[[Tensor], Float[Tensor, "N"]] | Score  # noqa: F821


@dataclass(frozen=True, eq=False)
class ClassScore(Score):
    """The score of a class, or of one class a picture."""

    target: int | Tensor

    def read(self, outputs: Any, kept: Mapping[str, Tensor]) -> Float[Tensor, " N"]:
        """What ``pick`` gives."""
        return pick(outputs, self.target)

    def select(self, rows: Any) -> Score:
        """One class a picture becomes that of the pictures chosen."""
        several = isinstance(self.target, Tensor) and self.target.ndim > 0
        return ClassScore(self.target[rows]) if several else self  # type: ignore[index]


def class_score(target: int | Tensor) -> Score:
    """The target "this class" (an index, or a tensor with one a picture), to be added to and scaled.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> scores(net, torch.zeros(4, 3, 1, 1), class_score(1) - class_score(0)).shape
    torch.Size([4])
    """
    return ClassScore(target)


def reads_layers(target: Target) -> bool:
    """Whether a target is read at a layer within the model, so that its outputs alone do not tell it."""
    return isinstance(target, Score) and bool(target.layers)


def pick(outputs: Tensor, target: int | Tensor | Callable[[Tensor], Tensor]) -> Float[Tensor, "N"]:  # noqa: F821
    """One score a picture from a model's outputs; for ``scores``, and where the outputs are at hand already.

    Raises IndexError for a class out of range, ValueError for outputs or results of the wrong shape,
    TypeError for a target of another kind.
    """
    if isinstance(target, Score):
        return target(outputs)
    if callable(target):
        return Output(target).read(outputs, {})
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"a class index as target needs outputs of shape (N, classes); the model gives {got}. "
            "Pass a callable that turns the outputs into one score a picture."
        )
    if isinstance(target, Tensor) and target.ndim == 1:
        if torch.is_floating_point(target) or target.dtype == torch.bool or len(target) != len(outputs):
            raise ValueError(
                f"a tensor target must hold one class index a picture, int64 ({len(outputs)},); "
                f"got {target.dtype} {tuple(target.shape)}."
            )
        for index in target.tolist():
            check_class(index, outputs.shape[1])
        return outputs.gather(1, target.to(outputs.device).long()[:, None])[:, 0]
    if isinstance(target, bool | float) or not hasattr(target, "__index__"):
        raise TypeError(
            "target must be a class index, a tensor of them, a callable on the outputs, "
            "unit(layer, channel), direction(layer, vector) or a sum of such; "
            f"got {type(target).__name__}."
        )
    index = int(target)  # type: ignore[arg-type]
    check_class(index, outputs.shape[1])
    return outputs[:, index]


def scores(model: nn.Module, images: Float[Tensor, "N C H W"], target: Target) -> Float[Tensor, "N"]:  # noqa: F821
    """Run the model and give the target's score of each picture, in the graph.

    Scores are taken before the softmax. Errors as in ``pick``; a layer, a place or a vector may be wrong too.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> scores(net, torch.zeros(4, 3, 1, 1), 1).shape
    torch.Size([4])
    """
    if isinstance(target, Score):
        with record(model, *target.layers) as kept:
            outputs = model(images)
        return target.read(outputs, kept)
    return pick(model(images), target)
