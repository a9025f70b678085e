"""Golden calls of weights and generators: filters as pictures, what is fitted to them, codes sought."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from labkit import models, visualization
from labkit.ledger.golden_calls import Golden, draw, ground
from labkit.models import generator as generators
from labkit.optimize import least_squares as squares

SIDE = 9


class Waves(nn.Module):
    """A generator of waves: pictures in [0, 1] whose frequencies and colours are the code's seven numbers."""

    code_size = 7

    def forward(self, codes: Tensor) -> Tensor:
        at = torch.linspace(0, 2 * math.pi, 128, dtype=codes.dtype)
        down, over = at[None, :, None], at[None, None, :]
        c = codes[:, :, None, None]
        wave = torch.sin((1 + c[:, 0]) * down + c[:, 1]) * torch.cos((2 + c[:, 2]) * over + c[:, 3])
        return torch.sigmoid(wave[:, None] * c[:, 4:7])


def _filters() -> Tensor:
    """Three filters: two Gabors and a blob of two colours, each with a little noise."""
    rows, columns = torch.meshgrid(*[torch.arange(SIDE, dtype=torch.float64)] * 2, indexing="ij")
    y, x = rows - 4.2, columns - 3.7
    bump = torch.exp(-(y**2 + x**2) / 8)
    shapes = [bump * torch.cos(1.3 * x + 0.4), bump * torch.sin(0.7 * x + 0.6 * y), bump]
    colours = torch.tensor([[1, 1, 1], [0.8, 0.1, -0.4], [0.7, -0.7, 0.1]], dtype=torch.float64)
    noise = torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64, generator=draw())
    return colours[:, :, None, None] * torch.stack(shapes)[:, None] + 0.02 * noise


def _visualization() -> dict[str, Golden]:
    g, v, filters = ground(), visualization, _filters()

    def drawn() -> Any:
        first, second = (
            v.filter_grid_result(g.model, layer, filters=8) for layer in ("features.0", "features.3")
        )
        return [*first, *second, v.filter_grid(g.model, "features.0")]

    def gabors() -> Any:
        found = v.gabor_fit_result(filters, steps=30)
        return [found.r2, found.fitted, found.component, found.share, v.gabor_fit(filters[:2], steps=30)]

    def blobs() -> Any:
        return [*v.opponent_fit_result(filters[2:], steps=30), v.opponent_fit(filters[2:], steps=30)]

    def dreamed() -> Any:
        start = torch.linspace(-1, 1, 14, dtype=torch.float64).view(2, 7)
        found = v.dgn_am_result(g.model, g.targets[:2], Waves().eval(), start=start, steps=4)
        return [
            *found[:5],
            v.dgn_am(g.model, 3, Waves().eval(), start=start[:1], steps=2, limits=(-0.5, 0.9)),
        ]

    return {
        "filter_grid": Golden(drawn, (v.filter_grid, v.filter_grid_result)),
        "gabor_fit": Golden(gabors, (v.gabor_fit, v.gabor_fit_result), 1e-3),
        "opponent_fit": Golden(blobs, (v.opponent_fit, v.opponent_fit_result), 1e-3),
        "dgn_am": Golden(dreamed, (v.dgn_am, v.dgn_am_result), 1e-3),
    }


def _models() -> dict[str, Golden]:
    def made() -> Any:
        maker: Any = models.load_model("generator").double()
        with torch.no_grad():
            return [
                maker(maker.codes(torch.tensor([0, 5, 11]))),
                maker.start_codes(2, generator=draw()),
                *maker.code_range,
            ]

    return {"generator.Generator": Golden(made, (generators.Generator,))}


def _optimize() -> dict[str, Golden]:
    def fitted() -> Any:
        x = torch.linspace(0, 2, 15, dtype=torch.float64)
        goal = torch.stack([torch.exp(-2 * x), 0.4 * torch.cos(3 * x)])
        starts = torch.tensor([[[1.0, 1.0], [0.1, 2.0]]], dtype=torch.float64).expand(2, -1, -1)
        found, values = squares.least_squares(lambda p: p[0] * torch.exp(-p[1] * x), starts, goal, steps=8)
        low = squares.inverse_between(torch.tensor([0.3, 1.9]), 0.0, 2.0)
        return [found, values, squares.explained(values, goal), squares.between(low, 0.0, 2.0)]

    covers = (squares.least_squares, squares.between, squares.inverse_between, squares.explained)
    return {"least_squares.least_squares": Golden(fitted, covers)}


TABLES: dict[str, Callable[[], dict[str, Golden]]] = {
    "visualization": _visualization,
    "models": _models,
    "optimize": _optimize,
}
