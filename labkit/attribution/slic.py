"""Superpixels by SLIC: connected patches of similar colour, of which surrogates and games are made."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from labkit.core.checks import check_images, check_positive


def superpixels(images: Float[Tensor, "N C H W"], *, count: int | None = None) -> Int[Tensor, "N H W"]:
    """The number of each pixel's superpixel, from 0: connected patches of similar colour, by SLIC.

    ``count`` is about how many a picture is cut into (default: 4 times the root of its shorter side, so 23
    at 32 px and 60 at 224 px). Where SLIC joins patches of noise until fewer than half are left or one has
    four times its share, they are made more compact, up to a grid: noise never becomes one superpixel.
    Nothing is random. Raises ValueError for an impossible count, else as ``saliency``.

    Unit: none. Labels: post hoc, model-agnostic, local.
    Source: Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-art Superpixel Methods", section
    3, as in scikit-image. Ribeiro et al. use quickshift, whose patches depend on the side in pixels.

    >>> int(superpixels(torch.full((1, 3, 32, 32), 0.5)).max()) + 1
    25
    """
    from skimage.segmentation import slic

    check_images(images)
    height, width = images.shape[2:]
    count = min(height * width, round(4 * min(height, width) ** 0.5)) if count is None else count
    check_positive("count", count)
    if count > height * width:
        raise ValueError(
            f"count must be at most the number of pixels ({height * width}); got {count}. "
            "Pass count=None for a sensible number."
        )
    found = []
    # one precision for all, so that a picture has the same superpixels in float32 and in float64
    for image in images.detach().cpu().float().double():
        colours = image if len(image) == 3 else image.mean(0, keepdim=True).expand(3, -1, -1)
        pixels = colours.clamp(0, 1).permute(1, 2, 0).contiguous().numpy()
        for compactness in (10, 40, 160, 640):
            labels = slic(pixels, n_segments=int(count), compactness=compactness, start_label=0)
            sizes = torch.from_numpy(labels).flatten().bincount()
            if len(sizes) >= count / 2 and sizes.max() <= 4 * height * width / count:
                break
        found.append(torch.from_numpy(labels).long())
    return torch.stack(found).to(images.device)


def numbered(segments: object, images: Tensor) -> list[Int[Tensor, "H W"]]:
    """Superpixels of each picture, numbered 0 to M - 1, on the pictures' device."""
    given = superpixels(images) if segments is None else segments
    if not isinstance(given, Tensor) or given.is_floating_point() or given.dtype == torch.bool:
        kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise TypeError(
            f"segments must be a tensor of whole numbers; got {kind}. Take labkit.attribution.superpixels."
        )
    side = images.shape[2:]
    if given.shape not in (side, (len(images), *side)):
        raise ValueError(
            f"segments must have the shape {(len(images), *side)} or {tuple(side)}; got "
            f"{tuple(given.shape)}. Take labkit.attribution.superpixels(images)."
        )
    numbered = []
    for own in given.expand(len(images), *side):
        labels, places = own.unique(return_inverse=True)
        if len(labels) < 2:
            raise ValueError(
                "segments must cut each picture into at least 2 superpixels; got 1, of which no surrogate "
                "can tell parts apart. Pass for example segments=superpixels(images, count=16)."
            )
        numbered.append(places.to(images.device))
    return numbered
