"""Who may use a network, and when: what no method takes, and one lock for each part of a network."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils.weak import WeakIdKeyDictionary

_LOCKS: WeakIdKeyDictionary = WeakIdKeyDictionary()  # a layer, parameter or buffer -> (its turn, its lock)
_TURNS = itertools.count()
_GUARD = threading.Lock()
_NO_MODEL = "model must be a torch.nn.Module; got {}. labkit.models.load_model(name) gives one."


def _locks(model: nn.Module) -> list[threading.RLock]:
    """The locks of a model's parts, oldest first, which is the order to take them in; new parts join it."""
    parts: list[Any] = []
    for module in model.modules():
        parts += [module, *module._parameters.values(), *module._buffers.values()]
    with _GUARD:
        found = [(part, _LOCKS.get(part)) for part in parts if part is not None]
        known = sorted({own for _, own in found if own is not None}, key=lambda own: own[0])
        known = known or [(next(_TURNS), threading.RLock())]
        for part, own in found:
            if own is None:
                _LOCKS[part] = known[0]
    return [lock for _, lock in known]


@contextmanager
def lock_of(model: nn.Module) -> Iterator[None]:
    """Hold a model for a block: hooks of two threads on one network would mix their activations.

    A lock belongs to layers, parameters and buffers, so that models which share some of them (two
    ``wrap_model`` of one network, two heads on one body) wait for each other.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(_NO_MODEL.format(type(model).__name__))
    with ExitStack() as held:
        for lock in _locks(model):
            held.enter_context(lock)
        yield


def check_model(model: Any) -> nn.Module:
    """Raise TypeError unless ``model`` is a network, RuntimeError if any part of it is in training mode,
    ValueError for batch norm without running statistics, dynamic quantization and lazy layers that have not
    run."""
    if not isinstance(model, nn.Module):
        raise TypeError(_NO_MODEL.format(type(model).__name__))
    for name, module in model.named_modules():
        if getattr(module, "training", False):  # torch.jit.freeze leaves none
            if "eval" in vars(module):  # torch.export gives it one that raises NotImplementedError
                raise RuntimeError(
                    "model must be in eval mode, which what torch.export gives does not know. Pass the "
                    "network as it was before torch.export."
                )
            where = f" (its part {name!r} is)" if name else ""
            raise RuntimeError(
                f"model must be in eval mode; it is in training mode{where}, where dropout and batch norm "
                "change the answer. Call model.eval() first."
            )
        if isinstance(module, _BatchNorm) and module.running_mean is None and module.running_var is None:
            raise ValueError(
                f"model must treat each picture by itself; its part {name!r} ({type(module).__name__}, "
                "track_running_stats=False) normalizes over the pictures of a batch. Train it with running "
                "statistics, or use nn.GroupNorm."
            )
        if type(module).__module__.startswith("torch.ao.nn.quantized.dynamic"):
            raise ValueError(
                f"model must treat each picture by itself; its part {name!r} ({type(module).__name__}, "
                "quantized dynamically) rounds by the range of the whole batch. Pass the network as it was "
                "before torch.ao.quantization."
            )
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():  # type: ignore[misc]
            raise ValueError(
                f"model must have all its weights; its part {name!r} ({type(module).__name__}) has not run "
                "and would draw them now. Run model(images) once, then load its state_dict."
            )
    return model
