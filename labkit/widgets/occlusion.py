"""Occlusion explorer: hide a patch of the picture, read off what the score loses, see the map of it.

The library's ``occlusion_result`` (or the student's function) runs the model. For the library's function the
drops of all classes at all patch positions go to the page, which averages them into the map of whatever
class, patch size and stride the hand asks for; a test holds that to ``labkit.attribution.occlusion``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
import traitlets as T

from labkit.core.checks import check_choice
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.methods import check_maps
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale
from labkit.widgets.kit.worker import Stopped, stoppable

__all__ = ["FILLS", "OcclusionExplorer"]

FILLS: tuple[str | float, ...] = ("black", 0.25, "grey", 0.75, "white", "mean", "blur")
LEVELS = {"black": 0.0, "grey": 0.5, "white": 1.0}
COARSE = 0.07  # seconds the first, coarse answer may take
LADDER = 60.0  # seconds the whole ladder of one fill may take to be computed in advance
MANY, LIKELIEST = 64, 24  # up to so many classes, all of them go to the page; of more, so many
PATIENCE = 0.06  # seconds between two looks at whether the work is still wanted


class Setting(NamedTuple):
    """What a map depends on; ``target`` is a class index, ``window`` and ``stride`` are in pixels."""

    picture: int
    window: int
    stride: int
    fill: str | float
    target: int


class OcclusionExplorer(PictureExplorer):
    """Explore occlusion (Zeiler and Fergus 2014, section 4.2) of ``model`` on ``images``.

    ``method``: ``labkit.attribution.occlusion`` (default), or your own function of the same signature
        ``occlusion(model, images, target, *, window, stride, fill)`` that returns (N, H, W) maps; its
        ``fill`` is a grey value from 0 to 1.
    ``windows``, ``strides``: the stops of the sliders, in pixels; by default fractions of the picture's size.
    ``labels``, ``names``, ``masks``: of each picture the true class, a caption, and where the truth lies.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``window``, ``stride``, ``fill``,
    ``patch`` (the pinned patch's [x, y], or []), ``hold_scale``, ``over_picture``, ``truth``, ``path`` (a
    photograph to open), and ``status``, ``error``, ``progress``, ``cancel``. Map and scores are in logits.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    >>> OcclusionExplorer(net, torch.rand(2, 3, 32, 32))
    OcclusionExplorer(model=Sequential, pictures=2, method=occlusion)
    """

    _esm = module("occlusion.js")
    ASKS = ("picture", "target", "window", "stride", "fill")
    PLACE = "patch"

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
        images: Any,
        *,
        method: Callable[..., torch.Tensor] | None = None,
        windows: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        **given: Any,
    ) -> None:
        from labkit.attribution import occlusion

        self.method = occlusion if method is None else method
        own = self.method is not occlusion
        start = {name: given.pop(name) for name in ("window", "stride") if name in given}
        fills = [f for f in FILLS if not own or isinstance(LEVELS.get(f, f), float)]  # type: ignore[arg-type]
        super().__init__(model, images, own_method=own, fills=fills, **given)
        unit = max(1, min(self.size) // 32)
        self.windows = sorted(windows or {unit * k for k in (2, 3, 4, 6, 8, 12, 16)})
        self.strides = sorted(strides or {unit * k for k in (1, 2, 3, 4, 6, 8)})
        self.window = start.get("window", min(self.windows, key=lambda w: abs(w - 6 * unit)))
        self.stride = start.get("stride", min(self.strides, key=lambda s: abs(s - 2 * unit)))
        self._begin()

    def _said(self) -> str:
        return f"method={getattr(self.method, '__name__', type(self.method).__name__)}"

    # -- what Python code asks
    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the map on view: ``w.method(w.model, w.image, **w.settings)`` is that map."""
        at = self._setting()
        fill = LEVELS.get(at.fill, at.fill) if self.own_method else at.fill  # type: ignore[arg-type]
        return {"target": at.target, "window": at.window, "stride": at.stride, "fill": fill}

    def precompute(
        self, pictures: Sequence[int] | None = None, fills: Sequence[str | float] | None = None
    ) -> None:
        """Compute all answers for these pictures and fills (by default those on view) before returning.

        An exported page answers what was computed. For a function of your own: all patch sizes at the stride.
        """
        self.wait_idle(None)
        step = self.stride if self.own_method else min(self.strides)
        for picture in [self.picture] if pictures is None else pictures:
            for fill in [self.fill] if fills is None else fills:
                for window in self.windows:
                    for key in self._keys(picture=picture, fill=fill, window=window, stride=step):
                        self._answer(key)

    def _setting(self, **changes: Any) -> Setting:
        """The setting on view (or with changes): the stride at most the patch, the target a class."""
        now = {name: getattr(self, name) for name in Setting._fields} | changes
        now["stride"] = min(now["stride"], now["window"])
        now["picture"], now["target"] = self._named(now["picture"], now["target"])
        return Setting(**now)

    # -- the answers: "drops" of all classes (or some) on a grid of places, "map" of the student's function
    def _wanted(self) -> list[tuple]:
        return self._keys()

    def _keys(self, **changes: Any) -> list[tuple]:
        """What answers a setting; a student's map stands beside the network's own answers to patches."""
        at = self._setting(**changes)
        finer = [s for s in self.strides if at.stride % s == 0]
        some = -1 if at.target in self._columns(at.picture) else at.target
        grids = [("drops", at.picture, at.window, step, at.fill, some) for step in (at.stride, *finer)]
        grid = next((key for key in grids if key in self._cache), grids[0])
        return [("map", *at), grid] if self.own_method else [grid]

    def _columns(self, picture: int) -> list[int]:
        logits = torch.tensor(self._photo(picture)["logits"])
        order = logits.argsort(descending=True).tolist()
        return sorted(order if len(order) <= MANY else order[:LIKELIEST])

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        return self._map(Setting(*key[1:]), stale) if key[0] == "map" else self._drops(key, stale, report)

    def _drops(self, key: tuple, stale: Stale, report: Report) -> Answer:
        from labkit.attribution import occlusion_result

        _, picture, window, stride, fill, some = key
        photo, seen = self._photo(picture), []
        columns = sorted({*self._columns(picture), *([some] if some >= 0 else [])})

        def every_class(outputs: torch.Tensor) -> torch.Tensor:
            seen.append(outputs.detach().float().cpu())
            return outputs[:, photo["top"][0]]

        where: dict[str, Any] = {"window": window, "stride": stride, "fill": fill}
        result = occlusion_result(
            self.model, self._placed(self.images[picture]), every_class, **where, progress=report,
            batch_size=int(min(8, max(1, PATIENCE / self._pass))), should_stop=stale,
        )  # fmt: skip
        if stale():
            raise Stopped
        rows, cols = result.drops.shape[-2:]
        logits = torch.cat(seen)[-rows * cols :]
        whole = torch.tensor(photo["logits"])[columns]
        total = photo["total"] - logits.logsumexp(1, keepdim=True)
        data = torch.cat([whole - logits[:, columns], total], 1).numpy().tobytes()
        winner = logits.argmax(1).numpy().astype("uint16").tobytes()
        said = {"rows": rows, "cols": cols, "columns": columns, "dtype": "f4", "data": data, "winner": winner}
        return {"kind": "drops", "picture": picture, **where, **said}

    def _map(self, at: Setting, stale: Stale) -> Answer:
        image = self._placed(self.images[at.picture])
        options: dict[str, Any] = {"window": at.window, "stride": at.stride}
        with stoppable(self.model, stale), torch.no_grad():
            level = LEVELS.get(at.fill, at.fill)  # type: ignore[arg-type]
            found = self.method(self.model, image, at.target, fill=level, **options)
        if stale():
            raise Stopped
        found = check_maps(getattr(self.method, "__name__", "method"), found, image)
        return {"kind": "map", **at._asdict(), "dtype": "f4", "data": found.numpy().tobytes()}

    # -- on the worker's thread: a coarse answer before the one asked for, the likely next ones after it
    def _work(self, stale: Stale) -> None:
        at = self._setting()
        if self._keys()[0] not in self._cache and not self._quick(at.window, at.stride):
            self._tell(status="computing", progress=0.0)
            sizes = [w for w in self.windows if w >= at.window]
            grids = [(w, s) for w in sizes for s in self.strides if at.stride <= s <= w]
            window, stride = next((g for g in grids if self._quick(*g)), (sizes[-1], sizes[-1]))
            with suppress(Exception):  # the setting itself comes next and shows its own error
                self._answer(self._keys(window=window, stride=stride)[0], stale)
        super()._work(stale)

    def _quick(self, window: int, stride: int, limit: float | None = None) -> bool:
        return self._passes(window, stride) * self._pass <= (COARSE if limit is None else limit)

    def _passes(self, window: int, stride: int) -> int:
        return math.prod(-(-(side - window) // stride) + 1 for side in self.size)

    def _ahead(self, stale: Stale) -> None:
        """The ladder of patch sizes at the finest stride that there is time for, nearest sizes first."""
        sizes = sorted(self.windows, key=lambda w: abs(w - self.window))
        fills = sorted(self.fills, key=lambda f: f != self.fill)
        steps = [self.stride] if self.own_method else self.strides
        cost = {s: sum(self._passes(w, min(s, w)) for w in sizes) * self._pass for s in steps}
        step = next((s for s in steps if cost[s] <= LADDER), None)
        if step is None:
            return
        few = fills if cost[step] * len(fills) <= LADDER else fills[:1]
        jobs = [{"fill": f, "window": w, "stride": step} for f in few for w in sizes]
        for done, job in enumerate(jobs):
            for key in self._keys(**job):
                if key not in self._cache:
                    self._tell(progress=done / len(jobs))
                with suppress(Exception):  # an error belongs to the setting that is asked for
                    self._answer(key, stale)
                if stale():
                    raise Stopped

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
