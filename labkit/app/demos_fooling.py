"""Demos of a patch that fools wherever it lies, and of defences, two of which hide the gradient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.app.demo_pictures import chosen, of_the_toy_world

__all__ = ["FOOLING", "learned_patch"]

JUDGE, ROBUST = "minivgg-11", "minivgg-robust"
WANTED = "bus", "toaster"  # on scenes, on photographs
LEARNED, STEPS, SIDE, RATE = 120, 240, 48, 0.05  # scenes the patch is learned on; its search
SHOWN, COUNTED = 3, 6  # scenes on the page; counted
LEVELS, PGD_STEPS = (1, 2, 4, 8, 16), 5  # grey levels; steps at each of them
TRIED, SEEN = 16, 2  # pictures counted; on the page


def learned_patch(network: Any, pictures: Any, target: int) -> Any:
    """A patch for a class, learned with a bar the first time and kept in the kit's cache."""
    import numpy as np
    import torch

    from labkit.adversarial import adversarial_patch
    from labkit.data.cache import cache_folder, kept, writing

    weights = b"".join(p.detach().cpu().numpy().tobytes() for p in network.parameters())
    said = repr((tuple(pictures.shape), target, STEPS, SIDE, RATE)).encode()
    mark = hashlib.sha256(weights + pictures.cpu().numpy().tobytes() + said).hexdigest()[:20]
    path, shape = cache_folder() / f"patch-{mark}.npy", (3, SIDE, SIDE)
    found = kept(path, shape, np.float32)
    if found is None:
        made = adversarial_patch(
            network, pictures, target, side=SIDE, steps=STEPS, batch=8, rate=RATE, size=(0.25, 0.4)
        )
        with writing(path, shape, np.float32) as file:
            file[:] = made.cpu().numpy()
        return made.cpu()
    return torch.from_numpy(np.array(found))


def _scenes(target: int) -> tuple[Any, Any, Any]:
    """Pictures to learn on, scenes of other classes to look at, and a piece cut from one of the class."""
    from labkit.data import MiniBroden, gather

    world, test = MiniBroden(LEARNED, "train"), MiniBroden(200, "test")
    learned = gather(map(world.scene, range(LEARNED)))
    firsts: dict[str, Any] = {}
    for scene in map(test.scene, range(len(test))):
        firsts.setdefault(scene.objects[0].kind, scene)
    shown = gather(list(firsts.values()))
    others = [i for i, label in enumerate(shown.labels.tolist()) if label != target][:COUNTED]
    own = shown.labels.tolist().index(target)
    rows, columns = shown.masks[own].nonzero().T
    box = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
    cut = shown.images[own][:, box[0], box[1]]
    return learned.images[learned.labels != target], (shown.images[others], shown.labels[others]), cut


def _patch_attack(model: str = "minivgg", photos: Path | None = None) -> str:
    """Drag and turn a patch over scenes: does the network name one class wherever it lies?"""
    from labkit.app.demo_pictures import check_network, photographs
    from labkit.models import load_model
    from labkit.widgets import PatchExplorer

    network: Any = load_model(model)
    classes = [str(name) for name in network.classes]
    if of_the_toy_world(model, photos):
        check_network(model)
        target = classes.index(WANTED[0])
        pictures, (images, labels), cut = _scenes(target)
        given = {"labels": labels, "names": [f"scene {i + 1}" for i in range(len(images))], "cut": cut}
        given |= {
            "judge": load_model(JUDGE),
            "titles": (model, JUDGE),
            "places": 7,
            "turns": (-60, -30, 0, 30, 60),
        }
    else:
        target = classes.index(WANTED[1]) if WANTED[1] in classes else 0
        pictures, names = photographs(int(network.input_size), photos)
        images, given = pictures[:COUNTED], {"names": names[:COUNTED], "places": 5, "turns": (-45, 0, 45)}
    patch = learned_patch(network, pictures, target)
    explorer = PatchExplorer(network, images, patch, target, sides=(25, 35), **given)  # type: ignore[arg-type]
    explorer.precompute(range(min(SHOWN, len(images))))
    return explorer.to_html(title=f"Does a patch make it a {classes[target]}, wherever it lies?")


def _defend(model: str = "minivgg", photos: Path | None = None) -> str:
    """Drag epsilon: a network beside itself behind two defences, and one trained on attacks."""
    from labkit.adversarial import HotSoftmax, Quantized
    from labkit.models import bundled_models, load_model
    from labkit.widgets import EpsilonExplorer

    toy = of_the_toy_world(model, photos)
    if toy:
        images, labels = _several()
        names = [f"scene {i + 1}" for i in range(len(images))]
    else:
        show = chosen(model, TRIED, photos)
        images, labels, names = show.images, None, show.names
    plain = load_model(model)
    rounded = Quantized(plain, 8)
    nets = {
        "plain": plain,
        "8 levels": rounded,
        "8 levels, known": rounded.adaptive,
        "hot softmax": HotSoftmax(plain),
    }
    if toy and ROBUST in bundled_models():
        nets["trained on it"] = load_model(ROBUST)
    explorer = EpsilonExplorer(
        nets, images, labels=labels, names=names,
        epsilons=[level / 255 for level in LEVELS], steps=PGD_STEPS, way="pgd",
    )  # fmt: skip
    explorer.precompute(range(SEEN), ways=("fgsm", "pgd", "sign", "other", "lent"))
    question = "Does the defence hold, or does it hide the gradient?"
    return explorer.to_html(title=question, limit_mb=8 if toy else 12)


def _several() -> tuple[Any, Any]:
    """The first test scenes, with their labels."""
    from labkit.data import MiniBroden, gather

    world = MiniBroden(TRIED, "test")
    scenes = gather(map(world.scene, range(TRIED)))
    return scenes.images, scenes.labels


FOOLING: dict[str, Callable[..., str]] = {"defend": _defend, "patch-attack": _patch_attack}
