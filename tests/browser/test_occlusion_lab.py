"""The occlusion explorer in a real JupyterLab: the hand moves, the kernel answers, the pixels are right."""

import time

import numpy as np
import pytest

from .jupyter import ASK, WORLD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOW = """
import labkit.widgets.occlusion
from labkit.widgets import OcclusionExplorer
labkit.widgets.occlusion.LADDER = 1e9  # look ahead however busy the machine is
w = OcclusionExplorer(net, pictures, windows=[8, 12, 16, 24], strides=[4, 8, 12])
w
"""
OWN = """
from labkit.widgets import OcclusionExplorer
calls = []

def occlusion(model, images, target, *, window, stride, fill):
    calls.append((window, stride))
    if window > 12:
        raise ValueError("window too large for me")
    maps = torch.zeros(images.shape[0], *images.shape[2:])
    for y in range(0, images.shape[2] - window + 1, stride):
        hidden = images.clone()
        hidden[:, :, y : y + window] = 0
        drop = model(images)[:, target] - model(hidden)[:, target]
        maps[:, y : y + window] += drop[:, None, None]
    return maps

w = OcclusionExplorer(net, pictures, method=occlusion, windows=[4, 8, 16], strides=[2, 4], window=4)
w
"""
VALUES = """() => { const n = document.querySelector('.lk-occlusion').explorer;
  return n.exact && n.values ? Array.from(n.values) : null }"""
PIXELS = """() => { const c = document.querySelector('.lk-map');
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
EXACT = "() => document.querySelector('.lk-occlusion').explorer.exact"
LADDER = "() => document.querySelectorAll('.lk-ticks i:not(.on)').length === 0"


def move(page, name, key, text):
    """Press a key on a slider until it says ``text``."""
    slider = page.locator(f".lk-slider input[aria-label='{name}']")
    for _ in range(10):
        if read(page, name) == text:
            return
        slider.press(key)
    raise AssertionError(f"{name} must come to {text}; it is {read(page, name)}")


def read(page, name):
    return page.locator(f".lk-slider:has(input[aria-label='{name}']) .lk-slider-value").inner_text()


def ask_until(page, code, answer, seconds=60):
    """Run code in the kernel until it prints ``answer``."""
    end = time.monotonic() + seconds
    while (said := page.evaluate(ASK, code)) != answer:
        assert time.monotonic() < end, f"{code} still prints {said!r}"


def cell_count(page):
    return page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")


def test_a_slider_is_moved_and_every_pixel_is_the_library_s(lab, world, open_page):
    from matplotlib import colormaps

    from labkit.attribution import occlusion

    net, pictures = world
    page = lab.open(open_page, [WORLD, SHOW], ".lk-map")
    page.wait_for_function(EXACT)
    move(page, "Patch size", "ArrowRight", "16 px")
    move(page, "Stride", "ArrowRight", "8 px")
    page.click(".lk-pick >> nth=2")
    page.wait_for_function(EXACT)
    target = net(pictures[:1]).detach()[0].argsort(descending=True)[2]
    expected = occlusion(net, pictures[:1], int(target), window=16, stride=8, fill="grey")[0].numpy()
    got = np.array(page.evaluate(VALUES)).reshape(48, 48)
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())
    table = (colormaps["RdBu_r"](np.linspace(0, 1, 255))[:, :3] * 255).round()
    step = np.floor(expected / np.abs(expected).max() * 127 + 0.5).astype(int)
    pixels = np.array(page.evaluate(PIXELS)).reshape(48, 48, 4)[..., :3]
    low, high = table[np.clip(step + 126, 0, 254)], table[np.clip(step + 128, 0, 254)]
    exact = (pixels == table[step + 127]).all(-1)
    between = ((pixels >= np.minimum(low, high) - 1) & (pixels <= np.maximum(low, high) + 1)).all(-1)
    assert exact.mean() > 0.99  # the rest lies on the border of two of the 255 colours
    assert (exact | between).all()


def test_once_the_ladder_is_there_a_drag_asks_the_kernel_for_no_forward_pass(lab, open_page):
    count = "n = [0]\nnet.register_forward_pre_hook(lambda *_: n.__setitem__(0, n[0] + 1))\n"
    page = lab.open(open_page, [WORLD, count + SHOW, "print('here')"], ".lk-map")
    page.wait_for_function(EXACT)
    page.wait_for_function(LADDER)
    before = page.evaluate(ASK, "w.wait_idle(); print(n[0])")
    move(page, "Patch size", "ArrowRight", "24 px")
    move(page, "Patch size", "ArrowLeft", "8 px")
    assert page.evaluate(EXACT) is not None
    ask_until(page, "w.wait_idle(); print(w.window)", "8")
    assert page.evaluate(ASK, "w.wait_idle(); print(n[0])") == before


def test_keys_typed_in_the_widget_insert_no_cell(lab, open_page):
    page = lab.open(open_page, [WORLD, SHOW], ".lk-map")
    page.wait_for_function(EXACT)
    cells = cell_count(page)
    page.locator(".lk-stage").first.focus()
    for key in "abcdmxyz+-":
        page.keyboard.press(key)
    for place in (".lk-stage >> nth=0", ".lk-slider input >> nth=1", ".lk-play", ".lk-thumb >> nth=0"):
        page.locator(place).focus()
        for key in ("a", "b", "ArrowRight", "ArrowDown", "Escape", "d", "d"):
            page.keyboard.press(key)
        assert page.evaluate("() => document.activeElement.closest('.lk') !== null"), place
    assert cell_count(page) == cells


def test_own_function_answers_its_error_is_seen_and_goes(lab, open_page):
    page = lab.open(open_page, [WORLD, OWN], ".lk-map")
    page.wait_for_function(EXACT)
    assert page.inner_text("[data-panel=map] figcaption b") == "Map of your function"
    move(page, "Patch size", "ArrowRight", "16 px")
    page.wait_for_selector(".lk-error:not([hidden])")
    error = page.inner_text(".lk-error")
    assert "window too large for me" in error
    assert "raise ValueError" in error
    move(page, "Patch size", "ArrowLeft", "8 px")
    page.wait_for_selector(".lk-error", state="hidden")
    page.wait_for_function(EXACT)


def test_stop_works_while_a_cell_runs(lab, open_page):
    slow = OWN.replace("    maps =", "    while True: model(images)\n    maps =")
    page = lab.open(open_page, [WORLD, slow], ".lk-cancel")
    # the widget's side channel is open once its first message has come through
    ask_until(page, "print(w.watched)", "1")
    cell = """
import time
end = time.time() + 60
print("begun", flush=True)
while time.time() < end and w.status != "stopped":
    time.sleep(0.01)
print("cell saw", w.status)
"""
    page.evaluate(f"(code) => {{ window.seen = ({ASK})(code); void 0 }}", cell)
    page.click(".lk-cancel")
    assert page.evaluate("() => window.seen").splitlines() == ["begun", "cell saw stopped"]
    assert page.inner_text(".lk-chip") == "stopped"


def test_a_page_that_is_opened_anew_shows_the_same(lab, open_page):
    page = lab.open(open_page, [WORLD, SHOW, "w2 = w\nw2"], ".lk-map >> nth=1")
    page.wait_for_function(
        """() => { const all = [...document.querySelectorAll('.lk-occlusion')];
        const [a, b] = all.map((n) => n.explorer);
        return a && b && a.exact && b.exact && String(a.values) === String(b.values) }"""
    )
