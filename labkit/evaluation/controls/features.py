"""Controls with features: a matched Gaussian, random directions of the data, raw colour and position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_images, check_positive
from labkit.core.door import seeded


def _rows(features: Tensor) -> Float[Tensor, "N D"]:
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) < 2:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"features must have the shape (N, D), a row a picture, N >= 2; got {got}.")
    if not torch.isfinite(features).all():
        raise ValueError("features must be finite; got NaN or infinity.")
    return features.detach().double()


def _normal(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    own = seeded(generator)
    return torch.randn(*shape, generator=own, device=own.device, dtype=torch.float64)


def matched_gaussian(
    features: Float[Tensor, "N D"], n: int | None = None, *, generator: torch.Generator | None = None
) -> Float[Tensor, "M D"]:
    """``n`` draws (default N) from the Gaussian with the features' mean and covariance: a cloud without form.

    Clusters, curvature and a low intrinsic dimension that it shows as well come from the covariance, or from
    the eye. ``generator``: None is seed 0. Raises ValueError for another shape or values that are not finite.

    >>> matched_gaussian(torch.rand(50, 3), 7).shape
    torch.Size([7, 3])
    """
    rows = _rows(features)
    count = len(rows) if n is None else n
    check_positive("n", count)
    centred = rows - rows.mean(0)
    mixed = _normal((count, len(rows)), generator).to(rows.device) @ centred / (len(rows) - 1) ** 0.5
    return (rows.mean(0) + mixed).to(features)


def random_directions(
    features: Float[Tensor, "N D"], count: int, *, generator: torch.Generator | None = None
) -> Float[Tensor, "K D"]:
    """``count`` directions of length 1 drawn from the data's covariance: as large in the data as any.

    A direction drawn evenly from all lies mostly where the data does not vary, and does nothing; a control
    for a concept's direction must do something. ``generator``: None is seed 0. Errors as in
    ``matched_gaussian``, and ValueError for features that do not vary.

    >>> random_directions(torch.tensor([[0.0, 1.0], [0.0, 3.0]]), 2).abs()
    tensor([[0., 1.],
            [0., 1.]])
    """
    check_positive("count", count)
    rows = _rows(features)
    centred = rows - rows.mean(0)
    if not centred.any():
        raise ValueError("features must vary between pictures; these are all the same.")
    drawn = _normal((count, len(rows)), generator).to(rows.device) @ centred
    return F.normalize(drawn, dim=1).to(features)


def random_subspace(
    features: Float[Tensor, "N D"], size: int, *, generator: torch.Generator | None = None
) -> Float[Tensor, "K D"]:
    """An orthonormal basis (``size``, D) of a subspace drawn from the data's covariance.

    ``generator``: None is seed 0. Errors as in ``random_directions``, and ValueError where the data does not
    fill that many dimensions.

    >>> basis = random_subspace(torch.rand(50, 6), 2)
    >>> torch.allclose(basis @ basis.T, torch.eye(2), atol=1e-6)
    True
    """
    drawn = random_directions(features.double(), size, generator=generator)
    rank = int(torch.linalg.matrix_rank(drawn, rtol=1e-5))
    if rank < size:
        raise ValueError(f"size must be at most the dimensions that the features fill, {rank}; got {size}.")
    return torch.linalg.qr(drawn.T)[0].T.to(features)


def colour_features(
    images: Float[Tensor, "N C H W"], grid: int, *, patch: int = 1
) -> Float[Tensor, "N F grid grid"]:
    """The raw colours of each place of a ``grid`` x ``grid``: mean values of its ``patch`` x ``patch`` parts.

    Features without a network, for what a network's are compared with: C x patch x patch numbers a place.
    Raises ValueError for illegal pictures and for parts finer than a pixel.

    >>> colour_features(torch.rand(2, 3, 16, 16), 4, patch=2).shape
    torch.Size([2, 12, 4, 4])
    """
    check_images(images)
    check_positive("grid", grid)
    check_positive("patch", patch)
    if grid * patch > min(images.shape[2:]):
        raise ValueError(
            f"grid times patch must be at most the picture's {min(images.shape[2:])} pixels; "
            f"got {grid} x {patch}."
        )
    fine = F.adaptive_avg_pool2d(images.detach(), grid * patch)
    return F.pixel_unshuffle(fine, patch)


def colour_histogram(images: Float[Tensor, "N 3 H W"], bins: int = 4) -> Float[Tensor, "N F"]:
    """The share of each picture's pixels in each of ``bins`` x ``bins`` x ``bins`` boxes of colour.

    Which colours there are, without where: as Swain and Ballard 1991, "Color Indexing". Raises ValueError
    for illegal pictures and for pictures that are not in colour.

    >>> colour_histogram(torch.zeros(1, 3, 4, 4), 2).tolist()
    [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    check_images(images)
    check_positive("bins", bins)
    if images.shape[1] != 3:
        raise ValueError(f"images must have 3 channels, red, green and blue; got {tuple(images.shape)}.")
    levels = (images.detach() * bins).long().clamp(0, bins - 1).flatten(2)
    boxes = (levels[:, 0] * bins + levels[:, 1]) * bins + levels[:, 2]
    counts = torch.zeros(len(images), bins**3, dtype=images.dtype, device=images.device)
    return counts.scatter_add_(1, boxes, torch.ones_like(boxes, dtype=images.dtype)) / boxes.shape[1]


def position_features(images: Float[Tensor, "N C H W"], grid: int) -> Float[Tensor, "N 2 grid grid"]:
    """The row and the column of each place of a ``grid`` x ``grid``, -1 to 1: features that see nothing.

    What they tell about a concept is where photographers put it. Raises ValueError for illegal pictures.

    >>> position_features(torch.rand(1, 3, 8, 8), 2)[0, 0].tolist()
    [[-0.5, -0.5], [0.5, 0.5]]
    """
    check_images(images)
    check_positive("grid", grid)
    steps = (torch.arange(grid, dtype=images.dtype, device=images.device) + 0.5) * 2 / grid - 1
    places = torch.stack(torch.meshgrid(steps, steps, indexing="ij"))
    return places.expand(len(images), -1, -1, -1).clone()


def random_projections(
    maps: Float[Tensor, "N F h w"], count: int, *, generator: torch.Generator | None = None
) -> Float[Tensor, "N K h w"]:
    """``count`` random weighted sums of features, after a ReLU: units as of a network that learned nothing.

    Each feature is first brought to mean 0 and spread 1 over all pictures and places; weights are Gaussian,
    of length 1 on average, and so are the biases. ``generator``: None is seed 0. Raises ValueError for
    another shape.

    >>> random_projections(torch.rand(2, 5, 4, 4), 8).shape
    torch.Size([2, 8, 4, 4])
    """
    check_positive("count", count)
    if maps.ndim != 4 or not torch.isfinite(maps).all():
        raise ValueError(f"maps must be finite and have the shape (N, F, h, w); got {tuple(maps.shape)}.")
    values = maps.detach().double()
    spread = values.std((0, 2, 3), keepdim=True, correction=0)
    values = (values - values.mean((0, 2, 3), keepdim=True)) / torch.where(spread > 0, spread, 1)
    weights = _normal((count, maps.shape[1] + 1), generator).to(values.device)
    summed = torch.einsum("nfhw,kf->nkhw", values, weights[:, 1:]) / maps.shape[1] ** 0.5
    return (summed + weights[:, 0].view(-1, 1, 1)).relu().to(maps)
