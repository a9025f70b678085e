"""The exported page of the dream explorer in a browser: frames scrubbed, modes, layers, undo, JPEG."""

import numpy as np
import pytest
import torch

from labkit.widgets import DreamExplorer

pytestmark = pytest.mark.browser

PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
VIEW = "document.querySelector('#root').explorer"
OPTIONS = {
    "layers": ["0", "1"], "dream": {"octaves": 2, "steps": 3}, "inversion": {"steps": 4},
    "texture": {"steps": 2}, "judge_layers": ["0"],
}  # fmt: skip


@pytest.fixture(scope="module")
def explorer(tiny):
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    tiny.classes = ["fire engine", "horse", "tree", "wolf"]
    widget = DreamExplorer(tiny, pictures, layer="0", judge=tiny, names=["one", "two"], **OPTIONS)
    widget.precompute(settings=[{"mode": "inversion", "layer": layer} for layer in ("0", "1")])
    widget.precompute(settings=[{"mode": "texture"}, {"goal": "channel", "channel": 2}])
    widget.precompute(settings=[{}])
    return widget


@pytest.fixture
def page(open_page, explorer, tmp_path_factory):
    frames(explorer)  # the page begins at what is on view
    return open_page(explorer.save_html(tmp_path_factory.mktemp("page") / "dream.html").as_uri())


def shown(page, side=32):
    return np.array(page.evaluate(PIXELS, "made")).reshape(side, side, 4)[..., :3]


def frames(explorer, **setting):
    for name, value in {"mode": "dream", "layer": "0", "goal": "layer", "channel": 0, **setting}.items():
        setattr(explorer, name, value)
    explorer.wait_idle()
    return (explorer.frames.permute(0, 2, 3, 1).numpy() * 255).round()


def test_the_slider_scrubs_the_frames(page, explorer):
    wanted = frames(explorer)
    assert len(wanted) == 7
    for i in (6, 0, 3):
        page.locator("input[aria-label=Steps]").fill(str(i))
        assert np.array_equal(shown(page), wanted[i])
        assert f"after {i} steps" in page.inner_text("[data-panel=made]")
    assert "In 6 of 6 steps the layer\u2019s squared length has become" in page.inner_text(".lk-answer")
    assert "noise of equal size makes it" in page.inner_text(".lk-answer")


def test_each_mode_asks_its_own_question_and_shows_its_own_frames(page, explorer):
    assert page.inner_text("h1") == "What does 0 see in the picture?"
    page.click("[data-mode=inversion]")
    assert page.inner_text("h1") == "What does 0 keep of the picture?"
    assert np.array_equal(shown(page), frames(explorer, mode="inversion")[-1])
    assert "with other pictures by" in page.inner_text(".lk-answer")
    page.locator("input[aria-label=Layer]").fill("1")
    assert np.array_equal(shown(page), frames(explorer, mode="inversion", layer="1")[-1])
    page.click("[data-mode=texture]")  # of the first layer alone it is known
    assert page.inner_text("h1") == "What is texture to the layers up to 0?"
    assert np.array_equal(shown(page), frames(explorer, mode="texture")[-1])
    assert "its own pixels shuffled" in page.inner_text(".lk-answer")


def test_a_channel_has_its_own_question_and_undo_goes_back(page, explorer):
    page.click("[data-goal=channel]")
    assert page.inner_text("h1") == "What does channel 2 of 0 see in the picture?"
    assert np.array_equal(shown(page), frames(explorer, goal="channel", channel=2)[-1])
    page.locator("input[aria-label=Steps]").fill("1")
    page.keyboard.press("u")
    assert page.inner_text("h1") == "What does 0 see in the picture?"
    assert np.array_equal(shown(page), frames(explorer)[-1])
    page.keyboard.press("u")  # nothing is left to undo
    assert page.inner_text("h1") == "What does 0 see in the picture?"


def test_keys_change_mode_and_layer(page):
    page.keyboard.press("m")
    assert page.evaluate(f"{VIEW}.state.mode") == "inversion"
    page.keyboard.press("]")
    assert page.evaluate(f"{VIEW}.state.layer") == "1"
    page.keyboard.press("[")
    assert page.evaluate(f"{VIEW}.state.layer") == "0"


def test_an_address_says_mode_and_layer(open_page, page, explorer):
    there = open_page(f"{page.url}#mode=inversion&layer=1")
    assert there.inner_text("h1") == "What does 1 keep of the picture?"
    assert np.array_equal(shown(there), frames(explorer, mode="inversion", layer="1")[-1])


def test_large_pictures_come_as_jpeg(open_page, tiny, tmp_path):
    ramp = torch.linspace(0, 1, 112).expand(1, 3, 112, 112)
    widget = DreamExplorer(tiny, ramp, layer="0", judge=tiny, **OPTIONS)
    widget.wait_idle()
    page = open_page(widget.save_html(tmp_path / "large.html").as_uri())
    page.locator("input[aria-label=Steps]").fill("0")
    page.wait_for_function(f"() => {VIEW}.answer.frames.every((frame) => frame.complete)")
    wanted = (ramp[0].permute(1, 2, 0).numpy() * 255).round()
    assert np.abs(shown(page, 112) - wanted).max() < 12
