"""Activation maximization: linear networks by hand, each option by what it must do, dead units, going on."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from labkit.models import class_score, direction, load_model, scores, unit, wrap_model
from labkit.models.slopes import Slopes
from labkit.optimize import Regularizers, diversity
from labkit.style import invert
from labkit.visualization import RECIPES, visualize, visualize_result

PLAIN = {"space": "pixels", "colours": None, "jitter": 0, "scale": 0.0, "rotation": 0.0, "start": "grey"}
SIDE = 6


def linear(classes: int = 3) -> nn.Module:
    """Scores that are inner products with a picture; in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, classes)).double().eval()


def weight_of(net: nn.Module, row: int = 1) -> Tensor:
    return net[1].weight[row].detach().view(1, 3, SIDE, SIDE)


def unit_size(w: Tensor) -> Tensor:
    return w / w.square().mean().sqrt()


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).double().eval()


# ---- linear networks


def test_l2_leads_to_the_fixed_point() -> None:
    net = linear()
    found = visualize(net, 1, side=SIDE, l2=4.0, rate=0.02, steps=300, **PLAIN)
    assert torch.allclose(found, 0.5 + unit_size(weight_of(net)) / (2 * 4.0), atol=1e-6)


def test_decay_leads_to_its_own_fixed_point() -> None:
    net, rate, share = linear(), 0.01, 0.1
    found = visualize(net, 1, side=SIDE, decay=share, rate=rate, steps=300, **PLAIN)
    wanted = 0.5 + rate * (1 - share) / share * unit_size(weight_of(net))
    assert torch.allclose(found, wanted, atol=1e-6)


def test_without_a_price_pixels_end_at_their_ends() -> None:
    net = linear()
    found = visualize(net, 1, side=SIDE, steps=400, rate=0.5, **PLAIN)
    assert torch.equal(found, (weight_of(net) > 0).double())


def test_a_held_score_leaves_the_picture_nearest_to_grey() -> None:
    net = linear()
    with torch.no_grad():
        w, start = weight_of(net), float(net(torch.full((1, 3, SIDE, SIDE), 0.5).double())[0, 1])
    goal = start + 0.8
    found = visualize_result(net, 1, side=SIDE, l2=4.0, steps=200, hold=goal, **{**PLAIN, "start": "noise"})
    assert found.score == pytest.approx(goal, abs=1e-3)
    assert torch.allclose(found.images, 0.5 + w * 0.8 / w.square().sum(), atol=1e-3)


def test_targets_add_and_scale() -> None:
    net = linear()
    goal = 2 * class_score(1) - class_score(0) + unit("1", 2)
    found = visualize(net, goal, side=SIDE, l2=4.0, rate=0.02, steps=300, **PLAIN)
    w = 2 * weight_of(net, 1) - weight_of(net, 0) + weight_of(net, 2)
    assert torch.allclose(found, 0.5 + unit_size(w) / 8, atol=1e-6)
    along = direction("1", net[1].weight.new_tensor([-1.0, 2.0, 1.0]))
    assert torch.allclose(visualize(net, along, side=SIDE, l2=4.0, rate=0.02, steps=300, **PLAIN), found)


def test_fourier_ascends_what_pixels_ascend() -> None:
    net = linear()
    options = {**PLAIN, "space": "fourier"}
    found = visualize(net, 1, side=SIDE, steps=200, **options)
    away = (found - 0.5).flatten()
    assert torch.cosine_similarity(away, weight_of(net).flatten(), 0) > 0.8
    assert scores(net, found, 1) > scores(net, visualize(net, 1, side=SIDE, steps=2, **options), 1)


# ---- what each option does


def test_regularizers_act_after_each_step() -> None:
    net = linear()
    step = 0.5 + 0.02 * unit_size(weight_of(net))
    four = {"decay": 0.1, "blur": 1.0, "blur_every": 1, "clip_norm": 0.3, "clip_contribution": 0.2}
    found = visualize(net, 1, side=SIDE, steps=1, **PLAIN, **four)
    assert torch.allclose(found, Regularizers(**four)(step, weight_of(net), 0))
    plain = visualize_result(net, 1, side=SIDE, steps=1, **{**PLAIN, "space": "fourier"}, **four)
    assert int((plain.images == 0.5).all(1).sum()) > 0 or (plain.images - 0.5).abs().min() < 1e-6


