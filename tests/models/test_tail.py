"""The network from a layer on: equal to the whole pass where nothing leads around the layer, else refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from labkit.models import Tail, load_model, record, run_from

X = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Fire(nn.Module):
    """SqueezeNet's module: two branches that are joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.relu = nn.Conv2d(channels, 4, 1), nn.ReLU(inplace=True)
        self.left, self.right = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.squeeze(x))
        return torch.cat([self.left(x), self.right(x)], 1)


class Residual(nn.Module):
    """A skip around one convolution; the ReLU runs three times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = self.relu(x + self.relu(self.branch(x)))
        return self.fc(x.mean((2, 3)))


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class CountsRows(nn.Module):
    """Lays its features out by the number of pictures that came in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 2, 3), nn.Linear(392, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).view(len(x), -1))


def whole(net: nn.Module, layer: str) -> tuple[Tensor, Tensor]:
    with torch.no_grad(), record(net, layer) as kept:
        out = net(X)
    return kept[layer], out


def squeezenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(True), Fire(8), nn.ReLU(True), nn.Conv2d(12, 4, 1), nn.ReLU(True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (squeezenet, "0"), (squeezenet, "2"), (squeezenet, "2.squeeze"), (squeezenet, "2.relu"),
        (squeezenet, "6"), (Residual, "stem"), (Residual, "relu:0"), (Residual, "relu:2"), (Residual, "fc"),
        (CountsRows, "conv"),
    ],
)  # fmt: skip
def test_the_tail_of_a_layer_gives_the_outputs(build, layer: str) -> None:
    torch.manual_seed(0)
    net = build().eval()
    activation, out = whole(net, layer)
    before = activation.clone()
    assert torch.allclose(run_from(net, layer, activation, side=16), out, atol=1e-6)
    assert torch.equal(activation, before)  # the next layer may work in place
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("layer", ["features.2", "features.5", "features.19", "pool", "classifier"])
def test_every_layer_of_the_bundled_network(layer: str) -> None:
    net = load_model("minivgg-2")
    images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), record(net, layer) as kept:
        out = net(images)
    assert torch.equal(run_from(net, layer, kept[layer]), out)


@pytest.mark.parametrize(
    ("build", "layer"),
    [(squeezenet, "2.left"), (squeezenet, "2.right"), (Residual, "branch"), (Residual, "relu:1")],
)
def test_a_layer_with_a_way_around_it_is_refused(build, layer: str) -> None:
    """Two pictures with the same activation there give other outputs: the layer does not decide."""
    torch.manual_seed(0)
    net = build().eval()
    with pytest.raises(ValueError, match=f"around '{layer}' a connection leads from the picture"):
        run_from(net, layer, whole(net, layer)[0], side=16)
    assert not any(module._forward_hooks for module in net.modules())


def test_a_layer_that_runs_often_must_say_which_call() -> None:
    net = Residual().eval()
    with pytest.raises(ValueError, match="'relu' runs 3 times. Say which: layer='relu:2'"):
        Tail(net, "relu", side=16)
    with pytest.raises(KeyError, match="'relu:3' was not recorded"):
        Tail(net, "relu:3", side=16)


def test_gradients_reach_the_activation() -> None:
    net = squeezenet().double()
    activation = whole(net.double(), "2")[0] if X.dtype == torch.float64 else torch.rand(4, 12, 7, 7).double()
    activation.requires_grad_(True)
    tail = Tail(net, "2", side=16)
    assert torch.autograd.gradcheck(lambda a: tail(a).sum(0), (activation[:1].detach().requires_grad_(True),))
    tail(activation).sum().backward()
    assert activation.grad is not None
    assert all(p.grad is None or p.grad.abs().sum() >= 0 for p in net.parameters())
    with torch.no_grad():
        assert not tail(activation).requires_grad


def test_one_dummy_picture_is_enough_where_the_model_allows_it() -> None:
    counted: list[int] = []
    for build, expected in ((Residual, 1), (CountsRows, 4)):
        net = build().eval()
        tail = Tail(net, "stem" if build is Residual else "conv", side=16)
        activation = torch.cat([tail.activation] * 4)
        first = next(net.children())
        handle = first.register_forward_pre_hook(lambda m, args: counted.append(len(args[0])))
        tail(activation)
        handle.remove()
        assert counted.pop() == expected


def test_wrong_activations_get_a_sentence() -> None:
    tail = Tail(squeezenet(), "2", side=16)
    for wrong in (torch.rand(2, 12, 3, 3), torch.rand(12, 7, 7), torch.rand(0, 12, 7, 7), None):
        with pytest.raises(ValueError, match=r"must have the shape \('N', 12, 7, 7\).*16, 16.*side"):
            tail(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="side must be given"):
        Tail(squeezenet(), "2")
    with pytest.raises(KeyError, match="nearest"):
        Tail(squeezenet(), "2.middle", side=16)
    with pytest.raises(RuntimeError, match="eval mode"):
        Tail(squeezenet().train(), "2", side=16)
    with pytest.raises(ValueError, match="layer '0' must give one tensor; got tuple"):
        Tail(nn.Sequential(Two(), nn.Identity()).eval(), "0", side=16)


def test_outputs_may_be_more_than_a_tensor() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            maps = self.body(x).relu()
            return {"logits": self.fc(maps.mean((2, 3))), "maps": maps}

    net = Both().eval()
    with torch.no_grad(), record(net, "body") as kept:
        wanted = net(X)
    found = Tail(net, "body", side=16)(kept["body"])
    assert torch.allclose(found["logits"], wanted["logits"], atol=1e-6)
    assert torch.equal(found["maps"], wanted["maps"])
