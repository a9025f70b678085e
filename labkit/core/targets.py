"""What a method explains: a class's score, a unit, or any function of the outputs; one number a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_class
from labkit.core.hooks import record


@dataclass(frozen=True)
class Unit:
    """One channel of a layer; at ``place`` (row, column), or averaged over all places if it is None."""

    layer: str
    channel: int
    place: tuple[int, int] | None = None


REWARDS = ("logit", "contrastive", "probability")
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


def reads_layer(target: Target) -> bool:
    """Whether the target is read inside the network, not from its outputs."""
    return isinstance(target, Unit)


def is_class(target: Target) -> bool:
    """Whether the target is a class index or a tensor of them, by what it is not; ``pick`` checks it."""
    return not callable(target) and not reads_layer(target)


def select(target: Target, rows: int | Int[Tensor, " B"]) -> Target:
    """The target of some pictures of a batch, in the order of ``rows``; of one, for any number of its copies.

    Only a tensor of classes differs from picture to picture; that it fits, ``pick`` checks.

    >>> classes = torch.tensor([7, 8, 9])
    >>> select(classes, torch.tensor([2, 0, 0])), select(classes, 1), select(3, 1)
    (tensor([9, 7, 7]), 8, 3)
    """
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
        more = ", a callable on the outputs or unit(layer, channel)" if argument == "target" else ""
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
    if callable(target):
        value = target(outputs)
        if not isinstance(value, Tensor) or value.shape != outputs.shape[:1]:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"a callable target must return one score a picture, shape (N,); got {got}.")
        return value
    return outputs.gather(1, class_indices(outputs, target)[:, None])[:, 0]


def rewarded(target: Target, reward: str) -> Target:
    """What of a class is asked for: its "logit", its "probability", or its logit less the best other one,
    "contrastive". A callable and a unit are taken as they are.

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

    Scores are taken before the softmax. Errors as in ``pick``; a unit's layer or place may be wrong too.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> scores(net, torch.zeros(4, 3, 1, 1), 1).shape
    torch.Size([4])
    """
    if isinstance(target, Unit):
        return _of_unit(model, images, target)
    return pick(model(images), target)
