"""Operations on pictures that searches and methods share: blur, pyramid, mask, variation, shift, fills."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_choice, check_fraction, check_images, check_positive

FILLS = ("grey", "black", "white", "mean", "blur")
HIDDEN_SIGMA = (
    20 / 224
)  # of the blur that hides, as a share of the shorter side: the paper's 20 pixels of 224
Fill = str | float | Tensor


def gaussian_blur(images: Float[Tensor, "N C H W"], sigma: float) -> Float[Tensor, "N C H W"]:
    """A Gaussian blur, ``sigma`` in pixels, that reflects at the border so that no frame darkens.

    Pictures in half precision are blurred in float32: a processor takes forever, and the sum rounds.

    >>> gaussian_blur(torch.ones(1, 1, 8, 8, dtype=torch.float64), 2.0).mean().round(decimals=9)
    tensor(1., dtype=torch.float64)
    """
    check_positive("sigma", sigma, integer=False)
    reach = min(int(3 * sigma + 0.5), min(images.shape[2:]) - 1)
    if reach < 1:
        return images
    if images.dtype in (torch.float16, torch.bfloat16):
        return gaussian_blur(images.float(), sigma).to(images.dtype)
    x = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (reach,) * 4, mode="reflect")
    across = F.conv2d(padded, kernel[:, :, None, :], groups=images.shape[1])
    return F.conv2d(across, kernel[:, :, :, None], groups=images.shape[1])


def blur_pyramid(
    images: Float[Tensor, "N C H W"], sigma: float | None = None, levels: int = 8
) -> Float[Tensor, "L N C H W"]:
    """The picture at ``levels`` strengths of blur from ``sigma`` (first) to none at all (last).

    ``sigma`` is in pixels; None: what hides a part of a picture in ``masked``, 20 pixels of 224.

    >>> blur_pyramid(torch.rand(1, 3, 8, 8), 3.0, 4).shape
    torch.Size([4, 1, 3, 8, 8])
    """
    if sigma is None:
        sigma = max(1.0, min(images.shape[2:]) * HIDDEN_SIGMA)
    strengths = [sigma * (1 - k / (levels - 1)) for k in range(levels)]
    return torch.stack([gaussian_blur(images, s) if s > 0.25 else images for s in strengths])


def perturbed(levels: Float[Tensor, "L N C H W"], masks: Float[Tensor, "N H W"]) -> Float[Tensor, "N C H W"]:
    """The first level where a mask is 0, the last where it is 1, in between by the two levels beside.

    >>> dark, grey, white = (torch.full((1, 1, 1, 1), v) for v in (0.0, 0.5, 1.0))
    >>> perturbed(torch.stack([dark, grey, white]), torch.full((1, 1, 1), 0.75))
    tensor([[[[0.7500]]]])
    """
    place = masks.clamp(0, 1)[:, None] * (len(levels) - 1)
    below = place.detach().floor().clamp(max=len(levels) - 2)
    index = below.long()[None].expand(1, *levels.shape[1:])
    low, high = levels.gather(0, index)[0], levels.gather(0, index + 1)[0]
    return low + (place - below) * (high - low)


def hiding(images: Float[Tensor, "N C H W"], fill: Fill = "pyramid") -> Float[Tensor, "L N C H W"]:
    """What a mask blends, see ``perturbed``: a pyramid of blurs, or a fill and the picture."""
    if isinstance(fill, str) and fill == "pyramid":
        return blur_pyramid(images)
    return torch.stack([filling(images, fill), images])


def masked(
    images: Float[Tensor, "N C H W"], masks: Float[Tensor, "N H W"], fill: Fill = "pyramid"
) -> Float[Tensor, "N C H W"]:
    """Pictures as a mask leaves them: untouched where it is 1, hidden where it is 0.

    ``fill`` is "pyramid", the more blurred the smaller the mask, as ``extremal_perturbation`` shows them, or
    any fill of ``filling``. Give 1 - masks to see what is deleted.

    >>> images = torch.rand(1, 3, 8, 8)
    >>> torch.allclose(masked(images, torch.ones(1, 8, 8)), images)
    True
    """
    return perturbed(hiding(images, fill), masks)


def enlarge(maps: Float[Tensor, "N h w"], side: Sequence[int]) -> Float[Tensor, "N H W"]:
    """Maps of a layer's places at the size of the picture, bilinearly.

    >>> enlarge(torch.rand(2, 3, 4), (6, 8)).shape
    torch.Size([2, 6, 8])
    """
    return F.interpolate(maps[:, None], size=tuple(side), mode="bilinear", align_corners=False)[:, 0]


def total_variation(x: Float[Tensor, "N C H W"], beta: float = 2.0) -> Float[Tensor, " N"]:
    """The sum over places of (squared step down + squared step right) to the power beta / 2.

    Source: Mahendran and Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them", eq. 6.

    >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
    tensor([2.])
    """
    down = F.pad(x[:, :, 1:] - x[:, :, :-1], (0, 0, 0, 1))
    right = F.pad(x[:, :, :, 1:] - x[:, :, :, :-1], (0, 1))
    squares = down**2 + right**2
    # the root of zero has no slope: there the difference itself is zero, and so is what is added
    return (squares if beta == 2 else (squares + 1e-8) ** (beta / 2)).sum((1, 2, 3))


def shift(
    images: Float[Tensor, "N C H W"], most: int, generator: torch.Generator
) -> Float[Tensor, "N C H W"]:
    """All pictures moved by one random step of at most ``most`` pixels in each direction, reflected in.

    >>> shift(torch.ones(1, 1, 4, 4), 2, torch.Generator()).unique()
    tensor([1.])
    """
    most = min(most, min(images.shape[2:]) - 1)
    if most < 1:
        return images
    down, right = (int(v) for v in torch.randint(0, 2 * most + 1, (2,), generator=generator))
    height, width = images.shape[2:]
    padded = F.pad(images, (most,) * 4, mode="reflect")
    return padded[:, :, down : down + height, right : right + width]


def filling(images: Float[Tensor, "N C H W"], fill: Fill) -> Float[Tensor, "N C H W"]:
    """The picture that shows through the window: one colour, the picture's mean colour, or its blur.

    Raises ValueError for an unknown name, a number outside [0, 1] or a tensor that does not fit.
    """
    if isinstance(fill, Tensor):
        try:
            check_images(fill.expand_as(images), "fill")
        except RuntimeError:
            raise ValueError(
                f"fill must broadcast to the images' shape {tuple(images.shape)}; got {tuple(fill.shape)}."
            ) from None
        return fill.to(images).expand_as(images)
    if isinstance(fill, str):
        check_choice("fill", fill, FILLS)
        if fill == "mean":
            return images.mean((2, 3), keepdim=True).expand_as(images)
        if fill == "blur":
            return gaussian_blur(images, max(1.0, min(images.shape[2:]) / 22)).clamp(0, 1)
        fill = {"grey": 0.5, "black": 0.0, "white": 1.0}[fill]
    check_fraction("fill", fill)
    return torch.full_like(images, float(fill))
