"""Concept activation vectors: the direction of a concept in a layer, and how a score changes along it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.directions import ridge_coefficients
from labkit.core.checks import check_images, check_share
from labkit.core.door import NO_INFLUENCE, asked, derivative, finite, seeded
from labkit.core.hooks import find_layer
from labkit.core.progress import working
from labkit.core.registry import signature_of, warn_caller
from labkit.core.targets import select
from labkit.models import Target, record, scores
from labkit.models.features import features

__all__ = [
    "Cav", "cav", "cav_result", "directional_derivatives", "layer_gradients", "sort_by_cav",
]  # fmt: skip

Pictures = Tensor | ndarray
CONSTANT = (
    "layer: the derivative at {} is the same for all these pictures, as after the last nonlinearity of a "
    "network with global average pooling; each vector's TCAV score is 0 or 1 there by algebra, whatever the "
    "concept, and the score that is returned is their mean over draws. Name an earlier layer."
)


class Cav(NamedTuple):
    """``vector`` (D,): unit length, towards the concept; ``accuracy``: of a vector fitted to the other
    pictures, on those held out; ``held_out``: how many these were."""

    vector: Float[Tensor, " D"]
    accuracy: float
    held_out: int


def _rows(values: Any, name: str) -> Float[Tensor, "N D"]:
    if not isinstance(values, Tensor | ndarray) or values.ndim < 2:
        raise ValueError(
            f"{name} must be features (N, ...), a row a picture, as labkit.models.features gives them."
        )
    rows = torch.as_tensor(values).detach().flatten(1).double()
    if len(rows) < 2:
        raise ValueError(f"{name} must be of at least 2 pictures, better 30; got {len(rows)}.")
    if not torch.isfinite(rows).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity.")
    return rows


def cav_result(
    concept: Float[Tensor, "N ..."],
    others: Float[Tensor, "M ..."],
    *,
    penalty: float = 0.01,
    held_out: float = 1 / 3,
    generator: torch.Generator | None = None,
) -> Cav:
    """``cav`` with its accuracy on pictures held out (see ``Cav``). Errors as there.

    >>> found = cav_result(torch.randn(30, 4) + torch.tensor([9.0, 0, 0, 0]), torch.randn(30, 4))
    >>> found.accuracy, int(found.vector.argmax())
    (1.0, 0)
    """
    check_share("held_out", held_out, "A third, as in the paper, is 1/3.")
    first, second = _rows(concept, "concept"), _rows(others, "others")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            "concept and others must be features of one layer; "
            f"got {first.shape[1]} and {second.shape[1]} numbers a picture."
        )
    rows = torch.cat([first, second])
    positive = torch.arange(len(rows)) < len(first)
    gram, own = rows @ rows.T, seeded(generator)
    held = torch.zeros(len(rows), dtype=torch.bool)
    for start, count in ((0, len(first)), (len(first), len(second))):
        taken = min(max(1, round(held_out * count)), count - 1)
        held[start + torch.randperm(count, generator=own)[:taken]] = True
    fitted = ~held
    part = ridge_coefficients(gram[fitted][:, fitted], positive[fitted], penalty)
    values, middle = gram[:, fitted] @ part, gram[fitted][:, fitted].mean(0) @ part
    share = positive[fitted].double().mean() * 2 - 1  # the mean label, which the intercept carries
    said = values - middle + share > 0
    accuracy = torch.stack([(said == positive)[held & (positive == side)].double().mean()
                            for side in (True, False)]).mean()  # fmt: skip
    vector = rows.T @ ridge_coefficients(gram, positive, penalty)
    return Cav((vector / vector.norm()).float(), float(accuracy), int(held.sum()))


@signature_of(cav_result)
def cav(*args: Any, **options: Any) -> Float[Tensor, " D"]:
    """The direction in a layer that parts a concept's pictures from others: a linear classifier's normal.

    Unit length, towards the concept, in the layer's numbers laid in a row. With the features of another
    concept as ``others`` it is the paper's *relative* CAV. Ridge regression on +1 and -1, solved in its dual
    form; ``penalty`` is times the mean squared length of the centred rows. ``held_out``: the share of each
    set's pictures that its accuracy is measured on (``cav_result``), the mean of both sets' shares.
    Raises ValueError for sets of fewer than two pictures, of different layers, that are not finite, or whose
    features are all the same.

    Unit: length 1. Labels: post hoc, specific to networks with layers, global.
    Source: Kim et al. 2018, "Interpretability Beyond Feature Attribution", section 3.2; they fit by
    stochastic descent and leave the penalty open.

    >>> cav(torch.tensor([[2.0, 0.0], [2.0, 1.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])).abs().round()
    tensor([1., 0.])
    """
    return cav_result(*args, **options).vector


def layer_gradients(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    layer: str,
    batch_size: int = 32,
    progress: Callable[[float], None] | None = None,
) -> Float[Tensor, "N ..."]:
    """The gradient of each picture's score by what a layer gives, in the layer's shape, on the processor.

    Raises KeyError for a wrong layer, ValueError for one without influence on the target, else as the methods
    of ``labkit.attribution``.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> layer_gradients(net, torch.rand(1, 3, 2, 2), 0, layer="1")
    tensor([[1., 0.]])
    """
    check_images(images)
    found = []
    with working("gradients", len(images), "picture", progress=progress) as work:
        for first in range(0, len(images), batch_size):
            rows = torch.arange(first, min(first + batch_size, len(images)))
            with asked(model, images[rows], frozen=False) as inputs:
                find_layer(model, layer)
                with record(model, layer, cut=True) as kept:
                    score = scores(model, inputs, select(target, rows))
                slope = derivative(score, kept[layer], NO_INFLUENCE.format(repr(layer)))
            found.append(finite(slope).cpu())
            work.at(int(rows[-1]) + 1)
    return torch.cat(found)


def directional_derivatives(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    layer: str,
    vector: Float[Tensor, " D"],
    batch_size: int = 32,
) -> Float[Tensor, " N"]:
    """How much each picture's score changes, to first order, for a small step of the layer along a vector.

    ``vector``: as long as what the layer gives for a picture; one number a channel moves all its places
    alike. It is taken as it is: of unit length the answer is score per unit of activation. Warns where the
    derivative is the same for all pictures. Errors as in ``layer_gradients``, and ValueError for a vector
    that does not fit.

    Unit: score a step. Labels: post hoc, specific to differentiable networks, local.
    Source: Kim et al. 2018, section 3.3.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> directional_derivatives(net, torch.rand(1, 3, 2, 2), 0, layer="1", vector=torch.tensor([3.0, 4.0]))
    tensor([3.])
    """
    slopes = layer_gradients(model, images, target, layer=layer, batch_size=batch_size)
    if is_constant(slopes):
        warn_caller(CONSTANT.format(repr(layer)))
    return along(slopes, vector, layer)


def is_constant(slopes: Float[Tensor, "N ..."]) -> bool:
    """Whether the gradients of several pictures are one and the same, but for rounding."""
    return len(slopes) > 1 and bool((slopes - slopes[:1]).abs().max() <= 1e-6 * slopes.abs().max())


def along(slopes: Float[Tensor, "N ..."], vector: Tensor, layer: str) -> Float[Tensor, " N"]:
    """Gradients times a vector of the layer's length, or of one number a channel."""
    given = torch.as_tensor(vector).detach().flatten().to(slopes)
    if len(given) == slopes[0].numel():
        return slopes.flatten(1) @ given
    if slopes.ndim > 2 and len(given) == slopes.shape[1]:
        return slopes.flatten(2).sum(2) @ given
    raise ValueError(
        f"vector must have {slopes[0].numel()} numbers, or {slopes.shape[1]}, one a channel, for layer "
        f"{layer!r}, which gives {tuple(slopes.shape[1:])}; got {len(given)}."
    )


def sort_by_cav(
    model: nn.Module, images: Pictures, *, layer: str, vector: Float[Tensor, " D"]
) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    """Pictures sorted by the cosine of what a layer gives with a vector: (their order, the cosines in it).

    A picture for which the layer gives nothing has cosine 0. Errors as in ``labkit.models.features`` and
    ``directional_derivatives``.

    Unit: cosine. Labels: post hoc, specific to networks with layers, local.
    Source: Kim et al. 2018, section 4.1.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> pictures = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]).view(2, 3, 1, 1)
    >>> sort_by_cav(net, pictures, layer="0", vector=torch.tensor([1.0, 0.0, 0.0]))
    (tensor([1, 0]), tensor([1., 0.]))
    """
    given = torch.as_tensor(vector).detach().flatten().double()
    rows = features(model, images, layer)
    rows = (rows if rows[0].numel() == len(given) else features(model, images, layer, pool="mean")).double()
    values = along(rows, given, layer)
    cosines = values / (rows.flatten(1).norm(dim=1) * given.norm()).clamp(min=1e-30)
    order = cosines.argsort(descending=True, stable=True)
    return order, cosines[order].float()
