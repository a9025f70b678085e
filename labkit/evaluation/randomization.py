"""Networks that have forgotten: copies in which layers hold fresh weights, as before any training."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from labkit.core.checks import nearest
from labkit.core.door import asked
from labkit.models.functions import Call, FunctionRules

__all__ = ["execution_order", "forgetful", "randomized", "tell_drawn", "weighted_layers"]

UNKNOWN_SPREAD = 0.02
"""The standard deviation for a weight whose entries are all alike: the usual one of tokens."""


def _check_parameters(model: nn.Module) -> None:
    """Raise ValueError for a part whose weights are hidden: it would stay trained without a word."""
    for name, part in model.named_modules():
        cure = "Pass the network as it was before."
        kinds = [] if isinstance(part, torch.jit.ScriptModule) else [p.dtype for p in part.parameters(False)]
        if isinstance(part, torch.jit.ScriptModule):
            what = "is scripted or traced"
        elif type(part).__module__.startswith("torch.ao.nn.") or not all(k.is_floating_point for k in kinds):
            what = "is quantized"
        elif part._buffers.get("weight") is not None:  # as torchvision's FrozenBatchNorm2d does
            what = "holds its weight as a buffer"
            cure = "Build it with layers that hold parameters, such as nn.BatchNorm2d, and load its weights."
        else:
            continue
        raise ValueError(
            f"model must hold the weights that are to be drawn anew as parameters; its part {name!r} "
            f"({type(part).__name__}) {what}. {cure}"
        )


def weighted_layers(model: nn.Module) -> dict[str, list[str]]:
    """Layer -> the names of its weights, in the order of registration; what a part that is no layer (it holds
    others) has beside these, such as a class token, stands under the weight's own name.

    Raises ValueError for a part that hides its weights: a scripted, traced or quantized one, or one that
    holds them as buffers.

    >>> list(weighted_layers(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.MultiheadAttention(2, 1))))
    ['0', '2']
    """
    _check_parameters(model)
    parts = dict(model.named_modules())
    found: dict[str, list[str]] = {}
    for weight, _ in model.named_parameters():
        path = f".{weight}".partition(".parametrizations.")
        layer = path[0][1:] if path[1] else weight.rpartition(".")[0]
        if isinstance(parts[above := layer.rpartition(".")[0]], nn.MultiheadAttention):
            layer = above  # it reads the weights of its part, which never runs
        inner = [part for name, part in parts[layer].named_children() if name != "parametrizations"]
        holds = any(True for part in inner for _ in part.parameters())
        whole = layer and (not holds or isinstance(parts[layer], nn.MultiheadAttention))
        found.setdefault(layer if whole else weight, []).append(weight)
    return found


def execution_order(model: nn.Module, images: Float[Tensor, "N C H W"]) -> list[str]:
    """Names of the layers with weights of their own, in the order in which these are first used.

    The order of registration, which ``named_modules`` gives, may be another one. A weight that is used
    without its layer being called (attention reads those of its parts) counts; one that no picture meets does
    not. For the weights of what is no layer see ``weighted_layers``. Errors as in ``labkit.models.borrow``.

    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)).eval()
    >>> execution_order(net, torch.rand(1, 3, 2, 2))
    ['0', '2']
    """
    seen: dict[str, None] = {}
    with asked(model, images, frozen=False) as inputs, torch.no_grad():
        weights = dict(model.named_parameters())
        owner = {id(weights[w]): layer for layer, own in weighted_layers(model).items() for w in own}

        def look(values: Any) -> None:
            for value in values:
                if isinstance(value, Tensor):
                    if id(value) in owner:
                        seen.setdefault(owner[id(value)])
                elif isinstance(value, list | tuple):
                    look(value)

        def watched(call: Call, _state: Any) -> Any:
            look((*call.args, *call.options.values()))
            return call.run()

        with FunctionRules({}, watched, every=True):
            model(inputs)
    return list(seen)


def _bare(layer: nn.Module) -> None:
    """Undo weight_norm, spectral_norm, orthogonal and pruning: behind these a draw misses what is used."""
    if is_parametrized(layer):
        kind = type(layer)  # which a copy shares with its original, whose own would go as well
        layer.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
        for name in list(layer.parametrizations):  # type: ignore[arg-type]
            remove_parametrizations(layer, name)
    for key, hook in list(layer._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm | SpectralNorm | BasePruningMethod):
            hook.remove(layer)
            del layer._forward_pre_hooks[key]


def _drawn(model: nn.Module, layer: str) -> list[str]:
    """Draw a layer's weights, and give the names of those of which nobody knows how they began."""
    path, _, name = layer.rpartition(".")
    single = model.get_submodule(path)._parameters.get(name)
    weights, before = {layer: single}, {}
    if single is None:
        part = model.get_submodule(layer)
        for inner in part.modules():
            _bare(inner)
        weights = {f"{layer}.{own}": p for own, p in part.named_parameters()}
        kept = {own: p.detach().clone() for own, p in part.named_parameters(layer)}
        for inner in reversed(list(part.modules())):  # attention draws its parts' weights after they did
            reset = getattr(inner, "reset_parameters", getattr(inner, "_reset_parameters", None))
            if reset is not None:
                reset()
                before = kept
    told = []
    for own, p in weights.items():
        values = p.detach().double()  # type: ignore[union-attr]
        spread = float(values.std(correction=0))
        if own not in before or (spread > 0 and torch.equal(p, before[own])):  # type: ignore[arg-type]
            nn.init.normal_(p, float(values.mean()), spread or UNKNOWN_SPREAD)  # type: ignore[arg-type]
            told.append(own)
    return told


