"""Meaningful perturbation and channel attribution."""

from __future__ import annotations

import pytest
import torch
from awkward import build, pictures
from torch import Tensor, nn

from labkit.attribution import channel_attribution, meaningful_perturbation, meaningful_perturbation_result
from labkit.data import MiniBroden
from labkit.models import edit, load_model


class Quarter(nn.Module):
    """The contrast of the top left quarter, against a constant."""

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2] // 2, x.shape[3] // 2
        own = (x[:, :, :h, :w] - 0.5).abs().mean((1, 2, 3))
        return torch.stack([20 * own, 0 * own + 5], 1)


def checkered(side: int) -> Tensor:
    return (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).float().expand(1, 3, side, side)


@pytest.mark.parametrize("mode", ["delete", "preserve"])
@pytest.mark.parametrize("version", [1, 2])
def test_the_mask_lies_on_what_matters(mode: str, version: int) -> None:
    model = Quarter().eval()
    done = meaningful_perturbation_result(model, checkered(64), 0, version=version, mode=mode)
    assert done.map[0, :28, :28].mean() > 0.8
    far = torch.cat([done.map[0, 48:].flatten(), done.map[0, :48, 48:].flatten()])
    assert far.mean() < 0.1
    if mode == "delete":
        assert done.reward < 0.5 * done.whole
    else:
        assert done.reward > 0.8 * done.whole


def test_version_two_is_smoother() -> None:
    model, image = load_model("minivgg"), MiniBroden(3, "test")[0]["image"][None]
    label = int(model(image).argmax())
    one, two = (meaningful_perturbation(model, image, label, version=v, steps=30) for v in (1, 2))
    assert two.diff(dim=1).abs().mean() < 0.5 * one.diff(dim=1).abs().mean()


def test_a_saturated_softmax_is_met_by_the_logit() -> None:
    class Saturated(Quarter):
        def forward(self, x: Tensor) -> Tensor:
            return 50 * super().forward(x)

    done = meaningful_perturbation_result(
        Saturated().eval(), checkered(64), 0, reward="logit", area_weight=1e-2, tv_weight=1.0
    )
    assert done.map[0, :32, :32].mean() > 0.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"version": 3}, "version must be 1 or 2"),
        ({"mode": "dual"}, "mode must be one of"),
        ({"reward": "loss"}, "reward must be one of"),
        ({"area_weight": -1.0}, "area_weight must be"),
        ({"tv_weight": float("nan")}, "tv_weight must be"),
        ({"steps": 0}, "steps must be"),
    ],
)
def test_bad_options_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        meaningful_perturbation(build("functional"), pictures("functional"), 1, **options)


class TwoChannels(nn.Module):
    """Ten channels; class 0 reads channels 3 and 7 only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 1)
        self.fc = nn.Linear(10, 2)
        with torch.no_grad():
            self.stem.weight.fill_(1)
            self.stem.bias.fill_(0)
            self.fc.weight.zero_()
            self.fc.weight[0, [3, 7]] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stem(x).mean((2, 3)))


def test_the_channels_that_are_read_are_found() -> None:
    images = torch.rand(2, 3, 6, 6)
    masks = channel_attribution(TwoChannels().eval(), images, 0, layer="stem", share=0.2)
    assert masks.shape == (2, 10)
    assert (masks[:, [3, 7]] > 0.9).all()
    assert masks.sum(1).tolist() == pytest.approx([2, 2], abs=0.2)


def test_a_tenth_of_the_channels_keeps_more_than_another_tenth() -> None:
    model, data = load_model("minivgg"), MiniBroden(12, "test")
    items = [data[i] for i in range(6)]
    images, labels = torch.stack([i["image"] for i in items]), torch.tensor([i["label"] for i in items])
    masks = channel_attribution(model, images, labels, layer="features.19", share=0.1, steps=60)
    other = masks[:, torch.randperm(masks.shape[1], generator=torch.Generator().manual_seed(0))]

    def own(weights: Tensor) -> Tensor:
        with torch.no_grad(), edit(model, {"features.19": lambda out: out * weights[:, :, None, None]}):
            return model(images).gather(1, labels[:, None])

    assert (own(masks) > own(other)).all()
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"share": 0.0}, ValueError, "share must be a number above 0 and below 1"),
        ({"share": 2}, ValueError, "share must be"),
        ({"layer": "stam"}, KeyError, "nearest"),
        ({"layer": "fc"}, ValueError, "layer must give a feature map"),
    ],
)
def test_channel_attribution_refuses(options: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        channel_attribution(TwoChannels().eval(), torch.rand(1, 3, 6, 6), 0, **{"layer": "stem"} | options)


class Sure(nn.Module):
    """Two classes whose margin falls in a straight line with the contrast of the top left quarter."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2] // 2, x.shape[3] // 2
        own = 2 * (x[:, :, :h, :w] - 0.5).abs().mean((1, 2, 3))
        return torch.stack([self.margin * (own - 0.2), 0 * own], 1)


@pytest.mark.parametrize(("margin", "start"), [(6.0, 0.5), (40.0, 0.75), (2000.0, 0.9)])
def test_the_search_begins_where_the_softmax_is_alive(margin: float, start: float) -> None:
    done = meaningful_perturbation_result(Sure(margin).eval(), checkered(64), 0)
    assert done.start.tolist() == pytest.approx([start])
    assert done.reward < 0.5 * done.whole
    assert done.map[0, :28, :28].mean() > 0.5
    assert done.map[0, 48:].mean() < 0.2
    assert done.alive.all()


class Coarse(nn.Module):
    """Class 0 while the left half is lighter than the right one: only a wide blur takes it."""

    def forward(self, x: Tensor) -> Tensor:
        w = x.shape[3] // 2
        far = x[..., :w].mean((1, 2, 3)) - x[..., w:].mean((1, 2, 3))
        return torch.stack([100 * far - 60, 0 * far], 1)


def test_the_blur_is_doubled_for_the_picture_that_it_does_not_hide() -> None:
    halves = torch.zeros(1, 3, 48, 48)
    halves[..., :24] = 1
    faint = halves * 0.63
    done = meaningful_perturbation_result(Coarse().eval(), torch.cat([halves, faint]), 0, steps=2)
    usual = 48 * 10 / 224
    assert done.sigma[1] == pytest.approx(usual)
    assert done.sigma[0] / usual in (2, 4, 8)
    assert (done.blurred < done.whole / 2).all()
    alone = meaningful_perturbation_result(Coarse().eval(), faint, 0, steps=2)
    assert torch.allclose(alone.map, done.map[1:], atol=1e-6)


def test_a_class_that_no_blur_takes_is_told_and_an_empty_mask_is_said() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            own = x.mean((1, 2, 3))
            return torch.stack([4 * own, -4 * own], 1)

    found = meaningful_perturbation_result(Mean().eval(), torch.rand(1, 3, 32, 32), 0, steps=40)
    assert found.blurred == pytest.approx(float(found.whole), rel=0.02)
    assert found.sigma == pytest.approx(32 * 10 / 224)
    with pytest.warns(RuntimeWarning, match="the mask is empty for 1 of 1 pictures"):
        meaningful_perturbation(Mean().eval(), torch.rand(1, 3, 32, 32), 0, steps=40)
