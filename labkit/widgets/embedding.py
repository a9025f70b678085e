"""Embedding explorer: thousands of pictures where their features lie, by t-SNE, PCA or DeepMDS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as T
from torch import Tensor

from labkit.core.checks import check_choice, check_positive
from labkit.widgets.kit.base import Explorer
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.embeddings import PROJECTIONS, Space, atlas, folder_pictures, groups_of, thumb
from labkit.widgets.kit.page import module, text_of
from labkit.widgets.kit.worker import Stopped

__all__ = ["EmbeddingExplorer"]

Stale = Callable[[], bool]
NEAR = 8  # neighbours that are shown
PAUSE = 1 / 30  # seconds between two frames: no page draws more


class EmbeddingExplorer(Explorer):
    """See which pictures lie near each other for a network, and what a projection to the plane keeps of it.

    ``model``: an eval-mode classifier of pictures in [0, 1].
    ``images``: (N, 3, H, W) from 0 to 1, bytes (N, H, W, 3), or the path of a folder of photographs.
    ``features``: (N, D); by default the last feature map of ``model``, averaged over places, or ``layer``'s.
    ``groups``: title -> (names, numbers): what points may be coloured by, such as "class" and "ground"; the
        network's "answer" is added.
    ``neighbors``: your own ``function(features, k)`` that returns row numbers (N, k).
    ``perplexities``: those that t-SNE's slider offers; the ones too large for N are left out.
    ``steps``: of t-SNE (a third of them early ones) and of DeepMDS.

    Traits: ``picture`` (which projection: 0 t-SNE, 1 PCA, 2 DeepMDS), ``perplexity`` (number on the slider),
    ``colour`` (a title of ``groups``), ``zoom`` (size of the pictures, 0: marks), ``point`` (the pinned one,
    or -1), ``chosen`` (those in the lasso), and ``status``, ``error``, ``progress``, ``cancel``. A t-SNE that
    was stopped is gone on with when ``again`` changes.

    Errors: ValueError for fewer than 12 pictures, an empty folder, features of another number of rows.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
    ...                           torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
    >>> EmbeddingExplorer(net, torch.rand(16, 3, 8, 8), picture=1)
    EmbeddingExplorer(model=Sequential, pictures=16, groups=['answer'])
    """

    _esm = module("embedding.js")
    _css = text_of("kit/kit.css")

    picture = T.Int(0).tag(sync=True)
    perplexity = T.Int(0).tag(sync=True)
    colour = T.Unicode("answer").tag(sync=True)
    zoom = T.Int(3).tag(sync=True)
    point = T.Int(-1).tag(sync=True)
    chosen = T.List(T.Int()).tag(sync=True)
    again = T.Int(0, help="changed to go on with what was stopped").tag(sync=True)
    path = T.Unicode("").tag(sync=True)
    target = T.Int(-1).tag(sync=True)
    truth = T.Bool(False).tag(sync=True)
    measured = T.Bool(False).tag(sync=True)
    classes = T.List(T.Unicode()).tag(sync=True)
    captions: T.List = T.List(help="name and thumbnail of each projection").tag(sync=True)
    size = T.List([1, 1]).tag(sync=True)
    stops: T.List = T.List(help="the perplexities of the slider").tag(sync=True)
    shown: T.Dict = T.Dict(help="the pictures in one sheet, their names, groups and neighbours").tag(
        sync=True
    )
    photo = T.Dict().tag(sync=True)
    delivery = T.Dict(help="the latest points sent").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any,
        *,
        features: Any = None,
        layer: str | None = None,
        groups: Mapping[str, tuple[Sequence[str], Any]] | None = None,
        names: Sequence[str] | None = None,
        neighbors: Callable[[Tensor, int], Tensor] | None = None,
        perplexities: Sequence[float] = (5, 15, 30, 50),
        perplexity: float = 30,
        steps: int = 750,
        **traits: Any,
    ) -> None:
        from labkit.core.locks import check_model

        self.model, self._layer, self._steps, self._offered = check_model(model), layer, steps, perplexities
        self.method = neighbors
        check_positive("steps", steps)
        self._answers: dict[tuple, Answer] = {}
        self._parts: dict[tuple, Any] = {}
        self._space: Space | None = None
        found = self._taken(images, features, groups or {}, names)
        given = {"captions": [{"name": name, "truth": "", "thumb": thumb(name)} for name in PROJECTIONS]}
        super().__init__(**(given | found | {"colour": next(iter(groups or {}), "answer")} | traits))
        close = min(range(len(self.stops)), key=lambda i: abs(self.stops[i] - perplexity))
        self.perplexity = close
        self.observe(self._asked, ["picture", "perplexity", "watched", "again"])
        self._request()

    def __repr__(self) -> str:
        names = [*self._groups, "answer"]
        return f"EmbeddingExplorer(model={type(self.model).__name__}, pictures={self._count}, groups={names})"

    def _taken(self, images: Any, features: Any, groups: Any, names: Any) -> dict[str, Any]:
        """Check what is to be shown and keep it; gives the traits that follow."""
        if isinstance(images, str | Path):
            images, names = folder_pictures(images, getattr(self.model, "input_size", None) or 224)
        count = len(images)
        if count < 12:
            raise ValueError(f"images must be at least 12 pictures for an embedding; got {count}.")
        for title, (_, values) in groups.items():
            if len(values) != count:
                raise ValueError(f"groups[{title!r}] must have a number for each of {count} pictures.")
        if features is not None and len(features) != count:
            raise ValueError(f"features must have a row for each of {count} pictures; got {len(features)}.")
        stops = [float(p) for p in self._offered if 1 < p <= (count - 1) / 3] or [max(2.0, (count - 1) // 4)]
        self._images, self._given, self._groups, self._count = images, features, dict(groups), count
        self._names = list(names) if names is not None else [f"picture {i + 1}" for i in range(count)]
        self._space = None
        self._answers.clear()
        self._parts.clear()
        return {"stops": stops}

    # -- what Python code asks
    @property
    def points(self) -> Tensor | None:
        """The points on view (N, 2), or None while there are none."""
        found = self._answers.get(self._key())
        return None if found is None else torch.tensor(np.frombuffer(found["data"], np.float32)).view(-1, 2)

    @property
    def space(self) -> Space:
        """Features, neighbours and groups; computed when first asked for."""
        if self._space is None:
            self._space = Space.of(
                self.model, self._images, self._given, self._layer, self._groups, self.method, NEAR
            )
        return self._space

    def precompute(
        self, projections: Sequence[int] = (0, 1, 2), perplexities: Sequence[int] | None = None
    ) -> None:
        """Compute projections before returning, t-SNE for every perplexity of the slider or those numbered.

        An exported page shows what was computed.
        """
        self.wait_idle(None)
        for picture in projections:
            numbers = range(len(self.stops)) if perplexities is None else perplexities
            for number in numbers if picture == 0 else [0]:
                self._answer((picture, number), lambda: False)

    # -- the answers
    def _key(self) -> tuple[int, int]:
        return (self.picture, self.perplexity if self.picture == 0 else 0)

    def _asked(self, change: Any) -> None:
        self._request()

    def _work(self, stale: Stale) -> None:
        self._tell(error="", status="computing", progress=0.0)
        if not self.shown:
            self._tell(shown=self._sheet())
        if stale():
            raise Stopped
        key = self._key()
        self._answer(key, stale)
        # what a page that was opened later is to find
        self._tell(status="ready", progress=1.0, delivery=self._answers[key] | {"sent": self.watched})

    def _sheet(self) -> dict[str, Any]:
        space = self.space
        return atlas(self._images) | {
            "names": self._names, "k": NEAR, "near": space.near.numpy().astype(np.uint16).tobytes(),
            "groups": groups_of(space.groups), "purity": space.purity(space.near),
        }  # fmt: skip

    def _answer(self, key: tuple[int, int], stale: Stale) -> None:
        if not self.shown:
            self._tell(shown=self._sheet())
        if key not in self._answers:
            points, complete = self._project(key, stale)
            if not complete:
                raise Stopped
            self._answers[key] = self._sent(key, points, self._total(key))

    def _total(self, key: tuple[int, int]) -> int:
        return 1 if key[0] == 1 else self._steps

    def _sent(self, key: tuple[int, int], points: Tensor, step: int) -> Answer:
        whole = step >= self._total(key)
        centred = points.float() - points.float().mean(0)
        scaled = (centred / centred.abs().max().clamp(min=1e-9)).contiguous()
        return {
            "kind": "points", "picture": key[0], "perplexity": key[1], "target": -1, "step": step,
            "of": self._total(key), "whole": whole, "dtype": "f4", "data": scaled.cpu().numpy().tobytes(),
            "purity": self.space.purity_of(scaled) if whole else {},
        }  # fmt: skip

    def _project(self, key: tuple[int, int], stale: Stale) -> tuple[Tensor, bool]:
        from labkit.visualization import deep_mds_result, pca, tsne_result

        rows = self.space.features

        told = 0.0

        def frame(step: int, points: Tensor) -> None:
            nonlocal told
            if not stale() and step < self._steps and time.monotonic() - told >= PAUSE:
                told = time.monotonic()
                self._tell(delivery=self._sent(key, points, step))

        watch: dict[str, Any] = {
            "progress": lambda share: self._tell(progress=share), "should_stop": stale, "on_frame": frame,
        }  # fmt: skip
        if key[0] == 1:
            return pca(rows), True
        if key[0] == 2:
            done = deep_mds_result(rows, steps=self._steps, every=max(1, self._steps // 40), **watch)
            return done.points, done.complete
        early = max(1, self._steps // 3)
        self._parts[key] = found = tsne_result(
            rows, perplexity=self.stops[key[1]], early_steps=early, steps=max(1, self._steps - early),
            every=5, resume=self._parts.get(key), **watch,
        )  # fmt: skip
        return found.points, found.complete

    def _saved(self) -> list[Answer]:
        on_view = self._key()
        return [self._answers[key] for key in sorted(self._answers, key=lambda key: key != on_view)]

    # -- a folder of one's own
    @T.observe("path")
    def _path_given(self, change: Any) -> None:
        if not change["new"]:
            return
        try:
            found = self._taken(Path(change["new"]).expanduser(), None, {}, None)
        except Exception as error:  # a mistyped path is answered in the widget
            self._tell(error=str(error), status="error")
            return
        with self.hold_trait_notifications():
            self._tell(**found, shown={}, delivery={}, point=-1, chosen=[], colour="answer", perplexity=0)
        self._request()

    # -- legal values
    @T.validate("picture")
    def _legal_picture(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(PROJECTIONS):
            raise IndexError(f"picture must be from 0 to 2, {PROJECTIONS}; got {proposal['value']}.")
        return proposal["value"]

    @T.validate("perplexity")
    def _legal_perplexity(self, proposal: Any) -> int:
        if self.stops and not 0 <= proposal["value"] < len(self.stops):
            raise IndexError(
                f"perplexity must be the number of one of the stops {self.stops}; got {proposal['value']}."
            )
        return proposal["value"]

    @T.validate("point")
    def _legal_point(self, proposal: Any) -> int:
        if not -1 <= proposal["value"] < self._count:
            raise IndexError(f"point must be -1 or from 0 to {self._count - 1}; got {proposal['value']}.")
        return proposal["value"]

    @T.validate("colour")
    def _legal_colour(self, proposal: Any) -> str:
        check_choice("colour", proposal["value"], [*self._groups, "answer"])
        return proposal["value"]
