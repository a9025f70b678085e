"""Style explorer: the content of one picture in the style of another, and blends of a network's styles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import traitlets as T
from torch import Tensor

from labkit.core.checks import check_choice, check_images, check_weight
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.dreams import Job, Judged, check_options, correlation, gram_distance
from labkit.widgets.kit.page import module
from labkit.widgets.kit.photographs import stem
from labkit.widgets.kit.pictures import private
from labkit.widgets.kit.searches import Frames, Search, SearchExplorer
from labkit.widgets.kit.styling import (
    BETWEEN,
    blending,
    picture_files,
    restyled,
    sent_style,
    shares_at,
    styling,
    weighted,
)

__all__ = ["StyleExplorer"]

MODES = ("search", "blend")
OTHERS = 8  # pictures that the content is held against


class StyleExplorer(Judged, SearchExplorer):
    """The content of a picture in the style of another: sought live, stopped, resumed, scrubbed; or at once.

    Two modes: ``search`` (``labkit.style.style_transfer``) and, with a ``network`` of several styles,
    ``blend``: one pass for every stop of a slider that leads from each style to the next. A ``judge`` that
    made none of the pictures tells how far each is from the style by its Gram matrices, beside the picture as
    it was and the picture with the style's colours alone; a blend stands beside the cross-fade of its two
    ends and the picture as it was.

    ``styles``: (S, 3, h, w), a list of pictures and paths, or a folder of photographs.
    ``style_names``: a caption for each.
    ``network``: ``network(pictures, shares)``, shares (N, S) of its styles, such as a ``StyleNet``; the first
        of ``styles`` must be those that it has learned, in its order.
    ``style_layers``, ``content_layer``: of the loss network ``model``; None: its first layers with maps, and
        the middle one.
    ``style_weights``, ``content_weights``: the stops of the two sliders.
    ``options``: more of ``style_transfer``, such as ``{"steps": 40, "tv_weight": 0.1}``.
    ``judge``, ``judge_layers``: the network that measures; None: the bundled ``minivgg-11``.

    Traits: ``picture``, ``mode``, ``style``, ``style_weight``, ``content_weight``, ``keep_colors``, ``noise``
    (whether the search begins there, and not at the picture), ``frame`` (-1: the last), ``resume`` and
    ``anew`` (counted up to ask for it), ``status``, ``error``, ``progress``, ``cancel``; ``style_upload`` and
    ``style_path`` bring a style of your own, as ``upload`` and ``path`` a picture.

    Errors: KeyError for unknown layers, TypeError for unknown options, ValueError for weights that are no
    stops, fewer styles than the network has, and a blend without a network; IndexError for pictures, styles
    and frames that do not exist. A style of one colour is refused in the widget.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> StyleExplorer(net.eval(), torch.rand(1, 3, 32, 32), torch.rand(2, 3, 32, 32), options={"steps": 1})
    StyleExplorer(model=Sequential, pictures=1, styles=2)
    """

    _esm = module("style.js")
    KIND = "style"
    ASKS = ("picture", "target", "mode", "style", "style_weight", "content_weight", "keep_colors", "noise")

    mode = T.Unicode("search").tag(sync=True)
    style = T.Int(0).tag(sync=True)
    style_weight = T.Float(1.0).tag(sync=True)
    content_weight = T.Float(1.0).tag(sync=True)
    keep_colors = T.Bool(False).tag(sync=True)
    noise = T.Bool(False).tag(sync=True)
    styles: T.List = T.List(help="name, sides and pixels of each style picture").tag(sync=True)
    blended = T.Int(0, help="how many styles the network has").tag(sync=True)
    between = T.Int(BETWEEN, help="stops from one style to the next").tag(sync=True)
    weights: T.Dict = T.Dict(help="the stops of the two weights").tag(sync=True)
    style_path = T.Unicode("").tag(sync=True)
    style_upload = T.Dict(help="a style picture sent by the page").tag(sync=True)

    def __init__(
        self,
        model: torch.nn.Module,
        images: Any,
        styles: Any,
        *,
        style_names: Sequence[str] | None = None,
        network: torch.nn.Module | None = None,
        style_layers: Any = None,
        content_layer: str | None = None,
        style_weights: Sequence[float] = (0.1, 1.0, 10.0, 100.0),
        content_weights: Sequence[float] = (0.0, 0.1, 1.0, 10.0),
        options: Mapping[str, Any] | None = None,
        judge: torch.nn.Module | None = None,
        judge_layers: Sequence[str] | None = None,
        **given: Any,
    ) -> None:
        from labkit.style import style_transfer
        from labkit.widgets.kit.overlays import layers_of

        self.options = check_options("options", style_transfer, options or {})
        for name, stops in {"style_weights": style_weights, "content_weights": content_weights}.items():
            if not len(stops):
                raise ValueError(f"{name} must have at least one weight.")
            for stop in stops:
                check_weight(name, stop)
        self._judge, self._judge_layers = judge, judge_layers
        self.network = None if network is None else private(network)
        self._pure: dict[int, Tensor] = {}  # a picture's number -> it in each style of the network
        self.style_images: list[Tensor] = []
        wanted = {name: given.pop(name) for name in [*self.ASKS[1:], "frame"] if name in given}
        given["weights"] = {"style": list(map(float, style_weights)),
                            "content": list(map(float, content_weights))}  # fmt: skip
        super().__init__(model, images, **given)
        self._first = len(self.images)
        self._read_styles(styles, style_names)
        names = list(layers_of(self.model, self._placed(self.images[0])))
        self.style_layers = names[:4] if style_layers is None else style_layers
        self.content_layer = names[len(names) // 2] if content_layer is None else content_layer
        self.style_weight, self.content_weight = (
            wanted.get(f"{kind}_weight", 1.0 if 1.0 in stops else stops[len(stops) // 2])
            for kind, stops in self.weights.items()
        )
        for name, value in wanted.items():
            setattr(self, name, value)
        self._begin()

    def _said(self) -> str:
        return f"styles={len(self.styles)}"

    def _read_styles(self, styles: Any, names: Sequence[str] | None) -> None:
        if isinstance(styles, (str, Path)):
            folder = Path(styles).expanduser()
            styles = picture_files(folder) if folder.is_dir() else [folder]
        side = max(self.size)
        batches = [check_images(styles, "styles")] if isinstance(styles, Tensor) else [
            self._read([one], side)[0] for one in styles
        ]  # fmt: skip
        found = [image.detach().cpu().float() for batch in batches for image in batch]
        if not found:
            raise ValueError("styles must have at least one picture.")
        captions = [stem(one) for one in styles] if names is None else list(names)
        if len(captions) != len(found):
            raise ValueError(
                f"style_names must have a caption for each of {len(found)} styles; got {len(captions)}."
            )
        for number, (image, name) in enumerate(zip(found, captions, strict=True), 1):
            self._add_style(image, name or f"style {number}")
        if self.network is not None:
            count = int(getattr(self.network, "styles", len(found)))
            if count > len(found):
                raise ValueError(
                    f"styles must begin with the {count} pictures that the network has learned; got "
                    f"{len(found)}."
                )
            self.blended = count

    def _add_style(self, image: Tensor, name: str) -> None:
        self.style_images.append(image)
        self.styles = [*self.styles, sent_style(image, name)]

    # -- the searches
    def _key(self, changes: dict[str, Any] | None = None) -> tuple:
        now = {name: getattr(self, name) for name in self.ASKS} | (changes or {}) | {"target": -1}
        if now["mode"] == "blend":  # one answer has all blends
            stops = self.weights
            now |= {"style": 0, "style_weight": stops["style"][0], "content_weight": stops["content"][0]}
            now |= {"keep_colors": False, "noise": False}
        return (self.KIND, *now.values())

    def _search(self, key: tuple, model: torch.nn.Module, frames: Frames) -> Job:
        _, picture, _, mode, style, style_weight, content_weight, keep_colors, noise = key
        image = self._placed(self.images[picture])
        if mode == "blend":
            if self.network is None:
                raise ValueError("a blend needs a network of several styles; pass network=.")
            return blending(self.network, image, self.blended, frames)
        given = {
            "style_layers": self.style_layers, "content_layer": self.content_layer,
            "style_weight": style_weight, "content_weight": content_weight, "keep_colors": keep_colors,
            "start": "noise" if noise else "content",
        }  # fmt: skip
        like = self.style_images[style][None].to(image)
        return styling(model, image, like, self.options | given, frames)

    def _answered(self, key: tuple, search: Search) -> Answer:
        _, picture, _, mode, style, *_ = key
        for step, shown in list(search.frames):
            if step not in search.measured:
                measure = self._blended if mode == "blend" else self._styled
                search.measured[step] = measure(picture, style, step, shown.float())
        told = [search.measured[step] for step, _ in search.frames]
        return dict(zip(self.ASKS, key[1:], strict=True)) | {
            "kind": self.KIND, "complete": search.run.done, "steps": search.steps,
            "at": [step for step, _ in search.frames], "data": self._bytes(search.frames),
            "lines": [list(values) for values in zip(*told, strict=True)],
        }  # fmt: skip

    # -- the numbers of a frame
    def _away(self, pictures: Sequence[Tensor], style: int) -> Tensor:
        judge, layers = self.judge
        return gram_distance(judge, torch.stack(list(pictures)), self.style_images[style][None], layers)

    def _styled(self, picture: int, style: int, _: int, shown: Tensor) -> list[float | None]:
        """Gram distances of what is made, of the picture and of the picture in the style's colours; then the
        correlations of what is made with the picture and with others."""
        from labkit.style.gram import color_matched

        image = self.images[picture]
        coloured = color_matched(image[None], self.style_images[style][None])[0]
        others = [self.images[i] for i in range(min(self._first, OTHERS + 1)) if i != picture][:OTHERS]
        found = correlation(shown, torch.stack([image, *others])).tolist()
        rest = sum(found[1:]) / len(others) if others else None
        return [*self._away([shown, image, coloured], style).tolist(), found[0], rest]

    def _blended(self, picture: int, _: int, stop: int, shown: Tensor) -> list[float | None]:
        """Gram distances from each style; then, in the blend's shares, those of it, of the cross-fade and of
        the picture itself."""
        count, image = self.blended, self.images[picture]
        if picture not in self._pure:
            self._pure[picture] = restyled(self.network, image[None], torch.eye(count))  # type: ignore[arg-type]
        shares = shares_at(stop, count)
        fade = (self._pure[picture] * shares[:, None, None, None]).sum(0)
        away = [self._away([shown, fade, image], style) for style in range(count)]
        return [*(float(one[0]) for one in away), *weighted(away, shares).tolist()]

    # -- style pictures of one's own
    def load_style(self, path: str | Path) -> None:
        """Add the style picture at ``path``, cropped to a square as photographs are, and show it."""
        self._show_style(self._read([path], max(self.size))[0][0], stem(path))

    def _show_style(self, image: Tensor, name: str) -> None:
        self._add_style(image, name or f"style {len(self.styles) + 1}")
        with self.hold_trait_notifications():
            self.mode, self.style, self.frame = "search", len(self.styles) - 1, -1

    @T.observe("style_upload")
    def _style_uploaded(self, change: Any) -> None:
        photo = change["new"]
        image = self._sent(photo) if photo else None
        if image is not None:
            self._show_style(image, photo["name"])

    @T.observe("style_path")
    def _style_path_given(self, change: Any) -> None:
        if change["new"]:
            self._from_path(self.load_style, change["new"])

    # -- legal values
    @T.validate("mode")
    def _legal_mode(self, proposal: Any) -> str:
        check_choice("mode", proposal["value"], MODES)
        return proposal["value"]

    @T.validate("style")
    def _legal_style(self, proposal: Any) -> int:
        if self.styles and not 0 <= proposal["value"] < len(self.styles):
            raise IndexError(f"style must be from 0 to {len(self.styles) - 1}; got {proposal['value']}.")
        return proposal["value"]

    @T.validate("style_weight", "content_weight")
    def _legal_weight(self, proposal: Any) -> float:
        name = proposal["trait"].name
        stops = self.weights.get(name.removesuffix("_weight"))
        if stops and proposal["value"] not in stops:
            raise ValueError(
                f"{name} must be one of {', '.join(map(str, stops))}; got {proposal['value']}. Pass other "
                f"stops by {name}s=."
            )
        return proposal["value"]
