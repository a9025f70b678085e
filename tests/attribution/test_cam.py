"""CAM and Grad-CAM: the identities between them, SqueezeNet's case, Captum, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from awkward import CLASSES, build, pictures
from torch import Tensor, nn

from labkit.attribution import cam, grad_cam
from labkit.data import MiniBroden, item
from labkit.evaluation import area_share, energy_inside
from labkit.models import last_spatial, load_model, unit

GAP = ["functional", "inplace", "reused relu", "batch norm", "class maps", "squeezenet", "resnet",
       "densenet", "mobilenet", "float64"]  # fmt: skip


@pytest.mark.parametrize("name", GAP)
def test_cam_is_grad_cam_for_a_network_with_average_pooling(name: str) -> None:
    """A5: on the tensor that enters the pooling, ReLU(CAM) = h w Grad-CAM."""
    model, images = build(name), pictures(name)
    targets = torch.tensor([1, 4])
    exact = cam(model, images, targets, upsample=False)
    graded = grad_cam(model, images, targets, upsample=False)
    places = exact.shape[1] * exact.shape[2]
    assert places > 1
    assert exact.abs().max() > 0
    assert (exact.relu() - places * graded).abs().max() <= 1e-5 * exact.abs().max()
    signed = grad_cam(model, images, targets, relu=False, upsample=False)
    assert (exact - places * signed).abs().max() <= 1e-5 * exact.abs().max()


def test_the_identity_holds_on_the_bundled_network() -> None:
    model = load_model("minivgg-random")
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    exact, graded = cam(model, images, 3), grad_cam(model, images, 3, relu=False)
    assert (exact - 256 * graded).abs().max() <= 1e-5 * exact.abs().max()
    before_the_relu = grad_cam(model, images, 3, relu=False, layer="features.17")
    assert (exact - 256 * before_the_relu).abs().max() > 1e-2 * exact.abs().max()  # not just any layer


@pytest.mark.parametrize("name", ["functional", "batch norm", "resnet", "mobilenet"])
def test_the_mean_of_cam_plus_the_bias_is_the_logit(name: str) -> None:
    model, images = build(name), pictures(name)
    head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        logits = model(images)
    for target in range(CLASSES):
        means = cam(model, images, target, upsample=False).mean((1, 2)) + head.bias[target].detach()
        assert torch.allclose(means, logits[:, target], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["class maps", "squeezenet"])
def test_where_each_class_has_its_own_channel_cam_averages_to_the_logit(name: str) -> None:
    model, images = build(name), pictures(name)
    with torch.no_grad():
        logits = model(images)
        channels = last_spatial(model, images)
    for target in range(CLASSES):
        maps = cam(model, images, target, upsample=False)
        assert torch.equal(maps, channels[:, target])
        assert torch.allclose(maps.mean((1, 2)), logits[:, target], rtol=1e-5, atol=1e-7)
    targets = torch.tensor([2, 3])
    assert torch.equal(cam(model, images, targets, upsample=False), channels[torch.arange(2), targets])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("flattens", "goes into flatten, not into global average pooling"),
        ("max pools", "goes into amax"),
        ("vgg", "global average pooling"),
        ("transformer", "vision transformer"),
    ],
)
def test_cam_is_refused_without_average_pooling(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        cam(build(name), pictures(name), 0)
    if name != "transformer":
        assert "labkit.attribution.grad_cam" in str(error.value)


def test_cam_is_refused_for_a_head_of_two_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
    ).eval()
    with pytest.raises(ValueError, match=r"between the pooling and the scores there is relu.*grad_cam"):
        cam(model, torch.rand(1, 3, 8, 8), 0)


@pytest.mark.parametrize("target", [lambda out: out[:, 0], unit("conv1", 0)])
def test_cam_explains_classes_only(target: object) -> None:
    with pytest.raises(TypeError, match="only a class has a row of weights"):
        cam(build("functional"), pictures("functional"), target)


def test_maps_are_enlarged_bilinearly_without_corners() -> None:
    model, images = build("functional"), pictures("functional")
    for method in (cam, grad_cam):
        small = method(model, images, 1, upsample=False)
        large = F.interpolate(small[:, None], (32, 32), mode="bilinear", align_corners=False)[:, 0]
        assert torch.equal(method(model, images, 1), large)


def test_grad_cam_by_hand() -> None:
    """A linear network: the gradient of the score by the features is known, the weights are its mean."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(2 * 16, 3)).double().eval()
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    features = model[0](images).detach()
    for target in range(3):
        weights = model[2].weight[target].detach().view(2, 4, 4).mean((1, 2))
        expected = (weights[None, :, None, None] * features).sum(1).relu()
        assert torch.allclose(grad_cam(model, images, target), expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "layer"), [("functional", "conv2"), ("functional", "conv1"), ("resnet", "layer2")]
)
def test_agrees_with_captum(name: str, layer: str) -> None:
    captum = pytest.importorskip("captum.attr")
    model, images = build(name), pictures(name)
    method = captum.LayerGradCam(model, dict(model.named_modules())[layer])
    for relu in (True, False):
        expected = method.attribute(images, target=2, relu_attributions=relu)[:, 0].detach()
        maps = grad_cam(model, images, 2, layer=layer, relu=relu, upsample=False)
        assert torch.allclose(maps, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    assert maps.any()


@pytest.mark.parametrize(
    ("name", "last"),
    [("resnet", "layer4"), ("vgg", "avgpool"), ("mobilenet", "features"), ("inplace", "relu2"),
     ("squeezenet", "classifier.2"), ("flattens", None), ("relu6", None)],
)  # fmt: skip
def test_the_default_layer_is_what_enters_pooling_or_flattening(name: str, last: str | None) -> None:
    model, images = build(name), pictures(name)
    maps = grad_cam(model, images, 1, relu=False)
    if last is not None:
        named = grad_cam(model, images, 1, layer=last, relu=False)
        assert torch.allclose(maps, named, rtol=1e-3, atol=1e-6 * float(named.abs().max()))
    assert maps.shape == (2, *images.shape[2:])


def test_a_layer_is_seen_before_an_inplace_relu() -> None:
    model, images = build("inplace"), pictures("inplace")
    before = grad_cam(model, images, 1, layer="conv2", relu=False)
    model.relu2.inplace = False
    assert torch.allclose(before, grad_cam(model, images, 1, layer="conv2", relu=False))
    assert not torch.allclose(before, grad_cam(model, images, 1, layer="relu2", relu=False))


def test_a_unit_is_explained_from_an_earlier_layer() -> None:
    model, images = build("functional"), pictures("functional")
    maps = grad_cam(model, images, unit("conv2", 3, (2, 2)), layer="conv1", relu=False)
    by_hand = model.conv2(F.relu(features := model.conv1(images)))[:, 3, 2, 2]
    (gradient,) = torch.autograd.grad(by_hand.sum(), features)
    small = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).detach()
    expected = F.interpolate(small, (32, 32), mode="bilinear", align_corners=False)[:, 0]
    assert torch.allclose(maps, expected, atol=1e-7)


