"""Activation explorer: a layer, a channel, the patches it fires at, and all values under the pointer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_choice, check_class
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale, never, pixels
from labkit.widgets.kit.worker import Stopped, stoppable

__all__ = ["ActivationExplorer"]

COUNT = 9  # patches a channel
FINE = 32  # a map is sent with so many places a side at most
PATCH = 56  # and a patch with so many pixels
STEPS = (16, 128)  # of the synthesis: a coarse picture first
Synthesize = Callable[..., Tensor]


class ActivationExplorer(PictureExplorer):
    """Look into a network: all channels of a layer, and of one of them the map, the patches, the ideal.

    The channel's top patches are taken from ``data`` by one pass for all channels of the layer
    (``labkit.visualization.top_patches_result``); beside them stand the guided patches, and what the channel
    looks for, synthesized. The pointer on the picture shows what all channels say at that place.

    ``layers``: names of layers with feature maps; by default all ReLUs that give one, or else convolutions.
    ``data``: where patches come from, as ``top_patches`` takes it; by default the pictures themselves.
    ``synthesize``: ``(model, layer, channel, *, steps, should_stop) -> (3, H, W)``, by default
    ``labkit.visualization.visualize``; False: none.
    ``steps``: of the synthesis, a coarse picture first.
    ``labels``, ``names``, ``masks``: of each picture the true class, a caption, and where the truth lies.

    Traits: ``picture``, ``layer``, ``channel``, ``place`` (the pinned pixel [x, y], or []), ``each`` (every
    channel on a scale of its own), ``over_picture``, ``truth``, and ``status``, ``error``, ``progress``,
    ``cancel``. Errors: KeyError and ValueError for layers that are not there or give no map, IndexError for
    pictures and channels that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten()).eval()
    >>> ActivationExplorer(net, torch.rand(2, 3, 8, 8), synthesize=False)
    ActivationExplorer(model=Sequential, pictures=2, layers=['1'])
    """

    _esm = module("activation.js")
    ASKS = ("picture", "layer", "channel")
    PLACE = "place"

    layer = T.Unicode("").tag(sync=True)
    channel = T.Int(0).tag(sync=True)
    place = T.List(T.Int()).tag(sync=True)
    each = T.Bool(False).tag(sync=True)
    over_picture = T.Bool(True).tag(sync=True)
    layers: T.List = T.List(help="name, channels, places and receptive field of each layer").tag(sync=True)
    synthesizes = T.Bool(False, help="whether pictures are synthesized").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any,
        *,
        layers: Sequence[str] | None = None,
        data: Any = None,
        synthesize: Synthesize | bool | None = None,
        steps: Sequence[int] = STEPS,
        layer: str | None = None,
        channel: int | None = None,
        **given: Any,
    ) -> None:
        self._synthesize = _ascent if synthesize in (None, True) else synthesize
        self._tops: dict[str, Any] = {}
        self._steps = sorted(steps)
        super().__init__(model, images, synthesizes=callable(self._synthesize), **given)
        self.data = torch.stack(self.images) if data is None else data
        self.layers = self._described(layers)
        self.layer = self.layers[-1]["name"] if layer is None else layer
        self.channel = int(self.grid.flatten(1).amax(1).argmax()) if channel is None else channel
        self._begin()

    def _said(self) -> str:
        return f"layers={[one['name'] for one in self.layers]}"

    def _described(self, names: Sequence[str] | None) -> list[dict[str, Any]]:
        """What a page must know of each layer to draw it."""
        from labkit.models import layer_shapes, receptive_fields

        side, channels = (self.size[0], self.size[1]), self.images[0].shape[0]
        shapes = layer_shapes(self.model, self._placed(self.images[0]))
        if names is None:
            maps = [n for n, shape in shapes.items() if len(shape) == 4 and max(shape[2:]) > 1]
            kinds = dict(self.model.named_modules())
            bent = [n for n in maps if "ReLU" in type(kinds[n]).__name__]
            known = receptive_fields(self.model, None, side=side, channels=channels)
            names = [n for n in bent or maps if n in known]
            fields = {n: known[n] for n in names}
        else:
            fields = receptive_fields(self.model, list(names), side=side, channels=channels)
        if not fields:
            raise ValueError("model must have layers that give feature maps (N, K, h, w); none was found.")
        found = []
        for name, field in fields.items():
            count, height, width = len(field.rows), field.rows.shape[1], field.columns.shape[1]
            step = max(1, math.ceil(max(height, width) / FINE))
            middles = [_middles(ends, step) for ends in (field.rows, field.columns)]
            found.append({
                "name": name, "channels": count, "height": len(middles[0]), "width": len(middles[1]),
                "rows": middles[0], "columns": middles[1], "sees": list(field.size), "step": step,
                "whole": field.whole, "said": str(field),
            })  # fmt: skip
        return found

    def _entry(self, name: str) -> dict[str, Any]:
        return next(one for one in self.layers if one["name"] == name)

    # -- what Python code asks
    @property
    def grid(self) -> Float[Tensor, "K h w"]:
        """All channels of the layer for the picture on view."""
        return self._grid(self.picture, self.layer)

    @property
    def top(self) -> Any:
        """The ``TopPatches`` of all channels of the layer on view; None while they are sought."""
        return self._tops.get(self.layer)

    def precompute(
        self,
        pictures: Sequence[int] | None = None,
        layers: Sequence[str] | None = None,
        channels: Sequence[int] | int | None = None,
    ) -> None:
        """Compute answers before returning, by default for what is on view.

        ``channels``: numbers, or how many of the layer's loudest. An exported page answers what was computed.
        """
        self.wait_idle(None)
        for layer in [self.layer] if layers is None else layers:
            for picture in [self.picture] if pictures is None else pictures:
                self._answer(("grid", picture, layer))
            if isinstance(channels, int):
                order = self._grid(self.picture, layer).flatten(1).amax(1).argsort(descending=True)
                chosen = order[:channels].tolist()
            else:
                chosen = [self.channel] if channels is None else list(channels)
            for channel in chosen:
                for key in self._of_channel(layer, channel):
                    self._answer(key)

    # -- the answers: the "grid" of a picture and layer, "patches" and "synth" of a channel
    def _wanted(self) -> list[tuple]:
        return [("grid", self.picture, self.layer), *self._of_channel(self.layer, self.channel)]

    def _of_channel(self, layer: str, channel: int) -> list[tuple]:
        steps = self._steps if self.synthesizes else ()
        return [("patches", 0, layer, channel), *(("synth", 0, layer, channel, count) for count in steps)]

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        kind, picture, layer = key[:3]
        where = {"kind": kind, "picture": picture, "layer": layer}
        if kind == "grid":
            grid = self._grid(picture, layer)
            step = self._entry(layer)["step"]
            small = F.max_pool2d(grid, step, ceil_mode=True) if step > 1 else grid
            quiet = int((grid.flatten(1).amax(1) <= 0).sum())
            scale = {"top": float(small.abs().max()), "signed": bool(small.min() < 0), "quiet": quiet}
            return where | scale | {"dtype": "f4", "data": small.contiguous().numpy().tobytes()}
        where["channel"] = key[3]
        if kind == "patches":
            return where | self._patches(layer, key[3], stale, report)
        synthesize = cast(Synthesize, self._synthesize)
        with stoppable(self.model, stale), torch.inference_mode(False), torch.enable_grad():
            made = synthesize(self.model, layer, key[3], steps=key[4], should_stop=stale)
        if stale():
            raise Stopped
        return where | {"steps": key[4], "data": pixels(made.detach().float().cpu())}

    def _grid(self, picture: int, layer: str) -> Float[Tensor, "K h w"]:
        from labkit.visualization import activation_grid

        with torch.inference_mode(False):
            return activation_grid(self.model, self._placed(self.images[picture]), layer)[0].float().cpu()

    def _patches(self, layer: str, channel: int, stale: Stale, report: Report) -> Answer:
        from labkit.plots import for_the_eye
        from labkit.visualization import top_patches_result
        from labkit.visualization.cropping import crops
        from labkit.visualization.guided import guided_crops

        if layer not in self._tops:
            found = top_patches_result(
                self.model,
                self.data,
                layer,
                count=COUNT,
                side=self.size[0],
                progress=report,
                should_stop=stale,
            )
            if not found.complete:
                raise Stopped
            self._tops[layer] = found
        top = self._tops[layer]
        names = ("units", "values", "pictures", "places", "boxes", "fired")
        rows = {name: getattr(top, name)[[channel]] for name in names}
        one = top._replace(**rows)
        patches = crops(self.model, self.data, one, side=self.size[0])[0]
        text, guided = "", torch.zeros_like(patches[:0])
        try:
            guided = guided_crops(self.model, self.data, one, side=self.size[0], should_stop=stale)[0]
        except ValueError as error:  # a network with other bends: its own panel says so
            text = f"{error}"
        if stale():
            raise Stopped
        beyond = [_share_beyond(box, self.size) for box in one.boxes[0].tolist()]
        return {
            "data": _strip(patches), "guided": _strip(for_the_eye(guided)), "refusal": text,
            "side": _side(max(patches.shape[-2:])), "values": one.values[0].tolist(),
            "pictures": one.pictures[0].tolist(), "beyond": beyond,
            "fired": int(one.fired[0]), "seen": top.seen,
        }  # fmt: skip

    def _ahead(self, stale: Stale) -> None:
        """The other layers of the picture, then the channels beside."""
        count = self._entry(self.layer)["channels"]
        keys: list[tuple] = [("grid", self.picture, one["name"]) for one in self.layers]
        keys += [("patches", 0, self.layer, (self.channel + by) % count) for by in (1, -1, 2, 3)]
        for done, key in enumerate(keys):
            if stale():
                raise Stopped
            if key not in self._cache:
                self._tell(progress=done / len(keys))
            self._answer(key, stale)

    def _answer(self, key: tuple, stale: Stale = never, report: Report = lambda share: None) -> None:
        with torch.inference_mode(False):
            super()._answer(key, stale, report)

    # -- legal values
    @T.validate("layer")
    def _legal_layer(self, proposal: Any) -> str:
        if self.layers:
            check_choice("layer", proposal["value"], [one["name"] for one in self.layers])
        return proposal["value"]

    @T.observe("layer")
    def _layer_chosen(self, change: Any) -> None:
        if self.layers and self.channel >= self._entry(self.layer)["channels"]:
            self.channel = 0

    @T.validate("channel")
    def _legal_channel(self, proposal: Any) -> int:
        if self.layers and self.layer:
            check_class(proposal["value"], self._entry(self.layer)["channels"], "channel")
        return proposal["value"]


def _ascent(model: torch.nn.Module, layer: str, channel: int, **options: Any) -> Tensor:
    """The library's synthesis for a channel."""
    from labkit.models import unit
    from labkit.visualization import visualize_result

    return visualize_result(model, unit(layer, channel), **options).images[0]


def _middles(ends: Tensor, step: int) -> list[float]:
    """The middle of what each place sees, along one side; of ``step`` places that are sent as one."""
    return [float(part.float().mean()) for part in ends.split(step, 1)]


def _strip(patches: Float[Tensor, "k C s t"]) -> bytes:
    """Patches as RGB, one after the other, squares of at most so many pixels."""
    if not len(patches):
        return b""
    side = _side(max(patches.shape[-2:]))
    how: dict[str, Any] = {"mode": "bilinear", "antialias": True} if side >= PATCH else {"mode": "nearest"}
    small = F.interpolate(patches.float(), (side, side), **how)
    return b"".join(pixels(patch) for patch in small)


def _side(size: int) -> int:
    """How large a patch is sent: at most PATCH, and a small one larger, so that its pixels are seen."""
    return PATCH if size > PATCH // 3 else size * (PATCH // 3 // size + 1)


def _share_beyond(box: Sequence[int], size: Sequence[int]) -> float:
    """The share of a box that lies beyond the picture."""
    top, left, bottom, right = box
    inside = max(0, min(bottom, size[0]) - max(top, 0)) * max(0, min(right, size[1]) - max(left, 0))
    return 1 - inside / max(1, (bottom - top) * (right - left))
