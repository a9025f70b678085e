"""Textures from Gram matrices, lab 52: S3, a texture without its layout, beside what knows no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.statistics import Interval, bootstrap
from labkit.data import STYLES, MiniBroden, texture
from labkit.evaluation import twin
from labkit.experiments.bench import SEEDS, Bench, experiment
from labkit.experiments.measures import Measure, Result
from labkit.models import load_model, record
from labkit.style import efros_leung, gram_texture

LAB = "52_texture"
LAYERS = {"conv1": "features.2", "conv2": "features.5", "conv3": "features.9", "conv4": "features.13"}
JUDGE = "minivgg-11"
JUDGED = ("features.2", "features.6", "features.9", "features.13", "features.16")
OTHERS = 3  # unrelated pieces of each texture
SIDE, STEPS = 128, 5  # of L-BFGS, each up to 20 evaluations
GROWN, WINDOW = 48, 11  # side and window of Efros-Leung
Own = Callable[..., Any]


class Sizes(NamedTuple):
    """How much is done in a mode: pieces, their side, steps of a search, and what Efros-Leung grows."""

    pieces: int
    side: int
    steps: int
    grown: int


SIZES = {"full": Sizes(20, SIDE, STEPS, GROWN), "class": Sizes(4, 64, 4, 32), "quick": Sizes(2, 32, 1, 10)}


class Piece(NamedTuple):
    """A texture's name, a sample (1, 3, H, W) of it, and unrelated samples (N, 3, H, W) of the same."""

    name: str
    sample: Float[Tensor, "1 3 H W"]
    others: Float[Tensor, "N 3 H W"]


