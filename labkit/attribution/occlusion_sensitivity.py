"""Occlusion: what the score loses where a sliding window hides a part of the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_positive
from labkit.core.door import asked, finite
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.core.targets import reads_layers, select
from labkit.models import Target, scores
from labkit.models.fast import fast_copy
from labkit.optimize.images import Fill, filling


class Occlusion(NamedTuple):
    """All that ``occlusion`` measured.

    ``map`` (N, H, W): mean drop of the windows that hide a pixel; ``drops`` (N, rows, columns): the score
    lost to each window; ``rows``, ``columns``: the windows' first pixel; ``window``: their side; ``score``
    (N,): the score of the whole picture; ``complete``: False if ``should_stop`` ended the work early (windows
    not tried count as 0).
    """

    map: Float[Tensor, "N H W"]
    drops: Float[Tensor, "N R K"]
    rows: Int[Tensor, " R"]
    columns: Int[Tensor, " K"]
    window: int
    score: Float[Tensor, " N"]
    complete: bool


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """The first pixels of windows along a side; the last one is shifted to end at the border.

    >>> window_starts(10, 4, 4)
    [0, 4, 6]
    """
    starts = list(range(0, side - window + 1, stride))
    if starts[-1] != side - window:
        starts.append(side - window)
    return starts


def assemble(
    drops: Float[Tensor, "N R K"], rows: list[int], columns: list[int], window: int, side: Sequence[int]
) -> Float[Tensor, "N H W"]:
    """The map: each pixel's mean over the windows that hide it (0 where none does).

    >>> assemble(torch.ones(1, 2, 2), [0, 2], [0, 2], 2, (4, 4)).unique()
    tensor([1.])
    """
    covers_row = torch.zeros(len(rows), side[0], dtype=drops.dtype, device=drops.device)
    covers_column = torch.zeros(len(columns), side[1], dtype=drops.dtype, device=drops.device)
    for number, start in enumerate(rows):
        covers_row[number, start : start + window] = 1
    for number, start in enumerate(columns):
        covers_column[number, start : start + window] = 1
    total = torch.einsum("nrk,rh,kw->nhw", drops, covers_row, covers_column)
    count = torch.outer(covers_row.sum(0), covers_column.sum(0))
    return total / count.clamp(min=1)


def covered(
    image: Float[Tensor, "C H W"],
    reference: Float[Tensor, "C H W"],
    places: list[tuple[int, int]],
    window: int,
) -> Float[Tensor, "B C H W"]:
    """Copies of a picture, each with one window replaced by the reference's pixels."""
    batch = image.expand(len(places), *image.shape).clone()
    for copy, (row, column) in zip(batch, places, strict=True):
        copy[:, row : row + window, column : column + window] = reference[
            :, row : row + window, column : column + window
        ]
    return batch


def _sizes(side: Sequence[int], window: int | None, stride: int | None) -> tuple[int, int]:
    shorter = min(side)
    window = max(1, round(shorter / 7)) if window is None else window
    check_positive("window", window)
    if window > shorter:
        raise ValueError(f"window must not be larger than the picture ({shorter} pixels); got {window}.")
    stride = max(1, window // 4) if stride is None else stride
    check_positive("stride", stride)
    if stride > window:
        raise ValueError(
            f"stride must not be larger than the window ({window} pixels), or pixels are never hidden; "
            f"got {stride}."
        )
    return int(window), int(stride)


def occlusion_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    window: int | None = None,
    stride: int | None = None,
    fill: Fill = "grey",
    batch_size: int = 8,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Occlusion:
    """``occlusion`` with all that it measured (see ``Occlusion``), the windows in order, row by row.

    ``progress`` is called with the share done (0 to 1) after each batch; ``should_stop`` is asked before each
    batch, and where it returns True the work ends and ``complete`` is False. Without ``progress``, a bar is
    shown if it takes more than a moment. For an answer at once, call it coarsely first (``stride=window``,
    some 50 windows) and finely after it. A callable target meets the whole pictures once, then windows of one
    picture in batches, so it must treat every row of the outputs alike. Errors as in ``occlusion``.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> done = []
    >>> grey = torch.full((1, 3, 4, 4), 0.5)
    >>> result = occlusion_result(net, grey, 0, window=2, batch_size=9, progress=done.append)
    >>> tuple(result.drops.shape), result.rows.tolist(), done
    ((1, 3, 3), [0, 1, 2], [1.0])
    """
    check_positive("batch_size", batch_size)
    with asked(model, images) as inputs, torch.no_grad():
        height, width = inputs.shape[2:]
        window, stride = _sizes((height, width), window, stride)
        rows, columns = window_starts(height, window, stride), window_starts(width, window, stride)
        places = [(row, column) for row in rows for column in columns]
        quick = fast_copy(model, inputs[:1], forwards=len(places), folded=not reads_layers(target))
        score, reference = scores(quick, inputs.clone(), target), filling(inputs, fill)
        drops = score.new_zeros(len(inputs), len(places))
        jobs = [
            (number, slice(first, first + batch_size))
            for number in range(len(inputs))
            for first in range(0, len(places), batch_size)
        ]
        with working(
            "occlusion", drops.numel(), "window", progress=progress, should_stop=should_stop
        ) as work:
            for number, chunk in jobs:
                if work.stopped():
                    break
                hidden = covered(inputs[number], reference[number], places[chunk], window)
                drops[number, chunk] = score[number] - scores(quick, hidden, select(target, number))
                work.at(work.done + len(hidden))
        drops = drops.view(len(inputs), len(rows), len(columns))
        maps = finite(assemble(drops, rows, columns, window, (height, width)))
        return Occlusion(
            maps, drops, torch.tensor(rows), torch.tensor(columns), window, score.detach(), work.complete
        )


@signature_of(occlusion_result)
def occlusion(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """What the score loses where a square window hides a pixel: the mean drop over all windows on that pixel.

    ``window`` and ``stride`` are in pixels (default: a seventh of the shorter side, and a quarter of that);
    the last window of a row is shifted to end at the border, so that every pixel is hidden. ``fill`` is
    "grey", "black", "white", "mean" (the picture's mean colour), "blur", a number in [0, 1] or a tensor.
    Signed: positive where hiding lowers the score. Unit: score (before the softmax). Raises ValueError for a
    window larger than the picture or a stride larger than the window, else as ``saliency``.

    Labels: post hoc, model-agnostic, local.
    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2. They
    show the score itself; here its drop, averaged over overlapping windows.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> occlusion(net, torch.full((1, 3, 4, 4), 0.5), 0, window=2, stride=2).shape
    torch.Size([1, 4, 4])
    """
    return occlusion_result(*args, **options).map
