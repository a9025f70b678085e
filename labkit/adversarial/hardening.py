"""Training on attacks: a defence that hides nothing, and its blind sibling, training on noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from labkit.adversarial.attacks import check_step
from labkit.core.checks import check_choice, check_positive
from labkit.core.door import seeded, weight_of
from labkit.core.progress import working
from labkit.models.training import Recipe, check_pairs

__all__ = ["SHOWN", "harden", "worsened"]

SHOWN = ("pgd", "fgsm", "noise")


def worsened(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    labels: Int[Tensor, " N"],
    shown: str = "pgd",
    *,
    epsilon: float = 4 / 255,
    steps: int = 3,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N C H W"]:
    """The pictures that a step of training sees in place of clean ones, each within ``epsilon`` of its own.

    ``shown``: "pgd" takes ``steps`` signed steps of 2.5 ``epsilon`` / ``steps`` from a random place of the
    ball, another for each picture; "fgsm" one of ``epsilon`` from the picture itself; "noise" is that random
    place and asks no gradient. Made quickly, in bfloat16 and by the model as it stands: to *test* a network,
    take ``labkit.adversarial.pgd``. Unit: picture value. Raises ValueError for another word.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> made = worsened(net, torch.full((2, 3, 2, 2), 0.5), torch.tensor([0, 1]), epsilon=0.1)
    >>> bool((made - 0.5).abs().max() <= 0.1 + 1e-6)
    True
    """
    check_choice("shown", shown, SHOWN)
    check_step("epsilon", epsilon)
    start = images
    if shown != "fgsm":
        noise = 2 * torch.rand(images.shape, generator=seeded(generator)) - 1
        start = (images + epsilon * noise.to(images)).clamp(0, 1)
    if shown == "noise":
        return start
    steps, step = (1, epsilon) if shown == "fgsm" else (steps, 2.5 * epsilon / steps)
    at = start
    for _ in range(steps):
        at = at.detach().requires_grad_(True)
        with torch.enable_grad(), torch.autocast(at.device.type, torch.bfloat16):
            loss = nn.functional.cross_entropy(model(at).float(), labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, at)
        moved = torch.minimum(torch.maximum(at + step * slope.sign(), images - epsilon), images + epsilon)
        at = moved.clamp(0, 1).detach()
    return at


def _turned(
    images: UInt8[np.ndarray, "N H W 3"], flip: bool, generator: torch.Generator
) -> Float[Tensor, "N 3 H W"]:
    batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    turned = torch.rand(len(batch), generator=generator) < (0.5 if flip else 0)
    batch[turned] = batch[turned].flip(3)
    return batch


def harden(
    model: nn.Module,
    images: UInt8[np.ndarray, "N H W 3"],
    labels: Int[np.ndarray, " N"],
    shown: str = "pgd",
    *,
    epsilon: float = 4 / 255,
    steps: int = 3,
    recipe: Recipe | None = None,
    on_update: Callable[[int, float], object] | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[float]:
    """Train a classifier on what attacks it at every moment; returns the mean loss of each epoch.

    The inner half of the problem is ``worsened`` (``shown``, ``epsilon`` and ``steps`` as there), asked of
    the network in eval mode; the outer is a step of AdamW with a one-cycle rate on the pictures it gave, and
    on nothing else. ``recipe``: its epochs, batch, rate, weight decay, smoothing, flip and seed are used,
    default 3 epochs of 32 at 2e-3. Changes ``model`` and leaves it in eval mode; start from a network that
    knows the clean pictures. ``on_update`` is told the number of each update and its loss. The same recipe,
    data and number of threads give the same network.
    Raises ValueError where pictures and labels do not go together, and for numbers out of range.

    Source: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", section 2;
    "fgsm": Goodfellow, Shlens and Szegedy 2015, section 6.

    >>> pictures = np.zeros((8, 4, 4, 3), np.uint8)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    >>> len(harden(net, pictures, np.array([0, 1] * 4), recipe=Recipe(epochs=2, batch=4)))
    2
    """
    recipe = recipe or Recipe(epochs=3, batch=32, rate=2e-3)
    check_choice("shown", shown, SHOWN)
    check_positive("epochs", recipe.epochs)
    check_positive("steps", steps)
    check_step("epsilon", epsilon)
    check_pairs(images, labels, recipe)
    own = torch.Generator().manual_seed(recipe.seed)
    wanted = torch.as_tensor(np.asarray(labels))
    updates = len(images) // recipe.batch
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.weight_decay)
    total = updates * recipe.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, max(total, 10), pct_start=0.2)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weight = weight_of(model, torch.zeros(()))
    history: list[float] = []
    bar = working("hardening", total, "update", progress=progress, should_stop=should_stop)
    with torch.random.fork_rng(devices=[]), bar as work:
        torch.manual_seed(recipe.seed)
        for epoch in range(recipe.epochs):
            order, losses = torch.randperm(len(images), generator=own).numpy(), []
            for update in range(updates):
                if work.stopped():
                    break
                rows = np.sort(order[update * recipe.batch : (update + 1) * recipe.batch])
                batch = _turned(images[rows], recipe.flip, own).to(weight)
                batch, told = (
                    batch.contiguous(memory_format=torch.channels_last),
                    wanted[rows].to(weight.device),
                )
                model.eval()
                batch = worsened(model, batch, told, shown, epsilon=epsilon, steps=steps, generator=own)
                model.train()
                with torch.autocast(weight.device.type, torch.bfloat16):
                    logits = model(batch)
                loss = criterion(logits.float(), told)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()))
                if on_update:
                    on_update(epoch * updates + update + 1, losses[-1])
                work.at(epoch * updates + update + 1)
            if losses:
                history.append(float(np.mean(losses)))
    model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return history
