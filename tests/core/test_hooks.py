"""Borrowing a model and giving it back; recording and editing layers; one lock per model."""

from __future__ import annotations

import copy
import gc
import random
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.attribution import occlusion, saliency
from labkit.core import locks
from labkit.core.locks import check_model, lock_of
from labkit.models import borrow, edit, record, wrap_model


class Net(nn.Module):
    """One ReLU module used twice, batch norm, and optionally everything in place."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.norm, self.relu, self.fc = nn.BatchNorm2d(4), nn.ReLU(inplace), nn.Linear(5, 2)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv2(self.relu(self.norm(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def pictures(n: int = 2) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def is_free(net: nn.Module) -> bool:
    """Whether another thread could hold the model now."""
    free: list[bool] = []

    def probe() -> None:
        for lock in locks._locks(net):
            free.append(lock.acquire(blocking=False))
            if free[-1]:
                lock.release()

    thread = threading.Thread(target=probe)
    thread.start()
    thread.join()
    return all(free)


class Boom(Exception):
    pass


@pytest.mark.parametrize("fails", [False, True])
def test_borrow_gives_everything_back(fails: bool) -> None:
    net = Net(inplace=True)
    net.conv1.weight.requires_grad_(False)
    net.fc.weight.grad = torch.full_like(net.fc.weight, 3.0)
    grad, buffer = net.fc.weight.grad, net.norm.running_mean
    own = net.fc.register_forward_hook(lambda *_: None)
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    chance = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    try:
        with borrow(net):
            net(pictures()).sum().backward()
            net.requires_grad_(True)
            net.conv1.register_forward_hook(lambda *_: None)
            net.conv2.register_full_backward_hook(lambda *_: None)
            own.remove()
            net.relu.inplace = False
            net.norm.running_mean = torch.ones(4)
            with torch.no_grad():
                net.norm.running_var.fill_(7)
            net.train()
            torch.rand(1), np.random.rand(), random.random()
            if fails:
                raise Boom
    except Boom:
        assert fails
    assert net.fc.weight.grad is grad
    assert bool((grad == 3).all())
    assert net.conv2.weight.grad is None
    assert not net.conv1.weight.requires_grad
    assert net.conv2.weight.requires_grad
    assert net.norm.running_mean is buffer
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert net.relu.inplace
    assert not any(m.training for m in net.modules())
    assert not net.conv1._forward_hooks
    assert not net.conv2._backward_hooks
    assert net.conv2._is_full_backward_hook is None
    assert list(net.fc._forward_hooks) == [own.id]
    assert torch.equal(chance[0], torch.get_rng_state())
    assert chance[1:] == (str(np.random.get_state()), random.getstate())
    own.remove()
    assert not net.fc._forward_hooks


def test_borrow_switches_gradients_on_and_inference_mode_off() -> None:
    net = Net()
    with torch.inference_mode(), borrow(net):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    with torch.no_grad():
        with borrow(net):
            assert net(pictures()).requires_grad
        assert not torch.is_grad_enabled()


def test_borrow_within_borrow() -> None:
    net = Net()
    with borrow(net), borrow(net):
        net(pictures()).sum().backward()
    assert all(p.grad is None for p in net.parameters())


def test_training_mode_is_refused_and_not_flipped() -> None:
    net = Net()
    net.norm.train()
    with pytest.raises(RuntimeError, match=r"'norm' is.*model\.eval\(\)"), borrow(net):
        pass
    assert net.norm.training
    assert not net.conv1.training
    with pytest.raises(RuntimeError, match=r"in training mode, where"):
        check_model(Net().train())


@pytest.mark.parametrize("use", [borrow, lambda m: record(m, "fc"), lambda m: edit(m, {"fc": F.relu})])
def test_what_is_no_network_is_refused(use) -> None:
    with pytest.raises(TypeError, match=r"torch\.nn\.Module; got int.*load_model"), use(5):
        pass


@pytest.mark.parametrize("layer", ["conv1", "norm", "relu", "relu:0", "conv2"])
def test_in_place_makes_no_difference_to_what_is_recorded(layer: str) -> None:
    kept = []
    for inplace in (False, True):
        net = Net(inplace)
        with record(net, layer) as seen:
            out = net(pictures())
        assert torch.allclose(out, Net()(pictures()))
        kept.append(seen[layer])
    assert torch.equal(*kept)


def test_recorded_values_by_hand() -> None:
    net, x = Net(inplace=True), pictures()
    with record(net, "conv1", "relu:0", "relu:1", "relu", "fc") as seen:
        out = net(x)
    first = F.relu(net.norm(net.conv1(x)))
    second = F.relu(net.conv2(first))
    assert torch.equal(seen["conv1"], net.conv1(x))
    assert seen["conv1"].min() < 0
    assert torch.equal(seen["relu:0"], first)
    assert torch.equal(seen["relu:1"], second)
    assert torch.equal(seen["relu"], second)
    assert torch.equal(seen["fc"], out)


def test_recorded_tensors_are_in_the_graph() -> None:
    net, x = Net(inplace=True), pictures()
    with record(net, "conv2") as seen:
        out = net(x)
    (slope,) = torch.autograd.grad(out[:, 1].sum(), seen["conv2"])
    on = (seen["conv2"] > 0).float()
    expected = on * net.fc.weight[1].view(1, 5, 1, 1) / 64
    assert torch.allclose(slope, expected)


def test_a_layer_that_did_not_run_says_so() -> None:
    net = Net()
    with record(net, "relu:2", "fc") as seen:
        net(pictures())
    with pytest.raises(KeyError, match="'relu:2' was not recorded; recorded: 'fc'"):
        seen["relu:2"]


@pytest.mark.parametrize("use", [lambda m, n: record(m, n), lambda m, n: edit(m, {n: F.relu})])
@pytest.mark.parametrize("wrong", ["conv3", "conv1:last", ""])
def test_a_wrong_layer_is_answered_with_the_nearest(use, wrong: str) -> None:
    net = Net()
    with pytest.raises(KeyError, match=r"dotted name of the model.*nearest are 'conv"), use(net, wrong):
        pass
    assert not any(m._forward_hooks for m in net.modules())


def test_edit_replaces_one_call_of_a_reused_layer() -> None:
    net, x = Net(inplace=True), pictures()
    first = F.relu(net.norm(net.conv1(x)))
    with edit(net, {"relu:0": lambda a: a * 0}):
        silent = net(x)
    with edit(net, {"relu": lambda a: a * 0}):
        zero = net(x)
    bias = F.relu(net.conv2(torch.zeros_like(first))).mean((2, 3))
    assert torch.allclose(silent, net.fc(bias))
    assert torch.allclose(zero, net.fc.bias.expand(2, 2))
    assert not torch.allclose(silent, zero)


def test_an_edit_may_change_its_argument_in_place() -> None:
    net, x = Net(), pictures()
    with edit(net, {"conv1": lambda a: a.mul_(0)}), record(net, "conv1") as seen:
        net(x)
    assert not seen["conv1"].any()
    assert net.conv1(x).any()


def test_wrong_edits_are_refused() -> None:
    net = Net()
    with (
        pytest.raises(ValueError, match=r"\(2, 4, 8, 8\); got \(2, 1"),
        edit(net, {"conv1": lambda a: a[:, :1]}),
    ):
        net(pictures())
    with pytest.raises(ValueError, match="got NoneType"), edit(net, {"conv1": lambda a: None}):
        net(pictures())
    recurrent = nn.Sequential(nn.LSTM(3, 4)).eval()
    with pytest.raises(TypeError, match="layer '0' must give one.*tuple"), edit(recurrent, {"0": F.relu}):
        recurrent(torch.zeros(2, 1, 3))
    assert not any(m._forward_hooks for m in [*net.modules(), *recurrent.modules()])


def test_nothing_stays_after_an_exception() -> None:
    net = Net()
    with pytest.raises(Boom), record(net, "conv1"), edit(net, {"relu": F.relu}):
        raise Boom
    assert not any(m._forward_hooks for m in net.modules())
    assert is_free(net)


@pytest.mark.parametrize("use", [borrow, lambda m: record(m, "fc"), lambda m: edit(m, {"fc": F.relu})])
def test_a_second_thread_waits_for_the_model_but_not_for_another(use) -> None:
    net, other = Net(), Net()
    order, begun = [], threading.Event()

    def work() -> None:
        with use(other):
            order.append("other")
        begun.set()
        with use(net):
            order.append("second")

    thread = threading.Thread(target=work)
    with use(net):
        thread.start()
        assert begun.wait(30)
        assert not is_free(net)
        order.append("first")
    thread.join(30)
    assert order == ["other", "first", "second"]


def test_two_threads_record_their_own_pictures() -> None:
    net = Net(inplace=True)
    batches = [torch.full((1, 3, 8, 8), i / 8) for i in range(8)]
    found: dict[int, Tensor] = {}

    def work(i: int) -> None:
        with record(net, "conv1") as seen:
            net(batches[i])
        found[i] = seen["conv1"].detach()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, batch in enumerate(batches):
        assert torch.allclose(found[i], net.conv1(batch), atol=1e-6)


def test_a_lock_goes_with_its_model() -> None:
    net = Net()
    with lock_of(net):
        before = len(locks._LOCKS)
    del net
    gc.collect()
    assert len(locks._LOCKS) < before


class Tied(nn.Module):
    """Another layer with the weight of ``net.fc``."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.own = nn.Linear(5, 2, bias=False)
        self.own.weight = net.fc.weight
        self.eval()


