"""DeepSHAP sums to the difference on every network, and equals hand calculation, brute force and Captum."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from awkward import LARGE, SMALL, build, pictures
from torch import Tensor, nn

from labkit.attribution import deep_shap, deep_shap_result
from labkit.attribution.deeplift_rules import rescale_rule
from labkit.models import unit
from labkit.optimize.images import filling

DOUBLE = torch.float64


def plain_difference(model: nn.Module, images: Tensor, targets: Tensor, fills: tuple[str, ...]) -> Tensor:
    with torch.no_grad():
        start = torch.stack(
            [model(filling(images, fill)).gather(1, targets[:, None])[:, 0] for fill in fills]
        )
        return model(images.clone()).gather(1, targets[:, None])[:, 0] - start.mean(0)


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_sums_to_the_difference_of_the_scores(name: str) -> None:
    model, images, targets = build(name).double(), pictures(name).double(), torch.tensor([3, 1])
    expected = plain_difference(model, images, targets, ("black", "grey", "blur"))
    done = deep_shap_result(model, images, targets)
    scale = float(done.values.abs().sum((1, 2, 3)).max())
    assert (done.map.sum((1, 2)) - expected).abs().max() <= 1e-9 * scale
    assert (done.difference - expected).abs().max() <= 1e-9 * scale
    assert done.residual.abs().max() <= 1e-9 * scale
    assert torch.equal(done.map, done.values.sum(1))
    assert (expected != 0).any() or name == "dead"


@pytest.mark.parametrize("name", ["squeezenet", "resnet", "densenet"])
def test_sums_in_single_precision(name: str) -> None:
    model, images = build(name), pictures(name)
    done = deep_shap_result(model, images, 2)
    assert (done.residual.abs() <= 1e-5 * done.difference.abs().clamp(min=0.1)).all()


def test_of_a_linear_model_it_is_weight_times_difference() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double().eval()
    images = torch.rand(2, 3, 4, 4, dtype=DOUBLE)
    weights = model[1].weight.detach().view(3, 3, 4, 4)
    done = deep_shap_result(model, images, torch.tensor([2, 0]), baselines=["black", "white", 0.2])
    assert torch.allclose(done.values, weights[[2, 0]] * (images - 0.4))
    assert torch.allclose(done.map, done.values.sum(1))


def test_one_relu_by_hand() -> None:
    """relu(4 p - 2 q - 1): 1 at (1, 0.5 - 0.25), 0 at black, where the input is -1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU()).double().eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[4.0, -2.0]]))
        model[1].bias.fill_(-1.0)
    image = torch.tensor([[[[0.75, 0.5]]]], dtype=DOUBLE)
    # the input goes from -1 to 1 and the output from 0 to 1: half of 4 * 0.75 and of -2 * 0.5
    assert deep_shap(model, image, 0, baselines="black")[0].tolist() == [[1.5, -0.5]]


def best(x: Tensor, kernel: int, stride: int, padding: int, ceil: bool) -> list[tuple[list[int], int, int]]:
    """Each window's places along a line, the place of its maximum, by a loop over the definition."""
    n = len(x)
    count = (n + 2 * padding - kernel + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (count - 1) * stride >= n + padding:
        count -= 1
    found = []
    for i in range(count):
        places = [p for p in range(i * stride - padding, i * stride - padding + kernel) if 0 <= p < n]
        found.append((places, max(places, key=lambda p: float(x[p])), i))
    return found


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil"),
    [(3, 2, 0, False), (3, 2, 1, False), (3, 2, 0, True), (3, 1, 1, False)],
)
def test_overlapping_max_pooling_by_brute_force(kernel: int, stride: int, padding: int, ceil: bool) -> None:
    class Line(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            pooled = F.max_pool1d(x[:, 0, 0][:, None], kernel, stride, padding, ceil_mode=ceil)
            return (pooled[:, 0] * torch.arange(1, pooled.shape[2] + 1)).sum(1, keepdim=True)

    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        x, b = torch.rand(2, 8, generator=generator, dtype=DOUBLE)
        expected = torch.zeros(8, dtype=DOUBLE)
        for (_, p, i), (_, q, _) in zip(
            best(x, kernel, stride, padding, ceil), best(b, kernel, stride, padding, ceil), strict=True
        ):
            # all of a rise goes to the picture's maximum, all of a fall to the baseline's
            expected[p if x[p] > b[q] else q] += (i + 1) * (x[p] - b[q])
        done = deep_shap_result(Line().eval(), x.view(1, 1, 1, 8), 0, baselines=b.view(1, 1, 1, 8))
        assert torch.allclose(done.values.flatten(), expected, atol=1e-12)
        assert done.residual.abs() < 1e-12


@pytest.mark.parametrize(
    "options",
    [{"padding": 1}, {"ceil_mode": True}, {"padding": 1, "ceil_mode": True}, {"dilation": 2}],
    ids=str,
)
@pytest.mark.parametrize("as_module", [False, True])
def test_overlapping_max_pooling_is_exact_within_a_network(options: dict, as_module: bool) -> None:
    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
            self.pool = nn.MaxPool2d(3, 2, **options)

        def down(self, x: Tensor) -> Tensor:
            return self.pool(x) if as_module else F.max_pool2d(x, 3, 2, **options)

        def forward(self, x: Tensor) -> Tensor:
            return self.down(torch.tanh(self.conv2(self.down(F.relu(self.conv1(x)))))).sum((2, 3))

    torch.manual_seed(0)
    model, images = Stem().double().eval(), torch.rand(2, 3, 32, 32, dtype=DOUBLE)
    targets = torch.tensor([0, 3])
    expected = plain_difference(model, images, targets, ("grey",))
    assert expected.abs().min() > 1e-3
    assert torch.allclose(
        deep_shap(model, images, targets, baselines="grey").sum((1, 2)), expected, rtol=1e-10
    )


def test_a_pooling_multiplier_stays_between_0_and_1() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 9, 9, dtype=DOUBLE).requires_grad_(True)
    with rescale_rule(8):
        out = F.max_pool2d(x + 0, 3, 3)
    multiplier = torch.autograd.grad(out[:4].sum(), x)[0][:4]
    assert multiplier.min() >= 0
    assert multiplier.max() <= 1
    assert ((multiplier > 0) & (multiplier < 1)).any()


