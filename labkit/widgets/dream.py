"""Dream explorer: what a layer, a channel or a direction adds to a picture, keeps of it, or takes for its
texture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_choice, check_images
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.dreams import (
    Job,
    Judged,
    amplified,
    as_noisy,
    check_options,
    correlation,
    dreaming,
    gram_distance,
    inverting,
    shuffled,
    texturing,
)
from labkit.widgets.kit.page import module
from labkit.widgets.kit.searches import Frames, LayerSearch, Search

__all__ = ["DreamExplorer"]

MODES = ("dream", "inversion", "texture")
GOALS = ("layer", "channel", "class")
OTHERS = 8  # pictures that an inversion is held against


class DreamExplorer(Judged, LayerSearch):
    """Pictures made from what a network computes, watched while they are made, stopped, resumed, scrubbed.

    Three modes: ``dream`` (``labkit.style.deepdream``: more of what a layer, a channel, a class or a
    direction sees in the picture), ``inversion`` (``invert``: a picture with the same features at a layer)
    and ``texture`` (``gram_texture``: from the Gram matrices of all layers up to one). Beside each frame
    stands its number and what it is to be held against: for a dream the same number of the picture with noise
    of equal size; for an inversion its correlation with the picture and with others; for a texture its Gram
    distance from the sample, by a ``judge``, and that of the sample's own pixels shuffled.

    ``layers``: names of layers, from early to late; None: up to six that give feature maps.
    ``directions``: targets of your own by name, such as ``{"striped": direction("features.13", vector)}``.
    ``crops``: (N, C, h, w), another piece of each picture's texture, which the judge measures too.
    ``judge``, ``judge_layers``: the network that measures textures; None: the bundled ``minivgg-11``.
    ``dream``, ``inversion``, ``texture``: options of the three functions, such as ``{"steps": 20}``.
    ``labels``, ``names``, ``masks``: of each picture, as of every explorer of pictures.

    Traits: ``picture``, ``mode``, ``layer``, ``goal`` ("layer", "channel", "class" or a direction's name, of
    dreams alone), ``channel``, ``target`` (the class), ``frame`` (-1: the last), ``resume`` and ``anew``
    (counted up to ask for it), and ``status``, ``error``, ``progress``, ``cancel``.

    Errors: KeyError for unknown layers, TypeError for unknown options, ValueError for layers without channels
    and unknown modes and goals, IndexError for pictures, classes, channels and frames that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> DreamExplorer(net.eval(), torch.rand(1, 3, 32, 32), layers=["0"], dream={"octaves": 1, "steps": 2})
    DreamExplorer(model=Sequential, pictures=1, layers=['0'])
    """

    _esm = module("dream.js")
    KIND = "dream"
    ASKS = ("picture", "target", "mode", "layer", "goal", "channel")

    mode = T.Unicode("dream").tag(sync=True)
    goal = T.Unicode("layer").tag(sync=True)
    goals = T.List(T.Unicode()).tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any,
        *,
        layers: Sequence[str] | None = None,
        directions: Mapping[str, Any] | None = None,
        crops: Float[Tensor, "N C h w"] | None = None,
        judge: torch.nn.Module | None = None,
        judge_layers: Sequence[str] | None = None,
        dream: Mapping[str, Any] | None = None,
        inversion: Mapping[str, Any] | None = None,
        texture: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> None:
        from labkit.style import deepdream, gram_texture, invert
        from labkit.widgets.kit.overlays import layers_of

        self.options = {
            "dream": check_options("dream", deepdream, dream or {}),
            "inversion": check_options("inversion", invert, inversion or {}),
            "texture": check_options("texture", gram_texture, texture or {}),
        }
        self.directions = dict(directions or {})
        for name in self.directions:
            if name in GOALS:
                raise ValueError(f"directions must not be named {', '.join(GOALS)}; got {name!r}.")
        self.crops = None if crops is None else check_images(crops, "crops").detach().cpu().float()
        self._judge, self._judge_layers = judge, judge_layers
        wanted = {name: given.pop(name) for name in [*self.ASKS[1:], "frame"] if name in given}
        super().__init__(model, images, **given)
        self._first = len(self.images)  # a photograph of one's own changes no number
        found = layers_of(self.model, self._placed(self.images[0])) if layers is None else layers
        self.layers = self._channels(list(found))
        if not self.layers:
            raise ValueError("layers must name at least one layer, or be None.")
        self.goals = [*GOALS, *self.directions]
        self.layer = self.layers[len(self.layers) // 2]["name"]
        for name, value in wanted.items():
            setattr(self, name, value)
        self._begin()

    def _said(self) -> str:
        return f"layers={[layer['name'] for layer in self.layers]}"

    # -- the searches
    def _key(self, changes: dict[str, Any] | None = None) -> tuple:
        now = {name: getattr(self, name) for name in self.ASKS} | (changes or {})
        # what a search does not depend on stands at its first value, so that it is made once
        if now["mode"] != "dream":
            now["goal"] = "layer"
        if now["goal"] not in ("layer", "channel"):
            now["layer"] = ""
        if now["goal"] != "channel":
            now["channel"] = 0
        if now["goal"] == "class":
            now["target"] = self._named(now["picture"], now["target"])[1]
        else:
            now["target"] = -1
        return (self.KIND, *now.values())

    def _goal(self, key: tuple) -> Any:
        from labkit.models import unit

        _, _, target, _, layer, goal, channel = key
        if goal in self.directions:
            return self.directions[goal]
        return {"layer": layer, "class": target}.get(goal) if goal != "channel" else unit(layer, channel)

    def _up_to(self, layer: str) -> list[str]:
        """The layers with maps from the first to this one."""
        names = [one["name"] for one in self.layers]
        found = [one["name"] for one in self.layers[: names.index(layer) + 1] if one["maps"]]
        if not found:
            raise ValueError(f"a texture needs layers that give maps; up to {layer!r} there is none.")
        return found

    def _search(self, key: tuple, model: torch.nn.Module, frames: Frames) -> Job:
        _, picture, _, mode, layer, _, _ = key
        image = self._placed(self.images[picture])
        if mode == "dream":
            return dreaming(model, image, self._goal(key), self.options[mode], frames)
        if mode == "inversion":
            return inverting(model, image, layer, self.options[mode], frames)
        return texturing(model, image, self._up_to(layer), self.options[mode], frames)

    def _answered(self, key: tuple, search: Search) -> Answer:
        _, picture, _, mode, *_ = key
        lines = {"dream": self._dreamt, "inversion": self._inverted, "texture": self._woven}[mode]
        for step, shown in list(search.frames):
            if step not in search.measured:
                search.measured[step] = lines(key, self.images[picture], shown.float())
        told = [search.measured[step] for step, _ in search.frames]
        return dict(zip(self.ASKS, key[1:], strict=True)) | {
            "kind": self.KIND, "complete": search.run.done, "steps": search.steps,
            "at": [step for step, _ in search.frames], "data": self._bytes(search.frames),
            "lines": [list(values) for values in zip(*told, strict=True)],
        }  # fmt: skip

    # -- the numbers of a frame: its own first, then what it is to be held against
    def _dreamt(self, key: tuple, image: Tensor, shown: Tensor) -> list[float | None]:
        both = torch.stack([shown, as_noisy(image, shown)])
        return amplified(self.model, both.to(self._placed(image)), self._goal(key)).tolist()

    def _inverted(self, key: tuple, image: Tensor, shown: Tensor) -> list[float | None]:
        others = [i for i in range(min(self._first, OTHERS + 1)) if i != key[1]][:OTHERS]
        rest = correlation(shown, torch.stack([self.images[i] for i in others])) if others else None
        own = float(correlation(shown, image[None])[0])
        return [own, None if rest is None else float(rest.mean())]

    def _woven(self, key: tuple, image: Tensor, shown: Tensor) -> list[float | None]:
        judge, layers = self.judge
        found = gram_distance(judge, torch.stack([shown, shuffled(image)]), image[None], layers).tolist()
        crop = None
        if self.crops is not None and key[1] < len(self.crops):
            crop = float(gram_distance(judge, self.crops[key[1]][None], image[None], layers)[0])
        return [*found, crop]

    # -- legal values
    @T.validate("mode")
    def _legal_mode(self, proposal: Any) -> str:
        check_choice("mode", proposal["value"], MODES)
        return proposal["value"]

    @T.validate("goal")
    def _legal_goal(self, proposal: Any) -> str:
        if self.goals:
            check_choice("goal", proposal["value"], self.goals)
        return proposal["value"]
