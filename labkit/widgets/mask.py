"""Mask explorer: the smallest part of the picture that keeps the class, or without which it is lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
import traitlets as T
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.targets import as_logits
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale, pixels
from labkit.widgets.kit.worker import Stopped, stoppable

__all__ = ["MaskExplorer"]

AREAS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
MODES = ("preserve", "delete")
COARSE = 2.5  # seconds the first, coarse search may take
WEIGHT = 4.0  # forward passes that a step costs for each area, about
FEWEST = 12  # steps below which a mask says little


class MaskExplorer(PictureExplorer):
    """Drag the area of an extremal mask, and see what the network is left with and what it says to that.

    All areas are searched at once (``labkit.attribution.extremal_perturbation_result``) and sent to the page,
    so that the slider is followed at once; where that takes long, a search of some areas in fewer steps comes
    first, and the page calls it coarse until the other is there. Beside the mask stand the picture that was
    optimized, as the method says it, and the class's probability over the area. A mask suffices, says the
    page, where it keeps half of the whole picture's probability; taken away, it loses more than half.

    ``areas``: shares of the picture, above 0 and below 1, rising.
    ``steps``: of the search.
    ``labels``, ``names``: of each picture the true class and a caption.
    ``masks``: (N, H, W) bool, where the truth lies; then each mask has its IoU with it.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``mode`` ("preserve": the mask alone
    is left; "delete": it is taken away), ``stop`` (which of ``areas``), ``truth`` (outline it), and
    ``status``, ``error``, ``progress``, ``cancel``.

    Errors: ValueError for bad areas, modes and masks, IndexError for pictures and classes that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    >>> MaskExplorer(net, torch.rand(2, 3, 32, 32), areas=(0.1, 0.3), steps=2)
    MaskExplorer(model=Sequential, pictures=2, areas=(0.1, 0.3))
    """

    _esm = module("mask.js")
    ASKS = ("picture", "target", "mode")

    mode = T.Enum(MODES, "preserve").tag(sync=True)
    stop = T.Int(0).tag(sync=True)
    areas = T.List(T.Float()).tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any,
        *,
        areas: Sequence[float] = AREAS,
        steps: int = 100,
        **given: Any,
    ) -> None:
        shares = [float(a) for a in areas]
        if not shares or not all(0 < a < 1 for a in shares) or shares != sorted(set(shares)):
            raise ValueError(
                f"areas must be rising shares of the picture, above 0 and below 1; got {list(areas)}. "
                "For example (0.05, 0.1, 0.2, 0.4)."
            )
        self.steps = steps
        start = {"stop": min(range(len(shares)), key=lambda i: abs(shares[i] - 0.15))}
        super().__init__(model, images, areas=shares, **(start | given))
        self._begin()

    def _said(self) -> str:
        return f"areas={tuple(self.areas)}"

    # -- what Python code asks
    @property
    def answer(self) -> Answer | None:
        """What is known of the picture, class and mode on view (see ``masks``); None while it is searched."""
        return self._cache.get(self._key())

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
                    self._answer(self._key(picture, target, mode))

    # -- the answers: the masks of all areas, with the pictures they leave and what the model says to these
    def _key(self, picture: int | None = None, target: int | None = None, mode: str | None = None) -> tuple:
        return ("mask", *self._named(picture, target), self.mode if mode is None else mode)

    def _wanted(self) -> list[tuple]:
        return [self._key()]

    def _saved(self) -> list[Answer]:
        return [answer for answer in super()._saved() if not answer.get("coarse")]

    # -- on the worker's thread: a coarse answer before the one asked for
    def _work(self, stale: Stale) -> None:
        key = self._key()
        if key not in self._cache and self._coarse() is not None:
            self._tell(status="computing", progress=0.0)
            with suppress(Exception):  # the search itself comes next and shows its own error
                self._answer(("coarse", *key[1:]), stale)
        super()._work(stale)

    def _coarse(self) -> tuple[list[int], int] | None:
        """The stops and steps of a first search; None where the whole one is as quick."""
        count = len(self.areas)
        few = [list(range(self.stop % 2, count, 2)), [self.stop]]
        steps = [int(COARSE / (WEIGHT * self._pass * len(stops))) for stops in few]
        at = 0 if steps[0] >= FEWEST else 1
        if WEIGHT * self._pass * count * self.steps <= COARSE:
            return None
        return few[at], min(self.steps, max(FEWEST // 2, steps[at]))

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        from labkit.attribution import extremal_perturbation_result
        from labkit.core.locks import lock_of

        kind, picture, target, mode = key
        image, truth = self._placed(self.images[picture]), self._mask(picture)
        coarse = self._coarse() if kind == "coarse" else None
        stops, steps = coarse or (list(range(len(self.areas))), self.steps)
        with lock_of(self.model), stoppable(self.model, stale), torch.inference_mode(False):
            with torch.enable_grad():
                found = extremal_perturbation_result(
                    self.model, image, target, area=[self.areas[i] for i in stops], mode=mode, steps=steps,
                    progress=report, should_stop=stale,
                )  # fmt: skip
            if not found.complete or stale():
                raise Stopped
            with torch.no_grad():
                chances = as_logits(self.model(found.shown[0].clone())).softmax(1).float().cpu()
        masks = found.masks[0].cpu().float()
        return {
            "kind": "mask", "coarse": kind == "coarse", "stops": stops,
            "picture": picture, "target": target, "mode": mode,
            "data": (masks * 255).round().byte().numpy().tobytes(),
            "shown": b"".join(pixels(left.float()) for left in found.shown[0]),
            "p": chances[:, target].tolist(),
            "best": chances.argmax(1).tolist(),
            "best_p": chances.amax(1).tolist(),
            "achieved": found.achieved[0].tolist(),
            "iou": [] if truth is None or not truth.any() else _overlaps(masks, truth),
        }  # fmt: skip

    # -- legal values
    @T.validate("stop")
    def _legal_stop(self, proposal: Any) -> int:
        last, came = len(self.areas) - 1, proposal["value"]
        if self.areas and not 0 <= came <= last:
            raise IndexError(f"stop must be from 0 to {last}; got {came}. See .areas.")
        return came


def _overlaps(masks: Float[Tensor, "A H W"], truth: Bool[Tensor, "H W"]) -> list[float]:
    """Intersection over union of each mask, where it is above a half, with the truth."""
    inside = masks > 0.5
    return [float((m & truth).sum() / (m | truth).sum()) for m in inside]
