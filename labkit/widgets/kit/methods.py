"""Attribution methods as explorers run them: listed, stoppable, timed, measured against the truth, sent."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.checks import nearest
from labkit.widgets.kit.cache import Answer
from labkit.widgets.kit.worker import Stopped, explain_error, stoppable

__all__ = ["Methods", "check_maps", "measured", "sent"]

Function = Callable[..., Tensor]


class Methods(NamedTuple):
    """The functions by name, what a page says of each (name, title, note), whether they are a student's."""

    functions: Mapping[str, Function]
    entries: list[dict[str, str]]
    own: bool

    @classmethod
    def listed(cls, methods: Sequence[str] | Mapping[str, Function] | None) -> Methods:
        """By the names of ``labkit.attribution.METHODS`` (None: all of them), or a dict of functions.

        Raises ValueError for unknown or missing names, TypeError for what cannot be called.

        >>> Methods.listed(["grad_cam"]).entries
        [{'name': 'grad_cam', 'title': 'grad cam', 'note': 'post hoc, specific, local'}]
        """
        if isinstance(methods, Mapping):
            for name, function in methods.items():
                if not callable(function):
                    raise TypeError(
                        f"methods[{name!r}] must be a function (model, images, target); "
                        f"got {type(function).__name__}. Pass the function itself, not what it returned."
                    )
            functions = dict(methods)
            entries = [{"name": name, "title": name, "note": "your function"} for name in methods]
        else:
            from labkit.attribution import METHODS

            names = [methods] if isinstance(methods, str) else list(METHODS if methods is None else methods)
            for name in names:
                if name not in METHODS:
                    close = ", ".join(repr(n) for n in nearest(name, METHODS))
                    raise ValueError(
                        f"methods must be names of labkit.attribution.METHODS or a dict name -> function; "
                        f"got {name!r}. The nearest names are {close}."
                    )
            functions = {name: METHODS[name].function for name in names}
            notes = {name: ", ".join(METHODS[name].labels) for name in names}
            entries = [{"name": n, "title": n.replace("_", " "), "note": notes[n]} for n in names]
        if not functions:
            raise ValueError("methods must name at least one method; got none. None stands for all of them.")
        return cls(functions, entries, isinstance(methods, Mapping))

    def run(
        self,
        name: str,
        model: torch.nn.Module,
        image: Float[Tensor, "1 C H W"],
        target: int,
        stale: Callable[[], bool],
        report: Callable[[float], None] = lambda share: None,
    ) -> tuple[Float[Tensor, "1 H W"], float]:
        """The map and the seconds it took; raises Stopped once ``stale()``, ValueError for what is no map.

        ``report``: called with the share that is done, by the methods that know it.
        """
        from labkit.core.locks import lock_of

        slow = None if self.own else _with_progress(name)
        with (
            lock_of(model), stoppable(model, stale), torch.inference_mode(False), torch.enable_grad(),
        ):  # fmt: skip
            began = time.perf_counter()
            if slow is None:
                found = self.functions[name](model, image, target)
            else:
                found = slow(model, image, target, progress=report, should_stop=stale).map
            if stale():
                raise Stopped
            found = check_maps(name, found, image)
            return found, time.perf_counter() - began

    def fault(self, name: str, error: Exception) -> str:
        """The error in words: with its line where the function is the student's."""
        own = explain_error(error, self.functions[name])
        return own if self.own else f"{error}" or own


def check_maps(name: str, found: Any, image: Float[Tensor, "1 C H W"]) -> Float[Tensor, "1 H W"]:
    """The map as float32 on the CPU; raises ValueError unless it is one finite number a pixel."""
    want = (1, *image.shape[2:])
    if not isinstance(found, Tensor) or tuple(found.shape) != want:
        came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{name} must return a tensor of maps (N, H, W), here {want}; got {came}.")
    if not found.isfinite().all():
        raise ValueError(f"{name} must return finite maps; this one holds NaN or infinity.")
    return found.detach().float().cpu()


def _with_progress(name: str) -> Callable[..., Any] | None:
    """The method's function that reports its progress and can be stopped, if the library has one."""
    from labkit import attribution

    function = getattr(attribution, f"{name}_result", None)
    names = inspect.signature(function).parameters if function is not None else {}
    return function if {"progress", "should_stop"} <= set(names) else None


def sent(found: Float[Tensor, "1 H W"]) -> Answer:
    """A map as a page takes it, with the scale by which the kit's figures draw it."""
    from labkit.plots import DIVERGING, scale_of

    _, top, colours = scale_of(found)
    scale = {"top": top, "signed": colours == DIVERGING, "beyond": bool(found.abs().max() > top)}
    return {"dtype": "f4", "data": found.contiguous().numpy().tobytes()} | scale


def measured(found: Float[Tensor, "1 H W"], mask: Bool[Tensor, "H W"] | None) -> Answer:
    """Peak as [x, y] (none in a flat map), and with a mask energy inside, area share and pointing hit."""
    from labkit.evaluation import area_share, energy_inside, peaks, pointing_hits

    row, column = peaks(found)[0].tolist()
    peak = [column, row] if found.max() > found.min() else []
    if mask is None or not mask.any():
        return {"energy": None, "area": None, "hit": None, "peak": peak}
    energy = float(energy_inside(found, mask[None])[0])
    return {
        "energy": energy if math.isfinite(energy) else None,
        "area": float(area_share(mask[None])[0]),
        "hit": bool(pointing_hits(found, mask[None])[0][0]),
        "peak": peak,
    }
