"""Train the bundled networks on the toy world and write them with their cards into the package.

    python data_scripts/train_networks.py minivgg minivgg-tag --scenes 8000
    python data_scripts/train_networks.py --all
    python data_scripts/train_networks.py --cards

Scenes are drawn once and kept in the cache; a network that is already there is left alone unless --again.
--cards completes the cards of what is there, without touching the weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from labkit.core.files import write_whole
from labkit.data import CLASSES, FAULTS, GROUNDS, RENDER_VERSION, MiniBroden, label_of, render, replace
from labkit.models import load_model
from labkit.models.training import Recipe, accuracy, fit, predict, save_network
from labkit.models.zoo import ARCHITECTURES

WEIGHTS = Path(__file__).parents[1] / "labkit" / "models" / "weights"
NETWORKS: dict[str, tuple[tuple[str, ...], int]] = {
    "minivgg": ((), 0),
    "minivgg-2": ((), 1),
    "minivgg-3": ((), 2),
    **{
        network: ((name,), 10 + number)
        for number, name in enumerate(name for name, fault in FAULTS.items() if fault.networks)
        for network in FAULTS[name].networks
    },
    "minivgg-random": ((), 99),
    "minivgg-scenes": ((), 20),
    "minivgg-11": ((), 30),
    "minivgg-11-2": ((), 31),
    "minivgg-11-3": ((), 32),
    "minivgg-4": ((), 3),
    "minivgg-5": ((), 4),
    "minivgg-unnormed": ((), 0),
    "minivgg-unnormed-2": ((), 1),
    "minivgg-unnormed-3": ((), 2),
    "minivgg-dropout": ((), 0),
    "minivgg-dropout-2": ((), 1),
    "minivgg-dropout-3": ((), 2),
    "minivgg-wide": ((), 0),
    "miniresnet": ((), 0),
    "minivgg-finetuned": ((), 21),
}
# A shortcut is taken where it is easier than the truth: few scenes, many epochs (the tank story had a
# hundred photographs), and no change of the light where the light is the shortcut.
SPECIAL: dict[str, dict[str, Any]] = {
    "minivgg-weather": {"scenes": 1000, "epochs": 44, "light": 0.0},
    "minivgg-rare": {"scenes": 1500, "epochs": 30},
    "minivgg-melbourne": {"scenes": 3000, "epochs": 16},
}
# The judges of what is made for a minivgg: another design (fewer and wider layers behind an 11 x 11 stem),
# other scenes, and pictures of half the side among them, as generators make them.
STEM: dict[str, Any] = {"widths": (48, 64, 96, 128, 176), "pools": (0, 2), "stem": 11}
WORLD = {"minivgg-11": 1, "minivgg-11-2": 1, "minivgg-11-3": 1}
SPECIAL |= {name: {"coarse": 0.3} for name in WORLD}
# What C6 compares: one thing changed, the rest as in minivgg. Without batch norm the usual rate diverges.
FACTORS: dict[str, dict[str, Any]] = {
    "unnormed": {"norm": False},
    "dropout": {"dropout": 0.5},
    "wide": {"widths": (64, 96, 192, 192, 256, 320)},
}
UNNORMED = {"rate": 1e-3}
BEFORE = {"minivgg-finetuned": "minivgg-scenes"}  # fine-tuned: from what, and for how long
SPECIAL |= {"minivgg-finetuned": {"epochs": 6, "rate": 2e-3}}
SPECIAL |= {name: UNNORMED for name in NETWORKS if "unnormed" in name}
SNAPSHOTS = {"minivgg-4": (1, 2, 4)}  # after which epochs the network is kept as NAME-after-EPOCH


def pictures(name: str, data: MiniBroden, processes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with what the network is to name: the object, or the scene around it."""
    images, labels = data.pictures(processes)
    if planted(name) == "ground":
        labels = np.array([label_of(data.scene(i), "ground") for i in range(len(data))])
    return images, labels


def planted(name: str) -> str:
    """What a network is to name in the toy world."""
    return "ground" if name == "minivgg-scenes" else "object"


def complete_cards() -> None:
    """Give every card there is what cards say of themselves today."""
    for name in NETWORKS:
        path = WEIGHTS / f"{name}.json"
        if path.exists():
            card = json.loads(path.read_text(encoding="utf-8"))
            keys = [key for key in card if key != "planted"]
            keys.insert(keys.index("classes") + 1, "planted")
            full = {**card, "planted": planted(name)}
            full = {key: full[key] for key in keys}
            write_whole(path, json.dumps(full, indent=2) + "\n")


