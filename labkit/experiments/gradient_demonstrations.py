"""What lab 22 draws beside its claims: a walk back, SmoothGrad's noise, paths' baselines, a shifted input.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from labkit.core.statistics import Interval, bootstrap
from labkit.evaluation import area_share, energy_inside, rank_correlation
from labkit.experiments.bench import SEEDS, Bench
from labkit.experiments.gradients_and_their_tricks import METHODS, pairs
from labkit.models.minivgg import MiniVGG
from labkit.optimize.images import filling

Own = Callable[..., Tensor]  # a student's function


Method = Callable[[nn.Module, Tensor, Tensor], Tensor]

# ---- a walk back through the layers


class Scaled(nn.Module):
    """The first layer of a MiniVGG in a row: pictures less the mean, divided by the spread."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def in_a_row(model: nn.Module) -> nn.Sequential | None:
    """The model's layers, one after the other, or None (and a line that says so) where they are no row.

    ``features.n`` is layer n + 1, for the scaling of the colours comes first.
    """
    if isinstance(model, MiniVGG):
        ends = model.pool, nn.Flatten(), model.classifier
        return nn.Sequential(Scaled(model.mean, model.std), *model.features, *ends).eval()
    print(f"{type(model).__name__} is no plain row of layers, so this cell is skipped.")
    return None


def strongest(layers: nn.Sequential, images: Float[Tensor, "N 3 H W"]) -> tuple[Tensor, int]:
    """The last layer's answers (N, K, h, w), and the channel with the highest peaks."""
    with torch.no_grad():
        answers = layers(images)
    return answers, int(answers.amax((2, 3)).mean(0).argmax())


def walked(walk_back: Own, passes: Own) -> Method:
    """The method that asks for a class, walks back by this rule and takes the largest size of the colours."""

    def method(model: nn.Module, images: Tensor, target: int | Tensor) -> Tensor:
        layers = in_a_row(model)
        if layers is None:
            raise ValueError(f"{type(model).__name__} is no plain row of layers to walk back through.")
        with torch.no_grad():
            begin = torch.zeros_like(layers(images))
        begin[torch.arange(len(images)), torch.as_tensor(target)] = 1
        return walk_back(layers, images, begin, passes).abs().amax(1)

    return method


class Stays(NamedTuple):
    """``area``: the first object's share of the picture; ``found``: by method, the energy inside it when it
    is asked for, when the second object is, and the difference."""

    area: float
    found: dict[str, tuple[float, float, Interval]]

    def __str__(self) -> str:
        lines = [f"the first object covers {self.area:.3f} of the picture"]
        for name, (asked, other, gap) in self.found.items():
            share = f"{other / asked:.0%} stays (difference {gap})"
            lines.append(f"{name}: {asked:.3f} inside when asked, {other:.3f} when not: {share}")
        return "\n".join(lines)


def what_stays(bench: Bench, methods: Mapping[str, Method] = METHODS) -> Stays:
    """How much of a map's energy stays inside the first object when the second is asked for."""
    model, tiny = bench.network(SEEDS[0]), torch.full((1, 3, 32, 32), 0.5)
    for method in methods.values():
        method(model, tiny, torch.tensor([0]))  # unwritten: say so before anything long
    images, kinds, first = pairs(bench)
    found = {}
    for name, method in tqdm(methods.items(), "methods", leave=False, delay=1.5):
        inside = [energy_inside(method(model, images, kinds[:, k]), first).nan_to_num(0.0) for k in (0, 1)]
        difference = bootstrap((inside[0] - inside[1]).numpy())
        found[name] = (float(inside[0].mean()), float(inside[1].mean()), difference)
    return Stays(float(area_share(first).mean()), found)


class Dimmed(NamedTuple):
    """Of maps whose light inside the object was halved: the mean ``rank`` correlation with what they were,
    and the share of the energy inside ``before`` and ``after``."""

    rank: float
    before: float
    after: float

    def __str__(self) -> str:
        inside = f"{self.before:.2f} of it inside before, {self.after:.2f} after"
        return f"half the light on the first object taken away: {inside}; the ranks correlate {self.rank:.3f}"


def dimmed(bench: Bench, method: Method) -> Dimmed:
    """Take half of the light inside the first object away, by hand, and measure as for two questions."""
    images, kinds, first = pairs(bench)
    maps = method(bench.network(SEEDS[0]), images, kinds[:, 0])
    half = torch.where(first, 0.5 * maps, maps)
    rank = rank_correlation(maps, half).nan_to_num(0.0).mean()
    before, after = (float(energy_inside(each, first).nan_to_num(0.0).mean()) for each in (maps, half))
    return Dimmed(float(rank), before, after)