class Beside(nn.Module):
    """A layer that runs and does nothing for the answer."""

    def __init__(self, used: nn.Module) -> None:
        super().__init__()
        self.used, self.unused = used, nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        return self.used(x)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"layer": "used.conv3"}, KeyError, r"got 'used\.conv3'.*used\.conv"),
        ({"layer": "used.fc"}, ValueError, r"feature map \(N, K, h, w\).*\(2, 5\)"),
        ({"layer": "unused"}, ValueError, "'unused' has none.*earlier layer"),
        ({"layer": "used.relu"}, KeyError, "was not recorded"),
        ({"target": lambda out: out[:, 0].detach()}, ValueError, r"last feature map' has none"),
        ({"target": unit("used.conv1", 0), "layer": "used.conv2"}, ValueError, "has none"),
        ({"target": unit("used.conv1", 0)}, ValueError, "layer must be named where the target is a unit"),
    ],
)
def test_grad_cam_refuses_wrong_layers(options: dict, error: type, sentence: str) -> None:
    model = Beside(build("functional")).eval()
    with pytest.raises(error, match=sentence):
        grad_cam(model, pictures("functional"), **{"target": 1, **options})


def test_grad_cam_needs_a_layer_for_a_transformer() -> None:
    model, images = build("transformer"), pictures("transformer")
    with pytest.raises(ValueError, match=r"vision transformer.*layer="):
        grad_cam(model, images, 1)
    assert grad_cam(model, images, 1, layer="conv_proj").shape == (2, 32, 32)