def pieces(count: int, side: int) -> list[Piece]:
    """``count`` samples, texture after texture, each with three others that have nothing in one place."""
    found = []
    for number in range(count):
        name, first = STYLES[number % len(STYLES)], 10 * (number // len(STYLES))
        drawn = [texture(name, side, first + k)[None] for k in range(OTHERS + 1)]
        found.append(Piece(name, drawn[0], torch.cat(drawn[1:])))
    return found


def grams_of(
    model: nn.Module, images: Float[Tensor, "N 3 H W"], layers: Sequence[str], gram_matrix: Own
) -> list[Float[Tensor, "N K K"]]:
    """The Gram matrices of the layers' features, by the student's function."""
    with torch.no_grad(), record(model, *layers) as kept:
        model(images.clone())
    return [gram_matrix(kept[layer]) for layer in layers]


class Ruler(NamedTuple):
    """Distances of pictures from a sample by the Gram matrices of a network, with the student's functions."""

    model: nn.Module
    layers: Sequence[str]
    gram_matrix: Own
    gram_loss: Own

    def __call__(self, images: Float[Tensor, "N 3 H W"], sample: Float[Tensor, "1 3 H W"]) -> float:
        """The mean over the pictures; each layer counts alike."""
        wanted = grams_of(self.model, sample, self.layers, self.gram_matrix)
        weights = [1 / len(self.layers)] * len(self.layers)
        away = [
            float(
                self.gram_loss(
                    grams_of(self.model, one[None], self.layers, self.gram_matrix), wanted, weights
                )
            )
            for one in images
        ]
        return sum(away) / len(away)


@cache
def untrained(name: str, draw: int = 0) -> nn.Module:
    """The twin of a bundled network, its batch statistics taken on 128 training scenes."""
    return twin(load_model(name), MiniBroden(128, "train").pictures()[0], seed=draw)


def typical(ratios: Sequence[float]) -> Interval:
    """The geometric mean of ratios, over pieces."""
    return bootstrap(np.log(np.maximum(ratios, 1e-9)), lambda rows: float(np.exp(rows.mean())))


def growth(lengths: Sequence[Sequence[float]]) -> Interval:
    """The slope of a length's logarithm over the number of layers, over pieces: 0.1 is a tenth a layer."""
    logs = np.log(np.maximum(np.asarray(lengths, float), 1e-9))
    return bootstrap(np.polyfit(np.arange(logs.shape[1]), logs.T, 1)[0])


def written(gram_matrix: Own, gram_loss: Own, color_controls: Own, autocorrelation_length: Own) -> None:
    """Call each function on something tiny: one that is not written says so before anything is drawn."""
    grams = [gram_matrix(torch.rand(1, 2, 3, 3))]
    gram_loss(grams, grams, [1.0])
    color_controls(torch.rand(3, 4, 4), torch.arange(16), torch.randn(3, 16))
    autocorrelation_length(torch.rand(8, 8))


def colours_alone(color_controls: Own, sample: Float[Tensor, "1 3 H W"], seed: int = 0) -> list[Tensor]:
    """The sample's pixels permuted, and noise with their mean and covariance; (1, 3, H, W) each."""
    draw = torch.Generator().manual_seed(seed)
    count = sample[0, 0].numel()
    order, noise = torch.randperm(count, generator=draw), torch.randn(3, count, generator=draw)
    return [made[None] for made in color_controls(sample[0], order, noise)]


def grey(images: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "H W"]:
    """The mean of the three colours."""
    return images[0].mean(0)


@experiment(
    "S3", LAB, gram_matrix="style.gram_matrix", gram_loss="style.gram_loss",
    color_controls="style.color_controls", autocorrelation_length="style.autocorrelation_length",
)  # fmt: skip
def s3(
    bench: Bench, *, gram_matrix: Own, gram_loss: Own, color_controls: Own, autocorrelation_length: Own
) -> Result:
    """Do Gram matrices hold a texture without its layout, and larger features with more layers?"""
    written(gram_matrix, gram_loss, color_controls, autocorrelation_length)
    count, side, steps, grown = SIZES[bench.mode]
    network, random = bench.network(SEEDS[0]), untrained(SEEDS[0])
    names = list(LAYERS.values())
    judge = Ruler(bench.network(JUDGE), JUDGED, gram_matrix, gram_loss)
    own = Ruler(network, names, gram_matrix, gram_loss)
    far: dict[str, list[float]] = {}  # a way -> the judge's distance over another piece's, by piece
    apart: dict[str, list[float]] = {}  # the same of the pixels
    lengths: dict[str, list[list[float]]] = {"network": [], "twin": []}
    sources, below, kept = [], [], dict[str, dict[str, Tensor]]()

    def length(images: Tensor) -> float:
        return float(autocorrelation_length(grey(images)))

    for number, (name, sample, others) in enumerate(pieces(count, side)):
        quiet: dict[str, Any] = {"generator": torch.Generator().manual_seed(number), "steps": steps}
        upto = [gram_texture(network, sample, names[: k + 1], **quiet) for k in range(len(names))]
        lengths["network"].append([length(made) for made in upto])
        sources.append(length(sample))
        made: dict[str, Tensor] = {
            "synthesis": upto[-1],
            "twin's Gram": gram_texture(random, sample, names, **quiet),
        }
        made["permuted pixels"], made["matched mean and covariance"] = colours_alone(
            color_controls, sample, number
        )
        if number < len(STYLES):  # what takes long, once for each texture
            line = [gram_texture(random, sample, names[: k + 1], **quiet) for k in range(len(names) - 1)]
            lengths["twin"].append([length(one) for one in (*line, made["twin's Gram"])])
            piece = sample[:, :, :grown, :grown]
            made["Efros-Leung"] = efros_leung(piece, side=grown, window=min(WINDOW, grown // 3 * 2 - 1))
            kept[name] = {"texture": sample, "another piece": others[:1], **made}
        beside = judge(others, sample)
        shift = float(((others - sample) ** 2).mean())
        for way, images in made.items():
            far.setdefault(way, []).append(judge(images, sample) / beside)
            if images.shape == sample.shape:
                apart.setdefault(way, []).append(float(((images - sample) ** 2).mean()) / shift)
        below.append(own(upto[-1], sample) / own(others, sample))
    ratios = {way: typical(found) for way, found in far.items()}
    pixels = {way: typical(found) for way, found in apart.items()}
    return Result(
        (
            Measure(
                "judge's Gram distance, synthesis over another piece of the texture",
                ratios.pop("synthesis"), "<= 2", unit="times", control=ratios,
                must={
                    "permuted pixels": "> 2", "matched mean and covariance": "> 2", "twin's Gram": "> 2"
                },
            ),
            Measure(
                "pixel distance, synthesis over another piece of the texture", pixels.pop("synthesis"),
                ">= 0.9", unit="times", control=pixels,
            ),
            Measure(
                "growth of the autocorrelation length with each layer", growth(lengths["network"]),
                "> 0 (lower bound)", control={"twin": growth(lengths["twin"])},
            ),
        ),
        notes=(
            f"the search's own Gram loss is {typical(below).value:.3f} of another piece's: below 1 it fits "
            "the sample, not the texture",
        ),
        show={
            "pictures": kept,
            "lengths": means(lengths, sources),
            "layers": list(LAYERS),
            "by texture": {name: far["synthesis"][k :: len(STYLES)] for k, name in enumerate(kept)},
        },
    )  # fmt: skip


def means(
    lengths: Mapping[str, Sequence[Sequence[float]]], sources: Sequence[float]
) -> dict[str, list[float]]:
    """The mean length by layer, of the network's textures and its twin's, and the samples' own."""
    found = {way: [float(value) for value in np.mean(lines, 0)] for way, lines in lengths.items()}
    return {**found, "the textures themselves": [float(np.mean(sources))] * len(LAYERS)}
