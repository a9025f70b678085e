"""Pages of lab 33: how many filters a concept needs, beside raw colour; what arithmetic finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.app.frames import Choice, frames_html
from labkit.app.sheets import Panel, Sheet, mosaic, sheets_html

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["arithmetic_html", "net2vec_html"]

FEW = (1, 2, 3, 5, 8, 12, 20, 40, 80, 160)
ASKED = (
    ("wheel", "car", "bus"), ("wheel", "fire engine", "tank"), ("window", "house", "car"),
    ("window", "bus", "sailboat"), ("head", "horse", "zebra"), ("head", "wolf", "cow"),
    ("leg", "cow", "horse"), ("leg", "sheepdog", "wolf"),
)  # fmt: skip
SHOWN = 4


def net2vec_html(model: str = "minivgg", concept: str = "window", few: Sequence[int] = FEW) -> str:
    """The masks of one concept by its strongest 1, 2, 3, ... filters, and the same by units on raw colour."""
    import torch

    from labkit.concepts.concept_pixels import Pixels, fit_weights, strongest, unit_ious
    from labkit.experiments.bench import Bench
    from labkit.experiments.blind_networks import Blind
    from labkit.experiments.net2vec_scenes import WORDS, Asked, asked, scenes
    from labkit.experiments.vector_demonstrations import dimmed
    from labkit.models.features import batches

    bench, number = Bench("class"), WORDS.index(concept)
    data = scenes(bench)

    def of_one(found: Asked) -> tuple[Pixels, Pixels]:
        halves = []
        for half in (found.train, found.held_out):
            rows = half.shown[:, number]
            on = (half.level[rows] >= found.at).to(torch.uint8)
            label = half.label[rows][..., number : number + 1]
            halves.append(Pixels(on, label, label.any(1)))
        return halves[0], halves[1]

    networks: dict[str, Any] = {
        "network": asked(bench.network(model), data),
        "raw colour": asked(Blind("colour", data.pictures), data),
    }
    rows = networks["network"].held_out.shown[:, number].nonzero()[:, 0]
    sizes = networks["network"].held_out.label[rows, :, number].sum(1)
    rows = rows[sizes.argsort(descending=True, stable=True)[:SHOWN]].sort().values
    pictures = next(batches(data.held_out.images[rows.numpy()]))
    kept = {int(k): n for n, k in enumerate(networks["network"].held_out.shown[:, number].nonzero()[:, 0])}
    masks: dict[str, dict[int, Tensor]] = {}
    ious: dict[str, dict[int, float]] = {}
    truth = torch.zeros(0)
    for name, found in networks.items():
        train, held = of_one(found)
        side = round(held.level.shape[1] ** 0.5)
        places = [kept[int(k)] for k in rows]
        truth = held.label[places, :, 0].view(-1, side, side)
        whole, single = fit_weights(train), int(unit_ious(train)[:, 0].argmax())
        masks[name], ious[name] = {}, {}
        for size in few:
            chosen = strongest(whole, size)
            weights = fit_weights(train, allowed=chosen, start=whole * chosen, epochs=15)
            if size == 1:
                weights = torch.zeros_like(whole).index_fill(1, torch.tensor([single]), 1.0)
            cut = train.best_cut(weights)
            ious[name][size] = float(held.ious(weights, cut)[0])
            sums = held.level[places].float() @ weights[0]
            masks[name][size] = (sums.sigmoid() > cut).view(-1, side, side)

    def cell(place: int) -> Sheet:
        size = few[place]
        here, beside = (ious[name][size] for name in networks)
        best, blind = (max(values.values()) for values in ious.values())
        count = "The best single filter" if size == 1 else f"The {size} strongest filters"
        says = (
            f"{count}: IoU {here:.2f} on scenes held out, of at most {best:.2f}. As many units on raw "
            f"colour: {beside:.2f}, of at most {blind:.2f}. More units help whatever they know."
        )
        seen = {name: mosaic(dimmed(pictures, masks[name][size]), 2, 2) for name in networks}
        panels = [
            Panel("truth", mosaic(dimmed(pictures, truth), 2, 2), f"four scenes, bright at each {concept}"),
            Panel(f"filters: {size}, IoU {here:.2f}", seen["network"],
                  f"bright where {size} filters say {concept}"),
            Panel(f"raw colour: {size}, IoU {beside:.2f}", seen["raw colour"],
                  f"bright where {size} units on raw colour say {concept}"),
        ]  # fmt: skip
        return Sheet("", says, panels)

    ticks = [f"F = {size}, IoU {ious['network'][size]:.2f}" for size in few]
    question = f"How many filters does it take to find a {concept}?"
    return frames_html(question, [], Choice("Filters", ticks), cell)


def arithmetic_html(model: str = "minivgg", asked_for: Sequence[tuple[str, str, str]] = ASKED) -> str:
    """Part of A - A + B: what is nearest to the sum, beside what is nearest to its first term alone."""
    import torch

    from labkit.concepts import analogy
    from labkit.experiments.bench import Bench
    from labkit.experiments.net2vec_scenes import ALL, ALL_NAMES, scenes, space_of, with_wholes
    from labkit.experiments.vector_demonstrations import dimmed
    from labkit.models.features import batches

    bench = Bench("class")
    data = scenes(bench)
    vectors = space_of(bench, bench.network(model), data)
    there = vectors.any(1)
    names = [name for name, kept in zip(ALL, there.tolist(), strict=True) if kept]
    vectors, maps = vectors[there], with_wholes(data.train)
    places = {name: (kind, k + 1) for kind, own in ALL_NAMES.items() for k, name in enumerate(own)}

    def example(name: str) -> Tensor:
        """The scene that shows most of a concept, dimmed elsewhere."""
        kind, code = places[name]
        most = int((maps[kind] == code).sum((1, 2)).argmax())
        picture = next(batches(data.train.images[most : most + 1]))
        return dimmed(picture, torch.from_numpy(maps[kind][most] == code)[None])[0]

    def sheet(part: str, a: str, b: str) -> Sheet:
        first, answer = f"{part} of {a}", f"{part} of {b}"
        terms = [names.index(name) for name in (first, a, b)]
        summed = [names[int(k)] for k in analogy(vectors, [terms[0], terms[2]], [terms[1]], count=5)]
        alone = [names[int(k)] for k in analogy(vectors, [terms[0]], count=7)]
        alone = [name for name in alone if name not in (a, b)][:5]

        def place(found: Sequence[str]) -> str:
            return f"number {found.index(answer) + 1}" if answer in found else "not among five"

        says = (
            f"Wanted: {answer}. Nearest to the sum: {', '.join(summed)} ({place(summed)}). Nearest to "
            f"{first} alone: {', '.join(alone)} ({place(alone)})."
        )
        asked = torch.stack([example(name) for name in (first, a, b, answer)])
        panels = [
            Panel(f"{first} - {a} + {b} = ?", mosaic(asked, 2, 2), f"{first}, {a}, {b}, and {answer}"),
            Panel("nearest to the sum", mosaic(torch.stack([example(n) for n in summed[:4]]), 2, 2),
                  ", ".join(summed[:4])),
            Panel("nearest to the first term", mosaic(torch.stack([example(n) for n in alone[:4]]), 2, 2),
                  ", ".join(alone[:4])),
        ]  # fmt: skip
        return Sheet(f"{part}: {a}, {b}", says, panels)

    known = [q for q in asked_for if {f"{q[0]} of {q[1]}", f"{q[0]} of {q[2]}", q[1], q[2]} <= set(names)]
    return sheets_html("Can one calculate with concepts?", [sheet(*q) for q in known], "Question")
