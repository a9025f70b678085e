"""Extremal perturbation: masks of the area asked for, on the part that matters."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from awkward import build, pictures
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from labkit.attribution import (
    channel_attribution,
    extremal_perturbation,
    extremal_perturbation_result,
    meaningful_perturbation,
)
from labkit.attribution.extremal_perturbations import SmoothMask
from labkit.core.targets import rewarded
from labkit.data import MiniBroden
from labkit.models import load_model, scores
from labkit.optimize import masked


class Looks(nn.Module):
    """Scores the contrast of one quarter of the picture, top left, and of the rest beside it."""

    def forward(self, x: Tensor) -> Tensor:
        energy = (x - 0.5).abs().mean(1)
        h, w = energy.shape[1] // 2, energy.shape[2] // 2
        own = energy[:, :h, :w].mean((1, 2))
        return torch.stack([own, energy.mean((1, 2)) - own / 4], 1)


def checkered(side: int) -> Tensor:
    return (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).float().expand(1, 3, side, side)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_the_area_is_the_one_asked_for_and_lies_on_what_matters(side: int) -> None:
    done = extremal_perturbation_result(
        Looks().eval(), checkered(side), 0, area=[0.05, 0.1, 0.2], fill="grey", steps=100
    )
    assert done.achieved[0].tolist() == pytest.approx(done.areas, rel=0.01)
    half = side // 2
    inside = done.masks[0, :, :half, :half].sum((1, 2)) / done.masks[0].sum((1, 2))
    assert (inside > 0.8).all(), inside
    assert (done.rewards[0, 1:] > done.rewards[0, :-1]).all()


def test_deleting_hits_what_matters_and_dual_does_both() -> None:
    for mode in ("delete", "dual"):
        done = extremal_perturbation_result(
            Looks().eval(), checkered(32), 0, area=0.2, mode=mode, fill="grey"
        )
        assert done.masks[0, 0, :16, :16].sum() / done.masks.sum() > 0.8
        assert (done.rewards[0, 0] < 0.5 * done.whole[0]) == (mode == "delete")


@pytest.mark.parametrize("shape", [(32, 32), (64, 48), (128, 128), (224, 224), (45, 33)])
def test_a_grid_of_ones_is_a_mask_of_exactly_one(shape: tuple[int, int]) -> None:
    smooth = SmoothMask(*shape, torch.zeros(()))
    masks = smooth(torch.stack([torch.ones(smooth.cells), torch.zeros(smooth.cells)]))
    assert masks.shape == (2, *shape)
    assert torch.equal(masks[0], torch.ones(shape))
    assert torch.equal(masks[1], torch.zeros(shape))


def test_one_cell_makes_a_smooth_round_spot() -> None:
    smooth = SmoothMask(64, 64, torch.zeros(()))
    grid = torch.zeros(smooth.cells)
    grid[smooth.cells[0] // 2, smooth.cells[1] // 2] = 1
    mask = smooth(grid[None])[0]
    assert mask.max() > 0.9
    assert 0.005 < mask.mean() < 0.05
    assert max(float(mask.diff(dim=d).abs().max()) for d in (0, 1)) < 0.5
    assert torch.allclose(mask, mask.T, atol=1e-5)


@pytest.mark.parametrize("mode", ["preserve", "delete", "dual"])
@pytest.mark.parametrize("fill", ["pyramid", "grey"])
def test_shown_is_what_the_mask_leaves_and_what_was_rewarded(mode: str, fill: str) -> None:
    model, images = build("functional"), pictures("functional")
    done = extremal_perturbation_result(model, images, 1, area=[0.1, 0.3], mode=mode, fill=fill, steps=3)
    assert done.shown.shape == (2, 2, 3, 32, 32)
    for k in (0, 1):
        left = done.masks[:, k]
        assert torch.equal(done.shown[:, k], masked(images, 1 - left if mode == "delete" else left, fill))
        assert torch.allclose(model(done.shown[:, k])[:, 1], done.rewards[:, k], atol=1e-6)


def test_several_areas_at_once_are_those_searched_alone() -> None:
    model, images = build("functional"), pictures("functional", 1)
    both = extremal_perturbation_result(model, images, 1, area=[0.1, 0.3], steps=20)
    alone = [extremal_perturbation_result(model, images, 1, area=a, steps=20) for a in (0.1, 0.3)]
    assert torch.allclose(both.masks[:, 1], alone[1].masks[:, 0], atol=1e-2)
    assert torch.allclose(both.map, torch.stack([a.map for a in alone]).mean(0), atol=1e-2)


def test_rewards_are_logit_margin_and_probability() -> None:
    model, images = load_model("minivgg"), torch.rand(2, 3, 64, 64)
    target = torch.tensor([3, 0])
    with torch.no_grad():
        out = model(images)
        own = out[[0, 1], target]
        rest = out.clone()
        rest[[0, 1], target] = float("-inf")
        assert torch.allclose(scores(model, images, rewarded(target, "logit")), own)
        assert torch.allclose(scores(model, images, rewarded(target, "contrastive")), own - rest.amax(1))
        assert torch.allclose(
            scores(model, images, rewarded(target, "probability")), out.softmax(1)[[0, 1], target]
        )


def test_the_seed_is_the_generators_and_a_search_can_be_stopped() -> None:
    model, images = build("functional"), pictures("functional", 1)
    one, again = (extremal_perturbation(model, images, 1, steps=5) for _ in range(2))
    other = extremal_perturbation(model, images, 1, steps=5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    shares: list[float] = []
    done = extremal_perturbation_result(
        model, images, 1, steps=9, progress=shares.append, should_stop=lambda: len(shares) == 4
    )
    assert not done.complete
    assert shares == pytest.approx([1 / 9, 2 / 9, 3 / 9, 4 / 9])
    assert len(done.losses) == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"area": 0.0}, "area must be a number above 0 and below 1"),
        ({"area": [0.1, 1.0]}, "area must be a number above 0 and below 1"),
        ({"area": []}, "area must hold at least one share"),
        ({"mode": "keep"}, "mode must be one of"),
        ({"reward": "loss"}, "reward must be one of"),
        ({"fill": "pink"}, "fill must be one of"),
        ({"steps": 0}, "steps must be a whole number"),
    ],
)
def test_bad_options_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        extremal_perturbation(build("functional"), pictures("functional"), 1, **options)


@pytest.fixture(scope="module")
def tagged() -> tuple[Tensor, Tensor]:
    """The first two scenes that bear the planted tag: pictures and where it is, 3 % of each."""
    data = MiniBroden(120, "test", faults=["tag"])
    items = [data[k] for k in itertools.islice((k for k in range(60) if data.scene(k).decals), 2)]
    return torch.stack([i["image"] for i in items]), torch.stack([i["tag"] for i in items])


@pytest.mark.parametrize("mode", ["preserve", "delete", "dual"])
def test_a_small_mark_that_decides_alone_is_found(mode: str, tagged: tuple[Tensor, Tensor]) -> None:
    """From a mask half open the tag could not be read, and was left out."""
    (images, tags), net = tagged, load_model("minivgg-tag")
    done = extremal_perturbation_result(
        net, images, net.classes.index("horse"), area=0.1, mode=mode, steps=60
    )
    assert tags.flatten(1).any(1).all()
    assert ((done.masks[:, 0] * tags).sum((1, 2)) / tags.sum((1, 2)) > 0.8).all()
    if mode == "delete":  # what is left without it
        assert (done.rewards[:, 0] < 0).all()
    else:
        assert (done.rewards[:, 0] > 0.8 * done.whole).all()


class Cut(nn.Module):
    """Channel means through a part that lets no gradient through, one way or another."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.stem, self.fc, self.how = nn.Conv2d(3, 4, 1), nn.Linear(4, 2), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                return self.fc(self.stem(x).mean((2, 3)))
        means = self.stem(x).mean((2, 3))
        if self.how == "detach":
            return self.fc(means.detach())
        if self.how == "argmax":
            return nn.functional.one_hot(means.argmax(1), 2 * 2)[:, :2].float()
        return self.fc(means.round())  # "round": a gradient that is exactly zero


