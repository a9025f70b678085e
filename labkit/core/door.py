"""The door that every method goes through: pictures checked, the model borrowed, a private copy handed in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from labkit.core.checks import check_channels, check_images, check_index, check_positive
from labkit.core.hooks import borrow

# what torch says of a custom operator and of its own, as its error begins
NO_DERIVATIVE = r"backward through (\S+) but no autograd|derivative for '?(\S+?)'? is not implemented"
NO_SLOPE = (
    "target must depend on the picture by steps that can be differentiated; no gradient reaches "
    "the picture. Remove detach() or no_grad(), or use labkit.attribution.occlusion."
)
NO_INFLUENCE = (
    "layer must have an influence on the target; {} has none: it comes after the target or beside it (name "
    "an earlier layer), or a detach() lies between (name a later one)."
)


def weight_of(model: nn.Module, otherwise: Tensor) -> Tensor:
    """A weight that shows the model's device and precision, or a buffer; ``otherwise`` where it has none."""
    tensors = chain(model.parameters(), model.buffers())
    return next((t for t in tensors if t.is_floating_point()), otherwise)


def sides_of(model: nn.Module, side: int | tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the pictures that are meant: ``side``, by default ``model.input_size``.

    Raises ValueError where neither is given, and for what is no positive whole number.

    >>> sides_of(nn.Identity(), (2, 3))
    (2, 3)
    """
    size = getattr(model, "input_size", None) if side is None else side
    if size is None:
        raise ValueError("side must be given for a model that does not carry .input_size: side=224.")
    height, width = (size, size) if isinstance(size, int) else size
    for length in (height, width):
        check_positive("side", length)
    return height, width


def own_copy(model: nn.Module, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """A copy of the pictures on the model's device and in its precision; the caller's tensor stays untouched.

    Raises ValueError where the model's normalization has another number of channels, or its weights lie on
    the meta device.
    """
    weight = weight_of(model, images)
    if weight.is_meta:
        raise ValueError(
            "model must have its weights; they lie on the meta device, which holds no numbers. "
            "Call model.to_empty(device='cpu') and load its state_dict."
        )
    for name in ("labkit_mean", "mean"):
        mean = getattr(model, name, None)
        if isinstance(mean, Tensor) and mean.ndim == 4:
            check_channels(images, mean.shape[1])
    return images.detach().clone().to(weight.device, weight.dtype)


@contextmanager
def asked(
    model: nn.Module, images: Float[Tensor, "N C H W"], *, frozen: bool = True
) -> Iterator[Float[Tensor, "N C H W"]]:
    """Check the pictures, borrow the model for the block, and hand in a private copy of the pictures.

    Every method begins with it, so that illegal pictures are met once and whatever happens inside, model and
    pictures are given back as they were. No parameter asks for a gradient inside: that of the picture is all
    a method needs, and a third of the work is saved. ``frozen=False`` leaves them, for a gradient by a layer
    that the picture may not reach. Errors as in ``check_images``, ``borrow`` and ``own_copy``.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> with asked(net, torch.zeros(1, 3, 2, 2)) as inputs:
    ...     net(inputs).shape
    torch.Size([1, 2])
    """
    check_images(images)
    with borrow(model, frozen=frozen):
        yield own_copy(model, images)


def seeded(generator: torch.Generator | None, argument: str = "generator") -> torch.Generator:
    """The caller's generator, or one with seed 0, so that a call gives the same answer every time.

    Raises TypeError for what is no generator, such as a seed.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        cure = f"Write torch.Generator().manual_seed({generator if isinstance(generator, int) else 0})."
        raise TypeError(
            f"{argument} must be a torch.Generator or None; got {type(generator).__name__}. {cure}"
        )
    return torch.Generator().manual_seed(0) if generator is None else generator


def as_units(units: int | Sequence[int] | None, count: int) -> Int[Tensor, " U"]:
    """The units asked for, of a layer's ``count``: None for all, one, or several.

    Raises TypeError for what is no whole number, ValueError for none, IndexError for one that is not there.

    >>> as_units(2, 4), as_units(None, 3)
    (tensor([2]), tensor([0, 1, 2]))
    """
    if units is None:
        return torch.arange(count)
    given: Any = units.tolist() if isinstance(units, Tensor | np.ndarray | np.generic) else units
    chosen = [given] if isinstance(given, int) else given
    if not isinstance(chosen, Sequence) or not all(isinstance(unit, int) for unit in chosen):
        raise TypeError(f"units must be None for all, a unit's number or several of them; got {given!r}.")
    if not chosen:
        raise ValueError("units must be at least one unit, or None for all; got an empty list.")
    for unit in chosen:
        check_index("units", unit, count, "units in the layer")
    return torch.tensor(list(chosen))


@contextmanager
def channels_in_own_words(model: nn.Module, channels: int) -> Iterator[None]:
    """For a block in which a model meets pictures that a search has made: raise ValueError that names
    ``channels`` where the pictures have another number than the model takes."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        means = [getattr(model, name, None) for name in ("labkit_mean", "mean")]
        taken = [m.shape[1] for m in means if isinstance(m, Tensor) and m.ndim == 4]
        taken += [m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
        if "channels" not in str(error) or not taken or taken[0] == channels:
            raise
        raise ValueError(
            f"channels must be those of the pictures that the model takes, {taken[0]}; got {channels}. "
            f"Pass channels={taken[0]}."
        ) from None


@contextmanager
def backward_in_own_words() -> Iterator[None]:
    """For a block that goes back through a model: raise ValueError where torch refuses to."""
    try:
        yield
    except RuntimeError as error:
        if unknown := re.search(NO_DERIVATIVE, str(error)):
            raise ValueError(
                "the model must consist of functions with a derivative; torch knows none of "
                f"{unknown[1] or unknown[2]}. Register one, or use labkit.attribution.occlusion."
            ) from None
        if "use_reentrant" in str(error):
            raise ValueError(
                "the model must not run torch.utils.checkpoint with use_reentrant=True, which knows no "
                "gradient by a picture or a layer. Pass it use_reentrant=False, or switch it off."
            ) from None
        raise


def derivative(
    score: Float[Tensor, " N"], by: Tensor, refusal: str = NO_SLOPE, *, grad: Any = torch.autograd.grad
) -> Tensor:
    """The gradient of each picture's score by a tensor of the same batch; ``grad`` works it out.

    Raises ValueError with ``refusal`` where ``by`` has no influence on the score that can be differentiated.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> derivative(x**2, x)
    tensor([2., 4.])
    """
    slope = None
    if score.requires_grad and by.requires_grad:
        with backward_in_own_words():
            slope = grad(score.sum(), by, allow_unused=True)[0]
    if slope is None:
        raise ValueError(refusal)
    return slope


def finite(answer: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
    """The maps or scores, detached; raises ValueError for NaN or infinity, which come from the model here."""
    if not torch.isfinite(answer).all():
        raise ValueError(
            "the map must be finite; the model gives NaN or infinity for this picture. Look at its scores "
            "with labkit.models.scores(model, images, target) and at the model's weights."
        )
    return answer.detach()
