"""The exported page of the comparer in a browser: pixels, crosshair, keys, search, themes; no kernel."""

import numpy as np
import pytest
import torch

from labkit import attribution
from labkit.widgets import Comparer

pytestmark = pytest.mark.browser

METHODS = ["saliency", "gradient_x_input", "occlusion", "cam"]
PIXELS = """(name) => { const c = document.querySelector(`[data-method='${name}'] canvas`);
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data) }"""
VALUES = """(name) => Array.from(document.querySelector('#root').explorer.answer(name).values)"""
CROSSES = """() => [...document.querySelectorAll('.lk-cross')].map((c) => c.hidden ? null
  : [c.style.getPropertyValue('--x'), c.style.getPropertyValue('--y'), c.classList.contains('pinned')])"""


def broken(model, images, target):
    raise ValueError("model must have wings; this one has none.")


@pytest.fixture(scope="module")
def truth():
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[:2, 8:20, 10:22] = True
    return masks


@pytest.fixture(scope="module")
def comparer(tiny, truth):
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    pictures[:, :, 8:20, 10:22] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    tiny.classes = ["fire engine", "horse", "tree", "wolf"]
    widget = Comparer(tiny, pictures, methods=METHODS, names=["one", "two", "three"], masks=truth)
    widget.precompute(pictures=[0, 1], targets=[0, 1, 2, 3])
    return widget


@pytest.fixture(scope="module")
def address(comparer, tmp_path_factory):
    return comparer.save_html(tmp_path_factory.mktemp("page") / "comparer.html").as_uri()


@pytest.fixture
def page(open_page, address):
    return open_page(address)


def point(page, x, y, panel=0):
    """The point of the window that shows pixel (x, y) in a panel."""
    box = page.locator(".lk-stage").nth(panel).bounding_box()
    return box["x"] + box["width"] * (x + 0.5) / 32, box["y"] + box["height"] * (y + 0.5) / 32


def choose(page, name):
    page.click(f".lk-pick:has-text('{name}')")
    page.mouse.move(5, 5)
    page.evaluate("() => { document.activeElement.blur(); void 0 }")


def colours(values, top, signed):
    """The colours a map must have: symmetric about zero in 255 steps, or from zero up in 256."""
    from matplotlib import colormaps

    if signed:
        place = np.clip(np.floor(values / top * 127 + 0.5), -127, 127).astype(int) + 127
        return (colormaps["RdBu_r"](np.linspace(0, 1, 255))[:, :3] * 255).round()[place]
    place = np.clip(np.floor(values / top * 255 + 0.5), 0, 255).astype(int)
    return (colormaps["viridis"](np.linspace(0, 1, 256))[:, :3] * 255).round()[place]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("target", [0, 3])
def test_the_drawn_map_is_the_library_s(page, comparer, name, target):
    from labkit.plots import DIVERGING, scale_of

    choose(page, comparer.classes[target])
    expected = getattr(attribution, name)(comparer.model, comparer.image, target)
    got = np.array(page.evaluate(VALUES, name), np.float32).reshape(32, 32)
    library = expected[0].cpu().numpy()
    assert np.abs(got - library).max() <= 1e-3 * np.abs(library).max()  # float16 in a saved page
    _, top, kind = scale_of(expected)
    drawn = np.array(page.evaluate(PIXELS, name)).reshape(32, 32, 4)
    assert (drawn[..., 3] == 255).all()
    assert np.abs(drawn[..., :3] - colours(got, top, kind == DIVERGING)).max() <= 1


def test_hover_shows_every_method_s_value_in_all_panels_at_once(page, comparer):
    page.mouse.move(*point(page, 14, 12, panel=2))
    crosses = page.evaluate(CROSSES)
    assert crosses == [["45.3125%", "39.0625%", False]] * (len(METHODS) + 1)
    assert page.inner_text("[data-panel=picture] .lk-foot") == "x 14, y 12"
    for name in METHODS:
        shown = page.inner_text(f"[data-method='{name}'] .lk-here").replace("\u2212", "-")
        expected = float(comparer.maps[name][12, 14])
        top = float(comparer.maps[name].abs().max())
        assert float(shown) == pytest.approx(expected, abs=0.01 * top)
    page.mouse.move(2, 2)
    assert page.evaluate(CROSSES) == [None] * (len(METHODS) + 1)
    assert page.inner_text(f"[data-method='{METHODS[0]}'] .lk-here") == ""


