"""Layers recorded where hooks do not reach by themselves: compiled, scripted, not called, under no_grad()."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from labkit.core.hooks import borrow, find_layer
from labkit.models import edit, record


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)).eval()


X = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["torch.compile(model)", "part.compile()"])
def test_hooks_see_what_is_compiled(way: str) -> None:
    model, layer = torch.compile(small(), backend="eager"), "_orig_mod.1"
    if way == "part.compile()":
        model, layer = nn.Sequential(small()).eval(), "0.1"
        model[0].compile(backend="eager")
    before = model(X)
    own = {name: dict(vars(module)) for name, module in model.named_modules()}
    with record(model, layer) as kept:
        assert torch.equal(model(X), before)
    assert torch.equal(kept[layer], small()[:2](X))
    with edit(model, {layer: lambda out: 0 * out}):
        assert torch.allclose(model(X), small()[3].bias.expand(2, 2))
    with pytest.raises(ZeroDivisionError), borrow(model):
        raise ZeroDivisionError
    for name, module in model.named_modules():  # compiled again
        for key in {"forward", "_compiled_call_impl"} & set(own[name]):
            assert vars(module)[key] is own[name][key]
    assert torch.equal(model(X), before)


def test_layers_out_of_reach_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated, and still met
        traced = torch.jit.trace(small(), X)
    part = nn.Sequential(traced).eval()
    for model, layer in ((traced, "1"), (part, "0.1")):
        with pytest.raises(ValueError, match=rf"'{layer}' lies in a part that torch.jit scripted or traced"):
            find_layer(model, layer)
    with record(part, "0") as kept:  # the part itself is called from Python
        wanted = part(X)
    assert torch.equal(kept["0"], wanted)


def test_a_layer_whose_weights_another_reads_says_that_it_did_not_run() -> None:
    net, x = nn.MultiheadAttention(4, 1, batch_first=True).eval(), torch.rand(1, 3, 4)
    with record(net, "out_proj") as kept:
        net(x, x, x)
    with pytest.raises(KeyError, match="'out_proj' was not recorded.*whose weights another layer reads"):
        kept["out_proj"]


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.body(x)
        return self.head(x)


def test_a_gradient_may_begin_at_a_recorded_layer() -> None:
    net = Frozen().eval()
    with record(net, "body", cut=True) as kept:
        out = net(torch.rand(5, 3))
    slope = torch.autograd.grad(out[:, 1].sum(), kept["body"])[0]
    assert torch.allclose(slope, net.head.weight[1].expand(5, 4))
    with record(net, "body") as kept:
        net(torch.rand(5, 3))
    assert not kept["body"].requires_grad
