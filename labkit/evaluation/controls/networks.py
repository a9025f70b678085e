"""Controls with networks and their filters: the twin with random weights, filters with shuffled phases."""

from __future__ import annotations

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.door import seeded
from labkit.core.locks import check_model
from labkit.evaluation.randomization import randomized, weighted_layers
from labkit.models.features import batches

TWIN = 128
"""How many pictures a twin's batch statistics are taken from."""


def twin(model: nn.Module, pictures: Tensor | ndarray, *, seed: int = 0) -> nn.Module:
    """The same network with its weights drawn anew and its batch statistics taken anew: untrained, yet alive.

    What a twin shows as well, training has not made. A network of random weights with the statistics of
    another one (``minivgg-random``) is nearly dead and flatters every comparison. Take three seeds.

    ``pictures``: at least 2, of which the first 128 are used; bytes or numbers from 0 to 1, as
    ``labkit.models.features`` takes them.

    Raises RuntimeError for a model in training mode, else as ``labkit.evaluation.randomized``, which also
    says how weights are drawn. The model is left as it was.

    Source: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 3 (model parameter randomization);
    the statistics are our addition.

    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.ReLU()).eval()
    >>> new = twin(net, torch.rand(8, 3, 4, 4))
    >>> bool(new(torch.rand(8, 3, 4, 4)).std() > 0.1), torch.equal(new[0].weight, net[0].weight)
    (True, False)
    """
    check_model(model)
    shown = next(batches(pictures[:TWIN], TWIN))
    if len(shown) < 2:
        raise ValueError(
            f"pictures must be at least 2, better {TWIN}, for batch statistics; got {len(shown)}."
        )
    return randomized(model, list(weighted_layers(model)), shown, seed=seed)


def phase_shuffled(
    filters: Float[Tensor, "K C h w"], *, generator: torch.Generator | None = None
) -> Float[Tensor, "K C h w"]:
    """Filters with the same spectrum and phases by lot: as coarse, as colourful, and of no form.

    The Fourier phases of each filter are turned by those of white noise, all its channels alike, so that the
    strengths of all frequencies, their relation between channels and the mean of each channel stay. What such
    filters are as often, a spectrum alone explains. ``generator``: None is seed 0. Raises ValueError for
    another shape.

    Source: Theiler et al. 1992, "Testing for Nonlinearity in Time Series: the Method of Surrogate Data".

    >>> filters = torch.rand(2, 3, 7, 7)
    >>> torch.allclose(phase_shuffled(filters).mean((2, 3)), filters.mean((2, 3)), atol=1e-5)
    True
    """
    if filters.ndim != 4:
        raise ValueError(
            f"filters must have the shape (K, C, h, w), as conv.weight has; got {filters.shape}."
        )
    own = seeded(generator)
    noise = torch.randn(len(filters), 1, *filters.shape[2:], generator=own, device=own.device).to(filters)
    turn = torch.angle(torch.fft.fft2(noise.double()))
    turn[..., 0, 0] = 0  # the mean keeps its sign
    spectrum = torch.fft.fft2(filters.detach().double())
    return torch.fft.ifft2(spectrum * torch.exp(1j * turn)).real.to(filters)
