"""Layers: their names and shapes, and their receptive fields: the pixels that their units see, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_images, check_index, check_positive
from labkit.core.door import own_copy, sides_of, weight_of
from labkit.core.hooks import borrow, find_layer, record
from labkit.models.extents import Extent, Extents
from labkit.models.functions import FunctionRules


def layer_names(model: nn.Module) -> list[str]:
    """The dotted names of all layers that hold no other layer, in the order they were defined."""
    return [name for name, module in model.named_modules() if name and not list(module.children())]


def layer_shapes(model: nn.Module, images: Float[Tensor, "N C H W"]) -> dict[str, tuple[int, ...]]:
    """Layer name -> shape of its output for these images, in execution order (layers that ran only)."""
    check_images(images)
    with borrow(model), torch.no_grad(), record(model, *layer_names(model)) as kept:
        model(own_copy(model, images))
    return {name: tuple(value.shape) for name, value in kept.items() if isinstance(value, Tensor)}


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What the units of a layer see of pictures of ``picture`` (height, width) pixels.

    ``rows`` (K, h, 2), ``columns`` (K, w, 2): of each channel at each place the first pixel and the end,
    which is excluded; below 0 and beyond the picture where padding is seen. ``stride``: pixels from one place
    to the next, down and across; 0 where they lie at uneven distances. ``because``: the function that first
    saw all of the picture, "" for none. A layer without a map counts as one unit at one place.
    """

    layer: str
    picture: tuple[int, int]
    rows: Int[Tensor, "K h 2"]
    columns: Int[Tensor, "K w 2"]
    stride: tuple[int, int]
    because: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the farthest-seeing unit sees."""
        height, width = (int((ends[..., 1] - ends[..., 0]).max()) for ends in (self.rows, self.columns))
        return height, width

    @property
    def start(self) -> tuple[int, int]:
        """The first row and column that the place (0, 0) sees; negative within the padding."""
        return int(self.rows[:, 0, 0].min()), int(self.columns[:, 0, 0].min())

    @property
    def whole(self) -> bool:
        """Whether every unit sees the whole picture."""
        return all(
            bool((ends[..., 0] <= 0).all() and (ends[..., 1] >= side).all())
            for ends, side in zip((self.rows, self.columns), self.picture, strict=True)
        )

    def box(self, row: int, column: int, channel: int | None = None) -> tuple[int, int, int, int]:
        """Top, left, bottom and right (the ends excluded) of what a unit sees; of all channels by default.

        Raises IndexError for a place or a channel that the layer does not have.
        """
        for name, index, count in (
            ("row", row, self.rows.shape[1]),
            ("column", column, self.columns.shape[1]),
        ):
            check_index(name, index, count, f"{name}s in layer {self.layer!r}")
        if channel is not None:
            check_index("channel", channel, len(self.rows), f"channels in layer {self.layer!r}")
        chosen = slice(None) if channel is None else slice(channel, channel + 1)
        ends = self.rows[chosen, row], self.columns[chosen, column]
        (top, left), (bottom, right) = (
            [int(e[:, 0].min()) for e in ends],
            [int(e[:, 1].max()) for e in ends],
        )
        return top, left, bottom, right

    def __str__(self) -> str:
        if self.whole:
            why = f" (from {self.because} on)" if self.because else ""
            side = f"{self.picture[0]} x {self.picture[1]}"
            return f"each unit of {self.layer!r} sees the whole picture of {side}{why}"
        height, width = self.size
        every = (
            self.stride[0] if self.stride[0] == self.stride[1] else f"{self.stride[0]} and {self.stride[1]}"
        )
        apart = f"one every {every} pixels" if all(self.stride) else "at uneven distances"
        return f"a unit of {self.layer!r} sees {height} x {width} pixels, {apart}"


def receptive_fields(
    model: nn.Module,
    layers: Sequence[str] | None = None,
    *,
    side: int | tuple[int, int] | None = None,
    channels: int = 3,
) -> dict[str, ReceptiveField]:
    """Layer -> which pixels its units see, place by place and channel by channel, with stride and offset.

    Exact through skips, branches, strides, dilation, padding, pooling and whatever moves values about: the
    bounds of what each value sees go through the model beside a picture. It is what a unit *may* see, a box;
    what it goes by is mostly less (see the effective field of Luo et al. 2016), and where a stride leaves out
    the last pixels, boxes at that border still hold them. A unit behind a global
    pooling or attention sees the whole picture, and ``str(field)`` says so.

    ``layers``: dotted names, "relu:0" for one call of several; by default all
    layers and blocks that run and whose field is known.
    ``side``: the picture's side or (height, width), by default ``model.input_size``. ``channels``: of it.

    Raises KeyError for a wrong name, with the nearest right ones; ValueError for a layer behind a function
    whose fields are not known (a transposed convolution, a recurrent layer), with its name, and for a model
    that does not carry its size where ``side`` is not given; RuntimeError for a model in training mode.

    Source: Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks" (for
    plain stacks: size r += (k - 1) j, stride j *= s).

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    >>> field = receptive_fields(net, ["2"], side=8)["2"]
    >>> print(field)
    a unit of '2' sees 4 x 4 pixels, one every 2 pixels
    >>> field.box(0, 1)
    (-1, 1, 3, 5)
    """
    height, width = sides_of(model, side)
    check_positive("channels", channels)
    own = [name for name, _ in model.named_modules() if name] if layers is None else list(layers)
    picture = torch.full((1, channels, height, width), 0.5)
    with borrow(model, frozen=True):
        for name in own:
            find_layer(model, name)
        shown = own_copy(model, picture.to(weight_of(model, picture).dtype)).requires_grad_(True).clone()
        extents = Extents(shown)
        rules = FunctionRules({}, lambda call, seen: seen.follow(call), extents, every=True)
        with record(model, *own) as kept, rules:
            model(shown)
        names = own if layers is not None else [n for n in own if _known(extents, kept.get(n))]
        return {name: _field(name, extents, (height, width), kept[name]) for name in names}


def _known(extents: Extents, value: object) -> bool:
    extent = extents.of(value) if isinstance(value, Tensor) else None
    return extent is not None and extent.four is not None


def _field(layer: str, extents: Extents, picture: tuple[int, int], value: Tensor) -> ReceptiveField:
    extent: Extent | None = extents.of(value) if isinstance(value, Tensor) else None
    if extent is None or extent.four is None:
        lost = extent.lost if extent is not None else "a part that does not look at the picture"
        raise ValueError(
            f"layer {layer!r} must have a receptive field that can be told; it lies behind {lost}, of "
            "which that is not known. Name a layer before it."
        )
    four = [torch.where(part.isinf(), 0.0, part) for part in extent.four]  # inf: sees nothing of the picture
    if value.ndim != 4:
        four = [part.amin().view(1, 1, 1) for part in four]
    else:
        last = any(_varies(four[k], k + 1) and not _varies(four[k], k + 2) for k in (0, 1))
        last = last and not _varies(four[0], 3)  # else rows have become columns
        four = [part[0].movedim(2, 0) if last else part[0] for part in four]
    if any(_varies(part, 2 - k % 2) for k, part in enumerate(four)):
        raise ValueError(
            f"layer {layer!r} must give a map that lies as the picture does; its rows do not come of rows. "
            "Name a layer before the map is turned or cut up."
        )
    rows = torch.stack([four[0][:, :, 0], -four[2][:, :, 0]], -1).long()
    columns = torch.stack([four[1][:, 0], -four[3][:, 0]], -1).long()
    strides = [_stride(ends[..., 0], step) for ends, step in zip((rows, columns), extent.step, strict=True)]
    return ReceptiveField(layer, picture, rows, columns, (strides[0], strides[1]), extent.because)


def _varies(part: Tensor, axis: int) -> bool:
    return bool((part != part.narrow(axis, 0, 1)).any())


def _stride(firsts: Tensor, step: int) -> int:
    """The distance of neighbouring places' first pixels; 0 where it is not the same everywhere."""
    if firsts.shape[1] == 1:
        return step
    distances = firsts.diff(dim=1)
    return int(distances[0, 0]) if bool((distances == distances[0, 0]).all()) else 0
