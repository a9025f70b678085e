"""Features: what layers give over thousands of pictures, read from the disk and run batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from labkit.core.checks import check_choice, check_images, check_positive
from labkit.core.door import weight_of
from labkit.core.hooks import borrow, find_layer
from labkit.core.progress import working
from labkit.models.dataflow import Flow

__all__ = ["Enough", "Stream", "batches", "features"]

Pool = str | int | None
DTYPES = (torch.float16, torch.float32, torch.float64)


class Enough(BaseException):
    """Ends a forward pass at the last layer that is read; no model's ``except Exception`` holds it up."""


def _as_pictures(part: Any) -> Float[Tensor, "B C H W"]:
    """Some pictures as a tensor (B, C, H, W) in [0, 1]; bytes are divided by 255, channels put in front."""
    values = torch.from_numpy(np.array(part)) if isinstance(part, ndarray) else part
    if values.ndim == 4 and values.shape[3] in (1, 3) and values.shape[1] not in (1, 3):
        values = values.permute(0, 3, 1, 2)
    if values.dtype == torch.uint8:
        return values.float() / 255
    return check_images(values, "pictures")


def batches(pictures: Tensor | ndarray, size: int = 64) -> Iterator[Float[Tensor, "B C H W"]]:
    """The pictures in batches of ``size``, float (B, C, H, W) in [0, 1], read when their turn comes.

    ``pictures``: bytes or numbers from 0 to 1, (N, H, W, C) or (N, C, H, W), a tensor or an array, which may
    lie on the disk (``numpy.load(..., mmap_mode="r")``). Channels are the axis of 1 or 3; where both could
    be, the first of them. Raises TypeError for what is neither, ValueError for no pictures or other shapes.

    >>> [tuple(part.shape) for part in batches(np.zeros((5, 8, 8, 3), np.uint8), 3)]
    [(3, 3, 8, 8), (2, 3, 8, 8)]
    """
    check_positive("size", size)
    if not isinstance(pictures, Tensor | ndarray):
        raise TypeError(
            f"pictures must be a tensor or an array; got {type(pictures).__name__}. "
            "Stack tensors first: torch.stack(pictures); labkit.data.load_photo(path, size) makes one of a "
            "photograph."
        )
    if pictures.ndim != 4 or 0 in pictures.shape:
        raise ValueError(
            f"pictures must have the shape (N, H, W, C) or (N, C, H, W), N >= 1; got {tuple(pictures.shape)}."
        )
    for first in range(0, len(pictures), size):
        yield _as_pictures(pictures[first : first + size])


def _pooled(out: Any, pool: Pool, layer: str, count: int, axis: int) -> Tensor:
    if not isinstance(out, Tensor) or out.ndim < 2 or len(out) != count:
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"layer {layer!r} must give a tensor with a row a picture, ({count}, ...); got {got}."
        )
    if pool is None or out.ndim == 2:
        return out
    if out.ndim != 4:
        raise ValueError(
            f"pool must be None for layer {layer!r}, which gives {tuple(out.shape)} and not (N, C, H, W); "
            f"got {pool!r}."
        )
    out = out.movedim(axis, 1)
    if isinstance(pool, str):
        return out.mean((2, 3)) if pool == "mean" else out.amax((2, 3))
    return F.adaptive_avg_pool2d(out, pool)


class Stream:
    """Hooks that write what layers give into arrays, batch by batch, and end the pass after the last.

    ``take``: called with a layer, what it gives for a batch (channels in front) and the pictures' numbers, in
    place of the arrays: so nothing has to be kept.
    """

    def __init__(
        self,
        layers: Sequence[str],
        pool: Pool = None,
        dtype: torch.dtype = torch.float32,
        total: int = 0,
        take: Callable[[str, Tensor, slice], None] | None = None,
    ) -> None:
        self.layers, self.pool, self.dtype, self.total, self.take = layers, pool, dtype, total, take
        self.kept: dict[str, Tensor] = {}
        self.rows = slice(0, 0)
        self.calls: dict[nn.Module, int] = {}
        self.first: dict[str, tuple[nn.Module, int, Any]] = {}  # of the first batch: which call, what it gave
        self.last: tuple[nn.Module, int] | None = None
        self.wrote: set[str] = set()
        self.axes: dict[str, int] = {}  # where the channels lie

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[None]:
        """For the block, hear the layers of a model, of which they must be."""
        asked: dict[nn.Module, list[tuple[str, int | None]]] = {}
        for name in self.layers:
            module, call = find_layer(model, name)
            asked.setdefault(module, []).append((name, call))
        handles = []
        try:
            for module, names in asked.items():

                def hook(module: nn.Module, _args: Any, out: Any, names=names) -> None:
                    call = self.calls[module] = self.calls.get(module, -1) + 1
                    for name, wanted in names:
                        self._see(name, wanted, module, call, out)
                    if self.last == (module, call):
                        raise Enough

                handles.append(module.register_forward_hook(hook))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _see(self, name: str, wanted: int | None, module: nn.Module, call: int, out: Any) -> None:
        if self.last is None:
            if wanted in (None, call):
                self.first.pop(name, None)  # so that the order is that of the calls kept
                self.first[name] = module, call, out.clone() if isinstance(out, Tensor) else out
        elif self.first[name][1] == call:
            self._keep(name, out)

    def _keep(self, name: str, out: Any) -> None:
        axis = self.axes.get(name, 1)
        value = _pooled(out, self.pool, name, self.rows.stop - self.rows.start, axis)
        if self.take is not None:
            self.take(name, value.movedim(axis, 1) if value.ndim == 4 else value, self.rows)
            self.wrote.add(name)
            return
        if name not in self.kept:
            self.kept[name] = torch.empty(self.total, *value.shape[1:], dtype=self.dtype)
        self.kept[name][self.rows] = value.to("cpu", self.dtype)
        self.wrote.add(name)

    def run(self, model: nn.Module, part: Tensor, rows: slice) -> None:
        """One batch: the first runs through, so that it is known which call comes last."""
        self.rows, self.calls, self.wrote = rows, {}, set()
        with suppress(Enough), Flow(part) if self.last is None else nullcontext() as flow:
            model(part)
        if self.last is not None:
            if len(self.wrote) == len(self.layers):
                return
            raise RuntimeError(
                "the model must run its layers in the same order for every batch; it does not. "
                "Use labkit.models.record on each batch."
            )
        missing = [name for name in self.layers if name not in self.first]
        if missing:
            raise KeyError(
                f"{missing[0]!r} did not run for these pictures, or not as often as asked; "
                "look at labkit.models.layer_shapes(model, pictures)."
            )
        self.axes = flow.axes({name: out for name, (_, _, out) in self.first.items()}) if flow else {}
        for name, (module, call, out) in self.first.items():
            self._keep(name, out)
            self.first[name], self.last = (module, call, None), (module, call)


