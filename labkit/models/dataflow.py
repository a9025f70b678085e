"""How a picture flows through a model: what comes of what, what all of it passes, where channels lie.

Seen on the level of torch's functions, so that modules, ``F.relu``, ``x.mean((2, 3))`` and reused layers are
all alike. What runs out of sight (a scripted part, the model's own ``autograd.Function``) is taken to come of
the tensor that was made last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.hooks import classes_told, record
from labkit.core.targets import Target, pick, reads_layers
from labkit.models.functions import Call, FunctionRules
from labkit.models.operations import operations

# functions whose tensors (N, K, h, w) have their channels in front, and those of (N, h, w, K)
_FIRST = {"batch_norm", "convolution", "grid_sample", "group_norm", "instance_norm", "interpolate",
          "local_response_norm", "pixel_shuffle", "pixel_unshuffle", "upsample"}  # fmt: skip
_LAST = {"embedding", "layer_norm", "linear", "rms_norm"}
_TURNING = {"movedim", "permute", "transpose"}
_WEIGHTS = operations("weights", "attention", "norm")
_MIRRORING = {"flip", "fliplr", "flipud", "rot90"}
_REDUCING = operations("average", "largest")
# their results have no axis of any of their tensors
_MIXING = operations("attention") | {"bmm", "einsum", "matmul"}


def tensors_among(values: Any) -> Iterator[Tensor]:
    """The tensors among (nested) arguments or results of a function."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_among(value)


class Point:
    """A tensor on the picture's way: the ``call`` that made it (None: out of sight), the points ``before``
    it, ``above``, the last one that all of the picture passes on the way here, ``axis``, that of the channels
    where it is known, ``learned``: whether weights came before, and ``moved``: whether its places lie
    transposed, mirrored or cut out against the picture's."""

    def __init__(self, tensor: Tensor, call: Call | None, before: list[Point], number: int) -> None:
        self.tensor, self.call, self.before, self.number = tensor, call, before, number
        self.above: Point | None = common(before)
        self.depth: int = 0 if self.above is None else self.above.depth + 1
        self.axis: int | None = None
        self.moved = False
        self.learned: bool = self.name in _WEIGHTS or any(point.learned for point in before)
        self.learned = self.learned or (call is None and bool(before))

    @property
    def name(self) -> str:
        """The canonical name of the call."""
        return "" if self.call is None else self.call.name

    def places(self, pictures: int) -> int | None:
        """How many places it has a channel, where the axis of these is known."""
        if self.axis is None:
            return None
        return self.tensor.numel() // (pictures * self.tensor.shape[self.axis])


def common(points: list[Point]) -> Point | None:
    """The last point that all ways to these points pass."""
    met = points[0] if points else None
    for point in points[1:]:
        while met is not point:
            assert met is not None
            if met.depth >= point.depth:
                met = met.above
            else:
                assert point.above is not None
                point = point.above
    return met


def _asks(call: Call, ndim: int) -> int | None:
    """Where a function with four axes takes the channels to be."""
    if ndim != 4:
        return None
    if call.name in _FIRST or call.name.endswith("2d"):
        return 1
    if call.name in _LAST:
        whole = call.name == "layer_norm" and len(call.get("normalized_shape", 1)) > 1
        return None if whole else 3
    if call.name in _REDUCING:
        dims = call.get("dim", 1)
        if isinstance(dims, list | tuple) and len(dims) == 2:
            return {(2, 3): 1, (1, 2): 3}.get(tuple(sorted(d % 4 for d in dims)))
    return None


