"""The same answers sooner, for methods that ask a network many times: a private copy, an order in memory."""

from __future__ import annotations

import copy
from types import FunctionType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def _plain(model: nn.Module) -> bool:
    """Whether a copy can stand in for the model: on a processor, in full precision, no part hooked.

    Functions hooked to the model itself, which stop it or count its calls, go with the copy.
    """
    tensors = [*model.parameters(), *model.buffers()]
    on_processor = all(t.device.type == "cpu" for t in tensors)
    full = all(t.dtype in (torch.float32, torch.float64) for t in tensors if t.is_floating_point())
    hooks = [
        (part, hook) for part in model.modules() for name in _HOOKS for hook in vars(part)[name].values()
    ]
    free = all(part is model and isinstance(hook, FunctionType) for part, hook in hooks)
    return bool(tensors) and on_processor and full and free


def _fold(model: nn.Module, image: Tensor) -> None:
    """Put every batch norm that alone reads a convolution's output into that convolution, in place.

    Which reads which is seen by running the picture. That nothing else reads the output is not seen: the
    caller compares the answers.
    """
    wrote: dict[int, nn.Module] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []
    calls: dict[nn.Module, int] = {}
    alive: list[Tensor] = []  # an id is only good while its tensor lives

    def seen(module: nn.Module, given: Any, out: Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        if isinstance(module, _CONVS):
            wrote[id(out)] = module
            alive.append(out)
        elif id(given[0]) in wrote:
            pairs.append((wrote[id(given[0])], module))

    chosen = [m for m in model.modules() if type(m) in (*_CONVS, *_NORMS)]
    handles = [module.register_forward_hook(seen) for module in chosen]
    model(image)
    for handle in handles:
        handle.remove()
    for conv, norm in pairs:
        if calls[conv] == calls[norm] == 1 and norm.running_mean is not None:
            _replace(model, conv, fuse_conv_bn_eval(conv, norm))  # type: ignore[arg-type, type-var]
            _replace(model, norm, nn.Identity())


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)


def fast_copy(
    model: nn.Module, image: Float[Tensor, "1 C H W"], *, forwards: int, folded: bool = True
) -> nn.Module:
    """A copy of an eval model with batch norm in the convolutions and channels last in memory; or the model.

    The copy answers alike to 1e-5 of the largest output (float64: 1e-12), which ``image`` is run to see.
    Where it does not, where the model cannot be copied, has layers with hooks, is not on a processor, or is
    asked for no more than a hundred ``forwards``, the model itself comes back. ``folded=False`` leaves the
    layers' own outputs as they are, for those who read them. Not for gradients.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> [type(layer).__name__ for layer in fast_copy(net, torch.rand(1, 3, 8, 8), forwards=1000)]
    ['Conv2d', 'Identity', 'ReLU']
    """
    if forwards <= 100 or not _plain(model):
        return model
    with torch.no_grad():
        wanted = model(image.clone())
        if not isinstance(wanted, Tensor) or not torch.isfinite(wanted).all():
            return model
        try:
            twin = copy.deepcopy(model)
            if folded:
                _fold(twin, image.clone())
            twin = twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            found = twin(image.clone())
        except Exception:  # whatever a model does that a copy cannot: the model itself can
            return model
    close = 1e-5 if wanted.dtype == torch.float32 else 1e-12
    same = found.shape == wanted.shape and (found - wanted).abs().max() <= close * wanted.abs().max()
    return twin if same else model


def memory_format(model: nn.Module, image: Float[Tensor, "1 C H W"]) -> torch.memory_format:
    """The order in memory in which a picture reaches an answer, and its gradient, soonest: channels last.

    ``torch.contiguous_format`` where the model is not on a processor, does not take pictures so, or answers
    otherwise (by more than 1e-5 of its largest output), which ``image`` is run to see. Pass it to
    ``images.contiguous(memory_format=...)``; nothing is copied but the pictures.

    >>> memory_format(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval(), torch.rand(1, 3, 8, 8))
    torch.channels_last
    """
    usual = torch.contiguous_format
    if image.device.type != "cpu":
        return usual
    with torch.no_grad():
        wanted = model(image.clone())
        try:
            found = model(image.clone(memory_format=torch.channels_last))
        except Exception:  # such as a view of what then lies otherwise
            return usual
    if not isinstance(wanted, Tensor) or not isinstance(found, Tensor) or found.shape != wanted.shape:
        return usual
    close = (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    return torch.channels_last if close else usual