EXACT: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "relu6": lambda x: F.relu6(x * 9), "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "gelu": F.gelu, "gelu tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "elu": F.elu,
    "leaky relu": lambda x: F.leaky_relu(x, 0.1), "hardtanh": lambda x: F.hardtanh(x, -0.2, 0.3),
    "hardswish": lambda x: F.hardswish(x * 4), "hardsigmoid": F.hardsigmoid, "softplus": F.softplus,
    "mish": F.mish, "selu": F.selu, "clamp": lambda x: x.clamp(-0.1, 0.4), "abs": torch.abs,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.2, 0.3, -0.4, 0.5], dtype=DOUBLE)), "exp": torch.exp,
    "square": lambda x: x**2, "power of": lambda x: 2**x, "log": lambda x: torch.log(x.square() + 0.1),
    "in place": lambda x: F.relu((x * 2).mul_(3), inplace=True), "method in place": lambda x: (x + 0).tanh_(),
    "result ignored": lambda x: (y := x * 1, F.relu(y, inplace=True))[0],
    "view in place": lambda x: (y := x * 1, y[:, 1:3].relu_())[0],
    "x times x": lambda x: x * x, "gate": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "gate in place": lambda x: (x * 1).mul_(x.mean((2, 3), keepdim=True).sigmoid()),
    "reversed": lambda x: 3 * x + (2 - x.relu()) / 5 - torch.rsub(x, 1),
    "quotient": lambda x: x / (1 + x.exp()),
    "one over": lambda x: 1 / (1 + x * x), "divided in place": lambda x: (x * 1).div_(1 + x.abs()),
    "maximum": lambda x: torch.maximum(x, x.flip(1)), "minimum": lambda x: torch.min(x, 0.3 * x.roll(1, 1)),
    "max along": lambda x: x.max(1, keepdim=True).values, "min along": lambda x: x.min(dim=2)[0][..., None],
    "amax": lambda x: x.amax((1, 3), keepdim=True), "amin": lambda x: x.amin((2, 3), keepdim=True),
    "adaptive": lambda x: F.adaptive_max_pool2d(x, 3), "indices": lambda x: F.max_pool2d(
        x, 3, 2, return_indices=True)[0], "softmax": lambda x: (9 * x).softmax(1),
    "log softmax": lambda x: F.log_softmax(9 * x, 1), "softmin": lambda x: F.softmin(x, 1),
    "layer norm": lambda x: F.layer_norm(x, x.shape[2:]), "group norm": lambda x: F.group_norm(x, 2),
    "instance norm": F.instance_norm, "normalize": F.normalize, "glu": lambda x: F.glu(x, 1),
    "attention": lambda x: F.scaled_dot_product_attention(
        x, 2 * x, x.tanh(), is_causal=True), "matmul": lambda x: x.transpose(2, 3) @ x,
    "aten": torch.ops.aten.gelu.default, "special": torch.special.expit,
    "of a number": lambda x: torch.pow(2.0, x),
    "masked": lambda x: F.scaled_dot_product_attention(
        x, x, x, attn_mask=torch.eye(x.shape[2], dtype=torch.bool)),
}  # fmt: skip


