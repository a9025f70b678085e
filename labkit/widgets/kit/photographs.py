"""Photographs of one's own in an explorer: by an upload or a path, with what must be known about them."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import traitlets as T
from jaxtyping import Float
from torch import Tensor

from labkit.core.checks import check_images
from labkit.widgets.kit.base import Explorer

__all__ = ["PhotographExplorer", "stem", "what_to_know"]


def stem(item: Any) -> str:
    """The caption of a picture that is given by its path; of any other none."""
    return Path(item).stem.replace("_", " ") if isinstance(item, (str, Path)) else ""


def what_to_know(model: torch.nn.Module, cropped: bool) -> str:
    """What stands beside a network's answer to a photograph: what it knows, and what it is not shown.

    >>> what_to_know(torch.nn.Identity(), cropped=True)
    'The middle square of this photograph was cut out: the network does not see the rest.'
    """
    said = []
    card = getattr(model, "card", None) or {}
    if card and "weights" not in card:  # one of the kit's own, trained on the toy world
        count = len(model.classes)  # type: ignore[arg-type]
        said.append(
            f"This network knows {count} toy classes only, of drawn scenes, and must name one of them "
            "whatever the photograph shows."
        )
    if cropped:
        said.append("The middle square of this photograph was cut out: the network does not see the rest.")
    return " ".join(said)


class PhotographExplorer(Explorer):
    """An explorer whose page brings photographs: ``upload`` and ``path``, and ``refused`` where one fails.

    ``refused`` stays until the hand's next act, whatever is computed meanwhile. A subclass has ``model``,
    ``size`` and ``captions``, and adds a picture by ``_add``.
    """

    PLACE: ClassVar[str] = ""  # the trait of the pinned place

    path = T.Unicode("").tag(sync=True)
    upload = T.Dict(help="a photograph sent by the page: name, width, height, data (RGB), cropped").tag(
        sync=True
    )
    refused = T.Unicode("", help="why the latest photograph cannot be shown").tag(sync=True)

    model: torch.nn.Module

    def load(self, path: str | Path) -> None:
        """Add the photograph at ``path`` (cropped to the size of the other pictures) and show it."""
        images, notes = self._read([path], self.size[0])  # type: ignore[attr-defined]
        self._show(images[0], stem(path), notes[0])

    def _read(self, images: Any, side: int | None) -> tuple[Tensor, list[str]]:
        """A batch, and of each picture what is to be known of it if it is a photograph."""
        if isinstance(images, Tensor):
            batch = check_images(images).detach().cpu().float()
            return batch, [""] * len(batch)
        from labkit.data import load_photo
        from labkit.data.photos import is_cropped

        side = side or getattr(self.model, "input_size", None) or 224
        many = hasattr(images, "__iter__") or hasattr(images, "__getitem__")  # a picture of PIL has neither
        for item in images if many else [images]:
            if not isinstance(item, Tensor | str | PathLike):
                raise TypeError(
                    f"images must be a tensor or a list of tensors and of files; got {type(item).__name__}. "
                    "labkit.data.load_photo(path) makes a tensor of a photograph."
                )
        tensors = [i if isinstance(i, Tensor) else load_photo(i, size=side) for i in images]
        notes = []
        for item in images:
            own = not isinstance(item, Tensor)
            notes.append(what_to_know(self.model, is_cropped(item, side)) if own else "")
        return check_images(torch.stack([t.detach().cpu().float() for t in tensors])), notes

    def _add(self, image: Tensor, name: str, truth: Any = None, note: str = "") -> None:
        raise NotImplementedError

    def _show(self, image: Tensor, name: str, note: str) -> None:
        self._add(image, name, note=note)
        with self.hold_trait_notifications():
            if self.PLACE:
                self.set_trait(self.PLACE, [])
            self.target, self.picture = -1, len(self.captions) - 1  # type: ignore[attr-defined]

    def _sent(self, photo: Any) -> Float[Tensor, "3 H W"] | None:
        """The picture that a page has sent as bytes; None, and the page is told why, where it is none."""
        self._tell(refused="")
        try:
            rgb = np.frombuffer(photo["data"], np.uint8).reshape(photo["height"], photo["width"], 3)
        except ValueError as error:
            self._tell(refused=f"{photo['name']} cannot be read as a picture: {error}")
            return None
        return torch.from_numpy(rgb / np.float32(255)).permute(2, 0, 1).contiguous()

    @T.observe("upload")
    def _uploaded(self, change: Any) -> None:
        photo = change["new"]
        image = self._sent(photo) if photo else None
        if image is not None:
            self._show(image, photo["name"], what_to_know(self.model, bool(photo.get("cropped"))))

    @T.observe("path")
    def _path_given(self, change: Any) -> None:
        if change["new"]:
            self._from_path(self.load, change["new"])

    def _from_path(self, load: Callable[[Path], None], path: str) -> None:
        """Load what a path typed in the page names; the page is told what is wrong with it."""
        try:
            self._tell(refused="")
            load(Path(path).expanduser())
        except Exception as error:  # a mistyped path is answered in the widget
            self._tell(refused=f"{error}")
