"""The base of explorers that show a search: frames sent while it runs, stopped, gone on with, begun anew."""

from __future__ import annotations

import io
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_choice
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.pausing import Run
from labkit.widgets.kit.pictures import PictureExplorer, Report, Stale, never, pixels, private
from labkit.widgets.kit.worker import Stopped

__all__ = ["Frames", "LayerSearch", "Search", "SearchExplorer", "part_of"]

SMALL = 80 * 80  # pixels; the frames of larger pictures are saved as JPEG, or a page would hold a few only
LARGE = 128 * 128  # pixels; of larger pictures all but the last frame are saved at a lower quality
WAITING = 3  # searches that were stopped and may go on; an older one begins anew

Frames = list[tuple[int, Tensor]]  # after how many steps, and the picture (C, H, W)


class Search:
    """A search under way: its ``run``, its ``frames`` so far, the ``steps`` to its end, and what was
    ``measured`` of each frame, by its steps."""

    def __init__(self, run: Run, frames: Frames, steps: int) -> None:
        self.run, self.frames, self.steps = run, frames, steps
        self.measured: dict[int, Any] = {}


def part_of(key: tuple) -> tuple:
    """The key under which a search is kept that is not at its end: under its own it would pass for one."""
    return ("part", *key[1:])


def _close(searches: dict[tuple, Search]) -> None:
    for search in list(searches.values()):
        search.run.close()


class SearchExplorer(PictureExplorer):
    """An explorer whose answers are searches: the frames of each are sent while it runs, and scrubbed.

    A subclass names its traits in ``ASKS`` and its searches by ``KIND``. Either it makes them itself
    (``_make``), or it says what search a key means (``_search``) and what is told of it (``_answered``). A
    search that the hand stopped waits for it, whatever else is asked for meanwhile; one that another request
    cut short goes on when it is asked for again. Three searches may wait; an older one begins anew.

    Traits: ``frame`` (-1: the last), ``resume`` and ``anew`` (counted up to ask for it). Raises IndexError
    for a frame below -1.
    """

    KIND: ClassVar[str] = "search"
    TWICE = ("photo", "delivery")

    frame = T.Int(-1).tag(sync=True)
    resume = T.Int(0, help="counted up: go on with the search on view").tag(sync=True)
    anew = T.Int(0, help="counted up: begin the search on view anew").tag(sync=True)

    def __init__(self, *given: Any, **options: Any) -> None:
        self._halted: set[tuple] = set()  # searches that the hand stopped: they wait for it
        self._waiting: dict[tuple, Search] = {}
        super().__init__(*given, **options)
        weakref.finalize(self, _close, self._waiting)
        self.observe(self._again, ["resume", "anew"])

    # -- what Python code asks
    @property
    def answer(self) -> Answer | None:
        """What is known of the search on view (frames, steps, numbers); None before it has begun."""
        return self._cache.get(self._key()) or self._cache.get(part_of(self._key()))

    @property
    def frames(self) -> Float[Tensor, "F 3 H W"] | None:
        """The frames on view, as sent to the page (steps of 1/255); None before the first."""
        answer = self.answer
        if answer is None:
            return None
        levels = np.frombuffer(answer["data"], np.uint8).reshape(-1, *self.size, 3)
        return torch.from_numpy(levels.copy()).permute(0, 3, 1, 2).float() / 255

    def precompute(
        self, pictures: Sequence[int] | None = None, settings: Sequence[dict[str, Any]] = ({},)
    ) -> None:
        """Search before returning, by default from the picture and with the settings on view.

        ``settings``: changes of traits for each further search, such as ``{"target": 3}``. An exported page
        answers what was computed.
        """
        self.wait_idle(None)
        for picture in [self.picture] if pictures is None else pictures:
            for setting in settings:
                for name in setting:
                    check_choice("settings", name, self.ASKS)
                self._answer(self._key({"picture": picture, **setting}))

    # -- the answers
    def _key(self, changes: dict[str, Any] | None = None) -> tuple:
        now = {name: getattr(self, name) for name in self.ASKS} | (changes or {})
        picture, target = self._named(now.pop("picture"), now.pop("target"))
        return (self.KIND, picture, target, *now.values())

    def _wanted(self) -> list[tuple]:
        key = self._key()
        return [part_of(key) if key in self._halted and part_of(key) in self._cache else key]

    @T.observe("cancel")
    def _halt(self, change: Any) -> None:
        if change["new"]:
            self._halted.add(self._key())

    def _again(self, change: Any) -> None:
        key = self._key()
        self._halted.discard(key)
        if change["name"] == "anew":
            self._worker.stop()
            self._forget(key)
            self._cache.drop(key)
            self._cache.drop(part_of(key))
        self._request()

    def _forget(self, key: tuple) -> None:
        """Give up a search that is not at its end."""
        search = self._waiting.pop(key, None)
        if search is not None:
            search.run.close()

    def close(self) -> None:
        """Stop what runs, give up what waits, and close the widget in every page."""
        super().close()
        if "_waiting" in vars(self):
            _close(self._waiting)

    def _search(self, key: tuple, model: torch.nn.Module, frames: Frames) -> tuple[Callable, int]:
        """The job of a search, ``job(should_stop)``, which adds to ``frames``, and its number of steps."""
        raise NotImplementedError

    def _answered(self, key: tuple, search: Search) -> Answer:
        """What is known of a search so far; ``search.run.done`` at its end."""
        raise NotImplementedError

    def _begun(self, key: tuple) -> Search:
        """The search of a key where it stands."""
        search = self._waiting.get(key)
        if search is None:
            while len(self._waiting) >= WAITING:
                self._forget(next(iter(self._waiting)))
            frames: Frames = []
            model = private(self.model)
            job, steps = self._search(key, model, frames)
            self._waiting[key] = search = Search(Run(job, model), frames, steps)
        return search

    def _make(self, key: tuple, stale: Stale = never, report: Report = lambda share: None) -> Answer:
        search = self._begun(key)
        seen = len(search.frames)
        try:
            while search.run.advance():
                if stale():
                    raise Stopped
                if len(search.frames) > seen:
                    seen = len(search.frames)
                    report(search.frames[-1][0] / search.steps)
                    self._cache.keep(part_of(key), self._answered(key, search))
                    self._cache.offer(part_of(key))
        except BaseException as error:
            # what failed is over; a model that cannot be copied must not stay locked
            if not isinstance(error, Stopped) or search.run.model is self.model:
                self._forget(key)
            raise
        if stale() or not search.run.done:  # begun anew meanwhile
            raise Stopped
        answer = self._answered(key, search)
        self._forget(key)
        self._cache.drop(part_of(key))
        return answer

    def _saved(self) -> list[Answer]:
        return [self._smaller(answer) for answer in super()._saved()]

    def _smaller(self, answer: Answer) -> Answer:
        """An answer as a page holds it: the frames of large pictures as JPEG."""
        height, width = self.size
        if answer["kind"] == "photo" or height * width <= SMALL:
            return answer
        from PIL import Image

        shots, rows = [], np.frombuffer(answer["data"], np.uint8).reshape(-1, height, width, 3)
        for number, shot in enumerate(rows, 1):
            # the last one is looked at longest
            best = number == len(rows) or height * width <= LARGE
            fine = {"quality": 91, "subsampling": 0} if best else {"quality": 80}
            file = io.BytesIO()
            Image.fromarray(shot).save(file, "JPEG", **fine)
            shots.append(file.getvalue())
        return answer | {"data": b"", "jpegs": shots}

    @staticmethod
    def _bytes(frames: Frames) -> bytes:
        return b"".join(pixels(picture.float()) for _, picture in frames)

    # -- legal values
    @T.validate("frame")
    def _legal_frame(self, proposal: Any) -> int:
        if proposal["value"] < -1:
            raise IndexError(f"frame must be -1, the last, or from 0; got {proposal['value']}.")
        return proposal["value"]


