"""Forgetful networks: no trained weight stays in use, however the network holds it, and the owner's stays."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torchvision.ops import FrozenBatchNorm2d

from labkit.attribution import saliency
from labkit.evaluation import cascading_randomization, execution_order, randomized
from labkit.evaluation.randomization import UNKNOWN_SPREAD, weighted_layers

DRAWN = "drawn from a normal distribution of their own mean and spread"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.second(F.relu(self.first(x)))).mean((2, 3)))


def pictures(n: int = 3) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def used(net: nn.Module) -> list[Tensor]:
    """The weights that the three layers multiply by, seen in what they give for one picture more."""
    with torch.no_grad():
        net(pictures(1))
        return [layer.weight.detach().clone() for layer in (net.first, net.second, net.head)]


def whitened(layer: nn.Module) -> None:
    """A hook of the user's own, which nobody can undo."""
    layer.free = layer.weight
    del layer._parameters["weight"]
    layer.register_forward_pre_hook(
        lambda module, _args: setattr(module, "weight", module.free - module.free.mean())
    )


BEHIND: dict[str, Callable[[nn.Module], object]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight_norm": lambda layer: torch.nn.utils.weight_norm(layer),
    "old spectral_norm": lambda layer: torch.nn.utils.spectral_norm(layer),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "pruned twice": lambda layer: [prune.random_unstructured(layer, "weight", 0.3) for _ in "ab"],
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("kind", BEHIND)
def test_the_weight_in_use_is_drawn_whatever_stands_before_it(kind: str) -> None:
    """As a plain layer of its shape is drawn, to the last bit; the owner's layer keeps what it has."""
    net, plain = Net(), Net()
    BEHIND[kind](net.second)
    net.eval()(pictures(1))  # with a graph, of which old norms and pruning keep a part
    before, out = used(net), net(pictures())
    twin = randomized(net, ["second"], pictures())
    first, second, head = used(twin)
    assert torch.equal(first, before[0])
    assert torch.equal(head, before[2])
    assert not torch.isclose(second, before[1]).any()
    assert torch.equal(second, randomized(plain.eval(), ["second"], pictures()).second.weight)
    assert torch.equal(net(pictures()), out)
    assert all(torch.equal(a, b) for a, b in zip(used(net), before, strict=True))
    assert torch.equal(used(randomized(net, ["head"], pictures()))[1], before[1])
    assert execution_order(net, pictures()) == ["first", "second", "head"]


def test_a_hook_that_makes_the_weight_is_drawn_through_and_told() -> None:
    net = Net().eval()
    whitened(net.second)
    before = used(net)[1]
    with pytest.warns(UserWarning, match=rf"{DRAWN}.*: second.free\."):
        twin = randomized(net, ["second"], pictures())
    assert not torch.isclose(used(twin)[1], before).any()


class OwnWeights(nn.Module):
    """A layer without a reset, and a temperature and a token that belong to no layer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.token = nn.Parameter(torch.zeros(1, 4, 6, 6))
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.unused = nn.Parameter(torch.ones(2))
        self.own, self.head = nn.Module(), nn.Linear(4, 3)
        self.own.weight = nn.Parameter(0.7 + 0.3 * torch.randn(4, 3, 3, 3, generator=generator))
        self.own.forward = lambda x: F.conv2d(x, self.own.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.own.weight) + self.token)
        return self.head(x.mean((2, 3))) * self.temperature


def test_a_weight_without_reset_is_named_drawn_alike_and_told() -> None:
    net, x = OwnWeights().eval(), pictures()
    assert execution_order(net, x) == ["own", "token", "head", "temperature"]
    assert list(weighted_layers(net)) == ["token", "temperature", "unused", "own", "head"]
    with pytest.warns(UserWarning, match=rf"{DRAWN}.*: token, own.weight\.") as told:
        twin = randomized(net, ["token", "own", "head"], x)
    assert told[0].filename == __file__
    weight, old = twin.own.weight, net.own.weight
    assert abs(torch.corrcoef(torch.stack([weight.flatten(), old.flatten()]))[0, 1]) < 0.3
    assert weight.mean().item() == pytest.approx(old.mean().item(), abs=0.1)
    assert weight.std().item() == pytest.approx(old.std().item(), rel=0.2)
    assert twin.token.std().item() == pytest.approx(UNKNOWN_SPREAD, rel=0.3)  # its own is 0
    assert twin.temperature == net.temperature
    with pytest.warns(UserWarning, match=rf"{DRAWN}.*: temperature, token, own.weight\.") as once:
        done = cascading_randomization(net, x, torch.zeros(3).long(), {"saliency": saliency})
    assert len(once) == 1
    assert done.layers == ["temperature", "head", "token", "own"]


class HalfReset(nn.Linear):
    """A layer whose reset forgets one of its weights."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.scale = nn.Parameter(torch.rand(3))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


def test_what_a_reset_leaves_is_drawn_as_well() -> None:
    net = Net().eval()
    net.head = HalfReset().eval()
    with pytest.warns(UserWarning, match=rf"{DRAWN}.*: head.scale\."):
        twin = randomized(net, ["head"], pictures())
    assert not torch.isclose(twin.head.scale, net.head.scale).any()
    assert not torch.isclose(twin.head.weight, net.head.weight).any()


@pytest.mark.parametrize("name", ["vit", "swin", "recurrent"])
def test_no_weight_of_attention_and_recurrence_stays_trained(name: str) -> None:
    """They read weights of parts that never run, and hold tokens, positions and biases of their own."""
    from torchvision.models import SwinTransformer, VisionTransformer

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(24, 8, batch_first=True)
            self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.lstm(x.transpose(1, 2).flatten(2))[0]
            return self.head(self.encoder(x).mean(1))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = {
            "vit": lambda: VisionTransformer(8, 4, 2, 2, 8, 16, num_classes=3),
            "swin": lambda: SwinTransformer([2, 2], 8, [1, 1], [2, 2], [2, 2], num_classes=3),
            "recurrent": Recurrent,
        }[name]().eval()
        with torch.no_grad():
            for p in net.parameters():  # trained: no weight is as it began
                p.add_(0.1 * torch.randn_like(p))
    layers = execution_order(net, pictures())
    assert set(layers) == set(weighted_layers(net))
    told = {"vit": "class_token, encoder.pos_embedding", "swin": "relative_position_bias_table"}.get(name)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        twin = randomized(net, layers, pictures())
    assert [told in str(w.message) for w in heard] == [True] * bool(told)
    fresh = dict(twin.named_parameters())
    assert [n for n, p in net.named_parameters() if torch.isclose(p, fresh[n]).all()] == []


class Habits(Net):
    """Normalizes its input in place, and keeps its last activation with its graph."""

    def forward(self, x: Tensor) -> Tensor:
        self.activation = F.relu(self.first(x.sub_(0.5).mul_(2)))
        return self.head(F.relu(self.second(self.activation)).mean((2, 3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_model_s_habits_and_precision_leave_pictures_alone(dtype: torch.dtype) -> None:
    net, x = Habits().to(dtype).eval(), pictures()
    net(x.to(dtype, copy=True))
    rough = cascading_randomization(
        net, x, torch.zeros(3).long(), {"eats": lambda model, images, _: images.mul_(0)[:, 0]}
    )
    done = cascading_randomization(net, x, torch.zeros(3).long(), {"saliency": saliency})
    assert torch.equal(x, pictures())
    assert done.layers == rough.layers == ["head", "second", "first"]
    assert torch.equal(done.maps["saliency"][0], saliency(net, x, 0))


def test_training_mode_is_refused_before_anything_moves() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for use in (
        lambda: execution_order(net, pictures()),
        lambda: randomized(net, ["0"], pictures()),
        lambda: cascading_randomization(net, pictures(), torch.zeros(3).long(), {"s": saliency}),
    ):
        with pytest.raises(RuntimeError, match=r"eval mode.*model\.eval\(\)"):
            use()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training


def test_running_statistics_of_instance_norm_are_taken_anew_too() -> None:
    norm = nn.InstanceNorm2d(4, track_running_stats=True)
    norm.running_mean.fill_(5)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.ReLU()).eval()
    twin = randomized(net, ["0"], pictures())
    with torch.no_grad():
        assert torch.allclose(twin[1].running_mean, twin[0](pictures()).mean((0, 2, 3)), atol=1e-6)
    assert twin[1].momentum == norm.momentum
    assert not twin[1].training


def test_what_cannot_be_forgotten_gets_a_sentence() -> None:
    net, x = Net().eval(), pictures()
    for layers in (["secnd"], ["relu"], ["first", ""]):
        with pytest.raises(KeyError, match="layers with weights of their own; got .*nearest are '"):
            randomized(net, layers, x)
    with pytest.raises(KeyError, match="weights that these pictures meet; got 'secnd'.*nearest are 'second'"):
        cascading_randomization(net, x, torch.zeros(3).long(), {"s": saliency}, layers=["first", "secnd"])
    with pytest.warns(FutureWarning, match="trace"):
        traced = torch.jit.trace(net, x)
    for use in (lambda: execution_order(traced, x), lambda: randomized(traced, ["first"], x)):
        with pytest.raises(ValueError, match=r"as parameters; its part '' \(TopLevel.*scripted or traced"):
            use()
    quantized, frozen = Net().eval(), Net().eval()
    quantized.head.weight = nn.Parameter(torch.zeros(3, 4, dtype=torch.uint8), requires_grad=False)
    frozen.second = nn.Sequential(FrozenBatchNorm2d(4)).eval()
    with pytest.raises(ValueError, match=r"as parameters; its part 'head' \(Linear\) is quantized"):
        randomized(quantized, ["first"], x)
    with pytest.raises(ValueError, match="'second.0'.*holds its weight as a buffer.*such as nn.BatchNorm2d"):
        randomized(frozen, ["first"], x)
    net.writer = (line for line in ())  # as a logger is, which no copy can take along
    with pytest.raises(ValueError, match=r"must be one that copy\.deepcopy copies.*generator"):
        randomized(net, ["first"], x)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4)).eval()
    with pytest.raises(ValueError, match="images must be at least 2.*batch statistics; got 1"):
        randomized(flat, ["1"], x[:1])


def test_a_compiled_network_forgets_with_its_copy() -> None:
    net, x = torch.compile(Net().eval(), backend="eager"), pictures()
    out = net(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo on functions with a cache
        twin = randomized(net, ["_orig_mod.second"], x)
    assert torch.equal(net(x), out)
    assert torch.equal(twin(x), twin._orig_mod(x))
    assert not torch.isclose(twin(x), out).any()
