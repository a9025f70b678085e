"""Targets that add and scale: units, directions and sums of them, as objectives of synthesis are written.

Source of the idea: Olah, Mordvintsev and Schubert 2017, "Feature Visualization" (objectives in lucid).
"""

from __future__ import annotations

import copy
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_index

Place: TypeAlias = tuple[int, int] | Literal["max"] | None


class Score:
    """A target that can be added, subtracted and scaled: ``unit(a, 1) - 2 * class_score(3)``.

    ``layers`` are those whose outputs it reads beside the model's own. One that reads none may be called on a
    model's outputs, like any other function of them.
    """

    layers: tuple[str, ...] = ()

    def read(self, outputs: Any, kept: Mapping[str, Tensor]) -> Float[Tensor, " N"]:
        """One score a picture, from the model's outputs and what its layers gave."""
        raise NotImplementedError

    def select(self, rows: Any) -> Score:
        """The target of some pictures of the batch: of those that ``rows`` picks, as an index does."""
        return self

    def __call__(self, outputs: Tensor) -> Float[Tensor, " N"]:
        if self.layers:
            raise TypeError(
                f"this target reads the layer {self.layers[0]!r}, which the outputs do not tell; "
                "use labkit.models.scores(model, images, target)."
            )
        return self.read(outputs, {})

    def __add__(self, other: object) -> Score:
        if isinstance(other, int) and other == 0:  # where sum() starts
            return self
        return Sum((*_terms(self), *_terms(other)))

    def __sub__(self, other: object) -> Score:
        return self + -1 * _score(other)

    def __mul__(self, factor: object) -> Score:
        if isinstance(factor, bool) or not isinstance(factor, numbers.Real):
            raise TypeError(f"a target is scaled by a number; got {type(factor).__name__}. Write 2 * target.")
        return Sum(tuple((float(factor) * weight, score) for weight, score in _terms(self)))

    def __truediv__(self, divisor: float) -> Score:
        return self * (1 / divisor)

    def __neg__(self) -> Score:
        return self * -1

    def __rsub__(self, other: object) -> Score:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True)
class Sum(Score):
    """A weighted sum of targets: ``terms`` are pairs of weight and target."""

    terms: tuple[tuple[float, Score], ...]

    @property
    def layers(self) -> tuple[str, ...]:  # type: ignore[override]
        """The layers that any of the terms reads."""
        return tuple(dict.fromkeys(layer for _, score in self.terms for layer in score.layers))

    def read(self, outputs: Any, kept: Mapping[str, Tensor]) -> Float[Tensor, " N"]:
        """The sum of the terms' scores, each times its weight."""
        parts = [weight * score.read(outputs, kept) for weight, score in self.terms]
        return torch.stack(parts).sum(0)

    def select(self, rows: Any) -> Score:
        """The same sum for some pictures of the batch."""
        return Sum(tuple((weight, score.select(rows)) for weight, score in self.terms))


@dataclass(frozen=True, eq=False)
class Output(Score):
    """A function of the outputs, as a term of a sum."""

    function: Callable[[Any], Tensor]

    def read(self, outputs: Any, kept: Mapping[str, Tensor]) -> Float[Tensor, " N"]:
        """What the function gives; raises ValueError unless that is one score a picture. The outputs may be
        whatever the model gives: a tensor, or a tuple, a dictionary or an object of them."""
        value = self.function(outputs)
        shapes = [tuple(tensor.shape) for tensor in tensors_of(outputs) if tensor.ndim]
        rows = [shape[0] for shape in shapes]
        if not isinstance(value, Tensor) or value.ndim != 1 or (rows and len(value) not in rows):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            more = "" if not rows else f" Pictures are the outputs' first axis; the model gives {shapes[0]}."
            swap = isinstance(value, Tensor) and any(value.shape == shape[1:2] for shape in shapes)
            cure = " Where they are the second, let the model give outputs.transpose(0, 1)." * swap
            if isinstance(value, Tensor) and value.ndim == 0:
                cure = " squeeze() drops the axis of a single picture; write squeeze(1)."
            raise ValueError(
                f"a callable target must return one score a picture, shape (N,); got {got}.{more}{cure}"
            )
        return value if value.is_floating_point() else value.float()


@dataclass(frozen=True)
class Unit(Score):
    """One channel of a layer: at ``place`` (row, column), its "max" over places, or their mean (None)."""

    layer: str
    channel: int
    place: Place = None

    @property
    def layers(self) -> tuple[str, ...]:  # type: ignore[override]
        """The layer."""
        return (self.layer,)

    def read(self, outputs: Any, kept: Mapping[str, Tensor]) -> Float[Tensor, " N"]:
        """The channel's activation."""
        activation = _channels_first(kept, self.layer)
        if not isinstance(activation, Tensor) or activation.ndim not in (2, 4):
            raise ValueError(
                f"layer {self.layer!r} must give (N, C) or (N, C, H, W); got {_said(activation)}."
            )
        check_index("channel", self.channel, activation.shape[1], f"channels in layer {self.layer!r}")
        return _at(activation[:, self.channel], self.place, self.layer)


