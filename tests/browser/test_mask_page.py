"""The exported page of the mask explorer in a browser: the slider, the curve, the modes, the drawn pixels."""

import json
import re

import numpy as np
import pytest
import torch

from labkit.widgets import MaskExplorer
from labkit.widgets.kit.page import packed

pytestmark = pytest.mark.browser

AREAS = (0.05, 0.2, 0.5)
PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
REVIVE = """window.revived = (v) => Array.isArray(v) ? v.map(revived)
  : v === null || typeof v !== 'object' ? v
  : 'base64' in v ? new DataView(Uint8Array.from(atob(v.base64), (c) => c.charCodeAt(0)).buffer)
  : Object.fromEntries(Object.entries(v).map(([k, item]) => [k, revived(item)]));"""
STATE = """() => { const { stop, mode, picture } = document.querySelector('#root').explorer.state;
  return [stop, mode, picture] }"""


@pytest.fixture(scope="module")
def explorer(tiny):
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    pictures[:, :, 8:20, 10:22] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[:, 8:20, 10:22] = True
    tiny.classes = ["fire engine", "horse", "tree", "wolf"]
    widget = MaskExplorer(tiny, pictures, areas=AREAS, steps=8, names=["one", "two", "three"], masks=masks)
    widget.precompute(pictures=[0, 1])
    return widget


@pytest.fixture(scope="module")
def address(explorer, tmp_path_factory):
    return explorer.save_html(tmp_path_factory.mktemp("page") / "masks.html").as_uri()


def live_page(explorer, folder):
    """The page with a kernel that never answers."""
    path = folder / "live.html"
    path.write_text(explorer.to_html().replace('"live": false', '"live": true'), "utf-8")
    return path.as_uri()


@pytest.fixture
def page(open_page, address):
    return open_page(address)


def drawn(page, kind):
    return np.array(page.evaluate(PIXELS, kind)).reshape(32, 32, 4)[..., :3]


@pytest.mark.parametrize("stop", range(3))
def test_the_slider_shows_what_the_network_was_shown(page, explorer, stop):
    page.locator("input[aria-label=Area]").fill(str(stop))
    shown = np.frombuffer(explorer.answer["shown"], np.uint8).reshape(3, 32, 32, 3)
    assert (drawn(page, "left") == shown[stop]).all()
    foot = page.locator("[data-panel=left] .lk-foot").text_content()
    p = explorer.answer["p"][stop]
    assert foot.endswith(f"{100 * p:.0f}%" if p >= 0.0995 else f"{100 * p:.1f}%")
    iou = page.locator("[data-panel=mask] .lk-foot").text_content()
    assert iou == f"IoU with the truth {explorer.answer['iou'][stop]:.2f}"


def test_the_mask_is_bright_where_it_keeps_and_dark_elsewhere(page, explorer):
    page.locator("input[aria-label=Area]").fill("1")
    mask, picture = explorer.masks[1].numpy(), explorer.images[0].permute(1, 2, 0).numpy() * 255
    seen = drawn(page, "mask")
    assert np.abs(seen[mask > 0.99] - picture[mask > 0.99]).max(initial=0) <= 4
    assert seen[mask < 0.01].max(initial=0) <= 0.18 * 255 + 2


def test_a_click_on_the_curve_and_keys_move_the_slider(page):
    box = page.locator(".lk-curve").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 8, box["y"] + 40)
    assert page.evaluate(STATE)[0] == 2
    assert page.locator("input[aria-label=Area]").input_value() == "2"
    page.locator(".lk-curve").press("ArrowLeft")
    assert page.evaluate(STATE)[0] == 1
    page.locator(".lk-curve").press("Home")
    assert page.evaluate(STATE)[0] == 0
    assert "area 5" in page.locator(".lk-curve").get_attribute("aria-valuetext")


def test_the_mode_changes_the_question_and_the_picture(page):
    before = drawn(page, "left")
    page.click("[data-mode=delete]")
    assert "needed for" in page.locator(".lk-question").text_content()
    assert (drawn(page, "left") != before).any()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(STATE)[1] == "preserve"
    assert (drawn(page, "left") == before).all()


LINE = """() => { const level = document.querySelector('.lk-curve .level').getAttribute('y1');
  const [low, high] = [0, 2].map((i) => document.querySelectorAll('.lk-curve .grid')[i].getAttribute('y1'));
  return (level - low) / (high - low) }"""
