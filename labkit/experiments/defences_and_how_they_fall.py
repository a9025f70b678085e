"""Defences and how they fall, lab 43: two that hide their gradients (D5). ``robust_training`` has D6."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.adversarial import HotSoftmax, Quantized, fgsm_result
from labkit.core.statistics import Interval, bootstrap, share
from labkit.experiments.bench import Bench, experiment, extent, right
from labkit.experiments.measures import Measure, Result

LAB = "43_defences_and_how_they_fall"
LEVELS, FACTOR = 8, 100.0  # of the two defences, the library's defaults
HIDDEN = 8 / 255  # the attack's size on defences that hide gradients
STEPS = 20
Own = Callable[..., Any]


def weakest(found: Sequence[Interval], largest: bool = False) -> Interval:
    """The network that shows least: its value (the smallest, or the ``largest``) between all ends.

    >>> weakest([Interval(0.9, 0.8, 1.0), Interval(0.5, 0.4, 0.6)])
    Interval(value=0.5, low=0.4, high=1.0)
    """
    values = [one.value for one in found]
    return extent(found)._replace(value=max(values) if largest else min(values))


def in_parts(function: Callable[..., Tensor], *given: Tensor, size: int = 50) -> Tensor:
    """A function of pictures (and labels) on ``size`` at a time."""
    return torch.cat([function(*part).detach() for part in zip(*(g.split(size) for g in given), strict=True)])


class Through(nn.Module):
    """The quantized network as an attacker puts it up, with the student's straight-through rounding."""

    def __init__(self, inner: nn.Module, straight_through: Own) -> None:
        super().__init__()
        self.inner, self.straight_through = inner, straight_through

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        return self.inner(self.straight_through(images, LEVELS))


def random_sign(images: Float[Tensor, "N C H W"], epsilon: float) -> Float[Tensor, "N C H W"]:
    """The control of every attack: a step of the same size in each pixel, its sign by lot."""
    signs = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).sign()
    return (images + epsilon * signs).clamp(0, 1)


@experiment(
    "D5", LAB, zero_share="adversarial.zero_share", straight_through="adversarial.straight_through",
    margin="adversarial.margin", climb="adversarial.climb",
)  # fmt: skip
def d5(bench: Bench, *, zero_share: Own, straight_through: Own, margin: Own, climb: Own) -> Result:
    """Two defences under FGSM, which they leave without a gradient, and under attackers who know them."""
    line = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    tiny = straight_through(torch.rand(1, 3, 2, 2), LEVELS)  # unwritten: say so at once
    zero_share(climb(line, margin, tiny, torch.tensor([0]), 0.1, 1))
    drawn, steps = bench.scenes(100, lesson=32), bench.steps(STEPS, few=3)
    x, y = drawn.images, drawn.labels
    names = bench.seeds if bench.mode == "full" else bench.seeds[:1]

    def climbed(model: nn.Module) -> Tensor:
        return in_parts(lambda p, t: climb(model, margin, p, t, HIDDEN, steps), x, y)

    def slope(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        at = images.detach().clone().requires_grad_(True)
        return torch.autograd.grad(margin(model(at), labels).sum(), at)[0]

    made = {
        name: climbed(bench.network(name)) for name in (names if len(names) > 1 else (*names, "minivgg-2"))
    }
    rows: dict[str, dict[str, list[Interval]]] = {"quantization": {}, "hot softmax": {}}
    for name in names:
        inner, others = bench.network(name), [n for n in made if n != name]
        through = Through(inner, straight_through)
        for defence, defended, known in (
            ("quantization", Quantized(inner, LEVELS), through),
            ("hot softmax", HotSoftmax(inner, FACTOR), HotSoftmax(inner, FACTOR)),
        ):
            adaptive = climbed(known)
            shown = {"adaptive": adaptive, "random sign": random_sign(x, HIDDEN), "no attack": x}
            shown |= {"the undefended network's examples": made[name]}
            shown |= {"another seed's examples": made[others[0]]}
            once = [fgsm_result(defended, p, t, epsilon=HIDDEN) for p, t in _parts(x, y)]
            shown["FGSM"] = torch.cat([part.images for part in once])
            found = {way: share(right(defended, p, y).numpy()) for way, p in shown.items()}
            flat = torch.cat([zero_share(part.gradient) for part in once])
            found["pixels with a gradient of exactly 0, FGSM"] = bootstrap(flat.numpy())
            found["pictures without any gradient, FGSM"] = share((flat == 1).numpy())
            found["largest step of FGSM, grey levels"] = bootstrap(255 * _moved(shown["FGSM"], x))
            flat = zero_share(in_parts(partial(slope, known), x, y))
            found["pixels with a gradient of exactly 0, adaptive"] = bootstrap(flat.numpy())
            found["largest step of the adaptive attack, grey levels"] = bootstrap(255 * _moved(adaptive, x))
            for way, value in found.items():
                rows[defence].setdefault(way, []).append(value)
    every = {defence: {way: extent(v) for way, v in ways.items()} for defence, ways in rows.items()}
    return Result(
        tuple(m for defence in rows for m in _hidden(defence, rows[defence], every[defence])),
        show={"pictures": x[:3], "accuracy": {k: _accuracies(v) for k, v in every.items()}, "every": every},
    )


def _parts(x: Tensor, y: Tensor, size: int = 50) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.split(size), y.split(size), strict=True))


def _moved(made: Tensor, images: Tensor) -> Any:
    return (made - images).abs().flatten(1).amax(1).numpy()


WAYS = ("no attack", "random sign", "FGSM", "another seed's examples", "the undefended network's examples")


def _accuracies(found: dict[str, Interval]) -> dict[str, Interval]:
    return {way: found[way] for way in (*WAYS, "adaptive")}


def _hidden(
    defence: str, seeds: dict[str, list[Interval]], every: dict[str, Interval]
) -> tuple[Measure, Measure]:
    """The two numbers of a defence: it seems to stand, and it does not."""
    beside = {way: every[way] for way in every if way.endswith(("FGSM", "of FGSM, grey levels"))}
    known = {way: every[way] for way in every if "adaptive attack" in way or way.endswith("0, adaptive")}
    return (
        Measure(
            f"accuracy under FGSM, {defence}", weakest(seeds["FGSM"]), ">= 0.7",
            control={"no attack": every["no attack"]} | {k: v for k, v in beside.items() if k != "FGSM"},
        ),
        Measure(
            f"accuracy under the adaptive attack, {defence}", weakest(seeds["adaptive"], True), "<= 0.2",
            control={way: every[way] for way in (WAYS[1], *WAYS[3:])} | known,
            must={"random sign": ">= 0.7"},
        ),
    )  # fmt: skip
