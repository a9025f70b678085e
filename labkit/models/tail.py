"""The network from a layer on: given what the layer gives, what are the outputs?"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.door import sides_of, weight_of
from labkit.core.hooks import borrow, find_layer, record
from labkit.core.locks import check_model
from labkit.core.target_algebra import tensors_of

__all__ = ["Tail", "run_from"]


class Tail:
    """A network from one layer on: ``Tail(model, layer)(activation)`` gives the model's outputs.

    Dummy pictures run through the layers before, whose work is thrown away (one picture, where the model
    allows it). At the start a pass on noise is compared with what the tail makes of the layer's activation.

    ``layer``: a dotted name; "relu:0" for one call of a layer that runs several times.
    ``side``, ``channels``: of the pictures that activations come from; default ``model.input_size``, and 3.

    Raises ValueError where a connection leads around the layer (a skip, a branch beside it): the outputs do
    not follow from this layer alone. Else KeyError for a wrong layer, RuntimeError for a model in training
    mode, ValueError for an activation of another shape.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    >>> pictures = torch.rand(5, 3, 8, 8)
    >>> torch.allclose(Tail(net, "1", side=8)(net[:2](pictures)), net(pictures))
    True
    """

    def __init__(
        self, model: nn.Module, layer: str, *, side: int | tuple[int, int] | None = None, channels: int = 3
    ) -> None:
        height, width = sides_of(model, side)
        self.model, self.layer = check_model(model), layer
        self.weight = weight_of(model, torch.zeros(()))
        self.picture = torch.full((1, channels, height, width), 0.5).to(self.weight)
        self.alone = False
        noise = torch.rand(2, *self.picture.shape[1:], generator=torch.Generator().manual_seed(0))
        with borrow(model), torch.no_grad():
            with record(model, layer) as kept:
                wanted = model(noise.to(self.weight))
            if not isinstance(kept[layer], Tensor):
                raise ValueError(f"layer {layer!r} must give one tensor; got {type(kept[layer]).__name__}.")
            self.activation = kept[layer][:1]
            with suppress(RuntimeError):  # where the model lays its tensors out by the pictures' number
                self.alone = self._same(kept[layer], wanted, 1)
            if not self.alone and not self._same(kept[layer], wanted, 2):
                raise ValueError(
                    f"layer must be one that everything passes; around {layer!r} a connection leads from the "
                    "picture to the outputs. Name a layer after the branches have met again."
                )

    def _same(self, activation: Tensor, wanted: Any, pictures: int) -> bool:
        found, right = tensors_of(self._run(activation, pictures)), tensors_of(wanted)
        if not right or [t.shape for t in found] != [t.shape for t in right]:
            return False
        pairs = zip(found, right, strict=True)
        return all(torch.allclose(f, r, rtol=1e-5, atol=1e-6 * float(r.abs().max())) for f, r in pairs)

    def _run(self, activation: Tensor, pictures: int) -> Any:
        module, wanted = find_layer(self.model, self.layer)
        calls: list[int] = []

        def hook(_module: nn.Module, _args: Any, _out: Any) -> Tensor | None:
            calls.append(len(calls))
            # the next layer may work in place
            return activation.clone() if wanted in (None, calls[-1]) else None

        handle = module.register_forward_hook(hook)
        try:
            outputs = self.model(self.picture.expand(pictures, -1, -1, -1).clone())
        finally:
            handle.remove()
        if wanted is None and len(calls) > 1:
            raise ValueError(
                f"layer must be one call; {self.layer!r} runs {len(calls)} times. "
                f"Say which: layer='{self.layer}:{len(calls) - 1}'."
            )
        return outputs

    def __call__(self, activation: Float[Tensor, "N ..."]) -> Any:
        """The outputs for (N, ...) activations; gradients reach them."""
        shape = tuple(self.activation.shape[1:])
        if not isinstance(activation, Tensor) or tuple(activation.shape[1:]) != shape or not len(activation):
            got = tuple(activation.shape) if isinstance(activation, Tensor) else type(activation).__name__
            raise ValueError(
                f"activation must have the shape {('N', *shape)} that {self.layer!r} gives for pictures of "
                f"{tuple(self.picture.shape[2:])} pixels; got {got}. Pass side= of the pictures it came from."
            )
        graph = torch.is_grad_enabled()
        with borrow(self.model), torch.set_grad_enabled(graph):
            given = activation.to(self.weight.device, self.weight.dtype)
            return self._run(given, 1 if self.alone else len(given))


def run_from(
    model: nn.Module,
    layer: str,
    activation: Float[Tensor, "N ..."],
    *,
    side: int | tuple[int, int] | None = None,
    channels: int = 3,
) -> Any:
    """The model's outputs had ``layer`` given ``activation``: the network run from that layer on.

    Options and errors as in ``Tail``, which a loop makes once: each call of this one tries the layer anew.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    >>> run_from(net, "1", torch.rand(5, 4, 6, 6), side=8).shape
    torch.Size([5, 2])
    """
    return Tail(model, layer, side=side, channels=channels)(activation)
