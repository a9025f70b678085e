"""The demo of attacks: a picture made other classes, by epsilon, beside steps that know nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Case", "attack_html"]

LEVELS = (1, 2, 4, 8)  # grey levels
STEPS, TOP, TIMES = 20, 3, 10.0
WANTED = ("bus", "zebra"), ("koala", "schooner")  # of scenes, of photographs
FIRST = "fire engine", "elephant"


class Case(NamedTuple):
    """A network, the picture that is attacked and another one, and the classes that are wanted."""

    network: Any
    image: Any
    other: Any
    name: str
    wanted: list[int]


def _case(network: Any, image: Any, other: Any, name: str, wanted: tuple[str, str]) -> Case:
    """The case with the classes of these names, or the likeliest others where the network has them not."""
    import torch

    classes = [str(one) for one in network.classes]
    with torch.inference_mode():
        order = network(image[None])[0].argsort(descending=True).tolist()
    chosen = [classes.index(one) for one in wanted if one in classes and classes.index(one) != order[0]]
    rest = [k for k in order[1:] if k not in chosen]
    return Case(network, image, other, name, (chosen + rest)[:2])


def attacked_case(model: str = "minivgg", photos: Path | None = None) -> Case:
    """A fire engine to become a bus and a zebra; of photographs an elephant, a koala and a schooner.

    Where there is no elephant among the photographs the first one is taken, where the network has not these
    classes the likeliest others.
    """
    import torch

    from labkit.app.demo_pictures import of_the_toy_world, photographs
    from labkit.experiments.bench import Bench, answers
    from labkit.models import load_model

    network: Any = load_model(model)
    if of_the_toy_world(model, photos):
        seen = Bench("quick").firsts(12)
        named = answers(network, seen.images) == seen.labels
        kinds = [str(network.classes[int(k)]) for k in seen.labels]
        order = sorted(range(len(kinds)), key=lambda i: (kinds[i] != FIRST[0], not named[i], i))
        pair = seen.images[order[:2]]
        return _case(network, pair[0], pair[1], kinds[order[0]], WANTED[0])
    images, names = photographs(int(network.input_size), photos)
    first = next((i for i, name in enumerate(names) if FIRST[1] in name.lower()), 0)
    second = (first + 1) % len(names)
    other = images[second] if second != first else torch.rand_like(images[first])
    return _case(network, images[first], other, names[first], WANTED[1])


def attack_html(model: str = "minivgg", photos: Path | None = None) -> str:
    """How small a step makes a picture another class, beside the same step of another picture and by lot?"""
    import torch

    from labkit.adversarial import fgsm_result, pgd
    from labkit.app.sheets import Panel, Sheet, mosaic, sheets_html
    from labkit.experiments.fooling_a_network import GREY, random_sign
    from labkit.plots import enlarged

    case = attacked_case(model, photos)
    network, both = case.network, torch.stack([case.image, case.other])
    short = [str(name).split(",")[0] for name in network.classes]

    def bars(image: Any) -> list[tuple[str, float]]:
        with torch.inference_mode():
            shares = network(image[None])[0].softmax(0)
        return [(short[int(k)], float(shares[k])) for k in shares.argsort(descending=True)[:TOP]]

    def panel(title: str, image: Any) -> Panel:
        found = bars(image)
        shown = torch.stack([enlarged(image - case.image, TIMES), image])
        words = f"{title}: above, ten times the step; below, the picture with it, named {found[0][0]}"
        return Panel(title, mosaic(shown, 1, 2), words, found)

    still = int((fgsm_result(network, both, 0).still == 1).sum())
    before = bars(case.image)[0]

    def sheet(level: float) -> Sheet:
        size = level * GREY
        made = [
            pgd(network, both, k, epsilon=size, steps=STEPS, targeted=True, random_start=False)
            for k in case.wanted
        ]
        lent = (case.image + (made[0][1] - case.other)).clamp(0, 1)
        panels = [panel(f"towards {short[k]}", one[0]) for k, one in zip(case.wanted, made, strict=True)]
        panels += [
            panel("another picture's step", lent),
            panel("a step by lot", random_sign(case.image[None], size)[0]),
        ]
        said = [f"{one.bars[0][0]} {one.bars[0][1]:.2f}" for one in panels]
        says = (
            f"Steps of {level:g} / 255 at most; above ten times the step, below the picture with it. "
            f"Attacked it is named {said[0]} and {said[1]}; by another picture's step {said[2]}, "
            f"by lot {said[3]}. The gradient is exactly zero for {still} of {len(both)} pictures."
        )
        return Sheet(f"{level:g} / 255", says, panels)

    question = f"How small a step makes this {before[0]} another class?"
    sheets = [sheet(level) for level in (0, *LEVELS)]
    turned = [all(one.bars[0][0] != before[0] for one in made.panels[:2]) for made in sheets]
    return sheets_html(question, sheets, "Epsilon", first=turned.index(True) if any(turned) else 0)
