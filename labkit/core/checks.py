"""Argument checks and their wording, the same everywhere.

Every message names the argument, what is allowed, what came, and the cure. Nothing here imports torch at
module level, so that ``import labkit`` stays cheap.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = [
    "as_masks", "as_tensor", "check_channels", "check_choice", "check_class", "check_feature_map",
    "check_finite", "check_fraction", "check_images", "check_index", "check_maps", "check_positive",
    "check_share", "check_weight", "class_by_name", "named_class", "nearest"
]  # fmt: skip


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The ``n`` known names closest to ``name``, best first (the first few known ones if none is close).

    >>> nearest("zebr", ["horse", "zebra", "tank"])
    ['zebra']
    """
    names = list(known)
    return difflib.get_close_matches(str(name), names, n=n, cutoff=0.4) or names[:n]


def _listing(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def check_choice(argument: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ``ValueError`` with the nearest allowed names unless ``value`` is one of ``allowed``.

    >>> check_choice("split", "training", ["train", "val", "test"])
    Traceback (most recent call last):
    ...
    ValueError: split must be one of 'train', 'val', 'test'; got 'training'. Did you mean 'train'?
    """
    names = list(allowed)
    if value in names:
        return
    close = nearest(str(value), names, n=1)
    if len(names) <= 16:
        raise ValueError(
            f"{argument} must be one of {_listing(names)}; got {value!r}. Did you mean {close[0]!r}?"
        )
    raise ValueError(
        f"{argument} must be one of {len(names)} known names; got {value!r}. "
        f"The nearest are {_listing(nearest(str(value), names))}."
    )


def check_positive(argument: str, value: Any, *, integer: bool = True) -> None:
    """Raise unless ``value`` is a positive number (a whole one if ``integer``).

    >>> check_positive("stride", 0)
    Traceback (most recent call last):
    ...
    ValueError: stride must be a whole number of at least 1; got 0. Pass for example stride=1.
    """
    import numbers

    if _real(value) and float(value) > 0 and (not integer or isinstance(value, numbers.Integral)):
        return
    want = "a whole number of at least 1" if integer else "a number above 0"
    raise ValueError(f"{argument} must be {want}; got {value!r}. Pass for example {argument}=1.")


def _real(value: Any) -> bool:
    import numbers

    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_weight(argument: str, value: Any, hint: str = "0 switches it off.") -> None:
    """Raise unless ``value`` is a finite number of at least 0.

    >>> check_weight("tv_weight", -1)
    Traceback (most recent call last):
    ...
    ValueError: tv_weight must be a number of at least 0; got -1. 0 switches it off.
    """
    if not _real(value) or not 0 <= float(value) < float("inf"):
        raise ValueError(f"{argument} must be a number of at least 0; got {value!r}. {hint}")


def check_fraction(argument: str, value: Any) -> None:
    """Raise unless ``value`` is a number from 0 to 1.

    >>> check_fraction("fill", 127)
    Traceback (most recent call last):
    ...
    ValueError: fill must be a number from 0 to 1; got 127. Grey levels of 0 to 255 are divided by 255.
    """
    if not _real(value) or not 0 <= float(value) <= 1:
        raise ValueError(
            f"{argument} must be a number from 0 to 1; got {value!r}. "
            "Grey levels of 0 to 255 are divided by 255."
        )


def check_share(argument: str, value: Any, hint: str) -> None:
    """Raise, with ``hint`` as the cure, unless ``value`` is a number above 0 and below 1.

    >>> check_share("area", 1.0, "A tenth of the picture is area=0.1.")
    Traceback (most recent call last):
    ...
    ValueError: area must be a number above 0 and below 1; got 1.0. A tenth of the picture is area=0.1.
    """
    if not _real(value) or not 0 < float(value) < 1:
        raise ValueError(f"{argument} must be a number above 0 and below 1; got {value!r}. {hint}")


def check_images(images: Any, argument: str = "images") -> torch.Tensor:
    """Return ``images`` if it is a legal batch: float (N, C, H, W), N >= 1, finite, within [0, 1].

    Raises TypeError for what is no tensor or holds whole numbers, ValueError for the rest.
    """
    import torch

    if not isinstance(images, torch.Tensor):
        raise TypeError(
            f"{argument} must be a torch.Tensor of shape (N, C, H, W); got {type(images).__name__}. "
            "Convert it, for example with torch.as_tensor(array) or labkit.data.load_photo(path)[None]."
        )
    if not torch.is_floating_point(images):
        top = (
            "255 for pictures stored as 0 to 255"
            if images.dtype == torch.uint8
            else ("65535 for pictures of 16 bits, / 255 for those of 8")
        )
        raise TypeError(
            f"{argument} must hold floating-point numbers from 0 to 1; got {images.dtype}. "
            f"Write {argument}.float() / {top}."
        )
    if images.ndim != 4:
        cure = f"Add the batch axis: {argument}[None]." if images.ndim == 3 else "Check how it was stacked."
        raise ValueError(f"{argument} must have the shape (N, C, H, W); got {tuple(images.shape)}. {cure}")
    if images.shape[0] == 0 or 0 in images.shape:
        raise ValueError(
            f"{argument} must hold at least one picture; got the empty shape {tuple(images.shape)}."
        )
    low, high = (float(x) for x in images.detach().aminmax())
    if not (low == low and high == high and abs(low) != float("inf") and abs(high) != float("inf")):
        raise ValueError(
            f"{argument} must be finite; got NaN or infinity. "
            f"Look at torch.isfinite({argument}).all(dim=(1, 2, 3))."
        )
    if low < -1e-6 or high > 1 + 1e-6:
        cure = f"Write {argument} / {255 if high <= 255 else 65535}. " if low >= 0 and high > 16 else ""
        raise ValueError(
            f"{argument} must lie within [0, 1]; got values from {low:.3g} to {high:.3g}. {cure}"
            "Normalization belongs inside the model (see labkit.models.wrap_model): pass the plain picture."
        )
    return images


def check_channels(images: torch.Tensor, channels: int) -> None:
    """Raise ValueError unless the pictures have the channels that a normalization has: subtracting it would
    silently turn a grey picture into three equal channels."""
    if images.shape[1] != channels:
        cure = f"Repeat a grey picture: images.expand(-1, {channels}, -1, -1)."
        if images.shape[1] != 1 and images.shape[-1] == channels:
            cure = "The channels lie last; put them first: images.permute(0, 3, 1, 2)."
        raise ValueError(
            f"images must have {channels} channels for this model; got {tuple(images.shape)}. {cure}"
        )


def check_feature_map(features: Any, layer: str | None) -> torch.Tensor:
    """Return what a layer gave if it is a feature map (N, K, h, w); raises ValueError for anything else."""
    import torch

    if isinstance(features, torch.Tensor) and features.ndim == 4:
        return features
    got = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
    raise ValueError(
        f"layer must give a feature map (N, K, h, w); {layer!r} gives {got}. "
        "Name a layer before pooling and flattening."
    )


def check_finite(argument: str, values: torch.Tensor) -> None:
    """Raise ValueError if ``values`` hold NaN or infinity."""
    import torch

    if not torch.isfinite(values).all():
        raise ValueError(
            f"{argument} must be finite; got NaN or infinity. Look at torch.isfinite({argument}).all()."
        )


def as_tensor(argument: str, values: Any) -> torch.Tensor:
    """A tensor as it is, a NumPy array or a list of numbers as one: other libraries give arrays.

    >>> as_tensor("maps", [[0.0, 1.0]]).shape
    torch.Size([1, 2])
    """
    import numpy as np
    import torch

    if isinstance(values, torch.Tensor):
        return values.detach()
    found = np.asarray(values)
    if found.dtype.kind not in "fiub":
        raise TypeError(
            f"{argument} must be a tensor or an array of numbers; got {type(values).__name__} "
            f"of {found.dtype}. Convert it with torch.as_tensor."
        )
    return torch.from_numpy(np.ascontiguousarray(found))


def as_masks(argument: str, values: Any) -> torch.Tensor:
    """Masks as booleans: whole numbers count where they are not 0, floats must be 0 or 1.

    Raises ValueError for floats between: where a soft mask ends is the caller's to say.

    >>> as_masks("masks", [[0, 255]])
    tensor([[False,  True]])
    """
    found = as_tensor(argument, values)
    if found.is_floating_point():
        strange = (found != 0) & (found != 1)
        if strange.any():
            raise ValueError(
                f"{argument} must hold True and False, or 0 and 1; got {float(found[strange][0]):.3g}. "
                f"Say where a soft mask ends: {argument} > 0.5."
            )
    return found.bool()


def check_maps(maps: Any, images: torch.Tensor) -> torch.Tensor:
    """Return ``maps`` as a tensor; raises ValueError unless it is one finite map (H, W) a picture."""
    wanted, found = (images.shape[0], *images.shape[2:]), as_tensor("maps", maps)
    if tuple(found.shape) != wanted:
        raise ValueError(f"maps must have one map a picture, shape {wanted}; got {tuple(found.shape)}.")
    check_finite("maps", found)
    return found


def check_class(target: int, n_classes: int, argument: str = "target") -> None:
    """Raise IndexError unless ``target`` is a class index of a model with ``n_classes`` outputs."""
    if not 0 <= int(target) < n_classes:
        raise IndexError(
            f"{argument} must be a class index from 0 to {n_classes - 1}; got {int(target)}. "
            "The model's .classes lists them in order."
        )


def class_by_name(error: TypeError, name: str) -> TypeError:
    """The error of a method that was given a class's name: what borrows the model tells its number; see
    ``named_class``."""
    vars(error)["class_name"] = name
    error.args = (f"{error.args[0]} Write model.classes.index({name!r}).",)
    return error


def named_class(error: TypeError, classes: Any) -> None:
    """Tell in an error of ``class_by_name`` the number of the class, or of the one called most like it.

    >>> error = class_by_name(TypeError("target must be a class; got str."), "zebr")
    >>> named_class(error, ["horse", "zebra"])
    >>> print(error)
    target must be a class; got str. No class is called 'zebr'. The nearest: 'zebra', class 1.
    """
    name = vars(error).get("class_name")
    names = [str(one) for one in classes] if isinstance(classes, list | tuple) else []
    if name is None or not names:
        return
    del vars(error)["class_name"]
    close = nearest(name, names, n=1)[0]
    words = f"The nearest: {close!r}, class {names.index(close)}."
    words = (
        f"{name!r} is class {names.index(name)}."
        if name in names
        else f"No class is called {name!r}. {words}"
    )
    error.args = (error.args[0].removesuffix(f"Write model.classes.index({name!r}).") + words,)


def check_index(argument: str, value: int, count: int, things: str) -> None:
    """Raise IndexError unless ``value`` is a number of one of ``count`` things that are no classes.

    >>> check_index("picture", 5, 2, "pictures")
    Traceback (most recent call last):
    ...
    IndexError: picture must be from 0 to 1; got 5. There are 2 pictures.
    """
    if isinstance(value, float):
        raise TypeError(f"{argument} must be a whole number; got {value!r}.")
    if not 0 <= int(value) < count:
        there = f"There are {count} {things}." if count != 1 else "There is only one."
        raise IndexError(f"{argument} must be from 0 to {count - 1}; got {int(value)}. {there}")
