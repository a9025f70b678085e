"""What filters look like: Gabor fit (edges, gratings) and opponent fit (blobs of colour)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_finite
from labkit.core.registry import signature_of
from labkit.optimize.least_squares import between, explained, inverse_between, least_squares


class GaborFit(NamedTuple):
    """A Gabor a filter: ``r2`` (K,); ``center`` (K, 2) row and column, from 0 at the first pixel's centre;
    ``sigma`` (K, 2) across the stripes and along them, in pixels; ``angle`` (K,) of the direction across the
    stripes, 0 to pi from the columns' axis towards the rows'; ``frequency`` (K,) in cycles a pixel; ``phase``
    (K,) of the cosine at the centre; ``amplitude`` (K,) at least 0. ``fitted``, ``component`` (K, h, w): the
    Gabor, and what it was fitted to; ``colour`` (K, C), of length 1, and ``share`` (K,): the filter's first
    colour component and how much of its energy that is."""

    r2: Float[Tensor, " K"]
    center: Float[Tensor, "K 2"]
    sigma: Float[Tensor, "K 2"]
    angle: Float[Tensor, " K"]
    frequency: Float[Tensor, " K"]
    phase: Float[Tensor, " K"]
    amplitude: Float[Tensor, " K"]
    fitted: Float[Tensor, "K h w"]
    component: Float[Tensor, "K h w"]
    colour: Float[Tensor, "K C"]
    share: Float[Tensor, " K"]


class OpponentFit(NamedTuple):
    """A round blob of one colour on another a filter: ``r2`` (K,) of all channels, each about its mean;
    ``center`` (K, 2) row and column and ``sigma`` (K,) in pixels; ``colour``, ``ground`` (K, C): what the
    blob adds in its middle, and what lies under it; ``opponency`` (K,): the share of the colour's energy that
    is not the same in all channels, 0 for a grey blob, 1 for pure contrast of colours; ``fitted``
    (K, C, h, w)."""

    r2: Float[Tensor, " K"]
    center: Float[Tensor, "K 2"]
    sigma: Float[Tensor, " K"]
    colour: Float[Tensor, "K C"]
    ground: Float[Tensor, "K C"]
    opponency: Float[Tensor, " K"]
    fitted: Float[Tensor, "K C h w"]


def _filters(filters: Tensor) -> Float[Tensor, "K C h w"]:
    """Filters in double precision, checked; a stack (K, h, w) counts as one channel each."""
    shape = tuple(filters.shape) if isinstance(filters, Tensor) else type(filters).__name__
    if not isinstance(filters, Tensor) or filters.ndim not in (3, 4) or 0 in filters.shape:
        raise ValueError(f"filters must have the shape (K, C, h, w), as conv.weight has; got {shape}.")
    if min(filters.shape[-2:]) < 5:
        raise ValueError(
            f"filters must have at least 5 x 5 pixels, more than the fit has parameters; got {shape}. "
            "Take the first layer of a network with a larger stem, such as minivgg-11."
        )
    check_finite("filters", filters)
    values = filters.detach().double().cpu()
    return values if values.ndim == 4 else values[:, None]


def _first_component(filters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best description of each filter as one colour times one picture: the picture, the colour, its share
    of the energy."""
    flat = filters.flatten(2)
    u, s, v = torch.linalg.svd(flat, full_matrices=False)
    energy = (s**2).sum(1)
    part = torch.where(energy > 0, s[:, 0] ** 2 / energy.clamp(min=1e-300), 0.0)
    sign = torch.where(u[:, :, 0].sum(1) < 0, -1.0, 1.0)[:, None]
    picture = (s[:, :1] * v[:, 0] * sign).view(len(filters), *filters.shape[2:])
    return picture, u[:, :, 0] * sign, part


def _grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Row and column of each pixel, flat."""
    rows, columns = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return rows.flatten(), columns.flatten()


def _place(p: Tensor, height: int, width: int) -> Tensor:
    """Row and column of the middle, which lies within the filter, from the first two parameters."""
    return torch.stack([between(p[..., 0], -0.5, height - 0.5), between(p[..., 1], -0.5, width - 0.5)], -1)


def _unplace(y: Tensor, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The two parameters that ``_place`` turns into a row and a column."""
    return inverse_between(y, -0.5, height - 0.5), inverse_between(x, -0.5, width - 0.5)