def test_a_click_pins_and_escape_lets_go(page):
    page.mouse.click(*point(page, 3, 30, panel=1))
    page.mouse.move(2, 2)
    assert page.evaluate(CROSSES)[4] == ["10.9375%", "95.3125%", True]
    page.mouse.move(*point(page, 20, 20, panel=3))
    assert page.evaluate(CROSSES)[0] == ["64.0625%", "64.0625%", False]  # the ghost goes before the pin
    page.mouse.move(2, 2)
    assert page.evaluate(CROSSES)[0][2] is True
    page.keyboard.press("Escape")  # the click has brought the focus
    assert page.evaluate(CROSSES)[0] is None


def test_arrows_move_and_enter_pins(page):
    page.locator(".lk-stage").first.focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.inner_text("[data-panel=picture] .lk-foot") == "x 16, y 23"
    page.keyboard.press("Enter")
    assert page.inner_text("[data-panel=picture] .lk-foot") == "x 16, y 23, pinned"
    for _ in range(5):
        page.keyboard.press("Shift+ArrowRight")
    assert page.inner_text("[data-panel=picture] .lk-foot") == "x 31, y 23"


def test_one_scale_has_the_same_numbers_and_rule_in_all_panels(page, comparer):
    legends = "() => [...document.querySelectorAll('.lk-legend')].map((n) => n.innerText)"
    assert len(set(page.evaluate(legends))) > 1
    page.click("text=One scale")
    assert len(set(page.evaluate(legends))) == 1
    from labkit.plots import scale_of

    top = max(scale_of(m[None])[1] for m in comparer.maps.values())
    got = np.array(page.evaluate(VALUES, "saliency"), np.float32).reshape(32, 32)
    drawn = np.array(page.evaluate(PIXELS, "saliency")).reshape(32, 32, 4)[..., :3]
    assert np.abs(drawn - colours(got, top, True)).max() <= 1  # one of the maps is signed, so all are
    page.click("text=One scale")
    assert len(set(page.evaluate(legends))) > 1


def test_over_the_picture_its_greys_are_seen(page):
    before = page.evaluate(PIXELS, "occlusion")
    page.click("text=Overlay")
    assert page.evaluate(PIXELS, "occlusion") != before
    page.click("text=Overlay")
    assert page.evaluate(PIXELS, "occlusion") == before


def test_scores_against_the_truth_and_its_outline(page, comparer):
    for name in METHODS:
        scores, panel = comparer.scores[name], page.locator(f"[data-method='{name}']")
        _, inside, word, hit = panel.locator(".lk-foot span").all_inner_texts()
        assert float(inside.split("%")[0]) == pytest.approx(100 * scores["energy"], abs=0.51)
        assert (word, hit) == ("inside", "hit" if scores["hit"] else "miss")
        bar = panel.locator(".lk-inside").evaluate(
            "(n) => [n.children[0].style.width, n.children[1].style.left]"
        )
        shares = [float(text[:-1]) for text in bar]
        assert shares == pytest.approx([100 * scores["energy"], 100 * scores["area"]], abs=0.1)
        assert panel.locator("figcaption span").inner_text().endswith("s")
    edge = page.locator(".lk-edge-over").first
    assert edge.evaluate("(n) => { const b = n.getBBox(); return [b.x, b.y, b.width, b.height] }") == [
        10,
        8,
        12,
        12,
    ]
    page.click("button:text('Truth')")
    assert not edge.get_attribute("d")


def test_buttons_choose_the_panels(page):
    page.click("[data-tick=occlusion]")
    assert page.locator(".lk-stage").count() == len(METHODS)
    page.click("[data-tick=occlusion]")
    order = page.evaluate(
        "() => [...document.querySelectorAll('[data-method]')].map((n) => n.dataset.method)"
    )
    assert order == METHODS


def test_the_five_likeliest_are_radio_buttons_that_arrows_choose(page, comparer):
    likeliest = comparer._photo(0)["top"]
    names = [comparer.classes[i] for i in likeliest]
    assert page.locator(".lk-pick:visible .lk-class").all_inner_texts() == names
    page.locator(".lk-pick").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".lk-question em") == names[1]
    assert page.locator(".lk-pick[aria-checked='true'] .lk-class").inner_text() == names[1]


