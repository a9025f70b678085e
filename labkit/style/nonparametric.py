"""Efros-Leung: a texture grown pixel by pixel from the places of a sample that look like what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from labkit.core.checks import check_choice, check_positive, check_weight
from labkit.core.door import seeded
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.style.gram import check_one

__all__ = ["ORDERS", "Grown", "best_windows", "efros_leung", "efros_leung_result"]

ORDERS = ("outward", "scanline")


class Grown(NamedTuple):
    """``image`` (1, C, H, W); ``source`` (H, W, 2): the row and column of the sample that each pixel was
    taken from; ``complete``: False if ``should_stop`` ended it, and the rest is grey."""

    image: Float[Tensor, "1 C H W"]
    source: Int[Tensor, "H W 2"]
    complete: bool


def _weights(window: int, like: Tensor) -> Float[Tensor, "w w"]:
    """A Gaussian over the window, a standard deviation of window / 6.4, as the paper has it."""
    line = torch.arange(window, dtype=like.dtype, device=like.device) - window // 2
    fall = torch.exp(-(line**2) / (2 * (window / 6.4) ** 2))
    return fall[:, None] * fall[None]


def best_windows(
    windows: Float[Tensor, "M D"],
    seen: Float[Tensor, " D"],
    weights: Float[Tensor, " D"],
    tolerance: float,
) -> Int[Tensor, " K"]:
    """The windows whose weighted squared distance from what is seen is at most 1 + ``tolerance`` times the
    least.

    ``weights``: 0 where nothing is seen yet. A distance that only rounding makes counts as none.

    >>> best_windows(torch.tensor([[0.0], [1.0], [1.0]]), torch.ones(1), torch.ones(1), 0.1)
    tensor([1, 2])
    """
    away = ((windows - seen) ** 2) @ weights / weights.sum().clamp(min=1e-12)
    return (away <= (1 + tolerance) * away.min() + 1e-9).nonzero()[:, 0]


def _outward(filled: Tensor, draw: torch.Generator) -> Iterator[list[int]]:
    """The pixels beside what is filled, those with most filled neighbours first, layer after layer."""
    while not filled.all():
        count = F.conv2d(filled[None, None].float(), torch.ones(1, 1, 3, 3), padding=1)[0, 0]
        rows = ((count > 0) & ~filled).nonzero()
        near = count[rows[:, 0], rows[:, 1]] + 0.5 * torch.rand(len(rows), generator=draw)
        yield from rows[near.argsort(descending=True)].tolist()


def _scanline(filled: Tensor, draw: torch.Generator) -> Iterator[list[int]]:
    """Row after row, as one writes."""
    yield from (~filled).nonzero().tolist()


def efros_leung_result(
    texture: Float[Tensor, "1 C h w"],
    *,
    side: int | tuple[int, int] = 64,
    window: int = 11,
    order: str = "outward",
    tolerance: float = 0.1,
    on_frame: Callable[[int, Tensor], object] | None = None,
    every: int = 64,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Grown:
    """``efros_leung`` with where each pixel was taken from (see ``Grown``). Errors as there.

    >>> efros_leung_result(torch.rand(1, 3, 8, 8), side=8, window=3).source.shape
    torch.Size([8, 8, 2])
    """
    check_one("texture", texture)
    height, width = (side, side) if isinstance(side, int) else side
    for name, value in {"side": height, "the second side": width, "window": window, "every": every}.items():
        check_positive(name, value)
    check_choice("order", order, ORDERS)
    check_weight("tolerance", tolerance)
    _, channels, rows, columns = texture.shape
    if window % 2 == 0 or window > min(rows, columns):
        raise ValueError(
            f"window must be odd and at most the texture's shorter side, {min(rows, columns)}; got {window}. "
            "Take a smaller window, or a larger piece of the texture."
        )
    seed = min(3, height, width, rows, columns)
    draw, reach = seeded(generator), window // 2
    sample = texture.detach().float().cpu()
    windows = F.unfold(sample, window)[0].T.contiguous()  # (M, C * w * w)
    middle = windows.view(len(windows), channels, window, window)[:, :, reach, reach]
    across = columns - window + 1
    fall = _weights(window, sample)
    # what is made, with a frame about it in which nothing is ever seen
    made = torch.zeros(channels, height + 2 * reach, width + 2 * reach)
    filled = torch.zeros(height + 2 * reach, width + 2 * reach)
    source = torch.zeros(height, width, 2, dtype=torch.long)
    down, right = (int(torch.randint(length - seed + 1, (1,), generator=draw)) for length in (rows, columns))
    top, left = ((height - seed) // 2, (width - seed) // 2) if order == "outward" else (0, 0)
    place = slice(top + reach, top + reach + seed), slice(left + reach, left + reach + seed)
    made[:, place[0], place[1]] = sample[0, :, down : down + seed, right : right + seed]
    filled[place] = 1
    grid = torch.meshgrid(torch.arange(seed), torch.arange(seed), indexing="ij")
    source[top : top + seed, left : left + seed] = torch.stack(grid, -1) + torch.tensor([down, right])
    own = filled[reach : reach + height, reach : reach + width].bool()
    walk = (_outward if order == "outward" else _scanline)(own, draw)
    total, complete = height * width - seed * seed, True
    with working("growing", max(1, total), "pixel", progress=progress, should_stop=should_stop) as work:
        for done, (row, column) in enumerate(walk, 1):
            if done % every == 1 and work.stopped():
                complete = False
                break
            spot = slice(row, row + window), slice(column, column + window)
            weights = (fall * filled[spot]).expand(channels, -1, -1).reshape(-1)
            near = best_windows(windows, made[:, spot[0], spot[1]].reshape(-1), weights, tolerance)
            chosen = int(near[int(torch.randint(len(near), (1,), generator=draw))])
            made[:, row + reach, column + reach] = middle[chosen]
            filled[row + reach, column + reach] = 1
            own[row, column] = True
            source[row, column, 0] = chosen // across + reach
            source[row, column, 1] = chosen % across + reach
            if done % every == 0 or done == total:
                work.at(done)
                if on_frame is not None:
                    on_frame(done, made[:, reach : reach + height, reach : reach + width].clone()[None])
    image = made[:, reach : reach + height, reach : reach + width].clone()
    image[:, ~own] = 0.5
    return Grown(image[None].to(texture), source, complete)


@signature_of(efros_leung_result)
def efros_leung(*args: Any, **options: Any) -> Float[Tensor, "1 C H W"]:
    """A larger piece of a texture, grown pixel by pixel without any network.

    Three by three pixels of ``texture`` are the seed. Each next pixel looks at the square of ``window``
    pixels about it, as far as that is filled; of the sample's windows that differ from it by at most 1 +
    ``tolerance`` times the least (Gaussian weighted squares), one is drawn, and its middle is taken.
    ``side``: of what is made, or (height, width). ``order``: "outward" from a seed in the middle, most filled
    neighbours first, or "scanline", row after row. ``on_frame``: told the pixels done and the picture after
    ``every`` of them. ``generator``: of seed, order and choices (None: seed 0). The window decides: smaller
    than the texture's grain it makes a mess, much larger it copies.
    Raises ValueError for a window that is even or larger than the texture, and bad options.

    Unit: picture value. Labels: post hoc, agnostic, global.
    Source: Efros and Leung 1999, "Texture Synthesis by Non-parametric Sampling", section 2. All windows of
    the sample are compared in one product.

    >>> efros_leung(torch.rand(1, 3, 8, 8), side=(6, 8), window=3).shape
    torch.Size([1, 3, 6, 8])
    """
    return efros_leung_result(*args, **options).image
