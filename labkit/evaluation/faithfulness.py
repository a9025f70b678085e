"""Faithfulness: do scores follow what a map calls important? Insertion, deletion, and falsification."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.core.checks import as_masks, as_tensor, check_choice, check_images, check_maps, check_positive
from labkit.core.door import own_copy
from labkit.core.targets import Score, rewarded, select
from labkit.models import Target, borrow, scores
from labkit.optimize.images import Fill, filling

__all__ = ["Curve", "Falsification", "deletion", "falsification", "insertion", "order_of"]


class Curve(NamedTuple):
    """``auc`` (N,): the area under ``curve`` (N, steps + 1) over ``shares`` (steps + 1,), those of the pixels
    that were taken away (deletion) or given back (insertion)."""

    auc: Float[Tensor, " N"]
    curve: Float[Tensor, "N S"]
    shares: Float[Tensor, " S"]


class Falsification(NamedTuple):
    """``named`` (N,): the part that the map calls decisive, -1 where it names none; ``drops`` (N, K): what
    removing each part cost beyond its control; ``decisive`` (N,): the part that cost the most, -1 where none
    cost anything, or two the same; ``right`` (N,): whether a part was named and it was that one."""

    named: Int[Tensor, " N"]
    drops: Float[Tensor, "N K"]
    decisive: Int[Tensor, " N"]
    right: Bool[Tensor, " N"]


def order_of(maps: Float[Tensor, "N H W"]) -> Tensor:
    """Each picture's pixels from the most important on, (N, H * W); ties are broken by lot, seed 0.

    >>> order_of(torch.tensor([[[1.0, 3.0], [2.0, 0.0]]])).tolist()
    [[1, 2, 0, 3]]
    """
    flat = as_tensor("maps", maps).flatten(1)
    lot = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0)).to(flat.device)
    return lot[flat[:, lot].argsort(dim=1, descending=True, stable=True)]


def _curve(
    model: nn.Module, images: Tensor, maps: Tensor, target: Target, delete: bool, steps: int, fill: Fill,
    reward: str, batch_size: int,
) -> Curve:  # fmt: skip
    check_images(images)
    check_positive("steps", steps)
    check_positive("batch_size", batch_size)
    check_choice("reward", reward, ("probability", "logit"))
    n, _, height, width = images.shape
    maps = check_maps(maps, images)
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
        if isinstance(target, Score):
            scores(model, plain.clone(), target)  # classes in a sum that do not fit are refused for the batch
        rank = order_of(maps).argsort(1).view(n, 1, height, width).to(plain.device)
        counts = (torch.linspace(0, 1, steps + 1) * height * width).round().to(plain.device)
        blank = filling(plain, fill).expand_as(plain)
        start, end = (plain, blank) if delete else (blank, plain)
        for first in tqdm(range(0, len(jobs), batch_size), "deletion" if delete else "insertion",
                          leave=False, delay=1.5):  # fmt: skip
            rows = torch.tensor(jobs[first : first + batch_size], device=plain.device)
            changed = rank[rows[:, 0]] < counts[rows[:, 1], None, None, None]
            shown = torch.where(changed, end[rows[:, 0]], start[rows[:, 0]])
            values.append(scores(model, shown, rewarded(select(target, rows[:, 0]), reward)))
    curve = torch.cat(values).view(n, steps + 1)
    curve = curve.to(torch.promote_types(curve.dtype, torch.float32))
    if not torch.isfinite(curve).all():
        raise ValueError("the model's scores must be finite; got NaN or infinity. Look at model(images).")
    shares = (counts / (height * width)).to(curve)
    return Curve(torch.trapezoid(curve, shares, dim=1), curve, shares)


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
) -> Curve:
    """The class's probability while pixels are taken away, those first that the map calls most important.

    In each of ``steps`` an equal share of the pixels (to the nearest pixel) changes to ``fill`` (see
    ``occlusion``; the paper's black holes have edges that a network has never seen). Pixels of equal
    importance go in an order drawn by lot, from seed 0: a constant map is the random order. A low ``auc`` is
    good. Unit: probability, or the score itself for ``reward="logit"`` and for any target but a class.
    Raises ValueError for maps of another shape or with NaN, scores with NaN, targets that are not as many as
    the pictures, and for the probability of a model with one output.

    Source: Petsiuk, Das and Saenko 2018, "RISE", section 4.2.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> deletion(net, torch.rand(1, 3, 4, 4), torch.rand(1, 4, 4), 0, steps=4).curve.shape
    torch.Size([1, 5])
    """
    return _curve(model, images, maps, target, True, steps, fill, reward, batch_size)


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
) -> Curve:
    """The class's probability while pixels come back into a filled picture, the most important first.

    A high ``auc`` is good. Options, unit, errors and source as in ``deletion``; the paper starts from a blur.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> insertion(net, torch.rand(1, 3, 4, 4), torch.rand(1, 4, 4), 0, steps=4).auc.shape
    torch.Size([1])
    """
    return _curve(model, images, maps, target, False, steps, fill, reward, batch_size)


def falsification(
    maps: Float[Tensor, "N H W"],
    parts: Bool[Tensor, "N K H W"],
    without: Float[Tensor, "N K"],
    control: Float[Tensor, "N K"],
) -> Falsification:
    """Hold a map to what it predicts: that without the part it names, the score falls the most.

    ``parts`` are the pixels of K things in each picture; the map names the one with the highest mean of its
    positive part (the mean, so that a large thing does not win by its size). ``without`` and ``control`` are
    scores: of the same scene drawn again without each part, and without an equal area elsewhere. A part's
    drop is ``control - without``. A map that is highest on no single part names none, and is wrong, as is one
    where no single part cost the most, and more than nothing. Raises ValueError for shapes that do not fit,
    fewer than two parts (there is nothing to be wrong about), an empty part, and NaN or infinity.

    Source: Popper's demand, in the lectures' words; the measure is ours.

    >>> maps = torch.tensor([[[1.0, 0.0]]]); parts = torch.tensor([[[[True, False]], [[False, True]]]])
    >>> falsification(maps, parts, torch.tensor([[0.0, 1.0]]), torch.ones(1, 2)).right
    tensor([True])
    """
    maps, parts = as_tensor("maps", maps), as_masks("parts", parts)
    without, control = as_tensor("without", without), as_tensor("control", control)
    if parts.ndim != 4 or parts.shape[1] < 2:
        raise ValueError(
            "parts must hold the pixels of at least two things in each picture, shape (N, K, H, W); got "
            f"{tuple(parts.shape)}. Of a single one every map would be right."
        )
    n, k = parts.shape[:2]
    if maps.shape != (n, *parts.shape[2:]) or not (without.shape == control.shape == (n, k)):
        raise ValueError(
            "maps (N, H, W), parts (N, K, H, W), without and control (N, K) must fit together; got "
            f"{', '.join(str(tuple(t.shape)) for t in (maps, parts, without, control))}."
        )
    if not parts.flatten(2).any(2).all():
        raise ValueError(
            "parts must hold a pixel each; some are empty, hidden perhaps. Leave those scenes out."
        )
    for name, values in (("maps", maps), ("without", without), ("control", control)):
        if not torch.isfinite(values).all():
            raise ValueError(f"{name} must be finite; got NaN or infinity. Look at the model's scores.")
    positive = maps.clamp(min=0)[:, None]
    density, drops = (positive * parts).sum((2, 3)) / parts.sum((2, 3)), control - without
    named, decisive = _single_top(density), _single_top(drops)
    return Falsification(named, drops, decisive, (named == decisive) & (named >= 0))


def _single_top(values: Float[Tensor, "N K"]) -> Int[Tensor, " N"]:
    """The place of each row's largest value; -1 where that is not above 0, or stands there twice."""
    first, second = values.topk(2, 1).values.T
    return torch.where((first > 0) & (first > second), values.argmax(1), -1)
