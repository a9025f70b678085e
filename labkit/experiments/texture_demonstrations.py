"""What lab 52 draws beside its claim: a search with the student's loss, its controls, textures that grow.

A function that takes a student's calls it on something tiny before it searches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.hooks import borrow
from labkit.core.progress import working
from labkit.data import texture
from labkit.experiments.bench import Bench
from labkit.experiments.textures_and_grams import LAYERS, Ruler, colours_alone, grams_of, grey
from labkit.models import record
from labkit.optimize import Fourier, colour_matrix, minimize
from labkit.style import efros_leung

Own = Callable[..., Any]
SEEDS = (0, 1)  # of the sample, and of another piece of the same
SIDE, CROP = 64, 40  # of a sample, and of what is grown from


class Samples(NamedTuple):
    """A piece of a texture (3, H, W), another piece of the same, and the layers that are looked at."""

    texture: Float[Tensor, "3 H W"]
    other: Float[Tensor, "3 H W"]
    layers: dict[str, str]


def samples(bench: Bench, model: nn.Module, name: str = "scales") -> Samples:
    """Two unrelated pieces of a drawn texture, and four of the network's layers by their names."""
    side = 32 if bench.quick else SIDE
    known = dict(model.named_modules())
    layers = dict(LAYERS)
    if not set(layers.values()) <= set(known) or bench.guest is not None:
        rectified = [path for path, module in known.items() if isinstance(module, nn.ReLU)]
        wanted = sorted({len(rectified) * k // 8 for k in (0, 1, 2, 4)})
        layers = {f"layer {rectified[k]}": rectified[k] for k in wanted}
    first, other = (texture(name, side, seed) for seed in SEEDS)
    return Samples(first, other, layers)


def search(
    model: nn.Module, sample: Float[Tensor, "3 H W"], layers: Sequence[str], *, gram_matrix: Own,
    gram_loss: Own, steps: int, seed: int = 0,
) -> Float[Tensor, "3 H W"]:  # fmt: skip
    """The picture, sought among waves, whose Gram matrices are the sample's: by the student's functions."""
    space = Fourier(tuple(sample.shape[1:]), colour_matrix(sample[None]) + 0.05 * torch.eye(3))  # type: ignore[arg-type]
    noise = torch.randn(sample[None].shape, generator=torch.Generator().manual_seed(seed))
    values = space.values(0.5 + 0.03 * noise)
    wanted = grams_of(model, sample[None], layers, gram_matrix)
    weights = [1 / len(layers)] * len(layers)

    def loss(_: int) -> Tensor:
        with record(model, *layers) as kept:
            model(space.picture(values))
        value: Tensor = gram_loss([gram_matrix(kept[layer]) for layer in layers], wanted, weights)
        return value

    with borrow(model, frozen=True):
        minimize(
            [values], loss, steps=steps, rate=1.0, optimizer="lbfgs", describe=f"up to {layers[-1]}",
            refusal="gram_loss must depend on the picture: use torch alone, and no detach().",
        )  # fmt: skip
    return space.picture(values).detach()[0]


def by_layer(
    bench: Bench, model: nn.Module, given: Samples, *, gram_matrix: Own, gram_loss: Own
) -> dict[str, Tensor]:
    """The texture, then what is found with one layer, with two, and so on."""
    gram_loss([gram_matrix(torch.rand(1, 2, 3, 3))], [gram_matrix(torch.rand(1, 2, 3, 3))], [1.0])
    names, found = list(given.layers), {"the texture": given.texture}
    own: dict[str, Any] = {"gram_matrix": gram_matrix, "gram_loss": gram_loss, "steps": bench.steps(6, 1)}
    for count in range(1, len(names) + 1):
        title = names[0] if count == 1 else f"up to {names[count - 1]}"
        found[title] = search(model, given.texture, list(given.layers.values())[:count], **own)
    return found


def beside(given: Samples, made: Mapping[str, Tensor], *, color_controls: Own) -> dict[str, Tensor]:
    """The texture and the last picture found, beside another piece and two with its colours alone."""
    permuted, matched = colours_alone(color_controls, given.texture[None])
    return {
        "the texture": given.texture, "made from it": list(made.values())[-1], "another piece": given.other,
        "permuted pixels": permuted[0], "matched colours": matched[0].clamp(0, 1),
    }  # fmt: skip


def distances(
    model: nn.Module, layers: Sequence[str], shown: Mapping[str, Tensor], *, gram_matrix: Own, gram_loss: Own
) -> dict[str, float]:
    """How far each picture lies from the first by Gram matrices; the first is left out."""
    ruler = Ruler(model, layers, gram_matrix, gram_loss)
    first, *others = shown.items()
    return {name: ruler(image[None], first[1][None]) for name, image in others}


def lengths(made: Mapping[str, Tensor], *, autocorrelation_length: Own) -> dict[str, float]:
    """The autocorrelation length of each picture, in pixels."""
    return {name: float(autocorrelation_length(grey(image[None]))) for name, image in made.items()}


def grown(
    bench: Bench, sample: Float[Tensor, "3 H W"], *, next_pixel: Own, window: int = 9, tolerance: float = 0.1
) -> Float[Tensor, "3 S S"]:
    """A texture grown outward from three by three pixels of the sample, each by the student's function."""
    sample = sample[:, :CROP, :CROP]
    side, reach = (10 if bench.quick else 26), window // 2
    line = torch.arange(window).float() - reach
    fall = torch.exp(-(line[:, None] ** 2 + line**2) / (2 * (window / 6.4) ** 2))
    draw, size = torch.Generator().manual_seed(0), side + 2 * reach
    picture, filled = torch.zeros(3, size, size), torch.zeros(size, size, dtype=torch.bool)
    inside = torch.zeros_like(filled)
    inside[reach : reach + side, reach : reach + side] = True
    corner = size // 2 - 1
    middle = slice(corner, corner + 3)
    picture[:, middle, middle], filled[middle, middle] = sample[:, 8:11, 8:11], True
    with working("growing", side * side - 9, "pixel") as work:
        for done in range(side * side - 9):
            near = F.conv2d(filled[None, None].float(), torch.ones(1, 1, 3, 3), padding=1)[0, 0]
            row, column = divmod(int((near * (inside & ~filled)).argmax()), size)
            rows, columns = (slice(k - reach, k + reach + 1) for k in (row, column))
            chance = float(torch.rand((), generator=draw))
            picture[:, row, column] = next_pixel(
                sample, picture[:, rows, columns], filled[rows, columns], fall, tolerance, chance
            )
            filled[row, column] = True
            work.at(done + 1)
    return picture[:, reach : reach + side, reach : reach + side]


def by_window(
    bench: Bench, sample: Float[Tensor, "3 H W"], windows: Sequence[int] = (3, 9, 19)
) -> dict[str, Tensor]:
    """Efros-Leung by labkit's own fast form, with windows of some sizes."""
    side, piece = (12 if bench.quick else CROP), sample[None, :, :CROP, :CROP]
    return {f"window {window}": efros_leung(piece, side=side, window=window)[0] for window in windows}
