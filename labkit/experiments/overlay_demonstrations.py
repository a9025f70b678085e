"""What lab 34 draws beside its claims: a gallery to overlay, a tree in words, fidelity over depth.

A function that takes a student's calls it on something tiny before it draws a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.concepts import distill_result
from labkit.data import CLASSES, MiniBroden, Scene, gather, sample_photos
from labkit.experiments.bench import Bench
from labkit.experiments.looking_without_a_hypothesis import CONV5, FOOLED, said, scenes, table
from labkit.models import layer_shapes, record

Own = Callable[..., Any]
KINDS = ("fire engine", "fire engine", "bus", "zebra")
PART = "wheel"  # at which an overlay begins
LEAST = 0.12  # share of the picture that an object fills


class Gallery(NamedTuple):
    """Pictures with their names, what a layer gives for them, and a pixel (x, y) of the first to begin at."""

    images: Float[Tensor, "N 3 H W"]
    names: list[str]
    layer: str
    maps: Float[Tensor, "N K h w"]
    pixel: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the layer's maps."""
        return int(self.maps.shape[2]), int(self.maps.shape[3])


def four_scenes() -> tuple[list[Scene], tuple[int, int]]:
    """Two fire engines, a bus and a zebra, each large, and a pixel of a wheel of the first."""
    world, kept = MiniBroden(400, "test"), dict[int, Any]()
    for kind in KINDS:
        for index in range(len(world)):
            if world.scene(index).objects[0].kind != kind or index in kept:
                continue
            item = world[index]
            if float((item["instance"] == 1).float().mean()) >= LEAST:
                kept[index] = item
                break
    first = next(iter(kept.values()))
    wheel = (first["part"] == MiniBroden.names["part"].index(PART)).nonzero().float()
    near = wheel[(wheel - wheel[0]).norm(dim=1).argsort()[: len(wheel) // 3]]
    row, column = near.mean(0).int().tolist()
    return [world.scene(index) for index in kept], (column, row)


def numbered(kinds: Sequence[str]) -> list[str]:
    """Names that differ: of a kind that comes twice with a number.

    >>> numbered(["bus", "car", "bus"])
    ['bus 1', 'car', 'bus 2']
    """
    return [
        f"{kind} {1 + list(kinds[:k]).count(kind)}" if list(kinds).count(kind) > 1 else kind
        for k, kind in enumerate(kinds)
    ]


def gallery(bench: Bench, model: nn.Module) -> Gallery:
    """Four scenes and the fifth convolution of the lab's network, or the guest's photographs with a late
    layer that gives a map."""
    if bench.guest is not None:
        photos = sample_photos(int(model.input_size))[:4]  # type: ignore[arg-type]
        images, names = torch.stack([photo.image for photo in photos]), [photo.name for photo in photos]
        shapes, classes = layer_shapes(model, images[:1]), len(model.classes)  # type: ignore[arg-type]
        maps = [n for n, s in shapes.items() if len(s) == 4 and 6 <= s[2] <= 64 and s[1] != classes]
        layer = maps[-1] if maps else next(n for n, s in shapes.items() if len(s) == 4)
        pixel = (images.shape[3] // 2, images.shape[2] // 2)
    else:
        found, pixel = four_scenes()
        images, names, layer = gather(found).images, numbered(KINDS), CONV5
    with torch.no_grad(), record(model, layer) as kept:
        model(images.clone())
    return Gallery(images, names, layer, kept[layer].detach(), pixel)


class Taught(NamedTuple):
    """A tree that was taught a network's answers: what it may ask, what it answers, its fidelity."""

    tree: Any
    questions: list[str]
    classes: list[str]
    fidelity: float

    @property
    def drawn(self) -> tuple[Any, list[str], list[str]]:
        """What ``labkit.plots.show_tree`` takes."""
        return self.tree, self.questions, self.classes


def tree(bench: Bench, *, concept_vector: Own, network: str = FOOLED[0], depth: int = 4) -> Taught:
    """A tree on the student's concepts, taught what a network answers on some hundred scenes."""
    concept_vector(torch.zeros(1, 2, 2).long(), 1)  # unwritten: say so at once
    seen = scenes(bench, 1200, lesson=600, few=80)
    given, heard = table(seen, concept_vector), said(bench, network, seen)
    found = distill_result(given.rows, heard, depth=depth)
    classes = [CLASSES[int(k)] for k in found.student.classes_]
    return Taught(found.student, given.names, classes, found.fidelity.value)


def ladder(found: Any, network: str = FOOLED[0]) -> dict[str, list[float]]:
    """The two curves of a network over ``c11``'s depths: fidelity where it is wrong."""
    taught, truth = zip(*found.show["curves"][network], strict=True)
    return {"taught its answers": list(taught), "taught the truth": list(truth)}