def test_the_centre_goes_first() -> None:
    net = linear()
    found = visualize(net, 1, side=SIDE, steps=1, centre=0.15, **PLAIN)
    away = (found - 0.5).abs().mean((0, 1)) / weight_of(net).abs().mean((0, 1))
    assert away[2:4, 2:4].min() > 20 * away[0].max()


def test_turns_change_what_is_seen_and_not_what_is_kept() -> None:
    net = small()
    still = visualize_result(net, 2, side=16, steps=3, **PLAIN)
    turned = visualize_result(net, 2, side=16, steps=3, **{**PLAIN, "rotation": 20.0, "jitter": 2})
    assert not torch.allclose(still.images, turned.images)
    for found in (still, turned):
        assert torch.allclose(found.score, scores(net, found.images, 2).detach())


def test_the_mean_is_the_normalization_s() -> None:
    model = load_model("minivgg")
    found = visualize_result(model, 1, side=32, steps=1, every=1, **{**PLAIN, "start": "mean"})
    assert torch.allclose(found.frames[0], model.mean.expand(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r'start="mean" needs a model that carries its mean'):
        visualize(linear(), 1, side=SIDE, **{**PLAIN, "start": "mean"})


def test_diversity_makes_pictures_differ() -> None:
    net, last = small(), "3"

    def alike(weight: float) -> float:
        found = visualize(net, 1, side=16, count=3, steps=30, diversity_weight=weight, diversity_layer=last)
        with torch.no_grad():
            return float(diversity(net[:4](found)))

    assert alike(5.0) < alike(0.0) - 0.01


def test_a_batch_is_its_pictures_and_each_begins_in_its_own_way() -> None:
    net = small()
    both = visualize_result(net, 1, side=16, count=3, steps=8)
    alone = visualize_result(net, 1, side=16, steps=8)
    assert torch.allclose(both.images[:1], alone.images, atol=1e-9)
    assert not torch.allclose(both.images[1], both.images[0], atol=1e-3)
    several = visualize(net, torch.tensor([1, 3]), side=16, steps=8, start="grey")
    assert torch.allclose(several[1:], visualize(net, 3, side=16, steps=8, start="grey"), atol=1e-9)
    other = visualize(net, 1, side=16, steps=8, generator=torch.Generator().manual_seed(5))
    assert not torch.allclose(other, alone.images, atol=1e-2)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_finds_what_the_network_calls_its_class(recipe: str) -> None:
    model = load_model("minivgg")
    with torch.no_grad():
        grey = model(torch.full((1, 3, 64, 64), 0.5)).softmax(1)[0, [0, 5, 11]]
    found = visualize(model, torch.tensor([0, 5, 11]), side=64, steps=40, **RECIPES[recipe])
    with torch.no_grad():
        sure = model(found).softmax(1)[[0, 1, 2], [0, 5, 11]]
    assert (sure > 0.9).all()
    assert (sure > grey).all()


# ---- going on, stopping, watching


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_search_goes_on_as_if_it_had_not_ended(recipe: str) -> None:
    net, options = small(), {"every": 2, **RECIPES[recipe]}
    whole = visualize_result(net, 1, side=16, count=2, steps=8, **options)
    half = visualize_result(net, 1, side=16, count=2, steps=4, **options)
    rest = visualize_result(net, 1, side=16, steps=4, start=half, **options)
    assert torch.allclose(rest.images, whole.images, atol=1e-12)
    assert torch.allclose(rest.scores, whole.scores)
    assert rest.at[-1] == whole.at[-1] == 8


def test_it_stops_when_asked_and_keeps_what_it_has() -> None:
    shares: list[float] = []
    done = visualize_result(
        small(), 1, side=16, steps=50, every=1, progress=shares.append, should_stop=lambda: len(shares) == 3
    )
    assert not done.complete
    assert shares == pytest.approx([0.02, 0.04, 0.06])
    assert len(done.scores) == 3
    assert done.at.tolist() == [0, 1, 2, 3]
    assert torch.equal(done.frames[-1], done.images)
    assert visualize_result(small(), 1, side=16, steps=5, should_stop=lambda: True).scores.shape == (0, 1)


def test_each_frame_is_told() -> None:
    seen: list[tuple] = []
    visualize_result(
        small(), 1, side=16, steps=5, every=2, on_frame=lambda *told: seen.append((told[0], *told[1:]))
    )
    assert [step for step, *_ in seen] == [1, 3, 5]
    assert seen[0][1].shape == (1, 3, 16, 16)
    assert seen[0][2].shape == (1,)


# ---- units that do not fire


class Threshold(nn.Module):
    """Fires where a picture is bright enough, through two ReLUs."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at, self.inner = at, nn.Linear(3, 1, bias=False)
        nn.init.constant_(self.inner.weight, 1 / 3)

    def forward(self, x: Tensor) -> Tensor:
        bright = self.inner(x.mean((2, 3)))
        return torch.relu(torch.relu(bright - self.at) * 2).repeat(1, 2)


def test_a_unit_that_is_off_at_the_start_is_reached_and_it_is_said() -> None:
    net = Threshold(0.6).eval()
    with pytest.warns(UserWarning, match=r"exactly zero for 1 of 1 pictures in up to \d+ steps.*redirected"):
        visualize(net, 1, side=8, steps=40, **PLAIN)
    found = visualize_result(net, 1, side=8, steps=40, **PLAIN)
    assert found.fired.all()
    assert 0 < found.redirected < 20
    assert found.score > 0.3
    assert found.scores[0] == 0


def test_a_silent_unit_goes_the_way_that_it_would_go_before_its_relu() -> None:
    """Behind ReLUs of which some are off, and at a negative slope: the others stay as they are."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    nn.init.constant_(net[2].bias, -100.0)
    made = [visualize_result(net, unit(layer, 1), side=16, steps=8) for layer in ("2", "3")]
    assert made[0].redirected.tolist() == [0]
    assert made[1].redirected.tolist() == [8]
    assert torch.equal(made[0].images, made[1].images)


def test_a_unit_that_never_fires_is_said() -> None:
    with pytest.warns(UserWarning, match="exactly zero for 2 of 2 pictures in every step"):
        visualize(Threshold(2.0).eval(), 1, side=8, steps=5, count=2)
    assert not visualize_result(Threshold(2.0).eval(), 1, side=8, steps=5).fired.any()


def test_a_unit_that_fires_keeps_its_own_gradient() -> None:
    """Of two pictures, one off and one on: the second goes as it would alone, and nothing is said."""
    net = Threshold(0.6).eval()
    bright = torch.full((1, 3, 8, 8), 0.8)
    both = torch.cat([torch.full_like(bright, 0.4), bright])
    found = visualize_result(net, 1, steps=5, **{**PLAIN, "start": both})
    assert found.redirected.tolist() == [5, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = visualize(net, 1, steps=5, **{**PLAIN, "start": bright})
    assert torch.equal(found.images[1:], alone)


# ---- asked soon


@pytest.mark.parametrize("target", [3, unit("features.5", 4), unit("features.19", 7) - class_score(2)])
def test_what_is_asked_soon_is_the_model_s_own(target: object) -> None:
    model = load_model("minivgg")
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_(True)
    wanted = scores(model, x, target)
    gradient = torch.autograd.grad(wanted.sum(), x)[0]
    found = Slopes(model, x.detach(), target, steps=1000)(x)
    assert torch.allclose(found.scores, wanted, rtol=1e-4)
    assert torch.allclose(found.gradient, gradient, atol=1e-4 * float(gradient.abs().max()))


def test_a_unit_s_layer_is_the_last_to_run() -> None:
    class Broken(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Broken.calls += 1
            return x

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Broken(), nn.Flatten(), nn.LazyLinear(2))
    net(torch.zeros(1, 3, 8, 8))
    net.eval()
    before = Broken.calls
    visualize(net, unit("0", 1), side=8, steps=5)
    assert Broken.calls == before + 1  # to see which layer comes last
    visualize(net, unit("0", 1) + class_score(1), side=8, steps=5)
    assert Broken.calls > before + 5


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"side": None}, ValueError, "side must be given"),
        ({"count": 0}, ValueError, "count must be a whole number"),
        ({"space": "wavelets"}, ValueError, "space must be one of 'fourier', 'pixels'"),
        ({"start": "black"}, ValueError, "start must be one of 'noise', 'grey', 'mean'"),
        ({"start": torch.rand(2, 3, 16, 16), "count": 3}, ValueError, "start must be one picture or 3"),
        ({"start": torch.rand(1, 3, 9, 9)}, ValueError, r"of the shape \(3, 16, 16\); got \(1, 3, 9, 9\)"),
        ({"start": 3 * torch.ones(1, 3, 16, 16)}, ValueError, r"start must lie within \[0, 1\]"),
        ({"l2": -1.0}, ValueError, "l2 must be"),
        ({"diversity_weight": float("nan")}, ValueError, "diversity_weight must be"),
        ({"diversity_weight": 1.0}, ValueError, "diversity_layer must name a feature map"),
        ({"diversity_weight": 1.0, "diversity_layer": "9"}, KeyError, "nearest"),
        ({"diversity_weight": 1.0, "diversity_layer": "5"}, ValueError, r"layer must give a feature map"),
        ({"decay": 2.0}, ValueError, "decay must be"),
        ({"blur_every": 0}, ValueError, "blur_every must be"),
        ({"scale": 1.0}, ValueError, "scale must lie below 1"),
        ({"centre": 0.0}, ValueError, "centre must be None or a share"),
        ({"hold": float("inf")}, ValueError, "hold must have low <= high"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"rate": 0.0}, ValueError, "rate must be"),
        ({"target": 9}, IndexError, "got 9"),
        ({"target": unit("0", 99)}, IndexError, "channel must be"),
        ({"target": unit("nowhere", 0)}, KeyError, "nearest"),
        ({"target": "zebra"}, TypeError, "class index"),
        ({"target": torch.tensor([1, 2]), "count": 3}, ValueError, r"int64 \(3,\)"),
        ({"channels": 1}, ValueError, "takes, 3; got 1. Pass channels=3"),
        ({"channels": 2}, ValueError, "takes, 3; got 2"),
    ],
)
def test_bad_arguments_are_refused(options: dict, error: type, sentence: str) -> None:
    given = {"side": 16, "steps": 1, "target": 1} | options
    with pytest.raises(error, match=sentence):
        visualize(small(), given.pop("target"), **given)


