"""Features over many pictures: equal to what record keeps, in any batch, layout, pooling, precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from labkit.models import features, load_model, record
from labkit.models.features import batches


class Counted(nn.Module):
    """Two convolutions through one ReLU, and a head that counts how often it is reached."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3, 2)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(6, 2)
        self.reached = 0

    def forward(self, x: Tensor) -> Tensor:
        try:
            x = self.relu(self.conv2(self.relu(self.conv1(x))))
        except Exception:
            pytest.fail("the model caught what was to end its pass")
        self.reached += 1
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def net() -> Counted:
    return Counted().eval()


PICTURES = np.random.default_rng(0).integers(0, 256, (7, 12, 12, 3), np.uint8)
FLOATS = torch.from_numpy(PICTURES).permute(0, 3, 1, 2).float() / 255


def recorded(net: nn.Module, *layers: str) -> dict[str, Tensor]:
    with torch.no_grad(), record(net, *layers) as kept:
        net(FLOATS.clone())
    return dict(kept)


@pytest.mark.parametrize("layer", ["conv1", "relu:0", "conv2", "relu", "relu:1", "fc"])
def test_a_layer_gives_what_record_keeps(net: Counted, layer: str) -> None:
    """An in-place ReLU after a convolution must not be seen in it, and a call number means that call."""
    found = features(net, PICTURES, layer, batch_size=3)
    assert torch.allclose(found, recorded(net, layer)[layer], atol=1e-6)
    assert not found.requires_grad
    if layer == "conv1":
        assert found.min() < 0


def test_several_layers_come_by_name(net: Counted) -> None:
    names = ["fc", "relu:0", "conv2"]
    found = features(net, PICTURES, names, batch_size=4)
    assert list(found) == names
    assert features(net, PICTURES, ["relu", "conv2"], batch_size=4)["relu"].shape == (7, 6, 4, 4)
    for name, value in recorded(net, *names).items():
        assert torch.allclose(found[name], value, atol=1e-6)
    assert list(features(net, PICTURES, ["fc"])) == ["fc"]


def test_a_pass_ends_at_the_last_layer_asked_for(net: Counted) -> None:
    features(net, PICTURES, ["relu:0", "conv1"], batch_size=2)
    assert net.reached == 1  # the first batch, which shows the order
    features(net, PICTURES, "relu", batch_size=2)
    assert net.reached == 2
    assert not any(module._forward_hooks for module in net.modules())
    assert features(net, PICTURES, "fc", batch_size=2).shape == (7, 2)
    assert net.reached == 6


@pytest.mark.parametrize(
    "pictures",
    [
        torch.from_numpy(PICTURES),
        torch.from_numpy(PICTURES.transpose(0, 3, 1, 2).copy()),
        FLOATS,
        FLOATS.permute(0, 2, 3, 1),
        FLOATS.numpy(),
    ],
    ids=["bytes last", "bytes first", "floats first", "floats last", "array"],
)
def test_pictures_in_all_layouts(net: Counted, pictures: Tensor) -> None:
    before = pictures.copy() if isinstance(pictures, np.ndarray) else pictures.clone()
    assert torch.allclose(features(net, pictures, "conv2"), features(net, PICTURES, "conv2"), atol=1e-6)
    assert (pictures == before).all()


def test_pictures_may_lie_on_the_disk(net: Counted, tmp_path) -> None:
    np.save(tmp_path / "pictures.npy", PICTURES)
    mapped = np.load(tmp_path / "pictures.npy", mmap_mode="r")
    assert torch.equal(features(net, mapped, "conv2"), features(net, PICTURES, "conv2"))


def test_pooling(net: Counted) -> None:
    maps = recorded(net, "conv2")["conv2"]
    assert torch.allclose(features(net, PICTURES, "conv2", pool="mean"), maps.mean((2, 3)), atol=1e-6)
    assert torch.allclose(features(net, PICTURES, "conv2", pool="max"), maps.amax((2, 3)), atol=1e-6)
    assert torch.allclose(
        features(net, PICTURES, "conv2", pool=2), nn.functional.adaptive_avg_pool2d(maps, 2), atol=1e-6
    )
    assert torch.allclose(features(net, PICTURES, "fc", pool="mean"), recorded(net, "fc")["fc"], atol=1e-6)


def test_precision(net: Counted) -> None:
    half = features(net, PICTURES, "conv2", dtype=torch.float16)
    assert half.dtype == torch.float16
    assert torch.allclose(half.float(), features(net, PICTURES, "conv2"), rtol=1e-3, atol=1e-4)
    double = features(net.double(), PICTURES, "conv2", dtype=torch.float64)
    assert torch.allclose(double, recorded_double(net), atol=1e-6)
    assert double.dtype == torch.float64


def recorded_double(net: nn.Module) -> Tensor:
    with torch.no_grad(), record(net, "conv2") as kept:
        net(FLOATS.double())
    return kept["conv2"]