def gabor_fit_result(filters: Float[Tensor, "K C h w"], *, steps: int = 60) -> GaborFit:
    """``gabor_fit`` with the Gabors themselves (see ``GaborFit``). Options and errors as there.

    >>> gabor_fit_result(torch.rand(2, 3, 7, 7)).fitted.shape
    torch.Size([2, 7, 7])
    """
    values = _filters(filters)
    k, _, height, width = values.shape
    component, colour, part = _first_component(values)
    size = component.flatten(1).abs().amax(1).clamp(min=1e-300)
    goal = component.flatten(1) / size[:, None]
    rows, columns = _grid(height, width)
    wide = float(max(height, width))

    def parts(p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The envelope, and the phase of the wave at each pixel, from the six parameters that bend."""
        row, column = _place(p, height, width)
        y, x = rows - row, columns - column
        across, along = x * p[4].cos() + y * p[4].sin(), y * p[4].cos() - x * p[4].sin()
        narrow, long = between(p[2], 0.5, wide), between(p[3], 0.5, wide)
        envelope = torch.exp(-((across / narrow) ** 2 + (along / long) ** 2) / 2)
        wave = 2 * math.pi * between(p[5], 0.0, 0.5) * across
        return envelope, wave.cos(), wave.sin()

    def gabor(p: Tensor) -> Tensor:
        envelope, even, odd = parts(p)
        return envelope * (p[6] * even + p[7] * odd)

    starts = _gabor_starts(component, height, width, wide)
    shape = starts.shape[:2]
    flat, goals = starts.flatten(0, 1), goal.repeat_interleave(shape[1], 0)
    envelope, even, odd = torch.func.vmap(parts)(flat)
    basis = torch.stack([envelope * even, envelope * odd], 2)
    square = basis.mT @ basis + 1e-9 * torch.eye(2, dtype=torch.float64)
    weights = torch.linalg.solve(square, basis.mT @ goals[:, :, None])[:, :, 0]
    p, fitted = least_squares(gabor, torch.cat([flat, weights], 1).view(*shape, 8), goal, steps=steps)
    found = {
        "r2": explained(fitted, goal),
        "center": _place(p, height, width),
        "sigma": torch.stack([between(p[:, 2], 0.5, wide), between(p[:, 3], 0.5, wide)], 1),
        "angle": p[:, 4] % math.pi,
        "frequency": between(p[:, 5], 0.0, 0.5),
        # a half turn of the axis turns the sine's sign
        "phase": torch.atan2(-p[:, 7] * torch.where(p[:, 4] % (2 * math.pi) < math.pi, 1.0, -1.0), p[:, 6]),
        "amplitude": p[:, 6:].norm(dim=1) * size,
        "fitted": (fitted * size[:, None]).view(k, height, width),
        "component": component,
        "colour": colour,
        "share": part,
    }
    return GaborFit(**{name: value.to(filters) for name, value in found.items()})


def _gabor_starts(component: Tensor, height: int, width: int, wide: float) -> Tensor:
    """Where the search of each filter begins, (K, S, 6): at its three strongest waves, in the middle of its
    energy and at its largest weight, narrow and wide."""
    k, padded = len(component), 4 * int(wide)
    spectrum = torch.fft.fft2(component, s=(padded, padded)).abs()[:, :, : padded // 2 + 1]
    down = torch.fft.fftfreq(padded).double()[:, None].expand(-1, padded // 2 + 1)
    over = torch.fft.rfftfreq(padded).double()[None].expand(padded, -1)
    radius = (down**2 + over**2).sqrt()
    spectrum = torch.where((radius > 0.02) & (radius <= 0.5), spectrum, 0.0)
    waves = []
    for _ in range(3):
        at = spectrum.flatten(1).argmax(1)
        fy, fx = down.flatten()[at], over.flatten()[at]
        waves.append((torch.atan2(fy, fx), (fy**2 + fx**2).sqrt()))
        near = (down - fy[:, None, None]) ** 2 + (over - fx[:, None, None]) ** 2 < 0.06**2
        spectrum = spectrum.masked_fill(near, 0.0)
    rows, columns = _grid(height, width)
    energy = component.flatten(1) ** 2 + 1e-300
    energy = energy / energy.sum(1, keepdim=True)
    top = energy.argmax(1)
    places = [(energy @ rows, energy @ columns), (rows[top], columns[top])]
    starts = []
    for angle, frequency in waves:
        for y, x in places:
            for sigma in (wide / 8, wide / 4):
                scale = torch.full((k,), sigma, dtype=torch.float64)
                width_of = inverse_between(scale, 0.5, wide)
                bends = [width_of, width_of, angle, inverse_between(frequency, 0.0, 0.5)]
                starts.append(torch.stack([*_unplace(y, x, height, width), *bends], 1))
    return torch.stack(starts, 1)


@signature_of(gabor_fit_result)
def gabor_fit(*args: Any, **options: Any) -> Float[Tensor, " K"]:
    """How much of each filter a Gabor explains: r2 of the best one, an edge or a grating under a Gaussian.

    A filter is first taken apart into colour times picture (its first singular component); to that picture a
    Gabor of eight parameters is fitted by least squares, from twelve starts each: centre (2), widths (2),
    angle, frequency, phase, amplitude. ``steps`` are those of the search. 1 is a perfect fit, 0 one that is
    no better than a constant. Small filters are easy: of blurred noise at 7 x 7 nearly all pass r2 > .5, so
    look at the same filters with their phases shuffled (``labkit.evaluation.controls.phase_shuffled``).
    Raises ValueError for another shape, filters below 5 x 5 and values that are not finite.

    Unit: share of the variance. Labels: post hoc, agnostic, global.
    Source: Jones and Palmer 1987, "An Evaluation of the Two-Dimensional Gabor Filter Model of Simple
    Receptive Fields in Cat Striate Cortex", equation 1.

    >>> y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    >>> wave = torch.exp(-((x - 4) ** 2 + (y - 4) ** 2) / 8) * torch.cos(1.5 * (x - 4))
    >>> bool(gabor_fit(wave[None, None]) > 0.999)
    True
    """
    return gabor_fit_result(*args, **options).r2


def opponent_fit_result(filters: Float[Tensor, "K C h w"], *, steps: int = 60) -> OpponentFit:
    """``opponent_fit`` with the blobs themselves (see ``OpponentFit``). Options and errors as there.

    >>> opponent_fit_result(torch.rand(2, 3, 7, 7)).opponency.shape
    torch.Size([2])
    """
    values = _filters(filters)
    k, channels, height, width = values.shape
    if channels < 2:
        raise ValueError(
            f"filters must have at least two channels, to be opponents; got {tuple(values.shape)}."
        )
    size = values.flatten(1).abs().amax(1).clamp(min=1e-300)
    goal = values.flatten(2) / size[:, None, None]
    rows, columns = _grid(height, width)
    wide = float(max(height, width))

    def bump(p: Tensor) -> Tensor:
        row, column = _place(p, height, width)
        y, x = rows - row, columns - column
        return torch.exp(-(y**2 + x**2) / (2 * between(p[2], 0.5, wide) ** 2))

    def blob(p: Tensor) -> Tensor:
        return (p[3 : 3 + channels, None] * bump(p) + p[3 + channels :, None]).flatten()

    away = ((goal - goal.mean(2, keepdim=True)) ** 2).sum(1) + 1e-300
    away = away / away.sum(1, keepdim=True)
    top = away.argmax(1)
    starts = []
    for y, x in ((away @ rows, away @ columns), (rows[top], columns[top])):
        for sigma in (wide / 8, wide / 5, wide / 3):
            scale = torch.full((k,), sigma, dtype=torch.float64)
            bent = torch.stack(
                [
                    inverse_between(y, -0.5, height - 0.5),
                    inverse_between(x, -0.5, width - 0.5),
                    inverse_between(scale, 0.5, wide),
                ],
                1,
            )
            shape = torch.func.vmap(bump)(bent)
            basis = torch.stack([shape, torch.ones_like(shape)], 2)
            square = basis.mT @ basis + 1e-9 * torch.eye(2, dtype=torch.float64)
            weights = torch.linalg.solve(square, basis.mT @ goal.mT)
            starts.append(torch.cat([bent, weights[:, 0], weights[:, 1]], 1))
    p, flat = least_squares(blob, torch.stack(starts, 1), goal.flatten(1), steps=steps)
    fitted = flat.view(k, channels, -1)
    colour = p[:, 3 : 3 + channels]
    grey = channels * colour.mean(1) ** 2 / (colour**2).sum(1).clamp(min=1e-300)
    found = {
        "r2": explained(fitted, goal),
        "center": _place(p, height, width),
        "sigma": between(p[:, 2], 0.5, wide),
        "colour": colour * size[:, None],
        "ground": p[:, 3 + channels :] * size[:, None],
        "opponency": 1 - grey,
        "fitted": (fitted * size[:, None, None]).view(values.shape),
    }
    return OpponentFit(**{name: value.to(filters) for name, value in found.items()})


@signature_of(opponent_fit_result)
def opponent_fit(*args: Any, **options: Any) -> Float[Tensor, " K"]:
    """How much of each filter a round blob of one colour on another explains: r2 of the best one.

    A Gaussian of three parameters (centre, width) with a colour of its own on an even ground, fitted to all
    channels at once by least squares from six starts. Whether its colour is opponent, red against green or
    blue against yellow, ``opponency`` of the ``_result`` form says. The even ground is no merit: r2 is about
    each channel's mean. ``steps`` are those of the search. Raises ValueError as ``gabor_fit``, and for
    filters of one channel.

    Unit: share of the variance. Labels: post hoc, agnostic, global.
    Source: Livingstone and Hubel 1984, "Anatomy and Physiology of a Color System in the Primate Visual
    Cortex" (blobs of opponent colours); the fit is ours.

    >>> y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    >>> spot = torch.exp(-((x - 4) ** 2 + (y - 4) ** 2) / 6)
    >>> bool(opponent_fit(torch.stack([spot, -spot, 0 * spot])[None]) > 0.999)
    True
    """
    return opponent_fit_result(*args, **options).r2
