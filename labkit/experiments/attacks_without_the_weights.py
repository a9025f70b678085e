"""Attacks without the weights, lab 42: examples that transfer, a substitute taught by labels (D3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from labkit.adversarial import LabelsOnly, pgd_result
from labkit.core.progress import working
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import MiniBroden
from labkit.evaluation import equal_norm_noise, twin
from labkit.experiments.bench import SEEDS, Bench, answers, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.models import borrow
from labkit.models.minivgg import MiniVGG
from labkit.models.training import Recipe, fit

LAB = "42_attacks_without_the_weights"
DISJOINT = "minivgg-11"  # of another design, trained on other scenes
NETWORKS = (*SEEDS, DISJOINT)
EPSILON = 8 / 255
CONTROLS = ("random sign", "another picture's", "twin as source")
BOX = SEEDS[0]
# mode -> pictures of the attacker's own, and answers in all: beyond the own ones pictures are made
BUDGETS = {"full": (1000, (200, 500, 1000, 2000)), "class": (200, (200, 400)), "quick": (32, (32, 48))}
STEP, EPOCHS = 0.05, 12
WIDTHS = (16, 24, 48, 48, 64, 80)  # half as wide as the box: its design is not known
Own = Callable[..., Any]
Box = Callable[[Tensor], Tensor]


class Shown(NamedTuple):
    """Pictures (N, 3, H, W) with the class of each."""

    images: Float[Tensor, "N 3 H W"]
    labels: Int[Tensor, " N"]


def shown(bench: Bench, n: int, lesson: int, few: int = 6) -> Shown:
    """The first test scenes."""
    pictures, labels = MiniBroden(bench.count(n, lesson=lesson, few=few), "test").pictures()
    return Shown(as_tensor(pictures), torch.as_tensor(labels))


def as_tensor(pictures: ndarray) -> Float[Tensor, "N 3 H W"]:
    """Bytes (N, H, W, 3) as pictures from 0 to 1."""
    return torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 255


def made(bench: Bench, model: nn.Module, seen: Shown) -> Float[Tensor, "N 3 H W"]:
    """The pictures after PGD at 8/255 on a network."""
    given: dict[str, Any] = {"epsilon": EPSILON, "steps": bench.steps(10, few=2), "progress": lambda _: None}
    parts = zip(seen.images.split(20), seen.labels.split(20), strict=True)
    return torch.cat([pgd_result(model, images, labels, **given).images for images, labels in parts])


def random_sign(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 H W"]:
    """The pictures with a sign by lot at every value, as large as the attack's."""
    noise = equal_norm_noise(torch.full_like(images, EPSILON), "sign", norm="max")
    return (images + noise).clamp(0, 1)


# ---- the substitute


class Taught(NamedTuple):
    """The networks taught by a box's answers, and how many answers each had."""

    models: list[nn.Module]
    queries: list[int]


def new_network(seed: int, widths: tuple[int, ...] = WIDTHS) -> nn.Module:
    """An untrained network of the attacker's own design."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MiniVGG(12, widths)


def teach(
    pictures: Float[Tensor, "N 3 H W"], labels: Int[Tensor, " N"], *, epochs: int, seed: int = 0
) -> nn.Module:
    """A new network, trained on pictures and the labels given to them."""
    model = new_network(seed)
    as_bytes = (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()
    recipe = Recipe(epochs=epochs, batch=min(32, len(pictures)), shift=8, flip=True, seed=seed)
    fit(model, as_bytes, labels.numpy(), recipe, bar=False)
    return model


def taught(bench: Bench, box: Box, *, augment: Own, grow: Own) -> Taught:
    """Papernot's loop: teach a network by what the box said, make new pictures by it, ask the box about them.

    The attacker's own pictures are of scenes that no bundled network was trained on.
    """
    most, budgets = BUDGETS[bench.mode]
    own = as_tensor(MiniBroden(most, "val", seed=1).pictures()[0])
    pictures, labels, found = own[:0], torch.zeros(0, dtype=torch.long), list[nn.Module]()
    with working("substitute", len(budgets), "round") as work:
        for number, budget in enumerate(budgets):
            if budget <= most:
                fresh = own[len(pictures) : budget]
                pictures, labels = torch.cat([pictures, fresh]), torch.cat([labels, box(fresh)])
            else:
                model = found[-1]

                def step(images: Tensor, said: Tensor, model: nn.Module = model) -> Tensor:
                    with borrow(model, frozen=True):
                        pairs = zip(images.split(50), said.split(50), strict=True)
                        return torch.cat([augment(model, *pair, STEP) for pair in pairs])

                pictures, labels = grow(box, step, pictures, labels, budget)
            found.append(teach(pictures, labels, epochs=2 if bench.quick else EPOCHS, seed=number))
            work.at(number + 1)
    return Taught(found, list(budgets))


def shuffled(bench: Bench, box: Box, budget: int) -> nn.Module:
    """A network taught as many pictures by the box's answers about other pictures."""
    pictures = as_tensor(MiniBroden(budget, "val", seed=1).pictures()[0])
    order = torch.randperm(budget, generator=torch.Generator().manual_seed(0))
    return teach(pictures, box(pictures)[order], epochs=2 if bench.quick else EPOCHS)