def test_what_half_precision_cannot_hold_is_said(net: Counted) -> None:
    with torch.no_grad():
        net.conv2.weight.mul_(1e7)
    assert features(net, PICTURES, "conv2").abs().max() > 65504
    with pytest.raises(ValueError, match="'conv2' must be finite; in torch.float16 .* Pass dtype="):
        features(net, PICTURES, "conv2", dtype=torch.float16)
    with torch.no_grad():
        net.conv1.bias[0] = float("nan")
    with pytest.raises(ValueError, match="must be finite; in torch.float32 .* Look at its weights"):
        features(net, PICTURES, "conv1")


def test_the_model_is_given_back_after_an_error_too(net: Counted) -> None:
    net.conv1.weight.requires_grad_(False)
    features(net, PICTURES, "conv2", batch_size=3)
    with pytest.raises(KeyError, match="nearest are 'conv"):
        features(net, PICTURES, "conv9")
    assert not any(module._forward_hooks for module in net.modules())
    assert [p.requires_grad for p in net.parameters()].count(False) == 1
    with pytest.raises(RuntimeError, match="eval mode"):
        features(net.train(), PICTURES, "conv2")


class Fickle(nn.Module):
    """Runs its layer twice for the first batch, and for others once; the last one always."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.unused, self.runs = nn.Conv2d(3, 3, 1), nn.Identity(), 0
        self.head = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.head(self.layer(self.layer(x)) if self.runs == 1 else self.layer(x))


def test_a_model_that_changes_its_way_is_refused() -> None:
    for layers in ("layer", ["layer:1", "head"]):
        with pytest.raises(RuntimeError, match="in the same order for every batch"):
            features(Fickle().eval(), PICTURES, layers, batch_size=3)


def test_a_layer_that_does_not_run_is_refused() -> None:
    with pytest.raises(KeyError, match="'unused' did not run"):
        features(Fickle().eval(), PICTURES, "unused")
    with pytest.raises(KeyError, match="'layer:2' did not run .*as often as asked"):
        features(Fickle().eval(), PICTURES, "layer:2")


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.first, self.pair = nn.Flatten(2), nn.Identity(), nn.LSTM(144, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.pair(self.tokens(x))[0][:, 0] + self.first(x[:1]).mean()


def test_what_has_no_row_a_picture_or_no_place_is_refused() -> None:
    net = Rows().eval()
    assert features(net, PICTURES, "tokens").shape == (7, 3, 144)
    with pytest.raises(ValueError, match=r"pool must be None for layer 'tokens', which gives \(7, 3, 144\)"):
        features(net, PICTURES, "tokens", pool="mean")
    with pytest.raises(ValueError, match=r"'first' must give a tensor with a row a picture, \(7, ...\)"):
        features(net, PICTURES, "first")
    with pytest.raises(ValueError, match="'pair' must give a tensor .*; got tuple"):
        features(net, PICTURES, "pair")


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"pool": "median"}, ValueError, "pool must be one of 'mean', 'max'; got 'median'"),
        ({"pool": 0}, ValueError, "pool must be a whole number of at least 1"),
        ({"dtype": torch.int8}, ValueError, "dtype must be torch.float16, float32 or float64"),
        ({"batch_size": 0}, ValueError, "size must be a whole number"),
        ({"layers": []}, ValueError, "layers must name at least one layer"),
        ({"pictures": FLOATS * 2}, ValueError, r"pictures must lie within \[0, 1\]"),
        ({"pictures": PICTURES[0]}, ValueError, r"pictures must have the shape .*got \(12, 12, 3\)"),
        ({"pictures": PICTURES[:0]}, ValueError, "N >= 1"),
        ({"pictures": PICTURES.astype(np.int64)}, TypeError, "must hold floating-point numbers"),
        ({"pictures": [FLOATS[0]]}, TypeError, r"got list. Stack tensors first.*labkit.data.load_photo"),
    ],
)
def test_mistakes_get_a_sentence(net: Counted, given, error, says) -> None:
    with pytest.raises(error, match=says):
        features(net, **{"pictures": PICTURES, "layers": "conv1", **given})


class Eats(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mul_(0))


def test_a_model_that_works_in_place_leaves_the_pictures() -> None:
    images = FLOATS.clone()
    features(Eats().eval(), images, "layer")
    assert torch.equal(images, FLOATS)


def test_progress_is_told(net: Counted) -> None:
    told: list[float] = []
    features(net, PICTURES, "conv1", batch_size=3, progress=told.append)
    assert told == pytest.approx([3 / 7, 6 / 7, 1.0])


def test_batches_read_only_what_is_asked_for() -> None:
    parts = list(batches(PICTURES, 3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(parts), FLOATS)


def test_the_bundled_network_on_its_own_layers() -> None:
    model = load_model("minivgg-random")
    pictures = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), np.uint8)
    found = features(model, pictures, ["features.5", "features.19"], pool="mean", batch_size=2)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "features.5": (5, 48),
        "features.19": (5, 160),
    }
    shown = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        assert torch.allclose(model.classifier(found["features.19"]), model(shown), atol=1e-5)
