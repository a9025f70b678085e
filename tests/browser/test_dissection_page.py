"""The exported page of the dissection explorer, and of one scene's labels, in a browser."""

import numpy as np
import pytest

from labkit.app.demos_dissection import labels_html
from labkit.data import MiniBroden

pytestmark = pytest.mark.browser

VIEW = "document.querySelector('#root').explorer"
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def saved(saved_page):
    return saved_page("dissection")


@pytest.fixture
def page(open_page, saved):
    return open_page(saved.address, width=1280, height=720)


def test_units_stand_in_the_order_of_their_iou_and_follow_the_pointer(page, saved):
    iou = saved.explorer.delivery["tables"][0]["iou"]
    order = page.evaluate(f"() => {VIEW}.order({VIEW}.find())")
    assert [iou[k] for k in order] == sorted(iou, reverse=True)
    box = page.locator("[data-panel=units] .lk-stage").bounding_box()
    page.mouse.move(box["x"] + 0.96 * box["width"], box["y"] + 0.5 * box["height"])
    page.evaluate(FRAMES)
    assert page.inner_text("[data-panel=units] .lk-foot").startswith(f"unit {order[-1]}:")
    assert page.inner_text("[data-panel=top] .lk-aside-text") == f"unit {order[-1]}"
    page.locator("[data-panel=units] .lk-stage").press("ArrowLeft")
    page.evaluate(FRAMES)
    assert page.inner_text("[data-panel=top] .lk-aside-text") == f"unit {order[-2]}"
    page.locator("[data-panel=units] .lk-stage").press("Enter")
    assert page.evaluate(f"() => {VIEW}.state.unit") == order[-2]
    page.keyboard.press("Escape")
    assert page.evaluate(f"() => {VIEW}.state.unit") == -1


def test_the_counts_are_those_of_python_at_every_level(page, saved):
    explorer = saved.explorer
    slider = page.get_by_role("slider", name="Detector: IoU above")
    slider.press("Home")
    for level in explorer.stops["level"]:
        table = explorer.delivery["tables"][0]
        units = [k for k, iou in enumerate(table["iou"]) if iou > level]
        said = page.inner_text(".lk-answer")
        assert said.startswith(f"{len(units)} of {len(table['iou'])} units detect")
        assert f"detect {len({table['label'][k] for k in units})} labels" in said
        slider.press("ArrowRight")


def test_the_mask_is_the_map_enlarged_and_cut(page, saved):
    import torch
    import torch.nn.functional as F

    found = saved.explorer.delivery
    script = f"""() => {{ const a = {VIEW}.find();
      return Array.from({VIEW}.enlarged(a, 0, 48, a.tables[0].cut[0])) }}"""
    seen = np.array(page.evaluate(script)).reshape(48, 48)
    small = np.frombuffer(found["data"], np.uint8).reshape(-1, found["height"], found["width"])[0]
    large = F.interpolate(torch.tensor(small.copy())[None, None].float(), size=(48, 48), mode="bilinear")
    assert np.array_equal(seen, (large[0, 0] > found["tables"][0]["cut"][0]).numpy())


def test_the_labels_of_the_pixel_under_the_pointer(open_page, tmp_path):
    path = tmp_path / "labels.html"
    path.write_text(labels_html((0, 1), 4), "utf-8")
    page = open_page(path.as_uri(), ready="canvas", width=1280, height=720)
    maps = MiniBroden(4, "test").stack().maps
    box = page.locator("canvas").first.bounding_box()
    side = min(box["width"], box["height"])
    y, x = np.argwhere(np.asarray(maps["part"][0]) > 0)[40]
    page.mouse.move(box["x"] + (x + 0.5) / 128 * side, box["y"] + (y + 0.5) / 128 * side)
    page.evaluate(FRAMES)
    page.evaluate(FRAMES)
    said = page.inner_text(".answer")
    for kind in ("scene", "object", "part", "color"):
        assert f"{kind} {MiniBroden.names[kind][maps[kind][0, y, x]]}" in said
    page.keyboard.press("n")
    page.wait_for_function("() => location.hash === '#scene=1'")
    for width, height in ((1280, 720), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.keyboard.press("p")
        scroll = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        assert page.evaluate(scroll) == [width, height]


def test_a_slider_goes_through_the_snapshots_of_a_training(page, saved):
    iou = {a["picture"]: a["tables"][0]["iou"] for a in saved.explorer._saved() if a["power"] == 0}
    slider = page.get_by_role("slider", name="Epochs of training")
    assert page.locator(".lk-thumb:visible").count() == 2  # a training at two layers
    page.evaluate(f"() => {VIEW}.set({{ unit: 3 }})")
    slider.press("Home")
    for picture, epochs in ((0, "1"), (3, "4"), (6, "8")):
        assert page.evaluate(f"() => {VIEW}.state.picture") == picture
        assert slider.get_attribute("aria-valuetext") == epochs
        assert f"after {epochs}" in page.inner_text("h1")
        shown = page.inner_text("[data-panel=units] .lk-foot")
        assert shown.startswith("unit 3:")  # the pinned one stays
        assert f"IoU {iou[picture][3]:.2f}".replace("0.", ".") in shown.replace("0.", ".")
        slider.press("ArrowRight")
    page.keyboard.press("n")  # the other layer, as long trained
    assert page.evaluate(f"() => {VIEW}.state.picture") == 7
    page.keyboard.press("e")
    assert page.evaluate(f"() => {VIEW}.state.picture") == 1
    assert page.locator(".lk-thumb[aria-checked=true]").get_attribute("aria-label") == "net, 5"
