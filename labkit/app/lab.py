"""What every notebook begins with: ``lab = start("21_which_pixels_matter")``.

The same notebook runs on the bundled network and world, where the truth is planted, and on any pretrained
network and photographs: ``LABKIT_MODEL=squeezenet1_1``, ``LABKIT_PHOTOS=folder``. ``LABKIT_QUICK=1`` takes
few scenes, so that a run shows that everything works in seconds; numbers then mean nothing.
"""

from __future__ import annotations

import json
import os
import random
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.app.claim_table import ClaimTable
from labkit.core.checks import check_choice
from labkit.core.progress import display_or_print, working
from labkit.data import MiniBroden, Scene, Scenes, gather, label_of, sample_photos
from labkit.experiments.bench import MODES, Bench, Result
from labkit.models import load_model

__all__ = ["Lab", "Scenes", "claim", "start"]


@dataclass
class Lab:
    """A notebook's bench: the model, some pictures with their labels, and where to get more.

    ``planted`` tells whether the network names the objects of the bundled world, so that the truth of its
    pictures is known; ``names`` are short captions; ``bench`` is what experiments take their scenes and
    networks from.
    """

    name: str
    model: nn.Module
    images: Float[Tensor, "N 3 H W"]
    labels: Int[Tensor, "N"]  # noqa: F821
    names: list[str]
    planted: bool
    bench: Bench
    predictions: dict[str, Any] = field(default_factory=dict)

    def predict(self, name: str, said: Any) -> None:
        """Keep what is expected under a name, before the cell that shows it: a number, a word, a sentence.

        ``...`` stands where nothing is written yet. A prediction may be changed until its outcome is there.
        """
        self.predictions[name] = said
        print("(write your prediction in place of the dots)" if said is ... else f"kept: {said}")

    def predicted(self, name: str) -> None:
        """Say what was predicted, above the outcome. Raises KeyError for a name never asked about."""
        if name not in self.predictions:
            raise KeyError(f"no prediction {name!r} was asked for; there are {sorted(self.predictions)}.")
        said = self.predictions[name]
        print(f"you predicted: {'nothing yet' if said is ... else said}")

    @property
    def classes(self) -> list[str]:
        """The names of the model's classes."""
        return self.model.classes  # type: ignore[return-value]

    @property
    def quick(self) -> bool:
        """Whether few scenes are to be taken."""
        return self.bench.quick

    def count(self, n: int) -> int:
        """``n``, or fewer in class and quick mode."""
        return self.bench.count(n)

    def scenes(self, n: int, split: str = "test", **chosen: Any) -> Scenes:
        """The first scenes of a split, as ``labkit.experiments.Bench.scenes`` takes them."""
        return self.bench.scenes(n, split, **chosen)

    def each(
        self, method: Callable[[Tensor, int], Tensor], pictures: Float[Tensor, "N 3 H W"], targets: Iterable
    ) -> Tensor:
        """``method(picture, target)`` of one picture (1, 3, H, W) after the other, with a bar."""
        maps = []
        with working("one picture after the other", len(pictures), "picture") as work:
            for x, target in zip(pictures, targets, strict=False):
                maps.append(method(x[None], int(target)))
                work.at(len(maps))
        return torch.cat(maps)

    def load(self, name: str) -> nn.Module:
        """A network by name (see ``labkit.models.load_model``)."""
        return load_model(name)

    def needs_truth(self) -> bool:
        """Whether the truth is planted; if not, say in a line that this cell is skipped."""
        if self.planted:
            return True
        if _planted(self.model) == "ground":
            print("This cell asks about objects; this network names the ground, so the cell is skipped.")
        else:
            print("This cell needs the planted truth of the bundled world; on photographs it is skipped.")
        return False


def _planted(model: nn.Module) -> str | None:
    """What a network names in the toy world, "object" or "ground", as its card says; None: photographs."""
    return getattr(model, "card", {}).get("planted")