HALF = r"half of the whole picture's ([\d.]+)%\."
ENOUGH = {
    "preserve": r"([\d.]+)% of the picture suffices for [\w ]+: ([\d.]+)%, at least " + HALF,
    "delete": r"Without ([\d.]+)% of the picture [\w ]+ is lost: ([\d.]+)%, less than " + HALF,
}


@pytest.mark.parametrize("mode", ["preserve", "delete"])
@pytest.mark.parametrize("picture", [0, 1])
def test_what_suffices_is_read_off_the_curve(page, explorer, mode, picture):
    page.locator(".lk-thumb").nth(picture).click()
    page.click(f"[data-mode={mode}]")
    answer = explorer._cache.get(explorer._key(picture, mode=mode))
    logits = explorer.model(explorer.images[picture][None]).detach()
    whole = float(logits.softmax(1)[0, answer["target"]])
    assert page.inner_text("[data-panel=curve] figcaption b") == "Probability"
    assert page.evaluate(LINE) == pytest.approx(whole / 2, abs=0.01)  # the dashed line
    beyond = [(p >= whole / 2) == (mode == "preserve") for p in answer["p"]]
    said = page.inner_text(".lk-answer")
    if True not in beyond:
        assert said.startswith("No area here")
        return
    area, p, all_of_it = re.fullmatch(ENOUGH[mode], said).groups()
    first = beyond.index(True)
    assert float(area) == pytest.approx(100 * AREAS[first])
    assert float(p) == pytest.approx(100 * answer["p"][first], abs=0.51)
    assert float(all_of_it) == pytest.approx(100 * whole, abs=0.51)


def test_a_coarse_answer_says_so_until_the_other_is_there(open_page, explorer, tmp_path):
    exact = explorer._cache.get(explorer._key(0, mode="preserve"))
    size, stops = 32 * 32, [0, 2]
    parts = {"data": size, "shown": 3 * size}
    some = {k: b"".join(exact[k][i * n : (i + 1) * n] for i in stops) for k, n in parts.items()}
    some |= {k: [exact[k][i] for i in stops] for k in ("p", "best", "best_p", "achieved", "iou")}
    state = json.dumps(packed(exact | some | {"coarse": True, "stops": stops}))
    page = open_page(live_page(explorer, tmp_path))
    give = (
        "(a) => { const v = document.querySelector('#root').explorer; v.take(revived(a)); v.draw(); void 0 }"
    )
    page.evaluate("() => { " + REVIVE + " }")
    page.evaluate(give, json.loads(state))
    page.locator("input[aria-label=Area]").fill("0")
    assert page.inner_text(".lk-answer").startswith("Coarse: ")
    assert page.inner_text("[data-panel=mask] .lk-aside-text").startswith("coarse, area")
    page.locator("input[aria-label=Area]").fill("1")  # an area that is not there yet
    assert page.inner_text("[data-panel=mask] .lk-wait") == "computing \u2026"
    assert page.locator(".lk-ticks i.on").count() == 2
    page.evaluate(give, json.loads(json.dumps(packed(exact))))
    assert not page.inner_text(".lk-answer").startswith("Coarse")
    assert page.inner_text("[data-panel=mask] .lk-aside-text").startswith("area")
    assert page.inner_text("[data-panel=mask] .lk-wait") == ""


def test_another_picture(page, explorer):
    page.locator(".lk-thumb").nth(1).click()
    assert page.evaluate(STATE)[2] == 1
    shown = np.frombuffer(explorer._cache.get(explorer._key(1))["shown"], np.uint8).reshape(3, 32, 32, 3)
    assert (drawn(page, "left") == shown[explorer.stop]).all()


def test_the_truth_is_outlined_on_demand(page):
    edge = page.locator("[data-panel=mask] .lk-edge-over")
    assert edge.get_attribute("d")
    page.click("button:text-is('Truth')")
    assert not edge.get_attribute("d")


def test_a_page_begins_where_something_was_saved(open_page, tiny, tmp_path):
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    widget = MaskExplorer(tiny, pictures, areas=AREAS, steps=10**6)
    widget.cancel = True  # the masks on view are never found
    widget.wait_idle()
    widget.steps = 2
    widget.precompute(pictures=[1], modes=["delete"])
    page = open_page(widget.save_html(tmp_path / "page.html").as_uri())
    assert page.evaluate(STATE)[1:] == ["delete", 1]
    assert page.locator("[data-mode]:visible").all_inner_texts() == ["Delete"]
    assert page.locator(".lk-wait").all_inner_texts() == ["", "", ""]
