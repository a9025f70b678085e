"""The answers of the occlusion explorer: computed once by the library or the student's function, kept, sent.

An answer is a dict a page understands: a ``photo`` (pixels, logits, the likeliest classes), ``drops`` (of all
classes, at all patch positions of a grid) or a ``map`` (of the student's function, for one class).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from labkit.widgets.base import Stopped
from labkit.widgets.pictures import pixels, stoppable

__all__ = ["Answers", "Setting", "level"]

_MANY = 64  # up to so many classes, all of them go to the page
_LIKELIEST = 24  # of more classes, so many, and those that were asked for
_KEEP = 64_000_000  # bytes of answers kept in the kernel
_PATIENCE = 0.06  # seconds between two looks at whether the work is still wanted


class Setting(NamedTuple):
    """What a map depends on; ``target`` is a class index, ``window`` and ``stride`` are in pixels."""

    picture: int
    window: int
    stride: int
    fill: str | float
    target: int


def level(fill: str | float) -> str | float:
    """A fill as students' functions take it: a grey value from 0 to 1 where its name stands for one."""
    return {"black": 0.0, "grey": 0.5, "white": 1.0}.get(fill, fill) if isinstance(fill, str) else fill


class Answers:
    """Computes what is not yet known, keeps it, and hands each new answer to ``send`` once.

    Args:
        model: the classifier.
        own: the student's function, or None for the library's ``occlusion_result``.
        size: height and width of the pictures.
        strides: the strides a page may ask for, in pixels.
        send: called with each answer that the page does not have.
        report: called with the share done while a grid of patches is computed.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        own: Callable[..., torch.Tensor] | None,
        size: tuple[int, int],
        strides: Sequence[int],
        send: Callable[[dict[str, Any]], None],
        report: Callable[[float], None],
    ) -> None:
        self.model, self.own, self.size, self.strides, self.send = model, own, size, strides, send
        self.report = report
        self.images: list[torch.Tensor] = []
        self.seconds = 0.0  # of one forward pass
        self._kept: OrderedDict[tuple, dict[str, Any]] = OrderedDict()
        self._asked: set[int] = set()  # classes the hand has chosen
        self._sent: set[tuple] = set()

    def __getitem__(self, key: tuple) -> dict[str, Any]:
        return self._kept[key]

    def passes(self, window: int, stride: int) -> int:
        """How many forward passes a grid of patches takes."""
        return math.prod(-(-(side - window) // stride) + 1 for side in self.size)

    def target(self, picture: int, target: int) -> int:
        """The class meant: ``target``, or for -1 the one the network names."""
        if target < 0:
            return self.photo(picture)["top"][0]
        if target not in self.photo(picture)["columns"]:
            self._asked.add(target)
        return target

    # -- what is known
    def known(self, at: Setting) -> tuple | None:
        """The key of an answer that holds this setting exactly, or None."""
        if self.own is not None:
            key: tuple = ("map", *at)
            return key if key in self._kept else None
        return self._grid(at)

    def _grid(self, at: Setting) -> tuple | None:
        for step in {at.stride, *(s for s in self.strides if at.stride % s == 0)}:
            key = ("drops", at.picture, at.window, step, at.fill)
            if key in self._kept and at.target in self._kept[key]["columns"]:
                return key
        return None

    def saved(self, picture: int) -> list[dict[str, Any]]:
        """All answers, for an exported page: photos first, then the latest used."""
        answers = [(key, answer) for key, answer in reversed(self._kept.items()) if key[0] != "photo"]
        pictures = dict.fromkeys([picture, *(key[1] for key, _ in answers)])
        return [self.photo(i) for i in pictures] + [answer for _, answer in answers]

    def forget_sent(self) -> None:
        """A page was opened that has nothing yet."""
        self._sent.clear()

    def offer(self, key: tuple) -> None:
        """Mark an answer as used, and send it unless the page has it."""
        self._kept.move_to_end(key)
        if key not in self._sent:
            self._sent.add(key)
            self.send(self._kept[key])

    def _keep(self, key: tuple, answer: dict[str, Any]) -> None:
        self._kept[key] = answer
        self._sent.discard(key)
        while sum(len(a["data"]) for a in self._kept.values()) > _KEEP and len(self._kept) > 2:
            self._kept.popitem(last=False)
        self.offer(key)

    # -- what is computed
    def photo(self, picture: int) -> dict[str, Any]:
        """Pixels, logits and the five likeliest classes of a picture; one forward pass, once."""
        key = ("photo", picture)
        if key not in self._kept or not self._asked <= set(self._kept[key]["columns"]):
            from labkit.core.hooks import check_model, lock_of

            image, began = self.images[picture][None], time.perf_counter()
            with lock_of(check_model(self.model)), torch.inference_mode():
                logits = self.model(image.to(self._device))[0].float().cpu()
            self.seconds = self.seconds or time.perf_counter() - began
            order = logits.argsort(descending=True).tolist()
            columns = sorted({*(order if len(order) <= _MANY else order[:_LIKELIEST]), *self._asked})
            photo = {"kind": "photo", "picture": picture, "data": pixels(image[0]), "columns": columns}
            scores = {
                "logits": logits[columns].tolist(),
                "total": float(logits.logsumexp(0)),
                "top": order[:5],
            }
            self._keep(key, photo | scores)
        self.offer(key)
        return self._kept[key]

    def compute(self, at: Setting, stale: Callable[[], bool]) -> None:
        """Make sure that the answer to ``at`` is known and sent; raises Stopped once ``stale()``."""
        if stale():
            raise Stopped
        key = self.known(at)
        if key is not None:
            self.offer(key)
        elif self.own is None:
            self._drops(at, stale)
        else:
            self._map(at, stale)

    def drops(self, at: Setting, stale: Callable[[], bool]) -> None:
        """The network's own answers to hidden patches, which stand beside a student's map."""
        key = self._grid(at)
        if key is None:
            self._drops(at, stale)
        else:
            self.offer(key)

    def _drops(self, at: Setting, stale: Callable[[], bool]) -> None:
        from labkit.attribution import occlusion_result

        photo, seen = self.photo(at.picture), []

        def every_class(outputs: torch.Tensor) -> torch.Tensor:
            seen.append(outputs.detach().float().cpu())
            return outputs[:, photo["top"][0]]

        image, began = self.images[at.picture][None].to(self._device), time.perf_counter()
        options: dict[str, Any] = {"window": at.window, "stride": at.stride, "fill": at.fill}
        batch = int(min(8, max(1, _PATIENCE / self.seconds)))
        result = occlusion_result(
            self.model,
            image,
            every_class,
            **options,
            batch_size=batch,
            progress=self.report,
            should_stop=stale,
        )
        if stale():
            raise Stopped
        rows, cols = result.drops.shape[-2:]
        logits = torch.cat(seen)[-rows * cols :]
        self.seconds = min(self.seconds, (time.perf_counter() - began) / len(logits))
        total = photo["total"] - logits.logsumexp(1, keepdim=True)
        table = torch.cat([torch.tensor(photo["logits"]) - logits[:, photo["columns"]], total], 1)
        answer = {
            "kind": "drops", "rows": rows, "cols": cols, "columns": photo["columns"], "dtype": "f4",
            "data": table.numpy().astype(np.float32).tobytes(),
            "winner": logits.argmax(1).numpy().astype(np.uint16).tobytes(),
        }  # fmt: skip
        where = {"picture": at.picture, **options}
        self._keep(("drops", *where.values()), answer | where)

    def _map(self, at: Setting, stale: Callable[[], bool]) -> None:
        assert self.own is not None  # compute() asks for maps of a student's function only
        image = self.images[at.picture][None].to(self._device)
        with stoppable(self.model, stale), torch.no_grad():
            options: dict[str, Any] = {"window": at.window, "stride": at.stride, "fill": level(at.fill)}
            answer = self.own(self.model, image, at.target, **options)
        if stale():
            raise Stopped
        want = (1, *self.size)
        if not isinstance(answer, torch.Tensor) or tuple(answer.shape) != want:
            came = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            name = getattr(self.own, "__name__", "method")
            raise ValueError(f"{name} must return a tensor of maps (N, H, W), here {want}; got {came}.")
        data = answer[0].detach().cpu().numpy().astype(np.float32).tobytes()
        self._keep(("map", *at), {"kind": "map", **at._asdict(), "dtype": "f4", "data": data})

    @property
    def _device(self) -> torch.device:
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))
