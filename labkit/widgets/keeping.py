"""Explorers that keep what they computed: sent to a page once, packed into an exported one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import traitlets as T
from jaxtyping import Bool
from torch import Tensor

from labkit.widgets.pictures import PictureExplorer, pixels

__all__ = ["KeepingExplorer"]

_KEEP = 96_000_000  # bytes of answers kept in the kernel


class KeepingExplorer(PictureExplorer):
    """A ``PictureExplorer`` whose answers are kept under keys ``(kind, picture, ...)``.

    ``masks`` (N, H, W) bool say where the truth lies. A subclass puts answers in with ``_keep`` and lets
    ``_offer`` send them; both may be called on the worker's thread. Raises ValueError for masks of another
    shape.
    """

    measured = T.Bool(False, help="whether masks were given").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Tensor | Sequence[Tensor | str | Path],
        *,
        masks: Bool[Tensor, "N H W"] | None = None,
        **traits: Any,
    ) -> None:
        self._kept: OrderedDict[tuple, dict[str, Any]] = OrderedDict()
        self._sent: set[tuple] = set()
        super().__init__(model, images, measured=masks is not None, **traits)
        want = (len(self.images), *self.size)
        if masks is not None and tuple(masks.shape) != want:
            raise ValueError(
                f"masks must have one mask a picture, shape {want}; got {tuple(masks.shape)}. "
                "Take the masks of the very pictures that are passed as images."
            )
        self._masks = None if masks is None else masks.detach().cpu().bool()

    def _mask(self, picture: int) -> Bool[Tensor, "H W"] | None:
        if self._masks is None or picture >= len(self._masks):  # the student's own photographs have none
            return None
        return self._masks[picture]

    def _named(self, picture: int, target: int) -> int:
        """The class asked about; -1 is the one that the network names."""
        return target if target >= 0 else self._photo(picture)["top"][0]

    def _photo(self, picture: int) -> dict[str, Any]:
        """Pixels, mask, logits and the five likeliest classes of a picture; one forward pass, once."""
        key = ("photo", picture)
        if key not in self._kept:
            logits = self._logits(self.images[picture])
            order = logits.argsort(descending=True).tolist()
            photo = {"kind": "photo", "picture": picture, "data": pixels(self.images[picture])}
            mask = self._mask(picture)
            photo["mask"] = b"" if mask is None else mask.byte().numpy().tobytes()
            self._keep(
                key, photo | {"p": [round(p, 6) for p in logits.softmax(0).tolist()], "top": order[:5]}
            )
        self._offer(key)
        return self._kept[key]

    def _keep(self, key: tuple, answer: dict[str, Any]) -> None:
        with self._mutex:
            self._kept[key] = answer
            self._sent.discard(key)
            while sum(map(_weight, self._kept.values())) > _KEEP and len(self._kept) > 2:
                self._kept.popitem(last=False)

    def _offer(self, key: tuple) -> None:
        """Mark an answer as used, and send it unless the page has it."""
        with self._mutex:
            self._kept.move_to_end(key)
            if key not in self._sent:
                self._sent.add(key)
                self._tell(**{"photo" if key[0] == "photo" else "delivery": self._kept[key]})

    def _saved(self) -> list[dict[str, Any]]:
        answers = [answer for key, answer in reversed(self._kept.items()) if key[0] != "photo"]
        shown = dict.fromkeys([self.picture, *(answer["picture"] for answer in answers)])
        return [self._photo(picture) for picture in shown] + answers


def _weight(value: Any) -> int:
    """The bytes that an answer holds, however deep."""
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    return len(value) if isinstance(value, bytes) else 0
