"""Borrow a model and give it back: layers recorded and edited, all undone at the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit.core.checks import named_class, nearest
from labkit.core.locks import check_model, lock_of

_FLAGS = ("training", "inplace", "_is_full_backward_hook")
_HOOKS = [name for name in vars(nn.Module()) if "_hooks" in name]
_TENSORS = ("_parameters", "_buffers")


def _before(module: nn.Module) -> tuple[dict[str, Any], dict[str, dict[Any, Any]]]:
    """A layer's flags; its hooks, and the tensors that its parameters and buffers are."""
    own = vars(module)
    entries = {name: dict(getattr(module, name)) for name in _TENSORS}
    entries |= {name: dict(own[name]) for name in _HOOKS if name in own}
    return {name: own[name] for name in _FLAGS if name in own}, entries


def _give_back(module: nn.Module, flags: dict[str, Any], entries: dict[str, dict[Any, Any]]) -> None:
    for name, value in flags.items():
        object.__setattr__(module, name, value)
    for name, before in entries.items():
        now = getattr(module, name)
        if not before and not now:
            continue  # most: a model has hundreds of such
        if [(k, id(v)) for k, v in now.items()] != [(k, id(v)) for k, v in before.items()]:
            # refilled in place, because handles point to it
            now.clear()
            now.update(before)


def _trainable(modules: list[nn.Module]) -> None:
    """Put a copy in the place of every tensor made in inference mode: autograd would not save it."""
    for module in modules:
        owned: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for own in owned:
            for name, tensor in own.items():
                if tensor is not None and tensor.is_inference():
                    copy: Tensor = tensor.detach().clone()
                    own[name] = nn.Parameter(copy, False) if isinstance(tensor, nn.Parameter) else copy


@contextmanager
def borrow(model: nn.Module, *, frozen: bool = False) -> Iterator[nn.Module]:
    """Use a model and give it back bit for bit as it was, also after an exception.

    Holds the model's lock; refuses training mode; switches gradients on and inference mode off for the
    block, in which ``.grad`` starts empty and, where it is ``frozen``, no parameter asks for one. Put back at
    the end: parameters' ``requires_grad`` and ``.grad``, buffers, hooks, the training and in-place flags, and
    the random states of torch, NumPy and Python. The values of parameters are not copied: what changes those
    works on a copy of the model. Parameters made in inference mode are copied, and never ask for a gradient.

    Errors as in ``check_model``.

    >>> net = nn.Linear(2, 1).eval()
    >>> with torch.no_grad(), borrow(net):
    ...     torch.is_grad_enabled()
    True
    """
    check_model(model)
    with lock_of(model):
        parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
        buffers = [(b, b.detach().clone()) for b in model.buffers()]
        modules = [(m, *_before(m)) for m in model.modules()]
        states = torch.get_rng_state(), np.random.get_state(), random.getstate()
        on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        try:
            for parameter, needed, _ in parameters:
                parameter.grad = None
                if frozen and needed and not parameter.is_inference():  # which cannot be switched back
                    parameter.requires_grad_(False)
            with as_written(model), classes_told(model), torch.inference_mode(False), torch.enable_grad():
                _trainable([module for module, *_ in modules])
                yield model
        finally:
            for before in modules:
                _give_back(*before)
            for parameter, needed, grad in parameters:
                if parameter.requires_grad != needed:
                    parameter.requires_grad_(needed)
                parameter.grad = grad
            with torch.no_grad():
                for buffer, values in buffers:
                    if not torch.equal(buffer, values):
                        buffer.copy_(values)
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
            random.setstate(states[2])
            if on_gpu is not None:
                torch.cuda.set_rng_state_all(on_gpu)


def find_layer(model: nn.Module, name: str) -> tuple[nn.Module, int | None]:
    """The module of a dotted name and the number of the call meant: "relu:0" is the first call of ``relu``.

    Raises KeyError with the nearest right names, ValueError for a layer that runs out of reach.
    """
    path, _, call = str(name).partition(":")
    modules = dict(model.named_modules())
    modules.pop("", None)
    if path not in modules or (call and not call.isdigit()):
        close = ", ".join(repr(n) for n in nearest(path, modules))
        raise KeyError(f"layer must be a dotted name of the model; got {name!r}. The nearest are {close}.")
    parts = path.split(".")
    around = [model, *(modules[".".join(parts[:depth])] for depth in range(1, len(parts)))]
    if any(isinstance(module, torch.jit.ScriptModule) for module in around):
        raise ValueError(
            f"layer must be in reach of Python; {name!r} lies in a part that torch.jit scripted or traced. "
            "Use the model as it was before torch.jit."
        )
    return modules[path], int(call) if call else None


@contextmanager
def classes_told(model: nn.Module) -> Iterator[None]:
    """While the block runs, the error for a class's name as target tells that class's number.

    >>> from labkit.core.targets import pick
    >>> net = nn.Linear(2, 2)
    >>> net.classes = ["horse", "zebra"]
    >>> with classes_told(net):
    ...     pick(net(torch.zeros(1, 2)), "zebr")
    Traceback (most recent call last):
    ...
    TypeError: target must be a class index, ... got str. No class is called 'zebr'. The nearest: 'zebra', ...
    """
    try:
        yield
    except TypeError as error:
        named_class(error, getattr(model, "classes", None))
        raise


