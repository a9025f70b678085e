"""What differs in kind, computed for every exercise: a sign, a factor, a shift, an order, one picture only.

Each kind is tried in turn on the values that came and those that were expected, and the first that explains
all of them is said. No sentence gives a value that was expected, or a factor that leads to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

__all__ = ["difference", "place_of"]

Same = Callable[[Tensor, Tensor], Tensor]


def difference(out: Tensor, ref: Tensor, rtol: float, atol: float) -> tuple[str, str]:
    """A verdict's word and sentence for values of one shape that are not all right, without NaN.

    ``atol`` is a share of the largest expected value. Words: "sign", "scale" or "values".

    >>> difference(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 2.0, 1.0]), 1e-3, 1e-5)[1]
    'right, but in reverse order along axis 0'
    """
    top = float(ref[ref.isfinite()].abs().max()) if bool(ref.isfinite().any()) else 0.0

    def same(a: Tensor, b: Tensor) -> Tensor:
        return torch.isclose(a, b, rtol=rtol, atol=atol * top, equal_nan=True)

    if ref.numel() < 2 or top == 0 or not bool(ref.isfinite().all()):
        return "values", "the value is not right" if ref.numel() < 2 else _share(out, ref, same)
    for word, sentence in _kinds(out, ref, same):
        return word, sentence
    return "values", _share(out, ref, same)


def _kinds(out: Tensor, ref: Tensor, same: Same) -> Iterator[tuple[str, str]]:
    def fits(a: Tensor, b: Tensor = ref) -> bool:
        return a.shape == b.shape and bool(same(a, b).all())

    if fits(-out):
        yield "sign", "every value has the opposite sign"
    if fits(out.abs(), ref.abs()):
        yield "sign", "the size is right but some values have the wrong sign"
    if bool((out == out.flatten()[0]).all()):
        yield "values", "every value is the same, as if nothing depended on the input"
    factor = float((out * ref).sum() / (ref * ref).sum())
    if ref.numel() > 2 and factor and fits(out / factor):
        size = "too large" if abs(factor) > 1 else "too small"
        turn = ", and the sign is turned" if factor < 0 else ""
        yield "scale", f"right up to one constant factor: all values are {size}{turn}"
    if ref.numel() > 2 and fits(out - (out - ref).mean()):
        yield "values", "right up to one constant that is added everywhere"
    if fits(out, ref**2):
        yield "values", "every value is the square of the right one"
    if fits(out**2):
        yield "values", "every value is the root of the right one"
    yield from _along_axes(out, ref, fits, same)
    if ref.numel() > 2 and fits(out.flatten().sort().values, ref.flatten().sort().values):
        yield "values", "the values are right, but stand in another order"


def _along_axes(out: Tensor, ref: Tensor, fits: Callable[..., bool], same: Same) -> Iterator[tuple[str, str]]:
    for axis in range(out.ndim):
        if fits(out.flip(axis)):
            yield "values", f"right, but in reverse order along axis {axis}"
        n = out.shape[axis]
        for shift in (1, -1) if n > 3 else ():
            there, here = out.narrow(axis, max(shift, 0), n - 1), ref.narrow(axis, max(-shift, 0), n - 1)
            if fits(there, here):
                yield "values", f"right, but shifted by one along axis {axis}"
        for other in range(axis):
            if fits(out.transpose(other, axis)):
                yield "values", f"the axes {other} and {axis} are exchanged"
    if out.ndim > 1 and 1 < len(out) <= 64:
        rows = same(out, ref).flatten(1).all(1)
        if rows.any():
            right, wrong = (torch.nonzero(fine)[:, 0].tolist() for fine in (rows, ~rows))
            yield "values", f"right at {_listed(right)} of axis 0, wrong at {_listed(wrong)}"
        a, b = out.flatten(1), ref.flatten(1)
        own = (a * b).sum(1, keepdim=True) / (b * b).sum(1, keepdim=True)
        if b.shape[1] > 2 and bool((own != 0).all() & own.isfinite().all()) and fits(a / own, b):
            yield (
                "scale",
                "right along axis 0 up to a factor of each one's own: is something divided by its maximum?",
            )


def _listed(places: list[int]) -> str:
    return "index " + ", ".join(map(str, places[:4])) + (" ..." if len(places) > 4 else "")


def _share(out: Tensor, ref: Tensor, same: Same) -> str:
    part = float((~same(out, ref)).double().mean())
    share = f"{100 * part:.0f}%" if part >= 0.01 else "under 1%"
    return f"{share} of the values are not right, most of all at {list(place_of(out, ref))}"


def place_of(out: Tensor, ref: Tensor) -> tuple[int, ...]:
    """Where two tensors of one shape differ the most, NaN and infinity first."""
    gap = (out - ref).abs()
    gap = torch.where(out.isnan() & ref.isnan() | (out == ref), 0.0, gap).nan_to_num(torch.inf, torch.inf)
    return tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
