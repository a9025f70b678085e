"""Label maps: what is asked of them wherever units or directions are held against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy import ndarray
from torch import Tensor

from labkit.models.features import batches

__all__ = ["check_kinds", "check_labels", "check_values", "side_of"]


def _check_one(kind: str, values: Any, count: int) -> None:
    """Raise ValueError unless a kind's maps are whole numbers, one map a picture; values are not read."""
    if not isinstance(values, Tensor) and not hasattr(values, "dtype"):
        raise ValueError(
            f"maps[{kind!r}] must be an array of whole numbers (N, H, W); got {type(values).__name__}. "
            "Write np.array(...)."
        )
    if values.ndim != 3 or len(values) != count:
        raise ValueError(
            f"maps[{kind!r}] must be (N, H, W) with a map a picture, N = {count}; got {tuple(values.shape)}."
        )
    broken = values.is_floating_point() if isinstance(values, Tensor) else values.dtype.kind not in "iub"
    if broken:
        raise ValueError(
            f"maps[{kind!r}] must hold whole numbers, 0 for none and labels from 1 on; got {values.dtype}. "
            "Say where a label lies: (values > 0.5).astype(np.uint8)."
        )


def _check_names(kind: str, names: Mapping[str, Sequence[str]]) -> None:
    if kind not in names:
        named = f"it names {', '.join(names)}" if names else "it is empty"
        raise ValueError(f"names must name the labels of {kind!r}, from 1 on; {named}.")
    given = names[kind]
    if isinstance(given, str) or not hasattr(given, "__len__"):
        cure = f"a single one is ({given!r},)" if isinstance(given, str) else "write a tuple"
        raise ValueError(
            f"names[{kind!r}] must be a sequence of names, one a label from 1 on; got {given!r}: {cure}."
        )


def side_of(pictures: Tensor | ndarray) -> tuple[int, int]:
    """Height and width of pictures, as ``labkit.models.features`` takes them; errors as there.

    >>> import numpy as np
    >>> side_of(np.zeros((2, 4, 6, 3), np.uint8))
    (4, 6)
    """
    (first,) = batches(pictures[:1], 1)
    return first.shape[2], first.shape[3]


def check_kinds(
    maps: Mapping[str, ndarray],
    names: Mapping[str, Sequence[str]],
    count: int,
    side: tuple[int, int] | None = None,
) -> None:
    """Raise ValueError for label maps that do not fit ``count`` pictures or each other, or that no names fit.

    ``side``: the pictures' height and width. Maps may be coarser or finer, if height and width are so by the
    same factor, within one place: they lie over the whole picture. Their values are left to ``check_values``,
    where they are read.

    >>> import numpy as np
    >>> check_kinds({"part": np.ones((1, 2, 2), int)}, {"part": "wheel"}, 1)
    Traceback (most recent call last):
    ...
    ValueError: names['part'] must be a sequence of names, one a label from 1 on; got 'wheel': a single one \
is ('wheel',).
    """
    for argument, given in {"maps": maps, "names": names}.items():
        if not isinstance(given, Mapping):
            raise ValueError(
                f"{argument} must be a dictionary with an entry a kind of labels; got {type(given).__name__}."
            )
    if not maps:
        raise ValueError(
            'maps must hold at least one kind of labels, such as {"object": (N, H, W) integers}.'
        )
    for kind, values in maps.items():
        _check_one(kind, values, count)
        own, first = tuple(values.shape[1:]), tuple(next(iter(maps.values())).shape[1:])
        if own != first:
            raise ValueError(
                f"maps must all be of one size, {first[0]} x {first[1]} as the first is; maps[{kind!r}] is "
                f"{own[0]} x {own[1]}."
            )
        high, wide = side or own
        if 0 in own or abs(own[0] * wide - own[1] * high) >= max(high, wide):
            raise ValueError(
                f"maps[{kind!r}] must be of the pictures' {high} x {wide} pixels, or coarser or finer, alike "
                f"in height and width; got {own[0]} x {own[1]}. Cut the maps as the pictures were cut."
            )
        _check_names(kind, names)


def check_values(kind: str, values: ndarray | Tensor, count: int) -> None:
    """Raise ValueError for numbers in label maps that are not 0 (none) to ``count``, the labels named.

    >>> import numpy as np
    >>> check_values("part", np.array([[[0, 2]]]), 1)
    Traceback (most recent call last):
    ...
    ValueError: maps['part'] must hold 0 (none) to 1, the labels that are named; got 2.
    """
    for found in (int(values.min()), int(values.max())):
        if not 0 <= found <= count:
            raise ValueError(
                f"maps[{kind!r}] must hold 0 (none) to {count}, the labels that are named; got {found}."
            )


def check_labels(
    maps: Mapping[str, ndarray],
    names: Mapping[str, Sequence[str]],
    count: int,
    side: tuple[int, int] | None = None,
) -> tuple[tuple[str, str], ...]:
    """(kind, name) of every concept, in the order of its values; raises ValueError for maps that do not fit.

    ``maps``: whole numbers (N, H, W) by kind, 0 for none; ``names``: their names, from 1 on.

    >>> import numpy as np
    >>> check_labels({"part": np.array([[[0, 1]]])}, {"part": ["wheel"]}, 1)
    (('part', 'wheel'),)
    """
    check_kinds(maps, names, count, side)
    for kind, values in maps.items():
        check_values(kind, values, len(names[kind]))
    return tuple((kind, name) for kind in maps for name in names[kind])
