"""Overlay explorer: point at a place of a picture, and see where a network sees the same in all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_choice
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.overlays import layers_of, pairs_of, sizes_within
from labkit.widgets.kit.page import module
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale, never, private
from labkit.widgets.kit.worker import Stopped

__all__ = ["OverlayExplorer"]

MOST = 6  # pictures on view at a time
ROOM = 4_450_000  # bytes on a page of 5 MB for pictures and features, which take a third more as base64


class OverlayExplorer(PictureExplorer):
    """Hover any place of any picture: how like it, for a network, is every place of all of them?

    The features of the pictures go to the page, which computes the cosines itself: no kernel is asked while
    the hand moves (``labkit.concepts.similarity_map`` gives the same numbers). They are bytes; where all
    layers do not fit into 5 MB, the largest are projected to their principal dimensions. The largest error of
    a cosine that this makes is measured, and stands below the pictures. A zero vector has cosine 0.

    ``layers``: names of layers with feature maps; by default up to six, of two networks up to four, from
        early to late.
    ``layer``: the one to begin with, by default the last but one.
    ``beside``: a second network of the same pictures, below or beside the first; its layers are those of the
        same names, or ``beside_layers``, as many.
    ``titles``: what the two networks are called.
    ``labels``, ``names``, ``masks``: of each picture the true class, a caption, and where the truth lies.

    Up to six pictures are on view; a further one takes the last one's place. Traits: ``picture`` and
    ``place`` (the pinned pixel [x, y] of that picture, or []), ``layer``, ``both`` (show the second network,
    too), ``over_picture``, ``smooth``, ``stretch`` (colours up to the largest cosine in another picture, not
    up to 1), ``truth``, and ``status``, ``error``, ``progress``, ``cancel``.

    Errors: KeyError and ValueError for layers that are not there or give no map, ValueError for lists of
    layers of different lengths, IndexError for pictures that do not exist.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten()).eval()
    >>> OverlayExplorer(net, torch.rand(2, 3, 8, 8))
    OverlayExplorer(model=Sequential, pictures=2, layers=['1'])
    """

    _esm = module("overlay.js")
    ASKS = ("picture", "layer", "both")
    PLACE = "place"

    layer = T.Unicode("").tag(sync=True)
    place = T.List(T.Int()).tag(sync=True)
    both = T.Bool(False).tag(sync=True)
    over_picture = T.Bool(True).tag(sync=True)
    smooth = T.Bool(True).tag(sync=True)
    stretch = T.Bool(False, help="colours up to the largest cosine in another picture").tag(sync=True)
    layers: T.List = T.List(help="name, the second network's name, and of each the map's sides").tag(
        sync=True
    )
    titles: T.List = T.List(T.Unicode(), help="of one or two networks").tag(sync=True)
    most = T.Int(MOST).tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any,
        *,
        layers: Sequence[str] | None = None,
        layer: str | None = None,
        beside: torch.nn.Module | None = None,
        beside_layers: Sequence[str] | None = None,
        titles: Sequence[str] = ("first network", "second network"),
        **given: Any,
    ) -> None:
        from labkit.core.locks import check_model

        start = given.pop("place", None)
        self._exact: defaultdict[tuple[str, int], list[Tensor]] = defaultdict(list)
        self._bases: dict[tuple[str, int], Tensor | None] = {}
        self._errors: dict[tuple, float] = {}
        self._last = -1  # the picture beyond the first ones that is on view
        networks = 1 if beside is None else 2
        super().__init__(model, images, **({"both": beside is not None} | given))
        self.titles = list(titles)[:networks]
        self._networks = [self.model] if beside is None else [self.model, private(check_model(beside))]
        sample = self._placed(self.images[0])
        self.layers = pairs_of([
            layers_of(net, sample.clone(), names, 6 // networks + networks - 1)
            for net, names in zip(self._networks, (layers, beside_layers or layers), strict=False)
        ])  # fmt: skip
        shown = min(MOST, len(self.images))
        room = int(0.75 * ROOM) - shown * 3 * self.size[0] * self.size[1]
        self._sizes = sizes_within(self.layers, shown, room)
        self.layer = self.layers[-2:][0]["name"] if layer is None else layer
        self.place = self._inside() if start is None else list(start)
        self._begin()

    def _said(self) -> str:
        return f"layers={[one['name'] for one in self.layers]}"

    def _inside(self) -> list[int]:
        """A pixel to begin with: of the object, if its mask is known, nearest to the mask's middle."""
        mask = self._mask(self.picture)
        if mask is None or not mask.any():
            return [self.size[1] // 2, self.size[0] // 2]
        inside = mask.nonzero().float()
        row, column = inside[(inside - inside.mean(0)).norm(dim=1).argmin()].int().tolist()
        return [column, row]

    # -- what Python code asks
    @property
    def on_view(self) -> list[int]:
        """The pictures on view: the first six, or five of them and the one asked for."""
        count = len(self.captions)
        if self.picture >= MOST:
            self._last = self.picture
        first = list(range(min(MOST, count)))
        return first if self._last < MOST else [*first[:-1], self._last]

    @property
    def similarity(self) -> list[Float[Tensor, "h w"]] | None:
        """The cosines that the page draws for the pinned place, a map a picture on view, of the first
        network; None while they wait, and where no place is pinned."""
        from labkit.concepts.overlay import cosines_of_codes, place_at

        answers = [self._cache.get(self._key(picture)) for picture in self.on_view]
        if not self.place or any(answer is None for answer in answers):
            return None
        codes = torch.stack([_codes(answer) for answer in answers if answer is not None])
        side = (self.size[0], self.size[1])
        x, y = self.place
        at = place_at(x, y, side, (codes.shape[1], codes.shape[2]))
        return list(cosines_of_codes(codes, self.on_view.index(self.picture), at))

    @property
    def cosine_error(self) -> float:
        """The largest error of a cosine on the page, of the layer on view and every network shown."""
        keys = [self._key(p, self.layer, n) for p in self.on_view for n in range(self._shown)]
        return max((answer["error"] for answer in map(self._cache.get, keys) if answer), default=0.0)

    def precompute(self, pictures: Sequence[int] | None = None, layers: Sequence[str] | None = None) -> None:
        """Compute features before returning, by default of all pictures on view and all layers.

        An exported page shows what was computed.
        """
        self.wait_idle(None)
        for layer in [one["name"] for one in self.layers] if layers is None else layers:
            for picture in self.on_view if pictures is None else pictures:
                for network in range(len(self._networks)):
                    self._answer(self._key(picture, layer, network))

    # -- the answers: the features of a picture, for a layer of a network
    @property
    def _shown(self) -> int:
        return len(self._networks) if self.both else 1

    def _key(self, picture: int, layer: str | None = None, network: int = 0) -> tuple:
        return ("features", picture, self.layer if layer is None else layer, network)

    def _wanted(self) -> list[tuple]:
        others = [p for p in self.on_view if p != self.picture]
        return [self._key(p, None, n) for p in [self.picture, *others] for n in range(self._shown)]

    def _ahead(self, stale: Stale) -> None:
        """The other layers of the pictures on view."""
        for layer in [one["name"] for one in self.layers]:
            for picture in self.on_view:
                for network in range(len(self._networks)):
                    if stale():
                        raise Stopped
                    self._answer(self._key(picture, layer, network), stale)

    def _work(self, stale: Stale) -> None:
        for picture in self.on_view:
            self._photo(picture)
        super()._work(stale)

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        from labkit.concepts.overlay import cosine_error, similarity_codes

        _, picture, layer, network = key
        where, maps = (layer, network), self._features(layer, network, picture)
        if where not in self._bases:
            first = torch.cat(self._exact[where][:MOST])
            self._bases[where] = similarity_codes(first, self._sizes[where]).basis
        basis = self._bases[where]
        group = torch.cat([*self._exact[where][: min(MOST, len(self.images))], maps])
        mark = (*where, 0 if picture < MOST else picture)
        if mark not in self._errors:
            self._errors[mark] = cosine_error(group, similarity_codes(group, basis=basis).values)
        codes = similarity_codes(maps, basis=basis).values[0]
        return {
            "kind": "features", "picture": picture, "layer": layer, "network": network,
            "height": codes.shape[0], "width": codes.shape[1], "count": codes.shape[2],
            "of": maps.shape[1], "signed": bool((group < 0).any()), "error": self._errors[mark],
            "data": codes.contiguous().numpy().tobytes(),
        }  # fmt: skip

    def _features(self, layer: str, network: int, picture: int) -> Float[Tensor, "1 K h w"]:
        """What a layer of a network gives for a picture; the first pictures are asked first, as their
        features choose what is kept, and each of them once for all layers."""
        from labkit.core.locks import lock_of
        from labkit.models import record

        net, names = self._networks[network], [one["of"][network] for one in self.layers]
        done = len(self._exact[layer, network])
        for index in range(done, max(picture + 1, min(MOST, len(self.images)))):
            with lock_of(net), torch.no_grad(), record(net, *names) as found:
                net(self._placed(self.images[index]))
            for one in self.layers:
                self._exact[one["name"], network].append(found[one["of"][network]].float().cpu().clone())
        return self._exact[layer, network][picture]

    def _answer(self, key: tuple, stale: Stale = never, report: Report = lambda share: None) -> None:
        self._photo(key[1])
        super()._answer(key, stale, report)

    # -- legal values
    @T.validate("layer")
    def _legal_layer(self, proposal: Any) -> str:
        if self.layers:
            check_choice("layer", proposal["value"], [one["name"] for one in self.layers])
        return proposal["value"]

    @T.validate("place")
    def _legal_place(self, proposal: Any) -> list[int]:
        place = proposal["value"]
        inside = len(place) == 2 and all(0 <= v < s for v, s in zip(place, self.size[::-1], strict=True))
        if place and self.size and not inside:
            raise IndexError(
                f"place must be [] or a pixel [x, y] of a picture of {self.size[1]} x {self.size[0]}; "
                f"got {place}."
            )
        return place


def _codes(answer: Answer) -> Tensor:
    shape = answer["height"], answer["width"], answer["count"]
    return torch.frombuffer(bytearray(answer["data"]), dtype=torch.int8).view(shape)