def test_pictures_change(page, comparer):
    page.click(".lk-thumb >> nth=1")
    assert page.inner_text("figcaption span >> nth=0") == "two"
    target = comparer._photo(1)["top"][0]
    expected = attribution.saliency(comparer.model, comparer.images[1][None], target)[0].numpy()
    got = np.array(page.evaluate(VALUES, "saliency")).reshape(32, 32)
    assert np.abs(got - expected).max() <= 1e-3 * expected.max()


def test_a_fault_stays_in_its_panel(open_page, tiny, tmp_path):
    pictures = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    own = {
        "saliency": attribution.saliency,
        "broken": broken,
        "tiny": lambda m, i, t: attribution.saliency(m, i, t) * 1e-9,
    }
    widget = Comparer(tiny, pictures, methods=own)
    page = open_page(widget.save_html(tmp_path / "page.html").as_uri())
    assert "model must have wings" in page.inner_text("[data-method='broken'] .lk-error")
    assert page.locator("[data-method='broken'] .lk-legend").is_hidden()
    plain, small = (np.array(page.evaluate(VALUES, name)) for name in ("saliency", "tiny"))
    assert np.abs(small * 1e9 - plain).max() <= 1e-3 * plain.max()  # float16 alone would make it zero
    stages = page.evaluate(
        "() => [...document.querySelectorAll('.lk-stage')].map((s) => [s.clientWidth, s.clientHeight].join())"
    )
    assert len(set(stages)) == 1


@pytest.mark.parametrize("width", [380, 700, 1000, 1500])
def test_panels_are_of_one_size_and_nothing_sticks_out_at_any_width(open_page, address, width):
    page = open_page(address, width=width)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('.lk-stage')].map((s) => s.getBoundingClientRect())
        .map((b) => `${b.width.toFixed(1)} ${b.height.toFixed(1)}`)"""
    )
    assert len(set(sizes)) == 1


def test_hover_repaints_within_five_milliseconds(page):
    times = page.evaluate(
        """() => { const e = document.querySelector('#root').explorer, all = [];
        for (let i = 0; i < 60; i++) {
          const t = performance.now(); e.hover(i % 32, (i * 7) % 32); all.push(performance.now() - t); }
        return all.sort((a, b) => a - b) }"""
    )
    assert times[len(times) // 2] <= 5


def test_the_answer_counts_the_hits_and_names_the_best(page, comparer):
    scores = {name: s for name, s in comparer.scores.items() if s["energy"] is not None}
    best, hits = max(scores, key=lambda name: scores[name]["energy"]), sum(s["hit"] for s in scores.values())
    said = page.inner_text(".lk-answer")
    assert said.startswith(
        f"{hits} of {len(METHODS)} maps peak in the truth; most inside: {best.replace('_', ' ')}"
    )
    assert "(a flat map 14%)" in said


def test_a_method_that_was_not_saved_for_a_class_is_not_offered(open_page, tiny, tmp_path):
    widget = Comparer(tiny, torch.rand(1, 3, 32, 32), methods=METHODS[:2], chosen=METHODS[:1], target=0)
    widget.precompute(targets=[1], methods=METHODS[:2])
    page = open_page(widget.save_html(tmp_path / "page.html").as_uri())
    assert page.locator(".lk-tick:visible").all_inner_texts() == ["saliency"]
    choose(page, tiny.classes[1])
    assert page.locator(".lk-tick:visible").all_inner_texts() == ["saliency", "gradient x input"]
    page.click(".lk-tick >> nth=1")
    assert page.locator(".lk-pick:visible .lk-class").all_inner_texts() == []  # one class has both: no choice


def test_a_page_that_knows_another_class_than_the_named_one_begins_with_it(open_page, tiny, tmp_path):
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    other = int(tiny(pictures).min(1).indices[0])  # at neither picture the likeliest
    widget = Comparer(tiny, pictures, methods=["saliency"], target=other)
    widget.precompute(pictures=[0, 1], targets=[other])
    page = open_page(widget.save_html(tmp_path / "page.html").as_uri())
    assert page.locator(".lk-thumb:visible").count() == 2
    for picture in (0, 1):
        assert page.evaluate("() => document.querySelector('.lk').explorer.state.picture") == picture
        assert page.inner_text(".lk-question em") == tiny.classes[other]
        assert page.evaluate("() => Boolean(document.querySelector('.lk').explorer.find().values)")
        page.keyboard.press("n")
