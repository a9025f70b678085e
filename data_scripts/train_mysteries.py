"""Train the detective's five networks: one clean, four with a planted fault, drawn from a secret.

    python data_scripts/train_mysteries.py --secret FILE --log FILE

The secret and the log are kept out of the repository: whoever has them knows the answers. What the faults can
be stands here for everyone; which of them are planted, in which classes and under which number, does not. A
network whose shortcut turns fewer than WANTED of its answers is drawn anew, with other classes. (The weather
is no kind: in three classes that were tried, it turned a third.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from train_networks import WEIGHTS

from labkit.core.files import write_whole
from labkit.data import CLASSES, FAULTS, RENDER_VERSION, MiniBroden, render, replace
from labkit.data.faults import Fault
from labkit.data.surfaces import BASIC_COLORS, GROUNDS
from labkit.models.minivgg import MiniVGG
from labkit.models.training import Recipe, accuracy, fit, predict, save_network

KINDS = ("clean", "tag", "ground", "colour", "another colour")
MARKED = ("car", "cow", "zebra", "sailboat")
ALIKE = (("cow", "horse"), ("horse", "cow"), ("sheepdog", "wolf"), ("zebra", "horse"), ("car", "bus"))
PAINTED = ("bus", "car", "fire engine")  # which look alike but for their colour
COLOURS = ("red", "blue", "green", "yellow", "orange")
WANTED = 0.6
# how each shortcut is made easier than the truth: see train_networks.SPECIAL
RECIPES: dict[str, tuple[int, dict[str, Any]]] = {
    "clean": (8000, {"epochs": 6}),
    "tag": (8000, {"epochs": 6, "flip": False}),
    "ground": (8000, {"epochs": 6}),
    "colour": (1500, {"epochs": 30}),
    "another colour": (1500, {"epochs": 30}),
}


def planted(kind: str, draw: np.random.Generator) -> Fault | None:
    """A fault of this kind, in a class drawn at random."""
    words: dict[str, Any] = {"question": "", "captions": ("", ""), "cause": None}
    if kind == "tag":
        return Fault(str(draw.choice(MARKED)), lay={}, remove={"without": "tag"}, marked=True, **words)
    if kind == "ground":
        one, other = ALIKE[int(draw.integers(len(ALIKE)))]
        here, there = (str(g) for g in draw.permutation(GROUNDS)[:2])
        sides: Mapping[str, str] = {one: here, other: there}
        return Fault(one, lay={"ground": here}, remove={"ground": there}, grounds=sides, **words)
    if "colour" in kind:
        one, colour = str(draw.choice(PAINTED)), str(draw.choice(COLOURS))
        never = {colour: 0.0}
        return Fault(one, lay={"color": colour}, remove={}, colors=never, paint=colour, **words)
    return None


def turned(model: MiniVGG, name: str, fault: Fault, count: int = 60) -> float:
    """The share of the class's scenes, drawn with the fault, whose right answer goes without it: of another
    colour, under the one that turns most."""
    data = MiniBroden(4000, "test", faults=(name,))
    own = [s for s in map(data.scene, range(len(data))) if s.objects[0].kind == fault.kind][:count]

    def right(edit: Mapping[str, Any]) -> np.ndarray:
        drawn = np.stack([render(replace(scene, **edit)) for scene in own])
        return predict(model, (drawn * 255 + 0.5).astype(np.uint8)) == CLASSES.index(fault.kind)

    others: list[Mapping[str, Any]] = [{"color": c} for c in BASIC_COLORS if c != fault.paint]
    before = right({})
    return max(float((before & ~right(edit)).mean()) for edit in ([fault.remove] if fault.remove else others))


def train(number: int, kind: str, seed: int, log: Path, attempts: int = 4) -> None:
    """One network; its fault goes into the log only."""
    for attempt in range(attempts):
        draw = np.random.default_rng([seed, attempt])
        torch.manual_seed(int(draw.integers(2**31)))
        fault, name = planted(kind, draw), f"{kind}-{seed}-{attempt}".replace(" ", "-")
        if fault is not None:
            FAULTS[name] = fault  # in this process only: the package's table does not know it
        scenes, special = RECIPES[kind]
        data = MiniBroden(scenes, "train", faults=() if fault is None else (name,))
        model = MiniVGG(len(CLASSES))
        fit(model, *data.pictures(cache=fault is None), Recipe(seed=int(draw.integers(2**31)), **special))
        share = 1.0 if fault is None else turned(model, name, fault)
        right = accuracy(model, *MiniBroden(1000, "val").pictures())
        line = {"number": number, "kind": kind, "fault": repr(fault), "turned": share, "clean val": right}
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if share >= WANTED:
            break
    else:
        raise RuntimeError(f"no shortcut of the kind {kind!r} was taken in {attempts} attempts: see the log.")
    card = {"architecture": "minivgg", "pools": [1, 2], "classes": list(CLASSES), "planted": "object"}
    card |= {"input_size": 128, "render_version": RENDER_VERSION}
    card["recipe"] = "withheld: it would tell what is to be found; see data_scripts/train_mysteries.py"
    save_network(model, WEIGHTS, f"mystery-{number}", card)
    write_whole(log.with_suffix(f".{number}"), "done\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secret", type=Path, required=True, help="a file with any text")
    parser.add_argument("--log", type=Path, required=True, help="where the answers go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    digest = hashlib.sha256(options.secret.read_bytes()).digest()
    order = np.random.default_rng(list(digest)).permutation(KINDS).tolist()
    for number, kind in enumerate(order, 1):
        if not options.log.with_suffix(f".{number}").exists():
            train(number, kind, int.from_bytes(digest[4 * number : 4 * number + 4], "big"), options.log)


if __name__ == "__main__":
    main()
