"""The torch-function mode: a spelling is one call, rules give values and gradients, the graph is walked."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from labkit.models.functions import (
    Call,
    FunctionRules,
    Step,
    as_torch,
    depending,
    refusal,
    steps_between,
)


def picture(*shape: int) -> Tensor:
    x = torch.randn(*(shape or (2, 4, 6, 6)), generator=torch.Generator().manual_seed(0))
    return x.requires_grad_(True)


def calls(function: Callable[[Tensor], Any], x: Tensor | None = None, **options: Any) -> list[Call]:
    """What a mode without rules of its own saw."""
    seen = []

    def note(call: Call, _state: Any) -> Any:
        seen.append(call)
        return call.run()

    x = picture() if x is None else x
    with FunctionRules({}, note, **options):
        function(x)
    return seen


RELUS = {
    "nn.ReLU": nn.ReLU(), "nn.ReLU(inplace)": nn.ReLU(inplace=True), "F.relu": F.relu, "F.relu_": F.relu_,
    "F.relu(inplace)": lambda x: F.relu(x, inplace=True), "F.relu(x, True)": lambda x: F.relu(x, True),
    "F.relu(input=)": lambda x: F.relu(input=x), "torch.relu": torch.relu, "torch.relu_": torch.relu_,
    "torch.relu(input=)": lambda x: torch.relu(input=x), "x.relu()": lambda x: x.relu(),
    "x.relu_()": lambda x: x.relu_(), "Tensor.relu": Tensor.relu, "aten": torch.ops.aten.relu,
    "aten.default": torch.ops.aten.relu.default, "aten_": torch.ops.aten.relu_,
    "aten(self=)": lambda x: torch.ops.aten.relu(self=x),
}  # fmt: skip
IN_PLACE = {"nn.ReLU(inplace)", "F.relu_", "F.relu(inplace)", "F.relu(x, True)", "torch.relu_", "x.relu_()"}
IN_PLACE |= {"aten_"}


@pytest.mark.parametrize("way", RELUS)
def test_every_way_to_write_a_relu_is_one_call(way: str) -> None:
    x = picture()
    before = x * 1
    (call,) = calls(RELUS[way], before)
    assert call.name == "relu"
    assert len(call.args) == 1
    assert call.args[0] is call.reached[0] is before
    assert call.options == {}
    assert (call.into is before) == (way in IN_PLACE)
    assert call.into is None or way in IN_PLACE


@pytest.mark.parametrize("way", RELUS)
def test_a_rule_gives_value_and_gradient_and_is_written_in_place(way: str) -> None:
    x = picture()
    before = x * 1
    with FunctionRules({"relu": lambda call, factor: call.args[0] * factor}, state=3):
        out = RELUS[way](before)
    assert torch.equal(out, 3 * x)
    assert (out is before) == (way in IN_PLACE)
    assert torch.equal(before, 3 * x if way in IN_PLACE else x)
    assert torch.equal(torch.autograd.grad(out.sum(), x)[0], torch.full_like(x, 3))


def test_a_rule_writes_into_a_view() -> None:
    x = picture()
    whole = x * 1
    with FunctionRules({"relu": lambda call, _: call.args[0] * 3}):
        whole[:, 1:3].relu_()
    assert torch.equal(whole[:, 1:3], 3 * x[:, 1:3])
    assert torch.equal(whole[:, 3:], x[:, 3:])
    assert torch.autograd.grad(whole.sum(), x)[0][0, :, 0, 0].tolist() == [1, 3, 3, 1]


@pytest.mark.parametrize(
    ("function", "name", "args", "options"),
    [
        (lambda x: F.hardtanh(x, 0, 6), "hardtanh", 1, {"min_val": 0, "max_val": 6}),
        (lambda x: F.hardtanh_(x, 0, 6), "hardtanh", 3, {}),
        (lambda x: torch.amax(x, axis=1), "amax", 1, {"dim": 1}),
        (lambda x: torch.mul(input=x, other=2), "mul", 2, {}),
        (lambda x: torch.mul(x, other=2), "mul", 2, {}),
        (lambda x: torch.bmm(input=x[0], mat2=x[0]), "bmm", 2, {}),
        (lambda x: torch.where(condition=x > 0, input=x, other=-x), "where", 2, {"condition": ...}),
        (lambda x: F.conv2d(x, weight=torch.ones(1, 4, 1, 1)), "conv2d", 1, {"weight": ...}),
        (lambda x: F.leaky_relu(x, 0.1, True), "leaky_relu", 1, {"negative_slope": 0.1}),
    ],
)
def test_what_was_given_is_told_in_one_form(function: Callable, name: str, args: int, options: dict) -> None:
    call = calls(function, picture() * 1)[-1]
    assert call.name == name
    assert len(call.args) == args
    assert depending(call.args[0])
    assert set(call.options) == set(options)
    assert all(call.options[key] == value for key, value in options.items() if value is not ...)


def test_a_parameter_is_found_by_name_and_by_place() -> None:
    for function in (lambda x: F.hardtanh(x, 0, max_val=6), lambda x: torch.ops.aten.hardtanh(x, 0, 6)):
        (call,) = calls(function)
        assert [call.get("min_val", 1), call.get("max_val", 2), call.get("more", 7, "preset")] == [
            0,
            6,
            "preset",
        ]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: 2 - x, "sub"), (lambda x: torch.rsub(x, 2), "sub"), (lambda x: 2 / x, "div"),
        (lambda x: torch.rsub(input=x, other=2), "sub"), (lambda x: 2**x, "pow"),
    ],
)  # fmt: skip
def test_operands_stand_in_the_order_of_the_formula(function: Callable, name: str) -> None:
    x = picture()
    (call,) = calls(function, x)
    assert call.name == name
    assert call.args[0] == 2
    assert call.args[1] is x
    y = torch.rand_like(x)
    assert torch.equal(call.unary()(y), function(y))


def attention(x: Tensor) -> Any:
    x, square = x.flatten(2), torch.rand(36, 36)
    stacked, none = torch.rand(108, 36), None
    return F.multi_head_attention_forward(x, x, x, 36, 4, stacked, none, none, none, False, 0.0, square, none)


def gate(x: Tensor) -> Tensor:
    return x * x.mean((2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (attention, ["flatten", "multi_head_attention_forward"]),
        (lambda x: F.max_pool2d(x, 2), ["max_pool2d"]),
        (lambda x: F.max_pool2d(x, 2, return_indices=True), ["max_pool2d"]),
        (nn.AdaptiveMaxPool2d(2, return_indices=True), ["adaptive_max_pool2d"]),
        (F.relu6, ["relu6"]), (nn.ReLU6(), ["hardtanh"]), (nn.Hardtanh(), ["hardtanh"]),
        (lambda x: F.softmin(x, 1), ["softmin"]), (lambda x: F.softmax(x, 1), ["softmax"]),
        (nn.Threshold(0, 0), ["threshold"]), (F.instance_norm, ["instance_norm"]),
        (nn.AdaptiveAvgPool2d(1), ["adaptive_avg_pool2d"]), (lambda x: F.lp_pool2d(x, 2, 2), ["lp_pool2d"]),
        (F.normalize, ["normalize"]), (nn.BatchNorm2d(4).eval(), ["dim", "batch_norm"]),
        (gate, ["mean", "sigmoid", "mul"]), (lambda x: x.split(2, 1), ["split"]),
    ],
)  # fmt: skip
def test_a_function_is_seen_once_whatever_it_calls(function: Callable, names: list[str]) -> None:
    assert [call.name for call in calls(function)] == names


def test_what_a_rule_calls_is_plain_unless_it_says_otherwise() -> None:
    def within(call: Call, _state: Any) -> Any:
        with rules:
            return F.relu(call.args[0])

    def without(call: Call, _state: Any) -> Any:
        return F.relu(call.args[0])

    x = picture()
    rules = FunctionRules({"relu": lambda call, _: 3 * call.args[0], "softplus": within, "gelu": without})
    with rules:
        assert torch.equal(F.softplus(x), 3 * x)
        assert torch.equal(F.gelu(x), x.clamp(min=0))


def test_only_what_depends_on_the_picture_follows_a_rule() -> None:
    x, weight = picture(), torch.randn(2, 4, 6, 6)
    zero = {"relu": lambda call, _: 0 * call.args[0]}
    with FunctionRules(zero):
        assert torch.equal(F.relu(weight), weight.clamp(min=0))
        assert not F.relu(x).any()
        assert torch.equal(F.relu(x.detach()), x.clamp(min=0))
        with torch.no_grad():
            assert torch.equal(F.relu(x), x.clamp(min=0))
            assert torch.equal((x * 1).relu_(), x.clamp(min=0))
    with FunctionRules(zero, every=True), torch.no_grad():
        assert not F.relu(weight).any()


def test_under_no_grad_nothing_depends() -> None:
    def forward(x: Tensor) -> None:
        with torch.no_grad():
            x.relu()

    assert calls(forward) == []
    (call,) = (call for call in calls(forward, every=True) if call.name == "relu")
    assert call.reached == []


@pytest.mark.parametrize("shape", [(2, 4, 6, 6), (0,)])
def test_out_is_a_way_to_write(shape: tuple[int, ...]) -> None:
    """torch itself writes no result with a gradient by out=; here it goes the same way as any other."""
    x, kept = picture(), torch.empty(shape)
    with pytest.raises(RuntimeError, match="out="):
        torch.mul(x, 2, out=torch.empty_like(x))
    with FunctionRules({"exp": lambda call, _: 3 * call.args[0]}):
        assert torch.mul(x, 2, out=kept) is kept
        other = torch.exp(x, out=torch.empty(shape))
    assert torch.equal(kept, 2 * x)
    assert torch.equal(other, 3 * x)
    assert torch.equal(torch.autograd.grad((kept + other).sum(), x)[0], torch.full_like(x, 5))
    (call,) = calls(lambda x: torch.mul(x, 2, out=kept), x)
    assert call.into is kept
    assert call.options == {}


def test_a_function_of_the_one_tensor_leaves_it_and_keeps_nothing() -> None:
    x = picture()
    for function in (
        lambda x: F.leaky_relu(x, 0.1, True),
        lambda x: x.tanh_(),
        lambda x: torch.pow(input=x, exponent=2),
    ):
        (call,) = calls(function, x * 1)
        y = torch.rand(3, 5)
        before = y.clone()
        assert torch.equal(call.unary()(y), function(y.clone()))
        assert torch.equal(y, before)
    of, gone = call.unary(), weakref.ref(call)
    del call
    gc.collect()
    assert gone() is None
    assert torch.equal(of(y), y**2)


def test_a_tensor_by_keyword_is_exchanged_too() -> None:
    weight = picture(1)
    (call,) = calls(lambda w: F.prelu(torch.ones(2, 1), weight=w), weight)
    assert torch.equal(call.unary()(torch.zeros(1)), F.prelu(torch.ones(2, 1), torch.zeros(1)))


def test_an_exception_leaves_no_mode_behind() -> None:
    refuse = refusal("be plain", "saliency, which needs no rule")
    with (
        pytest.raises(
            ValueError, match=r"the model must be plain; got a tanh\. Use labkit\.attribution\.saliency"
        ),
        FunctionRules({"tanh": lambda *_: refuse("a tanh")}),
    ):
        picture().tanh()
    assert not _get_current_function_mode_stack()
    assert picture().tanh().any()


def test_the_graph_is_walked_under_canonical_names() -> None:
    x = picture()
    steps = steps_between(F.leaky_relu(x * 2).sum() * x.exp().sum())
    assert [(s.name, s.title) for s in steps if s.name == "leaky_relu"] == [("leaky_relu", "LeakyRelu")]
    assert sorted(s.name for s in steps if "Accumulate" not in s.title) == [
        "exp", "leaky_relu", "mul", "mul", "sum", "sum",
    ]  # fmt: skip
    assert len(steps[0].parents) == 2
    assert steps_between(x.detach()) == steps_between([]) == []


def test_the_walk_stops_where_it_is_told() -> None:
    x = picture()
    features = x.exp()
    outputs = (features.relu() + x.sin().tanh()).sum()
    assert {"exp", "relu", "sin"} <= {s.name for s in steps_between(outputs)}
    below = {s.name for s in steps_between(outputs, features)}
    assert "exp" not in below
    assert {"relu", "sin"} <= below
    above = {s.name for s in steps_between(outputs, ends="Tanh")}
    assert "tanh" in above
    assert "sin" not in above


def test_what_was_overwritten_is_no_step() -> None:
    x = picture()
    y = x.exp()
    y.copy_(x.sin())
    assert {s.name for s in steps_between(y)} >= {"sin"}
    assert "exp" not in {s.name for s in steps_between(y)}


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


def test_the_graph_shows_what_no_function_call_did() -> None:
    x = picture()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated, and still met
        scripted = torch.jit.script(nn.ReLU())
    assert calls(scripted, x) == []
    assert "relu" in {s.name for s in steps_between(scripted(x))}
    assert [s.title for s in steps_between(Own.apply(x)) if s.is_own] == ["Own"]
    hooked = nn.ReLU()
    hooked.register_full_backward_hook(lambda *_: None)
    assert not any(s.is_own for s in steps_between(hooked(x)))
    titles = {"ScaledDotProductFlashAttentionForCpu", "CudnnRnn", "CompiledGraph", "Relu"}
    assert {t for t in titles if Step(None, t, t, []).hides} == titles - {"Relu"}


def test_as_torch_is_no_rule_at_all() -> None:
    x = picture()
    with FunctionRules({"relu": as_torch}):
        assert torch.equal(x.relu(), x.clamp(min=0))


def test_rules_hold_on_the_way_back_where_something_runs_again() -> None:
    ran = []

    def doubled(call: Call, _state: Any) -> Any:
        ran.append(call.name)
        return 2 * call.args[0].exp()

    x = picture()
    rules = FunctionRules({"sin": doubled})
    with rules:
        y = checkpoint(lambda t: t.sin(), x, use_reentrant=False)
    (slope,) = rules.grad(y.sum(), x, retain_graph=True)
    assert torch.allclose(slope, 2 * x.exp())
    assert ran == ["sin", "sin"]
    assert not _get_current_function_mode_stack()
    (three,) = rules.grad([y * 1, x * 2], x, [torch.ones_like(y), torch.ones_like(x)], retain_graph=True)
    assert torch.allclose(three, 2 * x.exp() + 2)
    assert rules.grad(y.sum(), picture(), allow_unused=True) == (None,)
