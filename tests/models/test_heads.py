"""Heads: the last feature map however it is pooled, CAM's weights whatever is picked, and the refusals."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.models import gap_head, last_spatial, load_model
from labkit.models.heads import trace_head

X = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions, then whatever ``end`` does with the maps, then a linear layer."""

    def __init__(self, end: Callable[[Tensor], Tensor], width: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 3, padding=1)
        self.fc, self.end = nn.Linear(width, 3), end
        self.eval()

    def maps(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(x).relu()))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.end(self.maps(x)))


AVERAGES = {
    "mean": lambda m: m.mean((2, 3)),
    "mean over [-2, -1]": lambda m: torch.mean(m, dim=[-2, -1]),
    "adaptive": lambda m: F.adaptive_avg_pool2d(m, 1).flatten(1),
    "adaptive, squeezed": lambda m: F.adaptive_avg_pool2d(m, (1, 1))[:, :, 0, 0],
    "window": lambda m: F.avg_pool2d(m, 8).view(len(m), -1),
    "keepdim": lambda m: torch.flatten(m.mean((2, 3), keepdim=True), 1),
    "after a single number": lambda m: (m - 0 * m.max()).mean((2, 3)),
    "over one axis, then the other": lambda m: m.mean(3).mean(2),
    "viewed": lambda m: m.view(len(m), 5, -1).mean(-1),
    "flattened": lambda m: m.flatten(2).mean(2),
    "as tokens": lambda m: m.flatten(2).transpose(1, 2).mean(1),
    "dropout": lambda m: F.dropout(F.adaptive_avg_pool2d(m, 1).squeeze(), 0.5, False),
}
OTHERS = {
    "flatten": (lambda m: m.flatten(1), 320),
    "view": (lambda m: m.view(len(m), -1), 320),
    "reshape": (lambda m: torch.reshape(m, (len(m), -1)), 320),
    "amax": (lambda m: m.amax((2, 3)), 5),
    "mean and largest": (lambda m: torch.cat([m.mean((2, 3)), m.amax((2, 3))], 1), 10),
    "its own weights": (lambda m: (m.flatten(2) * m.mean(1).flatten(1).softmax(1)[:, None]).sum(2), 5),
    "a product with its weights": (
        lambda m: torch.bmm(m.flatten(2), m.mean(1).flatten(1).softmax(1)[..., None])[..., 0],
        5,
    ),
    "one place": (lambda m: m[:, :, 3, 4], 5),
    "max pooling": (lambda m: F.adaptive_max_pool2d(m, 1).flatten(1), 5),
}


@pytest.mark.parametrize("end", [*AVERAGES, *OTHERS])
def test_the_last_spatial_tensor_is_found_in_the_graph(end: str) -> None:
    net = Net(AVERAGES[end]) if end in AVERAGES else Net(*OTHERS[end])
    head = trace_head(net, X)
    assert torch.equal(head.features, net.maps(X))
    assert torch.equal(head.outputs, net(X))
    assert torch.autograd.grad(head.outputs.sum(), head.features)[0].abs().sum() > 0
    assert torch.equal(last_spatial(net, X), head.features)


def test_a_traced_run_is_gone_with_its_head() -> None:
    """No circle keeps the activations until the next garbage collection."""
    gc.disable()
    try:
        head = trace_head(Net(AVERAGES["mean"]), X)
        gone = weakref.ref(head.features)
        del head
        assert gone() is None
    finally:
        gc.enable()


def test_a_pooling_within_a_gate_is_not_the_last() -> None:
    """Squeeze-and-excitation pools on the way; the maps after the gate are meant."""
    net = Net(lambda m: (m * torch.sigmoid(m.mean((2, 3), keepdim=True))).mean((2, 3)))
    maps = net.maps(X)
    gated = maps * torch.sigmoid(maps.mean((2, 3), keepdim=True))
    assert torch.equal(last_spatial(net, X), gated)
    assert gap_head(net, X).weight is net.fc.weight


