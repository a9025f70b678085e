"""What a method explains: classes, callables, units; and the sentences for what cannot be explained."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from labkit.attribution import saliency
from labkit.core.targets import beginnings, class_indices, is_class, reads_layers, rewarded, select
from labkit.models import class_score, direction, pick, scores, unit


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


@pytest.mark.parametrize(
    ("target", "cure"), [("zebra", "model.classes.index('zebra')"), ([0, 1, 2], "torch.tensor([...])")]
)
def test_a_name_or_a_list_is_told_how_to_write_it(net: nn.Module, target, cure: str) -> None:
    with pytest.raises(TypeError) as raised:
        scores(net, X, target)
    assert cure in str(raised.value)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("zebr", "got str. No class is called 'zebr'. The nearest: 'zebra', class 1."),
        ("zebra", "got str. 'zebra' is class 1."),
        (class_score("zebr") - class_score(0), "The nearest: 'zebra', class 1."),
    ],
)
def test_a_class_s_name_is_answered_with_its_number(net: nn.Module, target, told: str) -> None:
    net.classes = ["horse", "zebra", "tank", "fox", "bus"]
    for ask in (scores, saliency):
        with pytest.raises(TypeError) as raised:
            ask(net, X, target)
        assert str(raised.value).endswith(told)
        assert "classes.index" not in str(raised.value)


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
    with pytest.raises(
        IndexError, match="channel must be from 0 to 3; got 4. There are 4 channels in layer '0'"
    ):
        scores(net, X, unit("0", 4))
    with pytest.raises(IndexError, match=r"place must be.*\(3, 3\).*got \(3, 0\)"):
        scores(net, X, unit("0", 0, (3, 0)))
    with pytest.raises(KeyError, match="nearest"):
        scores(net, X, unit("features.0", 0))
    tokens = nn.Sequential(nn.Flatten(2)).eval()
    with pytest.raises(ValueError, match=r"\(N, C\) or \(N, C, H, W\); got \(3, 3, 9\)"):
        scores(tokens, X, unit("0", 0))


def test_a_unit_at_its_largest_place(net: nn.Module) -> None:
    maps = net[0](X)
    found = scores(net, X, unit("0", 3, "max"))
    assert torch.equal(found, maps[:, 3].amax((1, 2)))
    x = X.clone().requires_grad_(True)
    slope = torch.autograd.grad(scores(net, x, unit("0", 3, "max")).sum(), x)[0]
    peak = maps[0, 3].flatten().argmax()
    assert slope[0].abs().sum(0).flatten().nonzero().flatten().tolist() == [int(peak)]
    with pytest.raises(ValueError, match=r"place must be a \(row, column\), 'max' or None.*got 'largest'"):
        unit("0", 3, "largest")  # type: ignore[arg-type]


def test_a_direction_is_an_inner_product_at_a_place(net: nn.Module) -> None:
    maps, vector = net[0](X), torch.tensor([1.0, -2.0, 0.5, 0.0])
    along = (maps * vector.view(4, 1, 1)).sum(1)
    assert torch.allclose(scores(net, X, direction("0", vector)), along.mean((1, 2)))
    assert torch.allclose(scores(net, X, direction("0", vector, "max")), along.amax((1, 2)))
    assert torch.allclose(scores(net, X, direction("0", vector, (2, 1))), along[:, 2, 1])
    assert torch.allclose(
        scores(net, X, direction("3", [1, 0, 2, 0, 0])), net(X) @ torch.tensor([1.0, 0, 2, 0, 0])
    )
    axis = torch.eye(4)[3]
    assert torch.allclose(scores(net, X, direction("0", axis)), scores(net, X, unit("0", 3)))


def test_a_direction_over_a_whole_map_or_flattened_layer(net: nn.Module) -> None:
    whole = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(1))
    expected = (net[0](X) * whole).flatten(1).sum(1)
    assert torch.allclose(scores(net, X, direction("0", whole)), expected)
    flat = scores(net, X, direction("2", whole.clamp(min=0).flatten()))
    assert torch.allclose(flat, (net[1](net[0](X)) * whole.clamp(min=0)).flatten(1).sum(1))


def test_a_direction_keeps_its_own_vector(net: nn.Module) -> None:
    vector = torch.tensor([1.0, 0, 0, 0], requires_grad=True)
    target = direction("0", vector)
    before = scores(net, X, target)
    with torch.no_grad():
        vector.mul_(7)
    assert torch.equal(scores(net, X, target), before)
    assert scores(net.double(), X.double(), target).dtype == torch.float64


def test_wrong_directions(net: nn.Module) -> None:
    for bad in ([0.0, 0.0, 0.0, 0.0], [float("nan"), 1.0]):
        with pytest.raises(ValueError, match="vector must be finite and not all zero"):
            direction("0", bad)
    with pytest.raises(
        ValueError, match=r"vector must have 4 numbers, one a channel, or the shape \(4, 3, 3\)"
    ):
        scores(net, X, direction("0", torch.ones(3)))
    with pytest.raises(ValueError, match=r"the shape \(5,\) of what layer '3' gives.*got \(4,\)"):
        scores(net, X, direction("3", torch.ones(4)))
    with pytest.raises(ValueError, match=r"then without place\); got \(4, 3, 3\)"):
        scores(net, X, direction("0", torch.ones(4, 3, 3), "max"))
    with pytest.raises(IndexError, match=r"place must be.*got \(0, 3\)"):
        scores(net, X, direction("0", torch.ones(4), (0, 3)))


def test_targets_add_subtract_and_scale(net: nn.Module) -> None:
    a, b = unit("0", 1), unit("1", 2, "max")
    s, t = scores(net, X, a), scores(net, X, b)
    out = net(X)
    cases = {
        "a + b": (a + b, s + t),
        "a - b": (a - b, s - t),
        "2 * a": (2 * a, 2 * s),
        "a / 4 - 0.5 * b": (a / 4 - 0.5 * b, s / 4 - 0.5 * t),
        "-(a - 3 * b)": (-(a - 3 * b), 3 * t - s),
        "sum": (sum([a, b, a]), 2 * s + t),
        "classes": (
            class_score(3) - class_score(torch.tensor([0, 1, 2])),
            out[:, 3] - out[range(3), range(3)],
        ),
        "class and unit": (class_score(1) + 2 * a, out[:, 1] + 2 * s),
        "callable": (a - (lambda y: y.sum(1)), s - out.sum(1)),
        "callable first": ((lambda y: y.sum(1)) - a, out.sum(1) - s),
    }
    for name, (target, expected) in cases.items():
        assert torch.allclose(scores(net, X, target), expected), name


def test_a_sum_that_reads_no_layer_is_a_function_of_the_outputs(net: nn.Module) -> None:
    contrast = class_score(3) - 0.5 * class_score(1)
    out = net(X)
    assert not reads_layers(contrast)
    assert torch.allclose(pick(out, contrast), out[:, 3] - 0.5 * out[:, 1])
    assert torch.allclose(contrast(out), out[:, 3] - 0.5 * out[:, 1])
    assert reads_layers(contrast + unit("0", 1))
    assert not reads_layers(2)
    for ask in (lambda: pick(out, contrast + unit("0", 1)), lambda: unit("0", 1)(out)):
        with pytest.raises(TypeError, match="reads the layer '0', which the outputs do not tell"):
            ask()


def test_a_part_of_the_batch_takes_its_own_classes(net: nn.Module) -> None:
    target = unit("0", 1) - 2 * class_score(torch.tensor([4, 0, 1]))
    whole = scores(net, X, target)
    assert torch.allclose(scores(net, X[1:2], target.select(slice(1, 2))), whole[1:2])
    rows = torch.tensor([2, 0, 0])
    assert torch.allclose(scores(net, X[rows], target.select(rows)), whole[rows])
    with pytest.raises(ValueError, match=r"one class index a picture, int64 \(2,\)"):
        scores(net, X[:2], target)


def test_what_is_no_target_is_not_added() -> None:
    with pytest.raises(TypeError, match=r"targets are added to targets; got 3. Write class_score\(3\)"):
        unit("0", 1) + 3
    with pytest.raises(TypeError, match="a target is scaled by a number; got Unit"):
        unit("0", 1) * unit("0", 2)
    with pytest.raises(TypeError, match="scaled by a number; got bool"):
        True * unit("0", 1)


def test_a_layer_in_a_sum_may_be_wrong_too(net: nn.Module) -> None:
    with pytest.raises(KeyError, match="nearest"):
        scores(net, X, class_score(1) + unit("9", 0))
    with pytest.raises(IndexError, match="from 0 to 4; got 5"):
        scores(net, X, class_score(5) + unit("0", 0))


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
        assert not reads_layers(target)
    assert not is_class(lambda y: y[:, 2])
    assert not is_class(unit("0", 1))
    assert reads_layers(unit("0", 1))


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


def test_classes_may_be_numpy_arrays(net: nn.Module) -> None:
    out = net(X)
    classes = np.array([4, 0, 2])
    assert torch.equal(pick(out, classes), pick(out, torch.tensor([4, 0, 2])))
    assert torch.equal(pick(out, np.array(3)), out[:, 3])
    assert select(classes, 0) == 4
    assert select(classes, torch.tensor([2, 2, 0])).tolist() == [2, 2, 4]
    for wrong in (np.array([1.0, 2, 3]), np.array([True, False, True]), np.array([[1], [2], [0]]),
                  np.array(1.7), np.array([1, 2]), torch.tensor(1.7), torch.eye(5)[:3]):  # fmt: skip
        with pytest.raises(ValueError, match=r"one class index a picture, int64 \(3,\)"):
            pick(out, wrong)


def test_a_callable_may_count_and_compare(net: nn.Module) -> None:
    out = net(X)
    for target in (lambda y: y.argmax(1), lambda y: y[:, 1] > 0):
        found = pick(out, target)
        assert found.dtype == torch.float32
        assert torch.equal(found, target(out).float())


Pair = namedtuple("Pair", "logits maps")


class Output:
    def __init__(self, logits: torch.Tensor) -> None:
        self.loss, self.name, self.logits = torch.tensor(0.0), "output", logits


SHAPES = {
    "tuple": (lambda y: (y, y[:2]), lambda out: out[0]),
    "named": (lambda y: Pair(y, [y]), lambda out: out.maps[0]),
    "dictionary": (lambda y: OrderedDict(a=torch.tensor(1.0), b={"c": y}), lambda out: out["b"]["c"]),
    "object": (Output, lambda out: out.logits),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_callable_takes_whatever_the_model_gives(net: nn.Module, shape: str) -> None:
    wrap, of = SHAPES[shape]
    out = net(X)
    assert torch.equal(pick(wrap(out), lambda o: of(o)[:, 2]), out[:, 2])
    for wrong in (lambda o: of(o)[:, 2][:1], lambda o: of(o), lambda o: of(o).sum(), lambda o: 1.0):
        with pytest.raises(ValueError, match="one score a picture"):
            pick(wrap(out), wrong)
    with pytest.raises(ValueError, match=r"\(N, classes\); the model gives (tuple|Pair|OrderedDict|Output)"):
        pick(wrap(out), 2)
    (top, slope), *others = beginnings(wrap(out), lambda o: of(o)[:, 2] ** 2)
    assert top is out
    assert not others
    assert torch.allclose(slope, 2 * out * torch.eye(5)[2])
    assert beginnings(wrap(out), lambda o: of(o)[:, 2].detach()) == []
