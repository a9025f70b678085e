"""Excitation backprop against winning probabilities worked out by matrices, and what must be conserved."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from labkit.attribution import deep_shap, excitation_backprop, excitation_backprop_result, guided_backprop
from labkit.data import MiniBroden, item
from labkit.evaluation import energy_inside
from labkit.models import load_model, unit


def dense(layer: nn.Module, side: int, channels: int) -> Tensor:
    """A convolution without bias as a matrix (outputs, inputs): its answers to one pixel at a time."""
    basis = torch.eye(channels * side * side, dtype=torch.float64).view(-1, channels, side, side)
    with torch.no_grad():
        return (layer(basis) - layer(0 * basis)).flatten(1).T


def winners(weights: Tensor, active: Tensor, mass: Tensor) -> Tensor:
    """Each unit's probability to the units below, by activation times positive weight (equation 1)."""
    parts = weights.clamp(min=0) * active.clamp(min=0)
    total = parts.sum(1, keepdim=True)
    return mass @ torch.where(total > 0, parts / total.clamp(min=1e-300), torch.zeros_like(parts))


def small() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(),  # the walk stops after these
        nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5 * 9, 6),
    ).double().eval()  # fmt: skip


@pytest.mark.parametrize("contrastive", [False, True])
def test_the_probabilities_of_the_paper_by_matrices(contrastive: bool) -> None:
    net, image = small(), torch.rand(1, 3, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        below = net[:2](image)
        pooled, places = F.max_pool2d(net[2:4](below), 2, return_indices=True)

    def walked(weights: Tensor) -> Tensor:
        mass = winners(weights[3:4], pooled.flatten(1), torch.ones(1, 1, dtype=torch.float64))
        before = torch.zeros(1, 5, 36, dtype=torch.float64)
        before.scatter_(2, places.flatten(2), mass.view(1, 5, 9))  # pooling: to the maximum alone
        return winners(dense(net[2], 6, 4), below.flatten(1), before.flatten(1)).view(4, 6, 6).sum(0)

    wanted = walked(net[6].weight)
    if contrastive:
        wanted = wanted - walked(-net[6].weight)
    found = excitation_backprop(net, image, 3, layer="1", contrastive=contrastive, upsample=False)
    assert torch.allclose(found[0], wanted, atol=1e-12)
    assert wanted.abs().max() > 0.01


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "densenet121", "googlenet", "mobilenet_v2"])
def test_no_probability_is_made_and_none_vanishes(name: str) -> None:
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    net = models.get_model(name, weights=None, **options).eval()
    found = excitation_backprop_result(net, torch.rand(2, 3, 64, 64), 3, upsample=False)
    assert torch.allclose(found.map.sum((1, 2)) + found.lost, torch.ones(2), atol=1e-5)
    assert (found.map >= 0).all()


def test_what_is_lost_is_said() -> None:
    """A class all of whose weights are negative has nobody to hand its probability to."""
    net = small()
    net[6].weight.data[3] = -net[6].weight.data[3].abs()
    done = excitation_backprop_result(net, torch.rand(1, 3, 6, 6).double(), 3, layer="1", upsample=False)
    assert done.lost.item() == 1
    assert not done.map.any()


def test_one_weight_leads_all_the_way() -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).double().eval()
    net[0].weight.data.fill_(1.0)
    net[3].weight.data.fill_(-1.0)
    net[3].weight.data[0, 6] = 0.3
    found = excitation_backprop(net, torch.rand(1, 3, 4, 4).double(), 0, layer="1", upsample=False)
    assert found.flatten().nonzero().flatten().tolist() == [6]
    assert found.sum() == 1


def test_folded_batch_norm_makes_no_difference() -> None:
    torch.manual_seed(2)
    norm = nn.BatchNorm2d(5)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data = torch.tensor([1.0, -0.7, 0.4, -1.2, 2.0])  # a negative one turns its layer round
    norm.bias.data.fill_(3.0)  # no channel is dead
    net = small()
    whole = nn.Sequential(*net[:3], norm.double(), *net[3:]).eval()
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    folded = nn.Sequential(*net[:2], fuse_conv_bn_eval(net[2], norm), *net[3:]).eval()
    image = torch.rand(1, 3, 6, 6).double()
    assert (whole[:5](image).amax((0, 2, 3)) > 0).all()
    pair = [excitation_backprop(n, image, 2, layer="1", contrastive=True) for n in (whole, folded)]
    assert torch.allclose(*pair, atol=1e-12)


