"""Comparer: several attribution methods side by side on one picture, pixel by pixel and against the truth.

Each map is what ``method(model, image, target)`` returns with its default options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import nearest
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.methods import Methods, measured, sent
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale
from labkit.widgets.kit.worker import Stopped

__all__ = ["Comparer"]

START = ("saliency", "gradient_x_input", "smooth_grad", "integrated_gradients", "grad_cam", "occlusion")


class Comparer(PictureExplorer):
    """Compare attribution methods on one picture at a time: maps, the value at a pixel, seconds, the truth.

    ``methods``: names of ``labkit.attribution.METHODS`` (default: all of them, a handful chosen), or a dict
        name -> your own ``function(model, images, target)`` that returns (N, H, W) maps. A method that
        raises shows its sentence in its own panel. For other options pass a ``functools.partial``.
    ``labels``, ``names``: of each picture the true class and a caption.
    ``masks``: (N, H, W) bool, where the truth lies; then each map has its energy inside and its hit.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``chosen`` (names of the methods
    shown), ``pixel`` (the pinned [x, y], or []), ``one_scale``, ``over_picture``, ``truth`` (mark mask and
    peaks), and ``status``, ``error``, ``progress``, ``cancel``. Maps are in the unit of their method.

    Errors: ValueError for unknown methods and masks of another shape, IndexError for pictures and classes
    that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    >>> Comparer(net, torch.rand(2, 3, 32, 32), methods=["saliency"])
    Comparer(model=Sequential, pictures=2, methods=['saliency'])
    """

    _esm = module("comparer.js")
    ASKS = ("picture", "target", "chosen")
    PLACE = "pixel"

    chosen = T.List(T.Unicode()).tag(sync=True)
    pixel = T.List(T.Int()).tag(sync=True)
    one_scale = T.Bool(False).tag(sync=True)
    over_picture = T.Bool(False).tag(sync=True)
    methods: T.List = T.List(help="name, title and note of each method").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any,
        *,
        methods: Sequence[str] | Mapping[str, Callable[..., Tensor]] | None = None,
        **given: Any,
    ) -> None:
        self._methods = Methods.listed(methods)
        self._cost: dict[str, float] = {}  # seconds of the latest run
        chosen = [n for n in self._methods.functions if methods is not None or n in START]
        super().__init__(model, images, methods=self._methods.entries, **({"chosen": chosen} | given))
        self._begin()

    def _said(self) -> str:
        return f"methods={list(self._methods.functions)}"

    # -- what Python code asks
    @property
    def maps(self) -> dict[str, Float[Tensor, "H W"]]:
        """The maps on view by method, without those that still wait or raised."""
        answers = ((name, self._cache.get(self._key(name))) for name in self.chosen)
        found = {n: np.frombuffer(a["data"], np.float32) for n, a in answers if a and a["kind"] == "map"}
        return {name: torch.tensor(values).view(*self.size) for name, values in found.items()}

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """For each map on view: ``seconds``, and with masks ``energy``, ``area`` and ``hit`` (None where the
        picture has no truth, or nothing in the map is positive)."""
        answers = {name: self._cache.get(self._key(name)) or {} for name in self.maps}
        return {n: {k: a[k] for k in ("seconds", "energy", "area", "hit")} for n, a in answers.items()}

    def precompute(
        self,
        pictures: Sequence[int] | None = None,
        targets: Sequence[int] | None = None,
        methods: Sequence[str] | None = None,
    ) -> None:
        """Compute maps before returning, by default for the picture, the class and the methods on view.

        ``targets`` may hold -1, the class the network names. An exported page answers what was computed.
        """
        self.wait_idle(None)
        for picture in [self.picture] if pictures is None else pictures:
            for target in [self.target] if targets is None else targets:
                for name in self._legal_names(self.chosen if methods is None else methods):
                    self._answer(self._key(name, picture, target))

    # -- the answers: "map" of a method, or the "fault" that it raised
    def _key(self, name: str, picture: int | None = None, target: int | None = None) -> tuple:
        picture, target = self._named(picture, target)
        return ("map", picture, name, target)

    def _wanted(self) -> list[tuple]:
        """The quickest first; before a method was timed, those that need a single pass."""
        slow = {m["name"]: 1e9 + ("agnostic" in m["note"]) for m in self.methods}
        order = sorted(self.methods, key=lambda m: self._cost.get(m["name"], slow[m["name"]]))
        return [self._key(m["name"]) for m in order if m["name"] in self.chosen]

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        _, picture, name, target = key
        where = {"picture": picture, "method": name, "target": target}
        try:
            image = self._placed(self.images[picture])
            found, seconds = self._methods.run(name, self.model, image, target, stale, report)
        except Stopped:
            raise
        except Exception as error:  # it belongs to its own panel; the other methods go on
            if stale():
                raise Stopped from error
            return {"kind": "fault", "text": self._methods.fault(name, error), **where}
        self._cost[name] = seconds
        own = {"kind": "map", "seconds": seconds, **where}
        return own | sent(found) | measured(found, self._mask(picture))

    # -- legal values
    def _legal_names(self, names: Sequence[str]) -> list[str]:
        for name in names:
            if name not in self._methods.functions:
                close = ", ".join(repr(n) for n in nearest(name, self._methods.functions))
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
