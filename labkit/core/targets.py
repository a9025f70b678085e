"""What a method explains: a class's score, a unit, a direction, a sum of these; one number a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_class
from labkit.core.hooks import record
from labkit.core.target_algebra import Direction, Output, Score, Sum, Unit, direction, unit

__all__ = [
    "Direction",
    "Score",
    "Sum",
    "Target",
    "Unit",
    "class_indices",
    "class_score",
    "direction",
    "is_class",
    "pick",
    "reads_layers",
    "rewarded",
    "scores",
    "select",
    "unit",
]

REWARDS = ("logit", "contrastive", "probability")
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
        return ClassScore(select(self.target, rows))  # type: ignore[arg-type]


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


def is_class(target: Target) -> bool:
    """Whether the target is a class index or a tensor of them, by what it is not; ``pick`` checks it."""
    return not callable(target)


def select(target: Target, rows: int | Int[Tensor, " B"]) -> Target:
    """The target of some pictures of a batch, in the order of ``rows``; of one, for any number of its copies.

    Only a tensor of classes differs from picture to picture, by itself or in a sum; that it fits the batch,
    ``pick`` checks.

    >>> classes = torch.tensor([7, 8, 9])
    >>> select(classes, torch.tensor([2, 0, 0])), select(classes, 1), select(3, 1)
    (tensor([9, 7, 7]), 8, 3)
    """
    if isinstance(target, Score):
        return target.select(rows)
    if not isinstance(target, Tensor) or target.ndim == 0:
        return target
    return target[rows.to(target.device)] if isinstance(rows, Tensor) else int(target[rows])


def class_indices(outputs: Tensor, target: Target, argument: str = "target") -> Int[Tensor, " N"]:
    """The class asked about for each picture, on the outputs' device.

    Raises ValueError for outputs that are no (N, classes) or a tensor that does not fit them, IndexError for
    a class out of range, TypeError for what is no class.
    """
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"a class index as {argument} needs outputs of shape (N, classes); the model gives {got}."
            + " Pass a callable that turns the outputs into one score a picture." * (argument == "target")
        )
    n = len(outputs)
    if isinstance(target, Tensor):
        whole = not target.is_floating_point() and target.dtype != torch.bool
        if not whole or target.shape not in ((), (n,)):
            raise ValueError(
                f"a tensor as {argument} must hold one class index a picture, int64 ({n},); "
                f"got {target.dtype} {tuple(target.shape)}."
            )
    elif isinstance(target, bool | float) or not hasattr(target, "__index__"):
        more = (
            ", a callable on the outputs, unit(layer, channel), direction(layer, vector) or a sum of such"
            if argument == "target"
            else ""
        )
        raise TypeError(
            f"{argument} must be a class index, a tensor of them{more}; got {type(target).__name__}."
        )
    classes = torch.as_tensor(target, device=outputs.device).long()  # type: ignore[arg-type]
    for index in classes.flatten().tolist():
        check_class(index, outputs.shape[1], argument)
    return classes.expand(n)


def pick(outputs: Tensor, target: Target) -> Float[Tensor, "N"]:  # noqa: F821
    """One score a picture from a model's outputs; for ``scores``, and where the outputs are at hand already.

    Raises IndexError for a class out of range, ValueError for outputs or results of the wrong shape,
    TypeError for a target of another kind.
    """
    if isinstance(target, Score):
        return target(outputs)
    if callable(target):
        return Output(target).read(outputs, {})
    return outputs.gather(1, class_indices(outputs, target)[:, None])[:, 0]


def rewarded(target: Target, reward: str) -> Target:
    """What of a class is asked for: its "logit", its "probability", or its logit less the best other one,
    "contrastive". A callable, a unit and other targets are taken as they are.

    Raises ValueError for another reward and, when it is asked, for a model with one output, where a class has
    no other beside it.

    >>> pick(torch.tensor([[1.0, 3.0]]), rewarded(1, "contrastive"))
    tensor([2.])
    """
    check_choice("reward", reward, REWARDS)
    if reward == "logit" or not is_class(target):
        return target

    def value(outputs: Tensor) -> Float[Tensor, " N"]:
        classes = class_indices(outputs, target)[:, None]
        if outputs.shape[1] == 1:
            raise ValueError(
                f"the {reward} of a class needs at least two classes; the model gives "
                f'{tuple(outputs.shape)}. Ask for the logit (reward="logit"; of rise, probability=False), or '
                "pass target=lambda outputs: outputs[:, 0].sigmoid()."
            )
        own = outputs.gather(1, classes)[:, 0]
        if reward == "probability":
            return (own - outputs.logsumexp(1)).exp()
        return own - outputs.scatter(1, classes, float("-inf")).amax(1)

    return value


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
