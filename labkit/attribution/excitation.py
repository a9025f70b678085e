"""Excitation backprop: where a random walk down the network, from the class along what excites it, ends."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from labkit.attribution.excitation_rules import Averaged, OneToOne, Walk, Weighted, refuse, winner_take_all
from labkit.core.checks import check_feature_map
from labkit.core.door import NO_INFLUENCE, NO_SLOPE, asked, finite
from labkit.core.hooks import find_layer
from labkit.core.registry import signature_of
from labkit.core.targets import beginnings, reads_layers
from labkit.models import Target, record, scores
from labkit.models.dataflow import Flow
from labkit.models.functions import Step, steps_between
from labkit.models.operations import operations
from labkit.optimize.images import enlarge

RULES = {rule.__name__ for rule in (Averaged, OneToOne, Weighted)}
# what the rules replace: to meet one in the graph means that no Python function was called
UNSEEN = operations("relu", "bend", "gate", "product", "weights", "average") | {"batch_norm"}


class ExcitationBackprop(NamedTuple):
    """``map`` (N, H, W), and ``lost`` (N,): the share of the probability that ended on the way, at units that
    nothing excites. With ``upsample=False`` map and loss sum to 1 (contrastive: see
    ``excitation_backprop``)."""

    map: Float[Tensor, "N H W"]
    lost: Float[Tensor, " N"]


def _usual(
    outputs: list[Tensor], maps: list[tuple[Tensor, int]], side: tuple[int, int]
) -> tuple[Tensor, int]:
    """The first feature map an eighth of the picture's side or smaller, else the first of the smallest, of
    those that all probability has to pass and that lie below a layer with weights; and its channels' axis."""
    found = []
    for features, axis in maps:
        names = [step.title for step in steps_between(outputs, features)]
        places = features.movedim(axis, 1).shape[2:].numel()
        if places > 1 and Weighted.__name__ in names and "AccumulateGrad" not in str(names):
            found.append((features, axis, places))
    if not found:
        raise ValueError(
            "layer must be named for a model without a feature map, after a ReLU or a pooling and below a "
            "layer with weights, that everything passes. Pass the dotted name of a layer (N, K, h, w)."
        )
    eighth = (-(-side[0] // 8)) * (-(-side[1] // 8))
    enough = max(eighth, min(places for *_, places in found))
    return next((features, axis) for features, axis, places in found if places <= enough)


def _prior(outputs: Any, target: Any) -> list[tuple[Tensor, Tensor]]:
    """The probability to start with, of each tensor the model gives: of an index all on its class, of a
    callable what it grows with."""
    tops = [(t, slope.clamp(min=0)) for t, slope in beginnings(outputs, target)]
    total = sum(slope.reshape(len(slope), -1).sum(1) for _, slope in tops)
    if not isinstance(total, Tensor) or (total == 0).any():
        raise ValueError(
            "target must grow with at least one output of each picture, by steps that can be differentiated, "
            "for that output is where the probability starts. Pass a class index, or turn the sign round."
        )
    return [(t, slope / total.view(-1, *(1,) * (slope.ndim - 1))) for t, slope in tops]


def _check_graph(steps: list[Step]) -> None:
    """Raise ValueError for steps that have no rule where no Python function was called (scripted parts)."""
    for step in steps:
        if step.name in UNSEEN or step.hides:
            refuse(f"{step.title} out of reach in a scripted part")
        if step.is_own and step.title not in RULES:
            refuse(f"the model's own function {step.title}")


def excitation_backprop_result(
    model: nn.Module,
    images: Float[Tensor, "N C H W"],
    target: Target,
    *,
    layer: str | None = None,
    contrastive: bool = False,
    upsample: bool = True,
) -> ExcitationBackprop:
    """``excitation_backprop`` with the share of the probability that was lost (see ``ExcitationBackprop``).

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    >>> done = excitation_backprop_result(net, torch.rand(1, 3, 2, 2), 0, upsample=False)
    >>> round(float(done.map.sum() + done.lost), 5)
    1.0
    """
    with asked(model, images) as inputs:
        inputs.requires_grad_(True)
        if layer is not None:
            find_layer(model, layer)
        walk = Walk(inputs)
        rules, shown, axis = winner_take_all(walk), inputs.clone(), 1
        with rules, Flow(shown) as flow, record(model, *([] if layer is None else [layer])) as recorded:
            within = reads_layers(target)
            outputs = scores(model, shown, target) if within else model(shown)
        tops = [(outputs, torch.ones_like(outputs))] if within else _prior(outputs, target)
        ends, prior = [t for t, _ in tops], [slope for _, slope in tops]
        if not all(end.requires_grad for end in ends):
            raise ValueError(NO_SLOPE)
        _check_graph(steps_between(ends))
        if layer is None:
            points = [(kept, flow.at(copy)) for kept, copy in walk.maps]
            found = [
                (kept, (point and point.axis) or 1) for kept, point in points if not (point and point.moved)
            ]
            features, axis = _usual(ends, found, (images.shape[2], images.shape[3]))
        else:
            features = check_feature_map(recorded[layer], layer)
            axis = flow.axis_of_map(features, layer)

        def passed() -> tuple[Tensor, Tensor]:
            walk.lost.zero_()
            mass = None
            if features.requires_grad:
                mass = rules.grad(ends, features, prior, retain_graph=True, allow_unused=True)[0]
            if mass is None:
                raise ValueError(NO_INFLUENCE.format(repr(layer)))
            return mass.abs().sum(axis), walk.lost.clone()  # negative is the probability of a dual unit

        maps, lost = passed()
        if contrastive:
            top = Weighted.__name__
            nodes = [s.node for s in steps_between(ends, features, ends=top) if s.title == top]
            if not nodes:
                raise ValueError(
                    "layer must lie below a layer with weights for contrastive=True, for those are what the "
                    f"dual unit negates; there is none between {layer!r} and the target. Name an earlier one."
                )
            for node in nodes:
                node.dual = True
            against, missed = passed()
            maps, lost = maps - against, lost - missed
        silence = torch.stack([0 * end.detach().reshape(len(end), -1).sum(1) for end in ends]).sum(0)
        maps = finite(
            maps.to(inputs.dtype) + silence[:, None, None].to(inputs.dtype)
        )  # what is not finite excites nothing, and would hide
        return ExcitationBackprop(enlarge(maps, images.shape[2:]) if upsample else maps, lost)


@signature_of(excitation_backprop_result)
def excitation_backprop(*args: Any, **options: Any) -> Float[Tensor, "N H W"]:
    """The probability that a walk from the class down the network, along what excites it, comes to a place.

    A unit hands its probability to the units below by their activation times the positive part of the weight
    to them (the winner-take-all of the paper); biases and negative weights take no part. The walk stops at
    ``layer``, a dotted name; by default it is the first feature map after a ReLU or a pooling whose sides are
    at most an eighth of the picture's (the first of the smallest, where none is), that every walk passes and
    that lies below a layer with weights. The map is the sum over its channels, enlarged bilinearly
    (``upsample=False``: its own size, where it sums to 1 - lost). ``contrastive`` subtracts the map of the
    dual, the class with the weights of its last linear or convolutional layer negated: signed, and specific
    to the class. Unit: probability per place of the layer (contrastive: the difference of two). A callable
    target starts at the outputs it grows with, by its gradient; a unit's mean at its places by activation.

    Probability is lost where nothing excites a unit (a class all of whose weights to active units are
    negative): ``excitation_backprop_result`` says how much; contrastive, it is the class's loss less the
    dual's. Rules exist for convolution, linear layers, ReLU, ReLU6, pooling, means, sums of branches,
    concatenation, constants, and batch norm, which is folded into the layer below by the sign of its
    scale (the size cancels). Raises ValueError with the name of a function without a rule (GELU, SiLU,
    softmax, attention), for a layer that is no feature map or without influence, for a callable that grows
    with no output and for a model without a layer to stop at, KeyError for a wrong name, else as
    ``saliency``.

    Labels: post hoc, specific to networks of ReLU and pooling, local.
    Source: Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop", sections 3.2 and 3.3. They
    pick a pooling layer by hand for each network, an eighth or a sixteenth of the side, and show the positive
    part of the contrastive map; here it keeps its sign. They assume activations that are not negative; here
    one that is excites nothing, and a dual's mean or sum draws on negative ones.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    >>> excitation_backprop(net, torch.rand(1, 3, 2, 2), 0).shape
    torch.Size([1, 2, 2])
    """
    return excitation_backprop_result(*args, **options).map
