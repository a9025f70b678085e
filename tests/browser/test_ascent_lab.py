"""The ascent explorer in JupyterLab: it climbs, is stopped, goes on, begins anew; a switch changes it."""

import numpy as np
import pytest

from labkit.visualization import visualize_result

from .jupyter import WORLD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ASCENT = """
from labkit.widgets import AscentExplorer
w = AscentExplorer(net, pictures, target=1, steps=STEPS, every=4)
w
"""
EXPLORER = "document.querySelector('.lk').explorer"
PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
PLAIN = {"space": "pixels", "colours": None, "jitter": 0, "scale": 0.0, "rotation": 0.0, "rate": 0.05}
LEAST = f"""() => {{ const {{ model }} = {EXPLORER}, count = () => model.get('delivery').at.length;
  window.least = Infinity;
  model.on('change:delivery', () => {{ window.least = Math.min(window.least, count()) }}) }}"""
DONE = f"() => Boolean({EXPLORER}.answer?.complete)"


def shown(page):
    return np.array(page.evaluate(PIXELS, "made")).reshape(48, 48, 4)[..., :3]


def made(world, **options):
    net, pictures = world
    found = visualize_result(net, 1, start=pictures[:1], steps=12, **{**PLAIN, **options})
    return found.images[0].permute(1, 2, 0).numpy() * 255


def test_it_climbs_and_a_switch_changes_the_picture(lab, open_page, world):
    page = lab.open(open_page, [WORLD, ASCENT.replace("STEPS", "12")], ".lk-ascent .lk-stage")
    page.wait_for_function(DONE)
    assert np.abs(shown(page) - made(world)).max() <= 1
    page.click("[data-switch=decay]")
    page.wait_for_function(f"() => {EXPLORER}.state.decay && Boolean({EXPLORER}.answer?.complete)")
    assert np.abs(shown(page) - made(world, decay=0.01)).max() <= 1
    assert page.locator(".lk-chip").text_content() == "ready"


def test_it_is_stopped_and_goes_on(lab, open_page):
    page = lab.open(open_page, [WORLD, ASCENT.replace("STEPS", "40000")], ".lk-ascent .lk-stage")
    page.wait_for_function(f"() => {EXPLORER}.count > 1")
    page.click(".lk-cancel")
    page.wait_for_function(f"() => {EXPLORER}.model.get('status') === 'stopped'")
    before = page.evaluate(f"() => {EXPLORER}.count")
    page.click("text=Resume")
    page.wait_for_function(f"() => {EXPLORER}.count > {before} + 1")
    page.evaluate(LEAST)
    page.click("text=Begin anew")
    page.wait_for_function("() => window.least === 2")  # of what came, not of what a slow page drew
    page.click(".lk-cancel")
    page.wait_for_function(f"() => {EXPLORER}.model.get('status') === 'stopped'")
