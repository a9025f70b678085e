"""Demos of texture: a piece made from Gram matrices, layer by layer, and one grown pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["TEXTURE"]

SHOWN = ("mosaic", "hatching", "scales", "weave")
SIDE, STEPS = 96, 6  # of what is made from Gram matrices
GROWN, WINDOWS, FRAMES = 48, (3, 9, 15), 8  # of what is grown
PICTURES = 3  # photographs on a page


class Made(NamedTuple):
    """What is told of one texture: panels that stay, pictures by layer, and the words below each of these."""

    first: list[Any]
    by_layer: list[Any]
    last: list[Any]
    says: list[str]


def _pieces(photos: Path | None, side: int) -> dict[str, list[Any]]:
    """Textures (1, 3, side, side) by name, each with other pieces of the same; photographs have none."""
    from labkit.app.demo_pictures import photographs
    from labkit.data import texture

    if photos is not None:
        images, names = photographs(side, photos, PICTURES)
        return {name: [image[None]] for name, image in zip(names, images, strict=True)}
    return {name: [texture(name, side, seed)[None] for seed in range(4)] for name in SHOWN}


def _made(
    name: str, pieces: list[Any], network: Any, random: Any, layers: dict[str, str], judge: Any
) -> Made:
    """The texture made with one layer, with two and so on, beside another piece, its colours, the twin."""
    import torch

    from labkit.app.sheets import Panel
    from labkit.exercises.texture import color_controls
    from labkit.experiments.textures_and_grams import OTHERS, colours_alone
    from labkit.style import gram_texture

    sample, others = pieces[0], pieces[1 : OTHERS + 1]
    names = list(layers.values())
    made = [gram_texture(network, sample, names[: k + 1], steps=STEPS) for k in range(len(names))]
    blind = gram_texture(random, sample, names, steps=STEPS)
    permuted = colours_alone(color_controls, sample)[0]
    unit = judge(torch.cat(others) if others else permuted, sample)
    asked = "another piece of it" if others else "its permuted pixels"
    away = {"the twin's": judge(blind, sample) / unit}
    if others:
        away["permuted pixels"] = judge(permuted, sample) / unit
    beside = ", ".join(f"{title} {value:.1f}" for title, value in away.items())
    upto = [f"up to {layer}" if k else layer for k, layer in enumerate(layers)]
    says = [
        f"{words[0].upper()}{words[1:]}: from the texture, Gram matrices are {judge(one, sample) / unit:.1f} "
        f"times as far as those of {asked}. Beside it: {beside}. "
        "Nearer in Gram matrices is no better picture."
        for words, one in zip(upto, made, strict=True)
    ]
    return Made(
        [Panel(name, sample[0], f"the texture, {name}")],
        [
            Panel(f"made {words}", one[0], f"a texture made {words}")
            for words, one in zip(upto, made, strict=True)
        ],
        [
            *(Panel("another piece", other[0], f"another piece of {name}") for other in others[:1]),
            Panel("untrained", blind[0], "the same with an untrained network"),
            Panel("pixels permuted", permuted[0], "the texture's pixels in another order"),
        ],
        says,
    )


def _texture(model: str = "minivgg", photos: Path | None = None) -> str:
    """A texture made anew from Gram matrices, layer by layer, beside another piece, the twin and colours."""
    from labkit.app.frames import Choice, frames_html
    from labkit.app.sheets import Sheet
    from labkit.evaluation import twin
    from labkit.exercises.texture import gram_loss, gram_matrix
    from labkit.experiments.bench import Bench
    from labkit.experiments.texture_demonstrations import samples
    from labkit.experiments.textures_and_grams import JUDGE, JUDGED, Ruler, untrained
    from labkit.models import bundled_models, load_model

    network, toy = load_model(model), model in bundled_models()
    layers = samples(Bench("quick"), network).layers
    found = _pieces(photos, SIDE)
    if toy:
        random, judge = untrained(model), Ruler(load_model(JUDGE), JUDGED, gram_matrix, gram_loss)
    else:
        import torch

        shown = torch.cat([piece[0] for piece in found.values()])
        random = twin(network, torch.cat([shown, shown.flip(3)]))
        judge = Ruler(network, list(layers.values()), gram_matrix, gram_loss)
    made = [_made(name, pieces, network, random, layers, judge) for name, pieces in found.items()]

    def cell(number: int, layer: int) -> Sheet:
        one = made[number]
        return Sheet("", one.says[layer], [*one.first, one.by_layer[layer], *one.last])

    return frames_html(
        "Which layers hold a texture?",
        [Choice("Texture", list(found))],
        Choice("Layers", list(layers)),
        cell,
        [0, len(layers) - 1],
    )


def _grow(model: str = "minivgg", photos: Path | None = None) -> str:
    """A texture grown pixel by pixel, no network needed: drag the film, choose the window, see copies."""
    import torch

    from labkit.app.frames import Choice, frames_html
    from labkit.app.sheets import Panel, Sheet
    from labkit.style import efros_leung_result

    found = {name: pieces[0] for name, pieces in _pieces(photos, GROWN).items()}
    films: dict[tuple[str, int], list[Any]] = {}
    every = -(-(GROWN * GROWN) // FRAMES)
    for name, sample in found.items():
        for window in WINDOWS:
            kept: list[Any] = []

            def keep(_: int, image: Any, kept: list[Any] = kept) -> None:
                kept.append(image)

            result = efros_leung_result(sample, side=GROWN, window=window, every=every, on_frame=keep)
            place = torch.cat([result.source / (GROWN - 1), torch.full((GROWN, GROWN, 1), 0.5)], 2)
            films[name, window] = [(image[0], place.movedim(2, 0), result.source) for image in kept]

    def cell(number: int, width: int, frame: int) -> Sheet:
        name, window = list(found)[number], WINDOWS[width]
        image, place, source = films[name, window][min(frame, len(films[name, window]) - 1)]
        filled = (image != 0).any(0)
        beside = (source[:, 1:] - source[:, :-1]) == torch.tensor([0, 1])
        pairs = filled[:, 1:] & filled[:, :-1]
        share = float(beside.all(2)[pairs].float().mean()) if pairs.any() else 0.0
        says = (
            f"Window {window}: {int(filled.sum())} pixels have grown. {share:.0%} of the neighbours in a row "
            "were neighbours in the sample: the more, the longer the pieces that are copied."
        )
        panels = [
            Panel(name, found[name][0], f"the sample, {name}"),
            Panel("grown from it", image, f"{int(filled.sum())} pixels grown with a window of {window}"),
            Panel("where each came from", torch.where(filled, place, torch.zeros(())),
                  "red grows with the row of the sample, green with its column"),
        ]  # fmt: skip
        return Sheet("", says, panels)

    ticks = [f"{round(100 * (k + 1) / FRAMES)} %" for k in range(FRAMES)]
    rows = [Choice("Texture", list(found)), Choice("Window", [f"{w} px" for w in WINDOWS])]
    last = [list(found).index("scales") if "scales" in found else 0, 1, FRAMES - 1]
    return frames_html("How does a texture grow without a network?", rows, Choice("Grown", ticks), cell, last)


TEXTURE: dict[str, Callable[..., str]] = {"grow": _grow, "texture": _texture}
