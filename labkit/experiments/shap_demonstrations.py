"""What lab 24 draws beside its claims: KernelSHAP on a picture's tiles, DeepSHAP from a rule at each ReLU.

A function that takes a student's calls it on something tiny before it asks a network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.attribution import superpixels
from labkit.experiments.gradient_demonstrations import in_a_row
from labkit.experiments.lime import own_lime
from labkit.models import borrow
from labkit.models.fast import fast_copy

Own = Callable[..., Tensor]
Weight = Callable[[int, int], float]

# ---- LIME


def tinted(image: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H W"]:
    """A picture whose superpixels are tinted, each by a colour of its own."""
    places = superpixels(image[None])[0]
    tints = torch.rand(int(places.max()) + 1, 3, generator=torch.Generator().manual_seed(0))
    return 0.5 * image + 0.5 * tints[places].permute(2, 0, 1).to(image)


def several_limes(
    *, lime_weights: Own, fit_surrogate: Own
) -> dict[str, Callable[[nn.Module, Tensor, int], Tensor]]:
    """LIME by the exercises' functions with 30, 100 and 300 covered copies, and with 300 others."""

    def by(samples: int, seed: int = 0) -> Callable[[nn.Module, Tensor, int], Tensor]:
        def method(model: nn.Module, images: Tensor, target: int) -> Tensor:
            own = partial(own_lime, lime_weights=lime_weights, fit_surrogate=fit_surrogate)
            return own(model, images, target, samples=samples, seed=seed).map

        return method

    return {**{f"{s} copies": by(s) for s in (30, 100, 300)}, "300, another draw": by(300, 1)}


# ---- a picture as a game


class PictureGame(NamedTuple):
    """A picture whose tiles are the players: ``value`` (2^M,), the score where those of coalition c are seen
    and the others are grey; ``places`` (H, W), the number of each pixel's tile; ``players``, M."""

    value: Float[Tensor, " C"]
    places: Tensor
    players: int

    @property
    def coalitions(self) -> Float[Tensor, "C M"]:
        """All 2^M rows of 0. and 1., nobody first and everybody last."""
        numbers = torch.arange(len(self.value))
        return (numbers[:, None] >> torch.arange(self.players) & 1).to(self.value)


