"""What lab 13 judges made pictures by: another network's word and features, spectra, a bank of scenes."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.data import MiniBroden, gather
from labkit.experiments.bench import Bench
from labkit.models import last_spatial, load_model

JUDGE = "minivgg-11"  # an 11 x 11 stem, other widths, trained on other scenes
UNITS = "features.19"  # the last feature map of those that are visualized
SIDE = 128


class Bank(NamedTuple):
    """Scenes with one object: ``images`` (N, 3, H, W) and the class of each."""

    images: Float[Tensor, "N 3 H W"]
    labels: Int[Tensor, " N"]


@cache
def bank(count: int, split: str) -> Bank:
    """The first scenes of a split, drawn once."""
    data = MiniBroden(count, split)
    found = gather(data.scene(i) for i in range(count))
    return Bank(found.images, found.labels)


@cache
def judge() -> nn.Module:
    """The network that names what another was made to see."""
    return load_model(JUDGE)


def named(images: Float[Tensor, "N 3 H W"], batch: int = 64) -> Int[Tensor, " N"]:
    """The class that the judge names for each picture."""
    with torch.no_grad():
        return torch.cat([judge()(part).argmax(1) for part in images.split(batch)])


def codes(
    images: Float[Tensor, "N 3 H W"], model: nn.Module | None = None, batch: int = 64
) -> Float[Tensor, "N K"]:
    """The judge's last feature map (or another network's), averaged over its places, at length 1."""
    with torch.no_grad():
        maps = [last_spatial(model or judge(), part).mean((2, 3)) for part in images.split(batch)]
    return F.normalize(torch.cat(maps), dim=1)


def distance(first: Float[Tensor, "N K"], second: Float[Tensor, "M K"]) -> Float[Tensor, "N M"]:
    """1 minus the cosine, of each with each."""
    return 1 - first @ second.T


def apart(images: Float[Tensor, "F 3 H W"]) -> float:
    """The mean distance of the pictures from each other, in the judge's features."""
    away, count = distance(codes(images), codes(images)), len(images)
    return float((away.sum() - away.diagonal().sum()) / (count * (count - 1)))


# ---- spectra


def _rings(side: int) -> Int[Tensor, "H F"]:
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)
    return ((down**2 + across**2).sqrt() * side).round().long()


def spectrum(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " R"]:
    """The mean power of waves of each frequency, in cycles a picture, over pictures and colours."""
    power = torch.fft.rfft2(images - images.mean((2, 3), keepdim=True)).abs().square().mean((0, 1))
    rings = _rings(images.shape[-1])
    total = torch.zeros(int(rings.max()) + 1).index_add(0, rings.flatten(), power.flatten())
    return total / torch.bincount(rings.flatten()).clamp(min=1)


def in_spectrum(images: Float[Tensor, "N 3 H W"], wanted: Float[Tensor, " R"]) -> Float[Tensor, "N 3 H W"]:
    """Pictures whose waves are made as strong, frequency by frequency, as ``wanted``; phases stay."""
    gain = (wanted / spectrum(images).clamp(min=1e-12)).sqrt()
    mean = images.mean((2, 3), keepdim=True)
    waves = torch.fft.rfft2(images - mean) * gain[_rings(images.shape[-1])]
    return (torch.fft.irfft2(waves, s=images.shape[2:]) + mean).clamp(0, 1)


def high_share(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
    """The share of each picture's power at more than an eighth of a cycle a pixel."""
    power = torch.fft.rfft2(images - images.mean((2, 3), keepdim=True)).abs().square().mean(1)
    high = (_rings(images.shape[-1]) > images.shape[-1] / 8).float()
    return (power * high).sum((1, 2)) / power.sum((1, 2)).clamp(min=1e-12)


def units_of(bench: Bench, count: int, lesson: int, model: nn.Module, pictures: Bank) -> list[int]:
    """Units of the last feature map that fire for some pictures and not for all, spread over the layer."""
    with torch.no_grad():
        tops = torch.cat([last_spatial(model, part).amax((2, 3)) for part in pictures.images.split(64)])
    varies = tops.std(0) / tops.mean(0).clamp(min=1e-6)
    alive = (varies > 0.3).nonzero()[:, 0]
    wanted = bench.count(count, lesson=lesson, few=2)
    return [int(alive[i * len(alive) // wanted]) for i in range(min(wanted, len(alive)))]