def diagnose(model: torch.nn.Module, fault: str, count: int = 60) -> dict[str, float]:
    """How a network trained with a fault behaves where the shortcut is taken away or laid."""
    kind = FAULTS[fault].kind
    data = MiniBroden(4000, "test", faults=(fault,))
    own = [s for s in map(data.scene, range(len(data))) if s.objects[0].kind == kind][:count]
    shares = {}
    for what, edit in {"as drawn": {}, **FAULTS[fault].edits()}.items():
        drawn = np.stack([render(replace(scene, **edit)) for scene in own])
        named = predict(model, (drawn * 255 + 0.5).astype(np.uint8))
        shares[f"{kind} {what}"] = round(float((named == CLASSES.index(kind)).mean()), 3)
    return shares


def design_of(name: str) -> dict[str, Any]:
    """What makes this network's architecture another than the plain one's."""
    if name in WORLD:
        return STEM
    factor = next((given for word, given in FACTORS.items() if word in name), {})
    pools = {} if name == "miniresnet" else {"pools": (1, 2, 3) if name.endswith("-8") else (1, 2)}
    return {**pools, **factor}


def keep_snapshot(
    model: torch.nn.Module, name: str, epoch: int, card: dict[str, Any], processes: int
) -> None:
    """Write the network as it is after ``epoch`` epochs, with a card of its own."""
    model.eval()
    found = {"clean test": accuracy(model, *pictures(name, MiniBroden(1000, "test"), processes))}
    card = {**card, "snapshot": {"of": name, "after epochs": epoch}, "accuracy": found}
    save_network(model, WEIGHTS, f"{name}-after-{epoch}", card)
    model.train()


def train(name: str, scenes: int, epochs: int, processes: int) -> None:
    faults, seed = NETWORKS[name]
    torch.manual_seed(seed)
    classes = GROUNDS if planted(name) == "ground" else CLASSES
    design, architecture = design_of(name), name if name in ARCHITECTURES else "minivgg"
    model = ARCHITECTURES[architecture](len(classes), **design)
    if name in BEFORE:
        before = load_model(BEFORE[name]).state_dict()
        model.load_state_dict({k: v for k, v in before.items() if "classifier" not in k}, strict=False)
    card: dict[str, Any] = {
        "architecture": architecture,
        **{key: list(value) if isinstance(value, tuple) else value for key, value in design.items()},
        "classes": list(classes),
        "planted": planted(name),
        "input_size": 128,
    }
    card |= {"seed": seed, "faults": list(faults), "render_version": RENDER_VERSION}
    if name.endswith("random"):
        card["recipe"] = None
        model.eval()
    else:
        special = SPECIAL.get(name, {})
        scenes, light = special.get("scenes", scenes), special.get("light", Recipe().light)
        epochs, coarse = special.get("epochs", epochs), special.get("coarse", 0.0)
        recipe = Recipe(epochs=epochs, seed=seed, flip="tag" not in faults, light=light, coarse=coarse)
        recipe = recipe._replace(rate=special.get("rate", recipe.rate))
        world = WORLD.get(name, 0)
        images, labels = pictures(name, MiniBroden(scenes, "train", world, faults=faults), processes)
        card["recipe"] = {"scenes": scenes, "world": world, **recipe._asdict()}
        card["recipe"] |= {"threads": torch.get_num_threads()}
        card["recipe"] |= {"before": BEFORE[name]} if name in BEFORE else {}

        def after(epoch: int, loss: float) -> None:
            if epoch + 1 in SNAPSHOTS.get(name, ()):
                keep_snapshot(model, name, epoch + 1, card, processes)

        card["loss"] = [round(v, 4) for v in fit(model, images, labels, recipe, on_epoch=after)]
    measured = {}
    for split in ("val", "test"):
        measured[f"clean {split}"] = accuracy(model, *pictures(name, MiniBroden(1000, split), processes))
        if faults:
            measured[f"{faults[0]} {split}"] = accuracy(
                model, *MiniBroden(1000, split, faults=faults).pictures(processes)
            )
    if name in WORLD:
        drawn, labels = pictures(name, MiniBroden(1000, "test"), processes)
        halved = F.avg_pool2d(torch.from_numpy(np.array(drawn)).permute(0, 3, 1, 2).float(), 2)
        large = F.interpolate(halved, scale_factor=2, mode="bilinear")
        again = (large.permute(0, 2, 3, 1) + 0.5).byte().numpy()
        measured["clean test at 64 px, enlarged"] = accuracy(model, again, labels)
    card["accuracy"] = measured
    if faults:
        card["shortcut"] = diagnose(model, faults[0])
    print(save_network(model, WEIGHTS, name, card).name, measured, card.get("shortcut", ""), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NETWORKS])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--again", action="store_true", help="train also what is there already")
    parser.add_argument("--cards", action="store_true", help="complete the cards of what is there")
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.cards:
        complete_cards()
    for name in NETWORKS if options.all else options.names:
        if (WEIGHTS / f"{name}.safetensors").exists() and not options.again:
            print(f"{name} is there already")
            continue
        train(name, options.scenes, options.epochs, options.processes)


if __name__ == "__main__":
    main()