def picture_game(model: nn.Module, image: Float[Tensor, "3 H W"], target: int, side: int = 3) -> PictureGame:
    """Ask for the score of every coalition of ``side`` times ``side`` tiles; what is absent is grey."""
    rows, columns = (torch.arange(n) * side // n for n in image.shape[1:])
    game = PictureGame(torch.zeros(2**side**2), side * rows[:, None] + columns, side**2)
    found = []
    with borrow(model), torch.no_grad():
        quick = fast_copy(model, image[None], forwards=len(game.value))
        for rows in tqdm(game.coalitions.split(8), "coalitions", leave=False, delay=1.5):
            found.append(
                quick(torch.where(rows[:, game.places][:, None] > 0, image, 0.5))[:, target].double()
            )
    return game._replace(value=torch.cat(found))


class Estimates(NamedTuple):
    """``maps`` (1, H, W): each tile's share, by Shapley's sum, by the regression over all coalitions and over
    a few; ``misses``: by how many coalitions were asked, the largest distance to Shapley's shares, the mean
    of ten draws; ``most``: the largest share."""

    maps: dict[str, Float[Tensor, "1 H W"]]
    misses: dict[int, float]
    most: float

    def __str__(self) -> str:
        lines = [f"the largest share is {self.most:.2f}"]
        lines += [f"{count} coalitions: off by {miss:.2g}" for count, miss in self.misses.items()]
        return "\n".join(lines)


def estimates(
    game: PictureGame, *, shapley_values: Own, kernel_shap: Own, kernel_shap_weight: Weight, few: int = 30
) -> Estimates:
    """Shapley's shares of a game and KernelSHAP's, from all coalitions and from some that are drawn.

    Every coalition is as likely to be drawn as another, so that the weights stay those of the regression.
    """
    exact = shapley_values(game.value, game.players)
    inner, worth = game.coalitions[1:-1], game.value[1:-1]
    empty, full = float(game.value[0]), float(game.value[-1])

    def fitted(count: int, seed: int) -> Tensor:
        order = torch.randperm(len(inner), generator=torch.Generator().manual_seed(seed))[:count]
        return kernel_shap(inner[order], worth[order], empty, full, kernel_shap_weight)

    misses = {}
    for count in (few, 2 * few, 4 * few, 8 * few, len(inner)):
        draws = [fitted(min(count, len(inner)), seed) for seed in range(10 if count < len(inner) else 1)]
        misses[min(count, len(inner))] = sum(float((one - exact).abs().max()) for one in draws) / len(draws)
    shares = {
        "Shapley": exact,
        f"KernelSHAP, all {len(inner)}": fitted(len(inner), 0),
        f"KernelSHAP, {few}": fitted(few, 0),
    }
    maps = {name: one[game.places][None].float() for name, one in shares.items()}
    return Estimates(maps, misses, float(exact.abs().max()))


# ---- DeepSHAP from a rule at a ReLU


class _Rescaled(torch.autograd.Function):
    """A ReLU of pictures and baselines, stacked; backwards the multiplier between the two."""

    @staticmethod
    def forward(ctx: Any, both: Tensor, multiplier: Own) -> Tensor:
        ctx.save_for_backward(both)
        ctx.multiplier = multiplier
        return both.relu()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        x, baseline = ctx.saved_tensors[0].chunk(2)
        return gradient * ctx.multiplier(x, baseline).repeat(2, *[1] * (x.ndim - 1)), None


def _largest(x: Tensor, multiplier: Own) -> Tensor:
    """Max pooling by two from ReLUs alone: max(a, b) = b + relu(a - b), down and then across."""
    x = x[:, :, 1::2] + _Rescaled.apply(x[:, :, ::2] - x[:, :, 1::2], multiplier)
    return x[..., 1::2] + _Rescaled.apply(x[..., ::2] - x[..., 1::2], multiplier)


class DeepShares(NamedTuple):
    """``map`` (N, H, W): what each pixel's difference from the baseline adds, summed over the colours;
    ``difference`` (N,): of the scores; ``missed`` (N,): what the parts miss of it."""

    map: Float[Tensor, "N H W"]
    difference: Float[Tensor, " N"]
    missed: Float[Tensor, " N"]

    def __str__(self) -> str:
        off = self.missed.abs().max()
        return f"scores differ by {self.difference.mean():.2f} on average, the parts miss {off:.1g} at most"


def deep_shares(
    model: nn.Module,
    images: Float[Tensor, "N 3 H W"],
    baseline: float,
    target: Tensor,
    rescale_multiplier: Own,
) -> DeepShares | None:
    """DeepSHAP with one baseline, a colour: walk back by this multiplier at each ReLU, times the way.

    A maximum of two is made of a ReLU as well, so the multiplier is all that bends. None where the model's
    layers are no plain row (a line says so). Not `labkit.attribution.deep_shap`: that has a rule of its own
    for max pooling, so single parts differ; both add up.
    """
    rescale_multiplier(torch.zeros(1, 1), torch.ones(1, 1))
    layers = in_a_row(model)
    if layers is None:
        return None
    pictures = images.detach().clone().requires_grad_(True)
    x = torch.cat([pictures, torch.full_like(images, baseline)])
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            x = _Rescaled.apply(x, rescale_multiplier)
        elif isinstance(layer, nn.MaxPool2d):
            x = _largest(x, rescale_multiplier)
        else:
            x = layer(x)
    scores = x.gather(1, target.repeat(2)[:, None])[:, 0]
    gradient = torch.autograd.grad(scores[: len(images)].sum(), pictures)[0]
    parts = gradient * (images - baseline)
    difference = (scores[: len(images)] - scores[len(images) :]).detach()
    return DeepShares(parts.sum(1), difference, difference - parts.sum((1, 2, 3)))
