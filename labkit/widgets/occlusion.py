"""OcclusionExplorer: hide a patch of the picture, read off what the score loses, see the map it adds up to.

The widget holds no mathematics of the method. The library's ``occlusion_result`` (or the student's function)
runs the model; for the library's function the drops of all classes at all patch positions go to the page once,
and the page averages them into the map of whatever class, patch size and stride the hand asks for.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as T

from labkit._checks import check_choice, check_class, check_images
from labkit.widgets.base import Explorer, Stopped, source

__all__ = ["OcclusionExplorer", "FILLS"]

FILLS: tuple[str | float, ...] = ("black", 0.25, "grey", 0.75, 1.0, "mean", "blur")
_COARSE = 0.07  # seconds the first, coarse answer may take
_LADDER = 60.0  # seconds the whole ladder of one fill may take to be computed in advance
_MANY = 64  # up to so many classes, all of them go to the page


class OcclusionExplorer(Explorer):
    """Explore occlusion (Zeiler and Fergus 2014, section 4.2) of ``model`` on ``images``.

    Args:
        model: an eval-mode classifier of RGB pictures in [0, 1] that returns logits.
        images: (N, 3, H, W) tensor, or a list of (3, H, W) tensors and paths of photographs.
        method: ``labkit.attribution.occlusion`` (default), or your own function of the same signature
            ``occlusion(model, images, target, *, window, stride, fill)`` that returns (N, H, W) maps.
        labels: the true class of each picture (numbers or names), shown below it.
        names: a caption for each picture.
        windows, strides: the stops of the sliders, in pixels; by default fractions of the picture's size.

    Traits: ``picture``, ``target`` (-1: the class the network names), ``window``, ``stride``, ``fill``, ``patch``
    (the pinned patch's [x, y], or []), ``hold_scale``, ``over_picture``, ``path`` (a photograph to open), and
    ``status``, ``error``, ``progress``, ``cancel``. Map and scores are in logits.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    >>> OcclusionExplorer(net, torch.rand(2, 3, 32, 32))
    OcclusionExplorer(model=Sequential, pictures=2, method=occlusion)
    """

    _esm = source("occlusion_view.js", "occlusion.js")
    _css = source("shared.css", "occlusion.css")

    picture = T.Int(0).tag(sync=True)
    target = T.Int(-1).tag(sync=True)
    window = T.Int(0).tag(sync=True)
    stride = T.Int(0).tag(sync=True)
    fill = T.Union([T.Unicode(), T.Float()], default_value="grey").tag(sync=True)
    patch = T.List(T.Int()).tag(sync=True)
    hold_scale = T.Bool(False).tag(sync=True)
    over_picture = T.Bool(False).tag(sync=True)
    path = T.Unicode("").tag(sync=True)
    upload = T.Dict(help="a photograph sent by the page: name, width, height, data (RGB)").tag(sync=True)

    windows = T.List(T.Int()).tag(sync=True)
    strides = T.List(T.Int()).tag(sync=True)
    fills = T.List().tag(sync=True)
    classes = T.List(T.Unicode()).tag(sync=True)
    captions = T.List(help="name, truth and thumbnail of each picture").tag(sync=True)
    size = T.List(T.Int(), help="height and width of the pictures").tag(sync=True)
    own_method = T.Bool(False).tag(sync=True)
    photo = T.Dict(help="the latest picture sent: its pixels, logits and likeliest classes").tag(sync=True)
    delivery = T.Dict(help="the latest answer sent: drops of all classes, or a map").tag(sync=True)

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

        self.model, self.method = model, occlusion if method is None else method
        self._answers: OrderedDict[tuple, dict[str, Any]] = OrderedDict()
        self._extra: set[int] = set()
        self._sent: set[tuple] = set()
        self._seconds = 0.0  # of one forward pass
        self._images: list[torch.Tensor] = []
        if isinstance(images, (str, Path)):
            images = [images]
        names = list(names) if names is not None else [_stem(item) for item in images]
        batch = self._read(images)
        height, width = batch.shape[-2:]
        with _borrowed(model), torch.inference_mode():
            count = model(batch[:1]).shape[-1]
        unit = max(1, min(height, width) // 32)
        classes = list(getattr(model, "classes", None) or [f"class {i}" for i in range(count)])
        windows = sorted(windows or {unit * k for k in (2, 3, 4, 6, 8, 12, 16)})
        strides = sorted(strides or {unit * k for k in (1, 2, 3, 4, 6, 8)})
        start = {"window": _near(windows, 6 * unit), "stride": _near(strides, 2 * unit)}
        self._ready = False
        super().__init__(
            windows=windows, strides=strides, fills=list(FILLS), classes=classes, size=[height, width],
            own_method=self.method is not occlusion, **(start | traits),
        )  # fmt: skip
        truths = labels if labels is not None else [None] * len(batch)
        for image, name, truth in zip(batch, names, truths, strict=True):
            self._add(image, name, truth)
        self._ready = True
        self._request()

    def __repr__(self) -> str:
        method = getattr(self.method, "__name__", type(self.method).__name__)
        model = type(self.model).__name__
        return f"OcclusionExplorer(model={model}, pictures={len(self._images)}, method={method})"

    # -- what Python code asks
    @property
    def image(self) -> torch.Tensor:
        """The picture on view, (1, 3, H, W)."""
        return self._images[self.picture][None]

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the map on view: ``w.method(w.model, w.image, **w.settings)`` is that map."""
        target = self.target if self.target >= 0 else self._photo(self.picture)["top"][0]
        return {"target": target, "window": self.window, "stride": min(self.stride, self.window), "fill": self.fill}

    def load(self, path: str | Path) -> None:
        """Add the photograph at ``path`` (cropped to the size of the other pictures) and show it."""
        self._show(self._read([path])[0], _stem(path))

    def precompute(self, pictures: Sequence[int] | None = None, fills: Sequence[str | float] | None = None) -> None:
        """Compute all answers for these pictures and fills (by default those on view) before returning.

        An exported page answers what was computed. For a function of your own: all patch sizes at the stride.
        """
        self.wait_idle()
        step = self.stride if self.own_method else min(self.strides)
        for picture in [self.picture] if pictures is None else pictures:
            for fill in [self.fill] if fills is None else fills:
                for window in self.windows:
                    self._compute(picture, window, min(step, window), fill, lambda: False)

    # -- pictures
    def _read(self, images: Any) -> torch.Tensor:
        if isinstance(images, torch.Tensor):
            return check_images(images).detach().cpu().float()
        from labkit.data import load_photo

        side = self.size or [getattr(self.model, "input_size", None) or 224] * 2
        tensors = [i if isinstance(i, torch.Tensor) else load_photo(i, size=side[0]) for i in images]
        return check_images(torch.stack([t.detach().cpu().float() for t in tensors]))

    def _add(self, image: torch.Tensor, name: str, truth: Any = None) -> None:
        small = torch.nn.functional.interpolate(image[None], (56, 56), mode="bilinear", antialias=True)[0]
        if truth is not None and not isinstance(truth, str):
            check_class(int(truth), len(self.classes), "labels")
            truth = self.classes[int(truth)]
        self._images.append(image)
        self.captions = [*self.captions, {"name": name, "truth": truth or "", "thumb": _bytes(small)}]

    def _show(self, image: torch.Tensor, name: str) -> None:
        self._add(image, name)
        with self.hold_trait_notifications():
            self.target, self.patch, self.picture = -1, [], len(self._images) - 1

    @T.observe("upload")
    def _uploaded(self, change: Any) -> None:
        sent = change["new"]
        if sent:
            rgb = np.frombuffer(sent["data"], np.uint8).reshape(sent["height"], sent["width"], 3)
            self._show(torch.from_numpy(rgb / np.float32(255)).permute(2, 0, 1).contiguous(), sent["name"])

    @T.observe("path")
    def _path_given(self, change: Any) -> None:
        if change["new"]:
            try:
                self.load(Path(change["new"]).expanduser())
            except Exception as error:  # a mistyped path is answered in the widget
                self._tell(error=f"{error}", status="error")

    # -- legal values
    @T.validate("picture")
    def _legal_picture(self, proposal: Any) -> int:
        if self._images and not 0 <= proposal["value"] < len(self._images):
            raise IndexError(
                f"picture must be from 0 to {len(self._images) - 1}; got {proposal['value']}. See .captions."
            )
        return proposal["value"]

    @T.validate("target")
    def _legal_target(self, proposal: Any) -> int:
        if proposal["value"] != -1:
            check_class(proposal["value"], len(self.classes))
        return proposal["value"]

    @T.validate("window", "stride")
    def _legal_step(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        stops = self.windows if name == "window" else self.strides
        if stops and value not in stops:
            raise ValueError(
                f"{name} must be one of {stops}; got {value}. Other stops: OcclusionExplorer(..., {name}s=[...])."
            )
        return value

    @T.validate("fill")
    def _legal_fill(self, proposal: Any) -> str | float:
        if isinstance(proposal["value"], str):
            check_choice("fill", proposal["value"], [f for f in FILLS if isinstance(f, str)])
        elif proposal["value"] not in FILLS:
            numbers = [f for f in FILLS if not isinstance(f, str)]
            raise ValueError(f"fill must be one of {numbers} or a name; got {proposal['value']}. Names: 'grey', 'blur'.")
        return proposal["value"]

    @T.observe("picture", "target", "window", "stride", "fill", "watched")
    def _asked(self, change: Any) -> None:
        if change["name"] == "watched":
            self._sent.clear()
        if getattr(self, "_ready", False):
            self._request()

    # -- the work, on the worker's thread
    def _work(self, stale: Callable[[], bool]) -> None:
        self._tell(error="")
        picture, window, fill = self.picture, self.window, self.fill
        stride = min(self.stride, window)
        photo = self._photo(picture)
        if self.target >= 0 and self.target not in photo["columns"]:
            self._extra.add(self.target)
            photo = self._photo(picture)
        if not self._known(picture, window, stride, fill):
            self._tell(status="computing", progress=0.0)
            self._coarse(picture, window, stride, fill, stale)
            self._compute(picture, window, stride, fill, stale)
        else:
            self._offer(self._known(picture, window, stride, fill))
        self._tell(status="ready", progress=1.0)
        if self.own_method:  # what the scores beside the map show is the network's own answer, not the function's
            self._drops(picture, window, stride, fill, stale)
        if self.watched:
            self._ladder(picture, window, fill, stale)
        now = self._answers[self._known(picture, window, stride, fill)]
        self._tell(progress=1.0, photo=self._photo(picture), delivery=now)  # what a page finds that opens later

    def _coarse(self, picture: int, window: int, stride: int, fill: Any, stale: Callable[[], bool]) -> None:
        """A first answer in a blink: a wider stride, or a larger patch where that is still too slow."""
        if self._passes(window, stride) * self._seconds <= _COARSE:
            return
        choices = [
            (w, s) for w in self.windows if w >= window for s in self.strides if stride <= s <= w
            and self._passes(w, s) * self._seconds <= _COARSE
        ]  # fmt: skip
        w, s = min(choices, default=(max(self.windows), max(self.windows)))
        with suppress(Exception):  # the setting itself comes next and shows its own error
            self._compute(picture, w, min(s, w), fill, stale)

    def _ladder(self, picture: int, window: int, fill: Any, stale: Callable[[], bool]) -> None:
        """The answers the hand may ask for next, where they can be had in time: nearest patch sizes first."""
        sizes = sorted(self.windows, key=lambda w: abs(w - window))
        fills = sorted(FILLS, key=lambda f: f != fill)

        def cost(step: int) -> float:
            return sum(self._passes(w, min(step, w)) for w in sizes) * self._seconds

        steps = [self.stride] if self.own_method else self.strides
        step = next((s for s in steps if cost(s) <= _LADDER), None)
        if step is None:
            return
        jobs = [(w, f) for f in (fills if cost(step) * len(fills) <= _LADDER else fills[:1]) for w in sizes]
        for done, (w, f) in enumerate(jobs):
            if self._known(picture, w, min(step, w), f) is None:
                self._tell(progress=done / len(jobs))
            with suppress(Exception):  # an error belongs to the setting that is asked for
                self._compute(picture, w, min(step, w), f, stale)
            if stale():
                raise Stopped
        for other in range(len(self._images)):
            if stale():
                raise Stopped
            self._photo(other)

    def _passes(self, window: int, stride: int) -> int:
        return int(np.prod([-(-(side - window) // stride) + 1 for side in self.size]))

    def _target(self, picture: int) -> int:
        return self.target if self.target >= 0 else self._photo(picture)["top"][0]

    def _known(self, picture: int, window: int, stride: int, fill: Any) -> tuple | None:
        """The key of an answer that holds this setting exactly."""
        target = self._target(picture)
        if self.own_method:
            key = ("map", picture, window, stride, fill, target)
            return key if key in self._answers else None
        for step in (s for s in {stride, *self.strides} if stride % s == 0):
            key = ("drops", picture, window, step, fill)
            if key in self._answers and target in self._answers[key]["columns"]:
                return key
        return None

    def _compute(self, picture: int, window: int, stride: int, fill: Any, stale: Callable[[], bool]) -> None:
        if stale():
            raise Stopped
        known = self._known(picture, window, stride, fill)
        if known is None:
            run = self._own if self.own_method else self._drops
            run(picture, window, stride, fill, stale)
        else:
            self._offer(known)

    def _photo(self, picture: int) -> dict[str, Any]:
        """Pixels, logits and the five likeliest classes of a picture; one forward pass."""
        key = ("photo", picture)
        photo = self._answers.get(key)
        if photo is None or not self._extra <= set(photo["columns"]):
            image = self._images[picture][None]
            began = time.perf_counter()
            with _borrowed(self.model), torch.inference_mode():
                logits = self.model(image.to(_device(self.model)))[0].float().cpu()
            self._seconds = time.perf_counter() - began
            order = logits.argsort(descending=True).tolist()
            columns = sorted(set(order if len(order) <= _MANY else order[:24]) | self._extra)
            photo = {
                "kind": "photo", "picture": picture, "data": _bytes(image[0]), "columns": columns,
                "logits": logits[columns].tolist(), "total": float(logits.logsumexp(0)), "top": order[:5],
            }  # fmt: skip
            self._keep(key, photo)
        self._offer(key)
        return photo

    def _drops(self, picture: int, window: int, stride: int, fill: Any, stale: Callable[[], bool]) -> None:
        """Drops of all classes at all patch positions, by the library's own function."""
        from labkit.attribution import occlusion_result

        photo, seen = self._photo(picture), []

        def every_class(outputs: torch.Tensor) -> torch.Tensor:
            seen.append(outputs.detach().float().cpu())
            return outputs[:, photo["top"][0]]

        began = time.perf_counter()
        result = occlusion_result(
            self.model, self._images[picture][None].to(_device(self.model)), every_class,
            window=window, stride=stride, fill=fill, should_stop=stale,
        )  # fmt: skip
        if stale():
            raise Stopped
        rows, cols = result.drops.shape[-2:]
        logits = torch.cat(seen)[-rows * cols :]
        self._seconds = (time.perf_counter() - began) / len(logits)
        total = photo["total"] - logits.logsumexp(1, keepdim=True)
        drops = torch.tensor(photo["logits"]) - logits[:, photo["columns"]]
        self._keep(
            ("drops", picture, window, stride, fill),
            {
                "kind": "drops", "picture": picture, "window": window, "stride": stride, "fill": fill,
                "rows": rows, "cols": cols, "columns": photo["columns"], "dtype": "f4",
                "data": torch.cat([drops, total], 1).numpy().astype(np.float32).tobytes(),
                "winner": logits.argmax(1).numpy().astype(np.uint16).tobytes(),
            },
        )  # fmt: skip

    def _own(self, picture: int, window: int, stride: int, fill: Any, stale: Callable[[], bool]) -> None:
        """One map by the student's function, given up as soon as the model is called for nothing."""
        target = self._target(picture)
        image = self._images[picture][None].to(_device(self.model))
        with _stoppable(self.model, stale), torch.no_grad():
            answer = self.method(self.model, image, target, window=window, stride=stride, fill=fill)
        if stale():
            raise Stopped
        want = (1, *self.size)
        if not isinstance(answer, torch.Tensor) or tuple(answer.shape) != want:
            came = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            name = getattr(self.method, "__name__", "method")
            raise ValueError(f"{name} must return a tensor of maps (N, H, W), here {want}; got {came}.")
        self._keep(
            ("map", picture, window, stride, fill, target),
            {
                "kind": "map", "picture": picture, "window": window, "stride": stride, "fill": fill,
                "target": target, "dtype": "f4",
                "data": answer[0].detach().cpu().numpy().astype(np.float32).tobytes(),
            },
        )  # fmt: skip

    # -- keeping and sending
    def _keep(self, key: tuple, answer: dict[str, Any], limit: int = 64_000_000) -> None:
        self._answers[key] = answer
        self._sent.discard(key)
        while sum(len(a["data"]) for a in self._answers.values()) > limit and len(self._answers) > 2:
            self._answers.popitem(last=False)
        self._offer(key)

    def _offer(self, key: tuple) -> None:
        """Mark an answer as used, and send it unless the page that is open has it."""
        self._answers.move_to_end(key)
        if key not in self._sent:
            self._sent.add(key)
            self._tell(**{"photo" if key[0] == "photo" else "delivery": self._answers[key]})

    def _saved(self) -> list[dict[str, Any]]:
        used = list(reversed(self._answers.items()))
        pictures = {key[1]: None for key, _ in used if key[0] != "photo"} | {self.picture: None}
        photos = [self._photo(picture) for picture in pictures]
        return photos + [answer for key, answer in used if key[0] != "photo"]


def _near(stops: Sequence[int], value: int) -> int:
    return min(stops, key=lambda stop: abs(stop - value))


def _stem(item: Any) -> str:
    return Path(item).stem.replace("_", " ") if isinstance(item, (str, Path)) else ""


def _bytes(image: torch.Tensor) -> bytes:
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy().tobytes()


def _device(model: torch.nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _borrowed(model: torch.nn.Module) -> Any:
    from labkit.models import borrow

    return borrow(model)


@contextmanager
def _stoppable(model: torch.nn.Module, stale: Callable[[], bool]) -> Iterator[None]:
    """Let calls of the model on this thread raise Stopped once ``stale()``; other threads are left alone."""
    import threading

    mine = threading.get_ident()

    def check(*_: Any) -> None:
        if threading.get_ident() == mine and stale():
            raise Stopped

    handle = model.register_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()
