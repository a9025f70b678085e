"""What a layer looks for, lab 51: dreams beside other changes of the same size (S2)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.progress import working
from labkit.core.statistics import Interval, bootstrap
from labkit.data import CLASSES, MiniBroden
from labkit.evaluation import equal_norm_noise, of_another, twin
from labkit.experiments.bench import Bench, experiment, extent
from labkit.experiments.inverting_and_dreaming import LAB, LAYERS, Own, features_of, others_of_the_world
from labkit.experiments.measures import Measure, Result
from labkit.experiments.synthesis_judge import named
from labkit.models import borrow
from labkit.models.features import batches
from labkit.optimize import shift

DREAMT = ("conv4", "conv6")
SIDES = ((65, 65), (91, 91), (128, 128))  # of the octaves, each 1.4 times the one before
STEPS, RATE, JITTER = 10, 0.03, 8
CONTROLS = ("white noise", "smooth noise", "another picture's dream", "plain contrast", "twin's dream")


def equal_change(
    images: Float[Tensor, "N C H W"], change: Float[Tensor, "N C H W"], size: Float[Tensor, " N"]
) -> Float[Tensor, "N C H W"]:
    """Pictures changed along ``change`` until, clamped to 0 and 1, they differ by the length ``size``."""
    unit = change / change.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
    low, high = torch.zeros_like(size), 64 * size
    for _ in range(30):
        middle = (low + high) / 2
        made = (images + middle.view(-1, 1, 1, 1) * unit).clamp(0, 1)
        small = (made - images).flatten(1).norm(dim=1) < size
        low, high = torch.where(small, middle, low), torch.where(small, high, middle)
    return made


def dreamt(
    model: nn.Module, layer: str, pictures: Float[Tensor, "N 3 H W"], steps: int, *, dream_step: Own,
    octaves: Own, sides: tuple[tuple[int, int], ...] = SIDES,
) -> Float[Tensor, "N 3 H W"]:  # fmt: skip
    """Dreams of a layer by one's own functions; before each step the pictures are moved by some pixels."""
    draw = torch.Generator().manual_seed(0)
    parts = []
    with borrow(model, frozen=True):
        seen_by = features_of(model, layer)

        def step(images: Tensor) -> Tensor:
            return dream_step(lambda x: seen_by(shift(x, JITTER, draw)), images, RATE)

        groups = pictures.split(20)
        with working("dreaming", len(groups), "batch") as work:
            for part in groups:
                parts.append(octaves(step, part, sides, steps))
                work.at(len(parts))
    return torch.cat(parts)


def length_of(model: nn.Module, layer: str, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
    """The length of what a layer gives for each picture."""
    seen_by = features_of(model, layer)
    with torch.no_grad():
        return torch.cat([seen_by(part).flatten(1).norm(dim=1) for part in images.split(50)])


def _gradient_error(model: nn.Module, layer: str, pictures: Tensor, dream_step: Own) -> float:
    """How far a step is from one along the slope of half the layer's squared length, over its size."""
    with borrow(model, frozen=True):
        seen_by = features_of(model, layer)
        images = pictures.clone().requires_grad_()
        (slope,) = torch.autograd.grad((seen_by(images) ** 2).sum() / 2, images)
        size = slope.abs().mean((1, 2, 3), keepdim=True)
        wanted = (pictures + RATE * slope / size).clamp(0, 1)
        made = dream_step(seen_by, pictures, RATE)
    return float((made - wanted).abs().max() / (wanted - pictures).abs().max())


@experiment("S2", LAB, dream_step="style.dream_step", octaves="style.octaves")
def s2(bench: Bench, *, dream_step: Own, octaves: Own) -> Result:
    """Does a dream raise its layer more than any other change of the same size?"""
    own = {"dream_step": dream_step, "octaves": octaves}
    tiny = torch.linspace(0, 1, 96).view(2, 3, 4, 4)  # unwritten: say so at once
    octaves(lambda images: dream_step(lambda x: x, images, 0.1), tiny, [(4, 4)], 1)
    data = MiniBroden(bench.count(100, lesson=8, few=3), "test").pictures()
    pictures, labels = torch.cat(list(batches(data[0]))), torch.as_tensor(data[1])
    steps = bench.steps(STEPS, 1)
    names = bench.seeds if bench.mode == "full" else bench.seeds[:1]
    random = twin(bench.network(names[0]), others_of_the_world())
    ratios: dict[str, list[Interval]] = {name: [] for name in CONTROLS}
    errors, words, kept = [], list[str](), dict[str, Any]()
    for layer in DREAMT:
        blind = dreamt(random, LAYERS[layer], pictures, steps, **own)  # type: ignore[arg-type]
        for name in names:
            model = bench.network(name)
            errors.append(_gradient_error(model, LAYERS[layer], pictures[:4], dream_step))
            dream = dreamt(model, LAYERS[layer], pictures, steps, **own)  # type: ignore[arg-type]
            change = dream - pictures
            size = change.flatten(1).norm(dim=1)
            changes = {
                "white noise": equal_norm_noise(change, "white"),
                "smooth noise": equal_norm_noise(change, "smooth"),
                "another picture's dream": of_another(change),
                "plain contrast": pictures - pictures.mean((2, 3), keepdim=True),
                "twin's dream": blind - pictures,
            }
            made = {way: equal_change(pictures, changes[way], size) for way in CONTROLS}
            raised = length_of(model, LAYERS[layer], dream)
            for way, images in made.items():
                pairs = torch.stack([raised, length_of(model, LAYERS[layer], images)], 1).numpy()
                ratios[way].append(bootstrap(pairs, lambda rows: rows[:, 0].mean() / rows[:, 1].mean()))
            if name == names[0]:
                kept[layer] = {"dream": dream[:6], **{way: images[:6] for way, images in made.items()}}
                said = {way: named(images) for way, images in made.items()}
                words.append(_words(layer, named(pictures), named(dream), said, labels))
    least = min((each for found in ratios.values() for each in found), key=lambda one: one.value)
    low = min(one.low for found in ratios.values() for one in found)
    return Result(
        (
            Measure(
                "length of the layer, dream over its best control", least._replace(low=low),
                ">= 2 (lower bound)",
                control={f"dream over {way}": extent(found) for way, found in ratios.items()},
            ),
            Measure(
                "a step beside the slope of half the squared length, largest difference over the step",
                Interval(max(errors), min(errors), max(errors)), "<= 1e-5",
            ),
        ),
        notes=tuple(words),
        show={
            "pictures": pictures[:6], "dreams": kept,
            "ratios": {way: extent(found) for way, found in ratios.items()},
        },
    )  # fmt: skip


def _words(layer: str, pictures: Tensor, dreams: Tensor, said: dict[str, Tensor], labels: Tensor) -> str:
    """What the judge names in pictures, in dreams of a layer, and in controls."""
    before, after = (float((words == labels).float().mean()) for words in (pictures, dreams))
    beside = ", ".join(f"{way} {float((said[way] == labels).float().mean()):.2f}" for way in CONTROLS)
    most = int(dreams.bincount(minlength=len(CLASSES)).argmax())
    return (
        f"the judge names {before:.2f} of the pictures right, {after:.2f} of their dreams of {layer} "
        f"({beside}); what it says most often of a dream is {CLASSES[most]}, in "
        f"{float((dreams == most).float().mean()):.2f}"
    )
