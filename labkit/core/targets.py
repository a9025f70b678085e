"""What a method explains: a class's score, a unit, a direction, a sum of these; one number a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.core.checks import check_choice, check_class, class_by_name
from labkit.core.target_algebra import Direction, Output, Score, Sum, Unit, direction, unit, with_tensors

__all__ = [
    "Direction",
    "Score",
    "Sum",
    "Target",
    "Unit",
    "as_logits",
    "beginnings",
    "class_indices",
    "class_score",
    "direction",
    "is_class",
    "pick",
    "reads_layers",
    "rewarded",
    "scores_alone",
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

    >>> pick(torch.tensor([[1.0, 3.0]]), class_score(1) - class_score(0))
    tensor([2.])
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
    target = _as_tensor(target)
    if not isinstance(target, Tensor) or target.ndim == 0:
        return target
    return target[rows.to(target.device)] if isinstance(rows, Tensor) else int(target[rows])


def _as_tensor(target: Any) -> Any:
    return torch.as_tensor(target) if isinstance(target, np.ndarray) else target


def scores_alone(outputs: Any, model: str = "model") -> str:
    """The line by which a network that gives more than scores, or other ones, gives (N, classes).

    >>> scores_alone({"logits": torch.zeros(2, 3), "hidden": []})
    "model.register_forward_hook(lambda module, images, outputs: outputs['logits'])"
    """
    way = "outputs.logits"
    if isinstance(outputs, Tensor):
        way = "outputs.flatten(2).mean(2)" if outputs.ndim > 2 else "torch.stack([0 * outputs, outputs], 1)"
    elif isinstance(outputs, Mapping):
        way = f"outputs[{'logits' if 'logits' in outputs else next(iter(outputs), 0)!r}]"
    elif isinstance(outputs, tuple | list):
        way = "outputs[0]"
    return f"{model}.register_forward_hook(lambda module, images, outputs: {way})"


def class_indices(outputs: Tensor, target: Target, argument: str = "target") -> Int[Tensor, " N"]:
    """The class asked about for each picture, on the outputs' device.

    Raises ValueError for outputs that are no (N, classes) or a tensor that does not fit them, IndexError for
    a class out of range, TypeError for what is no class.
    """
    if argument == "labels" and callable(target):
        raise TypeError(
            "labels must be a class index, or a tensor of them with one a picture; got a callable. The loss "
            "is the cross entropy of all classes' scores: where the model gives more than these, let it "
            "return them alone."
        )
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        own = "[:, 1].flatten(1).mean(1)" if isinstance(outputs, Tensor) else "[0][:, 1]"
        own = "" if isinstance(outputs, Tensor) and outputs.ndim < 2 else own
        raise ValueError(
            f"a class index as {argument} needs outputs of shape (N, classes); the model gives {got}."
            + " Pass a callable that turns the outputs into one score a picture, such as lambda outputs: "
            f"outputs{own}."
            * (argument == "target")
            + f" Wrap the model so that it returns the scores alone: {scores_alone(outputs)}."
            * (argument != "target")
        )
    n, target = len(outputs), _as_tensor(target)
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
        cure = ""
        if isinstance(target, list | tuple):
            cure = " Write torch.tensor([...]), one class index a picture."
        error = TypeError(
            f"{argument} must be a class index, a tensor of them{more}; got {type(target).__name__}.{cure}"
        )
        raise class_by_name(error, target) if isinstance(target, str) else error
    classes = torch.as_tensor(target, device=outputs.device).long()  # type: ignore[arg-type]
    if classes.is_inference():  # which autograd would not save
        classes = classes.clone()
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
    classes = class_indices(outputs, target)[:, None]
    return outputs.gather(1, classes)[:, 0]


def beginnings(outputs: Any, target: Target) -> list[tuple[Tensor, Tensor]]:
    """Where a target begins: the tensors among the outputs that it depends on, each with its gradient by it.

    The outputs may be a tuple, a dictionary or an object that holds tensors. The target's own steps are no
    part of the model's graph.

    >>> [(outputs, slope)] = beginnings(torch.ones(2, 3), lambda outputs: outputs[:, 1] ** 2)
    >>> slope[0].tolist()
    [0.0, 2.0, 0.0]
    """
    given: list[Tensor] = []
    leaves: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        given.append(tensor)
        leaves.append(tensor.detach().clone().requires_grad_(True))
        return leaves[-1]

    with torch.enable_grad():
        score = pick(with_tensors(outputs, leaf), target)
    if not score.requires_grad:
        return []
    slopes = torch.autograd.grad(score.sum(), leaves, allow_unused=True)
    return [(t, slope) for t, slope in zip(given, slopes, strict=True) if slope is not None]


def as_logits(outputs: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """Outputs whose softmax are the probabilities: the outputs as they are, or the logarithm of those of a
    model that ends in softmax (no row negative, each adding up to 1), which softmax would flatten.

    >>> as_logits(torch.tensor([[0.25, 0.75]])).softmax(1)
    tensor([[0.2500, 0.7500]])
    """
    given = outputs.detach()
    off = 1e-3 if torch.finfo(given.dtype).eps < 1e-6 else 2e-2
    if outputs.shape[1] == 1 or not ((given >= 0).all() and ((given.double().sum(1) - 1).abs() < off).all()):
        return outputs
    return outputs.clamp(min=torch.finfo(given.dtype).tiny).log()


def rewarded(target: Target, reward: str) -> Target:
    """What of a class is asked for: its "logit", its "probability", or its logit less the best other one,
    "contrastive". A callable, a unit and other targets are taken as they are; probabilities that the model
    gives already are not put through softmax again (see ``as_logits``).

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
        outputs = as_logits(outputs)
        own = outputs.gather(1, classes)[:, 0]
        if reward == "probability":
            return (own - outputs.logsumexp(1)).exp()
        return own - outputs.scatter(1, classes, float("-inf")).amax(1)

    return value
