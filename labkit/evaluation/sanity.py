"""Sanity checks: does a map change when the network's parameters do, or the class that is asked about?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.core.checks import check_choice, check_finite, check_images, nearest
from labkit.core.door import own_copy
from labkit.evaluation.randomization import execution_order, forgetful, tell_drawn

__all__ = [
    "Cascade",
    "cascading_randomization",
    "class_selectivity",
    "rank_correlation",
    "ssim",
    "ssim_floor",
]

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Cascade(NamedTuple):
    """``layers``: the names, from the top down; ``maps``: method -> (L + 1, N, H, W), the first ones of the
    untouched network; ``rank``, ``rank_abs``, ``ssim``: method -> (L, N), each point's likeness to these."""

    layers: list[str]
    maps: dict[str, Float[Tensor, "P N H W"]]
    rank: dict[str, Float[Tensor, "L N"]]
    rank_abs: dict[str, Float[Tensor, "L N"]]
    ssim: dict[str, Float[Tensor, "L N"]]


def _pair(first: Tensor, second: Tensor) -> tuple[np.ndarray, np.ndarray]:
    if first.ndim != 3 or first.shape != second.shape:
        raise ValueError(
            f"maps must both have the shape (N, H, W); got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    for maps in (first, second):
        check_finite("maps", maps)
    return first.detach().double().cpu().numpy(), second.detach().double().cpu().numpy()


def rank_correlation(
    first: Float[Tensor, "N H W"], second: Float[Tensor, "N H W"], *, absolute: bool = False
) -> Float[Tensor, " N"]:
    """Spearman's rank correlation of two maps, picture by picture, -1 to 1; NaN where one is constant.

    Ties share their mean rank. ``absolute`` compares the sizes: a map and its negative are then the same.
    Raises ValueError for shapes that differ and maps with NaN. Source: Spearman 1904; Adebayo et al. 2018,
    "Sanity Checks for Saliency Maps", section 4.

    >>> rank_correlation(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 10.0, 100.0]]]))
    tensor([1.])
    """
    from scipy.stats import rankdata

    a, b = _pair(first, second)
    if absolute:
        a, b = np.abs(a), np.abs(b)
    ranks = [rankdata(m.reshape(len(m), -1), axis=1) for m in (a, b)]
    x, y = (r - r.mean(1, keepdims=True) for r in ranks)
    spread = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return torch.from_numpy(np.where(spread > 0, (x * y).sum(1) / spread, np.nan)).float()


def ssim(first: Float[Tensor, "N H W"], second: Float[Tensor, "N H W"]) -> Float[Tensor, " N"]:
    """Structural similarity of two maps, picture by picture, each first brought to the range 0 to 1.

    It likes smooth maps: two blobs at different places are far from 0. Read it beside ``ssim_floor``. A
    constant map becomes 0 everywhere. The window is 11 pixels, or what fits. Raises ValueError as
    ``rank_correlation``, and for maps under 3 pixels. Source: Wang et al. 2004, "Image Quality Assessment";
    Adebayo et al. 2018, section 4.

    >>> ssim(torch.eye(8)[None], torch.eye(8)[None])
    tensor([1.])
    """
    from skimage.metrics import structural_similarity

    a, b = _pair(first, second)
    side = min(a.shape[1:])
    if side < 3:
        raise ValueError(f"maps must have at least 3 pixels a side; got {tuple(first.shape[1:])}.")
    window = min(11, side if side % 2 else side - 1)

    def level(m: np.ndarray) -> np.ndarray:
        low, high = m.min((1, 2), keepdims=True), m.max((1, 2), keepdims=True)
        return (m - low) / np.where(high > low, high - low, 1)

    values = [
        structural_similarity(x, y, data_range=1.0, win_size=window)
        for x, y in zip(level(a), level(b), strict=True)
    ]
    return torch.tensor(values, dtype=torch.float32)


def ssim_floor(maps: Float[Tensor, "N H W"]) -> float:
    """The mean structural similarity of maps that have nothing to do with one another: of other pictures.

    Each map is held against the next one's. Raises ValueError for fewer than two maps.

    >>> ssim_floor(torch.eye(8).expand(2, -1, -1))
    1.0
    """
    if len(maps) < 2:
        raise ValueError(f"maps must hold at least two pictures' maps; got {len(maps)}.")
    return float(ssim(maps, maps.roll(1, 0)).mean())


def class_selectivity(
    method: Maps, model: nn.Module, images: Float[Tensor, "N C H W"], first: Tensor, second: Tensor
) -> Float[Tensor, " N"]:
    """Rank correlation of the maps of two classes of one picture: near 1, the method hardly asks the class.

    ``first`` and ``second`` (N,) are the classes: two present ones, or the likeliest and the least likely.
    NaN where a map is constant. Source: Mahendran and Vedaldi 2016, "Salient Deconvolutional Networks";
    Rebuffi et al. 2020, "There and Back Again", section 4.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> from labkit.attribution import saliency
    >>> class_selectivity(saliency, net, torch.rand(1, 3, 2, 2), torch.tensor([0]), torch.tensor([1])).shape
    torch.Size([1])
    """
    check_images(images)
    one, other = (method(model, own_copy(model, images), target) for target in (first, second))
    return rank_correlation(one, other)


def cascading_randomization(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Int[Tensor, " N"],
    methods: Mapping[str, Maps],
    *,
    mode: str = "cascading",
    layers: list[str] | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Cascade:
    """Maps while the network forgets, layer by layer from the top: a map that stays explains no network.

    ``mode`` "cascading" randomizes one layer more at each point, "independent" that layer alone. Layers come
    in the order in which they run, from the last one down (``layers`` restricts them). The target stays; the
    untouched network is the measure and no point of the curve. Each ``method(model, images, target)`` returns
    maps (N, H, W). Raises ValueError for a model without layers to randomize, KeyError for a wrong layer,
    else as ``randomized``, which also says what is warned of, and the methods.

    Source: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 3. Re-estimating the statistics of
    batch normalization is our addition.

    >>> from labkit.attribution import saliency
    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)).eval()
    >>> done = cascading_randomization(
    ...     net, torch.rand(2, 3, 3, 3), torch.tensor([0, 1]), {"saliency": saliency})
    >>> done.layers, done.rank["saliency"].shape
    (['3', '0'], torch.Size([2, 2]))
    """
    check_images(images)
    check_choice("mode", mode, ("cascading", "independent"))
    order = execution_order(model, images)[::-1]
    for name in layers or ():
        if name not in order:
            raise KeyError(
                f"layers must be names of layers with weights that these pictures meet; got {name!r}. "
                f"The nearest are {', '.join(map(repr, nearest(name, order)))}."
            )
    wanted = [name for name in order if layers is None or name in layers]
    if not wanted:
        raise ValueError("model must have layers with weights that can be drawn anew; it has none.")

    def asked_of(network: nn.Module) -> dict[str, Tensor]:
        # each its own pictures: a method of one's own may write into them
        return {n: m(network, own_copy(model, images), target).detach().cpu() for n, m in methods.items()}

    steps, told = [asked_of(model)], []
    for depth in tqdm(
        range(len(wanted)), "randomizing", leave=False, delay=1.5, disable=progress is not None
    ):
        forgets = wanted[: depth + 1] if mode == "cascading" else [wanted[depth]]
        twin, drawn = forgetful(model, forgets, images, seed)
        told += drawn
        steps.append(asked_of(twin))
        if progress is not None:
            progress((depth + 1) / len(wanted))
    tell_drawn(told)
    found = {name: torch.stack([step[name] for step in steps]) for name in methods}

    def likeness(measure: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        return {n: torch.stack([measure(m[0], later) for later in m[1:]]) for n, m in found.items()}

    return Cascade(
        wanted,
        found,
        likeness(rank_correlation),
        likeness(lambda a, b: rank_correlation(a, b, absolute=True)),
        likeness(ssim) if min(images.shape[2:]) >= 3 else likeness(rank_correlation),
    )
