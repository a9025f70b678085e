"""The exercises of the notebook 23 that learn a mask: one step, the search of one's own pieces, an area."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from labkit.calls.exercise import Case, Recipe
from labkit.calls.form import Draw, Sheet
from labkit.exercises.learned_masks import TO_LEARN, blend, mask_loss, to_learn

SHEET = Sheet("23_learned_masks")


def step_cases(draw: Draw):
    """The steepest cell is to fall in one case and to rise in the other; some cells run against an end."""

    def case(name, turn):
        mask, steepness = draw.pictures(5, 4), draw.pictures(5, 4) + 0.1
        floor = mask + (draw.numbers(5, 4) * 0.3).clamp(-0.5, 0.5)
        mask[0, 0], mask[0, 1] = 0.02, 0.98
        floor[0, 0], floor[0, 1] = -0.4, 1.4
        floor[2, 2] = mask[2, 2] + 3 * turn
        loss = Recipe("labkit.calls.recipes:valley", {"floor": floor, "steepness": steepness})
        return Case(name, (mask, loss, draw.number(0.15, 0.4)))

    yield case("the steepest cell is to rise", 1)
    yield case("the steepest cell is to fall", -1)


STEP = "rate * gradient / gradient.abs().max()"


@SHEET.exercise(
    "attribution.mask_step", "One step", points=3, minutes=10, difficulty=2, cases=step_cases,
    blocks=("labkit.optimize.minimize",),
    mistakes=(
        ("mask - step", "mask + step", "You climb. The loss is to fall: go against the gradient."),
        (".clamp(0, 1)", "", "A mask stays between 0 and 1: clamp what the step has made."),
        (".clamp(0, 1)", ".clamp(min=0)", "Nothing is shown more than once: clamp at 1 as well."),
        (".clamp(0, 1)", ".sigmoid()",
            "A sigmoid moves every cell. Only what lies outside 0 to 1 is cut off."),
        (" / gradient.abs().max()", "",
            "The gradient is used as it is. Divide by its largest size: the steepest cell moves by rate."),
        ("gradient.abs().max()", "gradient.max()",
            "The steepest cell may have a negative slope: take the largest of the sizes."),
        ("gradient.abs().max()", "gradient.norm()",
            "You divide by the gradient's length. Its largest size makes the steepest cell move by rate."),
        (STEP, "rate * gradient.sign()",
            "Every cell moves by rate here. Only the steepest one does, others less."),
        ("rate * ", "", "The step's length, rate, is missing."),
        ("mask - step", "-step", "You return the step itself. Take it off the mask."),
    ),
)  # fmt: skip
def mask_step(mask, loss, rate):
    """One step downhill: the mask after it. The steepest cell moves by rate, others in proportion.

    mask: (h, w), 0 to 1, left as it was; loss: a function, mask -> a tensor of one number.
    Returns (h, w), clamped to 0 to 1, detached: the next step begins anew.
    """
    mask = mask.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(mask), mask)
    step = rate * gradient / gradient.abs().max()
    moved = mask - step
    return moved.detach().clamp(0, 1)


def search_cases(draw: Draw):
    """Pictures of 8 x 6 pixels under masks of fewer cells."""
    for name, cells in (("4 x 3 cells", (4, 3)), ("3 x 3 cells", (3, 3))):
        net, image, blurred = draw.net("deeper"), draw.pictures(1, 3, 8, 6), draw.pictures(1, 3, 8, 6)
        target = int(net.build()(image)[0].argmax())
        mask = 0.3 + 0.4 * draw.pictures(*cells)
        prices = draw.number(0.02, 0.05), draw.number(0.3, 0.6)
        yield Case(name, (net, image, blurred, target, mask, *prices, draw.pick(3, 4)))


KEEP = "        with torch.no_grad():\n            losses.append(float(loss(mask)))\n"
MOVE = "mask = mask_step(mask, loss, 0.1)"


@SHEET.exercise(
    "attribution.learn_mask", "The search", points=4, minutes=15, difficulty=3, cases=search_cases,
    blocks=("labkit.attribution.meaningful_perturbation", "labkit.optimize.minimize"),
    imports=("torch", "numpy", "math", "tqdm"),
    mistakes=(
        (".softmax(1)", "", "Take the probability, as the paper does: the softmax over the classes."),
        ("[0, target]", ".max()", "Follow one class, the target, whichever leads."),
        ('mode="bilinear", align_corners=False', 'mode="nearest"',
            "Enlarge the cells bilinearly: hard edges are themselves a thing to see."),
        ("align_corners=False", "align_corners=True",
            "Leave align_corners=False, as in random_mask: the cells keep their size."),
        ("blend(image, large[0], blurred)", "blend(blurred, large[0], image)",
            "The picture and its blurred copy are exchanged: the mask is 1 where the picture stays."),
        ("blend(image, large[0], blurred)", "large[0] * image",
            "What is hidden turns black. Your blend puts the blurred copy there."),
        ("], mask, area", "], large[0, 0], area",
            "You charge for the pixels. Both prices are sums over the mask's cells."),
        ("area, smooth", "smooth, area", "The two prices are exchanged: area comes before smooth."),
        ("3.0", "2.0", "The roughness is raised to beta = 3."),
        (MOVE, "mask_step(mask, loss, 0.1)", "Keep what mask_step gives back, or nothing is learned."),
        ("loss, 0.1", "loss, 0.01", "The rate is 0.1: the steepest cell moves by a tenth."),
        ({KEEP: "", MOVE: f"{MOVE}\n{KEEP}"},
            "You note the loss after the step. Note it before: the first one is that of the mask handed in."),
    ),
)  # fmt: skip
def learn_mask(model, image, blurred, target, mask, area, smooth, steps):
    """A deletion mask of one picture: steps of rate 0.1 down its mask_loss, with beta 3.

    image, blurred: (1, 3, H, W); target: a class's number; area, smooth: the two prices;
    mask: (h, w), where the search begins, enlarged to H x W bilinearly (align_corners=False).
    Returns the mask that was learned, (h, w), and a list of numbers: the loss before each step.
    """
    losses = []

    def loss(mask):
        size = image.shape[2:]
        large = F.interpolate(mask[None, None], size, mode="bilinear", align_corners=False)
        shown = blend(image, large[0], blurred)
        chances = model(shown).softmax(1)
        return mask_loss(chances[0, target], mask, area, smooth, 3.0)

    for _ in tqdm(range(steps), leave=False):
        with torch.no_grad():
            losses.append(float(loss(mask)))
        mask = mask_step(mask, loss, 0.1)
    return mask, losses


def area_cases(draw: Draw):
    """Areas times cells that int() or rounding up would get wrong, and none that lies halfway."""
    yield Case("29 of 100 cells, or as many", (draw.pictures(10, 10), draw.pick(0.29, 0.57, 0.58)))
    yield Case("a share that is no whole number of cells", (draw.pictures(8, 5), draw.pick(0.33, 0.58, 0.83)))
    yield Case("an area too small for a single cell", (draw.pictures(7, 6), 0.01))
    learned = to_learn(draw.pictures(7, 6))
    yield Case("the gradient by which the mask is learned", (learned, draw.pick(0.11, 0.45, 0.57)))


ONES = "len(values) - round(area * len(values)) :"


@SHEET.exercise(
    "attribution.area_loss", "An area, and not a weight", points=3, minutes=10, difficulty=2,
    cases=area_cases, blocks=(
        "labkit.attribution.extremal_perturbation", "labkit.attribution.extremal_perturbations.area_loss"),
    mistakes=(
        ("((values - wanted) ** 2).mean()", "(mask.mean() - area) ** 2",
            "A grey mask has the right mean too. Compare the sorted values with zeros and ones."),
        (".sort().values", "", "Sort the values first, or you ask for the lower part of the picture."),
        ("sort()", "sort(descending=True)",
            "The zeros come first in what you compare with, so sort in rising order."),
        ("((values - wanted) ** 2)", "(values - wanted).abs()",
            "The differences are squared, not taken absolute."),
        (".mean()", ".sum()", "Take the mean over the pixels, not the sum."),
        ("- wanted", "- (1 - wanted)", "The share asked for is that of the ones, not of the zeros."),
        (".mean()", ".mean().sqrt()", "The length is squared: no root."),
        ("mask.flatten().sort().values", "mask.sort().values.flatten()",
            "You sort within each row. Flatten the mask first."),
        ("(values - wanted)", "(1 - values[-round(area * len(values)) :])",
            "You look at the ones only. The zeros before them are part of the mean."),
        ("round", "int",
            "You cut off, as int() and // do. The number of ones, area times n, is rounded to "
            "the nearest one."),
        ("- round(area * len(values))", "+ int(-area * len(values) // 1)",
            "You round up. The number of ones, area times n, is rounded to the nearest one."),
        ("len(values) - round", "-round",
            "Where no cell is to be a one, your slice [-0:] is the whole mask. Count from its front."),
        ({"mask.flatten().sort()": "mask.sort()",
          ONES: ":, mask.shape[1] - round(area * mask.shape[1]) :"},
            "Each row gets its own ones here. Flatten the mask first, then sort all of its values."),
        (".mean()", ".mean().detach()", TO_LEARN),
    ),
)  # fmt: skip
def area_loss(mask, area):
    """How far a mask is from zeros and ones with this share of ones.

    mask: (h, w), 0 to 1; area: the share, 0 to 1. The number of ones is rounded, and may be 0.
    Returns a tensor of one number, 0 for a perfect mask. The mask is learned by it: gradients must
    be able to flow.
    """
    values = mask.flatten().sort().values
    wanted = torch.zeros_like(values)
    wanted[len(values) - round(area * len(values)) :] = 1
    return ((values - wanted) ** 2).mean()
