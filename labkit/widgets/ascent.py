"""Ascent explorer: watch a picture being made for a class or a unit, regularizers switched on and off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_positive
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import Report, Stale, never, pixels
from labkit.widgets.kit.searches import LayerSearch, part_of
from labkit.widgets.kit.worker import Stopped, stoppable

__all__ = ["AscentExplorer"]

SWITCHES = ("decay", "blur", "clip", "jitter", "fourier")


class AscentExplorer(LayerSearch):
    """Climb a score from a start, and watch the picture and its activation; stop, resume, begin anew.

    Each setting (start, class or unit, switches) is one ascent by ``labkit.visualization.visualize_result``,
    whose frames are sent while it runs and scrubbed afterwards. An ascent that was stopped goes on where it
    was; one that is there already is shown at once.

    ``images``: pictures to start from; None: noise and grey, of ``model.input_size``.
    ``layers``: names of layers whose channels may be asked for beside the classes.
    ``steps``: of an ascent. ``every``: after how many steps a frame is kept.
    ``labels``, ``names``, ``masks``: of each start, as of every explorer of pictures.

    Traits: ``picture`` (the start), ``target`` (a class; -1: the one named at the start), ``layer`` ("": the
    class) and ``channel``, the switches ``decay``, ``blur``, ``clip`` (of small norms and contributions),
    ``jitter`` and ``fourier`` (with decorrelated colours), ``frame`` (-1: the last), ``resume`` and ``anew``
    (counted up to ask for it), and ``status``, ``error``, ``progress``, ``cancel``.

    Errors: KeyError for unknown layers, ValueError for layers without channels and bad numbers, IndexError
    for starts, classes, channels and frames that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> AscentExplorer(net.eval(), torch.full((1, 3, 32, 32), 0.5), layers=["0"], steps=2)
    AscentExplorer(model=Sequential, pictures=1, layers=['0'], steps=2)
    """

    _esm = module("ascent.js")
    KIND = "ascent"
    ASKS = ("picture", "target", "layer", "channel", *SWITCHES)

    decay = T.Bool(False).tag(sync=True)
    blur = T.Bool(False).tag(sync=True)
    clip = T.Bool(False).tag(sync=True)
    jitter = T.Bool(False).tag(sync=True)
    fourier = T.Bool(False).tag(sync=True)
    steps = T.Int(96).tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any = None,
        *,
        layers: Sequence[str] = (),
        steps: int = 96,
        every: int = 8,
        **given: Any,
    ) -> None:
        check_positive("steps", steps)
        check_positive("every", every)
        self.every = every
        self._runs: dict[tuple, Any] = {}
        self._names: dict[tuple, dict[int, tuple[int, float]]] = {}
        if images is None:
            images, given = _starts(model), {"names": ["noise", "grey"], **given}
        wanted = {name: given.pop(name) for name in ("layer", "channel", "target", "frame") if name in given}
        super().__init__(model, images, steps=steps, **given)
        self.layers = self._channels(layers)
        for name, value in wanted.items():
            setattr(self, name, value)
        self._begin()

    def _said(self) -> str:
        return f"layers={[layer['name'] for layer in self.layers]}, steps={self.steps}"

    # -- the answers: frames and scores of an ascent, sent again and again while it runs
    def _forget(self, key: tuple) -> None:
        self._runs.pop(key, None)
        self._names.pop(key, None)

    def _make(self, key: tuple, stale: Stale = never, report: Report = lambda share: None) -> Answer:
        from labkit.core.locks import lock_of
        from labkit.visualization import visualize_result

        before = self._runs.get(key)
        done = 0 if before is None else len(before.scores)
        _, picture, target, layer, channel, *switches = key
        options = self._options(dict(zip(SWITCHES, switches, strict=True)))
        if done >= self.steps:
            return self._told(key, before, True)
        start = self._placed(self.images[picture]) if before is None else before
        while done < self.steps:
            count = min(self.every, self.steps - done)
            with (
                lock_of(self.model), stoppable(self.model, stale), torch.inference_mode(False),
                torch.enable_grad(),
            ):  # fmt: skip
                run = visualize_result(
                    self.model, self._goal(target, layer, channel), start=start, steps=count,
                    every=self.every, progress=lambda _: None, **options,
                )  # fmt: skip
            if stale():
                raise Stopped
            start, done = run, len(run.scores)
            self._runs[key] = run
            report(done / self.steps)
            if done < self.steps:
                self._cache.keep(part_of(key), self._told(key, run, False))
                self._cache.offer(part_of(key))
        self._cache.drop(part_of(key))
        return self._told(key, run, True)

    @staticmethod
    def _goal(target: int, layer: str, channel: int) -> Any:
        from labkit.models import unit

        return unit(layer, channel) if layer else target

    def _options(self, on: dict[str, bool]) -> dict[str, Any]:
        """What the switches mean, as options of ``visualize``: Yosinski's values where they are on."""
        from labkit.visualization import RECIPES

        four, plain = RECIPES["yosinski"], RECIPES["simonyan"]
        options = {k: v for k, v in plain.items() if k not in ("l2", "space", "colours")} | {"rate": 0.05}
        parts = {
            "decay": ("decay",), "blur": ("blur", "blur_every"), "clip": ("clip_norm", "clip_contribution"),
        }  # fmt: skip
        for switch, names in parts.items():
            options |= {name: four[name] for name in names} if on[switch] else {}
        if on["jitter"]:
            options |= {"jitter": max(1, self.size[0] // 16), "scale": 0.05, "rotation": 5.0}
        space = ("fourier", "decorrelated") if on["fourier"] else ("pixels", None)
        return options | dict(zip(("space", "colours"), space, strict=True))

    def _told(self, key: tuple, run: Any, complete: bool) -> Answer:
        """A run as a page takes it: its frames as bytes, after how many steps each, and all scores."""
        steps = run.at.tolist()  # a run in parts has frames of its seams beside, some of them twice
        kept = [step for step in range(0, self.steps + 1) if step in steps and self._shows(step)]
        first = [steps.index(step) for step in kept]
        scores = run.scores[:, 0].float().cpu()
        said = self._names.setdefault(key, {})
        for step, i in zip(kept, first, strict=True):
            if step not in said:
                said[step] = self._says(run.frames[i, 0])
        kind, *setting = key
        return dict(zip(self.ASKS, setting, strict=True)) | {
            "kind": kind, "complete": complete, "at": kept,
            "data": b"".join(pixels(run.frames[i, 0].float()) for i in first),
            "scores": [float(scores[max(0, min(step, len(scores)) - 1)]) for step in kept],
            "named": [said[step][0] for step in kept], "sure": [said[step][1] for step in kept],
            "redirected": int(run.redirected[0]), "fired": bool(run.fired[0]),
        }  # fmt: skip

    def _says(self, picture: Float[Tensor, "C H W"]) -> tuple[int, float]:
        """The class that the network names a frame, and with what probability."""
        logits = self._logits(picture.float().clamp(0, 1))
        best = int(logits.argmax())
        return best, float(logits.softmax(0)[best])

    def _shows(self, step: int) -> bool:
        return step % self.every == 0 or step == self.steps


def _starts(model: torch.nn.Module) -> Float[Tensor, "2 3 H W"]:
    """Noise about grey, and grey."""
    from labkit.core.door import sides_of

    grey = torch.full((1, 3, *sides_of(model, None)), 0.5)
    noise = torch.randn(grey.shape, generator=torch.Generator().manual_seed(0))
    return torch.cat([(grey + 0.05 * noise).clamp(0, 1), grey])
