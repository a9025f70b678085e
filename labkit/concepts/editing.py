"""Editing a network: a direction taken out of a layer's weights, a row of a classifier changed, in a copy."""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import as_tensor, check_finite, check_weight
from labkit.core.hooks import borrow, find_layer

__all__ = ["edit_row", "project_out"]


def _edited(model: nn.Module, layer: str) -> tuple[nn.Module, nn.Linear | nn.Conv2d]:
    """A copy of the model, and its layer that is to be changed."""
    with borrow(model):
        find_layer(model, layer)
        own = copy.deepcopy(model)
    part, _ = find_layer(own, layer)
    if not isinstance(part, nn.Linear | nn.Conv2d) or (isinstance(part, nn.Conv2d) and part.groups > 1):
        raise ValueError(
            f"layer must be a linear layer or a convolution in one group; {layer!r} is a "
            f"{type(part).__name__}. Name the classifier, or the layer behind the one whose direction it is."
        )
    return own, part


def _direction(vector: Any, part: nn.Module, layer: str) -> Float[Tensor, " D"]:
    """The vector in double precision; it must have an entry for each thing that the layer reads."""
    given: Tensor = as_tensor("vector", vector).double()
    wide = part.weight.shape[1]  # type: ignore[union-attr,index]
    if given.shape != (wide,):
        raise ValueError(
            f"vector must have one entry for each of the {wide} channels that {layer!r} reads, shape "
            f"({wide},); got {tuple(given.shape)}. Take it from the layer before, its places averaged."
        )
    check_finite("vector", given)
    return given


def _row(row: int, part: nn.Module, layer: str) -> int:
    count = part.weight.shape[0]  # type: ignore[union-attr,index]
    if isinstance(row, bool) or not hasattr(row, "__index__") or not 0 <= int(row) < count:
        raise IndexError(
            f"row must be one of the {count} rows of {layer!r}, 0 to {count - 1}; got {row!r}. "
            "The row of a class is model.classes.index(name)."
        )
    return int(row)


def _add(part: Any, rows: list[int], change: Tensor, bias: Tensor) -> None:
    """Add a change of the weights (R, ...) and of the bias (R,) to some rows of a layer."""
    where = torch.tensor(rows)
    with torch.no_grad():
        weight = part.weight.double()
        weight[where] += change.to(weight.device)
        part.weight = nn.Parameter(weight.to(part.weight.dtype), part.weight.requires_grad)
        if part.bias is not None or bias.any():
            old = torch.zeros(len(weight)).to(part.weight) if part.bias is None else part.bias
            new = old.double()
            new[where] += bias.to(new.device)
            part.bias = nn.Parameter(new.to(old.dtype), part.weight.requires_grad)


def project_out(
    model: nn.Module, vector: Float[Tensor, " D"], *, layer: str, row: int | None = None,
    features: Float[Tensor, "M D"] | None = None, back: float = 0.5,
) -> nn.Module:  # fmt: skip
    """A copy of the network in which a layer no longer reads a direction of what comes before it.

    Of each row w of its weights the part along the unit direction v is taken out: w - (w . v) v; so a change
    of the features along v moves the row's output no more. With ``features`` (M, D), what the layer read for
    some pictures, the bias gets ``back`` times the mean of what was taken out there: else a class that was
    held up by the direction falls in all pictures alike. Of a convolution each place of the kernel is a row.

    ``layer``: a linear layer or a convolution; ``row``: one class or channel alone, None for all.
    ``vector``: of any length but 0, as ``paired_cav`` gives for the layer before. Raises ValueError for a
    vector or features that do not fit, a vector of zeros, another kind of layer and a negative ``back``,
    IndexError for a row that is not there, KeyError for a wrong layer.

    Unit: none, a network. Labels: post hoc, specific to differentiable networks, global.
    Source: the projection of Bolukbasi et al. 2016, "Man is to Computer Programmer as Woman
    is to Homemaker?", section 6; there of words, here of weights, and with something given back.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> red = torch.tensor([2.0, 0.0, 0.0])
    >>> project_out(net, red, layer="1", row=0)[1].weight[0, 0].item()
    0.0
    """
    own, part = _edited(model, layer)
    given = _direction(vector, part, layer)
    check_weight("back", back, "0 gives nothing back.")
    if not given.any():
        raise ValueError("vector must not be all zeros: there is no direction to take out.")
    rows = list(range(part.weight.shape[0])) if row is None else [_row(row, part, layer)]
    unit = (given / given.norm()).to(part.weight.device)
    old = part.weight.detach()[rows].double()
    along = torch.tensordot(old, unit, ([1], [0]))  # (R,), of a convolution (R, h, w)
    gone = along[:, None] * unit.view(1, -1, *(1,) * (old.ndim - 2))
    bias = torch.zeros(len(rows), dtype=torch.float64)
    if features is not None:
        read = as_tensor("features", features).double()
        if read.ndim != 2 or read.shape[1] != len(given) or not len(read):
            raise ValueError(
                f"features must hold a row of {len(given)} numbers a picture, as {layer!r} reads them; got "
                f"{tuple(read.shape)}. labkit.models.features with pool='mean' gives such."
            )
        check_finite("features", read)
        bias = back * along.reshape(len(rows), -1).sum(1).cpu() * (read @ given / given.norm()).mean().cpu()
    _add(part, rows, -gone, bias)
    return own


def edit_row(
    model: nn.Module, vector: Float[Tensor, " D"], *, layer: str, row: int, bias: float = 0.0
) -> nn.Module:
    """A copy of the network in which one row of a classifier reads something more, or less.

    ``vector`` is added to the row's weights and ``bias`` to its bias; all other rows stay bit for bit. Of a
    convolution the vector is added at every place of the kernel.
    Raises ValueError for a vector that does not fit and for another kind of layer, IndexError for a row that
    is not there, KeyError for a wrong layer.

    Unit: none, a network. Labels: post hoc, specific to differentiable networks, global.
    Source: after Bau et al. 2020, "Rewriting a Deep Generative Model", section 3: a rank-one edit,
    here of one row.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    >>> less = -net[1].weight[1].detach()
    >>> edit_row(net, less, layer="1", row=1)[1].weight[1].tolist()
    [0.0, 0.0, 0.0]
    """
    own, part = _edited(model, layer)
    given = _direction(vector, part, layer)
    if not isinstance(bias, int | float) or bias != bias or abs(bias) == float("inf"):
        raise ValueError(f"bias must be a finite number, to be added to the row's; got {bias!r}.")
    change = given.view(1, -1, *(1,) * (part.weight.ndim - 2)).expand(1, -1, *part.weight.shape[2:])
    _add(part, [_row(row, part, layer)], change, torch.tensor([float(bias)], dtype=torch.float64))
    return own
