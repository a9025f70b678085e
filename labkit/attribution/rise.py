"""RISE, randomized input sampling: the mean score of the masked pictures in which a pixel can be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_positive, check_share
from labkit.core.door import asked, finite, seeded
from labkit.core.progress import working
from labkit.core.registry import signature_of
from labkit.core.targets import reads_layers, rewarded, select
from labkit.models import Target, scores
from labkit.models.fast import fast_copy
from labkit.optimize.images import Fill, filling

NORMALIZATIONS = ("expected", "summed")


class Rise(NamedTuple):
    """All that ``rise`` measured.

    ``map`` (N, H, W); ``scores`` (N, M): each picture's score under each mask that was tried, in the order of
    the draws; ``coverage`` (H, W): the share of the masks that show a pixel, about p everywhere; ``score``
    (N,): the score of the whole picture; ``complete``: False if ``should_stop`` ended the work early.
    """

    map: Float[Tensor, "N H W"]
    scores: Float[Tensor, "N M"]
    coverage: Float[Tensor, "H W"]
    score: Float[Tensor, " N"]
    complete: bool


def draw_grids(
    masks: int, cells: int, p: float, cell: tuple[int, int], generator: torch.Generator
) -> tuple[Float[Tensor, "M S S"], Int[Tensor, "M 2"]]:
    """Grids of (cells + 1) x (cells + 1) zeros and ones, and shifts of 0 to one cell less a pixel.

    >>> grids, shifts = draw_grids(3, 2, 0.5, (8, 4), torch.Generator().manual_seed(0))
    >>> tuple(grids.shape), tuple(shifts.shape)
    ((3, 3, 3), (3, 2))
    """
    device = generator.device
    grids = torch.rand(masks, cells + 1, cells + 1, generator=generator, device=device) < p
    shifts = [torch.randint(side, (masks,), generator=generator, device=device) for side in cell]
    return grids.float(), torch.stack(shifts, 1)


def _weights(
    side: int, cells: int, cell: int, shifts: Int[Tensor, " M"], dtype: torch.dtype
) -> Float[Tensor, "M L S"]:
    """How much each pixel of a shifted side takes of each cell, by linear interpolation between centres."""
    pixels = shifts[:, None] + torch.arange(side, device=shifts.device)
    places = ((pixels.to(dtype) + 0.5) / cell - 0.5).clamp(0, cells)
    numbers = torch.arange(cells + 1, device=shifts.device, dtype=dtype)
    return (1 - (places[:, :, None] - numbers).abs()).clamp(min=0)


def enlarge(
    grids: Float[Tensor, "M S S"], shifts: Int[Tensor, "M 2"], side: tuple[int, int]
) -> Float[Tensor, "M H W"]:
    """Masks of the picture's size: each cell enlarged to ceil(side / cells) pixels, shifted, and cropped.

    >>> grid = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    >>> enlarge(grid, torch.tensor([[0, 1]]), (1, 4))
    tensor([[[0.0000, 0.1250, 0.3750, 0.6250]]])
    """
    cells = grids.shape[-1] - 1
    cell = cell_size(side, cells)
    rows = _weights(side[0], cells, cell[0], shifts[:, 0], grids.dtype)
    columns = _weights(side[1], cells, cell[1], shifts[:, 1], grids.dtype)
    return rows @ grids @ columns.mT


def cell_size(side: tuple[int, int], cells: int) -> tuple[int, int]:
    """Pixels of a cell: rounded up, so that ``cells`` of them never fall short of the picture.

    >>> cell_size((32, 224), 7)
    (5, 32)
    """
    return -(-side[0] // cells), -(-side[1] // cells)


def _check(masks: int, cells: int, p: float, normalize: str, batch_size: int, side: tuple[int, int]) -> None:
    check_positive("masks", masks)
    check_positive("cells", cells)
    check_positive("batch_size", batch_size)
    check_choice("normalize", normalize, NORMALIZATIONS)
    if cells > min(side):
        raise ValueError(
            f"cells must not be more than the pixels of the picture's shorter side ({min(side)}); "
            f"got {cells}. Pass for example cells={min(7, min(side))}."
        )
    check_share("p", p, "It is that of the cells that stay to be seen; the paper takes p=0.5.")


def rise_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    masks: int = 4000,
    cells: int = 7,
    p: float = 0.5,
    probability: bool = True,
    normalize: str = "expected",
    fill: Fill = "black",
    generator: torch.Generator | None = None,
    batch_size: int = 8,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rise:
    """``rise`` with all that it measured (see ``Rise``).

    ``progress`` is called with the share done (0 to 1) after each batch of masks; ``should_stop`` is asked
    before each, and where it returns True the work ends, ``complete`` is False and the map is that of the
    masks tried until then, the same ones for every picture (all zero if there were none). Without
    ``progress``, a bar is shown if it takes more than a moment. Errors as in ``rise``.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> result = rise_result(net, torch.full((1, 3, 4, 4), 0.5), 0, masks=40, cells=2)
    >>> tuple(result.scores.shape), tuple(result.coverage.shape), result.complete
    ((1, 40), (4, 4), True)
    """
    with asked(model, images) as inputs, torch.no_grad():
        side = (inputs.shape[2], inputs.shape[3])
        _check(masks, cells, p, normalize, batch_size, side)
        reward = "probability" if probability else "logit"
        grids, shifts = draw_grids(masks, cells, p, cell_size(side, cells), seeded(generator))
        precise = torch.promote_types(inputs.dtype, torch.float32)  # half precision cannot sum thousands
        quick = fast_copy(model, inputs[:1], forwards=masks, folded=not reads_layers(target))
        score = scores(quick, inputs.clone(), rewarded(target, reward))
        targets = [rewarded(select(target, number), reward) for number in range(len(inputs))]
        reference, measured, done = filling(inputs, fill), [score.new_zeros(len(inputs), 0)], 0
        total = torch.zeros(len(inputs), side[0] * side[1], dtype=precise, device=inputs.device)
        shown = torch.zeros(side, dtype=precise, device=inputs.device)
        with working("rise", masks, "mask", progress=progress, should_stop=should_stop) as work:
            while done < masks and not work.stopped():
                part = slice(done, done + batch_size)
                mask = enlarge(grids[part].to(inputs.device, precise), shifts[part].to(inputs.device), side)
                seen = mask[:, None].to(inputs.dtype)
                found = [
                    scores(quick, seen * image + (1 - seen) * back, own)
                    for image, back, own in zip(inputs, reference, targets, strict=True)
                ]
                measured.append(torch.stack(found))
                total += measured[-1].to(precise) @ mask.flatten(1)
                shown += mask.sum(0)
                done += len(mask)
                work.at(done)
        tried, tries = torch.cat(measured, 1), max(done, 1)
        total = total.view(len(inputs), *side)
        if normalize == "expected":
            maps = total / (tries * p)
        else:  # a pixel that no mask shows tells nothing: it gets the mean over all masks
            mean = tried.to(precise).sum(1)[:, None, None] / tries
            maps = torch.where(shown > 0, total / shown.where(shown > 0, torch.ones_like(shown)), mean)
        coverage = (shown / tries).to(inputs.dtype)
        return Rise(finite(maps.to(inputs.dtype)), tried, coverage, score, work.complete)


@signature_of(rise_result)
def rise(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """The mean score of the pictures in which a pixel can be seen, over random masks of soft cells.

    ``masks`` grids of ``cells`` x ``cells`` are drawn from ``generator`` (None: seed 0), the same for every
    picture of a batch; a cell is left to be seen with probability ``p``, and ``fill`` (see ``occlusion``)
    shows where it is not. ``normalize="expected"`` divides by masks * p, as the paper does, so that even a
    constant score gives a map with the noise of the draws (some 1 / sqrt(masks) of the score);
    ``"summed"`` divides by what each pixel was in fact shown, and a constant score gives a flat map.
    A map is never below 0 for probabilities, and high everywhere if the score is: compare pixels, not signs.
    Unit: probability of the class; score (before the softmax) for ``probability=False``, and for a callable
    or a unit, which are taken as they are. Raises ValueError for more cells than pixels, p outside (0, 1),
    and a probability of a model with one output; else as ``saliency``.

    Labels: post hoc, model-agnostic, local.
    Source: Petsiuk, Das and Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", section 3. There a grid of s cells is stretched over s + 1 of them and a cell is rounded down, so
    that a crop may leave the mask; here s + 1 cells are drawn, each enlarged to ceil(side / s) pixels. They
    mask the normalized picture, so that the mean colour shows; here black does.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    >>> rise(net, torch.full((1, 3, 4, 4), 0.5), 0, masks=40, cells=2).shape
    torch.Size([1, 4, 4])
    """
    return rise_result(*args, **options).map
