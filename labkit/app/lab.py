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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_positive
from labkit.data import MiniBroden, Scene, Scenes, gather, sample_photos
from labkit.models import load_model

__all__ = ["Lab", "Scenes", "claim", "start"]


@dataclass
class Lab:
    """A notebook's bench: the model, some pictures with their labels, and where to get more.

    ``planted`` tells whether the pictures are of the bundled world, so that their truth is known; ``names``
    are short captions; ``quick`` whether few scenes are to be taken.
    """

    name: str
    model: nn.Module
    images: Float[Tensor, "N 3 H W"]
    labels: Int[Tensor, "N"]  # noqa: F821
    names: list[str]
    planted: bool
    quick: bool

    @property
    def classes(self) -> list[str]:
        """The names of the model's classes."""
        return self.model.classes  # type: ignore[return-value]

    def count(self, n: int) -> int:
        """``n``, or a few in quick mode."""
        return min(n, 6) if self.quick else n

    def scenes(
        self,
        n: int,
        split: str = "test",
        *,
        faults: Iterable[str] = (),
        kind: str | None = None,
        not_kind: str | None = None,
        objects: int = 1,
    ) -> Scenes:
        """The first ``n`` scenes of a split (a few in quick mode), of one class or of all others.

        Raises ValueError for an unknown split, fault or class.
        """
        check_positive("n", n)
        data = MiniBroden(40 * n, split, faults=faults, objects=objects)
        wanted = []
        for index in range(len(data)):
            scene = data.scene(index)
            own = scene.objects[0].kind
            if (kind is None or own == kind) and own != not_kind:
                wanted.append(scene)
            if len(wanted) == self.count(n):
                return gather(wanted)
        raise ValueError(
            f"kind must be a class of the world, one of {MiniBroden.names['label']}; got {kind!r}."
        )

    def load(self, name: str) -> nn.Module:
        """A network by name (see ``labkit.models.load_model``)."""
        return load_model(name)

    def needs_truth(self) -> bool:
        """Whether the truth is planted; if not, say in a line that this cell is skipped."""
        if not self.planted:
            print("This cell needs the planted truth of the bundled world; on photographs it is skipped.")
        return self.planted


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


def _quick() -> bool:
    return os.environ.get("LABKIT_QUICK", "") not in ("", "0")


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
    quick = _quick()
    model_name = os.environ.get("LABKIT_MODEL") or "minivgg"
    model = load_model(model_name)
    planted = model_name.startswith("minivgg")
    if planted:
        data = MiniBroden(400, "test")
        seen: dict[str, Scene] = {}
        for index in range(len(data)):
            scene = data.scene(index)
            seen.setdefault(scene.objects[0].kind, scene)
        chosen = gather(list(seen.values())[:pictures])
        images, labels = chosen.images, chosen.labels
        names = [str(model.classes[int(k)]) for k in labels]  # type: ignore[index]
    else:
        photos = sample_photos(int(model.input_size))[:pictures]  # type: ignore[arg-type]
        images = torch.stack([photo.image for photo in photos])
        with torch.inference_mode():
            said = model(images).argmax(1).clone()
        known = [int(s) if p.label is None else p.label for p, s in zip(photos, said, strict=True)]
        labels, names = torch.tensor(known), [photo.name for photo in photos]
    truth = "the truth is planted" if planted else "photographs, no planted truth"
    print(f"{name}: {model_name}, {len(images)} pictures ({truth}){', quick mode' if quick else ''}")
    return Lab(name, model, images, labels, names, planted, quick)


def claim(
    id: str,
    value: float,
    interval: tuple[float, float],
    *,
    threshold: str,
    holds: bool,
    what: str,
    unit: str = "",
    uses: Iterable[str] = (),
) -> None:
    """Say what was measured for a claim of the lectures, and record it where ``LABKIT_CLAIMS`` names a file.

    ``threshold`` is what was to be reached, fixed before the first run, in words (">= 2"); ``what`` names the
    quantity. ``uses`` holds the ids of the exercises whose functions, the student's own, the number rests
    on: where the last check of one of them is not passed, a line says so. One JSON object a line is appended
    to the file. Raises TypeError if ``uses`` is a string, KeyError for an id that no exercise has.
    """
    from labkit.exercises import find

    if isinstance(uses, str):
        raise TypeError(f"uses must be a sequence of exercises' ids; got a string. Write uses=({uses!r},).")
    own = {find(id).id for id in uses}
    low, high = (0.0 if abs(v) < 1e-9 else float(v) for v in interval)
    verdict = "not judged (quick mode)" if _quick() else "holds" if holds else "does not hold"
    print(
        f"{id} {verdict}: {what} = {value:.3g} [{low:.3g}, {high:.3g}] {unit}".rstrip()
        + f", wanted {threshold}"
    )
    red = own & getattr(sys.modules.get("labkit.checking.check"), "RED", set())
    if red:
        print(f"   (measured with your own code, and a check is not passed: {', '.join(sorted(red))})")
    path = os.environ.get("LABKIT_CLAIMS")
    if path:
        record = {
            "id": id,
            "what": what,
            "value": round(float(value), 6),
            "interval": [round(low, 6), round(high, 6)],
        }
        record |= {"threshold": threshold, "holds": bool(holds), "unit": unit}
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