def for_both(
    model: nn.Module, images: Tensor, kinds: Tensor, methods: Mapping[str, Method], *names: str
) -> dict[str, Float[Tensor, "N H W"]]:
    """These methods' maps for the first and for the second class; the largest value in a picture is 1."""
    rows: dict[str, Tensor] = {}
    for name in names:
        maps = torch.stack([methods[name](model, images, kinds[:, k]) for k in (0, 1)])
        maps = maps / maps.amax((0, 2, 3))[:, None, None].clamp(min=1e-12)
        rows |= {f"{name},\nasked for the {k}": own for k, own in zip(("1st", "2nd"), maps, strict=True)}
    return rows


# ---- SmoothGrad


def with_noise(smooth_grad: Own, sigma: float) -> Callable[[nn.Module, Tensor, int], Tensor]:
    """SmoothGrad's map with 16 draws of this noise (one, where it is 0), the largest over the colours."""

    def method(model: nn.Module, images: Tensor, target: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = sigma * torch.randn(16 if sigma else 1, *images.shape, generator=generator)
        return smooth_grad(model, images, target, noise).abs().amax(1)

    return method


def over_noise(bench: Bench, amounts: Sequence[float], *, smooth_grad: Own) -> tuple[float, list[Interval]]:
    """The objects' share of the picture, and for each amount of noise the map's energy inside the object."""
    model = bench.network(SEEDS[0])
    with_noise(smooth_grad, 0)(model, torch.zeros(1, 3, 8, 8), 0)
    truth, inside = bench.scenes(30, lesson=30), []
    for sigma in tqdm(amounts, "amounts of noise", leave=False, delay=1.5):
        method = with_noise(smooth_grad, sigma)
        asked = zip(truth.images, truth.labels.tolist(), strict=True)
        maps = [method(model, picture[None], label) for picture, label in asked]
        inside.append(bootstrap(energy_inside(torch.cat(maps), truth.masks).numpy()))
    return float(area_share(truth.masks).mean()), inside


class Parts(NamedTuple):
    """Integrated gradients from one or more baselines: ``maps`` by baseline; by baseline the mean difference
    of the scores (``ways``) and the largest error of a sum of parts (``gaps``)."""

    maps: dict[str, Float[Tensor, "N H W"]]
    ways: dict[str, float]
    gaps: dict[str, float]

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: scores differ by {way:.2f} on average, the sums miss {self.gaps[name]:.3f} at most"
            for name, way in self.ways.items()
        )


def adds_up(
    model: nn.Module, images: Tensor, target: Tensor, fills: Sequence[str], steps: int,
    *, integrated_gradients: Own,
) -> Parts:  # fmt: skip
    """Integrated gradients from each of the baselines, and whether the parts add up."""
    found = Parts({}, {}, {})
    with tqdm(total=len(fills) * len(images), desc="pictures", leave=False, delay=1.5) as bar:
        for fill in fills:
            empty, parts = filling(images, fill).expand_as(images), []
            for x, e, label in zip(images[:, None], empty[:, None], target.tolist(), strict=True):
                parts.append(integrated_gradients(model, x, e, label, steps))
                bar.update()
            with torch.no_grad():
                way = (model(images) - model(empty)).gather(1, target[:, None])[:, 0]
            found.maps[fill] = torch.cat(parts).sum(1)
            found.ways[fill] = float(way.mean())
            found.gaps[fill] = float((torch.cat(parts).sum((1, 2, 3)) - way).abs().max())
    return found


class Inside(dict[str, tuple[Interval, float]]):
    """By baseline the energy inside the object, and what the factor |x - x'| has inside alone."""

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: inside the object {inside}, the factor alone {alone:.3f}"
            for name, (inside, alone) in self.items()
        )


def over_baselines(bench: Bench, names: Sequence[str], *, integrated_gradients: Own) -> Inside:
    """For each baseline the energy inside the object, and what the factor |x - x'| has inside alone."""
    model, found, tiny = bench.network(SEEDS[0]), Inside(), torch.zeros(1, 3, 8, 8)
    integrated_gradients(model, tiny, tiny, 0, 1)
    truth = bench.scenes(30, lesson=30)
    for name in tqdm(names, "baselines", leave=False, delay=1.5):
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

    def __str__(self) -> str:
        same = f"score differs by {self.score:.0e}, gradient by {self.gradient:.0e}"
        return f"{same}, gradient x input correlates {self.alike:.2f}"


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
