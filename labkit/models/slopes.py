"""A target's score and its gradient by the picture, asked many times: soon, and where units are off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.core.checks import check_feature_map
from labkit.core.door import derivative
from labkit.core.hooks import record
from labkit.core.target_algebra import Direction, Score, Sum, Unit
from labkit.core.targets import Target, pick, reads_layers
from labkit.models.dataflow import Flow
from labkit.models.fast import fast_copy
from labkit.models.features import Enough
from labkit.models.functions import Call, FunctionRules
from labkit.models.operations import operations

__all__ = ["Slope", "Slopes", "redirected_relu"]


class Slope(NamedTuple):
    """``scores`` (N,) and their ``gradient`` by the pictures; ``redirected`` (N,): where that was exactly
    zero, so that it was let through the ReLUs that are off; ``price`` and ``due``: of what else was asked,
    and its gradient, or None."""

    scores: Float[Tensor, " N"]
    gradient: Float[Tensor, "N C H W"]
    redirected: Bool[Tensor, " N"]
    price: Float[Tensor, ""] | None = None
    due: Float[Tensor, "N C H W"] | None = None


class _Redirected(torch.autograd.Function):
    """Cut off at both ends; backwards, a unit that is off hands on what would switch it on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ends = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        low, high = ctx.ends
        inside = (x > low) & (x < high)
        return torch.where(inside, gradient, gradient.clamp(min=0) * (x <= low)), None, None


def _at_a_relu(call: Call, state: dict[str, int]) -> Tensor:
    state["ran"] += 1
    if state["ran"] <= state["kept"]:
        return call.run()
    low, high = 0.0, 6.0 if call.name == "relu6" else torch.inf
    if call.name == "hardtanh":
        low, high = float(call.get("min_val", 1, -1.0)), float(call.get("max_val", 2, 1.0))
    return _Redirected.apply(call.args[0].clone(), low, high)


def redirected_relu(kept: int = 0) -> FunctionRules:
    """While the block runs a model, a ReLU that is off hands back what of a gradient would switch it on.

    ``kept``: so many of the first ReLUs stay as they are; ``state["ran"]`` says how many there were.
    For a score that is ascended only. Source: the code of Olah, Mordvintsev and Schubert 2017, "Feature
    Visualization", where a unit that is off at the start would never be reached.

    >>> x, rules = torch.tensor([-1.0, -2.0], requires_grad=True), redirected_relu()
    >>> with rules:
    ...     score = torch.relu(x) @ torch.tensor([3.0, -3.0])
    >>> rules.grad(score, x)
    (tensor([3., 0.]),)
    """
    return FunctionRules(dict.fromkeys(operations("relu"), _at_a_relu), state={"ran": 0, "kept": kept})


def _of_layers_alone(target: Target) -> bool:
    if isinstance(target, Sum):
        return all(_of_layers_alone(score) for _, score in target.terms)
    return isinstance(target, Unit | Direction)


class Slopes:
    """Asks for a target's score and its gradient, ``steps`` times or so, by a copy that answers alike.

    A target that reads layers alone runs the model no further than the last of them. To be used while the
    model is borrowed. ``images``: some like those that are to be asked about.
    ``layer``: a layer whose feature map ``price`` reads, one number for all pictures.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False)).eval()
    >>> slope = Slopes(net, torch.zeros(1, 3, 1, 1), 1, steps=10)(torch.zeros(1, 3, 1, 1))
    >>> torch.equal(slope.gradient.flatten(), net[1].weight[1])
    True
    """

    def __init__(
        self,
        model: nn.Module,
        images: Float[Tensor, "N C H W"],
        target: Target,
        *,
        steps: int,
        layer: str | None = None,
        price: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.target, self.layer, self.price = target, layer, price
        own = target.layers if isinstance(target, Score) and reads_layers(target) else ()
        self.layers = tuple(dict.fromkeys((*own, *([layer] if layer else ()))))
        self.model = fast_copy(model, images[:1], forwards=steps, folded=not self.layers)
        self.axes: Mapping[str, int] = {}
        self.last: str | None = None
        if self.layers:
            self._look(images)

    def _look(self, images: Tensor) -> None:
        """Find out where the layers' channels lie, and which layer runs last."""
        order: list[str] = []
        shown = images.detach().clone()
        modules = [(name, name.partition(":")) for name in self.layers]
        with Flow(shown) as flow, record(self.model, *self.layers) as kept:
            handles = [
                self.model.get_submodule(path).register_forward_hook(lambda *_, name=name: order.append(name))
                for name, (path, _, call) in modules
            ]
            try:
                self.model(shown)
            finally:
                for handle in handles:
                    handle.remove()
        self.axes = flow.axes(kept)
        if _of_layers_alone(self.target) and len(order) == len(self.layers):
            self.last = order[-1]  # each runs once, so that nothing is to come

    def _read(self, shown: Tensor) -> tuple[Float[Tensor, " N"], Tensor | None]:
        if not self.layers:
            return pick(self.model(shown.clone()), self.target), None
        outputs = None
        with record(self.model, *self.layers) as kept:
            handle = None
            if self.last is not None:
                handle = self.model.get_submodule(self.last).register_forward_hook(_enough)
            try:
                outputs = self.model(shown.clone())
            except Enough:
                pass
            finally:
                if handle is not None:
                    handle.remove()
        kept.axes = dict(self.axes)
        read = self.target.read(outputs, kept) if isinstance(self.target, Score) else None
        price = None
        if self.layer is not None and self.price is not None:
            features = check_feature_map(kept[self.layer], self.layer)
            price = self.price(features.movedim(self.axes.get(self.layer, 1), 1))
        return pick(outputs, self.target) if read is None else read, price  # type: ignore[arg-type]

    def scores(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
        """The scores alone."""
        with torch.no_grad():
            return self._read(images)[0]

    def __call__(
        self, images: Float[Tensor, "N C H W"], through: Callable[[Tensor], Tensor] = torch.clone
    ) -> Slope:
        """The scores of ``through(images)`` with their gradient by the pictures.

        Where a picture's gradient is exactly zero, it is asked for again with redirected ReLUs: with the last
        one alone, which is what the target would say before its own ReLU, and where that too is zero, with
        all of them. Raises ValueError where no gradient reaches the picture, and as the target does.
        """
        leaf = images.detach().clone().requires_grad_(True)
        scores, price = self._read(through(leaf))
        due = None
        if price is not None:
            gradient = derivative(scores, leaf, grad=partial(torch.autograd.grad, retain_graph=True))
            due = derivative(price[None], leaf)
        else:
            gradient = derivative(scores, leaf)
        dead = (gradient == 0).flatten(1).all(1)
        if dead.any():
            found, ran = self._redirected(leaf, through, 0)
            if ran > 1:
                last, _ = self._redirected(leaf, through, ran - 1)
                found = torch.where((last == 0).flatten(1).all(1)[:, None, None, None], found, last)
            gradient = torch.where(dead[:, None, None, None], found, gradient)
        return Slope(scores.detach(), gradient, dead, None if price is None else price.detach(), due)

    def _redirected(self, leaf: Tensor, through: Callable[[Tensor], Tensor], kept: int) -> tuple[Tensor, int]:
        """The gradient with all ReLUs redirected but the first so many; how many ReLUs there were."""
        rules = redirected_relu(kept)
        with rules:
            again, _ = self._read(through(leaf))
        ran = rules.state["ran"]
        return derivative(again, leaf, grad=rules.grad), ran


def _enough(*_: Any) -> None:
    raise Enough
