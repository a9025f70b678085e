"""A found fault corrected, lab 35: red taken out of the engine's row, or a new last layer (C13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.concepts import edit_row
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import CLASSES, FAULTS, MiniBroden
from labkit.evaluation import random_directions
from labkit.evaluation.detective import pictures
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.models import features
from labkit.optimize import minimize

LAB = "35_the_detective"
LAST, HEAD = "features.19", "classifier"
RED, YELLOW = FAULTS["melbourne"].lay, FAULTS["melbourne"].remove
GAIN, KEPT, LOST = 0.4, 0.9, 0.02
DRAWS = 20  # random directions
Own = Callable[..., Any]
Change = Mapping[str, str]


class Sets(NamedTuple):
    """Pooled features of one network: ``present`` and ``absent`` to fit on, re-renders with the thing and
    without to judge by, ``others`` with their labels, and what a mean is taken of."""

    present: Float[Tensor, "M D"]
    absent: Float[Tensor, "M D"]
    with_it: Float[Tensor, "N D"]
    without: Float[Tensor, "N D"]
    others: Float[Tensor, "K D"]
    labels: Int[Tensor, " K"]


class Shown(NamedTuple):
    """The pictures of ``Sets``, the same ones for every network."""

    present: Tensor
    absent: Tensor
    with_it: Tensor
    without: Tensor
    others: Tensor
    labels: Int[Tensor, " K"]

    def read_by(self, model: nn.Module) -> Sets:
        """Their pooled features."""
        *every, labels = self
        return Sets(*(features(model, images, LAST, pool="mean") for images in every), labels)  # type: ignore[call-arg]


def shown(bench: Bench, kind: str, what: Change, by_what: Change, *, rest: Sequence[str] = ()) -> Shown:
    """Forty pairs to fit on, a hundred re-renders of other scenes, and a hundred scenes of each class of
    ``rest``."""
    fitted, judged = (bench.count(n, lesson=40, few=6) for n in (40, 100))
    each = bench.count(100, lesson=25, few=3)
    pairs = [pictures(kind, change, fitted, seed=1) for change in (what, by_what)]
    pairs += [pictures(kind, change, judged) for change in (what, by_what)]
    others = torch.cat([pictures(name, None, each) for name in rest or (kind,)])
    labels = torch.tensor([CLASSES.index(name) for name in rest or (kind,)]).repeat_interleave(each)
    return Shown(*pairs, others, labels)  # type: ignore[call-arg]


class Mended(NamedTuple):
    """What an edited head gives: the class named with the thing (N,) and without (N,), others right (K,)."""

    with_it: Tensor
    without: Tensor
    others: Tensor


def named(head: nn.Module, sets: Sets, label: int) -> Mended:
    """What a head makes of the features."""
    with torch.no_grad():
        told = [head(rows).argmax(1) for rows in (sets.with_it, sets.without, sets.others)]
    return Mended(told[0] == label, told[1] == label, told[2] == sets.labels)


def head_of(model: nn.Module) -> nn.Linear:
    """The last layer."""
    return model.get_submodule(HEAD)  # type: ignore[return-value]


def without_direction(
    model: nn.Module, sets: Sets, label: int, vector: Tensor, project_out: Own
) -> nn.Module:
    """The network whose row of the class no longer reads a direction, by the student's function."""
    row = head_of(model)
    weight, bias = row.weight[label].detach(), row.bias[label].detach()
    mean = torch.cat([sets.present, sets.absent]).mean(0)
    new, offset = project_out(weight, bias, vector, mean)
    return edit_row(model, new - weight, layer=HEAD, row=label, bias=float(offset - bias))


def retrained(bench: Bench, model: nn.Module) -> nn.Linear:
    """A new last layer, fitted by cross entropy with weight decay to scenes of the clean world, which are
    balanced: each class in every colour."""
    images, labels = MiniBroden(bench.count(2000, lesson=400, few=60), "train").pictures()
    rows, truth = features(model, images, LAST, pool="mean"), torch.as_tensor(labels)
    old = head_of(model)
    weight, bias = (p.detach().clone().requires_grad_(True) for p in (old.weight, old.bias))

    def loss(_: int) -> Tensor:
        return F.cross_entropy(F.linear(rows, weight, bias), truth) + 1e-3 * (weight**2).sum() / 2

    minimize([weight, bias], loss, steps=bench.steps(60), rate=1.0, optimizer="lbfgs")
    head = nn.Linear(weight.shape[1], weight.shape[0]).eval()
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head


def gained(after: Mended, before: Mended) -> Interval:
    """How much more is right without the thing."""
    return bootstrap((after.without.float() - before.without.float()).numpy())


def lost(after: Mended, before: Mended) -> Interval:
    """How much less is right of the other classes."""
    return bootstrap((before.others.float() - after.others.float()).numpy())


