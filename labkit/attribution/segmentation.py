"""Segmentation by a map: a threshold at one of its quantiles, or GrabCut, a graph cut that it seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from torch import Tensor

from labkit.core.checks import check_finite, check_images, check_maps, check_positive


def _check_maps(maps: Any, like: Tensor | None = None) -> None:
    if not isinstance(maps, Tensor) or not torch.is_floating_point(maps):
        got = f"{maps.dtype}" if isinstance(maps, Tensor) else type(maps).__name__
        raise TypeError(
            f"maps must be a floating-point torch.Tensor of shape (N, H, W); got {got}. "
            "Pass what a method of labkit.attribution gives."
        )
    if maps.ndim != 3 or 0 in maps.shape:
        cure = "Add the batch axis: maps[None]." if maps.ndim == 2 else "Check how it was stacked."
        raise ValueError(f"maps must have the shape (N, H, W); got {tuple(maps.shape)}. {cure}")
    if like is not None:
        check_maps(maps, like)
    check_finite("maps", maps)


def _check_quantile(argument: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(
            f"{argument} must be a quantile above 0 and below 1; got {value!r}. "
            f"Pass for example {argument}=0.95 for the level that 95% of the pixels do not pass."
        )


def _above(values: np.ndarray, quantile: float) -> Bool[np.ndarray, "H W"]:
    """The pixels above the quantile; those at it where none is above; none at all in a constant map."""
    level = np.quantile(values, quantile, method="lower")
    above = values > level
    if not above.any():
        above = values >= level
    return above if not above.all() else np.zeros_like(above)


def _largest(found: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The largest connected part (the first of several), over sides and corners."""
    numbers, count = ndimage.label(found, structure=np.ones((3, 3)))
    return numbers == 1 + np.bincount(numbers.ravel())[1:].argmax() if count else found


def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        raise ImportError(
            'grabcut needs OpenCV, which is not installed. Run: pip install "labkit[grabcut]"'
        ) from None
    return cv2


def _cut(
    cv2: Any, picture: UInt8[np.ndarray, "H W 3"], seeds: UInt8[np.ndarray, "H W"], iterations: int
) -> Bool[np.ndarray, "H W"]:
    """Graph cuts of one picture; the first one by colours learnt from the sure pixels alone."""
    cv2.setRNGSeed(0)
    sure = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_BGD)
    behind, front = np.zeros((1, 65)), np.zeros((1, 65))
    strip, labels = np.ascontiguousarray(picture[sure][None]), np.ascontiguousarray(seeds[sure][None])
    cv2.grabCut(strip, labels, None, behind, front, 0, cv2.GC_INIT_WITH_MASK)
    cv2.grabCut(picture, seeds, None, behind, front, 1, cv2.GC_EVAL_FREEZE_MODEL)
    if iterations > 1:
        cv2.grabCut(picture, seeds, None, behind, front, iterations - 1, cv2.GC_EVAL)
    return (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)


def threshold(
    maps: Float[Tensor, "N H W"], quantile: float = 0.95, *, largest: bool = False
) -> Bool[Tensor, "N H W"]:
    """The pixels whose value lies above a quantile of their own map: the plainest segmentation by a map.

    Where the map has a plateau at the top, so that none lies above, those at the quantile are taken; in a
    constant map none. ``largest`` keeps only the largest connected part. Unit: none (True or False). Raises
    TypeError or ValueError for illegal maps, ValueError for a quantile outside (0, 1).

    Labels: post hoc, model-agnostic, local.
    Source: the baseline for ``grabcut``; no paper.

    >>> threshold(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), 0.5)
    tensor([[[False, False],
             [ True,  True]]])
    """
    _check_maps(maps)
    _check_quantile("quantile", quantile)
    found = [_above(values, quantile) for values in maps.detach().double().cpu().numpy()]
    parts = [_largest(part) for part in found] if largest else found
    return torch.from_numpy(np.stack(parts)).to(maps.device)


def grabcut(
    images: Float[Tensor, "N C H W"],
    maps: Float[Tensor, "N H W"],
    *,
    foreground: float = 0.95,
    background: float = 0.3,
    iterations: int = 5,
    largest: bool = True,
) -> Bool[Tensor, "N H W"]:
    """The object's pixels by colour and edges: a graph cut for which the map only names the sure pixels.

    Pixels above the map's quantile ``foreground`` are sure to be the object, those not above ``background``
    sure not to be; the colours of the two (Gaussian mixtures) and the edges of the picture decide the rest.
    The first of ``iterations`` cuts goes by the sure pixels' colours, each further one by the colours of the
    cut before it. ``largest`` keeps the largest connected part alone. Equal values are never torn apart: a
    map that is 0 for most pixels makes all of these background. A constant map names no pixel, and its
    segmentation is all False. Unit: none (True or False), on the maps' device. The same answer at every call;
    OpenCV's own random generator is seeded for it. Raises ImportError without OpenCV, TypeError or ValueError
    for illegal pictures or maps, ValueError for quantiles outside (0, 1) or in the wrong order.

    Labels: post hoc, model-agnostic, local.
    Source: Simonyan, Vedaldi and Zisserman 2014, "Deep Inside Convolutional Networks", section 3.2
    (``iterations=1``); the further cuts are those of Rother, Kolmogorov and Blake 2004, "GrabCut".

    >>> picture = torch.zeros(1, 3, 16, 16)
    >>> picture[..., 4:12, 4:12] = 1
    >>> spot = torch.zeros(1, 16, 16)
    >>> spot[:, 6:9, 6:9] = 1
    >>> grabcut(picture, spot, background=0.1).sum()
    tensor(9)
    """
    cv2 = _opencv()
    check_images(images)
    _check_maps(maps, images)
    check_positive("iterations", iterations)
    _check_quantile("foreground", foreground)
    _check_quantile("background", background)
    if background >= foreground:
        raise ValueError(
            f"background must be a lower quantile than foreground ({foreground}); got {background}. "
            "The paper takes foreground=0.95 and background=0.3."
        )
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels for a cut by colour; got {tuple(images.shape)}.")
    pictures = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
    found = []
    for picture, values in zip(
        pictures.permute(0, 2, 3, 1).cpu().numpy(), maps.detach().double().cpu().numpy(), strict=True
    ):
        front = _above(values, foreground)
        behind = (values <= np.quantile(values, background, method="lower")) & ~front
        if not front.any():
            found.append(front)
            continue
        seeds = np.full(values.shape, cv2.GC_PR_BGD, np.uint8)
        seeds[front], seeds[behind] = cv2.GC_FGD, cv2.GC_BGD
        part = _cut(cv2, np.ascontiguousarray(picture), seeds, int(iterations))
        found.append(_largest(part) if largest else part)
    return torch.from_numpy(np.stack(found)).to(maps.device)
