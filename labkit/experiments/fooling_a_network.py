"""Small steps that fool, lab 41: FGSM beside noise of its size (D1), any picture made any class (D2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.adversarial import fgsm_result, pgd
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import MiniBroden
from labkit.evaluation import equal_norm_noise, other_pictures, twin
from labkit.experiments.bench import Bench, answers, experiment, right
from labkit.experiments.measures import Measure, Result

LAB = "41_fooling_a_network"
GREY = 1 / 255  # one grey level
HERE, CAP = 4, 64  # grey levels at which errors are compared, and beyond which nothing is tried
FEW = (0, 0.5, 1, 1.5, 2, 3, 4, 6, 8)  # grey levels tried of the gradient's sign
MANY = (0, 4, 8, 16, 24, 32, 48, CAP)  # and of a sign by lot, which needs more
BALL, STEPS = 8, 20
HALVINGS, MEASURED = 6, 40  # of a bisection, and how many pictures get one
DRAWS = (0, 1, 2)  # of a twin
Own = Callable[..., Any]


class Named(NamedTuple):
    """Scenes that a network names rightly, and their classes."""

    images: Float[Tensor, "N 3 H W"]
    labels: Int[Tensor, " N"]


def named(bench: Bench, name: str, n: int, lesson: int, few: int = 8) -> Named:
    """The first ``n`` test scenes (fewer in class and quick mode) that the network names rightly."""
    count = bench.count(n, lesson=lesson, few=few)
    seen = bench.scenes(n + n // 5 + 4, lesson=count + count // 5 + 4)
    kept = right(bench.network(name), seen.images, seen.labels)
    return Named(seen.images[kept][:count], seen.labels[kept][:count])


def in_parts(function: Callable[..., Tensor], *given: Tensor, size: int = 32) -> Tensor:
    """A function of pictures and what goes with each, some pictures at a time."""
    return torch.cat([function(*part).detach() for part in zip(*(g.split(size) for g in given), strict=True)])


def wrong(model: nn.Module, images: Tensor, labels: Tensor) -> ndarray:
    """Of each picture whether the network names another class than its label: 1 or 0."""
    return (~right(model, images, labels)).double().numpy()


def random_sign(images: Tensor, epsilon: float, kind: str = "sign", seed: int = 0) -> Tensor:
    """Pictures whose every value moves by ``epsilon`` up or down by lot: each by itself, or in "blocks"."""
    noise = equal_norm_noise(
        torch.full_like(images, epsilon), kind, norm="max", generator=torch.Generator().manual_seed(seed)
    )
    return (images + noise).clamp(0, 1)


def still(model: nn.Module, images: Tensor, labels: Tensor, loss_gradient: Own) -> int:
    """For how many pictures the gradient is exactly zero, so that no step by it moves them."""
    slopes = in_parts(lambda p, t: loss_gradient(model, p, t), images, labels)
    return int((slopes == 0).flatten(1).all(1).sum())


def _half(levels: ndarray, errors: ndarray) -> float:
    """The grey level at which half of the answers are wrong, between two that were tried; else the cap."""
    for k in range(1, len(levels)):
        if errors[k] >= 0.5:
            low, high = errors[k - 1], errors[k]
            return float(levels[k - 1] + (0.5 - low) / (high - low) * (levels[k] - levels[k - 1]))
    return float(CAP)


def _ratio(by_sign: ndarray, by_lot: ndarray) -> Interval:
    """How many times as large a sign by lot must be as the gradient's, over pictures drawn anew."""

    def ratio(rows: ndarray) -> float:
        errors = rows.mean(0)
        own = _half(np.array(FEW), errors[: len(FEW)])
        return _half(np.array(MANY), errors[len(FEW) :]) / max(own, 1e-9)

    return bootstrap(np.concatenate([by_sign, by_lot], 1), ratio)


def worst(found: Mapping[str, Interval]) -> Interval:
    """Of several networks the one with the smallest number, for each of them must show the claim."""
    return min(found.values(), key=lambda one: one.value)


def most(found: Mapping[str, Interval]) -> Interval:
    """Of several networks' controls the one with the largest number."""
    return max(found.values(), key=lambda one: one.value)


