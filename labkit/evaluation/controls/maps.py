"""Baseline maps that are no explanation at all: what a method must beat before it has shown anything."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_images
from labkit.optimize import gaussian_blur

__all__ = ["centre_map", "control_maps", "edge_map", "random_map"]

_LUMINANCE = (0.299, 0.587, 0.114)


def centre_map(images: Float[Tensor, "N C H W"], *, spread: float = 0.25) -> Float[Tensor, "N H W"]:
    """A Gaussian at the picture's centre, the same for every picture: photographers centre their object.

    ``spread`` is its standard deviation as a share of each side. Unit: 1 at the centre. Raises ValueError for
    a ``spread`` that is not positive. Source: Judd et al. 2009, "Learning to Predict Where Humans Look", 3.2
    (the distance to the centre as a feature).

    >>> centre_map(torch.rand(1, 3, 5, 5)).argmax().item()
    12
    """
    check_images(images)
    if not spread > 0:
        raise ValueError(f"spread must be above 0, a share of the side such as 0.25; got {spread}.")
    sides = [torch.linspace(-0.5, 0.5, s, dtype=images.dtype, device=images.device) for s in images.shape[2:]]
    falls = [torch.exp(-(s**2) / (2 * spread**2)) for s in sides]
    return torch.outer(*falls).expand(len(images), -1, -1).clone()


def edge_map(images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N H W"]:
    """The magnitude of the Sobel gradient of the luminance: it has never seen the network.

    Some maps look right because they look like this one. The picture is continued by its border. Unit:
    luminance per pixel. Source: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 5 (edge
    detector); Sobel and Feldman 1968.

    >>> step = torch.zeros(1, 3, 4, 4); step[..., 2:] = 1
    >>> edge_map(step)[0, 0].tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    check_images(images)
    plain = images.detach()
    if plain.shape[1] == 3:
        weights = torch.tensor(_LUMINANCE, dtype=plain.dtype, device=plain.device)
        grey = (plain * weights[:, None, None]).sum(1, keepdim=True)
    else:
        grey = plain.mean(1, keepdim=True)
    smooth = torch.tensor([1.0, 2, 1], dtype=plain.dtype, device=plain.device)
    slope = torch.tensor([-1.0, 0, 1], dtype=plain.dtype, device=plain.device)
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None] / 8
    return F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels).norm(dim=1)


def random_map(
    images: Float[Tensor, "N C H W"], generator: torch.Generator | None = None
) -> Float[Tensor, "N H W"]:
    """Uniform noise, drawn anew for each picture from ``generator`` (None: seed 0): pure chance.

    >>> random_map(torch.rand(2, 3, 4, 4)).shape
    torch.Size([2, 4, 4])
    """
    check_images(images)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    shape = (len(images), *images.shape[2:])
    noise = torch.rand(shape, generator=generator, dtype=images.dtype, device=generator.device)
    return noise.to(images.device)


def control_maps(
    images: Float[Tensor, "N C H W"], generator: torch.Generator | None = None
) -> dict[str, Float[Tensor, "N H W"]]:
    """Maps that know nothing of a network: random, random but smooth, and the picture's edges.

    Smooth noise takes away whole regions, as most methods do; pixel noise leaves every region recognizable.
    A method must beat both. Source: Hooker et al. 2019, section 4.1 (random, Sobel); the blurred one is ours.

    >>> sorted(control_maps(torch.rand(1, 3, 8, 8)))
    ['blurred random', 'random', 'sobel']
    """
    noise = random_map(images, generator)
    smooth = gaussian_blur(noise[:, None], max(1.0, min(images.shape[2:]) / 10))[:, 0]
    return {"random": noise, "blurred random": smooth, "sobel": edge_map(images)}
