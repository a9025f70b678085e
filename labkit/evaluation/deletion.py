"""Insertion and deletion: does the probability follow the pixels that a map calls important?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.core.checks import check_choice, check_images, check_positive
from labkit.core.door import own_copy
from labkit.models import Target, Unit, borrow, pick, scores
from labkit.optimize.images import Fill, filling

__all__ = ["Course", "deletion", "insertion"]


class Course(NamedTuple):
    """``auc`` (N,): the area under ``curve`` (N, steps + 1) over ``shares`` (steps + 1,), those of the pixels
    that were taken away (deletion) or given back (insertion)."""

    auc: Float[Tensor, " N"]
    curve: Float[Tensor, "N S"]
    shares: Float[Tensor, " S"]


def order_of(maps: Float[Tensor, "N H W"]) -> Tensor:
    """Each picture's pixels from the most important on, (N, H * W); ties are broken by lot, seed 0.

    >>> order_of(torch.tensor([[[1.0, 3.0], [2.0, 0.0]]])).tolist()
    [[1, 2, 0, 3]]
    """
    flat = maps.detach().flatten(1)
    lot = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0)).to(flat.device)
    return lot[flat[:, lot].argsort(dim=1, descending=True, stable=True)]


def _course(
    model: nn.Module, images: Tensor, maps: Tensor, target: Target, delete: bool, steps: int, fill: Fill,
    reward: str, batch_size: int,
) -> Course:  # fmt: skip
    check_images(images)
    check_positive("steps", steps)
    check_positive("batch_size", batch_size)
    check_choice("reward", reward, ("probability", "logit"))
    n, _, height, width = images.shape
    if tuple(maps.shape) != (n, height, width):
        raise ValueError(
            f"maps must have one map a picture, shape {(n, height, width)}; got {tuple(maps.shape)}."
        )
    if not torch.isfinite(maps).all():
        raise ValueError("maps must be finite; got NaN or infinity.")
    if steps > height * width:
        raise ValueError(f"steps must be at most the {height * width} pixels of a picture; got {steps}.")
    if isinstance(target, Tensor) and target.ndim == 1 and len(target) != n:
        raise ValueError(
            f"target must be one class index, or a tensor of one a picture ({n},); got {tuple(target.shape)}."
        )
    jobs = [(i, s) for i in range(n) for s in range(steps + 1)]
    values = []
    with borrow(model), torch.no_grad():
        plain = own_copy(model, images)
        rank = order_of(maps).argsort(1).view(n, 1, height, width).to(plain.device)
        counts = (torch.linspace(0, 1, steps + 1) * height * width).round().to(plain.device)
        blank = filling(plain, fill).expand_as(plain)
        start, end = (plain, blank) if delete else (blank, plain)
        for first in tqdm(range(0, len(jobs), batch_size), "deletion" if delete else "insertion",
                          leave=False, delay=1.5):  # fmt: skip
            rows = torch.tensor(jobs[first : first + batch_size], device=plain.device)
            changed = rank[rows[:, 0]] < counts[rows[:, 1], None, None, None]
            shown = torch.where(changed, end[rows[:, 0]], start[rows[:, 0]])
            several = isinstance(target, Tensor) and target.ndim == 1
            own = target[rows[:, 0].to(target.device)] if several else target  # type: ignore[union-attr,index]
            values.append(_reward(model, shown, own, reward))
    curve = torch.cat(values).view(n, steps + 1)
    curve = curve.to(torch.promote_types(curve.dtype, torch.float32))
    if not torch.isfinite(curve).all():
        raise ValueError("the model's scores must be finite; got NaN or infinity. Look at model(images).")
    shares = (counts / (height * width)).to(curve)
    return Course(torch.trapezoid(curve, shares, dim=1), curve, shares)


def _reward(model: nn.Module, shown: Tensor, target: Target, reward: str) -> Float[Tensor, " B"]:
    if reward == "logit" or callable(target) or isinstance(target, Unit):
        return scores(model, shown, target)
    outputs = model(shown)
    logits = pick(outputs, target)  # refuses outputs and targets that do not fit
    if outputs.shape[1] == 1:
        raise ValueError(
            'reward="probability" needs at least two classes: the softmax of one output is always 1. '
            'Pass reward="logit".'
        )
    return (logits - outputs.logsumexp(1)).exp()


def deletion(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    maps: Float[Tensor, "N H W"],
    target: Target,
    *,
    steps: int = 32,
    fill: Fill = "blur",
    reward: str = "probability",
    batch_size: int = 64,
) -> Course:
    """The class's probability while pixels are taken away, those first that the map calls most important.

    In each of ``steps`` an equal share of the pixels (to the nearest pixel) changes to ``fill`` (see
    ``occlusion``; the paper's black holes have edges that a network has never seen). Pixels of equal
    importance go in an order drawn by lot, from seed 0: a constant map is the random order. A low ``auc`` is
    good. Unit: probability, or the score itself for ``reward="logit"`` and for a callable or a unit as
    target. Raises ValueError for maps of another shape or with NaN, scores with NaN, targets that are not as
    many as the pictures, and for the probability of a model with one output.

    Source: Petsiuk, Das and Saenko 2018, "RISE", section 4.2.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> deletion(net, torch.rand(1, 3, 4, 4), torch.rand(1, 4, 4), 0, steps=4).curve.shape
    torch.Size([1, 5])
    """
    return _course(model, images, maps, target, True, steps, fill, reward, batch_size)


def insertion(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    maps: Float[Tensor, "N H W"],
    target: Target,
    *,
    steps: int = 32,
    fill: Fill = "blur",
    reward: str = "probability",
    batch_size: int = 64,
) -> Course:
    """The class's probability while pixels come back into a filled picture, the most important first.

    A high ``auc`` is good. Options, unit, errors and source as in ``deletion``; the paper starts from a blur.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> insertion(net, torch.rand(1, 3, 4, 4), torch.rand(1, 4, 4), 0, steps=4).auc.shape
    torch.Size([1])
    """
    return _course(model, images, maps, target, False, steps, fill, reward, batch_size)
