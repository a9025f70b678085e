"""The exercises of the notebook 23: RISE's estimate and masks, a learned mask's blend and loss, its area."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.calls.exercise import Case, Exercise, Misconception, Recipe

NOTEBOOK = "23_learned_masks"
TO_LEARN = (
    "A mask is to be learned by this result: return a tensor that knows where it came from "
    "(no .item(), float(), .numpy(), .detach(), no_grad)."
)


def _numbers(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _to_learn(values: Tensor) -> Recipe:
    """A tensor that asks for its gradient: the gradient is then the answer."""
    return Recipe("labkit.calls.recipes:learned", {"values": values})


# ---- RISE: the estimate


def rise_map(scores: Tensor, masks: Tensor, p: float) -> Tensor:
    return (scores[:, None, None] * masks).sum(0) / (len(masks) * p)


def _rise_case(name: str, seed: int, p: float) -> Case:
    return Case(name, (_numbers(seed, 12), _numbers(seed + 1, 12, 6, 5), p))


MEAN_MISTAKES = (
    Misconception("no_p", lambda s, m, p: rise_map(s, m, p) * p,
        "Divide by p as well: a pixel is open in that share of the masks only."),
    Misconception("shut_share", lambda s, m, p: rise_map(s, m, p) * p / (1 - p),
        "You divide by 1 - p, the share that is shut. Here p is the share that is open."),
    Misconception("sum", lambda s, m, p: rise_map(s, m, p) * len(m),
        "Divide by the number of masks: it is a mean."),
    Misconception("shut", lambda s, m, p: rise_map(s, 1 - m, p),
        "A score belongs to the pixels that could be seen: weigh with the mask, not with 1 minus the mask."),
    Misconception("unweighted", lambda s, m, p: m.sum(0) / (len(m) * p),
        "The scores are not used: each mask counts by the score that it left."),
    Misconception("by_coverage", lambda s, m, p: (s[:, None, None] * m).sum(0) / m.sum(0),
        "You divide by what each pixel was shown. That is a good variant; here the "
        "expected share p is asked for."),
    Misconception("best_mask", lambda s, m, p: m[s.argmax()],
        "You keep the best mask alone. The map is a weighted mean of all of them."),
    Misconception("p_above", lambda s, m, p: rise_map(s, m, p) * p**2,
        "You multiply by p: what stands below the line needs parentheses."),
    Misconception("plain_sum", lambda s, m, p: (s[:, None, None] * m).sum(0),
        "Both divisions are missing: by the number of masks and by p."),
    Misconception("by_scores", lambda s, m, p: (s[:, None, None] * m).sum(0) / s.sum(),
        "You divide by the sum of the scores. Divide by the number of masks and by p."),
    Misconception("drawn_share", lambda s, m, p: rise_map(s, m, p) * p / m.mean(),
        "You measure the open share on the masks. Here p, the share they were drawn with, is asked for."),
)  # fmt: skip

RISE = Exercise(
    id="attribution.rise_map",
    title="A mean over random masks",
    points=2,
    minutes=6,
    difficulty=1,
    signature="rise_map(scores, masks, p)",
    reference=rise_map,
    public=lambda: [
        _rise_case("twelve masks, two fifths open", 10, 0.4),
        _rise_case("masks that are mostly shut", 12, 0.2),
    ],
    hidden=lambda seed: [
        _rise_case("other masks", seed % 10007 + 50, 0.3),
        _rise_case("more", seed % 9973 + 90, 0.7),
    ],
    misconceptions=MEAN_MISTAKES,
    blocks=("labkit.attribution.rise",),
)


# ---- RISE: one mask


def random_mask(grid: Tensor, cell: int, down: int, right: int, side: int) -> Tensor:
    return _mask(grid, cell, down, right, side)


def _mask(grid, cell, down, right, side, *, mode="bilinear", corners=False, stretch=False, size=None):
    size = size or (side if stretch else cell * len(grid))
    options = {} if mode == "nearest" else {"align_corners": corners}
    large = F.interpolate(grid[None, None], size=(size, size), mode=mode, **options)[0, 0]
    return large if stretch else large[down : down + side, right : right + side]


def _mask_case(name: str, seed: int, cells: int, cell: int, down: int, right: int, less: int = 0) -> Case:
    """The picture has some pixels less than the cells: only then does side + cell become too small."""
    grid = (_numbers(seed, cells + 1, cells + 1) < 0.5).double()
    return Case(name, (grid, cell, down, right, cells * cell - less))


MASK = Exercise(
    id="attribution.random_mask",
    title="One soft mask",
    points=3,
    minutes=10,
    difficulty=2,
    signature="random_mask(grid, cell, down, right, side)",
    reference=random_mask,
    public=lambda: [
        _mask_case("four cells of five pixels", 20, 4, 5, 1, 3),
        _mask_case("cells that do not fit evenly", 21, 3, 4, 3, 0, less=2),
    ],
    hidden=lambda seed: [
        _mask_case("another grid", seed % 10007, 5, 4, 2, 1),
        _mask_case("larger cells", seed % 9973, 3, 6, 0, 4, less=1),
    ],
    misconceptions=(
        Misconception(
            "nearest",
            lambda *args: _mask(*args, mode="nearest"),
            "Enlarge bilinearly: hard edges would be the first thing the network sees.",
        ),
        Misconception(
            "corners",
            lambda *args: _mask(*args, corners=True),
            "Leave align_corners=False, or the cells become larger than asked.",
        ),
        Misconception(
            "stretched",
            lambda *args: _mask(*args, stretch=True),
            "You squeeze the grid into the picture. Enlarge each cell to its full size "
            "first, then cut out a window.",
        ),
        Misconception(
            "size",
            lambda *args: _mask(*args, size=args[4] + args[1]),
            "Enlarge to cell * len(grid): where cells do not fit evenly, side + cell squeezes them.",
        ),
        Misconception(
            "no_shift",
            lambda grid, cell, down, right, side: _mask(grid, cell, 0, 0, side),
            "The shift is not used: without it the cells lie at the same places in all masks.",
        ),
        Misconception(
            "turned",
            lambda grid, cell, down, right, side: _mask(grid, cell, right, down, side),
            "Down belongs to the rows and right to the columns; yours are exchanged.",
        ),
        Misconception(
            "other_way",
            lambda grid, cell, down, right, side: _mask(grid, cell, cell - down, cell - right, side),
            "You count the shift from the far end. The window begins at row down and column right.",
        ),
        Misconception(
            "bicubic",
            lambda *args: _mask(*args, mode="bicubic"),
            "Bicubic goes below 0 and above 1. Enlarge bilinearly.",
        ),
        Misconception(
            "hard",
            lambda *args: (_mask(*args) > 0.5).double(),
            "The soft edges are cut hard again. Leave the values between 0 and 1 as they are.",
        ),
    ),
)


# ---- the picture that a mask leaves


def blend(images: Tensor, masks: Tensor, blurred: Tensor) -> Tensor:
    return masks[:, None] * images + (1 - masks[:, None]) * blurred


def _per_channel(images, masks, blurred):
    return masks * images + (1 - masks) * blurred


def _blend_case(name: str, seed: int, make=lambda masks: masks) -> Case:
    """As many pictures as channels: only then does a forgotten channel axis go unnoticed."""
    sharp, blurred = _numbers(seed, 3, 3, 5, 4), _numbers(seed + 2, 3, 3, 5, 4)
    return Case(name, (sharp, make(_numbers(seed + 1, 3, 5, 4)), blurred))


BLEND_MISTAKES = (
    Misconception("turned", lambda images, masks, blurred: blend(images, 1 - masks, blurred),
        "The two are exchanged: the mask is 1 where the picture stays."),
    Misconception("black", lambda images, masks, blurred: masks[:, None] * images,
        "What is hidden turns black here, and black is itself a thing to see. Put the blurred "
        "picture there."),
    Misconception("added", lambda images, masks, blurred: masks[:, None] * images + blurred,
        "The blurred picture is added everywhere; weigh it with 1 - mask."),
    Misconception("hard", lambda images, masks, blurred: torch.where(masks[:, None] > 0.5, images, blurred),
        "A hard switch has no slope that a mask could be learned by. Mix the two in proportion."),
    Misconception("of_each_picture", _per_channel,
        "One mask belongs to one picture and covers all its channels: give masks a channel axis."),
    Misconception("picture_whole", lambda images, masks, blurred: images + (1 - masks[:, None]) * blurred,
        "The picture stands there whole; weigh it with the mask."),
    Misconception("both_by_mask", lambda images, masks, blurred: masks[:, None] * (images + blurred),
        "You weigh both with the mask. The blurred picture is seen where the mask is not: 1 - mask."),
    Misconception("no_parentheses",
        lambda images, masks, blurred: masks[:, None] * images + 1 - masks[:, None] * blurred,
        "Set parentheses around 1 - mask, or the 1 is added to every pixel."),
    Misconception("from_nothing", lambda images, masks, blurred: masks[:, None] * (images - blurred),
        "You mix only what the picture has beyond the blurred one. Add the blurred one back."),
    Misconception("detached", lambda *args: blend(*args).detach(), TO_LEARN),
)  # fmt: skip

BLEND = Exercise(
    id="attribution.blend",
    title="What a mask leaves",
    points=2,
    minutes=5,
    difficulty=1,
    signature="blend(images, masks, blurred)",
    reference=blend,
    public=lambda: [
        _blend_case("three pictures of three channels", 50),
        _blend_case("the gradient by which masks are learned", 60, _to_learn),
    ],
    hidden=lambda seed: [
        _blend_case("other pictures", seed % 10007 + 100),
        _blend_case("more", seed % 9973 + 200),
    ],
    misconceptions=BLEND_MISTAKES,
)


# ---- the loss of a learned mask


def mask_loss(score: Tensor, mask: Tensor, area: float, smooth: float, beta: float) -> Tensor:
    return _loss(score, mask, area, smooth, beta)


def _sum_of_powers(down: Tensor, right: Tensor, beta: float) -> Tensor:
    return ((down**2 + right**2) ** (beta / 2)).sum()


def _mean_of_powers(down: Tensor, right: Tensor, beta: float) -> Tensor:
    return _sum_of_powers(down, right, beta) / down.numel()


def _steps(mask: Tensor) -> tuple[Tensor, Tensor]:
    return F.pad(mask[1:] - mask[:-1], (0, 0, 0, 1)), F.pad(mask[:, 1:] - mask[:, :-1], (0, 1))


def _loss(
    score, mask, area, smooth, beta, *,
    gone=lambda mask: (1 - mask).abs().sum(), steps=_steps, rough=_sum_of_powers, sign=1.0, weigh=True,
):  # fmt: skip
    return sign * score + (area if weigh else 1) * gone(mask) + smooth * rough(*steps(mask), beta)


def _wrong_loss(**options):
    return lambda *args: _loss(*args, **options)


def _around(mask: Tensor) -> tuple[Tensor, Tensor]:
    return mask.roll(-1, 0) - mask, mask.roll(-1, 1) - mask


def _in_front(mask: Tensor) -> tuple[Tensor, Tensor]:
    down, right = _steps(mask)
    return down.roll(1, 0), right.roll(1, 1)


def _loss_case(name: str, seed: int, beta: float) -> Case:
    return Case(name, (_numbers(seed, 1)[0], _numbers(seed + 1, 7, 6), 0.02, 0.3, beta))


def _learned_loss_case(name: str, seed: int) -> Case:
    """The mask is flat in a corner, as each mask is when its learning begins."""
    score, mask = _numbers(seed, 1)[0], _numbers(seed + 1, 7, 6)
    mask[2:5, 1:5] = 0.5
    return Case(name, (_to_learn(score), _to_learn(mask), 0.02, 0.3, 3.0))


LOSS_MISTAKES = (
    Misconception("mean", _wrong_loss(gone=lambda m: (1 - m).mean(), rough=_mean_of_powers),
        "These are sums over the mask's cells, as in the paper; with means the weights differ."),
    Misconception("mean_area", _wrong_loss(gone=lambda m: (1 - m).mean()),
        "The deleted area is a sum over the cells too, not a mean."),
    Misconception("kept", _wrong_loss(gone=lambda m: m.sum()),
        "You charge for what is kept. The mask is 1 where the picture stays: deleted is 1 - mask."),
    Misconception("squared_area", _wrong_loss(gone=lambda m: ((1 - m) ** 2).sum()),
        "The deleted area is charged by its size, not by its square."),
    Misconception("sign", _wrong_loss(sign=-1.0),
        "Deleting is to lower the score: it enters with a plus, for the loss is made small."),
    Misconception("no_score", _wrong_loss(sign=0.0),
        "The score that is left is missing: without it the best mask deletes nothing."),
    Misconception("no_smoothness", _wrong_loss(rough=lambda d, r, b: 0.0),
        "The smoothness is missing: without it the mask becomes a scatter that fools this network alone."),
    Misconception("exchanged", lambda score, mask, area, smooth, beta: _loss(score, mask, smooth, area, beta),
        "The two weights are exchanged: area goes with what is deleted, smooth with the edges."),
    Misconception("area_unweighted", _wrong_loss(weigh=False), "The weight of the deleted area is missing."),
    Misconception("no_power", _wrong_loss(rough=lambda d, r, b: (d**2 + r**2).sum()),
        "The squared steps are raised to beta / 2 before they are added up."),
    Misconception("not_halved", _wrong_loss(rough=lambda d, r, b: _sum_of_powers(d, r, 2 * b)),
        "The squares are there already, so the exponent is half of beta."),
    Misconception("halved_after", _wrong_loss(rough=lambda d, r, b: _sum_of_powers(d, r, 2 * b) / 2),
        "Set parentheses around beta / 2, or the power is taken first and then halved."),
    Misconception("power_of_the_sum", _wrong_loss(rough=lambda d, r, b: (d**2 + r**2).sum() ** (b / 2)),
        "You raise the whole sum. Each cell is raised to beta / 2 first, then all are added up."),
    Misconception("apart", _wrong_loss(rough=lambda d, r, b: (d.abs() ** b + r.abs() ** b).sum()),
        "You raise down and right apart. At each cell their squares are added first."),
    Misconception("manhattan", _wrong_loss(rough=lambda d, r, b: ((d.abs() + r.abs()) ** b).sum()),
        "Add the squares of the two steps first, then raise the sum to beta / 2."),
    Misconception("cropped", _wrong_loss(steps=lambda m: tuple(s[:-1, :-1] for s in _steps(m))),
        "The last row and column are left out. Only one of their two steps is 0."),
    Misconception("around", _wrong_loss(steps=_around),
        "Here roll goes round: the last row is compared with the first. The step there is 0."),
    Misconception("padded_in_front", _wrong_loss(steps=_in_front),
        "The zeros belong at the end, so that both steps of a cell start from it."),
    Misconception("root", _wrong_loss(rough=lambda d, r, b: ((d**2 + r**2).sqrt() ** b).sum()),
        "Where the mask is flat a square root has no gradient (NaN): raise the sum of squares to beta / 2."),
    Misconception("score_detached", lambda score, *args: _loss(score.detach(), *args),
        "The score is cut off from the mask. Add it as the tensor that it is, without .item() or float()."),
    Misconception("detached", lambda *args: _loss(*args).detach(), TO_LEARN),
)  # fmt: skip

LOSS = Exercise(
    id="attribution.mask_loss",
    title="What a good mask costs",
    points=4,
    minutes=14,
    difficulty=2,
    signature="mask_loss(score, mask, area, smooth, beta)",
    reference=mask_loss,
    public=lambda: [
        _loss_case("beta 3", 30, 3.0),
        _loss_case("beta 2.5", 33, 2.5),
        _learned_loss_case("the gradients by the score and by the mask", 36),
    ],
    hidden=lambda seed: [
        _loss_case("another mask", seed % 10007 + 70, 3.0),
        _loss_case("more", seed % 9973 + 80, 2.5),
    ],
    misconceptions=LOSS_MISTAKES,
    blocks=("labkit.attribution.meaningful_perturbation", "labkit.optimize.total_variation"),
)


# ---- a fixed area


def area_loss(mask: Tensor, area: float) -> Tensor:
    return _area(mask, area)


def _area(mask, area, *, ordered=True, descending=False, power=2, total=False, turned=False, whole=round):
    values = mask.flatten()
    values = values.sort(descending=descending).values if ordered else values
    wanted = torch.zeros_like(values)
    wanted[len(values) - whole(area * len(values)) :] = 1
    wanted = 1 - wanted if turned else wanted
    gap = (values - wanted).abs() ** power
    return gap.sum() if total else gap.mean()


def _area_case(name: str, seed: int, area: float, shape=(8, 5), make=lambda mask: mask) -> Case:
    """Areas times cells that int() or rounding up would get wrong, and none that lies halfway."""
    return Case(name, (make(_numbers(seed, *shape)), area))


AREA_MISTAKES = (
    Misconception("of_the_mean", lambda mask, area: (mask.mean() - area) ** 2,
        "A grey mask has the right mean too. Compare the sorted values with zeros and ones."),
    Misconception("unsorted", lambda *args: _area(*args, ordered=False),
        "Sort the values first, or you ask for the lower part of the picture."),
    Misconception("descending", lambda *args: _area(*args, descending=True),
        "The zeros come first in what you compare with, so sort in rising order."),
    Misconception("absolute", lambda *args: _area(*args, power=1),
        "The differences are squared, not taken absolute."),
    Misconception("sum", lambda *args: _area(*args, total=True),
        "Take the mean over the pixels, not the sum."),
    Misconception("turned", lambda *args: _area(*args, turned=True),
        "The share asked for is that of the ones, not of the zeros."),
    Misconception("root", lambda *args: _area(*args) ** 0.5, "The length is squared: no root."),
    Misconception("in_rows", lambda mask, area: _area(mask.sort().values, area, ordered=False),
        "You sort within each row. Flatten the mask first."),
    Misconception("ones_only",
        lambda mask, area: ((1 - mask.flatten().sort().values[-round(area * mask.numel()) :]) ** 2).mean(),
        "You look at the ones only. The zeros before them are part of the mean."),
    Misconception("cut_off", lambda *args: _area(*args, whole=int),
        "You cut off, as int() and // do. The number of ones, area times n, is rounded to the nearest one."),
    Misconception("rounded_up", lambda *args: _area(*args, whole=ceil),
        "You round up. The number of ones, area times n, is rounded to the nearest one."),
    Misconception("each_row", lambda mask, area: torch.stack([_area(row, area) for row in mask]).mean(),
        "Each row gets its own ones here. Flatten the mask first, then sort all of its values."),
    Misconception("detached", lambda *args: _area(*args).detach(), TO_LEARN),
)  # fmt: skip

AREA = Exercise(
    id="attribution.area_loss",
    title="An area, and not a weight",
    points=3,
    minutes=10,
    difficulty=2,
    signature="area_loss(mask, area)",
    reference=area_loss,
    public=lambda: [
        _area_case("29 of 100 cells", 40, 0.29, (10, 10)),
        _area_case("a third, in whole cells", 41, 0.33),
        _area_case("the gradient by which the mask is learned", 42, 0.45, make=_to_learn),
    ],
    hidden=lambda seed: [
        _area_case("a tenth", seed % 10007, 0.11, (7, 6)),
        _area_case("most of it", seed % 9973, 0.57, (10, 10)),
    ],
    misconceptions=AREA_MISTAKES,
    blocks=(
        "labkit.attribution.extremal_perturbation",
        "labkit.attribution.extremal_perturbations.area_loss",
    ),
)

EXERCISES = (RISE, MASK, BLEND, LOSS, AREA)
