"""Filters as pictures, lab 11: are the first layer's filters oriented edges and colour blobs (V1)?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.core.statistics import Interval, bootstrap
from labkit.data import MiniBroden, gather
from labkit.evaluation.controls import phase_shuffled, twin
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.optimize import gaussian_blur
from labkit.visualization import filter_grid_result, gabor_fit_result, opponent_fit_result

LAB = "11_filters_and_activations"
STEMS = ("minivgg-11", "minivgg-11-2", "minivgg-11-3")  # one design and world, three trainings; 11 x 11
GOOD = 0.8  # of r2: what counts as described
OPPONENT = 0.5  # of a blob's colour: how much of it must not be grey
DRAWS = 3  # of phases, of twins


def first_filters(model: nn.Module) -> Float[Tensor, "K 3 h w"]:
    """The weights of a network's first convolution."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    return first.weight.detach()


def described(filters: Float[Tensor, "K 3 h w"], steps: int = 60) -> tuple[Bool[Tensor, " K"], ...]:
    """Which filters a Gabor describes, and which a blob of opponent colours, with r2 above .8."""
    edge, blob = gabor_fit_result(filters, steps=steps), opponent_fit_result(filters, steps=steps)
    return edge.r2 > GOOD, (blob.r2 > GOOD) & (blob.opponency >= OPPONENT)


def blurred_noise(
    filters: Float[Tensor, "K 3 h w"], generator: torch.Generator
) -> tuple[Float[Tensor, "K 3 h w"], float]:
    """White noise in as many filters, blurred until it is as coarse as they are; and the blur in pixels.

    How coarse filters are is their mean frequency, weighted by energy.
    """
    noise = torch.randn(filters.shape, generator=generator)
    blurs = [0.0] + [0.2 * k for k in range(2, 16)]
    drawn = [noise if blur == 0 else gaussian_blur(noise, blur) for blur in blurs]
    away = [abs(_frequency(one) - _frequency(filters)) for one in drawn]
    best = min(range(len(blurs)), key=lambda k: away[k])
    return drawn[best], blurs[best]


def _frequency(filters: Tensor) -> float:
    """The mean frequency in cycles a pixel, by energy, each filter about its channels' means."""
    energy = torch.fft.fft2(filters - filters.mean((2, 3), keepdim=True)).abs() ** 2
    rows, columns = (torch.fft.fftfreq(side) for side in filters.shape[2:])
    radius = (rows[:, None] ** 2 + columns[None] ** 2).sqrt()
    return float((energy * radius).sum() / energy.sum())


class _Found(NamedTuple):
    share: float
    edges: float
    shuffled: float
    gain: Interval  # the share minus that of the shuffled


def _gain(filters: Tensor, draws: int, steps: int) -> _Found:
    """The share of filters that are described, minus the same of the same filters with phases shuffled."""
    edges, blobs = described(filters, steps)
    own = (edges | blobs).float()
    shuffled = torch.stack([
        torch.stack(
            described(phase_shuffled(filters, generator=torch.Generator().manual_seed(k)), steps)
        ).any(0).float()
        for k in range(draws)
    ]).mean(0)  # fmt: skip
    gain = bootstrap((own - shuffled).numpy())
    return _Found(float(own.mean()), float(edges.float().mean()), float(shuffled.mean()), gain)


@experiment("V1", LAB)
def v1(bench: Bench) -> Result:
    """Are first-layer filters edges and blobs more often than the same filters with their phases shuffled?"""
    names = STEMS[:1] if bench.quick else STEMS
    draws, steps = (1, 12) if bench.quick else (DRAWS, 60)
    pictures = gather(MiniBroden(128, "train").scene(i) for i in range(bench.count(128, lesson=64))).images
    found: dict[str, list[_Found]] = {"trained": [], "twin": [], "blurred noise": []}
    blurs = []
    for number, name in enumerate(names):
        model = bench.network(name)
        filters = first_filters(model)
        found["trained"].append(_gain(filters, draws, steps))
        for seed in range(draws):
            strange = first_filters(twin(model, pictures, seed=seed))
            found["twin"].append(_gain(strange, 1, steps))
        noise, blur = blurred_noise(filters, torch.Generator().manual_seed(number))
        found["blurred noise"].append(_gain(noise, draws, steps))
        blurs.append(blur)
    gains = {source: extent([one.gain for one in each]) for source, each in found.items()}
    blind = {source: gain for source, gain in gains.items() if source != "trained"}
    each = [one.gain.value for one in found["trained"]]
    worst = Interval(min(each), min(each), max(each))
    shares = {
        source: {
            "described": sum(one.share for one in many) / len(many),
            "by a Gabor": sum(one.edges for one in many) / len(many),
            "phases shuffled": sum(one.shuffled for one in many) / len(many),
        }
        for source, many in found.items()
    }
    what = "share of filters described (r2 > .8) minus that with phases shuffled"
    model = bench.network(names[0])
    higher = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)][1:]
    return Result(
        (
            Measure(
                what, gains["trained"], ">= 0.2", control=blind, must=dict.fromkeys(blind, "< 0.2")
            ),
            Measure(f"{what}, the lowest of {len(names)} networks", worst, "> 0"),
        ),
        notes=(
            *(
                f"{source}: {s['described']:.2f} described, {s['by a Gabor']:.2f} by a Gabor; "
                f"phases shuffled {s['phases shuffled']:.2f}"
                for source, s in shares.items()
            ),
            f"noise was blurred by {', '.join(f'{blur:.1f}' for blur in blurs)} px to be as coarse",
        ),
        show={
            "shares": shares,
            "networks": dict(zip(names, each, strict=True)),
            "filters": first_filters(model),
            "shuffled": phase_shuffled(first_filters(model)),
            "noise": noise,
            "grids": [filter_grid_result(model, name, filters=6, kernels=12) for name in higher],
        },
    )  # fmt: skip
