"""The exercises of the notebook 23: RISE's estimate and masks, a learned mask's blend and loss, its area."""

from __future__ import annotations

import torch  # noqa: F401 - mistakes are run among these names
import torch.nn.functional as F

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet

SHEET = Sheet("23_learned_masks")
TO_LEARN = (
    "A mask is to be learned by this result: return a tensor that knows where it came from "
    "(no .item(), float(), .numpy(), .detach(), no_grad)."
)


def to_learn(values) -> Recipe:
    """A tensor that asks for its gradient, which is then compared too."""
    return Recipe("labkit.calls.recipes:learned", {"values": values})


def rise_cases(draw: Draw):
    for name, shares in (("masks that are mostly shut", (0.2, 0.3, 0.35)), ("mostly open", (0.65, 0.7, 0.8))):
        yield Case(name, (draw.pictures(12), draw.pictures(12, 6, 5), draw.pick(*shares)))


@SHEET.exercise(
    "attribution.rise_map", "A mean over random masks", points=2, minutes=6, difficulty=1,
    cases=rise_cases, blocks=("labkit.attribution.rise",),
    mistakes=(
        ("(len(masks) * p)", "len(masks)",
            "Divide by p as well: a pixel is open in that share of the masks only."),
        ("* p)", "* (1 - p))",
            "You divide by 1 - p, the share that is shut. Here p is the share that is open."),
        ("(len(masks) * p)", "p", "Divide by the number of masks: it is a mean."),
        ("* masks)", "* (1 - masks))",
            "A score belongs to the pixels that could be seen: weigh with the mask, not with 1 "
            "minus the mask."),
        ("(scores[:, None, None] * masks)", "masks",
            "The scores are not used: each mask counts by the score that it left."),
        ("(len(masks) * p)", "masks.sum(0)",
            "You divide by what each pixel was shown. That is a good variant; here the "
            "expected share p is asked for."),
        ("(scores[:, None, None] * masks).sum(0) / (len(masks) * p)", "masks[scores.argmax()]",
            "You keep the best mask alone. The map is a weighted mean of all of them."),
        ("(len(masks) * p)", "len(masks) * p",
            "You multiply by p: what stands below the line needs parentheses."),
        (" / (len(masks) * p)", "", "Both divisions are missing: by the number of masks and by p."),
        ("(len(masks) * p)", "scores.sum()",
            "You divide by the sum of the scores. Divide by the number of masks and by p."),
        ("* p)", "* masks.mean())",
            "You measure the open share on the masks. Here p, the share they were drawn with, is asked for."),
    ),
)  # fmt: skip
def rise_map(scores, masks, p):
    """The mean score of what was seen at each pixel.

    scores: (S,), the probability that each mask left; masks: (S, H, W), 1 where one can see;
    p: the share of a mask that is open, 0 to 1. Returns (H, W).
    """
    return (scores[:, None, None] * masks).sum(0) / (len(masks) * p)


def grid_cases(draw: Draw):
    """Cells of odd size, so that no shift lies half way; a side less than the cells', as pictures have."""
    for name, less in (("cells that fit evenly", 0), ("cells that do not fit evenly", 2), ("others", 1)):
        cells, cell = draw.pick(3, 4, 5), draw.pick(5, 7)
        down = draw.index(cell)
        right = (down + 1 + draw.index(cell - 1)) % cell
        grid = draw.masks(cells + 1, cells + 1).to(draw.dtype)
        yield Case(name, (grid, cell, down, right, cells * cell - less))


CUT = "down : down + side, right : right + side"


