"""To ask any method of the registry on any awkward model, and to see that all is given back."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from awkward import LACKS, layer_of, shared
from torch import Tensor, nn

from labkit.core.registry import TAKES, Method, rows
from labkit.ledger.golden_calls import packages
from labkit.models import borrow, record

# What only reads a model's weights, asks a second network or is given a concept has tests of its own.
OF_ITS_OWN = {
    "box",
    "sources",
    "true labels",
    "texture",
    "content",
    "layer of a dream",
    "generator",
    "concept",
    "present",
    "names",
    "vector",
}
ROWS = {
    name: row
    for name, row in rows(packages()).items()
    if "model" in row.takes and row.takes != ("model", "layer") and not OF_ITS_OWN & set(row.takes)
}
OF_PICTURES = [name for name, row in ROWS.items() if "pictures" in row.takes]
ONE_BY_ONE = [
    name for name, row in ROWS.items() if not {"bank", "many", "views"} & set(row.takes)
]  # an answer a picture


# Their classes end in a ReLU, so that an untrained one may give a class no slope at all, which is said.
RECTIFIED = ("class maps", "squeezenet")


def applies(name: str, model: str) -> bool:
    """Whether the model has what the method needs."""
    return not LACKS.get(model, set()) & set(ROWS[name].needs)


def _features(name: str, images: Tensor) -> Tensor:
    """What an awkward model's layer gives for pictures."""
    model = shared(name)
    like = next(model.parameters())
    with borrow(model), torch.no_grad(), record(model, layer_of(name)) as kept:
        model(images.detach().clone().to(like))
    return kept[layer_of(name)]


class Corner:
    """Views of a square that fills the upper left corner of each picture."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.count, self.channels = images, len(images), images.shape[1]

    def __call__(self, square: Tensor, rows: Any) -> Tensor:
        side = square.shape[-1]
        shown = self.images[torch.as_tensor(rows)].to(square).clone()
        shown[:, :, :side, :side] = square
        return shown


def ask(name: str, model: Any, images: Any, target: Any = 1, of: str = "", **options: Any) -> Tensor:
    """The method's answer, cheaply; ``of`` is the awkward model's name, from which a layer follows."""
    row = ROWS[name]
    values = dict.fromkeys(("target", "class", "labels"), target)
    values |= {
        "model": model,
        "pictures": images,
        "many": images,
        "bank": images,
        "count": len(images),
        "layer": layer_of(of),
        "side": tuple(images.shape[2:]),
    }
    values["one target"] = int(target[0]) if isinstance(target, Tensor) else target
    if "views" in row.takes:
        values["views"] = Corner(images)
    if "features" in row.takes:
        values["features"] = _features(of or "functional", images)
    given = {TAKES[kind]: values[kind] for kind in row.takes}
    with warnings.catch_warnings():
        if of in RECTIFIED:
            warnings.filterwarnings("ignore", "the gradient is exactly zero")
        return row.function(**given, **{**row.options, **options})


def precise(row: Method, model: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """Model and pictures in double precision where the method makes rounding grow."""
    return (model.double(), images.double()) if row.amplifies else (model, images)


def close(a: Tensor, b: Tensor) -> bool:
    """Equal but for what float32 rounds."""
    return torch.allclose(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()) + 1e-12)


HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]


def _state(model: nn.Module) -> dict[str, object]:
    """All of a model that a method could leave changed."""
    found: dict[str, object] = {}
    for name, p in model.named_parameters():
        grad = None if p.grad is None else (id(p.grad), p.grad.clone())
        found[f"parameter {name}"] = (id(p), p.data_ptr(), p.requires_grad, p.detach().clone(), grad)
    for name, b in model.named_buffers():
        found[f"buffer {name}"] = (id(b), b.detach().clone())
    for name, m in model.named_modules():
        found[f"flags {name}"] = (m.training, getattr(m, "inplace", None), sorted(vars(m)))
        found[f"hooks {name}"] = [list(getattr(m, h).items()) for h in HOOKS]
    return found


def _same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def _randomness() -> tuple[object, ...]:
    return torch.get_rng_state(), str(np.random.get_state()), random.getstate()


@contextmanager
def given_back(model: nn.Module, *tensors: Tensor) -> Iterator[None]:
    """Assert that nothing of the model, the tensors or the global random states changed, error or not."""
    before, chance = _state(model), _randomness()
    kept = [(t.detach().clone(), t.requires_grad, t.grad, t.is_contiguous(), t.stride()) for t in tensors]
    enabled = torch.is_grad_enabled()
    try:
        yield
    finally:
        after = _state(model)
        changed = [key for key in before | after if not _same(before.get(key), after.get(key))]
        assert not changed, changed
        assert _same(chance, _randomness()), "a global random state moved"
        assert torch.is_grad_enabled() == enabled
        for tensor, (values, needed, grad, dense, stride) in zip(tensors, kept, strict=True):
            assert torch.equal(tensor, values), "the caller's tensor changed"
            assert (tensor.requires_grad, tensor.is_contiguous(), tensor.stride()) == (needed, dense, stride)
            assert tensor.grad is grad