def _dead(counts: Mapping[str, tuple[int, int]]) -> str:
    total, of = (sum(pair[k] for pair in counts.values()) for k in (0, 1))
    return f"the gradient is exactly zero for {total} of {of} pictures"


def _stepped(fgsm: Own, model: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    return in_parts(lambda p, t: fgsm(model, p, t, epsilon), images, labels)


# ---- D1: the gradient's sign beside noise


@experiment(
    "D1", LAB, loss_gradient="adversarial.loss_gradient", fgsm="adversarial.fgsm",
    borrowed_step="adversarial.borrowed_step",
)  # fmt: skip
def d1(bench: Bench, *, loss_gradient: Own, fgsm: Own, borrowed_step: Own) -> Result:
    """Does a step by the gradient's sign fool, where noise of the same size does not?"""
    tiny, one = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval(), torch.rand(2, 3, 1, 1)
    both = torch.tensor([0, 1])
    loss_gradient(tiny, one, both)  # unwritten: say so at once
    fgsm(tiny, one, both, 0.1)
    borrowed_step(tiny, one, both, both.flip(0), 0.1)
    ratios, gains, dead = {}, {}, {}
    beside: dict[str, dict[str, Interval]] = {}
    curves: dict[str, list[float]] = {}
    for name in bench.seeds:
        model, (images, labels) = bench.network(name), named(bench, name, 110, lesson=14)
        order = other_pictures(len(images))
        by_sign = np.stack(
            [wrong(model, _stepped(fgsm, model, images, labels, e * GREY), labels) for e in FEW], 1
        )
        by_lot = np.stack([wrong(model, random_sign(images, e * GREY), labels) for e in MANY], 1)
        size = HERE * GREY
        controls = {
            "random sign": by_lot[:, MANY.index(HERE)],
            "low-frequency blocks": wrong(model, random_sign(images, size, "blocks"), labels),
            "another picture's gradient sign": wrong(
                model, borrowed_step(model, images, labels, order, size), labels
            ),
            "twin's gradient": _by_twins(bench, model, images, labels, fgsm),
        }
        own = by_sign[:, FEW.index(HERE)]
        best = max(controls, key=lambda kind: controls[kind].mean())
        ratios[name], gains[name] = _ratio(by_sign, by_lot), bootstrap(own - controls[best])
        for kind, values in {"FGSM": own, **controls}.items():
            beside.setdefault(kind, {})[name] = bootstrap(values)
        dead[name] = still(model, images, labels, loss_gradient), len(images)
        if name == bench.seeds[0]:
            curves = {"gradient's sign": list(by_sign.mean(0)), "random sign": list(by_lot.mean(0))}
    at = {kind: most(found) if kind != "FGSM" else worst(found) for kind, found in beside.items()}
    return Result(
        (
            Measure(
                "epsilon of half the answers wrong, random sign over the gradient's", worst(ratios), ">= 8",
                unit="times",
            ),
            Measure(
                "share fooled at 4/255, FGSM minus the best control", worst(gains), ">= 0.4", control=at
            ),
        ),
        notes=(
            "of three networks the one that shows it least; controls: the one that shows them most",
            _dead(dead),
        ),
        show={"levels": {"gradient's sign": FEW, "random sign": MANY}, "curves": curves, "at 4/255": at},
    )  # fmt: skip


def _by_twins(bench: Bench, model: nn.Module, images: Tensor, labels: Tensor, fgsm: Own) -> ndarray:
    """The mean error that FGSM's step makes where the gradient is a twin's, over its draws."""
    seen = MiniBroden(16 if bench.quick else 128, "test").pictures()[0]
    errors = []
    for draw in DRAWS[:1] if bench.quick else DRAWS:
        other = twin(model, seen, seed=draw)
        moved = _stepped(fgsm, other, images, labels, HERE * GREY)
        errors.append(wrong(model, moved, labels))
    return np.mean(errors, 0)


# ---- D2: any class you like


def another_class(labels: Int[Tensor, " N"], classes: int, seed: int = 0) -> Int[Tensor, " N"]:
    """For each label another class, by lot."""
    step = torch.randint(1, classes, (len(labels),), generator=torch.Generator().manual_seed(seed))
    return (labels + step.to(labels)) % classes


def reached(model: nn.Module, images: Tensor, wanted: Tensor) -> Interval:
    """The share of pictures that the network names the class wanted."""
    return share((answers(model, images) == wanted).numpy())


@experiment("D2", LAB, toward="adversarial.toward", smallest_epsilon="adversarial.smallest_epsilon")
def d2(bench: Bench, *, toward: Own, smallest_epsilon: Own) -> Result:
    """Can any picture be made any class, and by how little?"""
    tiny = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    toward(tiny, torch.rand(2, 3, 1, 1), torch.tensor([0, 1]), 0.1, 2)  # unwritten: say so at once
    smallest_epsilon(lambda epsilon: epsilon > 0.1, 1.0, 2)
    size = BALL * GREY
    hit, lottery, noise_hit, noise_lottery, dead, steps = {}, {}, {}, {}, {}, []  # type: ignore[var-annotated]
    for name in bench.seeds:
        model, (images, labels) = bench.network(name), named(bench, name, 105, lesson=12)
        white = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
        for start, said, hits, others in (
            (images, labels, hit, lottery),
            (white, answers(model, white), noise_hit, noise_lottery),
        ):
            wanted = another_class(said, len(model.classes))  # type: ignore[arg-type]
            made = [
                toward(model, *part, size, STEPS)
                for part in zip(start.split(32), wanted.split(32), strict=True)
            ]
            shown = torch.cat([one[0] for one in made])
            hits[name] = reached(model, shown, wanted)
            others[name] = reached(model, random_sign(start, size), wanted)
            if start is images:
                steps += torch.cat([one[1] for one in made]).tolist()
        flat = fgsm_result(model, images, another_class(labels, len(model.classes)), targeted=True).still == 1  # type: ignore[arg-type]
        dead[name] = int(flat.sum()), len(images)
    first, strangers = bench.seeds[0], [name for name in ("minivgg-2", "minivgg-3") if name != bench.seeds[0]]
    model, (images, labels) = bench.network(first), named(bench, first, 105, lesson=12)
    wanted = another_class(labels, len(model.classes))  # type: ignore[arg-type]
    whole = {"epsilon": size, "steps": bench.steps(STEPS, few=4), "targeted": True, "random_start": False}
    moved = in_parts(lambda p, t: pgd(model, p, t, **whole), images, wanted)  # type: ignore[arg-type]
    carried = {name: reached(bench.network(name), moved, wanted) for name in strangers}
    found = _smallest(bench, model, images, wanted, toward, smallest_epsilon)
    return Result(
        (
            Measure(
                "share of scenes made the class wanted, within 8/255 in 20 steps", worst(hit), ">= 0.95",
                control={"noise": most(lottery), "another seed, all 20 steps": most(carried)},
                must={"noise": "< 0.02", "another seed, all 20 steps": "< 0.1"},
            ),
            Measure(
                "the same, from pictures of uniform noise", worst(noise_hit), ">= 0.95",
                control={"noise": most(noise_lottery)}, must={"noise": "< 0.02"},
            ),
        ),
        notes=(
            "of three networks the one that shows it least; controls: the one that shows them most",
            f"smallest epsilon of {len(found)} scenes, in grey levels: median {np.median(found):.2g}, "
            f"from {min(found):.2g} to {max(found):.2g}",
            f"steps until it is named so: median {np.median(steps):.0f}",
            _dead(dead),
        ),
        show={"smallest": found, "steps": steps},
    )  # fmt: skip


def _smallest(
    bench: Bench, model: nn.Module, images: Tensor, wanted: Tensor, toward: Own, smallest_epsilon: Own
) -> list[float]:
    """The smallest epsilon that makes a scene the class wanted, in grey levels, of one after the other."""
    found = []
    for x, target in zip(images[: bench.count(MEASURED, lesson=6, few=2)], wanted, strict=False):

        def fools(epsilon: float, x: Tensor = x[None], target: Tensor = target[None]) -> bool:
            shown = toward(model, x, target, epsilon, bench.steps(STEPS, few=4))[0]
            return bool((answers(model, shown) == target).all())

        found.append(float(smallest_epsilon(fools, BALL * GREY, bench.steps(HALVINGS, few=3))) / GREY)
    return found
