"""Sanity explorer: let the network forget, layer by layer from the top, and watch which maps notice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.targets import as_logits
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.methods import Methods, measured, sent
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale, never
from labkit.widgets.kit.worker import Stopped

__all__ = ["SanityExplorer"]

START = ("saliency", "guided_backprop", "grad_cam", "gradient_x_input")


class SanityExplorer(PictureExplorer):
    """Randomize a network from its last layer down, and see each method's map beside what it was.

    A map that stays the same when the network has forgotten everything does not explain the network.
    Each depth is ``labkit.evaluation.randomized`` (fresh weights, batch statistics taken anew from all the
    pictures), the class asked about stays, and the likeness is Spearman's rank correlation of the maps'
    sizes and the SSIM, both with the map of the untouched network.

    ``methods``: names of ``labkit.attribution.METHODS``, or a dict name -> your own
        ``function(model, images, target)`` that returns (N, H, W) maps. A method that raises shows its
        sentence in its own panel.
    ``labels``, ``names``, ``masks``: of each picture the true class, a caption, and where the truth lies.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``depth`` (how many layers from the
    top are random, 0: none), ``absolute`` (compare the maps' sizes), ``layers`` (their names from the top
    down), and ``status``, ``error``, ``progress``, ``cancel``.

    Errors: ValueError for unknown methods and for a model without layers to randomize, IndexError for
    pictures, classes and depths that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 2)).eval()
    >>> SanityExplorer(net, torch.rand(2, 3, 8, 8), methods=["saliency"])
    SanityExplorer(model=Sequential, pictures=2, layers=['2', '0'])
    """

    _esm = module("sanity.js")

    depth = T.Int(0).tag(sync=True)
    absolute = T.Bool(True).tag(sync=True)
    layers = T.List(T.Unicode()).tag(sync=True)
    methods: T.List = T.List(help="name, title and note of each method").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any,
        *,
        methods: Sequence[str] | Mapping[str, Callable[..., Tensor]] = START,
        depth: int = 0,
        **given: Any,
    ) -> None:
        from labkit.evaluation import execution_order

        self._methods = Methods.listed(methods)
        self._twins: dict[int, torch.nn.Module] = {}
        super().__init__(model, images, methods=self._methods.entries, **given)
        self._pictures = torch.stack(self.images)  # whose statistics a forgetful network takes
        self.layers = execution_order(self.model, self._placed(self.images[0]))[::-1]
        if not self.layers:
            raise ValueError("model must have layers with weights that can be drawn anew; it has none.")
        self.depth = depth
        self._begin()

    def _said(self) -> str:
        return f"layers={list(self.layers)}"

    # -- what Python code asks
    @property
    def maps(self) -> dict[str, Float[Tensor, "H W"]]:
        """The maps on view by method, at the depth on view; without those that wait or raised."""
        found = (self._cache.get(self._key()) or {"maps": {}})["maps"]
        values = {n: np.frombuffer(m["data"], np.float32) for n, m in found.items() if "data" in m}
        return {name: torch.tensor(v).view(*self.size) for name, v in values.items()}

    @property
    def likeness(self) -> dict[str, dict[str, list[float | None]]]:
        """By method: "rank" (of sizes), "rank_signed" and "ssim" at each depth from 1 on; None where it
        is not known yet, or a map is constant."""
        answers = [self._cache.get(self._key(depth=d)) for d in range(1, len(self.layers) + 1)]
        return {
            name: {
                kind: [a["maps"].get(name, {}).get(kind) if a else None for a in answers]
                for kind in ("rank", "rank_signed", "ssim")
            }
            for name in self._methods.functions
        }

    def precompute(self, pictures: Sequence[int] | None = None, targets: Sequence[int] = (-1,)) -> None:
        """Compute every depth before returning, by default for the picture and class on view."""
        self.wait_idle(None)
        for picture in [self.picture] if pictures is None else pictures:
            for target in targets:
                for key in self._depths(picture, target):
                    self._answer(key)

    # -- the answers: at each depth the maps of all methods; those of the untouched network stay the freshest
    def _key(self, picture: int | None = None, target: int | None = None, depth: int | None = None) -> tuple:
        return ("depth", *self._named(picture, target), self.depth if depth is None else depth)

    def _depths(self, picture: int | None = None, target: int | None = None) -> list[tuple]:
        return [self._key(picture, target, depth) for depth in range(len(self.layers) + 1)]

    def _wanted(self) -> list[tuple]:
        return sorted(self._depths(), key=lambda key: key[-1] != self.depth)  # what is on view comes first

    def _answer(self, key: tuple, stale: Stale = never, report: Report = lambda share: None) -> None:
        if key[-1]:  # also where it is known: a page that leaves answers out must not leave out this one
            super()._answer((*key[:-1], 0), stale)
        super()._answer(key, stale, report)

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        from labkit.core.locks import lock_of

        kind, picture, target, depth = key
        whole = self._cache.get((*key[:-1], 0)) if depth else None
        maps, twin = {}, self._twin(depth)
        for done, name in enumerate(self._methods.functions):
            report(done / len(self._methods.functions))
            before = None if whole is None else whole["maps"][name].get("data")
            maps[name] = self._map(name, twin, picture, target, before, stale)
        with lock_of(twin), torch.no_grad():
            chances = as_logits(twin(self._placed(self.images[picture])).float())[0].softmax(0).cpu()
        best = int(chances.argmax())
        chance = {"p": float(chances[target]), "best": best, "best_p": float(chances[best])}
        return {"kind": kind, "picture": picture, "target": target, "depth": depth, "maps": maps} | chance

    def _twin(self, depth: int) -> torch.nn.Module:
        from labkit.evaluation import randomized

        if depth == 0:
            return self.model
        if depth not in self._twins:
            images = torch.cat([self._placed(image) for image in self._pictures])
            with torch.inference_mode(False):
                self._twins[depth] = randomized(self.model, list(self.layers[:depth]), images)
        return self._twins[depth]

    def _map(
        self, name: str, twin: torch.nn.Module, picture: int, target: int, before: bytes | None, stale: Stale
    ) -> Answer:
        """One map with its scale and its likeness to the trained network's, or the sentence of its error."""
        try:
            image = self._placed(self.images[picture])
            found, _ = self._methods.run(name, twin, image, target, stale)
        except Stopped:
            raise
        except Exception as error:  # it belongs to its own panel; the other methods go on
            if stale():
                raise Stopped from error
            return {"text": self._methods.fault(name, error)}
        answer = sent(found) | measured(found, self._mask(picture))
        return answer if before is None else answer | self._likeness(found, before)

    def _likeness(self, found: Float[Tensor, "1 H W"], before: bytes) -> dict[str, float | None]:
        from labkit.evaluation import rank_correlation, ssim

        first = torch.tensor(np.frombuffer(before, np.float32)).view(1, *self.size)
        values = {
            "rank": float(rank_correlation(first, found, absolute=True)),
            "rank_signed": float(rank_correlation(first, found)),
            "ssim": float(ssim(first.abs(), found.abs())),
        }
        return {kind: value if math.isfinite(value) else None for kind, value in values.items()}

    # -- legal values
    @T.validate("depth")
    def _legal_depth(self, proposal: Any) -> int:
        last, came = len(self.layers), proposal["value"]
        if self.layers and not 0 <= came <= last:
            raise IndexError(f"depth must be from 0 to {last}, the number of layers; got {came}.")
        return came
