"""What a method explains: classes, callables, units; and the sentences for what cannot be explained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from labkit.core.targets import class_indices, is_class, reads_layer, rewarded, select
from labkit.models import pick, scores, unit


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(True), nn.Flatten(), nn.Linear(36, 5)).eval()


X = torch.rand(3, 3, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "target", [2, np.int64(2), torch.tensor(2), torch.tensor([2, 2, 2]), lambda y: y[:, 2]]
)
def test_a_class_in_all_its_spellings(net: nn.Module, target) -> None:
    found = scores(net, X, target)
    assert torch.equal(found, net(X)[:, 2])
    assert found.requires_grad


def test_one_class_a_picture(net: nn.Module) -> None:
    out = net(X)
    expected = torch.stack([out[0, 4], out[1, 0], out[2, 1]])
    assert torch.equal(scores(net, X, torch.tensor([4, 0, 1])), expected)


def test_a_unit_is_a_channel_averaged_or_at_a_place(net: nn.Module) -> None:
    maps = net[0](X)
    assert torch.allclose(scores(net, X, unit("0", 3)), maps[:, 3].mean((1, 2)))
    assert torch.equal(scores(net, X, unit("0", 3, (2, 1))), maps[:, 3, 2, 1])
    assert torch.equal(scores(net, X, unit("3", 1)), net(X)[:, 1])


@pytest.mark.parametrize("target", [5, -1, torch.tensor([0, 5, 0]), torch.tensor([0, -1, 0])])
def test_a_class_out_of_range(net: nn.Module, target) -> None:
    with pytest.raises(IndexError, match=r"from 0 to 4; got (5|-1).*\.classes"):
        scores(net, X, target)


@pytest.mark.parametrize("target", [1.0, True, "zebra", None, [0, 1, 2]])
def test_a_target_of_another_kind(net: nn.Module, target) -> None:
    with pytest.raises(TypeError, match="class index, a tensor of them, a callable.*got"):
        scores(net, X, target)


@pytest.mark.parametrize("target", [torch.zeros(3), torch.tensor([0, 1]), torch.tensor([True, False, True])])
def test_a_tensor_that_holds_no_class_a_picture(net: nn.Module, target) -> None:
    with pytest.raises(ValueError, match=r"one class index a picture, int64 \(3,\)"):
        scores(net, X, target)


@pytest.mark.parametrize("target", [lambda y: y, lambda y: y.sum(), lambda y: 3.0])
def test_a_callable_must_give_one_score_a_picture(net: nn.Module, target) -> None:
    with pytest.raises(ValueError, match=r"one score a picture, shape \(N,\); got"):
        scores(net, X, target)


def test_outputs_without_classes(net: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"\(N, classes\); the model gives \(3, 4, 3, 3\).*callable"):
        pick(net[0](X), 0)
    assert torch.equal(pick(net[0](X), lambda y: y.amax((1, 2, 3))), net[0](X).amax((1, 2, 3)))


def test_wrong_units(net: nn.Module) -> None:
    with pytest.raises(IndexError, match="channel must be.*from 0 to 3; got 4"):
        scores(net, X, unit("0", 4))
    with pytest.raises(IndexError, match=r"place must be.*\(3, 3\).*got \(3, 0\)"):
        scores(net, X, unit("0", 0, (3, 0)))
    with pytest.raises(KeyError, match="nearest"):
        scores(net, X, unit("features.0", 0))
    tokens = nn.Sequential(nn.Flatten(2)).eval()
    with pytest.raises(ValueError, match=r"\(N, C\) or \(N, C, H, W\); got \(3, 3, 9\)"):
        scores(tokens, X, unit("0", 0))


def test_the_target_of_some_pictures() -> None:
    classes = torch.tensor([4, 0, 2])
    assert select(classes, torch.tensor([2, 2, 0])).tolist() == [2, 2, 4]
    one = select(classes, 1)
    assert (one, type(one)) == (0, int)
    for same in (3, torch.tensor(3), unit("0", 1), torch.sum):
        assert select(same, 1) is same
        assert select(same, torch.tensor([0, 0])) is same


def test_kinds_of_targets() -> None:
    for target in (2, np.int64(2), torch.tensor(2), torch.tensor([2, 1])):
        assert is_class(target)
        assert not reads_layer(target)
    assert not is_class(lambda y: y[:, 2])
    assert not is_class(unit("0", 1))
    assert reads_layer(unit("0", 1))


def test_rewards_of_a_class(net: nn.Module) -> None:
    out, classes = net(X), torch.tensor([4, 0, 1])
    own = out.gather(1, classes[:, None])[:, 0]
    rest = out.scatter(1, classes[:, None], float("-inf"))
    for reward, expected in (
        ("logit", own),
        ("probability", out.softmax(1).gather(1, classes[:, None])[:, 0]),
        ("contrastive", own - rest.amax(1)),
    ):
        assert torch.allclose(scores(net, X, rewarded(classes, reward)), expected, atol=1e-6)
    for target in (unit("0", 1), torch.sum):
        assert rewarded(target, "probability") is target
    with pytest.raises(ValueError, match="reward must be one of"):
        rewarded(0, "loss")
    single = nn.Sequential(nn.Flatten(), nn.Linear(27, 1)).eval()
    for reward in ("probability", "contrastive"):
        with pytest.raises(ValueError, match=rf"the {reward} of a class.*\(3, 1\).*sigmoid"):
            scores(single, X, rewarded(0, reward))
    with pytest.raises(IndexError, match="got 7"):
        scores(net, X, rewarded(7, "probability"))


def test_labels_are_named_as_the_caller_named_them() -> None:
    outputs = torch.rand(2, 3)
    for labels, error in ((3, IndexError), ("horse", TypeError), (torch.zeros(2), ValueError)):
        with pytest.raises(error, match="labels") as raised:
            class_indices(outputs, labels, "labels")
        assert "callable" not in str(raised.value)
