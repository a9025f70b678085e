"""The exported page of the mask explorer in a browser: the slider, the curve, the modes, the drawn pixels."""

import numpy as np
import pytest
import torch

from labkit.widgets import MaskExplorer

pytestmark = pytest.mark.browser

AREAS = (0.05, 0.2, 0.5)
PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
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
