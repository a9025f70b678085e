"""The exported page of the occlusion explorer in a browser: pointer, keys, pixels, themes; no kernel."""

import re

import numpy as np
import pytest
import torch

from labkit.attribution import occlusion, occlusion_result
from labkit.widgets import OcclusionExplorer

pytestmark = pytest.mark.browser

MAP = "() => Array.from(document.querySelector('#root').explorer.values)"
PIXELS = """() => { const c = document.querySelector('.lk-map');
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
BOX = """() => { const n = document.querySelector('.lk-patch'), s = n.style;
  return [s.left, s.top, s.width, getComputedStyle(n).visibility] }"""
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


def slide(page, name, stop):
    """Move a slider until it says ``stop``; only stops that were saved are there."""
    slider = page.locator(f".lk-slider:has(input[aria-label='{name}'])")
    for i in range(int(slider.locator("input").get_attribute("max")) + 1):
        slider.locator("input").fill(str(i))
        if slider.locator("output").inner_text() == stop:
            return
    raise AssertionError(f"{name} must offer {stop}")


def choose(page, name):
    page.click(f".lk-pick:has-text('{name}')")
    page.mouse.move(5, 5)
    page.evaluate("() => { document.activeElement.blur(); void 0 }")


def painted(values):
    """The colours the map must have: symmetric about zero, 255 steps."""
    from matplotlib import colormaps

    table = (colormaps["RdBu_r"](np.linspace(0, 1, 255))[:, :3] * 255).round()
    index = np.clip(np.floor(values / np.abs(values).max() * 127 + 0.5), -127, 127).astype(int) + 127
    return table[index], index


@pytest.mark.parametrize(("window", "stride", "fill"), SETTINGS)
@pytest.mark.parametrize("target", [0, 3])
def test_the_map_is_the_library_s_for_every_setting(page, explorer, window, stride, fill, target):
    slide(page, "Patch size", f"{window} px")
    slide(page, "Stride", f"{stride} px")
    slide(page, "Fill", fill)
    choose(page, explorer.classes[target])
    image, options = explorer.images[0][None], {"window": window, "stride": stride, "fill": fill}
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
    image = explorer.images[0][None]
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
    assert "pinned" in page.inner_text("[data-panel=picture] .lk-foot")
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
    for window in explorer.windows:
        slide(page, "Patch size", f"{window} px")
        legends.add(page.inner_text(".lk-legend"))
    assert len(legends) == 1
    page.click("text=One scale")
    before = page.inner_text(".lk-legend")
    slide(page, "Patch size", "8 px")
    assert page.inner_text(".lk-legend") != before


def test_the_sweep_builds_the_map_up_and_ends_with_all_of_it(page):
    slide(page, "Stride", "8 px")  # 16 patches
    whole = page.evaluate(PIXELS)
    page.click(".lk-play")
    page.wait_for_function("() => document.querySelector('#root').explorer.playing > 2")
    part = np.array(page.evaluate(PIXELS)).reshape(32, 32, 4)
    assert part[0, 0, 3] == 255
    assert part[31, 31, 3] == 0
    page.wait_for_function("() => document.querySelector('#root').explorer.playing === null")
    assert page.evaluate(PIXELS) == whole


@pytest.mark.parametrize("theme", ["light", "dark", "projector-dark"])
def test_no_theme_changes_the_colours_of_the_map(open_page, address, theme):
    page = open_page(f"{address}#theme={theme}")
    assert page.evaluate(PIXELS)[:3] == painted(np.array(page.evaluate(MAP)))[0][0].astype(int).tolist()


def test_hover_repaints_within_five_milliseconds(page):
    times = page.evaluate(
        """() => { const e = document.querySelector('#root').explorer, all = [];
        for (let i = 0; i < 60; i++) {
          const t = performance.now(); e.hover(i % 32, (i * 7) % 32); all.push(performance.now() - t); }
        return all.sort((a, b) => a - b) }"""
    )
    assert times[len(times) // 2] <= 5


def test_the_answer_names_the_patch_that_costs_most(page, explorer):
    image, target = explorer.images[0][None], int(explorer.model(explorer.images[:1][0][None]).argmax())
    drops = occlusion_result(explorer.model, image, target, window=8, stride=2, fill="grey").drops[0]
    row, column = divmod(int(drops.argmax()), drops.shape[1])
    said = page.inner_text(".lk-answer").replace("\u2212", "-")
    name = explorer.classes[target]
    assert said.startswith(
        f"Hiding x {2 * column}, y {2 * row} costs {name} most, {float(drops.max()):.2f} logits"
    )
    page.mouse.move(*stage(page, 14, 12))
    said = page.inner_text(".lk-answer").replace("\u2212", "-")
    assert float(said.split(f"costs {name} ")[1].split(" ")[0]) == pytest.approx(
        float(drops[4, 5]), abs=0.011
    )


def test_numbers_are_of_the_fill_that_is_shown(page, explorer):
    """The patch stays pinned while the fill changes: what it costs is that of the new fill."""
    page.mouse.click(*stage(page, 14, 12))
    page.mouse.move(5, 5)
    image, target = explorer.images[0][None], int(explorer.model(explorer.images[0][None]).argmax())
    for fill in ("black", "mean", "grey"):
        slide(page, "Fill", fill)
        drops = occlusion_result(explorer.model, image, target, window=8, stride=2, fill=fill).drops[0]
        shown = page.inner_text(".lk-value >> nth=2").replace("\u2212", "-")
        assert float(shown) == pytest.approx(float(drops[4, 5]), abs=0.011)


def test_search_finds_a_class_by_a_part_of_its_name(open_page, saved_page):
    """The page knows all twelve classes; five of them stand there as buttons."""
    page = open_page(saved_page("occlusion").address)
    page.locator(".lk-search").focus()
    page.keyboard.type("or")
    assert page.locator(".lk-found li").all_inner_texts() == ["horse"]
    page.keyboard.press("Enter")
    assert page.inner_text(".lk-question em") == "horse"
    page.keyboard.type("ee")
    assert page.locator(".lk-found li").all_inner_texts() == ["deer", "tree"]
    page.keyboard.press("ArrowDown")
    assert page.locator(".lk-found li[aria-selected='true']").inner_text() == "tree"
    page.keyboard.press("Enter")
    assert page.inner_text(".lk-question em") == "tree"
    page.keyboard.type("zzz")
    assert page.inner_text(".lk-found") == "no class of that name"
    page.keyboard.press("Escape")
    assert page.locator(".lk-found").is_hidden()
    assert page.inner_text(".lk-question em") == "tree"  # and no key of the page was meant


def test_a_page_says_what_did_not_fit(explorer, open_page, tmp_path):
    whole = explorer.to_html()
    size = len(whole) / 1e6
    with pytest.warns(UserWarning, match="did not fit into limit_mb"):
        explorer.save_html(tmp_path / "small.html", limit_mb=size - 0.02)
    said = open_page((tmp_path / "small.html").as_uri()).inner_text(".lk-chip")
    assert re.fullmatch(r"\d+ answers did not fit into this page", said.strip())