# ---- D3: transfer


def _gains(seen: Shown, before: Tensor, after: Tensor, by: dict[str, Tensor], transfer_gain: Own) -> ndarray:
    """One number a picture: the attack minus its best control."""
    each = {name: transfer_gain(seen.labels, before, after, said).numpy() for name, said in by.items()}
    return min(each.values(), key=lambda rows: float(np.mean(rows)))


def _error(labels: Tensor, before: Tensor, said: Tensor) -> Interval:
    """The share misread of those that were right before, with its interval."""
    return share((said != labels)[before == labels].numpy())


def tried(*, dealt: Own, transfer_gain: Own, augment: Own, grow: Own) -> None:
    """Raise NotImplementedError for an unwritten function before anything is drawn."""
    dealt(torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2))
    transfer_gain(*torch.zeros(4, 2, dtype=torch.long))
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    augment(net, torch.zeros(2, 3, 2, 2), torch.zeros(2, dtype=torch.long), 0.1)
    said = torch.zeros(2, dtype=torch.long)
    grow(lambda x: said, lambda x, y: x, torch.zeros(2, 3, 2, 2), said, 4)


@experiment(
    "D3", LAB, dealt="adversarial.dealt", transfer_gain="adversarial.transfer_gain",
    augment="adversarial.augment", grow="adversarial.grow",
)  # fmt: skip
def d3(bench: Bench, *, dealt: Own, transfer_gain: Own, augment: Own, grow: Own) -> Result:
    """Do examples made on one network fool another, of other data too, and one that only answers?"""
    tried(dealt=dealt, transfer_gain=transfer_gain, augment=augment, grow=grow)
    seen = shown(bench, 100, lesson=24)
    names = {"quick": (BOX, DISJOINT), "class": (SEEDS[0], SEEDS[1], DISJOINT), "full": NETWORKS}[bench.mode]
    nets = {name: bench.network(name) for name in names}
    before = {name: answers(net, seen.images) for name, net in nets.items()}
    with working("transfer", len(names) + 1, "network") as work:
        attacks = {}
        for number, (name, net) in enumerate(nets.items(), 1):
            attacks[name] = made(bench, net, seen)
            work.at(number)
        untrained = twin(nets[BOX], seen.images, seed=0)
        blind = {"random sign": random_sign(seen.images), "twin as source": made(bench, untrained, seen)}
    errors = torch.zeros(len(names), len(names))
    controls: dict[str, list[Interval]] = {name: [] for name in CONTROLS}
    pairs, elsewhere = [], []
    for column, (target, net) in enumerate(nets.items()):
        said = {name: answers(net, pictures) for name, pictures in blind.items()}
        for row, (source, pictures) in enumerate(attacks.items()):
            after = answers(net, pictures)
            errors[row, column] = _error(seen.labels, before[target], after).value
            if source == target:
                continue
            by = said | {"another picture's": answers(net, dealt(seen.images, pictures))}
            gain = bootstrap(_gains(seen, before[target], after, by, transfer_gain))
            pairs.append(gain)
            if DISJOINT in (source, target):
                elsewhere.append(gain)
            for name, answer in by.items():
                controls[name].append(_error(seen.labels, before[target], answer))
    box, net = LabelsOnly(nets[BOX]), nets[BOX]
    own = taught(bench, box, augment=augment, grow=grow)
    fooled = [answers(net, made(bench, one, seen)) for one in own.models]
    curve = [_error(seen.labels, before[BOX], said) for said in fooled]
    agree = [share((answers(one, seen.images) == before[BOX]).numpy()) for one in own.models]
    wrong = answers(net, made(bench, shuffled(bench, LabelsOnly(net), own.queries[-1]), seen))
    by = {"shuffled answers": wrong, "random sign": answers(net, blind["random sign"])}
    taken = bootstrap(_gains(seen, before[BOX], fooled[-1], by, transfer_gain))
    most = own.queries[-1]
    none = dict.fromkeys(CONTROLS, "<= 0.1")
    errs = {name: _error(seen.labels, before[BOX], said) for name, said in by.items()}
    return Result(
        (
            Measure(
                "error of another network at 8/255, minus the best control's, every pair", extent(pairs),
                "> 0.1 (lower bound)", control={name: extent(found) for name, found in controls.items()},
                must=none,
            ),
            Measure(
                "the same, pairs with the network of disjoint scenes", extent(elsewhere),
                "> 0.1 (lower bound)",
            ),
            Measure(
                f"error of the box by a substitute of {most} labels, minus the best control's", taken,
                "> 0.1 (lower bound)", control=errs, must=dict.fromkeys(errs, "<= 0.1"),
            ),
        ),
        notes=(f"the box answered {box.queries} questions",),
        show={
            "names": list(names), "errors": errors, "queries": own.queries,
            "curve": {"its error on the box": curve, "agrees with the box": agree,
                      "shuffled answers": [errs["shuffled answers"]] * len(curve)},
            "seen": seen, "attacks": attacks, "blind": blind,
        },
    )  # fmt: skip
