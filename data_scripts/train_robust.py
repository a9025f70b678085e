"""Train networks on attacks and, for comparison, on noise of the same size: what D6 measures.

    python data_scripts/train_robust.py minivgg-robust

Each starts from a bundled network that knows the clean pictures, and takes the same number of updates with
the same recipe; only what it is shown differs. With no names all are trained that are not there yet.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from train_networks import WEIGHTS

from labkit.adversarial import pgd_result
from labkit.adversarial.hardening import harden
from labkit.data import CLASSES, RENDER_VERSION, MiniBroden
from labkit.models import load_model
from labkit.models.training import Recipe, accuracy, save_network

EPSILON, STEPS = 4 / 255, 3
NETWORKS = {  # name: (the network before, what is shown, seed)
    "minivgg-robust": ("minivgg", "pgd", 50),
    "minivgg-noise": ("minivgg", "noise", 50),
    "minivgg-fgsm": ("minivgg", "fgsm", 50),
    "minivgg-robust-2": ("minivgg-2", "pgd", 51),
    "minivgg-noise-2": ("minivgg-2", "noise", 51),
}


def robust_accuracy(model: torch.nn.Module, scenes: int = 100) -> float:
    """The share of the first test pictures still named rightly after PGD: 10 steps from one random start."""
    images, labels = MiniBroden(1000, "test").pictures()
    given = torch.from_numpy(images[:scenes].copy()).permute(0, 3, 1, 2).float() / 255
    wanted = torch.from_numpy(labels[:scenes].copy())
    found = pgd_result(model, given, wanted, epsilon=EPSILON, steps=10)
    return round(1 - float(found.fooled.float().mean()), 4)


def train(name: str, scenes: int, epochs: int) -> None:
    before, shown, seed = NETWORKS[name]
    torch.manual_seed(seed)
    recipe = Recipe(
        epochs=epochs, batch=32, rate=2e-3, shift=0, light=0.0, noise=0.0, seed=seed
    )  # what is shown is worsened, not varied
    model = load_model(before)
    images, labels = MiniBroden(8000).pictures()
    seen: list[float] = []

    def told(update: int, loss: float) -> None:
        seen.append(loss)
        if update % 25 == 0:
            print(name, update, round(sum(seen[-25:]) / 25, 3), flush=True)

    loss = harden(
        model, images[:scenes], labels[:scenes], shown, epsilon=EPSILON, steps=STEPS, recipe=recipe,
        on_update=told, progress=lambda share: None,
    )  # fmt: skip
    attack = {"shown": shown, "epsilon": "4/255"} | ({"steps": STEPS} if shown == "pgd" else {})
    card: dict[str, Any] = {"architecture": "minivgg", "pools": [1, 2], "classes": list(CLASSES)}
    card |= {"planted": "object", "input_size": 128, "seed": seed, "faults": []}
    card |= {"render_version": RENDER_VERSION}
    card["recipe"] = {
        "scenes": scenes,
        "world": 0,
        **recipe._asdict(),
        **attack,
        "before": before,
        "threads": 1,
    }
    card["loss"] = [round(v, 4) for v in loss]
    found = {f"clean {s}": accuracy(model, *MiniBroden(1000, s).pictures()) for s in ("val", "test")}
    card["accuracy"] = {**found, "100 test pictures, PGD of 10 steps at 4/255": robust_accuracy(model)}
    save_network(model, WEIGHTS, name, card)
    print(name, card["accuracy"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NETWORKS])
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names or NETWORKS:
        if not (WEIGHTS / f"{name}.safetensors").exists():
            train(name, options.scenes, options.epochs)


if __name__ == "__main__":
    main()