class Ends(Net):
    """The same maps, and what ``heads`` makes of them and of the whole network's own layers."""

    def __init__(self, end: Callable[[Ends, Tensor], Tensor], width: int = 5) -> None:
        super().__init__(lambda m: m, width)
        self.look, self.turn, self.query = nn.Conv2d(5, 1, 1), nn.Linear(5, 5), nn.Conv2d(5, 5, 3, padding=1)
        self.attend, self.whole = nn.MultiheadAttention(5, 1, batch_first=True), nn.Conv2d(5, 3, 8)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 5, 1), nn.Sigmoid())
        self.finish = end
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(self, self.maps(x))


def attention_pool(n: Ends, m: Tensor) -> Tensor:
    tokens = m.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
    return n.fc(n.attend(tokens[:, :1], tokens, tokens, need_weights=False)[0][:, 0])


ON_THE_MAPS: dict[str, Callable[[Ends, Tensor], Tensor]] = {
    "weights looked up by a convolution": lambda n, m: n.fc(
        (m.flatten(2) * n.look(m).flatten(2).softmax(-1)).sum(-1)
    ),
    "attention with one query": attention_pool,
    "a convolution as large as the map": lambda n, m: n.whole(m).flatten(1),
    "a gate on what was pooled": lambda n, m: n.fc(m.mean((2, 3)) * n.squeeze(m)[:, :, 0, 0]),
    "a pooling written as a window": lambda n, m: n.fc(F.max_pool2d(m, 8).view(len(m), -1)),
    "two layers behind": lambda n, m: n.fc(F.relu(n.turn(m.mean((2, 3))))),
    "convolutions on what was pooled": lambda n, m: n.fc(
        F.conv2d(F.adaptive_avg_pool2d(m, 1), n.turn.weight[..., None, None]).flatten(1)
    ),
}


@pytest.mark.parametrize("end", ON_THE_MAPS)
def test_the_last_map_is_found_however_it_is_read(end: str) -> None:
    net = Ends(ON_THE_MAPS[end])
    head = trace_head(net, X)
    assert head.axis == 1
    assert torch.allclose(head.features, net.maps(X))
    assert torch.autograd.grad(head.outputs.sum(), head.features)[0].abs().sum() > 0


def test_a_map_behind_a_gate_is_the_last_however_it_is_averaged() -> None:
    for pool in list(AVERAGES.values())[:-1]:
        net = Ends(lambda n, m, pool=pool: n.fc(pool(F.relu(n.query(m * n.squeeze(m))))))
        maps = net.maps(X)
        assert torch.allclose(last_spatial(net, X), F.relu(net.query(maps * net.squeeze(maps))))


