"""Physical patch: a printed square that fools from any view, learned by what cameras see of it.

What it is printed on, and how a camera sees it, is none of this file's business: ``views`` say that, such
as those of a crate in the toy world or anyone's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.adversarial.patches import Patch
from labkit.core.checks import check_positive
from labkit.core.door import asked, seeded
from labkit.core.registry import signature_of
from labkit.core.targets import as_logits, class_indices
from labkit.optimize import minimize

__all__ = ["Views", "physical_patch", "physical_patch_result"]

_CUT = (
    "views must pass derivatives on to the square, by steps that can be differentiated; no gradient reaches "
    "it. Sample it by grid_sample, not by rounded places, or learn it on a network that has a gradient."
)


class Views(Protocol):
    """``count`` views of a square of ``channels`` channels: called with the square (C, S, S) and the numbers
    of some views they give the pictures (N, C, H, W) that a camera takes, differentiable by the square."""

    @property
    def count(self) -> int: ...

    @property
    def channels(self) -> int: ...

    def __call__(self, square: Float[Tensor, "C S S"], rows: Sequence[int]) -> Float[Tensor, "N C H W"]: ...


def physical_patch_result(
    model: nn.Module,
    views: Views,
    target: int,
    *,
    side: int = 32,
    batch: int = 12,
    steps: int = 200,
    rate: float = 0.05,
    transformed: bool = True,
    on_frame: Callable[[int, Tensor], object] | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Patch:
    """``physical_patch`` with its losses (see ``Patch``). Errors as there.

    >>> from types import SimpleNamespace
    >>> class Wall(SimpleNamespace):
    ...     def __call__(self, square, rows):
    ...         return square.expand(len(rows), -1, -1, -1)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2)).eval()
    >>> physical_patch_result(net, Wall(count=4, channels=3), 1, side=4, steps=2).patch.shape
    torch.Size([3, 4, 4])
    """
    for name, value in {"side": side, "batch": batch, "steps": steps}.items():
        check_positive(name, value)
    if not callable(views) or getattr(views, "count", 0) < 1:
        raise ValueError(
            "views must be at least one view, and called with a square and numbers give pictures; got "
            f"{type(views).__name__}. Make some by labkit.data.decal_views."
        )
    own = seeded(generator)
    with torch.inference_mode(False), torch.no_grad():
        noise = torch.rand(views.channels, side, side, generator=own, dtype=torch.float64)
        start = (0.5 + 0.1 * (noise - 0.5)).float()
        first = views(start, [0])
    with asked(model, first) as given:
        with torch.no_grad():
            class_indices(model(given.clone()), target)
        patch = start.to(given)

        def loss(step: int) -> Tensor:
            rows = torch.randint(views.count, (min(batch, views.count),), generator=own).tolist()
            shown = views(patch, rows if transformed else [0])
            return -as_logits(model(shown)).log_softmax(1)[:, target].mean()

        found = minimize(
            [patch], loss, steps=steps, rate=rate, project=lambda _: patch.clamp_(0, 1), refusal=_CUT,
            on_frame=None if on_frame is None else lambda step, _: on_frame(step, patch.clone()),
            describe="physical patch", progress=progress, should_stop=should_stop,
        )  # fmt: skip
        return Patch(patch.detach(), "square", found.losses, found.complete)


@signature_of(physical_patch_result)
def physical_patch(*args: Any, **options: Any) -> Float[Tensor, "C S S"]:
    """A square to be printed: whatever carries it, from any view, the network names ``target``.

    In each of ``steps`` the square is filmed from ``batch`` of the ``views``, drawn anew, and takes a step of
    Adam (``rate``) that lowers the mean cross entropy of the target: the expectation over transformations,
    which here are places, turns, lights and bends of what carries it. ``views``: see ``Views``; the toy
    world's are made by ``labkit.data.decal_views``. ``transformed`` False learns it from the first view
    alone, to see what the expectation is for. ``side``: its own pixels. ``on_frame``: told a step and the
    square after every tenth. ``generator``: of the start and of the views drawn (None: seed 0).
    Raises ValueError for bad numbers, for views of another kind and where no gradient reaches the square,
    IndexError for a class that the model does not have.

    Unit: picture value. Labels: post hoc, specific to differentiable models, global.
    Source: Athalye et al. 2018, "Synthesizing Robust Adversarial Examples", section 2; on a bending
    surface: Xu et al. 2020, "Adversarial T-shirt! Evading Person Detectors in a Physical World", section 3.
    They learn how cloth bends from videos; here the views know it.

    >>> from labkit.data import decal_views
    >>> net = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    >>> physical_patch(net, decal_views("crate", 2), 1, side=8, steps=1).shape
    torch.Size([3, 8, 8])
    """
    return physical_patch_result(*args, **options).patch