def _cut_out(call: Call, out: Tensor, old: Point) -> bool:
    """Whether a picture is cropped or padded by more than a tenth of a side: a map enlarged to all of it
    would lie beside what it shows."""
    if old.learned or call.name not in {"getitem", "narrow", "pad"}:
        return False
    sides = [axis for axis in (1, 2, 3) if axis != old.axis]
    before, after = (torch.tensor([t.shape[axis] for axis in sides]) for t in (old.tensor, out))
    if call.name == "pad":
        return bool((after > 1.1 * before).any())
    marks = torch.arange(int(before.prod()), device=old.tensor.device).view(1, *before.tolist())
    marks = marks.unsqueeze(old.axis or 1).expand(old.tensor.shape)
    kept = call.function(marks, *call.args[1:], **call.options).flatten()
    spans = [kept // before[1], kept % before[1]]
    return any(
        int(span.max() - span.min() + 1) < 0.9 * side for span, side in zip(spans, before, strict=True)
    )


def _gives(call: Call, out: Tensor, before: list[Point]) -> tuple[int | None, bool]:
    """The axis of the channels in what a function gave, and whether its places lie moved."""
    if out.ndim != 4:
        return None, False
    known = [p for p in before if p.tensor.ndim == 4 and p.axis is not None]
    moved = max(known, key=lambda p: p.tensor.numel()).moved if known else False
    asked = _asks(call, 4)
    if asked is not None or not known or call.name in _MIXING:
        return asked, moved
    old = known[0]
    if call.name in operations("reshape") | {"get"} and out.shape != old.tensor.shape:
        # its axes may be others
        return (old.axis, True) if _cut_out(call, out, old) else (None, False)
    if call.name not in _TURNING | _MIRRORING:
        return old.axis, moved or _cut_out(call, out, old)
    marks, channels = torch.arange(210, device="cpu").view(2, 3, 5, 7), old.axis or 0
    now = call.function(marks, *call.args[1:], **call.options)
    if call.name in _MIRRORING and now.shape == marks.shape:
        return old.axis, moved or not torch.equal(now.amax(channels), marks.amax(channels))
    rows, columns = (side for axis, side in enumerate(marks.shape) if axis not in (0, channels))
    swapped = list(now.shape).index(rows) > list(now.shape).index(columns)
    axis = list(now.shape).index(marks.shape[channels])
    return axis, moved != swapped if call.name in _TURNING else True


class _Points:
    """All that was seen of a run; tensors are kept, for an id is only good while its tensor lives."""

    def __init__(self, images: Tensor, cut: bool) -> None:
        self.start = self.last = Point(images, None, [], 0)
        self.start.axis = 1
        self.seen: dict[int, tuple[Tensor, Point | None]] = {id(images): (images, self.start)}
        self.cut = cut and images.requires_grad

    def at(self, tensor: Tensor) -> Point | None:
        """The point of a tensor; None for one that does not depend on the picture, such as a weight."""
        if id(tensor) not in self.seen:
            unseen = tensor.grad_fn is not None
            self.add(tensor, Point(tensor, None, [self.last], self.last.number + 1) if unseen else None)
        return self.seen[id(tensor)][1]

    def add(self, tensor: Tensor, point: Point | None) -> None:
        self.seen[id(tensor)] = tensor, point
        self.last = point or self.last


def _watched(call: Call, points: _Points) -> Any:
    given = [points.at(t) for t in tensors_among((*call.args, *call.options.values()))]
    before = list(dict.fromkeys(p for p in given if p is not None))
    for point in before:
        if point.axis is None:
            point.axis = _asks(call, point.tensor.ndim)
    if points.cut and call.name in {"array", "numpy"}:  # what was detached has a gradient again
        with torch.no_grad():
            return call.function(call.args[0].detach(), *call.args[1:], **call.options)
    out = call.run()
    ended = points.cut and before and isinstance(out, Tensor) and out.grad_fn is None
    if ended and out.is_floating_point() and call.into is None:
        with torch.inference_mode(False), torch.enable_grad():  # the way back begins anew
            out = out.clone().detach().requires_grad_(True).clone()
    made = [call.args[0]] if call.name == "setitem" else [*tensors_among(out), *tensors_among(call.into)]
    for tensor in made:
        if not before:
            points.add(tensor, None)
            continue
        point = Point(tensor, call, before, points.last.number + 1)
        point.axis, point.moved = _gives(call, tensor, before)
        points.add(tensor, point)
    return out


class Flow(FunctionRules):
    """While a block runs a model on ``images``, what comes of them is noted.

    ``cut``: where the way back to the picture ends (``detach()``, ``no_grad()``), let it begin anew, so that
    what comes behind still has a gradient.

    >>> net, x = nn.Conv2d(3, 4, 3), torch.rand(1, 3, 8, 8)
    >>> with Flow(x) as flow:
    ...     y = net(x).permute(0, 2, 3, 1)
    >>> flow.at(y).axis
    3
    """

    def __init__(self, images: Float[Tensor, "N C H W"], *, cut: bool = False) -> None:
        super().__init__({}, _watched, _Points(images, cut), every=True)

    @property
    def start(self) -> Point:
        """The pictures' own point."""
        return self.state.start

    def at(self, tensor: Tensor) -> Point | None:
        """The point of a tensor; None for one that does not depend on the picture."""
        return self.state.at(tensor)

    def axes(self, kept: Mapping[str, Any]) -> dict[str, int]:
        """Where the channels of recorded layers lie: at 1 but for those that are known to have them last."""
        points = {name: self.at(t) for name, t in kept.items() if isinstance(t, Tensor)}
        return {name: (point.axis if point else None) or 1 for name, point in points.items()}

    def axis_of_map(self, features: Tensor, layer: str | None) -> int:
        """Where the channels of a layer's feature map lie; raises ValueError where its places do not lie as
        the picture's do."""
        point = self.at(features)
        if point is not None and point.moved:
            raise ValueError(
                f"layer must give a map that lies as the picture does; that of {layer!r} is transposed, "
                "mirrored or cropped. Name a layer before that, or turn and crop before the pictures go in."
            )
        return (point.axis if point else None) or 1


def scores(model: nn.Module, images: Float[Tensor, "N C H W"], target: Target) -> Float[Tensor, "N"]:  # noqa: F821
    """Run the model and give the target's score of each picture, in the graph.

    Scores are taken before the softmax; a unit of a layer that gives (N, h, w, K) is one of its K channels.
    Errors as in ``pick``; a layer, a place or a vector may be wrong too.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> scores(net, torch.zeros(4, 3, 1, 1), 1).shape
    torch.Size([4])
    """
    shown = images.clone()  # a model may work in place
    if not reads_layers(target):
        outputs = model(shown)
        with classes_told(model):
            return pick(outputs, target)
    with Flow(shown) as flow, record(model, *target.layers) as kept:  # type: ignore[union-attr]
        outputs = model(shown)
    kept.axes = flow.axes(kept)
    return target.read(outputs, kept)  # type: ignore[union-attr]
