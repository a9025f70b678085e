"""The demo of a generator as a prior: a class's picture step by step, beside what needs no generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["PRIOR"]

TICKS = (0, 1, 3, 6, 10, 20, 40, 60)  # steps that are shown
TOP = 3  # answers below a picture
CRITIC, BESIDE = "minivgg", "minivgg-2"  # the network that trained the generator, and one that did not


class Film(NamedTuple):
    """Pictures (N, 3, h, w) of every class at each tick, and what the judge says of them (N, K)."""

    pictures: list[Any]
    heard: list[Any]


def _searched(model: Any, labels: Any, maker: Any, steps: int, **options: Any) -> list[Any]:
    """What the maker gave at each step of ``dgn_am``: at first, after one step, and so on to the last."""
    from labkit.visualization import dgn_am_result

    kept: list[Any] = []
    handle = maker.register_forward_hook(lambda module, given, made: kept.append(made.detach().clone()))
    try:
        found = dgn_am_result(model, labels, maker, steps=steps, **options)
    finally:
        handle.remove()
    # the first is asked for twice, as what was there before and as the first step's
    return [*kept[1 : steps + 1], found.images]


def _by_lot(model: Any, labels: Any, maker: Any, steps: int) -> list[Any]:
    """The same with random codes of any class: of those drawn so far the picture that the model likes best,
    at as many looks of the model as a search has had."""
    import torch

    from labkit.experiments.generator_prior import enlarged

    draws, films = torch.Generator().manual_seed(2), []
    with torch.no_grad():
        for label in labels.tolist():
            kinds = torch.randint(len(labels), (steps,), generator=draws)
            made = torch.cat([maker(part) for part in maker.codes(kinds, generator=draws).split(20)])
            liked = torch.cat([model(enlarged(part))[:, label] for part in made.split(20)])
            films.append([made[int(liked[: max(1, k)].argmax())] for k in range(steps + 1)])
    return [torch.stack(one) for one in zip(*films, strict=True)]


def _films(model: Any, judge: Any, ticks: tuple[int, ...]) -> dict[str, Film]:
    """By name: real pictures, free pixels, the search under a generator and an untrained one, by lot."""
    import torch
    from torch import nn

    from labkit.data import CLASSES, MiniBroden
    from labkit.experiments.generator_prior import bare, enlarged, halved
    from labkit.models import load_model
    from labkit.models.generator import Generator

    count, steps, maker = len(CLASSES), ticks[-1], load_model("generator")
    labels, world = torch.arange(count), MiniBroden(400, "test")
    firsts: dict[str, Any] = {}
    for scene in map(world.scene, range(len(world))):
        firsts.setdefault(scene.objects[0].kind, scene)
        if len(firsts) == count:
            break
    real = halved([bare(firsts[name]) for name in CLASSES])
    begun = maker.start_codes(count, generator=torch.Generator().manual_seed(1))  # type: ignore[operator]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        raw = Generator(count).eval()
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    free = {"start": (0.5 + 0.05 * noise).clamp(0, 1), "rate": 0.02, "code_weight": 0.0, "limits": (0.0, 1.0)}
    found = {
        "real": [real] * (steps + 1),
        "generator": _searched(model, labels, maker, steps, start=begun),
        "lot": _by_lot(model, labels, maker, steps),
        "free": _searched(model, labels, nn.Identity().eval(), steps, **free),
        "untrained": _searched(model, labels, raw, steps, start=begun),
    }

    def heard(pictures: Any) -> Any:
        with torch.inference_mode():
            return judge(enlarged(pictures).clamp(0, 1)).softmax(1)

    return {
        name: Film([film[k] for k in ticks], [heard(film[k]) for k in ticks]) for name, film in found.items()
    }


def _prior(model: str = CRITIC) -> str:
    """A class's picture under a generator, step by step, beside plain ascent and the best codes by lot."""
    import torch

    from labkit.app.demo_pictures import check_network
    from labkit.app.frames import Choice, frames_html
    from labkit.app.sheets import Panel, Sheet
    from labkit.data import CLASSES
    from labkit.experiments.generator_prior import JUDGE
    from labkit.models import load_model

    check_network(model)
    name = BESIDE if model == CRITIC else model  # what has trained the generator would like all it makes
    films = _films(load_model(name), load_model(JUDGE), TICKS)
    labels = torch.arange(len(CLASSES))

    def cell(kind: int, tick: int) -> Sheet:
        step = TICKS[tick]
        right = {way: int((film.heard[tick].argmax(1) == labels).sum()) for way, film in films.items()}
        tried = f"best of {step} codes" if step > 1 else "a code by lot"
        says = (
            f"After {step} steps up {name}'s score the judge, {JUDGE}, names the class of {right['free']} in "
            f"{len(CLASSES)} pictures by plain ascent, {right['generator']} with the generator, "
            f"{right['untrained']} with an untrained one, {right['lot']} of codes by lot; "
            f"{right['real']} real ones. Being named is not being realistic."
        )
        titles = {
            "real": "a real picture", "free": "plain ascent", "generator": "generator prior",
            "untrained": "untrained prior", "lot": tried,
        }  # fmt: skip
        panels = []
        for way, title in titles.items():
            shares = films[way].heard[tick][kind]
            bars = [(CLASSES[int(k)], float(shares[k])) for k in shares.argsort(descending=True)[:TOP]]
            words = f"{title}, for {CLASSES[kind]} at step {step}: the judge says {bars[0][0]}"
            panels.append(Panel(title, films[way].pictures[tick][kind], words, bars))
        return Sheet("", says, panels)

    start = [0, len(TICKS) - 1]
    steps = Choice("Step", [str(step) for step in TICKS])
    return frames_html(
        "Does a generator make a class's picture realistic?", [Choice("Class", CLASSES)], steps, cell, start
    )


PRIOR: dict[str, Callable[..., str]] = {"prior": _prior}