class LayerSearch(SearchExplorer):
    """A search that asks for a layer and perhaps one of its channels.

    Traits: ``layer`` and ``channel``; ``layers`` has name and channels of each layer. Raises KeyError for a
    layer that is not among them, IndexError for a channel that the layer does not have.
    """

    layer = T.Unicode("").tag(sync=True)
    channel = T.Int(0).tag(sync=True)
    layers: T.List = T.List(help="name and number of channels of each layer, and whether it gives maps").tag(
        sync=True
    )

    def _channels(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of ``layers``; raises KeyError for a wrong name, ValueError for one without channels."""
        from labkit.core.locks import lock_of
        from labkit.models import record

        if not names:
            return []
        with lock_of(self.model), torch.no_grad(), record(self.model, *names) as kept:
            self.model(self._placed(self.images[0]))
        for name in names:
            if not isinstance(kept[name], Tensor) or kept[name].ndim not in (2, 4):
                raise ValueError(
                    f"layers must give channels, (N, C) or (N, C, h, w); {name!r} does not. Leave it out."
                )
        return [
            {"name": name, "channels": kept[name].shape[1], "maps": kept[name].ndim == 4} for name in names
        ]

    @T.validate("layer")
    def _legal_layer(self, proposal: Any) -> str:
        from labkit.core.checks import nearest

        names, came = [layer["name"] for layer in self.layers], proposal["value"]
        if came and came not in names:
            close = ", ".join(map(repr, nearest(came, names))) or "none; pass layers="
            raise KeyError(f"layer must be '' or one of .layers; got {came!r}. The nearest: {close}.")
        return came

    @T.validate("channel")
    def _legal_channel(self, proposal: Any) -> int:
        count = next((one["channels"] for one in self.layers if one["name"] == self.layer), None)
        if proposal["value"] < 0 or (count is not None and proposal["value"] >= count):
            last = "" if count is None else f" to {count - 1}"
            raise IndexError(f"channel must be from 0{last}; got {proposal['value']}.")
        return proposal["value"]