@contextmanager
def as_written(model: nn.Module) -> Iterator[nn.Module]:
    """While the block runs the model, parts given to ``torch.compile`` run as they were written: what they
    were compiled to knows nothing of hooks and rules that come later. Holds the model's lock.

    >>> with as_written(nn.Linear(2, 1)) as net:
    ...     net(torch.zeros(1, 2)).shape
    torch.Size([1, 1])
    """
    with lock_of(model):
        found: list[tuple[dict[str, Any], str, Any]] = []
        try:
            for module in model.modules():
                own = vars(module)
                if type(module).__name__ == "OptimizedModule":
                    found.append((own, "forward", own["forward"]))
                    own["forward"] = module.get_submodule("_orig_mod").__call__
                if own.get("_compiled_call_impl") is not None:
                    found.append((own, "_compiled_call_impl", own.pop("_compiled_call_impl")))
            yield model
        finally:
            for own, name, value in found:
                own[name] = value


class Recorded(dict[str, Tensor]):
    """What ``record`` kept: layer name -> its output; a layer that has not run says so. ``axes``: where the
    channels lie, for layers of which that is known; else in front."""

    def __init__(self) -> None:
        super().__init__()
        self.axes: dict[str, int] = {}

    def __missing__(self, name: str) -> Tensor:
        known = ", ".join(repr(n) for n in self) or "nothing"
        raise KeyError(
            f"{name!r} was not recorded; recorded: {known}. Name it in record() and run the model; a layer "
            "that is not called (as often), or whose weights another layer reads, gives nothing: "
            "labkit.models.layer_shapes(model, images) lists those that run."
        )


@contextmanager
def _hooked(model: nn.Module, hooks: Mapping[str, Callable[[Any], Any]]) -> Iterator[None]:
    with as_written(model):
        handles = []
        try:
            for name, function in hooks.items():
                module, wanted = find_layer(model, name)
                calls = [0]

                def hook(_module: nn.Module, _args: Any, out: Any, f=function, n=wanted, calls=calls) -> Any:
                    number, calls[0] = calls[0], calls[0] + 1
                    return f(out) if n is None or n == number else None

                handles.append(module.register_forward_hook(hook))
            yield
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def record(model: nn.Module, *layers: str, cut: bool = False) -> Iterator[Recorded]:
    """Keep the outputs of layers while the block runs the model: ``{name: tensor}``, still in the graph.

    The tensor is what the layer returned, also if the next layer is an in-place ReLU: what flows on is a
    copy. A module that runs several times keeps its last call; "relu:0" asks for a given one. ``cut``: where
    no gradient flows (below is a ``no_grad()``), let it begin at the layer. Raises KeyError for a wrong name,
    with the nearest right ones; the hooks are gone afterwards in any case.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True)).eval()
    >>> with record(net, "0") as kept:
    ...     _ = net(torch.zeros(1, 3, 2, 2))
    >>> tuple(kept["0"].shape)
    (1, 4, 2, 2)
    """
    kept = Recorded()

    def keep(name: str) -> Callable[[Any], Any]:
        def function(out: Any) -> Any:
            begins = cut and isinstance(out, Tensor) and out.is_floating_point() and out.grad_fn is None
            kept[name] = out
            if not begins:
                return out.clone() if isinstance(out, Tensor) else None
            with torch.inference_mode(False), torch.enable_grad():
                kept[name] = out.clone().detach().requires_grad_(True)
                return kept[name].clone()

        return function

    with _hooked(model, {name: keep(name) for name in layers}):
        yield kept


@contextmanager
def edit(model: nn.Module, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[nn.Module]:
    """While the block runs the model, replace the output of each named layer by a function of it.

    Raises KeyError for a wrong layer name, ValueError if a function changes the shape, TypeError for a layer
    that gives no single tensor; the hooks are gone at the end in any case.

    >>> net = nn.Sequential(nn.Identity(), nn.Flatten()).eval()
    >>> with edit(net, {"0": lambda x: x * 0}):
    ...     float(net(torch.ones(1, 2, 2)).sum())
    0.0
    """

    def change(name: str, function: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
        def replaced(out: Any) -> Any:
            if not isinstance(out, Tensor):
                raise TypeError(
                    f"layer {name!r} must give one tensor to be edited; it gives {type(out).__name__}. "
                    "Choose a layer within or after it."
                )
            new = function(out.clone())
            if not isinstance(new, Tensor) or new.shape != out.shape:
                got = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
                raise ValueError(
                    f"the edit of {name!r} must return a tensor of the shape {tuple(out.shape)}; got {got}."
                )
            return new

        return replaced

    with _hooked(model, {name: change(name, function) for name, function in changes.items()}):
        yield model
