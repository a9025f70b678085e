"""MaskExplorer: the smallest part of the picture that keeps the class, or whose loss destroys it, by area."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as T
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.widgets.base import Stopped, source
from labkit.widgets.keeping import KeepingExplorer
from labkit.widgets.pictures import pixels, stoppable

__all__ = ["MaskExplorer"]

AREAS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
MODES = ("preserve", "delete")


class MaskExplorer(KeepingExplorer):
    """Drag the area of an extremal mask, and see what the network is left with and what it says to that.

    All areas are searched at once (``labkit.attribution.extremal_perturbation``) and sent to the page, so
    that the slider is followed at once. Beside the mask stand the picture as the network sees it and the
    class's probability over the area.

    Args:
        model: an eval-mode classifier of pictures in [0, 1] that returns logits.
        images: (N, 3, H, W) tensor, or a list of (3, H, W) tensors and paths of photographs.
        areas: shares of the picture, above 0 and below 1, rising.
        steps: of the search.
        labels: the true class of each picture (numbers or names).
        names: a caption for each picture.
        masks: (N, H, W) bool, where the truth lies; then each mask has its IoU with it.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``mode`` ("preserve": the mask alone
    is left; "delete": it is taken away), ``stop`` (which of ``areas``), ``truth`` (outline it), and
    ``status``, ``error``, ``progress``, ``cancel``.

    Errors: ValueError for bad areas, modes and masks, IndexError for pictures and classes that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    >>> MaskExplorer(net, torch.rand(2, 3, 32, 32), areas=(0.1, 0.3), steps=2)
    MaskExplorer(model=Sequential, pictures=2, areas=(0.1, 0.3))
    """

    _esm = source("parts.js", "mask.js")
    _css = source("shared.css", "comparer.css", "mask.css")
    _PLACE = "place"

    place = T.List(T.Int()).tag(sync=True)
    mode = T.Enum(MODES, "preserve").tag(sync=True)
    stop = T.Int(0).tag(sync=True)
    truth = T.Bool(False).tag(sync=True)
    areas = T.List(T.Float()).tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Tensor | Sequence[Tensor | str | Path],
        *,
        areas: Sequence[float] = AREAS,
        steps: int = 100,
        labels: Sequence[Any] | Tensor | None = None,
        names: Sequence[str] | None = None,
        masks: Bool[Tensor, "N H W"] | None = None,
        **traits: Any,
    ) -> None:
        given = [float(a) for a in areas]
        if not given or not all(0 < a < 1 for a in given) or given != sorted(set(given)):
            raise ValueError(
                f"areas must be rising shares of the picture, above 0 and below 1; got {list(areas)}. "
                "For example (0.05, 0.1, 0.2, 0.4)."
            )
        self.steps = steps
        start = {"stop": min(range(len(given)), key=lambda i: abs(given[i] - 0.15))}
        super().__init__(
            model, images, masks=masks, labels=labels, names=names, areas=given,
            **(start | {"truth": masks is not None} | traits),
        )  # fmt: skip
        self._ready = True
        self._request()

    def __repr__(self) -> str:
        model = type(self.model).__name__
        return f"MaskExplorer(model={model}, pictures={len(self.captions)}, areas={tuple(self.areas)})"

    # -- what Python code asks
    @property
    def answer(self) -> dict[str, Any] | None:
        """What is known of the picture, class and mode on view (see ``masks``); None while it is searched."""
        return self._kept.get(self._key())

    @property
    def masks(self) -> Float[Tensor, "A H W"] | None:
        """The masks on view, one an area, as sent to the page (steps of 1/255); None while they wait."""
        answer = self.answer
        if answer is None:
            return None
        levels = np.frombuffer(answer["data"], np.uint8).reshape(len(self.areas), *self.size)
        return torch.from_numpy(levels.copy()).float() / 255

    def precompute(
        self,
        pictures: Sequence[int] | None = None,
        targets: Sequence[int] = (-1,),
        modes: Sequence[str] = MODES,
    ) -> None:
        """Search masks before returning, by default for the picture on view in both modes.

        An exported page answers what was computed.
        """
        self.wait_idle(None)
        for picture in [self.picture] if pictures is None else pictures:
            for target in targets:
                for mode in modes:
                    self._search(self._key(picture, target, mode), lambda: False)

    # -- the work, on the worker's thread
    def _key(self, picture: int | None = None, target: int | None = None, mode: str | None = None) -> tuple:
        picture = self.picture if picture is None else picture
        target = self.target if target is None else target
        return ("mask", picture, self._named(picture, target), self.mode if mode is None else mode)

    def _work(self, stale: Callable[[], bool]) -> None:
        self._tell(error="", status="computing", progress=0.0)
        if self.watched:
            for picture in range(len(self.captions)):
                self._photo(picture)
        photo, key = self._photo(self.picture), self._key()
        self._search(key, stale, lambda share: self._tell(progress=share))
        self._tell(status="ready", progress=1.0, photo=photo, delivery=self._kept[key])

    def _search(
        self, key: tuple, stale: Callable[[], bool], report: Callable[[float], None] = lambda _: None
    ) -> None:
        """Make sure that an answer is known and sent."""
        from labkit.attribution import extremal_perturbation_result
        from labkit.core.hooks import lock_of

        if stale():
            raise Stopped
        if key not in self._kept:
            _, picture, target, mode = key
            image = self._placed(self.images[picture])
            with lock_of(self.model), stoppable(self.model, stale), torch.inference_mode(False):
                with torch.enable_grad():
                    found = extremal_perturbation_result(
                        self.model, image, target, area=list(self.areas), mode=mode, steps=self.steps,
                        progress=report, should_stop=stale,
                    )  # fmt: skip
                if not found.complete or stale():
                    raise Stopped
                answer = self._described(found.shown[0], target, found.masks[0].cpu().float())
            where = {"kind": "mask", "picture": picture, "target": target, "mode": mode}
            truth = self._mask(picture)
            overlap = [] if truth is None or not truth.any() else _overlaps(found.masks[0].cpu(), truth)
            self._keep(key, answer | where | {"iou": overlap, "achieved": found.achieved[0].tolist()})
        self._offer(key)

    def _described(
        self, shown: Float[Tensor, "A C H W"], target: int, masks: Float[Tensor, "A H W"]
    ) -> dict[str, Any]:
        """Masks as bytes, the pictures they leave, and what the model says to each of them."""
        with torch.no_grad():
            chances = self.model(shown.clone()).softmax(1).float().cpu()
        best = chances.argmax(1)
        return {
            "data": (masks * 255).round().byte().numpy().tobytes(),
            "shown": b"".join(pixels(picture.float().cpu()) for picture in shown),
            "p": [round(p, 6) for p in chances[:, target].tolist()],
            "best": best.tolist(),
            "best_p": [round(p, 6) for p in chances.amax(1).tolist()],
        }

    # -- legal values
    @T.validate("stop")
    def _legal_stop(self, proposal: Any) -> int:
        if self.areas and not 0 <= proposal["value"] < len(self.areas):
            raise IndexError(
                f"stop must be from 0 to {len(self.areas) - 1}; got {proposal['value']}. See .areas."
            )
        return proposal["value"]

    @T.observe("picture", "target", "mode", "watched")
    def _asked(self, change: Any) -> None:
        if self._ready:
            if change["name"] == "watched":
                self._sent.clear()
            self._request()


def _overlaps(masks: Float[Tensor, "A H W"], truth: Bool[Tensor, "H W"]) -> list[float]:
    """Intersection over union of each mask, where it is above a half, with the truth."""
    inside = masks > 0.5
    return [float((m & truth).sum() / (m | truth).sum()) for m in inside]
