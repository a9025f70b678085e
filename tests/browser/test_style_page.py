"""The exported page of the style explorer in a browser: frames scrubbed, styles, weights, blends."""

import numpy as np
import pytest
import torch

from labkit.widgets import StyleExplorer

from .pages import Blender

pytestmark = pytest.mark.browser

PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
VIEW = "document.querySelector('#root').explorer"
PLAIN = {"mode": "search", "style": 0, "style_weight": 1.0, "content_weight": 1.0, "noise": False}


@pytest.fixture(scope="module")
def explorer(tiny):
    generator = torch.Generator().manual_seed(3)
    pictures, styles = torch.rand(2, 3, 32, 32, generator=generator), torch.rand(3, 3, 24, 24)
    tiny.classes = ["fire engine", "horse", "tree", "wolf"]
    widget = StyleExplorer(
        tiny, pictures, styles, style_names=["dots", "spots", "specks"], names=["one", "two"],
        network=Blender(), style_layers=["0"], content_layer="1", judge=tiny, judge_layers=["0"],
        options={"steps": 4, "optimizer": "adam"},
    )  # fmt: skip
    widget.precompute(settings=[{"style": 1}, {"style_weight": 10.0}, {"noise": True}, {"mode": "blend"}, {}])
    return widget


@pytest.fixture
def page(open_page, explorer, tmp_path_factory):
    frames(explorer)  # the page begins at what is on view
    return open_page(explorer.save_html(tmp_path_factory.mktemp("page") / "style.html").as_uri())


def shown(page, kind="made"):
    found = np.array(page.evaluate(PIXELS, kind))
    side = int((len(found) / 4) ** 0.5)
    return found.reshape(side, side, 4)[..., :3]


def frames(explorer, **setting):
    for name, value in {**PLAIN, **setting}.items():
        setattr(explorer, name, value)
    explorer.wait_idle()
    return (explorer.frames.permute(0, 2, 3, 1).numpy() * 255).round()


def test_the_slider_scrubs_the_frames(page, explorer):
    wanted = frames(explorer)
    assert len(wanted) == 5
    for i in (4, 0, 2):
        page.locator("input[aria-label=Steps]").fill(str(i))
        assert np.array_equal(shown(page), wanted[i])
        assert f"after {i} steps" in page.inner_text("[data-panel=made]")
    assert page.inner_text("h1") == "How does the picture look in dots?"
    assert "colours alone" in page.inner_text(".lk-answer")


def test_a_style_a_weight_and_a_switch_show_their_own_search(page, explorer):
    page.click("[aria-label=spots]")
    assert np.array_equal(shown(page), frames(explorer, style=1)[-1])
    style = (explorer.style_images[1].permute(1, 2, 0).numpy() * 255).round()
    assert np.array_equal(shown(page, "style"), style)
    page.keyboard.press("[")
    page.locator("input[aria-label='Style weight']").press("ArrowRight")
    assert np.array_equal(shown(page), frames(explorer, style_weight=10.0)[-1])
    page.keyboard.press("u")
    assert np.array_equal(shown(page), frames(explorer)[-1])
    page.click("[data-switch=noise]")
    assert np.array_equal(shown(page), frames(explorer, noise=True)[-1])
    assert page.locator("[data-switch=keep_colors]:visible").count() == 0  # it was not computed
    assert page.locator("[aria-label=specks]:visible").count() == 0


def test_the_blend_s_slider_leads_from_style_to_style(page, explorer):
    wanted = frames(explorer, mode="blend")
    page.keyboard.press("m")
    assert page.inner_text("h1") == "How does the network paint in dots?"
    assert np.array_equal(shown(page), wanted[0])
    slider = page.locator("input[aria-label=Steps]")
    slider.fill("13")
    assert page.inner_text("h1") == "How does the network paint in 70% spots, 30% specks?"
    assert np.array_equal(shown(page), wanted[13])
    assert "a cross-fade\u2019s is" in page.inner_text(".lk-answer")
    slider.press("End")
    assert page.inner_text("h1") == "How does the network paint in dots?"
    page.click("[data-mode=search]")
    assert np.array_equal(shown(page), frames(explorer)[-1])


def test_both_styles_of_a_blend_are_shown_in_their_shares(page, explorer):
    page.keyboard.press("m")
    first, second = ((explorer.style_images[k].permute(1, 2, 0).numpy() * 255).round() for k in (0, 1))
    foot = page.locator("[data-panel=style] .lk-foot")
    assert foot.inner_text() == "dots"
    assert np.array_equal(shown(page, "style"), first)
    page.locator("input[aria-label=Steps]").fill("5")
    assert foot.inner_text() == "dots | spots"
    left, right = (shown(page, "style")[:, part] for part in (slice(0, 12), slice(12, 24)))
    assert np.array_equal(left, first[:, :12])
    assert np.array_equal(right, second[:, 12:])


def test_no_class_is_said_of_the_content(page):
    """The loss network's classes need not be those of a photograph."""
    assert "%" not in page.inner_text("[data-panel=picture]")
