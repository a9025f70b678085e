"""The dream and the style explorer in JupyterLab: they search, are stopped, go on; a setting changes them."""

import numpy as np
import pytest

from labkit.style import deepdream, style_transfer

from .jupyter import WORLD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DREAM = """
from labkit.widgets import DreamExplorer
w = DreamExplorer(net, pictures, layers=["1"], dream={"octaves": 2, "steps": 4}, inversion={"steps": STEPS})
w
"""
STYLE = """
from labkit.widgets import StyleExplorer
options = {"steps": STEPS, "optimizer": "adam"}
w = StyleExplorer(net, pictures[:1], pictures[1:], style_layers=["0"], content_layer="1", options=options)
w
"""
EXPLORER = "document.querySelector('.lk').explorer"
PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
DONE = f"() => Boolean({EXPLORER}.answer?.complete)"
STOPPED = f"() => {EXPLORER}.model.get('status') === 'stopped'"


def shown(page):
    return np.array(page.evaluate(PIXELS, "made")).reshape(48, 48, 4)[..., :3]


def bytes_of(images):
    return images[0].permute(1, 2, 0).numpy() * 255


def stops_and_goes_on(page):
    page.wait_for_function(f"() => {EXPLORER}.count > 1")
    page.click(".lk-cancel")
    page.wait_for_function(STOPPED)
    before = page.evaluate(f"() => {EXPLORER}.count")
    assert not page.evaluate(f"() => {EXPLORER}.answer.complete")
    page.click("text=Resume")
    page.wait_for_function(f"() => {EXPLORER}.count > {before}")
    page.click(".lk-cancel")
    page.wait_for_function(STOPPED)


def test_it_dreams_and_an_inversion_is_stopped_and_goes_on(lab, open_page, world):
    page = lab.open(open_page, [WORLD, DREAM.replace("STEPS", "20000")], ".lk-dream .lk-stage")
    page.wait_for_function(DONE)
    net, pictures = world
    assert np.abs(shown(page) - bytes_of(deepdream(net, pictures[:1], "1", octaves=2, steps=4))).max() <= 1
    page.click("[data-mode=inversion]")
    stops_and_goes_on(page)
    page.locator(".lk-curve").press("u")
    page.wait_for_function(f"() => {EXPLORER}.state.mode === 'dream' && {EXPLORER}.answer?.complete")


def test_it_transfers_a_style(lab, open_page, world):
    page = lab.open(open_page, [WORLD, STYLE.replace("STEPS", "6")], ".lk-styles .lk-stage")
    page.wait_for_function(DONE)
    net, pictures = world
    layers = {"style_layers": ["0"], "content_layer": "1"}
    wanted = style_transfer(net, pictures[:1], pictures[1:], steps=6, optimizer="adam", **layers)
    assert np.abs(shown(page) - bytes_of(wanted)).max() <= 1


def test_a_style_is_stopped_and_goes_on(lab, open_page):
    page = lab.open(open_page, [WORLD, STYLE.replace("STEPS", "20000")], ".lk-styles .lk-stage")
    stops_and_goes_on(page)