@dataclass(frozen=True, eq=False)
class Direction(Score):
    """A layer's activation along ``vector``; see ``direction``."""

    layer: str
    vector: Tensor
    place: Place = None

    @property
    def layers(self) -> tuple[str, ...]:  # type: ignore[override]
        """The layer."""
        return (self.layer,)

    def read(self, outputs: Any, kept: Mapping[str, Tensor]) -> Float[Tensor, " N"]:
        """The inner product of activation and vector."""
        activation = kept[self.layer]
        if not isinstance(activation, Tensor):
            raise ValueError(f"layer {self.layer!r} must give one tensor; got {_said(activation)}.")
        vector = self.vector.clone() if self.vector.is_inference() else self.vector  # autograd saves it
        vector = vector.to(activation.device, activation.dtype)
        if vector.shape == activation.shape[1:] and self.place is None:
            return (activation * vector).flatten(1).sum(1)
        activation = _channels_first(kept, self.layer)
        if activation.ndim != 4 or vector.shape != activation.shape[1:2]:
            channels = f"{activation.shape[1]} numbers, one a channel, or " if activation.ndim == 4 else ""
            raise ValueError(
                f"vector must have {channels}the shape {tuple(activation.shape[1:])} of what layer "
                f"{self.layer!r} gives (then without place); got {tuple(vector.shape)}."
            )
        # a convolution, for which methods with rules have one
        along = F.conv2d(activation, vector[None, :, None, None])[:, 0]
        return _at(along, self.place, self.layer)


def with_tensors(outputs: Any, change: Callable[[Tensor], Any], depth: int = 3) -> Any:
    """What a model gives, with each tensor in it changed: a tensor, or a tuple, list, dictionary or object of
    tensors and of such. The outputs themselves stay as they are.

    >>> with_tensors({"logits": torch.ones(2, 3), "name": "a"}, len)
    {'logits': 2, 'name': 'a'}
    """
    if isinstance(outputs, Tensor):
        return change(outputs)
    if isinstance(outputs, tuple | list):
        values = [with_tensors(value, change, depth) for value in outputs]
        return type(outputs)(*values) if hasattr(outputs, "_fields") else type(outputs)(values)
    if isinstance(outputs, Mapping):
        twin: Any = copy.copy(outputs)
        for key, value in outputs.items():
            twin[key] = with_tensors(value, change, depth)
        return twin
    if depth and hasattr(outputs, "__dict__") and not isinstance(outputs, type | nn.Module):
        twin = copy.copy(outputs)
        vars(twin).update({k: with_tensors(v, change, depth - 1) for k, v in vars(outputs).items()})
        return twin
    return outputs


def tensors_of(outputs: Any) -> list[Tensor]:
    """The tensors that a model gives, in order; see ``with_tensors``.

    >>> len(tensors_of((torch.ones(2), {"b": [torch.ones(3)]})))
    2
    """
    found: list[Tensor] = []
    with_tensors(outputs, found.append)
    return found


def _channels_first(kept: Mapping[str, Any], layer: str) -> Any:
    """What a layer gave, with the channels, where they are known to lie last, in front."""
    axis = getattr(kept, "axes", {}).get(layer, 1)
    return kept[layer] if axis == 1 else kept[layer].movedim(axis, 1)


def _said(activation: Any) -> object:
    return tuple(activation.shape) if isinstance(activation, Tensor) else type(activation).__name__


def _at(values: Tensor, place: Place, layer: str) -> Float[Tensor, " N"]:
    """One number a picture from (N,) or (N, H, W): at a place, the largest, or the mean."""
    if values.ndim == 1:
        return values
    if place is None:
        return values.mean((1, 2))
    if place == "max":
        return values.amax((1, 2))
    row, column = place
    if not (0 <= row < values.shape[1] and 0 <= column < values.shape[2]):
        raise IndexError(
            f"place must be a (row, column) within {tuple(values.shape[1:])} of layer {layer!r}; got {place}."
        )
    return values[:, row, column]


def _score(term: object) -> Score:
    if isinstance(term, Score):
        return term
    if callable(term):
        return Output(term)
    raise TypeError(
        f"targets are added to targets; got {term!r}. Write class_score({term!r}) for the score of a class."
    )


def _terms(term: object) -> tuple[tuple[float, Score], ...]:
    score = _score(term)
    return score.terms if isinstance(score, Sum) else ((1.0, score),)


def unit(layer: str, channel: int, place: Place = None) -> Unit:
    """The target "this channel of this layer": at ``place``, its largest ("max"), or the mean over places.

    Where several places share the maximum, they share its gradient. Raises ValueError for another word.
    """
    return Unit(layer, int(channel), _checked(place))


def direction(layer: str, vector: Any, place: Place = None) -> Direction:
    """The target "this layer's activation along a vector", such as a concept's: their inner product.

    ``vector``: one number a channel, and the product is taken at ``place`` (row, column), at its largest
    ("max") or averaged over all places; or the shape of the layer's whole output for a picture, and the
    product is over all of it. The vector is taken as it is: its length is the unit. Raises ValueError for
    one that is zero or not finite, and later for one that does not fit the layer.

    >>> direction("features.17", [1.0, 2.0]).read(None, {"features.17": torch.ones(3, 2)})
    tensor([3., 3., 3.])
    """
    values = torch.as_tensor(vector).detach().clone()
    values = values if values.is_floating_point() else values.float()
    if not torch.isfinite(values).all() or not values.any():
        raise ValueError(
            f"vector must be finite and not all zero; got {values.numel()} numbers that are not."
        )
    return Direction(layer, values, _checked(place))


def _checked(place: Place) -> Place:
    if isinstance(place, str) and place != "max":
        raise ValueError(f"place must be a (row, column), 'max' or None for the mean; got {place!r}.")
    return place
