"""The list of operations: each once, each one of torch's, and every spelling leads to it."""

from __future__ import annotations

import operator
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.models.operations import ALIASES, OPERATIONS, canonical, operations, spelling

NAMES = [name for text in OPERATIONS.values() for name in text.split()]
OTHERS = [alias for text in ALIASES.values() for alias in text.split()]


def test_each_operation_has_one_place() -> None:
    twice = [name for name, times in Counter([*NAMES, *OTHERS]).items() if times > 1]
    assert not twice
    assert set(ALIASES) <= set(NAMES)
    assert all(canonical(name) == name for name in NAMES)


def test_each_operation_is_one_of_torch() -> None:
    places = (torch, F, Tensor, torch.special, torch.ops.aten, torch._C._nn)
    unknown = [
        name
        for name in [*NAMES, *OTHERS]
        for spellings in [(name, name + "_", f"__{name}__", f"_{name}", f"__i{name}__")]
        if not any(hasattr(place, spelt) for place in places for spelt in spellings)
    ]
    assert not unknown


@pytest.mark.parametrize(
    ("node", "name"),
    [
        (lambda x: F.leaky_relu(x), "leaky_relu"), (lambda x: x.clamp(min=0), "clamp"),
        (lambda x: F.prelu(x, torch.rand(1)), "prelu"), (lambda x: F.rrelu(x, training=True), "rrelu"),
        (lambda x: torch.log1p(x), "log1p"), (lambda x: F.logsigmoid(x), "logsigmoid"),
        (lambda x: F.avg_pool2d(x, 2), "avg_pool2d"), (lambda x: F.hardswish(x), "hardswish"),
        (lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3)), "batch_norm"),
        (lambda x: F.conv2d(x, torch.rand(1, 3, 1, 1)), "convolution"), (lambda x: F.glu(x, 2), "glu"),
        (lambda x: F.linear(x[:, :, 0, 0], torch.rand(2, 3), torch.rand(2)), "addmm"),
    ],
)  # fmt: skip
def test_autograd_spells_it_otherwise(node: object, name: str) -> None:
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    title = node(x).grad_fn.name().rstrip("0123456789").removesuffix("Backward")
    assert title != name
    assert canonical(title) == name


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Tensor.relu_, ("relu", True, False)), (torch.relu, ("relu", False, False)),
        (Tensor.__rsub__, ("sub", False, True)), (torch.rsub, ("sub", False, True)),
        (Tensor.__rpow__, ("pow", False, True)), (Tensor.__rdiv__, ("div", False, True)),
        (Tensor.__imul__, ("mul", True, False)), (Tensor.__iadd__, ("add", True, False)),
        (Tensor.__getitem__, ("getitem", False, False)), (Tensor.__setitem__, ("setitem", False, False)),
        (Tensor.__invert__, ("invert", False, False)), (Tensor.__rand__, ("rand", False, False)),
        (torch.ops.aten.relu.default, ("relu", False, False)), (F.threshold, ("threshold", False, False)),
        (torch.ops.aten.add_.Tensor, ("add", True, False)), (torch.special.expit, ("sigmoid", False, False)),
        (F.max_pool2d_with_indices, ("max_pool2d", False, False)), (operator.neg, ("neg", False, False)),
        (torch.linalg.matmul, ("matmul", False, False)), (torch.clip_, ("clamp", True, False)),
        (torch.concat, ("cat", False, False)), (torch.fft.fft, ("fft_fft", False, False)),
    ],
)  # fmt: skip
def test_a_function_says_what_it_is(function: object, expected: tuple) -> None:
    assert spelling(function) == expected


def test_kinds_add_up_and_a_wrong_one_is_no_kind() -> None:
    assert operations("relu", "gate") == {"relu", "relu6", "hardtanh", "glu"}
    with pytest.raises(KeyError, match="relus"):
        operations("relus")