def _grounds(count: int) -> Scenes:
    """The first test scene of each ground, and as there are few grounds, the first scenes that are left."""
    data = MiniBroden(max(100, count), "test")
    scenes = [data.scene(index) for index in range(len(data))]
    first: dict[str, Scene] = {}
    for scene in scenes:
        first.setdefault(scene.ground, scene)
    rest = (scene for scene in scenes if first[scene.ground] is not scene)
    return gather([*first.values(), *rest][:count])


def _show_figures() -> None:
    """Let a notebook show matplotlib figures that were made without pyplot."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.core.pylabtools import select_figure_formats
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        select_figure_formats(shell, {"png"})


def _find_labkit() -> None:
    """Let ``!labkit`` work in a cell: the PATH of a kernel often lacks the environment it runs in."""
    folder, places = sysconfig.get_path("scripts"), os.environ.get("PATH", "").split(os.pathsep)
    if folder not in places:
        os.environ["PATH"] = os.pathsep.join([folder, *places])


def mode() -> str:
    """The size of experiments that the environment asks for: "quick", "class" (the default) or "full".

    ``LABKIT_QUICK=1`` stays another way to say ``LABKIT_MODE=quick``. Raises ValueError for another word.
    """
    if os.environ.get("LABKIT_QUICK", "") not in ("", "0"):
        return "quick"
    chosen = os.environ.get("LABKIT_MODE") or "class"
    check_choice("LABKIT_MODE", chosen, MODES)
    return chosen


def start(name: str, pictures: int = 8) -> Lab:
    """Open a lab: fix the seeds, read the environment, load the model and ``pictures`` pictures.

    Environment: ``LABKIT_MODEL`` (default ``minivgg``), ``LABKIT_PHOTOS`` (folder), ``LABKIT_QUICK``. The
    labels of photographs whose class is not known are what the model says. Raises ValueError for an unknown
    model, FileNotFoundError for a folder without pictures.
    """
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    _show_figures()
    _find_labkit()
    bench = Bench(mode())
    model_name = os.environ.get("LABKIT_MODEL") or "minivgg"
    model = load_model(model_name)
    planted = _planted(model)
    if planted:
        chosen = bench.firsts(pictures) if planted == "object" else _grounds(pictures)
        images = chosen.images
        labels = torch.tensor([label_of(scene, planted) for scene in chosen.scenes])
        names = [str(model.classes[int(k)]) for k in labels]  # type: ignore[index]
    else:
        photos = sample_photos(int(model.input_size))[:pictures]  # type: ignore[arg-type]
        images = torch.stack([photo.image for photo in photos])
        with torch.inference_mode():
            said = model(images).argmax(1).clone()
        known = [int(s) if p.label is None else p.label for p, s in zip(photos, said, strict=True)]
        labels, names = torch.tensor(known), [photo.name for photo in photos]
    if planted != "object":
        bench.guest = (model, images)
    truth = {
        "object": "the truth is planted",
        "ground": "it names the ground, so that cells about objects are skipped",
        None: "photographs, no planted truth",
    }[planted]
    print(f"{name}: {model_name}, {len(images)} pictures ({truth}){', quick mode' if bench.quick else ''}")
    return Lab(name, model, images, labels, names, planted == "object", bench)


def claim(result: Result) -> None:
    """Say what an experiment found for a claim of the lectures: each number beside its control.

    Where the last check of an exercise that it rests on is not passed, a line says so. Where
    ``LABKIT_CLAIMS`` names a file, one JSON object a number is appended to it.
    """
    red = set(result.uses) & getattr(sys.modules.get("labkit.checking.check"), "RED", set())
    display_or_print(ClaimTable(result, mode(), sorted(red)))
    path = os.environ.get("LABKIT_CLAIMS")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            for measure in result.measures:
                record: dict[str, Any] = {"id": result.id, "what": measure.what, "value": list(measure.value)}
                record |= {"threshold": measure.threshold, "holds": measure.holds, "mode": mode()}
                file.write(json.dumps(record) + "\n")
