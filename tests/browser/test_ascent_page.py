"""The exported page of the ascent explorer in a browser: frames scrubbed, switches, a channel's ascent."""

import numpy as np
import pytest
import torch

from labkit.widgets import AscentExplorer

pytestmark = pytest.mark.browser

PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""


@pytest.fixture(scope="module")
def explorer(tiny):
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    tiny.classes = ["fire engine", "horse", "tree", "wolf"]
    widget = AscentExplorer(tiny, pictures, layers=["0"], target=1, steps=12, every=4, names=["one", "two"])
    widget.precompute(settings=[{}, {"blur": True}, {"layer": "0", "channel": 2}])
    return widget


@pytest.fixture
def page(open_page, explorer, tmp_path_factory):
    return open_page(explorer.save_html(tmp_path_factory.mktemp("page") / "ascent.html").as_uri())


def shown(page):
    return np.array(page.evaluate(PIXELS, "made")).reshape(32, 32, 4)[..., :3]


def frames(explorer, **setting):
    for name, value in {"blur": False, "layer": "", "channel": 0, **setting}.items():
        setattr(explorer, name, value)
    explorer.wait_idle()
    return (explorer.frames.permute(0, 2, 3, 1).numpy() * 255).round()


def test_the_slider_scrubs_the_frames(page, explorer):
    wanted = frames(explorer)
    assert len(wanted) == 4
    for i in (3, 0, 2):
        page.locator("input[aria-label=Steps]").fill(str(i))
        assert np.array_equal(shown(page), wanted[i])
        assert f"after {explorer.answer['at'][i]} steps" in page.inner_text("[data-panel=made]")


def test_the_headline_and_the_name_are_of_the_frame_on_view(page, explorer):
    frames(explorer)
    answer, classes = explorer.answer, explorer.classes
    for i in (1, 3):
        page.locator("input[aria-label=Steps]").fill(str(i))
        said = page.inner_text(".lk-answer")
        assert said.startswith(f"In {answer['at'][i]} of 12 steps its activation went from")
        assert float(said.split(" to ")[1].rstrip(".").replace("\u2212", "-")) == pytest.approx(
            answer["scores"][i], rel=0.01
        )
        foot = page.inner_text("[data-panel=made] .lk-foot")
        assert f"; named {classes[answer['named'][i]]} {100 * answer['sure'][i]:.0f}%" in foot
    page.locator("input[aria-label=Steps]").fill("0")
    assert page.inner_text(".lk-answer").startswith("At the start, after 0 of 12 steps")


def test_a_class_to_climb_for_says_no_probability_of_the_start(open_page, tiny, tmp_path):
    widget = AscentExplorer(tiny, torch.rand(1, 3, 32, 32), steps=4, every=4)
    widget.precompute(settings=[{"target": 1}, {"target": 2}])
    widget._photo(0)["top"] = [0, 3]  # neither is likely at the start
    page = open_page(widget.save_html(tmp_path / "two.html").as_uri())
    assert page.locator(".lk-pick:visible").count() == 2
    assert "%" not in page.inner_text(".lk-picks")


def test_a_page_says_that_it_holds_what_was_computed(page):
    assert page.inner_text(".lk-held") == "Other combinations are not in this page."


def test_the_curve_and_the_slider_are_one(page):
    page.locator(".lk-curve").press("Home")
    assert page.locator("input[aria-label=Steps]").input_value() == "0"
    page.locator(".lk-curve").press("ArrowRight")
    assert page.locator("input[aria-label=Steps]").input_value() == "1"


def test_a_switch_shows_its_own_ascent(page, explorer):
    page.click("[data-switch=blur]")
    assert page.get_attribute("[data-switch=blur]", "aria-pressed") == "true"
    assert np.array_equal(shown(page), frames(explorer, blur=True)[-1])
    page.click("[data-switch=blur]")
    assert np.array_equal(shown(page), frames(explorer)[-1])
    assert page.locator("[data-switch=decay]:visible").count() == 0  # it was not computed


def test_a_channel_has_its_own_question(page, explorer):
    page.click("[data-layer='0']")
    assert page.inner_text("h1") == "What excites channel 2 of 0?"
    assert np.array_equal(shown(page), frames(explorer, layer="0", channel=2)[-1])
    page.click("[data-layer='']")
    assert page.inner_text("h1") == "What excites horse?"