class Around(nn.Module):
    """A function between two layers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.function = nn.Conv2d(3, 4, 3), function
        self.weights = nn.Parameter(torch.randn(2, 10_000))

    def forward(self, x: Tensor) -> Tensor:
        x = self.function(self.conv(x)).flatten(1)
        return x @ self.weights[:, : x.shape[1]].T


@pytest.mark.parametrize("name", EXACT)
def test_each_rule_loses_nothing(name: str) -> None:
    model = Around(EXACT[name]).double().eval()
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    expected = plain_difference(model, images, torch.tensor([1, 1]), ("black", "grey", "blur"))
    maps = deep_shap(model, images, 1)
    assert torch.allclose(maps.sum((1, 2)), expected, rtol=1e-8, atol=1e-10)
    assert expected.abs().min() > 1e-4
    # a baseline next to the picture: every rule turns into the gradient, with no noise of tiny quotients
    near = (images[:1] + 1e-9).clamp(max=1)
    done = deep_shap_result(model, images[:1], 1, baselines=near)
    x = images[:1].clone().requires_grad_(True)
    slope = torch.autograd.grad(model(x + 0)[0, 1], x)[0]
    assert torch.allclose(
        done.values / (images[:1] - near), slope, rtol=1e-3, atol=1e-4 * float(slope.abs().max())
    )


@pytest.mark.parametrize("weights", [False, True])
def test_self_attention_is_exact_and_unchanged(weights: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(2)
            mixed, looks = self.attention(x, x, x, need_weights=weights)
            return mixed.mean(1) + (looks.square().sum((1, 2))[:, None] if weights else 0)

    torch.manual_seed(0)
    model, images = Attends().double().eval(), torch.rand(2, 5, 2, 3, dtype=DOUBLE)
    nn.init.normal_(model.attention.in_proj_weight)
    targets = torch.tensor([4, 1])
    expected = plain_difference(model, images, targets, ("black",))
    assert torch.allclose(
        deep_shap(model, images, targets, baselines="black").sum((1, 2)), expected, rtol=1e-9
    )


def test_softmax_by_hand() -> None:
    """Of two classes it is the sigmoid of a difference, so each input gets the sigmoid's quotient."""
    model = nn.Sequential(nn.Flatten(), nn.Softmax(1)).eval()
    image, other = torch.tensor([[[[0.9, 0.2]]]], dtype=DOUBLE), torch.tensor([[[[0.1, 0.3]]]], dtype=DOUBLE)
    quotient = (torch.sigmoid(torch.tensor(0.7)) - torch.sigmoid(torch.tensor(-0.2))) / 0.9
    found = deep_shap(model, image, 0, baselines=other).flatten()
    assert torch.allclose(found, quotient.double() * torch.tensor([0.8, 0.1], dtype=DOUBLE), rtol=1e-6)


