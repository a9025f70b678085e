"""The experiments of lab 53: what they measure, beside what, and with whose functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labkit.data.textures import texture
from labkit.exercises import find
from labkit.experiments import style_demonstrations as demonstrations
from labkit.experiments.bench import EXPERIMENTS, Bench
from labkit.experiments.style_and_content import JUDGE, LOSS, below_fade, eye
from labkit.models import load_model
from labkit.style import stylize
from labkit.style.feed_forward import style_losses
from labkit.style.gram import color_matched

from .spy import assert_sound, controls, quick

BELOW = "< 0 (upper bound)"
WANTED = {
    "S4": {
        "style loss minus the cross-fade's at equal content loss, mean of six weights, by the judge": (
            BELOW, ["colour transfer", "twin as loss network", "the weight at which it is least"],
        ),
        "the same, trained minus twin": (BELOW, []),
        "share of steps of the weight at which style loss falls and content loss rises": (
            ">= 0.9 (lower bound)", ["twin"],
        ),
    },
    "S5": {
        "time of a search to the network's style loss, over the network's time": (">= 20 (lower bound)", []),
        "loss on held-out pictures, instance minus batch norm": (
            BELOW, ["batch norm, its batch's statistics", "untrained", "colour transfer", "content itself"],
        ),
        "style loss by the judge, instance minus batch norm": (BELOW, []),
    },
    "S6": {
        "loss of the network of four styles over a single style's": (
            "<= 1.2 (upper bound)", ["unconditioned, on the mixture"],
        ),
        "style loss by the judge, wrong style over right": (">= 1.5 (lower bound)", []),
        "share of steps of the walk away from one style and nearer to the other": (
            ">= 0.9 (lower bound)", [],
        ),
        "style loss by the judge on the walk, minus the pixel fade's": (BELOW, []),
    },
}  # fmt: skip


@pytest.mark.parametrize("id", list(WANTED))
def test_it_measures_what_the_claim_says_beside_its_controls(id):
    result, called = quick(id)
    assert controls(result) == WANTED[id]
    assert_sound(result)
    assert called == set(result.uses) == set(EXPERIMENTS[id].own.values())
    assert EXPERIMENTS[id].lab == "53_style"


def test_the_exercises_losses_are_the_librarys():
    net, content, style = load_model(LOSS), torch.rand(2, 3, 32, 32), torch.rand(1, 3, 32, 32)
    by, made = eye(net, LOSS), torch.rand(2, 3, 32, 32)
    grams = by.grams(style)
    with torch.no_grad():
        shown, kept = by.features(made), by.features(content)
        styled, away = style_losses(net, made, content, grams, by.layers, by.content)
    ours = find("style.style_loss").reference(shown, grams, by.layers)
    torch.testing.assert_close(ours, styled, rtol=1e-4, atol=1e-6)
    ours = find("style.content_loss").reference(shown[by.content], kept[by.content])
    torch.testing.assert_close(ours, away, rtol=1e-4, atol=1e-6)


def test_the_exercises_norms_are_torchs_and_one_style_is_the_plain_norm():
    x, scale, shift = torch.randn(2, 3, 4, 5), torch.randn(3), torch.randn(3)
    plain = find("style.instance_norm").reference(x, scale, shift)
    torch.testing.assert_close(plain, torch.nn.functional.instance_norm(x, weight=scale, bias=shift))
    one = find("style.conditional_norm").reference(x, scale[None], shift[None], torch.ones(2, 1))
    torch.testing.assert_close(one, plain)


def test_colours_are_kept_where_nothing_leaves_the_range():
    content, made = 0.4 + 0.2 * torch.rand(1, 3, 4, 4), 0.4 + 0.2 * torch.rand(1, 3, 4, 4)
    kept = find("style.keep_colors").reference(made, content)
    shares = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close((kept * shares).sum(1), (made * shares).sum(1))
    torch.testing.assert_close(kept[:, 0] - kept[:, 1], content[:, 0] - content[:, 1])


def test_a_cross_fade_lies_on_itself_and_what_is_better_below_it():
    content = np.linspace(0, 1, 21)[:, None]
    style = 1 - content
    assert np.allclose(below_fade(style[[3, 9]], content[[3, 9]], (style, content)), 0)
    assert np.allclose(below_fade(style[[9]] - 0.2, content[[9]], (style, content)), -0.2)


def test_the_judge_is_blind_to_nothing_and_colours_alone_are_not_the_style():
    by = eye(load_model(JUDGE), JUDGE)
    image, other = torch.rand(1, 3, 64, 64), 0.2 * torch.rand(1, 3, 64, 64)
    grams = by.grams(other)
    with torch.no_grad():
        away = [
            float(find("style.style_loss").reference(by.features(shown), grams, by.layers))
            for shown in (other, color_matched(image, other), image)
        ]
    assert away[0] < 1e-8 < away[1] < away[2]


def test_demonstrations_run_on_the_students_functions():
    bench = Bench("quick")
    at = demonstrations.studio(bench, load_model("minivgg"))
    own = {name: find(f"style.{name}").reference for name in ("content_loss", "style_loss")}
    assert demonstrations.transfers(bench, at, (0.1, 10.0), **own).shape == (2, 3, 128, 128)
    seen = demonstrations.contrasts(bench, at, instance_norm=find("style.instance_norm").reference)
    assert seen.rows.shape == (9, 3, 128, 128)
    network = demonstrations.many(bench, conditional_norm=find("style.conditional_norm").reference)
    each = network.each(at.content[:1])
    assert torch.allclose(each, stylize(load_model("style-four"), at.content[:1].expand(4, -1, -1, -1),
                                        torch.arange(4)), atol=1e-4)  # fmt: skip
    whole, alone = network.sizes
    assert whole / alone > 100
    mix = find("style.walk").reference(0, 2, 4, 3)
    assert torch.allclose(network.along(at.content[:1], mix)[[0, 2]], each[[0, 2]], atol=1e-4)
    assert torch.allclose(demonstrations.faded(each[:2], 3)[1:2], each[:2].mean(0, keepdim=True), atol=1e-6)


def test_a_cross_fade_of_the_same_content_loss_is_found_again():
    by, content, style = eye(load_model(JUDGE), JUDGE), torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    own = {name: find(f"style.{name}").reference for name in ("content_loss", "style_loss")}
    made = torch.cat([content.lerp(style, share) for share in (0.2, 0.65, 1.0)])
    assert demonstrations.matching(by, made, content, style, **own) == pytest.approx([0.2, 0.65, 1], abs=0.02)


def test_every_transfer_stands_above_its_cross_fade_and_a_twins():
    own = {name: find(f"style.{name}").reference for name in ("content_loss", "style_loss")}
    found, _ = quick("S4")
    rows, titles = demonstrations.beside_cross_fades(Bench("quick"), found.show, **own)
    assert rows.shape == (21, 3, 128, 128)
    assert [title.partition(":")[0] for title in titles] == [
        "content", *["transfer"] * 6, "style", *["its cross-fade"] * 6, "", *["twin's transfer"] * 6,
    ]  # fmt: skip
    content, style = rows[0], rows[7]
    share = int(titles[8].partition(": ")[2].partition("%")[0]) / 100
    assert torch.allclose(rows[8], content.lerp(style, share), atol=0.01)


def test_rows_of_styles_are_named_and_no_picture_comes_twice():
    bench = Bench("quick")
    network = demonstrations.many(bench, conditional_norm=find("style.conditional_norm").reference)
    assert network.told == "one style's own numbers: 864 of 172,515, about 1/200"
    rows, titles = network.beside_the_styles(bench.firsts(1).images)
    assert titles[1:5] == network.names
    assert torch.equal(rows[1], texture(network.names[0], 128))
    assert len(rows) == len(titles) == 10
    rows, titles = demonstrations.beside_a_fade(torch.rand(3, 3, 32, 32), "mosaic", "weave")
    assert titles[:5] == ["mosaic", "walk: all mosaic", "walk: 50% weave", "walk: all weave", "weave"]
    assert titles[6:9] == [f"fade of pixels: {end}" for end in ("all mosaic", "50% weave", "all weave")]
    assert torch.equal(rows[0], texture("mosaic", 32))
    assert len(rows) == len(titles)
    shown = {"content": rows[:3], "instance norm": torch.rand(3, 3, 32, 32), "content itself": rows[:3]}
    rows, titles = demonstrations.norms({"pictures": shown})
    assert titles == ["content itself", "", "", "style", "instance norm", "", "", ""]
    assert len(rows) == len(titles)
    moved = demonstrations.Contrasts((0.3, 1.0), rows[:2], {"batch norm": torch.stack([rows[0] * 0] * 2)})
    assert moved.told == "batch norm: from contrast 0.3 to 1 a value moves by 0 grey levels"


def test_a_guests_network_has_an_eye_as_well():
    guest = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2),
    ).eval()  # fmt: skip
    at = demonstrations.studio(Bench("quick", guest=(guest, torch.rand(2, 3, 64, 64))), guest)
    assert at.content.shape[1:] == (3, 128, 128)
    assert at.eye.content in at.eye.layers
    assert sum(at.eye.layers.values()) == pytest.approx(1)
