"""Activation explorer: a layer, a channel, the patches it fires at, and all values under the pointer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_choice, check_index
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale, never, pixels
from labkit.widgets.kit.worker import Stopped, stoppable
from labkit.widgets.unit_answers import ascent, described, held, patches_of

__all__ = ["ActivationExplorer"]

COUNT = 9  # patches a channel
STEPS = (16, 128)  # of the synthesis: a coarse picture first
Synthesize = Callable[..., Tensor]


class ActivationExplorer(PictureExplorer):
    """Look into a network: all channels of a layer, and of one of them the map, the patches, the ideal.

    The channel's top patches are taken from ``data`` by one pass for all channels of the layer
    (``labkit.visualization.top_patches_result``); beside them stand the guided patches, and what the channel
    looks for, synthesized. The pointer on the picture shows what all channels say at that place; for a pinned
    one a picture is synthesized that all of them like in these shares. Where ``data`` has label maps (a
    ``SceneStack``), the concepts that a channel holds are told (``labkit.visualization.packing``).

    ``layers``: names of layers with feature maps; by default all ReLUs that give one, or else convolutions.
    ``data``: where patches come from, as ``top_patches`` takes it; by default the pictures themselves.
    ``synthesize``: ``(model, layer, channel, *, steps, should_stop) -> (3, H, W)``, by default
    ``labkit.visualization.visualize``; False: none. For a pinned place ``channel`` is the tensor (K,) of all
    channels' values there.
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
    ASKS = ("picture", "layer", "channel", "place")
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
        self._synthesize = ascent if synthesize in (None, True) else synthesize
        self._tops: dict[str, Any] = {}
        self._held: dict[str, list] = {}
        self._steps = sorted(steps)
        super().__init__(model, images, synthesizes=callable(self._synthesize), **given)
        self.data = torch.stack(self.images) if data is None else data
        self.layers = described(self.model, self._placed(self.images[0]), layers)
        self.layer = self.layers[-1]["name"] if layer is None else layer
        self.channel = int(self.grid.flatten(1).amax(1).argmax()) if channel is None else channel
        self._begin()

    def _said(self) -> str:
        return f"layers={[one['name'] for one in self.layers]}"

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
        places: Sequence[Sequence[int]] = (),
    ) -> None:
        """Compute answers before returning, by default for what is on view.

        ``channels``: numbers, or how many of the layer's loudest; ``places``: pixels (x, y) for whose values
        pictures are synthesized. An exported page answers what was computed.
        """
        self.wait_idle(None)
        for layer in [self.layer] if layers is None else layers:
            for picture in [self.picture] if pictures is None else pictures:
                self._answer(("grid", picture, layer))
                for key in (key for place in places for key in self._of_place(picture, layer, place)):
                    self._answer(key)
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
        here = self._of_place(self.picture, self.layer, self.place) if self.place else []
        return [("grid", self.picture, self.layer), *self._of_channel(self.layer, self.channel), *here]

    def _of_channel(self, layer: str, channel: int) -> list[tuple]:
        steps = self._steps if self.synthesizes else ()
        return [("patches", 0, layer, channel), *(("synth", 0, layer, channel, count) for count in steps)]

    def _of_place(self, picture: int, layer: str, place: Sequence[int]) -> list[tuple]:
        """The keys of what is synthesized for the values of all channels where a pixel lies."""
        entry = self._entry(layer)
        ends = ((entry["rows"], place[1]), (entry["columns"], place[0]))
        row, column = (min(range(len(at)), key=lambda k: abs(at[k] - pixel - 0.5)) for at, pixel in ends)
        if not self.synthesizes:
            return []
        if not self._small(self._grid(picture, layer), layer)[:, row, column].any():  # all silent
            return []
        return [("here", picture, layer, row, column, count) for count in self._steps]

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        kind, picture, layer = key[:3]
        where = {"kind": kind, "picture": picture, "layer": layer}
        if kind == "grid":
            grid = self._grid(picture, layer)
            small = self._small(grid, layer)
            quiet = int((grid.flatten(1).amax(1) <= 0).sum())
            scale = {"top": float(small.abs().max()), "signed": bool(small.min() < 0), "quiet": quiet}
            return where | scale | {"dtype": "f4", "data": small.contiguous().numpy().tobytes()}
        if kind == "patches":
            return where | {"channel": key[3]} | self._patches(layer, key[3], stale, report)
        asked: int | Tensor = key[3]
        where |= {"channel": key[3], "steps": key[-1]}
        if kind == "here":
            asked = self._small(self._grid(picture, layer), layer)[:, key[3], key[4]]
            where |= {"channel": -1, "unit": [key[3], key[4]]}
        synthesize = cast(Synthesize, self._synthesize)
        with stoppable(self.model, stale), torch.inference_mode(False), torch.enable_grad():
            made = synthesize(self.model, layer, asked, steps=key[-1], should_stop=stale)
        if stale():
            raise Stopped
        return where | {"data": pixels(made.detach().float().cpu())}

    def _small(self, grid: Float[Tensor, "K H W"], layer: str) -> Float[Tensor, "K h w"]:
        """A grid as it is sent: of several places the largest, where there are too many to be seen."""
        step = self._entry(layer)["step"]
        return F.max_pool2d(grid, step, ceil_mode=True) if step > 1 else grid

    def _grid(self, picture: int, layer: str) -> Float[Tensor, "K h w"]:
        from labkit.visualization import activation_grid

        with torch.inference_mode(False):
            return activation_grid(self.model, self._placed(self.images[picture]), layer)[0].float().cpu()

    def _patches(self, layer: str, channel: int, stale: Stale, report: Report) -> Answer:
        from labkit.visualization import top_patches_result

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
        if layer not in self._held:
            coarse = self._entry(layer)["step"] == 1  # finer maps of all pictures would fill the memory
            self._held[layer] = held(self.model, self.data, layer) if coarse else []
        sent = patches_of(self.model, self.data, self._tops[layer], channel, self.size, stale)
        return sent | {"holds": self._held[layer][channel] if self._held[layer] else None}

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
            count = self._entry(self.layer)["channels"]
            check_index("channel", proposal["value"], count, f"channels in layer {self.layer!r}")
        return proposal["value"]
