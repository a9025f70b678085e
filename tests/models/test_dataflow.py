"""Where channels lie, what all of a picture passes, and units of layers whose channels lie last."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.models import direction, features, scores, unit
from labkit.models.dataflow import Flow, common

X = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
CONV, LINEAR, NORM = nn.Conv2d(3, 4, 1), nn.Linear(3, 4), nn.LayerNorm(3)


def last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


LAYOUTS: dict[str, tuple[Callable[[Tensor], Tensor], int | None]] = {
    "convolution": (CONV, 1),
    "normalized picture": (lambda x: (x - 0.5) / 0.2, 1),
    "permuted": (last, 3),
    "permuted by name": (lambda x: torch.permute(input=x, dims=(0, 2, 3, 1)), 3),
    "moved": (lambda x: x.movedim(1, -1), 3),
    "transposed twice": (lambda x: x.transpose(1, 2).transpose(2, 3), 3),
    "there and back": (lambda x: last(x).permute(0, 3, 1, 2), 1),
    "linear": (lambda x: LINEAR(last(x)), 3),
    "layer norm": (lambda x: NORM(last(x)), 3),
    "block": (lambda x: last(x) + F.gelu(NORM(last(x))), 3),
    "in place": (lambda x: LINEAR(last(x)).relu_(), 3),
    "rolled": (lambda x: torch.roll(LINEAR(last(x)), 1, 1), 3),
    "half of it": (lambda x: LINEAR(last(x))[:, ::2], 3),
    "joined": (lambda x: torch.cat([LINEAR(last(x)), last(x)], -1), 3),
    "tokens laid out": (lambda x: x.flatten(2).view(2, 3, 5, 6), None),
    "attention": (lambda x: last(x) @ last(x).transpose(2, 3), None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_where_channels_lie(name: str) -> None:
    function, axis = LAYOUTS[name]
    x = X.clone()
    with Flow(x) as flow:
        out = function(x)
    point = flow.at(out)
    assert point is not None
    assert point.axis == axis
    assert flow.axes({"a": out}) == {"a": axis or 1}


@pytest.mark.parametrize(
    ("reads", "axis"),
    [
        (lambda m: m.mean((2, 3)), 1),
        (lambda m: m.mean(dim=[-3, -2]), 3),
        (lambda m: m.amax((1, 2)), 3),
        (lambda m: F.adaptive_avg_pool2d(m, 1), 1),
        (nn.Linear(6, 2), 3),
        (lambda m: m.mean((1, 3)), None),
        (lambda m: m.flatten(1), None),
    ],
)
def test_who_reads_a_map_tells_where_its_channels_lie(reads: Callable, axis: int | None) -> None:
    x = X.clone()
    with Flow(x) as flow:
        laid = x.flatten(2).view(2, 3, 5, 6)
        reads(laid)
    point = flow.at(laid)
    assert point is not None
    assert point.axis == axis


def test_what_all_of_the_picture_passes() -> None:
    x = X.clone()
    with Flow(x) as flow:
        a = x * 2
        left, right = a.sin(), a.cos()
        joined = left + right
        end = joined.mean()
        beside = x.exp()
        all_of_it = end + beside.mean()
    at = {name: flow.at(t) for name, t in locals().items() if isinstance(t, Tensor)}
    assert at["joined"].above is at["a"]
    assert at["end"].above is at["joined"]
    assert at["all_of_it"].above is flow.start
    assert common([at["left"], at["end"]]) is at["a"]
    assert common([]) is None
    with Flow(x) as flow:
        assert flow.at(CONV.weight * 2) is None
        x[:, 0] = 0
        assert flow.at(x) is not flow.start


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


def test_what_runs_out_of_sight_comes_of_what_was_made_last() -> None:
    x = X.clone().requires_grad_(True)
    with Flow(x) as flow:
        before = CONV(x)
        after = Own.apply(before)
        end = after.mean()
    assert flow.at(end).above is flow.at(after)
    assert flow.at(after).above is flow.at(before)


def test_a_run_is_gone_with_its_flow() -> None:
    gc.disable()
    try:
        x = X.clone()
        with Flow(x) as flow:
            gone = weakref.ref(out := CONV(x))
        del flow, out
        assert gone() is None
    finally:
        gc.enable()


class Last(nn.Module):
    """A layer whose channels lie last, a linear layer, and their mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.shown, self.fc = nn.Linear(3, 5), nn.Identity(), nn.Linear(5, 4)
        self.eval()

    def maps(self, x: Tensor) -> Tensor:
        return self.mix(last(x) ** 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.shown(self.maps(x)).mean((1, 2)))


def test_a_unit_of_a_layer_with_channels_last_is_one_of_its_channels() -> None:
    net = Last()
    maps = net.maps(X)
    vector = torch.tensor([1.0, 0, -2, 0, 3])
    along = maps @ vector
    cases = [
        (unit("shown", 4), maps[..., 4].mean((1, 2))),
        (unit("mix", 4, (5, 2)), maps[:, 5, 2, 4]),
        (unit("shown", 1, "max"), maps[..., 1].amax((1, 2))),
        (direction("shown", vector), along.mean((1, 2))),
        (direction("shown", vector, (0, 4)), along[:, 0, 4]),
        (direction("shown", torch.ones(6, 5, 5)), maps.sum((1, 2, 3))),  # the layer's own order
        (unit("shown", 4) - 2 * unit("fc", 1), maps[..., 4].mean((1, 2)) - 2 * net(X)[:, 1]),
    ]
    for target, expected in cases:
        assert torch.allclose(scores(net, X, target), expected, atol=1e-6)
    with pytest.raises(IndexError, match="channel must be.*from 0 to 4; got 5"):
        scores(net, X, unit("shown", 5))
    with pytest.raises(IndexError, match=r"within \(6, 5\)"):
        scores(net, X, unit("shown", 0, (6, 0)))


def test_features_are_pooled_over_places_wherever_channels_lie() -> None:
    net = Last()
    maps = net.maps(X).detach()
    pictures = X.repeat(3, 1, 1, 1)
    for pool, expected in (
        (None, maps), ("mean", maps.mean((1, 2))), ("max", maps.amax((1, 2))),
        (1, maps.mean((1, 2))[:, :, None, None]),
    ):  # fmt: skip
        found = features(net, pictures, "shown", pool=pool, batch_size=2)
        assert torch.allclose(found, expected.repeat(3, *(1,) * (expected.ndim - 1)), atol=1e-6)


def test_scores_leave_the_pictures_as_they_are() -> None:
    class Eats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.sub_(0.5)).mean((2, 3))

    net, x = Eats().eval(), X.clone()
    for target in (1, unit("conv", 1)):
        scores(net, x, target)
        assert torch.equal(x, X)