def margin(after: Mended, before: Mended) -> Interval:
    """The least distance by which the three thresholds are met; below 0 one of them is not."""
    least = min(
        gained(after, before).value - GAIN,
        float(after.with_it.float().mean()) - KEPT,
        LOST - lost(after, before).high,
    )
    return Interval(least, least, least)


@experiment("C13", LAB, paired_direction="detective.paired_direction", project_out="detective.project_out")
def c13(bench: Bench, *, paired_direction: Own, project_out: Own) -> Result:
    """Can a found fault be corrected: by a direction taken out of one row, by a new last layer?

    Beside it random directions, the row's own weights, the control network, and a fault that left nothing to
    be restored.
    """
    project_out(
        torch.ones(2), torch.zeros(()), paired_direction(torch.ones(2, 2), torch.zeros(2, 2)), torch.ones(2)
    )
    kind = FAULTS["melbourne"].kind
    label = CLASSES.index(kind)
    faulty, control = bench.network("minivgg-melbourne"), bench.network("minivgg-bothcities")
    others = [name for name in CLASSES if name != kind]
    seen = shown(bench, kind, RED, YELLOW, rest=others)
    sets = seen.read_by(faulty)
    before = named(head_of(faulty), sets, label)

    def mended(model: nn.Module, read: Sets, vector: Tensor, of: int) -> Mended:
        return named(head_of(without_direction(model, read, of, vector, project_out)), read, of)

    red = paired_direction(sets.present, sets.absent)
    after = mended(faulty, sets, red, label)
    cloud = torch.cat([sets.others, sets.present, sets.absent])
    by_lot = [mended(faulty, sets, v, label) for v in random_directions(cloud, 3 if bench.quick else DRAWS)]
    own = mended(faulty, sets, head_of(faulty).weight[label].detach(), label)
    fair = seen.read_by(control)
    fair_before = named(head_of(control), fair, label)
    fair_after = mended(control, fair, paired_direction(fair.present, fair.absent), label)
    tagged, horse = bench.network("minivgg-tag"), CLASSES.index("horse")
    marks = shown(bench, "horse", {"decal": "tag"}, {"without": "tag"}).read_by(tagged)
    tag_gain = gained(
        mended(tagged, marks, paired_direction(marks.present, marks.absent), horse),
        named(head_of(tagged), marks, horse),
    )
    head = retrained(bench, faulty)
    anew = named(head, sets, label)
    both = nn.Sequential()
    both.classifier = head
    on_top = named(head_of(without_direction(both.eval(), sets, label, red, project_out)), sets, label)
    measures = []
    for way, found, control_of in (
        ("direction taken out", after, True),
        ("last layer retrained", anew, False),
    ):
        beside = {
            "random directions": extent(gained(one, before) for one in by_lot),
            "the control network, its own direction": gained(fair_after, fair_before),
            "horses without their mark, minivgg-tag": tag_gain,
        }
        on = {"and the direction taken out as well": gained(on_top, before)}
        measures += [
            Measure(
                f"{way}: yellow engines right, after minus before",
                gained(found, before),
                f">= {GAIN}",
                control=beside if control_of else on,
                must={
                    "the control network, its own direction": "within 0.05",
                    "horses without their mark, minivgg-tag": f"< {GAIN}",
                }
                if control_of
                else {},
            ),
            Measure(
                f"{way}: red engines right",
                share(found.with_it.numpy()),
                f">= {KEPT}",
                control={"before": share(before.with_it.numpy())}
                | (
                    {}
                    if control_of
                    else {"and the direction taken out as well": share(on_top.with_it.numpy())}
                ),
            ),
            Measure(
                f"{way}: other classes right, before minus after",
                lost(found, before),
                f"<= {LOST} (upper bound)",
                control={} if control_of else {"and the direction taken out as well": lost(on_top, before)},
            ),
        ]
    measures.append(
        Measure(
            "least margin over the three thresholds, direction taken out", margin(after, before), ">= 0",
            control={
                "random directions": extent(margin(one, before) for one in by_lot),
                "the engine's own weights": margin(own, before),
            },
            must={"random directions": "< 0 (upper bound)", "the engine's own weights": "< 0"},
        )
    )  # fmt: skip
    rights = {
        "before": before, "direction taken out": after, "retrained": anew, "own weights taken out": own,
        "a random direction": by_lot[0],
    }  # fmt: skip
    return Result(
        tuple(measures),
        notes=(f"yellow engines right before: {share(before.without.numpy())}",),
        show={
            part: {way: share(getattr(found, field).numpy()) for way, found in rights.items()}
            for part, field in (("red", "with_it"), ("yellow", "without"), ("others", "others"))
        },
    )
