"""Patch explorer: drag and turn a patch over scenes, what two networks say follows, its controls beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_class, check_images, check_positive
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.embeddings import folder_pictures
from labkit.widgets.kit.page import module
from labkit.widgets.kit.patching import PIECES, Laying, as_patch, fitted, of_spectrum
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale, pixels, private
from labkit.widgets.kit.worker import Stopped

__all__ = ["PatchExplorer"]

PLACES, TURNS, SIDES = 7, (-60, -30, 0, 30, 60), (25, 35)
LOTS = 12  # places by lot on each scene, for how often the class is named


class PatchExplorer(PictureExplorer):
    """Lay a patch over a scene, drag it, turn it, scale it: the network's answer follows, a judge's beside.

    ``model``: an eval-mode classifier of pictures in [0, 1]. ``judge``: a second one with the same classes.
    ``images``: (N, 3, H, W), a list of pictures and paths, or the path of a folder of photographs.
    ``patch``: (3, S, S), or what ``adversarial_patch_result`` returns; ``target``: the class it is made for.
    ``cut``: a piece of a picture of that class, (3, H, W), the patch's control; None: the middle half of the
        picture that the network is surest is of the class.
    ``shape``: "disc" or "square". ``titles``: of the two networks.
    ``places``, ``turns``, ``sides``: places a side, angles in degrees and sides in per cent of the picture's
        that are computed for a page.

    Pieces: "learned" (the patch), and of the same size "cut", "texture" (a random one with the patch's
    spectrum) and "grey". With a kernel the answer is that of the very place; a page has the nearest of its
    places, where it lays the patch. How often the class is named is counted over places by lot on all
    ``images`` of other classes.

    Traits: ``picture``, ``piece``, ``place`` (pixel [x, y] of its middle), ``angle`` (degrees against the
    clock), ``side`` (per cent), and ``status``, ``error``, ``progress``, ``cancel``.

    Errors: TypeError and ValueError for what is no patch, networks of other classes and numbers out of range;
    IndexError for pictures, classes and places that do not exist.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    >>> PatchExplorer(net, torch.rand(2, 3, 8, 8), torch.rand(3, 4, 4), 1)
    PatchExplorer(model=Sequential, pictures=2, pieces=['learned', 'cut', 'texture', 'grey'], judge=False)
    """

    _esm = module("patch.js")
    ASKS = ("picture", "piece", "place", "angle", "side")

    piece = T.Unicode("learned").tag(sync=True)
    place = T.List(T.Int()).tag(sync=True)
    angle = T.Int(0).tag(sync=True)
    side = T.Int(0).tag(sync=True)
    aim = T.Int(0, help="the class that the patch is made for").tag(sync=True)
    shape = T.Unicode("disc").tag(sync=True)
    pieces: T.List = T.List(help="name, title and pixels of each piece").tag(sync=True)
    titles: T.List = T.List(T.Unicode(), help="of the networks").tag(sync=True)
    grid: T.Dict = T.Dict(help="the places, turns and sides of a page").tag(sync=True)

    def __init__(
        self,
        model: nn.Module,
        images: Any,
        patch: Any,
        target: int,
        *,
        judge: nn.Module | None = None,
        cut: Float[Tensor, "3 H W"] | None = None,
        shape: str | None = None,
        titles: Sequence[str] = ("network", "judge"),
        places: int = PLACES,
        turns: Sequence[int] = TURNS,
        sides: Sequence[int] = SIDES,
        labels: Sequence[Any] | Tensor | None = None,
        **given: Any,
    ) -> None:
        from labkit.adversarial.patches import SHAPES
        from labkit.core.locks import check_model

        learned, own_shape = as_patch(patch)
        shape = shape or own_shape or "disc"
        check_choice("shape", shape, SHAPES)
        check_positive("places", places)
        if not sides or not turns or not all(0 < side <= 100 for side in sides):
            raise ValueError(f"sides must be per cent of the picture, above 0 to 100; got {list(sides)}.")
        if isinstance(images, (str, Path)) and Path(images).is_dir():
            images, names = folder_pictures(images, getattr(model, "input_size", None) or 224)
            given = {"names": names} | given
        starts = {name: given.pop(name) for name in ("place", "angle", "side", "piece") if name in given}
        super().__init__(model, images, labels=labels, **given)
        check_class(target, len(self.classes), "target")
        nets = [self.model] if judge is None else [self.model, private(check_model(judge))]
        self._given, self.aim, self.shape = len(self.images), target, shape
        self.titles = list(titles)[: len(nets)]
        found = self._pieces(learned, cut)
        self._laying = Laying(nets, found, shape, target)
        self._check_judge()
        self._true = [self._class_of(i, label) for i, label in enumerate(_listed(labels, self._given))]
        self.pieces = [
            {"name": name, "title": PIECES[name], "side": piece.shape[-1], "data": pixels(piece)}
            for name, piece in found.items()
        ]
        high, wide = self.size
        middles = [(k + 0.5) / places for k in range(places)]
        self.grid = {
            "x": [int(share * wide) for share in middles], "y": [int(share * high) for share in middles],
            "angle": sorted(turns), "side": sorted(sides),
        }  # fmt: skip
        start = {
            "place": [wide // 2, high // 2], "side": self.grid["side"][-1],
            "angle": min(self.grid["angle"], key=abs),
        }  # fmt: skip
        for name, value in (start | starts).items():
            setattr(self, name, value)
        self._begin()

    def _said(self) -> str:
        return f"pieces={[one['name'] for one in self.pieces]}, judge={len(self._laying.networks) > 1}"

    def _pieces(self, learned: Tensor, cut: Tensor | None) -> dict[str, Tensor]:
        """The patch and its controls, all of the patch's side."""
        if cut is None:
            rows = [self._logits(image).softmax(0)[self.aim] for image in self.images]
            surest = self.images[int(torch.stack(rows).argmax())]
            high, wide = surest.shape[-2:]
            cut = surest[:, high // 4 : high - high // 4, wide // 4 : wide - wide // 4]
        else:
            check_images(cut[None] if isinstance(cut, Tensor) and cut.ndim == 3 else cut, "cut")
        side = learned.shape[-1]
        return {
            "learned": learned, "cut": fitted(cut, side), "texture": of_spectrum(learned),
            "grey": torch.full_like(learned, 0.5),
        }  # fmt: skip

    def _check_judge(self) -> None:
        counts = [self._scores(net).shape[1] for net in self._laying.networks]
        if len(set(counts)) > 1:
            raise ValueError(
                f"judge must answer with the model's {counts[0]} classes; it gives {counts[1]}. "
                "Take one that was trained on the same classes."
            )

    def _scores(self, net: nn.Module) -> Tensor:
        from labkit.core.locks import lock_of

        with lock_of(net), torch.no_grad():
            return net(self._placed(self.images[0]))

    def _class_of(self, picture: int, label: Any) -> int:
        if label is None:
            return int(self._photo(picture)["top"][0])
        if isinstance(label, str):
            check_choice("labels", label, self.classes)
            return self.classes.index(label)
        return int(label)

    # -- what Python code asks
    @property
    def shown(self) -> Float[Tensor, "1 3 H W"]:
        """The picture on view with the piece on view laid over it."""
        image = self._placed(self.images[self.picture])
        return self._laying.laid(image, self.piece, [self._row()]).float().cpu()

    @property
    def said(self) -> dict[str, dict[str, float]] | None:
        """By network its likeliest classes for ``shown`` with their probabilities; None while it waits."""
        answer = self._cache.get(self._key())
        if answer is None:
            return None
        count = len(self.titles)
        p = torch.frombuffer(bytearray(answer["p"]["data"]), dtype=torch.float32).view(count, -1)
        named = torch.frombuffer(bytearray(answer["named"]), dtype=torch.int16).view(count, -1)
        return {
            title: {self.classes[k]: v for k, v in zip(named[i].tolist(), p[i].tolist(), strict=True)}
            for i, title in enumerate(self.titles)
        }

    @property
    def tallies(self) -> dict[str, dict[str, Any]]:
        """By piece: at how many places by lot, of ``of``, each network named the class (``hits``)."""
        found = {one["name"]: self._cache.get(("tally", one["name"])) for one in self.pieces}
        return {name: answer for name, answer in found.items() if answer}

    def precompute(
        self, pictures: Sequence[int] | None = None, pieces: Sequence[str] | None = None, tally: bool = True
    ) -> None:
        """Ask for all places of the page before returning: by default all pieces on the picture on view.

        ``tally``: also count how often the class is named at places by lot. A page shows what was computed.
        """
        self.wait_idle(None)
        for piece in PIECES if pieces is None else pieces:
            check_choice("pieces", piece, PIECES)
            for picture in [self.picture] if pictures is None else pictures:
                self._photo(picture)
                self._answer(("grid", picture, piece))
            if tally:
                self._answer(("tally", piece))

    # -- the answers: a place, all places of a page, or a count
    def _row(self) -> tuple[float, float, float, float]:
        x, y = self.place
        return (x, y, self.angle, self.side)

    def _key(self) -> tuple:
        return ("laid", self.picture, self.piece, *self._row())

    def _wanted(self) -> list[tuple]:
        return [self._key(), *(("tally", one["name"]) for one in self.pieces)]

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        if key[0] == "tally":
            return self._tally(key[1], stale, report)
        _, picture, piece, *row = key
        axes = (
            self.grid
            if key[0] == "grid"
            else dict(zip(("x", "y", "angle", "side"), ([v] for v in row), strict=True))
        )
        rows = [
            (x, y, angle, side)
            for side in axes["side"] for angle in axes["angle"] for y in axes["y"] for x in axes["x"]
        ]  # fmt: skip
        said = self._laying.said(self._placed(self.images[picture]), piece, rows, stale)
        return {
            "kind": "laid", "picture": picture, "piece": piece, "whole": key[0] == "grid", "axes": axes,
            "named": said["named"].to(torch.int16).numpy().tobytes(),
            "p": {"dtype": "f4", "data": said["p"].contiguous().numpy().tobytes()},
            "aim": {"dtype": "f4", "data": said["aim"].contiguous().numpy().tobytes()},
        }  # fmt: skip

    def _tally(self, piece: str, stale: Stale, report: Report) -> Answer:
        """Places by lot, the same on every scene and for every piece, whole within the picture."""
        from labkit.adversarial.patches import draw_placing

        ends = (min(self.grid["side"]) / 100, max(self.grid["side"]) / 100)
        lots = draw_placing(LOTS, size=ends, angle=float(max(map(abs, self.grid["angle"]))), light=0.0)
        high, wide = self.size
        rows = [
            (wide * x, high * y, angle, 100 * size)
            for x, y, size, angle in zip(*(part.tolist() for part in lots[:4]), strict=True)
        ]
        hits, of = torch.zeros(len(self.titles), dtype=torch.long), 0
        asked = [i for i in range(self._given) if self._true[i] != self.aim]
        for done, picture in enumerate(asked):
            if stale():
                raise Stopped
            found = self._laying.said(self._placed(self.images[picture]), piece, rows, stale)
            hits += (found["named"][:, :, 0] == self.aim).sum(1)
            of += len(rows)
            report((done + 1) / len(asked))
        return {"kind": "tally", "piece": piece, "hits": hits.tolist(), "of": of}

    def _saved(self) -> list[Answer]:
        answers = [answer for _, answer in self._cache.latest() if answer["kind"] != "photo"]
        grids = [answer for answer in answers if answer.get("whole")]
        photos = [self._photo(p) for p in dict.fromkeys([self.picture, *(a["picture"] for a in grids)])]
        return photos + [answer for answer in answers if answer["kind"] == "tally"] + grids

    # -- legal values
    @T.validate("piece")
    def _legal_piece(self, proposal: Any) -> str:
        check_choice("piece", proposal["value"], PIECES)
        return proposal["value"]

    @T.validate("place")
    def _legal_place(self, proposal: Any) -> list[int]:
        place = proposal["value"]
        if self.size and not (
            len(place) == 2 and all(0 <= v < s for v, s in zip(place, self.size[::-1], strict=True))
        ):
            raise IndexError(
                f"place must be a pixel [x, y] of a picture of {self.size[1]} x {self.size[0]}; got {place}."
            )
        return place

    @T.validate("side")
    def _legal_side(self, proposal: Any) -> int:
        if self.grid and not 0 < proposal["value"] <= 100:
            raise ValueError(f"side must be per cent of the picture, 1 to 100; got {proposal['value']}.")
        return proposal["value"]


def _listed(labels: Any, count: int) -> list[Any]:
    """A label a picture, or None for each."""
    if labels is None:
        return [None] * count
    return labels.tolist() if isinstance(labels, Tensor) else list(labels)
