"""The exported page of the embedding explorer in a browser: hover, lasso, zoom, keys, colours."""

import numpy as np
import pytest

pytestmark = pytest.mark.browser

VIEW = "document.querySelector('#root').explorer"
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def saved(saved_page):
    return saved_page("embedding")


@pytest.fixture
def page(open_page, saved):
    return open_page(saved.address, width=1280, height=720)


def spot(page, i):
    """Where a point lies on the screen."""
    box = page.locator("[data-panel=plane] .lk-stage").bounding_box()
    x, y = page.evaluate(f"(i) => {VIEW}.spot(i)", i)
    return box["x"] + x * box["width"] / 600, box["y"] + y * box["height"] / 600


def test_the_points_lie_where_python_put_them(page, saved):
    saved.explorer.picture = 0
    saved.explorer.wait_idle()
    found = np.array(page.evaluate(f"() => Array.from({VIEW}.points)")).reshape(-1, 2)
    assert np.abs(found - saved.explorer.points.numpy()).max() < 2e-3


def test_hover_shows_the_picture_and_its_nearest_neighbours(page, saved):
    page.mouse.move(*spot(page, 7))
    page.evaluate(FRAMES)
    focus = page.evaluate(f"() => {VIEW}.focus")
    near = page.evaluate(f"() => {VIEW}.nearOf({focus})")
    assert near == saved.explorer.space.near[focus].tolist()
    assert f"block {focus + 1}" in page.inner_text("[data-panel=picture] .lk-foot")
    assert f"block {near[0] + 1}" in page.locator(".lk-near").get_attribute("aria-label")
    assert "of 8 share the kind" in page.inner_text("[data-panel=near]")


def test_a_click_pins_and_escape_lets_go(page):
    page.mouse.click(*spot(page, 7))
    pinned = page.evaluate(f"() => {VIEW}.state.point")
    assert pinned >= 0
    page.mouse.move(2, 2)
    page.evaluate(FRAMES)
    assert page.evaluate(f"() => {VIEW}.focus") == pinned
    page.keyboard.press("Escape")
    assert page.evaluate(f"() => {VIEW}.state.point") == -1


def test_the_lasso_chooses_what_it_holds(page):
    page.click("text=Lasso")
    box = page.locator("[data-panel=plane] .lk-stage").bounding_box()
    left, top, side = box["x"] + 1, box["y"] + 1, box["width"] - 2
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((1, 0), (1, 1), (0, 1), (0, 0.5)):
        page.mouse.move(left + x * side, top + y * side, steps=3)
    page.mouse.up()
    page.evaluate(FRAMES)
    assert page.evaluate(f"() => {VIEW}.chosen.size") == 40
    page.mouse.move(2, 2)
    page.evaluate(FRAMES)
    assert page.inner_text("[data-panel=picture] .lk-foot") == "40 chosen: left 20, right 20"


def test_wheel_drag_and_keys_move_the_plane_and_all_brings_it_back(page):
    before = spot(page, 3)
    box = page.locator("[data-panel=plane] .lk-stage").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.wheel(0, -300)
    page.evaluate(FRAMES)
    assert page.evaluate(f"() => {VIEW}.at.scale") > 1.5
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 120, steps=4)
    page.mouse.up()
    assert spot(page, 3) != pytest.approx(before, abs=5)
    page.click("text=All")
    assert spot(page, 3) == pytest.approx(before, abs=0.5)
    page.locator("[data-panel=plane] .lk-stage").focus()
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    assert page.evaluate(f"() => {VIEW}.state.point") >= 0
    page.keyboard.press("+")
    assert page.evaluate(f"() => {VIEW}.at.scale") == 1.5


def test_colours_and_legend_follow_and_a_name_chooses_its_pictures(page):
    page.click("text=by answer")
    assert "share the answer" in page.inner_text(".lk-answer")
    page.click("text=by kind")
    assert page.locator(".lk-hue").all_inner_texts() == ["left", "right"]
    page.click(".lk-hue >> nth=1")
    assert page.evaluate(f"() => [...{VIEW}.chosen].every((i) => i % 2 === 1) && {VIEW}.chosen.size") == 20


def test_pca_has_no_perplexity_and_every_perplexity_its_points(page):
    points = f"() => Array.from({VIEW}.points).slice(0, 8)"
    at_eight = page.evaluate(points)
    page.locator("input[aria-label=Perplexity]").press("ArrowLeft")
    assert page.evaluate(points) != at_eight
    page.keyboard.press("n")
    assert page.locator("input[aria-label=Perplexity]").is_hidden()
    assert page.inner_text("[data-panel=plane] .lk-aside-text") == "PCA"