@pytest.mark.parametrize(
    "mean", [lambda m: m.mean((1, 2)), lambda m: m.flatten(1, 2).mean(1), lambda m: m.mean(1).mean(1)]
)
def test_channels_may_lie_last(mean: Callable[[Tensor], Tensor]) -> None:
    net = Ends(lambda n, m: n.fc(mean(F.gelu(n.turn(m.permute(0, 2, 3, 1))))))
    maps = F.gelu(net.turn(net.maps(X).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    head = gap_head(net, X)
    assert torch.allclose(last_spatial(net, X), maps)
    assert torch.allclose(head.features, maps)
    assert head.weight is net.fc.weight


def test_the_way_back_begins_anew_where_it_ends() -> None:
    """A frozen backbone, as in transfer learning: the gradient of the head is all there is to know."""
    for cut in (lambda n, m: m.detach(), lambda n, m: m.detach().relu_()):
        net = Ends(lambda n, m, cut=cut: n.fc(cut(n, m).mean((2, 3))))
        head = trace_head(net, X.clone().requires_grad_(True))
        slope = torch.autograd.grad(head.outputs[:, 1].sum(), head.features)[0]
        assert torch.allclose(slope, (net.fc.weight[1] / 64)[None, :, None, None].expand_as(slope))


def test_of_several_outputs_the_target_says_which_is_meant() -> None:
    net = Ends(lambda n, m: {"hidden": [m, n.query(m)], "logits": n.fc(F.relu(n.query(m)).mean((2, 3)))})
    maps = net.maps(X)
    head = trace_head(net, X, lambda out: out["logits"][:, 1])
    assert torch.allclose(head.features, F.relu(net.query(maps)))
    with pytest.raises(ValueError, match=r"what it gives, \(2, 5, 8, 8\), is a map itself.*layer="):
        trace_head(net, X, lambda out: out["hidden"][1].mean((1, 2, 3)))
    with pytest.raises(ValueError, match=r"the model gives a dict.*outputs\[0\]"):
        gap_head(net, X)


REFUSED = {
    "a map of one place, by a stride": (
        lambda n, m: n.fc(F.relu(F.conv2d(F.max_pool2d(m, 4), n.query.weight, None, 2, 1)).mean((2, 3))),
        r"pictures of \(16, 16\) pixels the last map has a single place.*larger pictures.*",
    ),
    "a map of one place, worked on": (
        lambda n, m: n.fc(n.query(F.max_pool2d(m, 8)).flatten(1)), "single place.*the last with more.*'conv2'"
    ),
    "maps of two sizes": (
        lambda n, m: n.fc(m.mean((2, 3)) + n.query(F.max_pool2d(m, 2)).mean((2, 3))),
        "maps of several sizes meet in it.*16 places.*64",
    ),
    "tokens": (lambda n, m: n.fc(n.turn(m.flatten(2).transpose(1, 2))[:, 0]), "tokens.*vision transformer"),
    "a map": (lambda n, m: m, r"\(2, 5, 8, 8\), is a map itself"),
    "nothing of the picture": (lambda n, m: n.fc(torch.ones(2, 5)), "do not come of the picture"),
}  # fmt: skip


@pytest.mark.parametrize("end", REFUSED)
def test_no_other_layer_answers_in_place_of_the_last(end: str) -> None:
    function, sentence = REFUSED[end]
    with pytest.raises(ValueError, match=f"no spatial feature map before its head.*{sentence}"):
        last_spatial(Ends(function), X)


def test_a_scripted_model_is_refused_as_such() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated, and still met
        traced = torch.jit.trace(Net(AVERAGES["mean"]), X)
    with pytest.raises(ValueError, match=r"torch\.jit scripted or traced.*as it was before"):
        last_spatial(traced, X)


@pytest.mark.parametrize("end", AVERAGES)
def test_gap_heads_give_the_logits_back(end: str) -> None:
    head = gap_head(Net(AVERAGES[end]), X)
    assert head.weight is not None
    logits = head.features.mean((2, 3)) @ head.weight.T + Net(AVERAGES[end]).fc.bias
    assert torch.allclose(logits, head.outputs, atol=1e-6)


ORDER = [3, 1, 0, 4, 2]
PICKED: dict[str, tuple[Callable[[Ends, Tensor], Tensor], int]] = {
    "classes": (lambda n, m: n.fc(m.mean((2, 3)))[:, [2, 0]], 2),
    "classes by a slice": (lambda n, m: n.fc(m.mean((2, 3)))[:, 1:], 2),
    "classes by index_select": (lambda n, m: n.fc(m.mean((2, 3))).index_select(1, torch.tensor([2])), 1),
    "features": (lambda n, m: n.fc(m.mean((2, 3))[:, ORDER]), 3),
    "features and classes": (lambda n, m: n.fc(F.adaptive_avg_pool2d(m, 1)[:, ORDER, 0, 0])[:, [1, 1, 0]], 3),
    "class maps": (lambda n, m: m.mean((2, 3))[:, [4, 2]], 2),
    "a convolution as the last layer": (
        lambda n, m: F.conv2d(m.mean((2, 3), True), n.fc.weight[..., None, None], n.fc.bias).flatten(1), 3
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PICKED)
def test_what_is_picked_has_its_own_weights(what: str) -> None:
    net, count = Ends(PICKED[what][0]), PICKED[what][1]
    head = gap_head(net, X)
    assert head.weight.shape == (count, 5)
    offset = net(X) - head.features.mean((2, 3)) @ head.weight.T
    assert torch.allclose(offset[0], offset[1], atol=1e-6)  # the bias alone, the same for every picture
    assert torch.allclose(head.features, net.maps(X))


def test_scores_that_are_no_weighted_means_have_no_cam() -> None:
    with pytest.raises(ValueError, match=r"not weighted means of the last feature map.*grad_cam"):
        gap_head(Ends(lambda n, m: n.fc(F.avg_pool2d(m, 4, 8).flatten(1))), X)
    half = Ends(lambda n, m: n.fc(m[:, :, :4].mean((2, 3))))
    assert torch.equal(gap_head(half, X).features, half.maps(X)[:, :, :4])


@pytest.mark.parametrize("end", OTHERS)
def test_cam_is_not_defined_for_other_heads(end: str) -> None:
    with pytest.raises(ValueError, match="global average pooling and one linear layer.*grad_cam"):
        gap_head(Net(*OTHERS[end]), X)


def test_what_lies_between_pooling_and_scores_is_named() -> None:
    with pytest.raises(ValueError, match="between the pooling and the scores there is relu"):
        gap_head(Net(lambda m: F.relu(m.mean((2, 3)))), X)
    deep = nn.Sequential(Net(AVERAGES["mean"]), nn.Linear(3, 3)).eval()
    with pytest.raises(ValueError, match="between the pooling and the scores there is linear"):
        gap_head(deep, X)


def test_class_maps_have_no_weights_and_average_to_the_logits() -> None:
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    net = squeezenet1_1(weights=None, num_classes=6).eval()
    head = gap_head(net, torch.rand(2, 3, 64, 64))
    assert head.weight is None
    assert head.features.shape[1] == 6
    assert torch.allclose(head.features.mean((2, 3)), head.outputs, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet18", 512), ("densenet121", 1024), ("mobilenet_v2", 1280)]
)
def test_torchvision_heads(name: str, channels: int) -> None:
    from torchvision import models

    torch.manual_seed(0)
    net = models.get_model(name, weights=None, num_classes=4).eval()
    with torch.no_grad():
        head = gap_head(net, torch.rand(1, 3, 64, 64))
    last = net.fc if name == "resnet18" else net.classifier
    last = last if isinstance(last, nn.Linear) else last[-1]
    assert head.features.shape == (1, channels, 2, 2)
    assert head.features.min() >= 0, "the tensor after the last ReLU, not before it"
    assert head.weight is last.weight
    expected = head.features.mean((2, 3)) @ last.weight.T + last.bias
    assert torch.allclose(expected, head.outputs, atol=1e-5)


def test_a_network_without_space_is_refused_with_a_sentence() -> None:
    from torchvision.models import VisionTransformer

    net = VisionTransformer(16, 8, 1, 2, 16, 32, num_classes=3).eval()
    for find in (last_spatial, gap_head):
        with pytest.raises(ValueError, match="no spatial feature map.*vision transformer.*layer="):
            find(net, X)


def test_features_lie_in_the_graph_of_the_outputs() -> None:
    x = torch.rand(1, 3, 64, 64).requires_grad_(True)
    found = gap_head(load_model("minivgg-random"), x)
    slope = torch.autograd.grad(found.outputs[0, 1], found.features)[0]
    torch.testing.assert_close(
        slope * found.features[0, 0].numel(), found.weight[1][None, :, None, None].expand_as(slope)
    )
    net = load_model("minivgg-random")
    assert last_spatial(net, x).requires_grad