def test_equals_captum_on_plain_relus() -> None:
    from captum.attr import DeepLift

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 4),
    ).double().eval()  # fmt: skip
    images = torch.rand(3, 3, 16, 16, dtype=DOUBLE)
    targets = torch.tensor([2, 0, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its hooks
        theirs = [
            DeepLift(model).attribute(images.clone(), torch.full_like(images, fill), target=targets).detach()
            for fill in (0.0, 0.5)
        ]
    ours = deep_shap_result(model, images, targets, baselines=["black", "grey"]).values
    assert torch.allclose(ours, sum(theirs) / 2, rtol=1e-8, atol=1e-12)


def test_baselines_average() -> None:
    model, images = build("inplace").double(), pictures("inplace").double()
    three = [deep_shap(model, images, 1, baselines=fill) for fill in ("black", "grey", "blur")]
    assert torch.allclose(deep_shap(model, images, 1), sum(three) / 3)
    others = pictures("inplace", 3, seed=5).double()
    each = [deep_shap(model, images, 1, baselines=other) for other in others]
    assert torch.allclose(deep_shap(model, images, 1, baselines=others), sum(each) / 3)


def test_a_picture_gets_nothing_from_itself_and_the_blur_sees_black_pixels() -> None:
    model = build("inplace")
    images = pictures("inplace")
    images[:, :, :8, :8] = 0
    assert not deep_shap(model, images, 1, baselines=images[:1])[0].any()
    assert not deep_shap(model, images, 1, baselines="black")[:, :8, :8].any()
    assert deep_shap(model, images, 1)[:, :8, :8].any()


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_batch_size_makes_no_difference(batch_size: int) -> None:
    model, images = build("squeezenet").double(), pictures("squeezenet", 3).double()
    targets = torch.tensor([4, 0, 2])
    expected = deep_shap(model, images, targets)
    assert torch.allclose(
        deep_shap(model, images, targets, batch_size=batch_size), expected, rtol=1e-8, atol=1e-12
    )


@pytest.mark.parametrize(
    "target",
    [
        unit("conv2", 3),
        unit("conv2", 3, (2, 4)),
        lambda out: out.softmax(1)[:, 2],
        lambda out: out[:, 1] - out[:, 2:].amax(1),
        lambda out: out[:, 1] * out[:, 2],
    ],
)
def test_other_targets_sum_too(target: object) -> None:
    done = deep_shap_result(build("inplace").double(), pictures("inplace").double(), target)
    assert (done.difference.abs() > 1e-6).all()
    assert done.residual.abs().max() < 1e-12


def refused(function: Callable[[Tensor], Tensor]) -> str:
    with pytest.raises(ValueError, match="must consist of functions that deep_shap has a rule for") as caught:
        deep_shap(Around(function).eval(), torch.rand(2, 3, 9, 9), 1)
    assert "integrated_gradients" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: x.sort(1).values, "got sort"),
        (lambda x: x.std(1), "got std"),
        (lambda x: torch.einsum("nchw,nkhw->nck", x, x), "einsum of 2 tensors"),
        (lambda x: x.abs() ** x, "pow of 2 tensors"),
        (lambda x: F.conv2d(x, x[:1]), "conv2d of 2 tensors"),
        (lambda x: F.batch_norm(x, None, None, training=True), "batch_norm over the pictures"),
        (lambda x: torch.div(x, 2, rounding_mode="floor"), "got div"),
        (lambda x: x - x.max(), "maximum over the pictures"),
        (lambda x: x.softmax(0), "softmax over the pictures"),
        (lambda x: x.transpose(0, 1).relu().transpose(0, 1)[:, :3], "first axis is not the pictures'.*4, 12"),
        (lambda x: F.normalize(x, p=1), "normalize with p=1"),
        (lambda x: x.flatten(1) @ x.flatten(1)[:2].T, "matmul of"),
        (lambda x: F.max_pool2d(x.flatten(0, 1), 2), "without the axis of pictures"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), "dropout_p"),
    ],
)
def test_refuses_a_function_without_a_rule(function: Callable[[Tensor], Tensor], named: str) -> None:
    assert re.search(named, refused(function), re.DOTALL)


def test_refuses_attention_with_a_mask() -> None:
    attention = nn.MultiheadAttention(7, 1, batch_first=True).eval()
    mask = torch.zeros(7, 7)
    sentence = refused(lambda x: attention(x[:, 0], x[:, 0], x[:, 0], attn_mask=mask)[0])
    assert "multi_head_attention_forward with a mask" in sentence


def test_says_so_where_a_rule_was_missing_unseen() -> None:
    model, images = Around(lambda x: x * (x > 0)).eval(), torch.rand(2, 3, 9, 9)
    with pytest.warns(
        RuntimeWarning, match=r"picture \d misses .* of a difference of .*integrated_gradients"
    ):
        deep_shap(model, images, 1)
    done = deep_shap_result(model, images, 1)  # never warns
    assert done.residual.abs().max() > 1e-2


def test_refuses_a_target_without_gradient() -> None:
    with pytest.raises(ValueError, match=r"target must depend on the picture.*occlusion"):
        deep_shap(build("inplace"), pictures("inplace"), lambda out: out.detach()[:, 0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"baselines": []}, "at least one baseline; got none"),
        ({"baselines": "gray"}, "baselines must be one of .*'grey'"),
        ({"baselines": ["grey", 2.0]}, r"baselines must be a number from 0 to 1; got 2\.0"),
        ({"baselines": torch.rand(2, 3, 8, 8)}, r"baselines must broadcast.*\(3, 8, 8\)"),
        ({"baselines": torch.full((3, 32, 32), 7.0)}, r"baselines must lie within \[0, 1\]"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
    ],
)
def test_refuses_illegal_options(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        deep_shap(build("inplace"), pictures("inplace"), 1, **options)


@pytest.mark.parametrize("name", ["transformer", "squeezenet", "densenet"])
def test_the_rules_do_not_change_what_the_network_computes(name: str) -> None:
    model, images = (
        build(name).double().requires_grad_(False),
        pictures(name, 4).double().requires_grad_(True),
    )
    with rescale_rule(4):
        ours = model(images + 0)
    assert torch.allclose(ours, model(images + 0), rtol=1e-10, atol=1e-12)


def test_what_runs_scripted_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated, and still met
        scripted = torch.jit.script(nn.ReLU())
    net = nn.Sequential(nn.Conv2d(3, 4, 3), scripted, nn.Flatten(), nn.Linear(36, 2)).eval()
    with pytest.raises(ValueError, match="got Relu out of reach in a scripted part.*integrated_gradients"):
        deep_shap(net, torch.rand(1, 3, 5, 5), 0)
