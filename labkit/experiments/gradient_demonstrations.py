"""What lab 22 draws beside its claims: SmoothGrad's noise, paths' baselines, saturation, shifted input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.statistics import Interval, bootstrap
from labkit.evaluation import area_share, energy_inside
from labkit.experiments.bench import SEEDS, Bench
from labkit.experiments.gradients_and_their_tricks import METHODS, pairs
from labkit.optimize.images import filling

Own = Callable[..., Tensor]  # a student's function


def what_stays(bench: Bench) -> tuple[float, dict[str, tuple[float, float, Interval]]]:
    """The first object's share of the picture; by method, the energy inside it when it is asked for, when
    the second object is, and the difference."""
    images, kinds, first = pairs(bench)
    model, found = bench.network(SEEDS[0]), {}
    for name, method in METHODS.items():
        inside = [energy_inside(method(model, images, kinds[:, k]), first).nan_to_num(0.0) for k in (0, 1)]
        difference = bootstrap((inside[0] - inside[1]).numpy())
        found[name] = (float(inside[0].mean()), float(inside[1].mean()), difference)
    return float(area_share(first).mean()), found


def with_noise(smooth_grad: Own, sigma: float) -> Callable[[nn.Module, Tensor, int], Tensor]:
    """SmoothGrad's map with 16 draws of this noise (one, where it is 0), the largest over the colours."""

    def method(model: nn.Module, images: Tensor, target: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = sigma * torch.randn(16 if sigma else 1, *images.shape, generator=generator)
        return smooth_grad(model, images, target, noise).abs().amax(1)

    return method


def over_noise(bench: Bench, amounts: Sequence[float], *, smooth_grad: Own) -> tuple[float, list[Interval]]:
    """The objects' share of the picture, and for each amount of noise the map's energy inside the object."""
    model, truth = bench.network(SEEDS[0]), bench.scenes(30, lesson=30)
    inside = []
    for sigma in amounts:
        method = with_noise(smooth_grad, sigma)
        asked = zip(truth.images, truth.labels.tolist(), strict=True)
        maps = [method(model, picture[None], label) for picture, label in asked]
        inside.append(bootstrap(energy_inside(torch.cat(maps), truth.masks).numpy()))
    return float(area_share(truth.masks).mean()), inside


def adds_up(
    model: nn.Module, images: Tensor, target: Tensor, fill: str, steps: int, *, integrated_gradients: Own
) -> tuple[Float[Tensor, "N H W"], float, float]:
    """Integrated gradients from a baseline as maps, the mean difference of the scores, and the largest error
    of a sum of parts."""
    empty = filling(images, fill).expand_as(images)
    asked = zip(images[:, None], empty[:, None], target.tolist(), strict=True)
    parts = torch.cat([integrated_gradients(model, x, e, label, steps) for x, e, label in asked])
    with torch.no_grad():
        way = (model(images) - model(empty)).gather(1, target[:, None])[:, 0]
    return parts.sum(1), float(way.mean()), float((parts.sum((1, 2, 3)) - way).abs().max())


def over_baselines(
    bench: Bench, names: Sequence[str], *, integrated_gradients: Own
) -> dict[str, tuple[Interval, float]]:
    """For each baseline the energy inside the object, and what the factor |x - x'| has inside alone."""
    model, truth, found = bench.network(SEEDS[0]), bench.scenes(30, lesson=30), {}
    for name in names:
        empty = filling(truth.images, name)
        trio = zip(truth.images[:, None], empty[:, None], truth.labels.tolist(), strict=True)
        maps = [integrated_gradients(model, x, e, label, 16).sum(1) for x, e, label in trio]
        factor = (truth.images - empty).abs().sum(1)
        inside = bootstrap(energy_inside(torch.cat(maps), truth.masks).numpy())
        found[name] = (inside, float(energy_inside(factor, truth.masks).mean()))
    return found


def _saturates(x: Tensor) -> Tensor:
    return 1 - (1 - x.flatten(1)).relu()


def saturation(integrated_gradients: Own) -> tuple[list[float], dict[str, list[float]]]:
    """Brightnesses of one pixel whose score stops at 1, and there the score and what two methods give it."""
    brightness = [k / 8 for k in range(1, 17)]
    lines: dict[str, list[float]] = {"the score": [], "integrated gradients": [], "gradient x input": []}
    for b in brightness:
        x = torch.full((1, 1, 1, 1), b, requires_grad=True)
        score = _saturates(x).sum()
        lines["the score"].append(score.item())
        lines["gradient x input"].append((x * torch.autograd.grad(score, x)[0]).item())
        x = x.detach()
        lines["integrated gradients"].append(integrated_gradients(_saturates, x, 0 * x, 0, 200).sum().item())
    return brightness, lines


class Shifted(NamedTuple):
    """Of a network whose input was shifted: its gradient x input (N, H, W); how far its score and gradient
    lie at most from those of the unshifted one; the correlation of the two maps."""

    map: Float[Tensor, "N H W"]
    score: float
    gradient: float
    alike: float


def shifted(images: Float[Tensor, "N 3 H W"], *, compensate: Own) -> dict[str, Shifted]:
    """A small network and its twins for pictures in which black, grey or white is zero."""
    found: dict[str, Shifted] = {}
    first: tuple[Tensor, Tensor, Tensor] | None = None
    for zero, by in {"black": 0.0, "grey": -0.5, "white": -1.0}.items():
        shift = torch.full((3,), by, dtype=torch.float64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            conv, head = nn.Conv2d(3, 8, 5), nn.Linear(8, 4)
        net = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).double().eval()
        weight, bias = conv.parameters()
        bias.data = compensate(weight.data, bias.data, shift)
        x = (images.double() + shift[:, None, None]).requires_grad_(True)
        score = net(x)[:, 1]
        slope = torch.autograd.grad(score.sum(), x)[0]
        now = (score.detach(), slope, (slope * x).detach().sum(1))
        first = first or now
        far = [float((a - b).abs().max()) for a, b in zip(now, first, strict=True)]
        alike = float(np.corrcoef(first[2].flatten(), now[2].flatten())[0, 1])
        found[f"zero is {zero}"] = Shifted(now[2], far[0], far[1], alike)
    return found