def forgetful(
    model: nn.Module, layers: Iterable[str], images: Float[Tensor, "N C H W"], seed: int
) -> tuple[nn.Module, list[str]]:
    """What ``randomized`` gives, and the names of the weights that ``tell_drawn`` tells about."""
    layers, told = list(layers), []
    with asked(model, images, frozen=False) as inputs:
        known = weighted_layers(model)
        with torch.no_grad():  # what the model keeps of a pass has no graph then, which cannot be copied
            model(inputs[:1].clone())
        try:
            twin = copy.deepcopy(model)
        except Exception as error:
            raise ValueError(
                f"model must be one that copy.deepcopy copies, for a copy gets the fresh weights; got {error}"
            ) from error
        for name in layers:
            if name not in known:
                raise KeyError(
                    f"layers must be names of the model's layers with weights of their own; got {name!r}. "
                    f"The nearest are {', '.join(map(repr, nearest(name, known)))}."
                )
            # a layer's own draw, whichever others are drawn as well
            torch.manual_seed(seed + sum(ord(c) * (i + 1) for i, c in enumerate(name)))
            told += _drawn(twin, name)
        norms = [m for m in twin.modules() if isinstance(m, _NormBase) and m.running_mean is not None]
        if norms and layers:
            kept = [norm.momentum for norm in norms]
            for norm in norms:
                norm.reset_running_stats()
                # the plain mean over what comes; instance norm takes None for 0
                norm.momentum = None if isinstance(norm, _BatchNorm) else 1.0
                norm.train()
            try:
                with torch.no_grad():
                    twin(inputs)
            except ValueError as error:  # the model itself has just run
                raise ValueError(
                    f"images must be at least 2, better more, for batch statistics; got {len(inputs)}."
                ) from error
            for norm, momentum in zip(norms, kept, strict=True):
                norm.momentum = momentum
    return twin.eval(), told


def tell_drawn(told: Iterable[str]) -> None:
    """Warn of the weights for which no reset is known."""
    names = list(dict.fromkeys(told))
    if names:
        warnings.warn(
            "drawn from a normal distribution of their own mean and spread, for want of reset_parameters(): "
            f"{', '.join(names[:12])}{f' and {len(names) - 12} more' * (len(names) > 12)}.",
            stacklevel=3,
        )


def randomized(
    model: nn.Module, layers: list[str], images: Float[Tensor, "N C H W"], *, seed: int = 0
) -> nn.Module:
    """A copy of the model in which ``layers`` hold fresh weights, as they were before any training.

    A layer begins as its ``reset_parameters`` says, without the weight_norm, spectral_norm, orthogonal
    parametrization or pruning that it has. A weight without a reset (a class token, a layer of your own) is
    drawn from a normal distribution of its own mean and spread (0.02 where all entries are alike), and a
    warning names it.

    Batch normalizations among them return to scale 1 and shift 0, and the running statistics of *all* of
    them are taken anew from ``images``: the old ones belong to activations that no longer exist, and would
    turn the copy into noise for another reason. The model and the global random state are left as they were.

    ``layers``: names as ``execution_order`` gives them. Raises KeyError for an unknown one, ValueError for a
    model that cannot be copied or hides its weights (as buffers, scripted, quantized), else as
    ``labkit.models.borrow``.

    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)).eval()
    >>> new = randomized(net, ["2"], torch.rand(1, 3, 2, 2))
    >>> torch.equal(new[0].weight, net[0].weight), torch.equal(new[2].weight, net[2].weight)
    (True, False)
    """
    twin, told = forgetful(model, layers, images, seed)
    tell_drawn(told)
    return twin
