"""What explorers of pictures share: pictures and captions, the class asked about, own photographs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_class, check_images
from labkit.widgets.base import Explorer, Stopped

__all__ = ["PictureExplorer", "pixels", "stoppable"]


def pixels(image: Float[Tensor, "C H W"]) -> bytes:
    """RGB bytes of a picture in [0, 1], grey or in colour, row by row.

    >>> list(pixels(torch.tensor([[[0.0, 1.0]]])))
    [0, 0, 0, 255, 255, 255]
    """
    levels = (image.clamp(0, 1) * 255).round().byte().expand(3, -1, -1)
    return levels.permute(1, 2, 0).contiguous().numpy().tobytes()


@contextmanager
def stoppable(model: torch.nn.Module, stale: Callable[[], bool]) -> Iterator[None]:
    """Let calls of the model on this thread raise Stopped once ``stale()``; other threads are left alone."""
    mine = threading.get_ident()

    def check(*_: Any) -> None:
        if threading.get_ident() == mine and stale():
            raise Stopped

    handle = model.register_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


class PictureExplorer(Explorer):
    """An explorer of what ``model`` sees in ``images``: traits ``picture``, ``target``, ``path``, ``upload``.

    ``images`` is a (N, 3, H, W) tensor, or a list of (3, H, W) tensors and paths; ``labels`` are the true
    classes (numbers or names), ``names`` the captions. ``target`` -1 is the class the network names. A
    subclass calls ``_request()`` once it is ready, and names in ``_PLACE`` the trait of the pinned place.
    """

    _PLACE = ""

    picture = T.Int(0).tag(sync=True)
    target = T.Int(-1).tag(sync=True)
    path = T.Unicode("").tag(sync=True)
    upload = T.Dict(help="a photograph sent by the page: name, width, height, data (RGB)").tag(sync=True)
    classes = T.List(T.Unicode()).tag(sync=True)
    captions: T.List = T.List(help="name, truth and thumbnail of each picture").tag(sync=True)
    size = T.List(T.Int(), help="height and width of the pictures").tag(sync=True)
    photo = T.Dict(help="the latest picture sent: its pixels, logits and likeliest classes").tag(sync=True)
    delivery = T.Dict(help="the latest answer sent").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Tensor | Sequence[Tensor | str | Path],
        *,
        labels: Sequence[Any] | Tensor | None = None,
        names: Sequence[str] | None = None,
        **traits: Any,
    ) -> None:
        from labkit.core.hooks import check_model

        self.model = check_model(model)
        self.images: list[Tensor] = []
        self._ready = False
        if isinstance(images, (str, Path)):
            images = [images]
        names = list(names) if names is not None else [_stem(item) for item in images]
        batch = self._read(images, None)
        count = self._logits(batch[0]).shape[-1]
        classes = list(getattr(model, "classes", None) or [f"class {i}" for i in range(count)])
        picture = traits.pop("picture", 0)
        super().__init__(size=list(batch.shape[-2:]), classes=classes, **traits)
        truths = labels if labels is not None else [None] * len(batch)
        for image, name, truth in zip(batch, names, truths, strict=True):
            self._add(image, name, truth)
        self.picture = picture

    @property
    def image(self) -> Float[Tensor, "1 C H W"]:
        """The picture on view, as a batch of one."""
        return self.images[self.picture][None]

    def load(self, path: str | Path) -> None:
        """Add the photograph at ``path`` (cropped to the size of the other pictures) and show it."""
        self._show(self._read([path], self.size[0])[0], _stem(path))

    def _placed(self, image: Tensor) -> Tensor:
        """A batch of one on the model's device and in its precision."""
        weight = next((p for p in self.model.parameters() if p.is_floating_point()), image)
        return image[None].to(weight.device, weight.dtype)

    def _logits(self, image: Tensor) -> Float[Tensor, " classes"]:
        from labkit.core.hooks import lock_of

        with lock_of(self.model), torch.inference_mode():
            return self.model(self._placed(image))[0].float().cpu()

    def _read(self, images: Any, side: int | None) -> Tensor:
        if isinstance(images, Tensor):
            return check_images(images).detach().cpu().float()
        from labkit.data import load_photo

        side = side or getattr(self.model, "input_size", None) or 224
        tensors = [i if isinstance(i, Tensor) else load_photo(i, size=side) for i in images]
        return check_images(torch.stack([t.detach().cpu().float() for t in tensors]))

    def _add(self, image: Tensor, name: str, truth: Any = None) -> None:
        small = torch.nn.functional.interpolate(image[None], (56, 56), mode="bilinear", antialias=True)[0]
        if truth is not None and not isinstance(truth, str):
            check_class(int(truth), len(self.classes), "labels")
            truth = self.classes[int(truth)]
        self.images.append(image)
        self.captions = [*self.captions, {"name": name, "truth": truth or "", "thumb": pixels(small)}]

    def _show(self, image: Tensor, name: str) -> None:
        self._add(image, name)
        with self.hold_trait_notifications():
            self.set_trait(self._PLACE, [])
            self.target, self.picture = -1, len(self.captions) - 1

    @T.observe("upload")
    def _uploaded(self, change: Any) -> None:
        sent = change["new"]
        if sent:
            rgb = np.frombuffer(sent["data"], np.uint8).reshape(sent["height"], sent["width"], 3)
            self._show(torch.from_numpy(rgb / np.float32(255)).permute(2, 0, 1).contiguous(), sent["name"])

    @T.observe("path")
    def _path_given(self, change: Any) -> None:
        if change["new"]:
            try:
                self.load(Path(change["new"]).expanduser())
            except Exception as error:  # a mistyped path is answered in the widget
                self._tell(error=f"{error}", status="error")

    @T.validate("picture")
    def _legal_picture(self, proposal: Any) -> int:
        if self.captions and not 0 <= proposal["value"] < len(self.captions):
            raise IndexError(
                f"picture must be from 0 to {len(self.captions) - 1}; got {proposal['value']}. See .captions."
            )
        return proposal["value"]

    @T.validate("target")
    def _legal_target(self, proposal: Any) -> int:
        if proposal["value"] != -1:
            check_class(proposal["value"], len(self.classes))
        return proposal["value"]


def _stem(item: Any) -> str:
    return Path(item).stem.replace("_", " ") if isinstance(item, (str, Path)) else ""
