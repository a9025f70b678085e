"""The base of explorers of pictures: captions, the class asked about, photographs, cached answers."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import traitlets as T
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.checks import check_class
from labkit.widgets.kit.cache import Answer, Cache
from labkit.widgets.kit.page import text_of
from labkit.widgets.kit.photographs import PhotographExplorer, stem
from labkit.widgets.kit.worker import Stopped

__all__ = ["PictureExplorer", "never", "pixels", "private"]

Stale = Callable[[], bool]
Report = Callable[[float], None]


def never() -> bool:
    """The ``stale`` of work that nobody can call off."""
    return False


def private(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of the network, or itself where it cannot be copied. A lock does not do: hooks that a student
    registers take none."""
    try:
        return copy.deepcopy(model)
    except Exception:  # whatever a part of it cannot do
        return model


def pixels(image: Float[Tensor, "C H W"]) -> bytes:
    """RGB bytes of a picture in [0, 1], grey or in colour, row by row.

    >>> list(pixels(torch.tensor([[[0.0, 1.0]]])))
    [0, 0, 0, 255, 255, 255]
    """
    levels = (image.clamp(0, 1) * 255).round().byte().expand(3, -1, -1)
    return levels.permute(1, 2, 0).contiguous().cpu().numpy().tobytes()


class PictureExplorer(PhotographExplorer):
    """An explorer of what ``model`` says of ``images``; its answers are computed once and sent once.

    ``model``: an eval-mode classifier of pictures in [0, 1] that returns logits; a copy of it works, so that
        hooks and gradients of one's own, in a cell that runs meanwhile, hear nothing of the explorer.
    ``images``: (N, 3, H, W) tensor, or a list of (3, H, W) tensors and paths of photographs.
    ``labels``: the true class of each picture, numbers or names.
    ``names``: a caption for each picture.
    ``masks``: (N, H, W) bool, where the truth lies.

    A subclass names in ``ASKS`` the traits whose change asks for an answer, says by ``_wanted`` which keys
    ``(kind, picture, ...)`` are on view and by ``_make`` what the answer to a key is, and ends its
    ``__init__`` with ``_begin()``. ``target`` -1 is the class that the network names. Raises ValueError for
    masks of another shape, IndexError for pictures and classes that do not exist.
    """

    _css = text_of("kit/kit.css")
    ASKS: ClassVar[tuple[str, ...]] = ("picture", "target")

    picture = T.Int(0).tag(sync=True)
    target = T.Int(-1).tag(sync=True)
    truth = T.Bool(False, help="whether the truth is outlined").tag(sync=True)
    classes = T.List(T.Unicode()).tag(sync=True)
    captions: T.List = T.List(help="name, truth, thumbnail and note of each picture").tag(sync=True)
    size = T.List(T.Int(), help="height and width of the pictures").tag(sync=True)
    measured = T.Bool(False, help="whether masks were given").tag(sync=True)
    photo = T.Dict(help="the latest picture sent: its pixels, logits and likeliest classes").tag(sync=True)
    delivery = T.Dict(help="the latest answer sent").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Tensor | Sequence[Tensor | str | Path],
        *,
        labels: Sequence[Any] | Tensor | None = None,
        names: Sequence[str] | None = None,
        masks: Bool[Tensor, "N H W"] | None = None,
        picture: int = 0,
        **traits: Any,
    ) -> None:
        from labkit.core.locks import check_model

        self.model = private(check_model(model))
        self.images: list[Tensor] = []
        self._cache = Cache(lambda a: self._tell(**{"photo" if a["kind"] == "photo" else "delivery": a}))
        self._pass = float("inf")  # seconds of the quickest forward pass
        if isinstance(images, (str, Path)):
            images = [images]
        batch, notes = self._read(images, None)
        names = list(names) if names is not None else [stem(item) for item in images]
        count = self._logits(batch[0]).shape[-1]
        classes = list(getattr(model, "classes", None) or [f"class {i}" for i in range(count)])
        given = {"size": list(batch.shape[-2:]), "classes": classes, "measured": masks is not None}
        super().__init__(**(given | {"truth": masks is not None} | traits))
        truths = labels if labels is not None else [None] * len(batch)
        for image, name, truth, note in zip(batch, names, truths, notes, strict=True):
            self._add(image, name, truth, note)
        want = (len(self.images), *self.size)
        if masks is not None and tuple(masks.shape) != want:
            raise ValueError(
                f"masks must have one mask a picture, shape {want}; got {tuple(masks.shape)}. "
                "Take the masks of the very pictures that are passed as images."
            )
        self._masks = None if masks is None else masks.detach().cpu().bool()
        self.picture = picture

    def __repr__(self) -> str:
        name, model = type(self).__name__, type(self.model).__name__
        return f"{name}(model={model}, pictures={len(self.captions)}, {self._said()})"

    def _said(self) -> str:
        """What ``repr`` says after model and pictures."""
        raise NotImplementedError

    @property
    def image(self) -> Float[Tensor, "1 C H W"]:
        """The picture on view, as a batch of one."""
        return self.images[self.picture][None]

    # -- answers: a subclass says which are wanted and how each is made
    def _wanted(self) -> list[tuple]:
        """The keys of what is on view, the most wanted first."""
        raise NotImplementedError

    def _make(self, key: tuple, stale: Stale, report: Report) -> Answer:
        """Compute the answer to a key; ``report`` is called with the share that is done."""
        raise NotImplementedError

    def _ahead(self, stale: Stale) -> None:
        """What the hand may ask for next, once a page watches."""

    def _begin(self) -> None:
        self.observe(self._asked, [*self.ASKS, "watched"])
        self._request()

    def _asked(self, change: Any) -> None:
        if change["name"] == "watched":
            self._cache.forget_sent()
        self._request()

    def _work(self, stale: Stale) -> None:
        self._tell(error="")
        photo, keys = self._photo(self.picture), self._wanted()
        todo = [key for key in keys if key not in self._cache]
        for key in keys:
            if key not in todo:
                self._cache.offer(key)
        for done, key in enumerate(todo):

            def report(share: float, before: int = done) -> None:
                self._tell(progress=(before + share) / len(todo))

            self._tell(status="computing")
            report(0.0)
            self._answer(key, stale, report)
        self._tell(status="ready", progress=1.0)
        if self.watched:
            self._ahead(stale)
            for picture in range(len(self.captions)):
                if stale():
                    raise Stopped
                self._photo(picture)
        on_view = self._cache.get(keys[0]) if keys else None
        found = {"photo": photo} | ({"delivery": on_view} if on_view else {})
        self._tell(progress=1.0, **found)  # what a page finds that is opened later

    def _answer(self, key: tuple, stale: Stale = never, report: Report = lambda share: None) -> None:
        """Make sure that an answer is known and sent; raises Stopped once ``stale()``."""
        if stale():
            raise Stopped
        if key not in self._cache:
            self._cache.keep(key, self._make(key, stale, report))
        self._cache.offer(key)

    def _named(self, picture: int | None = None, target: int | None = None) -> tuple[int, int]:
        """A picture and a class, by default those on view; for -1 the class that the network names."""
        picture = self.picture if picture is None else picture
        target = self.target if target is None else target
        return picture, target if target >= 0 else self._photo(picture)["top"][0]

    def _photo(self, picture: int) -> Answer:
        """Pixels, mask, logits and the five likeliest classes of a picture; one forward pass, once."""
        key = ("photo", picture)
        if key not in self._cache:
            logits, mask = self._logits(self.images[picture]), self._mask(picture)
            self._cache.keep(key, {
                "kind": "photo", "picture": picture, "data": pixels(self.images[picture]),
                "mask": b"" if mask is None else mask.byte().numpy().tobytes(),
                "logits": logits.tolist(), "total": float(logits.logsumexp(0)),
                "top": logits.argsort(descending=True)[:5].tolist(),
            })  # fmt: skip
        self._cache.offer(key)
        return self._cache.get(key) or {}

    def _saved(self) -> list[Answer]:
        answers = [answer for _, answer in self._cache.latest() if answer["kind"] != "photo"]
        shown = dict.fromkeys([self.picture, *(answer["picture"] for answer in answers)])
        return [self._photo(picture) for picture in shown] + answers

    # -- pictures
    def _mask(self, picture: int) -> Bool[Tensor, "H W"] | None:
        if self._masks is None or picture >= len(self._masks):  # the student's own photographs have none
            return None
        return self._masks[picture]

    def _placed(self, image: Tensor) -> Tensor:
        """A batch of one on the model's device and in its precision; what runs on it may write into it."""
        from labkit.core.door import weight_of

        weight = weight_of(self.model, image)
        return image[None].to(weight.device, weight.dtype, copy=True)

    def _logits(self, image: Tensor) -> Float[Tensor, " classes"]:
        from labkit.core.locks import lock_of

        with lock_of(self.model), torch.no_grad():
            began = time.perf_counter()
            logits = self.model(self._placed(image))[0].float().cpu()
            self._pass = min(self._pass, time.perf_counter() - began)
        return logits

    def _add(self, image: Tensor, name: str, truth: Any = None, note: str = "") -> None:
        small = torch.nn.functional.interpolate(image[None], (56, 56), mode="bilinear", antialias=True)[0]
        if truth is not None and not isinstance(truth, str):
            check_class(int(truth), len(self.classes), "labels")
            truth = self.classes[int(truth)]
        self.images.append(image)
        caption = {"name": name, "truth": truth or "", "thumb": pixels(small), "note": note}
        self.captions = [*self.captions, caption]

    # -- legal values
    @T.validate("picture")
    def _legal_picture(self, proposal: Any) -> int:
        if self.captions and not 0 <= proposal["value"] < len(self.captions):
            last, came = len(self.captions) - 1, proposal["value"]
            raise IndexError(f"picture must be from 0 to {last}; got {came}. See .captions.")
        return proposal["value"]

    @T.validate("target")
    def _legal_target(self, proposal: Any) -> int:
        if proposal["value"] != -1:
            check_class(proposal["value"], len(self.classes))
        return proposal["value"]