def test_a_target_that_no_gradient_leads_to_is_refused() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().mean((2, 3))

    with pytest.raises(ValueError, match="no gradient reaches"):
        visualize(Cut().eval(), 1, side=8, steps=2)


def one_channel() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    nn.init.ones_(net[0].bias)  # they fire
    return net


@pytest.mark.parametrize("space", ["fourier", "pixels"])
def test_one_channel_has_no_colours_and_is_asked_for(space: str) -> None:
    given = {"side": 12, "steps": 2, "space": space}
    wrapped = wrap_model(one_channel(), classes="abcd", input_size=12, mean=(0.5,), std=(0.5,))
    for model in (one_channel(), wrapped):
        made = visualize(model, 1, channels=1, **given)
        assert made.shape == (1, 1, 12, 12)
        assert torch.equal(made, visualize(model, 1, channels=1, colours=None, **given))
        for target in (1, unit("0", 2)):
            with pytest.raises(ValueError, match="channels must be .* takes, 1; got 3. Pass channels=1"):
                visualize(model, target, **given)
        with pytest.raises(ValueError, match="takes, 1; got 3. Pass channels=1"):
            invert(model, "1", torch.rand(1, 4, 10, 10), side=12, steps=1)
        assert invert(model, "1", torch.rand(1, 4, 10, 10), side=12, steps=1, channels=1).shape[1] == 1


def test_a_start_that_is_no_tensor_is_told() -> None:
    for start in (np.zeros((1, 1, 12, 12)), None, [0.5]):
        with pytest.raises(TypeError, match=r"start must be a torch.Tensor of shape \(N, C, H, W\); got"):
            visualize(one_channel(), 1, start=start, channels=1, steps=1)