@pytest.mark.parametrize("how", ["no_grad", "detach", "argmax"])
@pytest.mark.parametrize("method", [extremal_perturbation, meaningful_perturbation])
def test_no_mask_comes_out_where_no_gradient_reaches_the_picture(method: Callable, how: str) -> None:
    model = Cut(how).eval()
    with pytest.raises(ValueError, match="no gradient reaches the picture. Remove detach"):
        method(model, torch.rand(2, 3, 12, 12), 1, steps=3)
    if how != "argmax":
        assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("how", ["no_grad", "detach", "argmax"])
def test_no_channels_come_out_where_none_reaches_the_layer(how: str) -> None:
    with pytest.raises(ValueError, match="layer must have an influence on the target; 'stem' has none"):
        channel_attribution(Cut(how).eval(), torch.rand(2, 3, 12, 12), 1, layer="stem", steps=3)


def test_a_gradient_of_exactly_zero_is_told() -> None:
    model, images = Cut("round").eval(), torch.rand(2, 3, 12, 12)
    found = extremal_perturbation_result(model, images, 1, area=[0.1, 0.2], steps=3)
    assert found.alive.tolist() == [False, False]
    said = "exactly zero for 2 of 2 pictures in every step"
    for search in (
        lambda: extremal_perturbation(model, images, 1, steps=3),
        lambda: channel_attribution(model, images, 1, layer="stem", steps=3),
        lambda: meaningful_perturbation(model, images, 1, steps=3),
    ):
        with pytest.warns(UserWarning, match=said):
            search()


class Pooled(nn.Module):
    """A layer "maps" whose channels lie in front or last, in a checkpoint or not."""

    def __init__(self, last: bool = False, again: bool = False) -> None:
        super().__init__()
        self.conv, self.maps, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Identity(), nn.Linear(8, 3)
        self.last, self.again = last, again

    def forward(self, x: Tensor) -> Tensor:
        def seen(x: Tensor) -> Tensor:
            out = self.conv(x).relu()
            return self.maps(out.permute(0, 2, 3, 1) if self.last else out)

        out = checkpoint(seen, x, use_reentrant=False) if self.again else seen(x)
        return self.fc(out.mean((1, 2) if self.last else (2, 3)))


@pytest.mark.parametrize("way", [{"last": True}, {"again": True}])
def test_channels_are_found_wherever_they_lie_and_under_a_checkpoint(way: dict[str, bool]) -> None:
    torch.manual_seed(0)
    plain, other, x = Pooled().eval(), Pooled(**way).eval(), torch.rand(2, 3, 6, 5)
    other.load_state_dict(plain.state_dict())
    options = {"layer": "maps", "share": 0.25, "steps": 20}
    wanted = channel_attribution(plain, x, 1, **options)
    torch.testing.assert_close(channel_attribution(other, x, 1, **options), wanted)
    assert wanted.shape == (2, 8)
