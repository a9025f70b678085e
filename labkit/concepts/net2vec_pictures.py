"""Net2Vec for whole pictures: which units, and how many, tell whether a concept is in a picture?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.concepts.concept_pixels import strongest
from labkit.concepts.label_maps import check_labels, side_of
from labkit.concepts.net2vec_segmentation import check_shown, parted
from labkit.core.checks import check_positive
from labkit.core.door import seeded
from labkit.core.registry import signature_of
from labkit.models.features import features

__all__ = ["Net2VecClassification", "logistic", "net2vec_classification", "net2vec_classification_result"]


class Net2VecClassification(NamedTuple):
    """``space`` (C, K): each concept's weights over the units, each unit's means in units of their spread;
    ``bias`` (C,); ``labels``: (kind, name); ``accuracy`` (C,): on held-out pictures, the mean of the share of
    those with and of those without the concept that are told; ``single`` (C,): the best unit on the training
    pictures, ``single_accuracy`` (C,): its accuracy on held-out ones; ``curve`` (F, C): the accuracy of the
    ``few`` strongest units, fitted anew. nan and zeros where a concept is in all pictures or in none."""

    space: Float[Tensor, "C K"]
    bias: Float[Tensor, " C"]
    labels: tuple[tuple[str, str], ...]
    accuracy: Float[Tensor, " C"]
    single: Int[Tensor, " C"]
    single_accuracy: Float[Tensor, " C"]
    few: tuple[int, ...]
    curve: Float[Tensor, "F C"]


def logistic(
    rows: Float[Tensor, "N D"], positive: Bool[Tensor, " N"], penalty: float, *, steps: int = 50
) -> tuple[Float[Tensor, " D"], float]:
    """Logistic regression with both classes weighing the same: weights and bias, by Newton's method.

    It makes the mean loss (each class has half of the weight) plus ``penalty`` / 2 times the squared length
    of the weights smallest; the bias is not punished.

    >>> w, b = logistic(torch.tensor([[-1.0], [1.0]]).double(), torch.tensor([False, True]), 0.1)
    >>> bool(w[0] > 1), round(b, 6) + 0.0
    (True, 0.0)
    """
    x = torch.cat([rows.double(), torch.ones(len(rows), 1).double()], 1)
    y = positive.double()
    weigh = torch.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()).double()
    ridge = torch.full((x.shape[1],), float(penalty)).double()
    ridge[-1] = 0
    w = torch.zeros(x.shape[1], dtype=torch.float64)

    def loss(w: Tensor) -> float:
        z = x @ w
        each = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        return float((weigh * each).sum() + (ridge * w * w).sum() / 2)

    now = loss(w)
    for _ in range(steps):
        said = (x @ w).sigmoid()
        gradient = x.T @ (weigh * (said - y)) + ridge * w
        curvature = (x.T * (weigh * said * (1 - said))) @ x + torch.diag(ridge)
        curvature += 1e-12 * curvature.diagonal().mean() * torch.eye(len(w)).double()
        step = torch.linalg.solve(curvature, gradient)
        size = 1.0
        while loss(w - size * step) > now and size > 1e-6:
            size /= 2
        w = w - size * step
        before, now = now, loss(w)
        if before - now < 1e-14 * max(1.0, before):
            break
    return w[:-1], float(w[-1])


def _accuracy(said: Bool[Tensor, " N"], positive: Bool[Tensor, " N"]) -> float:
    if positive.all() or not positive.any():
        return float("nan")
    return float((said[positive].double().mean() + (~said[~positive]).double().mean()) / 2)


def _stump(rows: Float[Tensor, "N K"], positive: Bool[Tensor, " N"]) -> tuple[int, float, bool]:
    """The unit, its cut-off and whether the concept lies above, that part training pictures best."""
    values, order = rows.sort(0)
    y = positive[order].double()
    gain = (y / y.sum(0) - (1 - y) / (1 - y).sum(0)).cumsum(0)[:-1]  # of those at or below, with less without
    gain = torch.where(values[1:] > values[:-1], gain, 0)
    at = int(gain.abs().argmax())
    row, unit = divmod(at, rows.shape[1])
    return unit, float((values[row, unit] + values[row + 1, unit]) / 2), bool(gain[row, unit] < 0)


def net2vec_classification_result(
    model: nn.Module,
    images: Tensor | ndarray,
    *,
    layer: str,
    maps: Mapping[str, ndarray],
    names: Mapping[str, Sequence[str]],
    few: Sequence[int] = (),
    penalty: float = 0.01,
    held_out: float = 1 / 3,
    generator: torch.Generator | None = None,
) -> Net2VecClassification:
    """``net2vec_classification`` with its accuracy and the best single unit's (see that class)."""
    check_positive("penalty", penalty, integer=False)
    labels = check_labels(maps, names, len(images), side_of(images))
    train, held = parted(len(images), held_out, seeded(generator))
    shown = torch.cat([
        (torch.from_numpy(np.array(values)).long().flatten(1)[..., None]
         == torch.arange(1, len(names[kind]) + 1)).any(1)
        for kind, values in maps.items()
    ], 1)  # fmt: skip
    check_shown(shown, train, held)
    rows = features(model, images, layer, pool="mean").double()
    middle, spread = rows[train].mean(0), rows[train].std(0, correction=0)
    rows = (rows - middle) / torch.where(spread > 0, spread, 1)
    units, count = rows.shape[1], len(labels)
    if any(not 1 <= size <= units for size in few):
        raise ValueError(
            f"few must hold numbers of units from 1 to {units}, all of {layer!r}; got {tuple(few)}."
        )
    space, bias = torch.zeros(count, units).double(), torch.zeros(count).double()
    accuracy, alone = torch.full((count,), torch.nan), torch.full((count,), torch.nan)
    single, curve = torch.zeros(count, dtype=torch.long), torch.full((len(few), count), torch.nan)
    for c in range(count):
        here, there = shown[train, c], shown[held, c]
        if here.all() or not here.any():
            continue
        space[c], bias[c] = logistic(rows[train], here, penalty)
        accuracy[c] = _accuracy(rows[held] @ space[c] + bias[c] > 0, there)
        single[c], cut, above = _stump(rows[train], here)
        alone[c] = _accuracy((rows[held, single[c]] > cut) == above, there)
        for f, size in enumerate(few):
            chosen = strongest(space[c : c + 1], size)[0]
            some, shift = logistic(rows[train][:, chosen], here, penalty)
            curve[f, c] = _accuracy(rows[held][:, chosen] @ some + shift > 0, there)
    return Net2VecClassification(
        space.float(), bias.float(), labels, accuracy, single, alone, tuple(few), curve
    )


@signature_of(net2vec_classification_result)
def net2vec_classification(*args: Any, **options: Any) -> Float[Tensor, "C K"]:
    """Concepts as vectors, for whole pictures: weights over a layer's units that tell whether it is there.

    Each unit's mean over all places, in units of its spread over the training pictures; logistic regression
    with a bias, pictures with and without the concept weighing the same, ``penalty`` / 2 times the squared
    weights (the paper has none and stops early). Arguments and errors as in ``net2vec``; a picture shows a
    concept where any of its pixels does.

    Unit: log odds a spread. Labels: post hoc, specific to networks with feature maps, global.
    Source: Fong and Vedaldi 2018, "Net2Vec", section 3.2.

    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()).eval()
    >>> pictures = torch.rand(24, 3, 2, 2)
    >>> maps = {"thing": (pictures[:, 0] > 0.8).long().numpy()}
    >>> net2vec_classification(net, pictures, layer="1", maps=maps, names={"thing": ["red"]}).shape
    torch.Size([1, 2])
    """
    return net2vec_classification_result(*args, **options).space