class Written(nn.Module):
    """The small net as people write it: F.relu, in place, one activation used twice."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.first, self.second, self.last, self.act = net[0], net[2], net[6], nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        self.below = self.act(self.first(x))
        return self.last(torch.flatten(F.max_pool2d(self.act(self.second(self.below)), 2), 1))


def test_the_way_it_is_written_makes_no_difference() -> None:
    net, image = small(), torch.rand(2, 3, 6, 6).double()
    wanted = excitation_backprop(net, image, 2, layer="1")
    assert torch.allclose(excitation_backprop(Written(net).eval(), image, 2, layer="act:0"), wanted)


def test_the_dual_tells_classes_apart() -> None:
    """Zhang et al., section 3.3: of two objects, the contrastive map lies on the one asked for."""
    scenes = [MiniBroden(40, "test", objects=2).scene(i) for i in range(24)]
    items = [item(s) for s in scenes]
    net, x = load_model("minivgg"), torch.stack([i["image"] for i in items])
    masks = torch.stack([torch.stack([i["instance"] == k for k in (1, 2)]) for i in items])
    shown = masks.flatten(2).any(2).all(1)
    gaps = {}
    for contrastive in (False, True):
        own, other = [], []
        for k in range(2):
            kinds = torch.tensor([net.classes.index(s.objects[k].kind) for s in scenes])
            maps = excitation_backprop(net, x[shown], kinds[shown], contrastive=contrastive)
            own.append(energy_inside(maps, masks[shown, k]).nan_to_num(0.0))
            other.append(energy_inside(maps, masks[shown, 1 - k]).nan_to_num(0.0))
        gaps[contrastive] = float((torch.cat(own) - torch.cat(other)).mean())
    assert gaps[True] > gaps[False] + 0.1


class Odd(nn.Module):
    """The small net with another step before its last layer."""

    def __init__(self, step: object) -> None:
        super().__init__()
        self.net, self.step = small(), step

    def forward(self, x: Tensor) -> Tensor:
        return self.net[6](self.step(self.net[:6](x)))


REFUSED = {
    "got gelu": F.gelu,
    "got softmax": lambda x: x.softmax(1),
    "got silu": F.silu,
    "dropout in training mode": lambda x: F.dropout(x, 0.5, training=True),
    "weights that depend on the picture": lambda x: x @ x.T @ x,
    "must depend on the picture": lambda x: x.detach(),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_has_no_rule_is_refused_by_name(said: str) -> None:
    with pytest.raises(ValueError, match=said):
        excitation_backprop(Odd(REFUSED[said]).eval(), torch.rand(2, 3, 6, 6).double(), 0, layer="net.1")


def test_mistakes_get_a_sentence() -> None:
    net, image = small(), torch.rand(1, 3, 6, 6).double()
    with pytest.raises(KeyError, match="layer must be a dotted name"):
        excitation_backprop(net, image, 0, layer="relu")
    with pytest.raises(ValueError, match="must give a feature map"):
        excitation_backprop(net, image, 0, layer="5")
    with pytest.raises(ValueError, match="must have an influence on the target"):
        excitation_backprop(net, image, unit("1", 0), layer="3")
    with pytest.raises(ValueError, match="must grow with at least one output"):
        excitation_backprop(net, image, lambda outputs: -outputs[:, 0] - outputs[:, 1], layer="1")
    with pytest.raises(ValueError, match="layer must be named for a model without a feature map"):
        excitation_backprop(nn.Sequential(nn.Flatten(), nn.Linear(108, 2)).double().eval(), image, 0)
    with pytest.raises(ValueError, match="must lie below a layer with weights for contrastive"):
        excitation_backprop(net, image, unit("3", 0), layer="3", contrastive=True)
    with pytest.warns(FutureWarning, match="script"):
        scripted = nn.Sequential(*net[:2], torch.jit.script(net[2]), *net[3:]).eval()
    with pytest.raises(ValueError, match="scripted part"):
        excitation_backprop(scripted, image, 0, layer="1")


@pytest.mark.parametrize(
    "part", [nn.Conv2d(5, 5, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.Sigmoid()]
)
def test_what_runs_scripted_is_met_in_the_graph(part: nn.Module) -> None:
    net = small()
    with pytest.warns(FutureWarning, match="script"):
        scripted = torch.jit.script(part.double().eval())
    whole = nn.Sequential(*net[:4], scripted, *net[4:]).eval()
    with pytest.raises(ValueError, match="out of reach in a scripted part"):
        excitation_backprop(whole, torch.rand(1, 3, 6, 6).double(), 0, layer="1")


@pytest.mark.parametrize("method", [guided_backprop, deep_shap, excitation_backprop])
def test_a_run_is_gone_with_its_map(method: Callable) -> None:
    """No circle keeps the activations until the next garbage collection."""

    class Remembers(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(weakref.ref(x))
            return x * 1

    seen: list[weakref.ref] = []
    net = small()
    net[3] = nn.Sequential(Remembers(), nn.ReLU(inplace=True))
    gc.disable()
    try:
        assert method(net.eval(), torch.rand(1, 3, 6, 6).double(), 2).any()
        assert [ref() for ref in seen] == [None] * len(seen) != []
    finally:
        gc.enable()


def test_channels_may_lie_last() -> None:
    class Last(nn.Module):
        def __init__(self, last: bool) -> None:
            super().__init__()
            self.last, self.shown = last, nn.Identity()
            self.net = small()[:4]
            self.mix, self.fc = nn.Linear(5, 7).double(), nn.Linear(7, 3).double()
            with torch.random.fork_rng():
                torch.manual_seed(3)
                self.mix.weight.data.normal_()
                self.fc.weight.data.normal_()

        def forward(self, x: Tensor) -> Tensor:
            x = self.net(x)
            if self.last:
                x = self.shown(self.mix(x.permute(0, 2, 3, 1)).relu())
                return self.fc(x.mean((1, 2)))
            x = F.conv2d(x, self.mix.weight[..., None, None], self.mix.bias)
            return self.fc(self.shown(x.relu()).mean((2, 3)))

    x = torch.rand(2, 3, 8, 6, dtype=torch.float64)
    first, last = Last(False).eval(), Last(True).eval()
    last.load_state_dict(first.state_dict())
    for layer in (None, "shown", "net.1"):
        for contrastive in (False, True):
            options = {"layer": layer, "contrastive": contrastive, "upsample": False}
            wanted, found = (excitation_backprop(net, x, 1, **options) for net in (first, last))
            assert torch.allclose(found, wanted, atol=1e-12)
            assert found.any()