@SHEET.exercise(
    "attribution.random_mask", "One soft mask", points=3, minutes=10, difficulty=2, cases=grid_cases,
    mistakes=(
        ('"bilinear", align_corners=False', '"nearest"',
            "Enlarge bilinearly: hard edges would be the first thing the network sees."),
        ("align_corners=False", "align_corners=True",
            "Leave align_corners=False, or the cells become larger than asked."),
        ({"(size, size)": "(side, side)", ", " + CUT: ""},
            "You squeeze the grid into the picture. Enlarge each cell to its full size "
            "first, then cut out a window."),
        ("cell * len(grid)", "side + cell",
            "Enlarge to cell * len(grid): where cells do not fit evenly, side + cell squeezes them."),
        (CUT, ":side, :side",
            "The shift is not used: without it the cells lie at the same places in all masks."),
        (CUT, "right : right + side, down : down + side",
            "Down belongs to the rows and right to the columns; yours are exchanged."),
        (CUT, "cell - down : cell - down + side, cell - right : cell - right + side",
            "You count the shift from the far end. The window begins at row down and column right."),
        ('"bilinear"', '"bicubic"', "Bicubic goes below 0 and above 1. Enlarge bilinearly."),
        ("return large", "return (large > 0.5).to(grid)",
            "The soft edges are cut hard again. Leave the values between 0 and 1 as they are."),
    ),
)  # fmt: skip
def random_mask(grid, cell, down, right, side):
    """A soft mask: the grid, each cell enlarged to cell x cell pixels, cut out at the shift.

    grid: (s + 1, s + 1), of 0.0 and 1.0; cell: pixels along a cell's side;
    down, right: the first row and column of the window, from 0; side: its size in pixels.
    Returns (side, side), of the grid's dtype, 0 to 1.
    """
    size = cell * len(grid)
    large = F.interpolate(grid[None, None], (size, size), mode="bilinear", align_corners=False)
    return large[0, 0, down : down + side, right : right + side]


def blend_cases(draw: Draw):
    """As many pictures as channels: only then does a forgotten channel axis go unnoticed."""
    for name, make in (
        ("three pictures of three channels", lambda masks: masks),
        ("the gradient by which masks are learned", to_learn),
    ):
        sharp, blurred, masks = draw.pictures(3, 3, 5, 4), draw.pictures(3, 3, 5, 4), draw.pictures(3, 5, 4)
        yield Case(name, (sharp, make(masks), blurred))


SHARP, BLURRED = "masks[:, None] * images", "(1 - masks[:, None]) * blurred"


@SHEET.exercise(
    "attribution.blend", "What a mask leaves", points=2, minutes=5, difficulty=1, cases=blend_cases,
    mistakes=(
        ({SHARP: "(1 - masks[:, None]) * images", BLURRED: "masks[:, None] * blurred"},
            "The two are exchanged: the mask is 1 where the picture stays."),
        (" + " + BLURRED, "",
            "What is hidden turns black here, and black is itself a thing to see. Put the blurred "
            "picture there."),
        (BLURRED, "blurred", "The blurred picture is added everywhere; weigh it with 1 - mask."),
        (f"{SHARP} + {BLURRED}", "torch.where(masks[:, None] > 0.5, images, blurred)",
            "A hard switch has no slope that a mask could be learned by. Mix the two in proportion."),
        ({SHARP: "masks * images", BLURRED: "(1 - masks) * blurred"},
            "One mask belongs to one picture and covers all its channels: give masks a channel axis."),
        (SHARP, "images", "The picture stands there whole; weigh it with the mask."),
        (f"images + {BLURRED}", "(images + blurred)",
            "You weigh both with the mask. The blurred picture is seen where the mask is not: 1 - mask."),
        ("(1 - masks[:, None])", "1 - masks[:, None]",
            "Set parentheses around 1 - mask, or the 1 is added to every pixel."),
        (f"images + {BLURRED}", "(images - blurred)",
            "You mix only what the picture has beyond the blurred one. Add the blurred one back."),
        ({"return ": "return (", "* blurred": "* blurred).detach()"}, TO_LEARN),
    ),
)  # fmt: skip
def blend(images, masks, blurred):
    """The picture where the mask is 1, its blurred copy where it is 0, a mixture between.

    images, blurred: (N, C, H, W); masks: (N, H, W), one for each picture, 0 to 1.
    Returns (N, C, H, W). The masks are learned by it: gradients must be able to flow.
    """
    return masks[:, None] * images + (1 - masks[:, None]) * blurred


def loss_cases(draw: Draw):
    """Of the mask to be learned a corner is flat, as each mask is when its learning begins."""

    def case(name, beta, make=lambda values: values):
        score, mask = draw.pictures(), draw.pictures(7, 6)
        mask[2:5, 1:5] = 0.5
        weights = draw.number(0.02, 0.09), draw.number(0.2, 0.4)
        return Case(name, (make(score), make(mask), *weights, beta))

    yield case("beta 3", 3.0)
    yield case("beta 2.5", 2.5)
    yield case("the gradients by the score and by the mask", 3.0, to_learn)


