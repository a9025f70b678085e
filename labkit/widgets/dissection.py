"""Dissection explorer: every unit of a layer against every label, its top pictures, cut where you cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as T
from torch import nn

from labkit.core.checks import check_positive, check_share
from labkit.widgets.kit.base import Explorer
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.dissecting import sheet, units_answer
from labkit.widgets.kit.embeddings import folder_pictures, thumb
from labkit.widgets.kit.page import module, text_of
from labkit.widgets.kit.worker import Stopped, stoppable

__all__ = ["DissectionExplorer"]

Stale = Callable[[], bool]
QUANTILES = (0.005, 0.01, 0.02, 0.05)
LEVELS = (0.04, 0.06, 0.08, 0.1, 0.15, 0.2)


class DissectionExplorer(Explorer):
    """See what the units of a layer detect: all of them by IoU, and each one's pictures with its masks.

    ``models``: an eval-mode network of pictures in [0, 1], or several by name. Snapshots of one training, as
        their cards say ("snapshot": {"of": name, "after epochs": number}), and that network itself are one
        choice, with a slider over the epochs.
    ``images``: (N, 3, H, W) from 0 to 1, bytes (N, H, W, 3), a stack of scenes with its label maps, or the
        path of a folder of photographs.
    ``maps``, ``names``: label maps (N, H, W) by kind, and the labels' names from 1 on, as
        ``labkit.concepts.dissect`` takes them. Without them the pictures alone are shown.
    ``layers``: names of layers with feature maps, or one.
    ``quantiles``: the shares of its activations that a unit's threshold leaves, the slider's stops.
    ``powers``: how far the units are turned, from 0 (not) to 1 (all the way); the rotation is drawn once.
    ``count``: pictures a unit. ``level``: the IoU above which a unit is called a detector.

    Traits: ``picture`` (which network and layer), ``quantile``, ``power`` and ``level`` (numbers of stops),
    ``unit`` (the pinned one, or -1), and ``status``, ``error``, ``progress``, ``cancel``.

    Errors: ValueError for fewer than two pictures, for label maps that do not fit and shares outside (0, 1);
    KeyError for a layer that is not there, in the widget.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten()).eval()
    >>> DissectionExplorer(net, torch.rand(4, 3, 8, 8), layers="1")
    DissectionExplorer(networks=['Sequential'], layers=['1'], pictures=4, kinds=[])
    """

    _esm = module("dissection.js")
    _css = text_of("kit/kit.css")

    picture = T.Int(0).tag(sync=True)
    quantile = T.Int(0).tag(sync=True)
    power = T.Int(0).tag(sync=True)
    level = T.Int(0).tag(sync=True)
    unit = T.Int(-1).tag(sync=True)
    target = T.Int(-1).tag(sync=True)
    truth = T.Bool(False).tag(sync=True)
    measured = T.Bool(False).tag(sync=True)
    classes = T.List(T.Unicode()).tag(sync=True)
    captions: T.List = T.List(help="name and thumbnail of each network and layer").tag(sync=True)
    size = T.List([1, 1]).tag(sync=True)
    stops: T.Dict = T.Dict(help="the sliders' stops").tag(sync=True)
    labels: T.List = T.List(help="kind and name of each label").tag(sync=True)
    shown: T.Dict = T.Dict(help="the pictures in one sheet").tag(sync=True)
    photo = T.Dict().tag(sync=True)
    delivery = T.Dict(help="the latest units sent").tag(sync=True)

    def __init__(
        self,
        models: nn.Module | Mapping[str, nn.Module],
        images: Any,
        *,
        layers: str | Sequence[str],
        maps: Mapping[str, Any] | None = None,
        names: Mapping[str, Sequence[str]] | None = None,
        quantiles: Sequence[float] = QUANTILES,
        quantile: float | None = None,
        powers: Sequence[float] = (0.0,),
        levels: Sequence[float] = LEVELS,
        level: float = 0.1,
        count: int = 9,
        **traits: Any,
    ) -> None:
        from labkit.core.locks import check_model

        named = models if isinstance(models, Mapping) else {type(models).__name__: models}
        self._models = {name: check_model(model) for name, model in named.items()}
        self._layers = [layers] if isinstance(layers, str) else list(layers)
        self._views = [(name, layer) for name in self._models for layer in self._layers]
        check_positive("count", count)
        for share in quantiles:
            check_share("quantiles", share, "0.005 is the paper's.")
        self._quantiles, self._powers, self._count = list(quantiles), list(powers), count
        self._images, self._maps, self._names = self._taken(images, maps, names)
        self._answers: dict[tuple, Answer] = {}
        start = 0.02 if quantile is None else quantile
        stops = {"quantile": self._quantiles, "power": self._powers, "level": list(levels)}
        several = len(self._models) > 1
        trained = _trainings(self._models)
        captions = [
            {"name": f"{name}, {layer}" if several else layer, "truth": "", "thumb": thumb(layer)}
            | {"layer": layer, **trained.get(name, {})}
            | ({"label": f"{trained[name]['of']}, {layer}"} if name in trained else {})
            for name, layer in self._views
        ]
        given = {
            "captions": captions, "stops": stops,
            "labels": [[kind, name] for kind in self._maps for name in self._names[kind]],
            "quantile": _nearest(self._quantiles, start), "level": _nearest(levels, level),
        }  # fmt: skip
        super().__init__(**(given | traits))
        self.observe(self._asked, ["picture", "power", "watched"])
        self._request()

    def __repr__(self) -> str:
        return (
            f"DissectionExplorer(networks={list(self._models)}, layers={self._layers}, "
            f"pictures={len(self._images)}, kinds={list(self._maps)})"
        )

    def _taken(self, images: Any, maps: Any, names: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Pictures with label maps: a stack of scenes carries its own, a folder has none."""
        from labkit.data import MiniBroden, SceneStack

        if isinstance(images, SceneStack):
            maps = {k: v for k, v in images.maps.items() if k in MiniBroden.names} if maps is None else maps
            names = {k: v[1:] for k, v in MiniBroden.names.items()} if names is None else names
            images = images.images
        elif isinstance(images, str | Path):
            size = getattr(next(iter(self._models.values())), "input_size", None)
            images, _ = folder_pictures(images, size or 224)
        if len(images) < 2:
            raise ValueError(f"images must be at least 2 pictures; got {len(images)}.")
        found = {kind: np.asarray(values) for kind, values in (maps or {}).items()}
        for kind, values in found.items():
            if values.ndim != 3 or len(values) != len(images) or kind not in (names or {}):
                raise ValueError(
                    f"maps[{kind!r}] must be (N, H, W) with a map a picture, N = {len(images)}, and names "
                    f"must name its labels; got {tuple(values.shape)}."
                )
        return images, found, dict(names or {})

    # -- what Python code asks
    @property
    def units(self) -> list[tuple[int, str, str, float]]:
        """The units on view that are detectors: number, kind, label, IoU, the best first; empty while none
        is computed."""
        found = self._answers.get(self._key())
        if found is None or not self.labels:
            return []
        table, level = found["tables"][self.quantile], self.stops["level"][self.level]
        rows = [
            (unit, *self.labels[label], iou)
            for unit, (label, iou) in enumerate(zip(table["label"], table["iou"], strict=True))
            if iou > level
        ]
        return sorted(rows, key=lambda row: -row[-1])

    def precompute(self, pictures: Sequence[int] | None = None, powers: Sequence[int] = (0,)) -> None:
        """Compute networks and layers before returning, by default all; an exported page shows these.

        ``powers``: numbers of the rotation's stops.
        """
        self.wait_idle(None)
        for picture in range(len(self._views)) if pictures is None else pictures:
            for power in powers:
                self._answer((picture, power), lambda: False)

    # -- the answers
    def _key(self) -> tuple[int, int]:
        return (self.picture, self.power)

    def _asked(self, change: Any) -> None:
        self._request()

    def _work(self, stale: Stale) -> None:
        self._tell(error="", status="computing", progress=0.0)
        if not self.shown:
            self._tell(shown=sheet(self._images))
        key = self._key()
        self._answer(key, stale)
        self._tell(status="ready", progress=1.0, delivery=self._answers[key] | {"sent": self.watched})

    def _answer(self, key: tuple[int, int], stale: Stale) -> None:
        from labkit.concepts.rotations import random_rotation, rotation_power

        if not self.shown:
            self._tell(shown=sheet(self._images))
        if stale():
            raise Stopped
        if key in self._answers:
            return
        (name, layer), power = self._views[key[0]], self._powers[key[1]]
        model = self._models[name]
        with stoppable(model, stale), torch.inference_mode(False):
            turn = rotation_power(random_rotation(self._width(model, layer)), power) if power else None
            found = units_answer(
                model, self._images, layer, maps=self._maps, names=self._names, quantiles=self._quantiles,
                rotation=turn, count=self._count, report=lambda share: self._tell(progress=share),
            )  # fmt: skip
        self._answers[key] = {"kind": "units", "picture": key[0], "power": key[1], "target": -1, **found}

    def _width(self, model: nn.Module, layer: str) -> int:
        from labkit.concepts.thresholds import LayerMaps
        from labkit.core.hooks import borrow
        from labkit.models.features import batches

        with borrow(model):
            return int(LayerMaps(model, layer, None)(next(batches(self._images[:1]))).shape[1])

    def _saved(self) -> list[Answer]:
        on_view = self._key()
        return [self._answers[key] for key in sorted(self._answers, key=lambda key: key != on_view)]

    # -- legal values
    @T.validate("picture")
    def _legal_picture(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self._views):
            raise IndexError(f"picture must be from 0 to {len(self._views) - 1}; got {proposal['value']}.")
        return proposal["value"]

    @T.validate("quantile", "power", "level")
    def _legal_stop(self, proposal: Any) -> int:
        name, there = proposal["trait"].name, self.stops.get(proposal["trait"].name, [])
        if there and not 0 <= proposal["value"] < len(there):
            raise IndexError(
                f"{name} must be the number of one of the stops {there}; got {proposal['value']}."
            )
        return proposal["value"]


def _trainings(models: Mapping[str, nn.Module]) -> dict[str, dict[str, Any]]:
    """The networks that were kept of a training: ``of`` which network, and after how many ``epochs``."""
    cards = {name: getattr(model, "card", None) or {} for name, model in models.items()}
    kept = {name: card["snapshot"] for name, card in cards.items() if card.get("snapshot")}
    found = {name: {"of": s["of"], "epochs": s["after epochs"]} for name, s in kept.items()}
    watched = {one["of"] for one in found.values()}
    for name, card in cards.items():
        if name not in found and card.get("name") in watched and card.get("recipe"):
            found[name] = {"of": card["name"], "epochs": card["recipe"]["epochs"]}
    return found


def _nearest(stops: Sequence[float], value: float) -> int:
    return min(range(len(stops)), key=lambda i: abs(stops[i] - value))
