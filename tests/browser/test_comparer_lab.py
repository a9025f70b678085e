"""The comparer in a real JupyterLab: maps arrive one by one, the hand chooses, a slow method is stopped."""

import time

import numpy as np
import pytest

from labkit import attribution

from .jupyter import WORLD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOW = """
from labkit import attribution
from labkit.widgets import Comparer

def endless(model, images, target):
    while True:
        model(images)

own = {"saliency": attribution.saliency, "occlusion": attribution.occlusion, "endless": endless}
w = Comparer(net, pictures, methods=own, chosen=["saliency", "occlusion"])
w
"""
VALUES = """(name) => { const a = document.querySelector('.lk-comparer').explorer.answer(name);
  return a && a.values ? Array.from(a.values) : null }"""
READY = """() => { const e = document.querySelector('.lk-comparer').explorer;
  return e.state.chosen.every((name) => e.answer(name)) }"""


@pytest.fixture
def page(lab, open_page):
    page = lab.open(open_page, [WORLD, SHOW], ".lk-comparer .lk-stage")
    page.wait_for_function(READY)
    return page


def check_maps(page, world, picture, target):
    net, pictures = world
    for name in ("saliency", "occlusion"):
        expected = getattr(attribution, name)(net, pictures[picture][None], target)[0].numpy()
        got = np.array(page.evaluate(VALUES, name)).reshape(48, 48)
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_maps_follow_the_picture_and_the_class(page, world):
    net, pictures = world
    check_maps(page, world, 0, int(net(pictures[:1]).argmax()))
    page.wait_for_selector(".lk-thumb >> nth=1")
    page.click(".lk-thumb >> nth=1")
    page.fill(".lk-search", "class 2")
    page.press(".lk-search", "Enter")
    page.wait_for_function(READY)
    check_maps(page, world, 1, 2)


def test_a_slow_method_is_stopped_and_keys_stay_in_the_widget(page, world):
    page.wait_for_selector(".lk-chip[data-state='ready']")
    page.click("[data-tick=endless]")
    page.wait_for_selector(".lk-chip[data-state='busy']")
    began = time.monotonic()
    page.click(".lk-cancel")
    page.wait_for_selector(".lk-chip:has-text('stopped')")
    assert time.monotonic() - began < 5
    assert page.inner_text("[data-method='endless'] .lk-wait") == "stopped"
    check_maps(page, world, 0, int(world[0](world[1][:1]).argmax()))
    cells = page.locator(".jp-Cell").count()
    page.locator("[data-tick=endless]").focus()
    page.keyboard.press("b")
    page.locator(".lk-stage").first.focus()
    page.keyboard.press("b")
    assert page.locator(".jp-Cell").count() == cells
