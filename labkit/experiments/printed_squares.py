"""A printed square in the world, lab 42: on a crate and on a T-shirt, filmed from unseen views (D4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.core.statistics import Interval, share
from labkit.data import CLASSES, MiniBroden, decal_views
from labkit.data.filming import DecalViews
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.measures import Measure, Result

LAB = "42_attacks_without_the_weights"
TARGETS = {"crate": ("bus", "wolf"), "T-shirt": ("bus",)}  # what a box is taken for, and what it is not
JUDGE = "minivgg-11-3"  # of another design, trained on other scenes
SIDE, STEPS, BATCH, RATE = 32, 80, 8, 0.04
LEARNED, UNSEEN = 60, 100  # views
OVER, ALONE = "learned over views", "learned from one view"
CUT, TEXTURE = "cut from the class", "random texture"
DEALT = 10  # real buses cut out, and random textures, dealt over the views
Own = Callable[..., Any]


class Filmed(NamedTuple):
    """Views to learn on, of train scenes, and others to judge by, of test scenes; none shows a target."""

    learned: DecalViews
    unseen: DecalViews


def filmed(bench: Bench, kind: str, *, lesson: int = 24) -> Filmed:
    """The views of a crate or a T-shirt."""
    targets = tuple(dict.fromkeys(target for each in TARGETS.values() for target in each))
    n, m = bench.count(LEARNED, lesson=lesson, few=3), bench.count(UNSEEN, lesson=lesson, few=4)
    return Filmed(
        decal_views(kind, n, "train", without=targets), decal_views(kind, m, "test", without=targets)
    )


def learn(
    bench: Bench, model: nn.Module, views: DecalViews, target: str, *, patch_step: Own, alone: bool = False
) -> Float[Tensor, "3 S S"]:
    """A square learned over views; ``alone``: always by the first one, without a transformation."""
    generator = torch.Generator().manual_seed(0)
    patch = 0.5 + 0.1 * (torch.rand(3, SIDE, SIDE, generator=generator) - 0.5)
    steps = bench.steps(STEPS, few=2)
    with working("learning a square", steps, "step") as work:
        for step in range(steps):
            rows = torch.randint(views.count, (BATCH,), generator=generator).tolist()
            rate = RATE * (1 - step / steps)
            patch = patch_step(model, views, patch, [0] if alone else rows, CLASSES.index(target), rate)
            work.at(step + 1)
    return patch.detach()


def named(
    model: nn.Module, views: DecalViews, squares: Sequence[Float[Tensor, "3 S S"]]
) -> Int[Tensor, " N"]:
    """The class that a network names in each view; of several squares each view shows one."""
    found = torch.zeros(views.count, dtype=torch.long)
    with torch.no_grad():
        for number, square in enumerate(squares):
            rows = torch.arange(views.count)[number :: len(squares)]
            for part in rows.split(20):
                found[part] = model(views(square, part)).argmax(1)
    return found


def cut_out(target: str, count: int = DEALT, side: int = SIDE) -> list[Float[Tensor, "3 S S"]]:
    """Real objects of a class, each cut out of a scene by its box and brought to the square's pixels."""
    world, found = MiniBroden(400, "val"), []
    for index in range(len(world)):
        if world.scene(index).things[0].kind == target:
            item = world[index]
            left, top, right, bottom = item["box"].tolist()
            piece = item["image"][None, :, top:bottom, left:right]
            found.append(F.interpolate(piece, (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1))
        if len(found) == count:
            break
    return found


def textures(count: int = DEALT, side: int = SIDE) -> list[Float[Tensor, "3 S S"]]:
    """Random textures: squares of colours by lot, from fine to coarse."""
    draw = torch.Generator().manual_seed(1)
    found = []
    for number in range(count):
        cells = side // 2 ** (number % 4)
        colours = torch.rand(1, 3, cells, cells, generator=draw)
        found.append(F.interpolate(colours, (side, side), mode="nearest")[0])
    return found


def says(
    model: nn.Module, views: DecalViews, squares: Sequence[Float[Tensor, "3 S S"]], target: str
) -> Interval:
    """In how many views the target is named."""
    return share((named(model, views, squares) == CLASSES.index(target)).numpy())


def _rates(
    bench: Bench, views: Filmed, target: str, names: Sequence[str], patch_step: Own
) -> tuple[dict[str, Interval], dict[str, Tensor]]:
    """How often each kind of square makes the networks say the target, and the first network's squares."""
    rates: dict[str, list[Interval]] = {}
    others = {CUT: cut_out(target), TEXTURE: textures()}
    first: dict[str, Tensor] = {}
    for name in names:
        model = bench.network(name)
        own = {
            OVER: learn(bench, model, views.learned, target, patch_step=patch_step),
            ALONE: learn(bench, model, views.learned, target, patch_step=patch_step, alone=True),
        }
        first = first or own
        for title, squares in {**{title: [square] for title, square in own.items()}, **others}.items():
            rates.setdefault(title, []).append(says(model, views.unseen, squares, target))
        rates.setdefault("the judge", []).append(
            says(bench.network(JUDGE), views.unseen, [own[OVER]], target)
        )
    return {title: extent(each) for title, each in rates.items()}, {**first, CUT: others[CUT][0]}


@experiment("D4", LAB, patch_step="adversarial.patch_step")
def d4(bench: Bench, *, patch_step: Own) -> Result:
    """Does a printed object fool from every view, on a stiff surface and on one that bends?"""
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    patch_step(net, lambda square, rows: square[None], torch.rand(3, 2, 2), [0], 1, 0.1)  # unwritten: say so
    names = bench.seeds if bench.mode != "class" else bench.seeds[:1]
    measures, show, notes = [], dict[str, Any](), []
    for kind, targets in TARGETS.items():
        views = filmed(bench, kind)
        for target in targets:
            found, squares = _rates(bench, views, target, names, patch_step)
            value = found.pop(OVER)
            measures.append(
                Measure(
                    f"views in which a {kind} makes the network say {target}",
                    value,
                    ">= 0.7",
                    control=found,
                    must=dict.fromkeys((CUT, TEXTURE, ALONE), "<= 0.35"),
                )
            )
            show[f"{kind}, {target}"] = {"rates": {OVER: value, **found}, "views": views, "squares": squares}
        area, blank = views.unseen.area, views.unseen.square((0.6, 0.6, 0.6))
        right = named(bench.network(names[0]), views.unseen, [blank]) == views.unseen.labels
        notes.append(
            f"{kind}: the square fills {float(area.mean()):.3f} of the picture ({float(area.min()):.3f} to "
            f"{float(area.max()):.3f}); grey, it leaves {names[0]} right in {float(right.float().mean()):.2f}"
        )
    return Result(tuple(measures), notes=tuple(notes), show=show)