def rewrapped(net: nn.Module) -> nn.Module:
    return wrap_model(net, classes="ab", input_size=8)


@pytest.mark.parametrize(
    "sharing",
    [rewrapped, nn.Sequential, nn.DataParallel, Tied, copy.copy, lambda net: nn.Sequential(net.conv1).eval()],
)
@pytest.mark.parametrize("wrapper_first", [True, False])
def test_models_that_share_a_part_wait_for_each_other(sharing, wrapper_first: bool) -> None:
    net = Net()
    first, second = (sharing(net), net) if wrapper_first else (net, sharing(net))
    with lock_of(first):
        assert not is_free(second)
        assert is_free(Net())
    assert is_free(second)


def test_a_model_made_of_two_holds_both_and_either_keeps_it_waiting() -> None:
    one, two = Net(), Net()
    with lock_of(one), lock_of(two):
        pass
    both = nn.ModuleList([two, one])
    with lock_of(both):
        assert not is_free(one)
        assert not is_free(two)
    for part, other in ((one, two), (two, one)):
        with lock_of(part):
            assert not is_free(both)
            assert is_free(other)


def test_two_wrappers_of_one_network_in_two_threads_leave_it_as_it_was() -> None:
    net = Net()
    begun, said = threading.Event(), []

    def work() -> None:
        begun.set()
        with borrow(rewrapped(net), frozen=True), record(rewrapped(net), "conv2"):
            said.append([p.requires_grad for p in net.parameters()])

    thread = threading.Thread(target=work)
    with borrow(rewrapped(net), frozen=True):
        thread.start()
        assert begun.wait(30)
        thread.join(0.05)
        assert not said
    thread.join(30)
    assert said == [[False] * 8]
    assert all(p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())


