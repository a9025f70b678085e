"""Train networks without labels, and their supervised counterparts on the same pictures and steps.

    python data_scripts/train_selfsup.py

Two pretexts: by how many quarters a picture was turned (Gidaris et al. 2018), and which colour each place
of a grey picture has (Zhang et al. 2016, with the eleven basic colour terms for bins). Nothing is moved or
mirrored in training: it would turn the answers of both.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from train_networks import WEIGHTS

from labkit.data import CLASSES, RENDER_VERSION, MiniBroden
from labkit.data.surfaces import BASIC_COLORS, color_terms
from labkit.models.minivgg import MiniVGG
from labkit.models.training import Recipe, accuracy, fit, save_network

TURNS = ("upright", "a quarter to the left", "upside down", "a quarter to the right")
CELL = 8  # pixels of a picture to a place of the last map
PRETEXTS = {"selfsup-rotation": TURNS, "selfsup-colour": BASIC_COLORS, "supervised-short": CLASSES}


def turned(images: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each picture turned by quarters drawn at random, and by how many."""
    quarters = np.random.default_rng(seed).integers(len(TURNS), size=len(images))
    return np.stack([np.rot90(image, k) for image, k in zip(images, quarters, strict=True)]), quarters


def colours(images: np.ndarray) -> np.ndarray:
    """The commonest colour term of each place, (N, side / CELL, side / CELL)."""
    found = []
    for image in images:
        terms = color_terms(image.astype(np.float32) / 255) - 1
        side = len(terms) // CELL
        cells = terms.reshape(side, CELL, side, CELL).swapaxes(1, 2).reshape(side, side, -1)
        found.append(np.apply_along_axis(np.bincount, 2, cells, minlength=len(BASIC_COLORS)).argmax(2))
    return np.stack(found)


class AtEachPlace(nn.Module):
    """A network's answer at each place of its last map in place of their mean: logits (N, C, h, w)."""

    def __init__(self, inner: MiniVGG) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        inner = self.inner
        images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        maps = inner.features((images - inner.mean) / inner.std)
        return inner.classifier(maps.movedim(1, -1)).movedim(-1, 1)


def train(name: str, number: int, scenes: int, epochs: int) -> None:
    seed = 40 + number
    torch.manual_seed(seed)
    recipe = Recipe(epochs=epochs, seed=seed, flip=False, shift=0)
    model = MiniVGG(len(PRETEXTS[name]), grey=name == "selfsup-colour")
    net: nn.Module = AtEachPlace(model) if name == "selfsup-colour" else model
    (images, labels), (unseen, wanted) = MiniBroden(scenes).pictures(), MiniBroden(1000, "test").pictures()
    if name == "selfsup-rotation":
        (images, labels), (unseen, wanted) = turned(images, seed), turned(unseen, seed + 1)
    if name == "selfsup-colour":
        labels, wanted = colours(images), colours(unseen)
    loss = [round(v, 4) for v in fit(net, images, labels, recipe)]
    card: dict[str, Any] = {"architecture": "minivgg", "pools": [1, 2], "classes": list(PRETEXTS[name])}
    card |= {"grey": True} if name == "selfsup-colour" else {}
    card |= {"planted": {"selfsup-rotation": "rotation", "selfsup-colour": "colour"}.get(name, "object")}
    card |= {"input_size": 128, "seed": seed, "faults": [], "render_version": RENDER_VERSION}
    card |= {"recipe": {"scenes": scenes, "world": 0, **recipe._asdict(), "threads": 1}, "loss": loss}
    card["accuracy"] = {"clean test": round(accuracy(net, unseen, wanted), 4)}
    save_network(model, WEIGHTS, name + (f"-{number + 1}" if number else ""), card)
    print(name, number, card["accuracy"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for number in (0, 1):
        for name in PRETEXTS:
            if not (WEIGHTS / (name + (f"-{number + 1}" if number else "") + ".safetensors")).exists():
                train(name, number, options.scenes, options.epochs)


if __name__ == "__main__":
    main()