@overload
def features(  # type: ignore[overload-overlap]  # a name is a sequence, too
    model: nn.Module, pictures: Tensor | ndarray, layers: str, *, pool: Pool = ..., dtype: torch.dtype = ...,
    batch_size: int = ..., progress: Callable[[float], None] | None = ...,
) -> Float[Tensor, "N ..."]: ...  # fmt: skip


@overload
def features(
    model: nn.Module, pictures: Tensor | ndarray, layers: Sequence[str], *, pool: Pool = ...,
    dtype: torch.dtype = ..., batch_size: int = ..., progress: Callable[[float], None] | None = ...,
) -> dict[str, Float[Tensor, "N ..."]]: ...  # fmt: skip


def features(
    model: nn.Module,
    pictures: Tensor | ndarray,
    layers: str | Sequence[str],
    *,
    pool: Pool = None,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 64,
    progress: Callable[[float], None] | None = None,
) -> Float[Tensor, "N ..."] | dict[str, Float[Tensor, "N ..."]]:
    """What layers give for many pictures: (N, ...) of one layer, or a dictionary by name of several.

    The pictures may be thousands of bytes on the disk: they are read, divided by 255 and run batch by batch,
    and each pass ends at the last layer asked for. The result lies on the processor, detached.

    ``pictures``: as ``labkit.models.features.batches`` takes them.
    ``layers``: a dotted name or several; "relu:0" asks for one call of a layer that runs several times,
    the plain name for its last.
    ``pool``: None keeps places, in the layer's own order; "mean" and "max" over all places give (N, C); a
    number k the means over a k x k grid, (N, C, k, k). Layers that give (N, C) stay as they are.
    ``dtype``: float32, float16 (half the memory) or float64.
    ``progress``: gets the share done; without it a bar shows if it takes more than a moment.

    Raises KeyError for a wrong layer with the nearest right names, ValueError for a layer without a row a
    picture, for activations that are not finite (in float16, above 65504) and for a wrong pool, TypeError and
    ValueError for illegal pictures, RuntimeError for a model in training mode or one that runs its layers in
    another order for another batch.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    >>> pictures = np.zeros((5, 8, 8, 3), np.uint8)
    >>> features(net, pictures, "1").shape, features(net, pictures, "1", pool="mean").shape
    (torch.Size([5, 4, 6, 6]), torch.Size([5, 4]))
    """
    if isinstance(pool, str):
        check_choice("pool", pool, ("mean", "max"))
    elif pool is not None:
        check_positive("pool", pool)
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be torch.float16, float32 or float64; got {dtype}.")
    names = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
    if not names:
        raise ValueError("layers must name at least one layer; got none.")
    stream = Stream(names, pool, dtype, len(pictures))
    with (
        borrow(model),
        torch.no_grad(),
        stream.on(model),
        working("features", len(pictures), "picture", progress=progress) as work,
    ):
        done = 0
        for part in batches(pictures, batch_size):
            weight = weight_of(model, part)
            shown = part.to(weight.device, weight.dtype, copy=True)
            rows = slice(done, done + len(part))
            stream.run(model, shown, rows)
            done += len(part)
            for name, values in stream.kept.items():
                if not torch.isfinite(values[rows]).all():
                    cure = "Pass dtype=torch.float32." if dtype == torch.float16 else "Look at its weights."
                    raise ValueError(
                        f"activations of {name!r} must be finite; in {dtype} they are not. {cure}"
                    )
            work.at(done)
    return stream.kept[names[0]] if isinstance(layers, str) else {name: stream.kept[name] for name in names}
