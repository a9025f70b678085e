"""Feed-forward style: the norms by hand, what a network is taught, what is refused, and the bundled ones."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.core.hooks import record
from labkit.models import bundled_generators, bundled_models, bundled_styles, list_models, load_model
from labkit.models.stylenet import ConditionalNorm, StyleNet
from labkit.models.zoo import WEIGHTS
from labkit.style import style_transfer, style_transfer_result, stylize, train_style, train_style_result
from labkit.style.feed_forward import style_losses
from labkit.style.gram import gram_matrix


def loss_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.Flatten()).eval()


def pictures(n: int, side: int = 20, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def small(styles: int = 1, norm: str = "conditional", seed: int = 0) -> StyleNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return StyleNet(styles, norm, widths=(4, 6, 8), blocks=1).eval()


GIVEN = {"style_layers": ["1", "2"], "content_layer": "2", "crop": 16, "batch": 2}


def test_conditional_instance_norm_with_one_style_is_instance_norm() -> None:
    plain, conditional = small(1, "instance"), small(1, "conditional")
    for ours, theirs in zip(
        [m for m in conditional.modules() if isinstance(m, ConditionalNorm)],
        [m for m in plain.modules() if isinstance(m, nn.InstanceNorm2d)],
        strict=True,
    ):
        nn.init.normal_(theirs.weight, 1.0, 0.3)
        nn.init.normal_(theirs.bias, 0.0, 0.3)
        ours.scale.data[0], ours.shift.data[0] = theirs.weight.data, theirs.bias.data
    for ours, theirs in zip(conditional.modules(), plain.modules(), strict=True):
        if isinstance(ours, nn.Conv2d):
            ours.load_state_dict(theirs.state_dict())
    shown = pictures(2, 16)
    assert torch.allclose(conditional(shown), plain(shown), atol=1e-6)


def test_instance_norm_by_hand_and_mixing_of_styles() -> None:
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    norm = ConditionalNorm(3, 2)
    norm.scale.data, norm.shift.data = torch.rand(2, 3), torch.rand(2, 3)
    flat = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    assert torch.allclose(F.instance_norm(x), flat, atol=1e-5)
    for style in (0, 1):
        mix = F.one_hot(torch.tensor([style, style]), 2).float()
        own = flat * norm.scale[style, :, None, None] + norm.shift[style, :, None, None]
        assert torch.allclose(norm(x, mix), own, atol=1e-5)
    half = norm(x, torch.full((2, 2), 0.5))
    one, other = (norm(x, F.one_hot(torch.tensor([k, k]), 2).float()) for k in (0, 1))
    assert torch.allclose(half, (one + other) / 2, atol=1e-5)


def test_the_losses_are_those_of_style_transfer() -> None:
    net, content, style = loss_net(), pictures(1), pictures(1, seed=3)
    with torch.no_grad(), record(net, "1", "2") as kept:
        net(style)
        goals = {layer: gram_matrix(kept[layer]) for layer in ("1", "2")}
    found = style_transfer_result(
        net, content, style, style_layers={"1": 1.0, "2": 3.0}, content_layer="2", steps=2
    )
    styled, away = style_losses(net, found.images, content, goals, {"1": 0.25, "2": 0.75}, "2")
    assert styled.item() == pytest.approx(found.style, rel=1e-4)
    assert away.item() == pytest.approx(found.content, rel=1e-4)


def test_a_network_learns_its_style_and_leaves_all_else_as_it_was() -> None:
    net, before = loss_net(), small(1, "instance")
    state = {k: v.clone() for k, v in before.state_dict().items()}
    seen: list[int] = []
    found = train_style_result(
        net, pictures(6), pictures(1, seed=3), network=before, steps=40, rate=1e-2,
        on_frame=lambda step, _: seen.append(step), **GIVEN,
    )  # fmt: skip
    assert found.losses[-10:].sum(1).mean() < 0.8 * found.losses[:5].sum(1).mean()
    assert found.complete
    assert seen == list(range(1, 41))
    assert all(torch.equal(state[k], v) for k, v in before.state_dict().items())
    assert not any(m.training for m in found.network.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    again = train_style(net, pictures(6), pictures(1, seed=3), network=before, steps=40, rate=1e-2, **GIVEN)
    assert torch.equal(stylize(again, pictures(2, 16)), stylize(found.network, pictures(2, 16)))


def test_several_styles_each_get_a_scale_and_a_network_of_one_learns_their_mixture() -> None:
    bytes_ = (pictures(4) * 255).byte().permute(0, 2, 3, 1).numpy()
    many = train_style(loss_net(), bytes_, pictures(3, seed=3), steps=2, **GIVEN)
    assert (many.styles, many.design) == (3, "conditional")
    assert train_style(loss_net(), bytes_, pictures(1, seed=3), steps=1, **GIVEN).design == "instance"
    mixed = train_style(
        loss_net(), bytes_, pictures(3, seed=3), network=small(1, "instance"), steps=1, **GIVEN
    )
    assert mixed.styles == 1
    stopped = train_style_result(
        loss_net(), bytes_, pictures(1, seed=3), steps=3, should_stop=lambda: True, **GIVEN
    )
    assert not stopped.complete
    assert stopped.losses.shape == (0, 2)


def test_styles_go_by_number_by_picture_and_by_share() -> None:
    net, shown = small(3), pictures(2, 16)
    for module in net.modules():
        if isinstance(module, ConditionalNorm):
            nn.init.normal_(module.scale, 1.0, 0.3)
    second = stylize(net, shown, 1)
    assert torch.allclose(stylize(net, shown, [0.0, 1.0, 0.0]), second)
    both = stylize(net, shown, torch.tensor([1, 2]))
    assert torch.allclose(both[:1], second[:1], atol=1e-6)
    assert torch.allclose(both[1:], stylize(net, shown[1:], 2), atol=1e-6)
    assert not torch.allclose(both[1:], second[1:], atol=1e-4)
    assert stylize(small(1, "batch"), pictures(1, 24)[:, :, :16]).shape == (1, 3, 16, 24)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"style": torch.full((1, 3, 8, 8), 0.3)}, ValueError, "this one is of one colour"),
        ({"style": torch.cat([pictures(1), torch.zeros(1, 3, 20, 20)])}, ValueError, "number 1 is of one"),
        ({"style_layers": "3"}, ValueError, "needs a feature map"),
        ({"style_layers": "seven"}, KeyError, "seven"),
        ({"crop": 18}, ValueError, "crop must be at least 16, divisible by 4"),
        ({"crop": 24}, ValueError, "no more than the side of content, 20; got 24"),
        ({"steps": 0}, ValueError, "steps must be"),
        ({"rate": -1}, ValueError, "rate must be"),
        ({"tv_weight": -1}, ValueError, "tv_weight"),
        ({"network": nn.Identity()}, TypeError, "network must be a .*StyleNet; got Identity"),
        ({"network": small(3)}, ValueError, "network of 3"),
    ],
)
def test_bad_trainings_are_refused(options: dict, error: type, sentence: str) -> None:
    given = {"style": pictures(2, seed=3), **GIVEN, "steps": 1, **options}
    with pytest.raises(error, match=sentence):
        train_style(loss_net(), pictures(4), given.pop("style"), **given)


def test_a_loss_network_that_no_gradient_leaves_is_refused() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.detach())

    given = {**GIVEN, "style_layers": "layer", "content_layer": "layer", "steps": 1}
    with pytest.raises(ValueError, match="no gradient reaches it"):
        train_style(Cut().eval(), pictures(4), pictures(1, seed=3), **given)


@pytest.mark.parametrize(
    ("style", "error", "sentence"),
    [
        (3, IndexError, "style must be 0 to 2.*got 3"),
        (torch.tensor([0, 1, 2]), ValueError, "one for each of 2 pictures"),
        ([0.5, 0.5], ValueError, r"shares of the network's 3 styles, \(3,\) or \(2, 3\)"),
        ([float("nan"), 0.5, 0.5], ValueError, "finite shares"),
    ],
)
def test_styles_that_are_not_there_are_refused(style: object, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        stylize(small(3), pictures(2, 16), style)


def test_other_networks_and_sides_are_refused() -> None:
    with pytest.raises(TypeError, match=r"load_model\('style-four'\); got Sequential.*style_transfer"):
        stylize(loss_net(), pictures(1))
    with pytest.raises(ValueError, match="sides of at least 16 pixels that 4 divides; got 18 x 18"):
        stylize(small(), pictures(1, 18))
    with pytest.raises(ValueError, match="norm must be .conditional. for a network of 2 styles"):
        StyleNet(2, "batch")
    with pytest.raises(ValueError, match="norm must be one of"):
        StyleNet(1, "group")
    with pytest.raises(RuntimeError, match="training"):
        stylize(small().train(), pictures(1, 16))


def test_a_picture_whose_channels_lie_last_is_transferred_by_l_bfgs() -> None:
    """In double precision: another order of sums is another last bit, which a search of lines enlarges."""
    shown, net = pictures(1).double(), loss_net().double()
    last = shown.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    given = {"style_layers": "1", "content_layer": "2", "steps": 2}
    style = pictures(1, seed=3).double()
    assert torch.allclose(
        style_transfer(net, last, style, **given), style_transfer(net, shown, style, **given), atol=1e-4
    )


@pytest.mark.parametrize("name", bundled_styles())
def test_the_bundled_ones_keep_their_contract_and_their_card(name: str) -> None:
    net = load_model(name)
    assert not any(m.training for m in net.modules())
    card = net.card
    assert card == json.loads((WEIGHTS / f"{name}.json").read_text())
    assert card["sha256"] == hashlib.sha256((WEIGHTS / f"{name}.safetensors").read_bytes()).hexdigest()
    assert card["parameters"] == sum(p.numel() for p in net.parameters()) <= 300_000
    assert {"recipe", "seed", "styles", "norm", "held out", "render_version", "labkit", "date"} <= set(card)
    assert net.styles == (len(card["styles"]) if card["norm"] == "conditional" else 1)
    shown = pictures(1, 64)
    made = stylize(net, shown)
    assert made.shape == shown.shape
    assert made.std() > 0.05
    if net.styles > 1:
        assert (made - stylize(net, shown, 1)).abs().mean() > 0.02


def test_style_networks_are_no_classifiers() -> None:
    assert len(bundled_styles()) >= 1
    assert not set(bundled_styles()) & {*bundled_models(), *list_models(), *bundled_generators()}
    with pytest.raises(ValueError, match="'style-"):
        load_model("style-foour")
