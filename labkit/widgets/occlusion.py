"""OcclusionExplorer: hide a patch of the picture, read off what the score loses, see the map it adds up to.

The widget holds no mathematics of the method. The library's ``occlusion_result`` (or the student's function)
runs the model; for the library's function the drops of all classes at all patch positions go to the page, and
the page averages them into the map of whatever class, patch size and stride the hand asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import traitlets as T

from labkit.core.checks import check_choice
from labkit.widgets.answers import Answers, Setting, level
from labkit.widgets.base import Stopped, source
from labkit.widgets.pictures import PictureExplorer

__all__ = ["OcclusionExplorer", "FILLS"]

FILLS: tuple[str | float, ...] = ("black", 0.25, "grey", 0.75, "white", "mean", "blur")
_COARSE = 0.07  # seconds the first, coarse answer may take
_LADDER = 60.0  # seconds the whole ladder of one fill may take to be computed in advance


class OcclusionExplorer(PictureExplorer):
    """Explore occlusion (Zeiler and Fergus 2014, section 4.2) of ``model`` on ``images``.

    Args:
        model: an eval-mode classifier of RGB pictures in [0, 1] that returns logits.
        images: (N, 3, H, W) tensor, or a list of (3, H, W) tensors and paths of photographs.
        method: ``labkit.attribution.occlusion`` (default), or your own function of the same signature
            ``occlusion(model, images, target, *, window, stride, fill)`` that returns (N, H, W) maps;
            its ``fill`` is a grey value from 0 to 1.
        labels: the true class of each picture (numbers or names), shown below it.
        names: a caption for each picture.
        windows, strides: the stops of the sliders, in pixels; by default fractions of the picture's size.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``window``, ``stride``, ``fill``,
    ``patch`` (the pinned patch's [x, y], or []), ``hold_scale``, ``over_picture``, ``path`` (a photograph to
    open), and ``status``, ``error``, ``progress``, ``cancel``. Map and scores are in logits.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    >>> OcclusionExplorer(net, torch.rand(2, 3, 32, 32))
    OcclusionExplorer(model=Sequential, pictures=2, method=occlusion)
    """

    _esm = source("occlusion_view.js", "occlusion.js")
    _css = source("shared.css", "occlusion.css")

    _PLACE = "patch"

    window = T.Int(0).tag(sync=True)
    stride = T.Int(0).tag(sync=True)
    fill = T.Union([T.Unicode(), T.Float()], default_value="grey").tag(sync=True)
    patch = T.List(T.Int()).tag(sync=True)
    hold_scale = T.Bool(False).tag(sync=True)
    over_picture = T.Bool(False).tag(sync=True)
    windows = T.List(T.Int()).tag(sync=True)
    strides = T.List(T.Int()).tag(sync=True)
    fills: T.List = T.List().tag(sync=True)
    own_method = T.Bool(False).tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: torch.Tensor | Sequence[torch.Tensor | str | Path],
        *,
        method: Callable[..., torch.Tensor] | None = None,
        labels: Sequence[Any] | torch.Tensor | None = None,
        names: Sequence[str] | None = None,
        windows: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        **traits: Any,
    ) -> None:
        from labkit.attribution import occlusion

        self.method = occlusion if method is None else method
        own = self.method if self.method is not occlusion else None
        fills = [f for f in FILLS if own is None or not isinstance(level(f), str)]
        start = {name: traits.pop(name) for name in ("window", "stride") if name in traits}
        shared: dict[str, Any] = {"labels": labels, "names": names, "own_method": own is not None}
        super().__init__(model, images, **shared, fills=fills, **traits)
        unit = max(1, min(self.size) // 32)
        self.windows = sorted(windows or {unit * k for k in (2, 3, 4, 6, 8, 12, 16)})
        self.strides = sorted(strides or {unit * k for k in (1, 2, 3, 4, 6, 8)})
        self.window = start.get("window", _near(self.windows, 6 * unit))
        self.stride = start.get("stride", _near(self.strides, 2 * unit))
        size = (self.size[0], self.size[1])
        self._answers = Answers(model, own, size, self.strides, self._send_answer, self._report)
        self._answers.images = self.images
        self._ready = True
        self._request()

    def __repr__(self) -> str:
        method = getattr(self.method, "__name__", type(self.method).__name__)
        model = type(self.model).__name__
        return f"OcclusionExplorer(model={model}, pictures={len(self.captions)}, method={method})"

    # -- what Python code asks
    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the map on view: ``w.method(w.model, w.image, **w.settings)`` is that map."""
        at = self._setting()
        fill = level(at.fill) if self.own_method else at.fill
        return {"target": at.target, "window": at.window, "stride": at.stride, "fill": fill}

    def precompute(
        self, pictures: Sequence[int] | None = None, fills: Sequence[str | float] | None = None
    ) -> None:
        """Compute all answers for these pictures and fills (by default those on view) before returning.

        An exported page answers what was computed. For a function of your own: all patch sizes at the stride.
        """
        self.wait_idle()
        step = self.stride if self.own_method else min(self.strides)
        for picture in [self.picture] if pictures is None else pictures:
            for fill in [self.fill] if fills is None else fills:
                for window in self.windows:
                    at = self._setting(picture=picture, fill=fill, window=window, stride=step)
                    self._answers.compute(at, lambda: False)

    def _setting(self, **changes: Any) -> Setting:
        """The setting on view (or with changes): the stride at most the patch, the target a class."""
        now = {name: getattr(self, name) for name in Setting._fields} | changes
        now["stride"] = min(now["stride"], now["window"])
        now["target"] = self._answers.target(now["picture"], now["target"])
        return Setting(**now)

    # -- legal values
    @T.validate("window", "stride")
    def _legal_step(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        stops = self.windows if name == "window" else self.strides
        if stops and value not in stops:
            raise ValueError(
                f"{name} must be one of {stops}; got {value}. "
                f"For other stops pass OcclusionExplorer(..., {name}s=[...])."
            )
        return value

    @T.validate("fill")
    def _legal_fill(self, proposal: Any) -> str | float:
        if isinstance(proposal["value"], str):
            check_choice("fill", proposal["value"], [f for f in FILLS if isinstance(f, str)])
        elif proposal["value"] not in FILLS:
            numbers = [f for f in FILLS if not isinstance(f, str)]
            raise ValueError(
                f"fill must be one of {numbers} or a name; got {proposal['value']}. Names: 'grey', 'blur'."
            )
        return proposal["value"]

    @T.observe("picture", "target", "window", "stride", "fill", "watched")
    def _asked(self, change: Any) -> None:
        if self._ready:
            if change["name"] == "watched":
                self._answers.forget_sent()
            self._request()

    # -- the work, on the worker's thread
    def _work(self, stale: Callable[[], bool]) -> None:
        self._tell(error="")
        at = self._setting()
        if self._answers.known(at) is None:
            self._tell(status="computing", progress=0.0)
            self._coarse(at, stale)
        self._answers.compute(at, stale)
        self._tell(status="ready")
        if self.own_method:  # the scores beside the map are the network's own answer, not the function's
            self._answers.drops(at, stale)
        if self.watched:
            self._ladder(at, stale)
        key = self._answers.known(at)
        now = (
            {} if key is None else {"photo": self._answers.photo(at.picture), "delivery": self._answers[key]}
        )
        self._tell(progress=1.0, **now)  # what a page finds that is opened later

    def _coarse(self, at: Setting, stale: Callable[[], bool]) -> None:
        """A first answer in a blink: a wider stride, or a larger patch where that is still too slow."""

        def fast(window: int, stride: int) -> bool:
            return self._answers.passes(window, stride) * self._answers.seconds <= _COARSE

        if fast(at.window, at.stride):
            return
        sizes = [w for w in self.windows if w >= at.window]
        choices = [(w, s) for w in sizes for s in self.strides if at.stride <= s <= w and fast(w, s)]
        window, stride = min(choices, default=(sizes[-1], sizes[-1]))
        with suppress(Exception):  # the setting itself comes next and shows its own error
            self._answers.compute(at._replace(window=window, stride=stride), stale)

    def _ladder(self, at: Setting, stale: Callable[[], bool]) -> None:
        """The answers the hand may ask for next, as fine as time allows: nearest patch sizes first."""
        sizes = sorted(self.windows, key=lambda w: abs(w - at.window))
        fills = sorted(FILLS, key=lambda f: f != at.fill)

        def cost(step: int) -> float:
            return sum(self._answers.passes(w, min(step, w)) for w in sizes) * self._answers.seconds

        step = next(
            (s for s in ([at.stride] if self.own_method else self.strides) if cost(s) <= _LADDER), None
        )
        if step is None:
            return
        fills = fills if cost(step) * len(fills) <= _LADDER else fills[:1]
        jobs = [at._replace(window=w, stride=min(step, w), fill=f) for f in fills for w in sizes]
        for done, job in enumerate(jobs):
            if self._answers.known(job) is None:
                self._tell(progress=done / len(jobs))
            with suppress(Exception):  # an error belongs to the setting that is asked for
                self._answers.compute(job, stale)
            if stale():
                raise Stopped
        for picture in range(len(self.captions)):
            if stale():
                raise Stopped
            self._answers.photo(picture)

    def _send_answer(self, answer: dict[str, Any]) -> None:
        self._tell(**{"photo" if answer["kind"] == "photo" else "delivery": answer})

    def _report(self, share: float) -> None:
        if self.status == "computing":
            self._tell(progress=share)

    def _saved(self) -> list[dict[str, Any]]:
        return self._answers.saved(self.picture)


def _near(stops: Sequence[int], value: int) -> int:
    return min(stops, key=lambda stop: abs(stop - value))
