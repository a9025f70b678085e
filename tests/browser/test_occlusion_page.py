"""The exported page of the occlusion explorer in a browser: pointer, keys, pixels, themes; no kernel."""

import numpy as np
import pytest
import torch

from labkit.attribution import occlusion, occlusion_result
from labkit.widgets import OcclusionExplorer

pytestmark = pytest.mark.browser

MAP = "() => Array.from(document.querySelector('#root').explorer.values)"
PIXELS = """() => { const c = document.querySelector('.lk-map');
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
BOX = """() => { const s = document.querySelector('.lk-patch').style;
  return [s.left, s.top, s.width, s.visibility] }"""
SETTINGS = [(8, 2, "grey"), (4, 4, "black"), (12, 8, "mean"), (16, 6, "grey")]


@pytest.fixture(scope="module")
def explorer(tiny):
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    pictures[:, :, 8:20, 10:22] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    stops = {"windows": [4, 6, 8, 12, 16], "strides": [2, 4, 6, 8]}
    widget = OcclusionExplorer(tiny, pictures, names=["one", "two", "three"], window=8, stride=2, **stops)
    widget.precompute(pictures=[0, 1], fills=["grey", "black", "mean"])
    return widget


@pytest.fixture(scope="module")
def address(explorer, tmp_path_factory):
    return explorer.save_html(tmp_path_factory.mktemp("page") / "occlusion.html").as_uri()


@pytest.fixture
def page(open_page, address):
    return open_page(address)


def stage(page, x, y):
    """The point of the window that shows pixel (x, y) of the picture."""
    box = page.locator(".lk-stage").first.bounding_box()
    return box["x"] + box["width"] * x / 32, box["y"] + box["height"] * y / 32


def slide(page, name, index):
    page.locator(f".lk-slider input[aria-label='{name}']").evaluate(
        "(node, i) => { node.value = i; node.dispatchEvent(new Event('input')); void 0 }", index
    )


def painted(values):
    """The colours the map must have: symmetric about zero, 255 steps."""
    from matplotlib import colormaps

    table = (colormaps["RdBu_r"](np.linspace(0, 1, 255))[:, :3] * 255).round()
    index = np.clip(np.floor(values / np.abs(values).max() * 127 + 0.5), -127, 127).astype(int) + 127
    return table[index], index


@pytest.mark.parametrize(("window", "stride", "fill"), SETTINGS)
@pytest.mark.parametrize("target", [0, 3])
def test_the_map_is_the_library_s_for_every_setting(page, explorer, window, stride, fill, target):
    slide(page, "Patch size", explorer.windows.index(window))
    slide(page, "Stride", explorer.strides.index(stride))
    slide(page, "Fill", explorer.fills.index(fill))
    page.select_option(".lk-other", str(target))
    image, options = explorer._answers.images[0][None], {"window": window, "stride": stride, "fill": fill}
    expected = occlusion(explorer.model, image, target, **options)[0].cpu().numpy()
    got = np.array(page.evaluate(MAP)).reshape(32, 32)
    assert np.abs(got - expected).max() <= 2e-3 * np.abs(expected).max()  # float16 in a saved page
    pixels = np.array(page.evaluate(PIXELS)).reshape(32, 32, 4)
    colours, _ = painted(got)
    assert (pixels[..., 3] == 255).all()
    assert np.abs(pixels[..., :3] - colours).max() <= 1


def test_pointing_hides_the_patch_and_reads_off_its_score(page, explorer):
    page.mouse.move(*stage(page, 14, 12))
    left, top, width, visibility = page.evaluate(BOX)
    assert (left, top, width, visibility) == ("31.25%", "25%", "25%", "visible")  # x 10, y 8, 8 px
    image = explorer._answers.images[0][None]
    target = int(explorer.model(image).argmax())
    result = occlusion_result(explorer.model, image, target, window=8, stride=2, fill="grey")
    drop = float(result.drops[0, 4, 5])
    shown = page.inner_text(".lk-value >> nth=2").replace("\u2212", "-")
    assert float(shown) == pytest.approx(drop, abs=0.006 + 0.002 * abs(drop))
    page.mouse.move(5, 5)
    assert page.evaluate(BOX)[3] == "hidden"


def test_arrows_move_enter_pins_escape_clears(page):
    page.locator(".lk-stage").first.focus()
    page.keyboard.press("ArrowRight")  # appears in the middle
    assert page.evaluate(BOX)[:2] == ["37.5%", "37.5%"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(BOX)[:2] == ["43.75%", "43.75%"]
    page.keyboard.press("Enter")
    assert "pinned" in page.inner_text(".lk-foot")
    page.mouse.move(*stage(page, 4, 4))
    assert page.evaluate(BOX)[:2] == ["0%", "0%"]
    page.mouse.move(5, 5)
    assert page.evaluate(BOX)[:2] == ["43.75%", "43.75%"]
    page.keyboard.press("Escape")
    assert page.evaluate(BOX)[3] == "hidden"


def test_plus_and_minus_change_the_patch_from_anywhere_in_the_widget(page):
    page.locator(".lk-stage").first.focus()
    page.keyboard.press("+")
    assert page.inner_text(".lk-slider-value >> nth=0") == "12 px"
    page.locator(".lk-slider input").nth(1).focus()
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert page.inner_text(".lk-slider-value >> nth=0") == "6 px"


def test_one_scale_is_the_same_for_every_patch_size(page, explorer):
    page.click("text=One scale")
    legends = set()
    for i in range(len(explorer.windows)):
        slide(page, "Patch size", i)
        legends.add(page.inner_text(".lk-legend-numbers"))
    assert len(legends) == 1
    page.click("text=One scale")
    before = page.inner_text(".lk-legend-numbers")
    slide(page, "Patch size", 2)
    assert page.inner_text(".lk-legend-numbers") != before


def test_the_sweep_builds_the_map_up_and_ends_with_all_of_it(page):
    slide(page, "Stride", 3)  # 8 px: 16 patches
    whole = page.evaluate(PIXELS)
    page.click(".lk-play")
    page.wait_for_function("() => document.querySelector('#root').explorer.playing > 2")
    part = np.array(page.evaluate(PIXELS)).reshape(32, 32, 4)
    assert part[0, 0, 3] == 255
    assert part[31, 31, 3] == 0
    page.wait_for_function("() => document.querySelector('#root').explorer.playing === null")
    assert page.evaluate(PIXELS) == whole


def test_pictures_change_and_those_not_computed_are_out_of_reach(page):
    page.click(".lk-thumb >> nth=1")
    assert page.inner_text("figcaption span >> nth=0") == "two"
    assert page.locator(".lk-thumb").nth(2).is_disabled()
    assert page.locator(".lk-own").count() == 0


def test_a_setting_that_was_not_computed_says_so(page, explorer):
    slide(page, "Fill", explorer.fills.index("blur"))
    assert page.inner_text(".lk-chip") == "not in this saved page"


def test_the_height_stays_while_the_hand_moves(page, explorer):
    heights = {page.locator(".lk").bounding_box()["height"]}
    for i in range(len(explorer.windows)):
        slide(page, "Patch size", i)
        page.mouse.move(*stage(page, 3 * i, 20))
        heights.add(page.locator(".lk").bounding_box()["height"])
    page.click(".lk-row >> nth=2")
    heights.add(page.locator(".lk").bounding_box()["height"])
    assert len(heights) == 1


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_follows_the_system_s_theme_and_the_map_does_not(open_page, address, scheme, dark):
    page = open_page(address, scheme=scheme)
    background = page.evaluate("() => getComputedStyle(document.querySelector('.lk')).backgroundColor")
    level = np.mean([float(v) for v in background[4:-1].split(",")])
    assert (level < 80) == dark
    assert page.evaluate(PIXELS)[:3] == painted(np.array(page.evaluate(MAP)))[0][0].astype(int).tolist()


def test_projector_mode_enlarges_the_type(page):
    size = "() => parseFloat(getComputedStyle(document.querySelector('.lk')).fontSize)"
    before = page.evaluate(size)
    page.click("button:text('Projector')")
    assert page.evaluate(size) >= 1.25 * before


@pytest.mark.parametrize("width", [600, 1000, 1500])
def test_nothing_sticks_out_at_any_width(open_page, address, width):
    page = open_page(address, width=width)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_everything_has_a_name_and_keys_stay_in_the_widget(page):
    shielded = """() => [...document.querySelectorAll('button, input, select, [tabindex], .lk')]
      .every((n) => n.getAttribute('data-lm-suppress-shortcuts') === 'true')"""
    assert page.evaluate(shielded)
    nameless = """() => [...document.querySelectorAll('button:not([hidden]), input, select, canvas[role]')]
      .filter((n) => !n.getAttribute('aria-label') && !n.textContent.trim() && !n.closest('label')).length"""
    assert page.evaluate(nameless) == 0


def test_hover_repaints_within_five_milliseconds(page):
    times = page.evaluate(
        """() => { const e = document.querySelector('#root').explorer, all = [];
        for (let i = 0; i < 60; i++) {
          const t = performance.now(); e.hover(i % 32, (i * 7) % 32); all.push(performance.now() - t); }
        return all.sort((a, b) => a - b) }"""
    )
    assert times[len(times) // 2] <= 5


def test_an_error_of_the_page_s_own_code_is_shown(open_page, address, browser):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".lk-stage")
    page.evaluate(
        """() => { const e = document.querySelector('#root').explorer;
        e.hover = () => { throw new Error('by hand') }; void 0 }"""
    )
    page.mouse.move(*stage(page, 14, 12))
    assert "by hand" in page.inner_text(".lk-fault")
    context.close()
