"""What lab 23 draws beside its claims: RISE's draws, masks by the student's own loss, inverted channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.attribution import channel_attribution
from labkit.attribution.extremal_perturbations import SmoothMask
from labkit.core.statistics import Interval, bootstrap
from labkit.evaluation import iou, rank_correlation
from labkit.experiments.bench import SEEDS, Bench
from labkit.models import record
from labkit.optimize import gaussian_blur, minimize
from labkit.style import invert

# ---- RISE: how many masks?


class RiseDraws(NamedTuple):
    """``shown``: six masked pictures, ``left``: the probability each keeps; by the number of masks: ``maps``,
    each picture's over its own mean, and ``agree``, the rank correlation of two draws, picture by picture."""

    shown: Float[Tensor, "6 3 H W"]
    left: Float[Tensor, " 6"]
    maps: dict[int, Float[Tensor, "N H W"]]
    agree: dict[int, Float[Tensor, " N"]]


def rise_draws(
    bench: Bench,
    model: nn.Module,
    images: Float[Tensor, "N 3 H W"],
    target: Int[Tensor, " N"],
    *,
    rise_map: Callable[..., Tensor],
    random_mask: Callable[..., Tensor],
) -> RiseDraws:
    """RISE twice with 50, 200 and 1,000 masks (8 x 8 cells, half of them open): when do two draws agree?"""
    side, cells, p = images.shape[-1], 8, 0.5
    cell = -(-side // cells)

    def once(picture: Tensor, target: int, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        generator, masks = torch.Generator().manual_seed(seed), []
        for _ in range(count):
            grid = (torch.rand(cells + 1, cells + 1, generator=generator) < p).float()
            down, right = torch.randint(0, cell, (2,), generator=generator).tolist()
            masks.append(random_mask(grid, cell, down, right, side))
        drawn = torch.stack(masks)
        with torch.no_grad():
            left = [model(picture * part[:, None]).softmax(1)[:, target] for part in drawn.split(50)]
        return rise_map(torch.cat(left), drawn, p), torch.cat(left), drawn

    once(images[0], int(target[0]), 1, 0)  # unwritten: say so at once
    maps, agree, counts = {}, {}, (30, 60) if bench.quick else (50, 200, 1000)
    pairs = [*zip(images, target.tolist(), strict=False)]
    for count in tqdm(counts, "masks, few to many", leave=False):
        both = [[once(x, t, count, seed) for seed in (0, 1)] for x, t in tqdm(pairs, leave=False)]
        one, two = (torch.stack([draws[k][0] for draws in both]) for k in (0, 1))
        maps[count], agree[count] = one / one.mean((1, 2), keepdim=True), rank_correlation(one, two)
    _, left, masks = both[0][0]
    return RiseDraws(images[0] * masks[:6, None], left[:6], maps, agree)


# ---- masks by the student's own blend and loss


def own_masks(
    model: nn.Module,
    images: Float[Tensor, "N 3 H W"],
    target: Int[Tensor, " N"],
    cells: int,
    smooth: float,
    *,
    blend: Callable[..., Tensor],
    mask_loss: Callable[..., Tensor],
    steps: int = 80,
) -> Float[Tensor, "N H W"]:
    """Masks of ``cells`` x ``cells`` learned by a blend and a loss: 1 where the picture is deleted."""
    side = images.shape[-1]
    blurred, masks = gaussian_blur(images, side * 10 / 224), torch.full((len(images), cells, cells), 0.5)

    def enlarged() -> Tensor:
        return F.interpolate(masks[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]

    def loss(step: int) -> Tensor:
        chances = model(blend(images, enlarged(), blurred)).softmax(1)
        left = chances[torch.arange(len(target)), target]
        priced = [mask_loss(f, m, 0.08 / cells**2, smooth, 3.0) for f, m in zip(left, masks, strict=True)]
        return torch.stack(priced).sum()

    minimize([masks], loss, steps=steps, rate=0.1, project=lambda _: masks.clamp_(0, 1), describe="own masks")
    return 1 - enlarged().detach()


def searches(
    bench: Bench,
    model: nn.Module,
    images: Float[Tensor, "N 3 H W"],
    target: Int[Tensor, " N"],
    *,
    learn_mask: Callable[..., tuple[Tensor, list[float]]],
    tries: dict[str, tuple[int, float]] | None = None,
) -> tuple[dict[str, Float[Tensor, "N H W"]], dict[str, list[float]]]:
    """What the search of the exercise deletes of each picture, and the first picture's loss at each step.

    ``tries``: name -> cells along a side, price of roughness; None: a free cell per pixel, and 16 x 16 cells
    at three prices. The area costs 0.08 for the whole picture; the search begins at one half and takes 80
    steps.
    """
    side = images.shape[-1]
    coarse = {f"cells, $\\lambda_2$ = {price}": (16, price) for price in (0.0, 0.01, 0.1)}
    tries = {"version 1": (side, 0.0)} | coarse if tries is None else tries
    blurred = gaussian_blur(images, side * 10 / 224)

    def once(k: int, cells: int, smooth: float, steps: int) -> tuple[Tensor, list[float]]:
        start = torch.full((cells, cells), 0.5)
        pair = images[k : k + 1], blurred[k : k + 1]
        return learn_mask(model, *pair, int(target[k]), start, 0.08 / cells**2, smooth, steps)

    once(0, 4, 0.1, 1)  # unwritten: say so at once
    maps, falls = {}, {}
    for name, (cells, smooth) in tries.items():
        done = [once(k, cells, smooth, bench.steps(80, 5)) for k in range(len(images))]
        grids = torch.stack([mask for mask, _ in done])[:, None]
        large = F.interpolate(grids, (side, side), mode="bilinear", align_corners=False)[:, 0]
        maps[name], falls[name] = 1 - large, done[0][1]
    return maps, falls


def over_roughness(
    bench: Bench, *, blend: Callable[..., Tensor], mask_loss: Callable[..., Tensor]
) -> tuple[tuple[float, ...], dict[str, list[Interval]]]:
    """Prices of roughness, and for fine and coarse cells the IoU of own masks with the object at each."""
    prices = {"quick": (0.0, 1.0), "class": (0.0, 0.01, 1.0)}.get(bench.mode, (0.0, 0.001, 0.01, 0.1, 1.0))
    model, truth = bench.network(SEEDS[0]), bench.scenes(12, lesson=6)
    lines: dict[str, list[Interval]] = {}
    for cells, name in ((truth.images.shape[-1], "one cell a pixel"), (16, "16 x 16 cells")):
        lines[name] = []
        for price in prices:
            found = own_masks(
                model, truth.images, truth.labels, cells, price,
                blend=blend, mask_loss=mask_loss, steps=bench.steps(80, 5),
            )  # fmt: skip
            lines[name].append(bootstrap(iou(found > 0.5, truth.masks).nan_to_num(0.0).numpy()))
    return prices, lines


def smoothing(side: int) -> tuple[range, dict[str, list[float]]]:
    """Pixels, and the mask along them of one full cell: by the smooth maximum, and by a Gaussian blur."""
    smooth = SmoothMask(side, side, torch.zeros(1))
    middle, width = [c // 2 for c in smooth.cells], 2 * smooth.step
    grid, spot = torch.zeros(1, *smooth.cells), torch.zeros(1, 1, side, side)
    grid[0, middle[0], middle[1]] = 1
    spot[..., side // 2 : side // 2 + width, side // 2 : side // 2 + width] = 1
    places = range(side // 2 - side // 8, side // 2 + side // 8)
    cuts = {"smooth maximum": smooth(grid)[0], "Gaussian blur": gaussian_blur(spot, side * 5 / 224)[0, 0]}
    return places, {name: cut.amax(0)[list(places)].tolist() for name, cut in cuts.items()}


# ---- channels


def inverted_halves(
    bench: Bench, model: nn.Module, images: Float[Tensor, "N 3 H W"], target: Int[Tensor, " N"], layer: str
) -> dict[str, Float[Tensor, "N 3 H W"]]:
    """A layer's activation turned back into pictures: whole, its half that keeps the class, a random half."""
    with torch.no_grad(), record(model, layer) as seen:
        model(images)
    best = channel_attribution(model, images, target, layer=layer, share=0.5, steps=bench.steps(100, 10))
    drawn = torch.rand(best.shape, generator=torch.Generator().manual_seed(0)).argsort(1) < best.shape[1] // 2
    halves = {"all channels": torch.ones_like(best), "the best half": best, "a random half": drawn}
    return {
        name: invert(
            model, layer, seen[layer] * half[:, :, None, None], side=images.shape[-1],
            steps=bench.steps(200, 10), tv_weight=0.01,
        )
        for name, half in halves.items()
    }  # fmt: skip
