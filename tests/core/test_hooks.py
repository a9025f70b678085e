"""Borrowing a model and giving it back; recording and editing layers; one lock per model."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.core.hooks import check_model, lock_of
from labkit.models import borrow, edit, record


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
    assert lock_of(net).acquire(blocking=False)
    lock_of(net).release()


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
        free = []
        probe = threading.Thread(target=lambda: free.append(lock_of(net).acquire(blocking=False)))
        probe.start()
        probe.join()
        assert free == [False]
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
    from labkit.core import hooks

    net = Net()
    lock_of(net)
    before = len(hooks._LOCKS)
    del net
    assert len(hooks._LOCKS) < before
