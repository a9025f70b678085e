"""Demos of inverting and dreaming: a picture beside its inversions by layer, and dreams step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["DREAMS"]

PICTURES, INVERTED = 2, 100  # on a page; steps of an inversion
SIDE, OCTAVES, STEPS, RATE, EVERY = 320, 4, 8, 0.012, 4  # of dreams on photographs; every so many shown
TOY_SIDE, TOY_OCTAVES = 256, 3  # scenes are dreamt of at twice their size: finer, and fit for a projector
TV_WEIGHT = 1e-2
STEADY = "; its picture changes all the same, as every step has one size, whatever it gains"


def _pictures(network: Any, model: str, photos: Path | None, side: int) -> tuple[Any, list[str]]:
    """Scenes of the toy world, an engine and a zebra, or the first photographs of a folder."""
    from labkit.app.demo_pictures import of_the_toy_world, photographs

    if of_the_toy_world(model, photos):
        from labkit.data import MiniBroden, gather

        world = MiniBroden(200, "test")
        found: dict[str, Any] = {}
        for scene in map(world.scene, range(len(world))):
            found.setdefault(scene.objects[0].kind, scene)
        names = ["fire engine", "zebra"]
        return gather([found[name] for name in names]).images, names
    return photographs(side, photos, PICTURES)


def _invert(model: str = "minivgg", photos: Path | None = None) -> str:
    """A picture, and what four to six layers keep of it; beside them what the untrained twin keeps."""
    import torch

    from labkit.app.frames import Choice, frames_html
    from labkit.app.sheets import Panel, Sheet
    from labkit.evaluation import twin
    from labkit.experiments.inversion_demonstrations import layers_of
    from labkit.experiments.inverting_and_dreaming import correlation_of, others_of_the_world
    from labkit.models import load_model, record
    from labkit.models.minivgg import MiniVGG
    from labkit.style import invert_result

    network = load_model(model)
    side = int(network.input_size)  # type: ignore[arg-type]
    pictures, names = _pictures(network, model, photos, side)
    layers = layers_of(network, pictures)
    toy = isinstance(network, MiniVGG)
    random = twin(network, others_of_the_world() if toy else torch.cat([pictures, pictures.flip(3)]))
    found: dict[tuple[str, str], Any] = {}
    for layer, place in layers.items():
        for kind, net in (("trained", network), ("untrained", random)):
            with torch.no_grad(), record(net, place) as kept:
                net(pictures.clone())
            made = invert_result(
                net, place, kept[place].clone(), side=tuple(pictures.shape[2:]), steps=INVERTED,
                tv_weight=TV_WEIGHT,
            )  # fmt: skip
            found[layer, kind] = made, correlation_of(made.images, pictures)

    def cell(picture: int, layer: int) -> Sheet:
        name = list(layers)[layer]
        own, alike = found[name, "trained"]
        blind, beside = found[name, "untrained"]
        says = (
            f"{name}: correlation with the picture {float(alike[picture]):.2f}, feature error "
            f"{float(own.error[picture]):.3f}. The untrained twin: {float(beside[picture]):.2f}, "
            f"{float(blind.error[picture]):.3f}. What the twin loses as well, the design loses."
        )
        panels = [
            Panel(names[picture], pictures[picture], f"the picture, {names[picture]}"),
            Panel("what the layer keeps", own.images[picture], f"a picture with the same features at {name}"),
            Panel("the same, untrained", blind.images[picture], f"the same of the untrained network, {name}"),
        ]
        return Sheet(name, says, panels)

    return frames_html(
        "What does a layer keep of a picture?",
        [Choice("Picture", names)],
        Choice("Layer", list(layers)),
        cell,
    )


def _dream(model: str = "minivgg", photos: Path | None = None) -> str:
    """Scrub through a dream: a picture changed until a layer answers more, beside the untrained twin's."""
    import torch
    import torch.nn.functional as F

    from labkit.app.frames import Choice, frames_html
    from labkit.app.sheets import Panel, Sheet
    from labkit.evaluation import twin
    from labkit.experiments.inversion_demonstrations import layers_of
    from labkit.experiments.inverting_and_dreaming import others_of_the_world
    from labkit.models import load_model
    from labkit.models.minivgg import MiniVGG
    from labkit.style import deepdream_result
    from labkit.style.dreaming import layer_norm

    network = load_model(model)
    toy = isinstance(network, MiniVGG) and photos is None
    pictures, names = _pictures(network, model, photos, SIDE)
    if toy:
        pictures = F.interpolate(pictures, TOY_SIDE, mode="bicubic").clamp(0, 1)
    layers = dict(list(layers_of(network, pictures).items())[1:])
    shown = torch.cat([pictures, pictures.flip(3)])
    random = twin(network, others_of_the_world() if isinstance(network, MiniVGG) else shown)
    octaves, steps = TOY_OCTAVES if toy else OCTAVES, STEPS
    ticks = [
        "the picture",
        *(f"octave {k // steps + 1}, step {k % steps + 1}" for k in _told(octaves, steps)),
    ]
    frames: dict[tuple[str, str], list[Any]] = {}
    grown: dict[tuple[str, str], list[Any]] = {}
    for layer, place in layers.items():
        for kind, net in (("trained", network), ("untrained", random)):
            kept = [pictures]

            def keep(step: int, images: Any, kept: list[Any] = kept) -> None:
                if step - 1 in _told(octaves, steps):
                    whole = F.interpolate(images, pictures.shape[2:], mode="bilinear", align_corners=False)
                    kept.append(whole.clamp(0, 1))

            deepdream_result(net, pictures, place, octaves=octaves, steps=steps, rate=RATE, on_frame=keep)
            frames[layer, kind] = kept
            with torch.no_grad():
                lengths = [layer_norm(net, images, place).sqrt() for images in kept]
            grown[layer, kind] = [length / lengths[0] for length in lengths]

    def cell(picture: int, layer: int, step: int) -> Sheet:
        name = list(layers)[layer]
        own, blind = (float(grown[name, kind][step][picture]) for kind in ("trained", "untrained"))
        says = (
            f"The length of {name}'s answer is {own:.1f} times that to the picture itself. The same network "
            f"with random weights, by the same rule: {blind:.1f} times{STEADY if step else ''}."
        )
        panels = [
            Panel(names[picture], pictures[picture], f"the picture, {names[picture]}"),
            Panel("its dream", frames[name, "trained"][step][picture], f"a dream of {name}"),
            Panel(
                "the twin's dream",
                frames[name, "untrained"][step][picture],
                f"a dream of {name} with random weights",
            ),
        ]
        return Sheet(name, says, panels)

    rows = [Choice("Picture", names), Choice("Layer", list(layers))]
    last = [0, len(layers) - 1, len(ticks) - 1]
    return frames_html("What makes a layer answer more?", rows, Choice("Step", ticks), cell, last)


def _told(octaves: int, steps: int) -> list[int]:
    """The steps whose frames are kept: every few of each octave, and its last."""
    return [k for k in range(octaves * steps) if k % steps % EVERY == EVERY - 1 or k % steps == steps - 1]


DREAMS: dict[str, Callable[..., str]] = {"dream": _dream, "invert": _invert}