def test_one_pixel_s_class_of_a_segmenter() -> None:
    """Without anything after the features but a 1x1 convolution, a pixel's class asks with that class's
    weights alone: Grad-CAM is the ReLU of its class map, at every place, over the number of places."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1)).double().eval()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    wanted = (net[2](net[:2](images))[:, 3] - net[2].bias[3]).relu() / 64
    found = grad_cam(net, images, lambda outputs: outputs[:, 3, 5, 2], layer="1")
    assert torch.allclose(found, wanted, atol=1e-12)
    assert found.any()


def test_one_pixel_s_class_of_a_trained_segmenter_shows_the_object() -> None:
    """Asked for "object" at one pixel of the object, the map lies on all of it."""
    items = [item(MiniBroden(50, "train").scene(i)) for i in range(50)]
    small = [F.interpolate(i["image"][None], 32, mode="area") for i in items]
    shares = [F.interpolate((i["instance"] == 1)[None, None].float(), 32, mode="area")[0] for i in items]
    x, y = torch.cat(small), torch.cat(shares) > 0.5
    kept = y.flatten(1).sum(1) > 8
    x, y = x[kept], y[kept]
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 24, 5, stride=2, padding=2), nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(24, 2, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net(x[:-10]), y[:-10].long(), weight=torch.tensor([1.0, 5.0])).backward()
        optimizer.step()
    x, y = x[-10:], y[-10:]
    middle = torch.stack([places.nonzero()[len(places.nonzero()) // 2] for places in y])
    each = torch.arange(len(y))
    maps = grad_cam(net.eval(), x, lambda outputs: outputs[each, 1, middle[:, 0], middle[:, 1]], layer="3")
    gain = (energy_inside(maps, y) / area_share(y)).nan_to_num(0.0)
    assert gain.mean() > 2


def by_hand(model: nn.Module, features: Tensor, head: Callable[[Tensor], Tensor], target: int) -> Tensor:
    features = features.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(head(features)[:, target].sum(), features)
    return (slope.mean((2, 3), keepdim=True) * features).sum(1).detach()


class Variants(nn.Module):
    """``body`` with channels last or not, under no_grad or not, and a head that reads them so."""

    def __init__(self, last: bool = False, frozen: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.body, self.fc = nn.Conv2d(3, 6, 3, 2), nn.Identity(), nn.Linear(6, 4)
        self.last, self.frozen = last, frozen
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(not self.frozen):
            x = self.conv(x).relu()
            x = self.body(x.permute(0, 2, 3, 1) if self.last else x)
        return self.fc(x.mean((1, 2) if self.last else (2, 3)) ** 2)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_of_a_frozen_backbone_and_of_channels_that_lie_last(last: bool, frozen: bool) -> None:
    model, images = Variants(last, frozen), torch.rand(2, 3, 15, 11)
    features = model.conv(images).relu()
    wanted = by_hand(model, features, lambda f: model.fc(f.mean((2, 3)) ** 2), 1)
    for layer in (None, "body"):
        found = grad_cam(model, images, 1, layer=layer, relu=False, upsample=False)
        assert found.shape == (2, 7, 5)
        assert torch.allclose(found, wanted, atol=1e-7)
    if frozen:
        with pytest.raises(ValueError, match="'conv' has none"):
            grad_cam(model, images, 1, layer="conv")


def test_a_last_map_of_one_place_is_refused_and_an_earlier_layer_named() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model, images = resnet18(weights=None, num_classes=3).eval(), torch.rand(1, 3, 32, 32)
    for method in (cam, grad_cam):
        with pytest.raises(ValueError, match="the last map has a single place.*the last with more.*'layer3'"):
            method(model, images, 1)
    assert grad_cam(model, images, 1, layer="layer3", upsample=False).shape == (1, 2, 2)


def test_cam_of_some_classes_is_of_those() -> None:
    class Some(Variants):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).relu().mean((2, 3)))[:, [3, 1]]

    model, images = Some(), torch.rand(2, 3, 15, 11)
    for place, row in enumerate([3, 1]):
        means = cam(model, images, place, upsample=False).mean((1, 2)) + model.fc.bias[row].detach()
        assert torch.allclose(means, model(images)[:, place], atol=1e-6)
    with pytest.raises(IndexError, match="from 0 to 1; got 3"):
        cam(model, images, 3)
