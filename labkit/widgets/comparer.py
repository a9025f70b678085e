"""Comparer: several attribution methods side by side on one picture, pixel by pixel and against the truth.

The widget holds no mathematics of the methods: each map is what ``method(model, image, target)`` returns with
its default options. What was computed is kept, sent to the page once, and goes along into an exported page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as T
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.checks import nearest
from labkit.widgets.base import Stopped, source
from labkit.widgets.keeping import KeepingExplorer
from labkit.widgets.maps import Mapper, listed

__all__ = ["Comparer"]

START = ("saliency", "gradient_x_input", "smooth_grad", "integrated_gradients", "grad_cam", "occlusion")


class Comparer(KeepingExplorer):
    """Compare attribution methods on one picture at a time: maps, the value at a pixel, seconds, the truth.

    Args:
        model: an eval-mode classifier of pictures in [0, 1] that returns logits.
        images: (N, 3, H, W) tensor, or a list of (3, H, W) tensors and paths of photographs.
        methods: names of ``labkit.attribution.METHODS`` (default: all of them, a handful chosen), or a dict
            name -> your own ``function(model, images, target)`` that returns (N, H, W) maps. A method that
            raises shows its sentence in its own panel. For other options pass a ``functools.partial``.
        labels: the true class of each picture (numbers or names).
        names: a caption for each picture.
        masks: (N, H, W) bool, where the truth lies; then each map has its energy inside and its hit.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``chosen`` (names of the methods
    shown), ``pixel`` (the pinned [x, y], or []), ``one_scale``, ``over_picture``, ``truth`` (mark mask and
    peaks), and ``status``, ``error``, ``progress``, ``cancel``. Maps are in the unit of their method.

    Errors: ValueError for unknown methods and masks of another shape, IndexError for pictures and classes
    that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    >>> Comparer(net, torch.rand(2, 3, 32, 32), methods=["saliency"])
    Comparer(model=Sequential, pictures=2, methods=['saliency'])
    """

    _esm = source("parts.js", "comparer.js")
    _css = source("shared.css", "comparer.css")
    _PLACE = "pixel"

    chosen = T.List(T.Unicode()).tag(sync=True)
    pixel = T.List(T.Int()).tag(sync=True)
    one_scale = T.Bool(False).tag(sync=True)
    over_picture = T.Bool(False).tag(sync=True)
    truth = T.Bool(False).tag(sync=True)
    methods: T.List = T.List(help="name, title and note of each method").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Tensor | Sequence[Tensor | str | Path],
        *,
        methods: Sequence[str] | Mapping[str, Callable[..., Tensor]] | None = None,
        labels: Sequence[Any] | Tensor | None = None,
        names: Sequence[str] | None = None,
        masks: Bool[Tensor, "N H W"] | None = None,
        **traits: Any,
    ) -> None:
        self._functions, entries = listed(methods)
        self._mapper = Mapper(model, self._functions, isinstance(methods, Mapping))
        chosen = [n for n in self._functions if methods is not None or n in START]
        super().__init__(
            model, images, masks=masks, labels=labels, names=names, methods=entries,
            **({"chosen": chosen, "truth": masks is not None} | traits),
        )  # fmt: skip
        self._ready = True
        self._request()

    def __repr__(self) -> str:
        model, names = type(self.model).__name__, list(self._functions)
        return f"Comparer(model={model}, pictures={len(self.captions)}, methods={names})"

    # -- what Python code asks
    @property
    def maps(self) -> dict[str, Float[Tensor, "H W"]]:
        """The maps on view by method, without those that still wait or raised."""
        answers = ((name, self._kept.get(self._key(name))) for name in self.chosen)
        found = {n: np.frombuffer(a["data"], np.float32) for n, a in answers if a and a["kind"] == "map"}
        return {name: torch.tensor(values).view(*self.size) for name, values in found.items()}

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """For each map on view: ``seconds``, and with masks ``energy``, ``area`` and ``hit`` (None where the
        picture has no truth, or nothing in the map is positive)."""
        names = ("seconds", "energy", "area", "hit")
        return {name: {k: self._kept[self._key(name)][k] for k in names} for name in self.maps}

    def precompute(
        self,
        pictures: Sequence[int] | None = None,
        targets: Sequence[int] | None = None,
        methods: Sequence[str] | None = None,
    ) -> None:
        """Compute maps before returning, by default for the picture, the class and the methods on view.

        ``targets`` may hold -1, the class the network names. An exported page answers what was computed.
        """
        self.wait_idle()
        for picture in [self.picture] if pictures is None else pictures:
            for target in [self.target] if targets is None else targets:
                for name in self._legal_names(self.chosen if methods is None else methods):
                    self._answer(self._key(name, picture, target), lambda: False)

    # -- the work, on the worker's thread
    def _key(self, name: str, picture: int | None = None, target: int | None = None) -> tuple:
        picture = self.picture if picture is None else picture
        target = self.target if target is None else target
        return ("map", picture, name, self._named(picture, target))

    def _work(self, stale: Callable[[], bool]) -> None:
        self._tell(error="")
        photo = self._photo(self.picture)
        place = {name: number for number, name in enumerate(self._functions)}
        order = sorted(self.chosen, key=lambda n: (self._mapper.cost.get(n, self._guess(n)), place[n]))
        keys = [self._key(name) for name in order]
        todo = [key for key in keys if key not in self._kept]
        for key in keys:
            if key in self._kept:
                self._offer(key)
        for done, key in enumerate(todo):

            def report(share: float, before: int = done) -> None:
                self._tell(progress=(before + share) / len(todo))

            self._tell(status="computing")
            report(0.0)
            self._answer(key, stale, report)
        self._tell(status="ready", progress=1.0)
        if self.watched:
            for picture in range(len(self.captions)):
                if stale():
                    raise Stopped
                self._photo(picture)
        self._tell(photo=photo, **({"delivery": self._kept[keys[0]]} if keys else {}))

    def _guess(self, name: str) -> float:
        """Before a method was timed: those that need a single pass come first."""
        return 1e9 + any(m["name"] == name and "agnostic" in m["note"] for m in self.methods)

    def _answer(
        self, key: tuple, stale: Callable[[], bool], report: Callable[[float], None] = lambda _: None
    ) -> None:
        """Make sure that a map, or the sentence of its method's error, is known and sent."""
        if stale():
            raise Stopped
        if key not in self._kept:
            _, picture, name, target = key
            where = {"picture": picture, "method": name, "target": target}
            image = self._placed(self.images[picture]).clone()  # a function may write into it
            answer = self._mapper.answer(name, image, target, self._mask(picture), stale, report)
            self._keep(key, answer | where)
        self._offer(key)

    # -- legal values
    def _legal_names(self, names: Sequence[str]) -> list[str]:
        for name in names:
            if name not in self._functions:
                close = ", ".join(repr(n) for n in nearest(name, self._functions))
                raise ValueError(f"chosen must hold names of .methods; got {name!r}. The nearest: {close}.")
        return list(names)

    @T.validate("chosen")
    def _legal_chosen(self, proposal: Any) -> list[str]:
        return self._legal_names(proposal["value"])

    @T.validate("pixel")
    def _legal_pixel(self, proposal: Any) -> list[int]:
        place, (height, width) = proposal["value"], self.size or (1, 1)
        if place and not (len(place) == 2 and 0 <= place[0] < width and 0 <= place[1] < height):
            raise ValueError(
                f"pixel must be [] or [x, y] with x below {width} and y below {height}; got {place}."
            )
        return place

    @T.observe("picture", "target", "chosen", "watched")
    def _asked(self, change: Any) -> None:
        if self._ready:
            if change["name"] == "watched":
                self._sent.clear()
            self._request()