def batch_statistics() -> nn.Module:
    net = Net()
    net.norm = nn.BatchNorm2d(4, track_running_stats=False).eval()
    return net


def without_statistics() -> nn.Module:
    """As test-time adaptation makes them."""
    net = Net()
    net.norm.running_mean = net.norm.running_var = None
    return net


@pytest.mark.parametrize("made", [batch_statistics, without_statistics])
def test_a_model_that_normalizes_over_its_batch_is_refused_by_all(made) -> None:
    """Its maps would depend on the other pictures of the batch, by a third in the case that was reported."""
    net, sentence = made(), r"each picture by itself; its part 'norm' \(BatchNorm2d, track_running_stats"
    for use in (lambda: saliency(net, pictures(), 0), lambda: occlusion(net, pictures(), 0, window=4)):
        with pytest.raises(ValueError, match=sentence):
            use()
    net.norm.running_mean, net.norm.running_var = torch.zeros(4), torch.ones(4)  # used in eval mode
    assert torch.allclose(saliency(net, pictures(), 0)[:1], saliency(net, pictures()[:1], 0), atol=1e-6)
    net.norm = nn.InstanceNorm2d(4).eval()  # each picture by itself
    assert torch.allclose(saliency(net, pictures(), 0)[:1], saliency(net, pictures()[:1], 0), atol=1e-6)


def test_layers_that_have_not_run_yet_are_refused_and_not_drawn() -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 1), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2)).eval()
    with pytest.raises(ValueError, match=r"all its weights; its part '0' \(LazyConv2d\) has not run"):
        saliency(net, pictures(), 0)
    assert isinstance(net[0].weight, nn.UninitializedParameter)
    net(pictures())
    assert saliency(net, pictures(), 0).shape == (2, 8, 8)


def test_a_network_made_in_inference_mode_gives_the_map_of_one_made_outside() -> None:
    with torch.inference_mode():
        net = Net()
        wrapped = wrap_model(Net(), classes="ab", input_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)
    own = [id(t) for t in (*net.parameters(), *net.buffers())]
    assert torch.equal(saliency(net, pictures(), 1), saliency(Net(), pictures(), 1))
    assert [id(t) for t in (*net.parameters(), *net.buffers())] == own
    assert all(p.is_inference() and p.requires_grad for p in net.parameters())
    plain = wrap_model(Net(), classes="ab", input_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)
    assert torch.equal(saliency(wrapped, pictures(), 1), saliency(plain, pictures(), 1))
