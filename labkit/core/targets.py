"""What a method explains: a class's score, a unit, or any function of the outputs; one number a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_class
from labkit.core.hooks import record


@dataclass(frozen=True)
class Unit:
    """One channel of a layer; at ``place`` (row, column), or averaged over all places if it is None."""

    layer: str
    channel: int
    place: tuple[int, int] | None = None


Target: TypeAlias = int | Int[Tensor, "N"] | Callable[[Tensor], Float[Tensor, "N"]] | Unit  # noqa: F821


def unit(layer: str, channel: int, place: tuple[int, int] | None = None) -> Unit:
    """The target "this channel of this layer": its activation at ``place`` or its mean over all places."""
    return Unit(layer, int(channel), place)


def _of_unit(model: nn.Module, images: Tensor, target: Unit) -> Tensor:
    with record(model, target.layer) as kept:
        model(images)
    activation = kept[target.layer]
    if activation.ndim not in (2, 4):
        raise ValueError(
            f"layer {target.layer!r} must give (N, C) or (N, C, H, W); got {tuple(activation.shape)}."
        )
    check_class(target.channel, activation.shape[1], "channel")
    activation = activation[:, target.channel]
    if activation.ndim == 1:
        return activation
    if target.place is None:
        return activation.mean((1, 2))
    row, column = target.place
    if not (0 <= row < activation.shape[1] and 0 <= column < activation.shape[2]):
        raise IndexError(
            f"place must be a (row, column) within {tuple(activation.shape[1:])} of layer {target.layer!r}; "
            f"got {target.place}."
        )
    return activation[:, row, column]


def pick(outputs: Tensor, target: int | Tensor | Callable[[Tensor], Tensor]) -> Float[Tensor, "N"]:  # noqa: F821
    """One score a picture from a model's outputs; for ``scores``, and where the outputs are at hand already.

    Raises IndexError for a class out of range, ValueError for outputs or results of the wrong shape,
    TypeError for a target of another kind.
    """
    if callable(target):
        value = target(outputs)
        if not isinstance(value, Tensor) or value.shape != outputs.shape[:1]:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"a callable target must return one score a picture, shape (N,); got {got}.")
        return value
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
            "target must be a class index, a tensor of them, a callable on the outputs "
            "or unit(layer, channel); "
            f"got {type(target).__name__}."
        )
    index = int(target)  # type: ignore[arg-type]
    check_class(index, outputs.shape[1])
    return outputs[:, index]


def scores(model: nn.Module, images: Float[Tensor, "N C H W"], target: Target) -> Float[Tensor, "N"]:  # noqa: F821
    """Run the model and give the target's score of each picture, in the graph.

    Scores are taken before the softmax. Errors as in ``pick``; a unit's layer or place may be wrong too.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> scores(net, torch.zeros(4, 3, 1, 1), 1).shape
    torch.Size([4])
    """
    if isinstance(target, Unit):
        return _of_unit(model, images, target)
    return pick(model(images), target)
