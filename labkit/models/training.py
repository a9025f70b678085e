"""The one place that trains: a fit with fixed recipe and seed, its evaluation, and the card beside it."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from safetensors.torch import save
from torch import Tensor, nn
from tqdm.auto import tqdm

import labkit
from labkit.core.checks import check_positive
from labkit.core.door import weight_of
from labkit.core.files import write_whole
from labkit.core.hooks import borrow
from labkit.models.features import batches


class Recipe(NamedTuple):
    """What ``fit`` does. ``flip`` is switched off where the data set carries writing; ``coarse`` is the share
    of pictures that are shown at half their side, enlarged again, to a network that is to judge such ones."""

    epochs: int = 8
    batch: int = 64
    rate: float = 3e-3
    weight_decay: float = 0.02
    smoothing: float = 0.05
    flip: bool = True
    shift: int = 8
    light: float = 0.15
    noise: float = 0.015
    seed: int = 0
    coarse: float = 0.0


def _augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A random flip of each picture, one shift for all, other brightness and contrast, coarseness, noise."""
    n, _, height, width = images.shape
    if recipe.flip:
        turned = torch.rand(n, generator=generator) < 0.5
        images[turned] = images[turned].flip(3)
    if recipe.shift:
        dx, dy = (int(v) for v in torch.randint(-recipe.shift, recipe.shift + 1, (2,), generator=generator))
        padded = nn.functional.pad(images, (recipe.shift,) * 4, mode="reflect")
        images = padded[:, :, recipe.shift + dy :, recipe.shift + dx :][:, :, :height, :width]
    if recipe.light:
        gain, lift = (1 + recipe.light * (2 * torch.rand(2, n, 1, 1, 1, generator=generator) - 1)).unbind()
        images = (images - 0.5) * gain + 0.5 + (lift - 1) * 0.5
    if recipe.coarse:
        small = torch.rand(n, generator=generator) < recipe.coarse
        halved = nn.functional.avg_pool2d(images[small], 2)
        images[small] = nn.functional.interpolate(halved, size=(height, width), mode="bilinear")
    if recipe.noise:
        images = images + recipe.noise * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1)


def check_pairs(images: np.ndarray, labels: np.ndarray, recipe: Recipe) -> None:
    """Raise ValueError unless pictures and labels go together and fill a batch of the recipe.

    >>> check_pairs(np.zeros((4, 8, 8, 3)), np.zeros(4), Recipe(batch=4))
    """
    if len(images) != len(labels) or len(images) < recipe.batch:
        raise ValueError(
            f"images and labels must go together and fill a batch of {recipe.batch}; "
            f"got {len(images)} images and {len(labels)} labels. Lower the recipe's batch for tiny data."
        )


def fit(
    model: nn.Module,
    images: UInt8[np.ndarray, "N H W 3"],
    labels: Int[np.ndarray, " N"],
    recipe: Recipe | None = None,
    *,
    bar: bool = True,
    on_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a classifier and leave it in eval mode; returns the mean loss of each epoch.

    AdamW with a one-cycle rate and label smoothing, in bfloat16 autocast, on the model's device. The same
    recipe, data and number of threads give the same network, dropout included. The global random state is
    left as it was.
    Raises ValueError where pictures and labels do not go together.

    >>> pictures = np.zeros((8, 16, 16, 3), np.uint8)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    >>> len(fit(net, pictures, np.array([0, 1] * 4), Recipe(epochs=2, batch=4, shift=2)))
    2
    """
    recipe = recipe or Recipe()
    check_positive("epochs", recipe.epochs)
    check_pairs(images, labels, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    targets = torch.as_tensor(np.asarray(labels))
    steps = len(images) // recipe.batch
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.weight_decay)
    total = steps * recipe.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, max(total, 2), pct_start=0.2)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    model.train().to(memory_format=torch.channels_last)
    weight = weight_of(model, torch.zeros(()))
    history = []
    with (
        torch.random.fork_rng(devices=[]),
        tqdm(total=total, desc="training", unit="step", disable=not bar) as shown,
    ):
        torch.manual_seed(recipe.seed)
        for epoch in range(recipe.epochs):
            order, losses = torch.randperm(len(images), generator=generator), []
            for step in range(steps):
                rows = order[step * recipe.batch : (step + 1) * recipe.batch]
                batch = torch.from_numpy(np.ascontiguousarray(images[np.sort(rows.numpy())]))
                batch = _augment(batch.permute(0, 3, 1, 2).float() / 255, recipe, generator).to(weight)
                with torch.autocast(weight.device.type, torch.bfloat16):
                    logits = model(batch.contiguous(memory_format=torch.channels_last))
                loss = criterion(logits.float(), targets[rows.sort().values].to(logits.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()))
                shown.update()
            history.append(float(np.mean(losses)))
            shown.set_postfix(loss=f"{history[-1]:.3f}")
            if on_epoch:
                on_epoch(epoch, history[-1])
    model.eval().to(memory_format=torch.contiguous_format)
    return history


def predict(
    model: nn.Module, images: UInt8[np.ndarray, "N H W 3"], batch: int = 128
) -> Int[np.ndarray, " N"]:
    """The class of each picture. Errors as in ``labkit.models.borrow`` and ``labkit.models.features``."""
    with borrow(model), torch.no_grad():
        classes = [
            model(part.to(weight_of(model, part), copy=True)).argmax(1).cpu()
            for part in batches(images, batch)
        ]
    return torch.cat(classes).numpy()


def accuracy(model: nn.Module, images: UInt8[np.ndarray, "N H W 3"], labels: Int[np.ndarray, " N"]) -> float:
    """The share of pictures whose label the model names."""
    return float((predict(model, images) == np.asarray(labels)).mean())


def save_network(model: nn.Module, folder: Path, name: str, card: dict[str, Any]) -> Path:
    """Write ``name``.safetensors in half precision and its card ``name``.json, each complete or not at all.

    The card is completed by the number of parameters, the file's sha256, the kit's version and the date.
    """
    halves = {
        key: value.detach().half().contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in model.state_dict().items()
    }
    data = save(halves)
    full = {
        "name": name,
        **card,
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": hashlib.sha256(data).hexdigest(),
        "labkit": labkit.__version__,
        "date": datetime.date.today().isoformat(),
    }
    write_whole(folder / f"{name}.json", json.dumps(full, indent=2) + "\n")
    return write_whole(folder / f"{name}.safetensors", data)
