"""The answers of the comparer: one map of one method, timed, measured against the truth, ready to be sent."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from labkit.core.checks import nearest
from labkit.widgets.base import Stopped, explain_error
from labkit.widgets.pictures import stoppable

__all__ = ["Mapper", "listed"]


def listed(
    methods: Sequence[str] | Mapping[str, Callable[..., Tensor]] | None,
) -> tuple[dict[str, Callable[..., Tensor]], list[dict[str, str]]]:
    """The functions by name, and for the page each method's name, title and labels.

    Raises ValueError for unknown or missing names, TypeError for what cannot be called.

    >>> listed(["grad_cam"])[1]
    [{'name': 'grad_cam', 'title': 'grad cam', 'note': 'post hoc, specific, local'}]
    """
    if isinstance(methods, Mapping):
        for name, function in methods.items():
            if not callable(function):
                raise TypeError(
                    f"methods[{name!r}] must be a function (model, images, target); "
                    f"got {type(function).__name__}. Pass the function itself, not what it returned."
                )
        entries = [{"name": name, "title": name, "note": "your function"} for name in methods]
        functions = dict(methods)
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
        entries = [
            {"name": name, "title": name.replace("_", " "), "note": ", ".join(METHODS[name].labels)}
            for name in names
        ]
    if not functions:
        raise ValueError("methods must name at least one method; got none. None stands for all of them.")
    return functions, entries


def _with_progress(name: str) -> Callable[..., Any] | None:
    """The method's function that reports its progress and can be stopped, if the library has one."""
    from labkit import attribution

    function = getattr(attribution, f"{name}_result", None)
    names = inspect.signature(function).parameters if function is not None else {}
    return function if {"progress", "should_stop"} <= set(names) else None


class Mapper:
    """Computes one answer at a time; ``own`` says that the functions are the student's.

    ``cost`` holds the seconds of the latest run of each method.
    """

    def __init__(
        self, model: torch.nn.Module, functions: Mapping[str, Callable[..., Tensor]], own: bool
    ) -> None:
        self.model, self.functions, self.own = model, functions, own
        self.cost: dict[str, float] = {}

    def answer(
        self,
        name: str,
        image: Float[Tensor, "1 C H W"],
        target: int,
        mask: Bool[Tensor, "H W"] | None,
        stale: Callable[[], bool],
        report: Callable[[float], None],
    ) -> dict[str, Any]:
        """A ``map`` with its scale, seconds and scores, or a ``fault`` with the sentence of the error.

        Raises Stopped once ``stale()``.
        """
        try:
            found, seconds = self._run(name, image, target, stale, report)
            return _packed(found, seconds) | _measured(found, mask)
        except Stopped:
            raise
        except Exception as error:  # it belongs to its own panel; the other methods go on
            if stale():
                raise Stopped from error
            own = explain_error(error, self.functions[name])
            return {"kind": "fault", "text": own if self.own else f"{error}" or own}

    def _run(
        self, name: str, image: Tensor, target: int, stale: Callable[[], bool], report: Callable
    ) -> tuple[Float[Tensor, "1 H W"], float]:
        from labkit.core.hooks import lock_of

        slow = None if self.own else _with_progress(name)
        with (
            lock_of(self.model),
            stoppable(self.model, stale),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            began = time.perf_counter()
            if slow is None:
                found = self.functions[name](self.model, image, target)
            else:
                result = slow(self.model, image, target, progress=report, should_stop=stale)
                found = result.map
            if stale():
                raise Stopped
            want = (1, *image.shape[2:])
            if not isinstance(found, Tensor) or tuple(found.shape) != want:
                came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise ValueError(f"{name} must return a tensor of maps (N, H, W), here {want}; got {came}.")
            found = found.detach().float().cpu()
            self.cost[name] = time.perf_counter() - began
        if not found.isfinite().all():
            raise ValueError(f"{name} must return finite maps; this one holds NaN or infinity.")
        return found, self.cost[name]


def _packed(found: Float[Tensor, "1 H W"], seconds: float) -> dict[str, Any]:
    from labkit.plots import DIVERGING, scale_of

    _, top, colours = scale_of(found)
    scale = {"top": top, "signed": colours == DIVERGING, "beyond": bool(found.abs().max() > top)}
    data = found.contiguous().numpy().tobytes()
    return {"kind": "map", "dtype": "f4", "data": data, "seconds": seconds} | scale


def _measured(found: Float[Tensor, "1 H W"], mask: Bool[Tensor, "H W"] | None) -> dict[str, Any]:
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
