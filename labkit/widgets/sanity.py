"""SanityExplorer: let the network forget, layer by layer from the top, and watch which maps notice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.widgets.base import Stopped, explain_error, source
from labkit.widgets.keeping import KeepingExplorer
from labkit.widgets.maps import listed

__all__ = ["SanityExplorer"]

START = ("saliency", "guided_backprop", "grad_cam", "gradient_x_input")


class SanityExplorer(KeepingExplorer):
    """Randomize a network from its last layer down, and see each method's map beside what it was.

    A map that stays the same when the network has forgotten everything does not explain the network.
    Each depth is ``labkit.evaluation.randomized`` (fresh weights, batch statistics taken anew from all the
    pictures), the class asked about stays, and the likeness is Spearman's rank correlation of the maps'
    sizes and the SSIM, both with the map of the untouched network.

    Args:
        model: an eval-mode classifier of pictures in [0, 1] that returns logits.
        images: (N, 3, H, W) tensor, or a list of (3, H, W) tensors and paths of photographs.
        methods: names of ``labkit.attribution.METHODS``, or a dict name -> your own
            ``function(model, images, target)`` that returns (N, H, W) maps. A method that raises shows its
            sentence in its own panel.
        labels: the true class of each picture (numbers or names).
        names: a caption for each picture.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``depth`` (how many layers from the
    top are random, 0: none), ``absolute`` (compare the maps' sizes), ``layers`` (their names from the top
    down), and ``status``, ``error``, ``progress``, ``cancel``.

    Errors: ValueError for unknown methods and for a model without layers to randomize, IndexError for
    pictures, classes and depths that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 2)).eval()
    >>> SanityExplorer(net, torch.rand(2, 3, 8, 8), methods=["saliency"])
    SanityExplorer(model=Sequential, pictures=2, layers=['2', '0'])
    """

    _esm = source("parts.js", "sanity.js")
    _css = source("shared.css", "comparer.css", "mask.css")
    _PLACE = "place"

    place = T.List(T.Int()).tag(sync=True)
    depth = T.Int(0).tag(sync=True)
    absolute = T.Bool(True).tag(sync=True)
    layers = T.List(T.Unicode()).tag(sync=True)
    methods: T.List = T.List(help="name, title and note of each method").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Tensor | Sequence[Tensor | str | Path],
        *,
        methods: Sequence[str] | Mapping[str, Callable[..., Tensor]] = START,
        labels: Sequence[Any] | Tensor | None = None,
        names: Sequence[str] | None = None,
        **traits: Any,
    ) -> None:
        self._functions, entries = listed(methods)
        self._own = isinstance(methods, Mapping)
        self._twins: dict[int, torch.nn.Module] = {}
        depth = traits.pop("depth", 0)
        super().__init__(model, images, labels=labels, names=names, methods=entries, **traits)
        from labkit.evaluation import execution_order

        self._pictures = torch.stack(self.images)  # whose statistics a forgetful network takes
        self.layers = execution_order(self.model, self._placed(self.images[0]))[::-1]
        if not self.layers:
            raise ValueError("model must have layers with weights that can be drawn anew; it has none.")
        self.depth = depth
        self._ready = True
        self._request()

    def __repr__(self) -> str:
        model, layers = type(self.model).__name__, list(self.layers)
        return f"SanityExplorer(model={model}, pictures={len(self.captions)}, layers={layers})"

    # -- what Python code asks
    @property
    def maps(self) -> dict[str, Float[Tensor, "H W"]]:
        """The maps on view by method, at the depth on view; without those that wait or raised."""
        answer = self._kept.get(self._key())
        found = (answer or {"maps": {}})["maps"]
        values = {n: np.frombuffer(m["data"], np.float32) for n, m in found.items() if "data" in m}
        return {name: torch.tensor(v).view(*self.size) for name, v in values.items()}

    @property
    def likeness(self) -> dict[str, dict[str, list[float | None]]]:
        """By method: "rank" (of sizes), "rank_signed" and "ssim" at each depth from 1 on; None where it
        is not known yet, or a map is constant."""
        depths = range(1, len(self.layers) + 1)
        answers = [self._kept.get(self._key(depth=depth)) for depth in depths]
        return {
            name: {
                kind: [a["maps"].get(name, {}).get(kind) if a else None for a in answers]
                for kind in ("rank", "rank_signed", "ssim")
            }
            for name in self._functions
        }

    def precompute(self, pictures: Sequence[int] | None = None, targets: Sequence[int] = (-1,)) -> None:
        """Compute every depth before returning, by default for the picture and class on view."""
        self.wait_idle(None)
        for picture in [self.picture] if pictures is None else pictures:
            for target in targets:
                for depth in range(len(self.layers) + 1):
                    self._answer(self._key(picture, target, depth), lambda: False)

    # -- the work, on the worker's thread
    def _key(self, picture: int | None = None, target: int | None = None, depth: int | None = None) -> tuple:
        picture = self.picture if picture is None else picture
        target = self.target if target is None else target
        return ("depth", picture, self._named(picture, target), self.depth if depth is None else depth)

    def _work(self, stale: Callable[[], bool]) -> None:
        self._tell(error="", status="computing", progress=0.0)
        if self.watched:
            for picture in range(len(self.captions)):
                self._photo(picture)
        photo, count = self._photo(self.picture), len(self.layers) + 1
        order = [self.depth, *(d for d in range(count) if d != self.depth)]  # what is on view comes first
        for done, depth in enumerate(order):
            self._answer(self._key(depth=depth), stale)
            self._tell(progress=(done + 1) / count)
        self._tell(status="ready", progress=1.0, photo=photo, delivery=self._kept[self._key()])

    def _twin(self, depth: int) -> torch.nn.Module:
        from labkit.evaluation import randomized

        if depth == 0:
            return self.model
        if depth not in self._twins:
            images = torch.cat([self._placed(image) for image in self._pictures])
            with torch.inference_mode(False):
                self._twins[depth] = randomized(self.model, list(self.layers[:depth]), images)
        return self._twins[depth]

    def _answer(self, key: tuple, stale: Callable[[], bool]) -> None:
        """Make sure that the maps of a depth are known and sent, those of the untouched network before."""
        if stale():
            raise Stopped
        _, picture, target, depth = key
        whole = ("depth", picture, target, 0)
        if depth:  # also where it is known: a page that leaves answers out must not leave out this one
            self._answer(whole, stale)
        if key not in self._kept:
            maps = {
                name: self._map(name, picture, target, depth, self._kept.get(whole), stale)
                for name in self._functions
            }
            with torch.inference_mode():
                chances = self._twin(depth)(self._placed(self.images[picture]))[0].float().softmax(0).cpu()
            best = int(chances.argmax())
            said = {"p": float(chances[target]), "best": best, "best_p": float(chances[best])}
            where = {"kind": "depth", "picture": picture, "target": target, "depth": depth}
            self._keep(key, where | said | {"maps": maps})
        self._offer(key)

    def _map(
        self, name: str, picture: int, target: int, depth: int, whole: dict | None, stale: Callable[[], bool]
    ) -> dict[str, Any]:
        """One map with its scale and its likeness to the trained network's, or the sentence of its error."""
        from labkit.core.hooks import lock_of
        from labkit.plots import DIVERGING, scale_of

        if stale():
            raise Stopped
        try:
            with lock_of(self.model), torch.inference_mode(False), torch.enable_grad():
                image = self._placed(self.images[picture]).clone()
                found = self._functions[name](self._twin(depth), image, target).detach().float().cpu()
            if tuple(found.shape) != (1, *self.size) or not found.isfinite().all():
                raise ValueError(
                    f"{name} must return finite maps {(1, *self.size)}; got shape {tuple(found.shape)}."
                )
        except Exception as error:  # it belongs to its own panel; the other methods go on
            return {"text": explain_error(error, self._functions[name]) if self._own else f"{error}"}
        _, top, colours = scale_of(found)
        answer = {"dtype": "f4", "data": found.numpy().tobytes(), "top": top, "signed": colours == DIVERGING}
        before = None if whole is None else whole["maps"][name].get("data")
        return answer | (self._likeness(found, before) if before is not None else {})

    def _likeness(self, found: Float[Tensor, "1 H W"], before: bytes) -> dict[str, float | None]:
        from labkit.evaluation import rank_correlation, ssim

        first = torch.tensor(np.frombuffer(before, np.float32)).view(1, *self.size)
        measured = {
            "rank": float(rank_correlation(first, found, absolute=True)),
            "rank_signed": float(rank_correlation(first, found)),
            "ssim": float(ssim(first.abs(), found.abs())),
        }
        return {kind: value if math.isfinite(value) else None for kind, value in measured.items()}

    # -- legal values
    @T.validate("depth")
    def _legal_depth(self, proposal: Any) -> int:
        if self.layers and not 0 <= proposal["value"] <= len(self.layers):
            last, came = len(self.layers), proposal["value"]
            raise IndexError(f"depth must be from 0 to {last}, the number of layers; got {came}.")
        return proposal["value"]

    @T.observe("picture", "target", "watched")
    def _asked(self, change: Any) -> None:
        if self._ready:
            if change["name"] == "watched":
                self._sent.clear()
            self._request()
