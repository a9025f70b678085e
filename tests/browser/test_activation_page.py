"""The exported page of the activation explorer in a browser: tiles, bars, pointer, keys, drawn pixels."""

import numpy as np
import pytest

from .pages import network, pictures

pytestmark = pytest.mark.browser

VIEW = "document.querySelector('#root').explorer"
PIXELS = """(kind) => { const c = document.querySelector(`[data-kind='${kind}']`);
  return [c.width, c.height, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data] }"""


@pytest.fixture
def saved(saved_page):
    return saved_page("activation")


@pytest.fixture
def page(open_page, saved):
    return open_page(saved.address, width=1280, height=720)


def drawn(page, kind):
    width, height, *values = page.evaluate(PIXELS, kind)
    return np.array(values).reshape(height, width, 4)[..., :3]


def test_the_pointer_says_what_all_channels_say_there(page, saved):
    grid, entry = saved.explorer.grid, saved.explorer._entry("5")
    box = page.locator("[data-panel=picture] .lk-stage").bounding_box()
    for x, y in ((5, 7), (33, 50), (63, 63)):
        page.mouse.move(box["x"] + (x + 0.5) * box["width"] / 64, box["y"] + (y + 0.5) * box["height"] / 64)
        row, column = (
            min(range(len(m)), key=lambda k: abs(m[k] - at - 0.5))
            for m, at in ((entry["rows"], y), (entry["columns"], x))
        )
        vector = grid[:, row, column]
        order = [k for k in vector.argsort(descending=True).tolist() if vector[k] > 0][:3]
        text = page.locator("[data-panel=vector] .lk-foot").text_content()
        assert text == ("all silent here" if not order else text)
        assert not order or text.startswith(f"loudest: {order[0]}")
        assert f"at {row}, {column}" in page.locator("[data-panel=map] .lk-foot").text_content()
    page.locator("[data-panel=picture] .lk-stage").click()
    page.mouse.move(1, 1)
    assert "pinned" in page.locator("[data-panel=picture] .lk-foot").text_content()
    page.keyboard.press("Escape")
    assert page.locator("[data-panel=picture] .lk-foot").text_content() == "point at a place"


def test_tiles_bars_and_keys_choose_a_channel_that_is_known(page):
    known = f"() => [...Array(12).keys()].filter((channel) => {VIEW}.known({{ channel }}))"
    channels = page.evaluate(known)
    assert len(channels) == 3
    channel = f"() => {VIEW}.state.channel"
    seen = {page.evaluate(channel)}
    for _ in range(2):
        page.keyboard.press("+")
        seen.add(page.evaluate(channel))
    assert seen == set(channels)
    page.keyboard.press("-")
    tile = page.evaluate(f"() => {VIEW}.tiles")
    box = page.locator("[data-panel=grid] .lk-stage").bounding_box()
    wide, high = page.evaluate(
        "() => { const c = document.querySelector('[data-kind=grid]'); return [c.width, c.height] }"
    )
    scale = min(box["width"] / wide, box["height"] / high)
    for wanted in (*channels, next(c for c in range(12) if c not in channels)):
        before = page.evaluate(channel)
        x = (wanted % tile["columns"] + 0.4) * tile["width"] * scale + (box["width"] - scale * wide) / 2
        y = (wanted // tile["columns"] + 0.4) * tile["height"] * scale + (box["height"] - scale * high) / 2
        page.mouse.click(box["x"] + x, box["y"] + y)
        assert page.evaluate(channel) == (wanted if wanted in channels else before)  # the last was not saved
    page.keyboard.press("l")
    assert page.evaluate(f"() => {VIEW}.state.layer") == "9"
    assert page.evaluate(f"() => Boolean({VIEW}.find())")


def test_patches_and_map_are_those_of_the_library(page, saved):
    from labkit.visualization import top_patches

    explorer = saved.explorer
    images, _ = pictures()
    channel, side = page.evaluate(f"() => [{VIEW}.state.channel, {VIEW}.of('patches').side]")
    right = top_patches(network(), images, "5", units=[channel])[0]
    sheet = drawn(page, "patches")
    for k in range(3):
        cell = sheet[:side, k * (side + 1) : k * (side + 1) + side]
        times = side // right.shape[-1]
        if times * right.shape[-1] == side:
            expected = right[k].permute(1, 2, 0).numpy() * 255
            assert np.abs(cell[::times, ::times] - expected).max() <= 1
    label = page.locator("[data-kind=patches]").get_attribute("aria-label")
    assert f"patches of channel {channel}" in label
    quiet = int((explorer.grid.flatten(1).amax(1) <= 0).sum())
    assert (
        page.locator("[data-panel=grid] .lk-foot").text_content().startswith(str(quiet) if quiet else "none")
    )


def test_own_scales_make_every_channel_as_bright(page):
    before = drawn(page, "grid")
    page.click("text=Own scales")
    after = drawn(page, "grid")
    assert after.astype(float).mean() > before.astype(float).mean()


def test_a_channel_that_is_not_in_the_page_says_so_when_it_is_clicked(page):
    known = page.evaluate(f"() => [...Array(12).keys()].filter((channel) => {VIEW}.known({{ channel }}))")
    other, before = next(k for k in range(12) if k not in known), page.evaluate(f"() => {VIEW}.state.channel")
    box = page.locator(".lk-vector").bounding_box()
    page.mouse.click(box["x"] + (other + 0.5) * box["width"] / 12, box["y"] + box["height"] / 2)
    foot = page.locator("[data-panel=grid] .lk-foot")
    assert foot.inner_text() == f"channel {other}: not in this page"
    assert page.evaluate(f"() => {VIEW}.state.channel") == before
    page.keyboard.press("+")
    assert "silent" in foot.inner_text()


def test_the_headline_says_which_channel_fires(page):
    said = f"Channel {page.evaluate(f'() => {VIEW}.state.channel')} "
    assert page.inner_text(".lk-answer").startswith((f"{said}fires in ", f"{said}never fires in "))