GONE, ROUGH = "(1 - mask).abs().sum()", "((down**2 + right**2) ** (beta / 2)).sum()"


@SHEET.exercise(
    "attribution.mask_loss", "What a good mask costs", points=4, minutes=14, difficulty=2, cases=loss_cases,
    blocks=("labkit.attribution.meaningful_perturbation", "labkit.optimize.total_variation"),
    mistakes=(
        ({GONE: "(1 - mask).abs().mean()", ROUGH: ROUGH.replace("sum()", "mean()")},
            "These are sums over the mask's cells, as in the paper; with means the weights differ."),
        (GONE, "(1 - mask).abs().mean()", "The deleted area is a sum over the cells too, not a mean."),
        (ROUGH, ROUGH.replace("sum()", "mean()"), "The roughness is a sum over the cells too, not a mean."),
        (GONE, "mask.sum()",
            "You charge for what is kept. The mask is 1 where the picture stays: deleted is 1 - mask."),
        (GONE, "((1 - mask) ** 2).sum()", "The deleted area is charged by its size, not by its square."),
        ("return score", "return -score",
            "Deleting is to lower the score: it enters with a plus, for the loss is made small."),
        ("return score + ", "return ",
            "The score that is left is missing: without it the best mask deletes nothing."),
        (" + smooth * rough", "",
            "The smoothness is missing: without it the mask becomes a scatter that fools this "
            "network alone."),
        ({"+ area": "+ smooth", "+ smooth * rough": "+ area * rough"},
            "The two weights are exchanged: area goes with what is deleted, smooth with the edges."),
        ("area * ", "", "The weight of the deleted area is missing."),
        ("smooth * ", "", "The weight of the roughness is missing."),
        (" ** (beta / 2)", "", "The squared steps are raised to beta / 2 before they are added up."),
        ("(beta / 2)", "beta", "The squares are there already, so the exponent is half of beta."),
        ("(beta / 2)", "beta / 2",
            "Set parentheses around beta / 2, or the power is taken first and then halved."),
        (ROUGH, "(down**2 + right**2).sum() ** (beta / 2)",
            "You raise the whole sum. Each cell is raised to beta / 2 first, then all are added up."),
        (ROUGH, "(down.abs() ** beta + right.abs() ** beta).sum()",
            "You raise down and right apart. At each cell their squares are added first."),
        (ROUGH, "((down.abs() + right.abs()) ** beta).sum()",
            "Add the squares of the two steps first, then raise the sum to beta / 2."),
        ("(down**2 + right**2)", "(down**2 + right**2)[:-1, :-1]",
            "The last row and column are left out. Only one of their two steps is 0."),
        ({"F.pad(mask[1:] - mask[:-1], (0, 0, 0, 1))": "mask.roll(-1, 0) - mask",
          "F.pad(mask[:, 1:] - mask[:, :-1], (0, 1))": "mask.roll(-1, 1) - mask"},
            "Here roll goes round: the last row is compared with the first. The step there is 0."),
        ({"(0, 0, 0, 1)": "(0, 0, 1, 0)", "(0, 1)": "(1, 0)"},
            "The zeros belong at the end, so that both steps of a cell start from it."),
        ("(down**2 + right**2) ** (beta / 2)", "(down**2 + right**2).sqrt() ** beta",
            "Where the mask is flat a square root has no gradient (NaN): raise the sum of "
            "squares to beta / 2."),
        ("return score", "return score.detach()",
            "The score is cut off from the mask. Add it as the tensor that it is, without "
            ".item() or float()."),
        ({"return ": "return (", "* rough": "* rough).detach()"}, TO_LEARN),
    ),
)  # fmt: skip
def mask_loss(score, mask, area, smooth, beta):
    """Loss of a deletion mask: the score that it leaves, the prices of its area and its edges.

    score: a tensor of one number; mask: (h, w), 0 to 1, 1 where the picture stays;
    area, smooth: the weights of the two prices; beta: the exponent.
    Returns a tensor of one number. The mask is learned by it: gradients must be able to flow.
    """
    down = F.pad(mask[1:] - mask[:-1], (0, 0, 0, 1))
    right = F.pad(mask[:, 1:] - mask[:, :-1], (0, 1))
    rough = ((down**2 + right**2) ** (beta / 2)).sum()
    return score + area * (1 - mask).abs().sum() + smooth * rough
