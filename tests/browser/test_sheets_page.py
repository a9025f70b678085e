"""Pages of sheets in a browser: arrows choose, the address keeps it, all fits a screen, nothing is asked."""

import pytest
import torch

from labkit.app.sheets import Panel, Sheet, mosaic, sheets_html

pytestmark = pytest.mark.browser


@pytest.fixture
def address(tmp_path):
    def panel(title, value):
        images = torch.full((12, 3, 5, 5), value)
        return Panel(title, mosaic(images, 4), f"{title}, in words")

    sheets = [
        Sheet("layer 1", "Five of twelve <are> edges.", [panel("as trained", 0.9), panel("shuffled", 0.1)]),
        Sheet("layer 2", "No colours: 32 input channels.", [panel("kernels", 0.3)]),
    ]
    path = tmp_path / "sheets.html"
    path.write_text(sheets_html("What do filters look like?", sheets, "Layer"), "utf-8")
    return path.as_uri()


def test_arrows_choose_a_sheet_and_the_address_keeps_it(open_page, address):
    page = open_page(address, ready="img")
    assert page.inner_text("h1") == "What do filters look like?"
    assert page.inner_text(".answer") == "Five of twelve <are> edges."
    assert page.locator("figcaption").all_inner_texts() == ["as trained", "shuffled"]
    assert page.locator("img").first.get_attribute("alt") == "as trained, in words"
    page.keyboard.press("ArrowRight")
    assert page.locator("figcaption").all_inner_texts() == ["kernels"]
    assert page.locator("[role=radio][aria-checked=true]").all_inner_texts() == ["layer 2"]
    assert page.url.endswith("#sheet=1")
    assert open_page(page.url, ready="img").inner_text(".answer").startswith("No colours")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".answer").startswith("Five")
    page.click("text=layer 2")
    assert page.inner_text(".answer").startswith("No colours")


def test_a_page_may_open_with_another_sheet_than_the_first(open_page, tmp_path):
    sheets = [
        Sheet(f"{n} / 255", f"Steps of {n}.", [Panel("x", torch.zeros(3, 4, 4), "x")]) for n in range(3)
    ]
    (tmp_path / "page.html").write_text(sheets_html("How small a step?", sheets, "Epsilon", first=2), "utf-8")
    page = open_page((tmp_path / "page.html").as_uri(), ready="img")
    assert page.inner_text(".answer") == "Steps of 2."
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#sheet=0")
    assert open_page(page.url, ready="img").inner_text(".answer") == "Steps of 0."
    page.keyboard.press("ArrowLeft")
    assert "#" not in page.url


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (600, 800)])
def test_it_fits_a_screen_also_on_a_projector(open_page, address, size):
    page = open_page(address, ready="img", width=size[0], height=size[1])
    for _ in range(2):
        across, down = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        assert across <= size[0]
        assert down <= size[1] or size[0] < 640
        page.keyboard.press("p")
    assert page.evaluate("document.querySelector('img').naturalWidth") == 4 * 6 - 1


def test_projector_dark_and_keys(open_page, address):
    page = open_page(address, ready="img", width=1280, height=720)
    page.keyboard.press("p")
    sized = "parseFloat(getComputedStyle(document.querySelector('.answer')).fontSize)"
    assert page.evaluate(sized) >= 0.03 * 720
    assert "theme=projector" in page.url
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.keyboard.press("d")
    assert page.evaluate(paper) != light
    page.keyboard.press("d")
    assert page.evaluate(paper) == light
    page.keyboard.press("?")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".answer").startswith("Five"), "the page behind the keys stays"
    page.click("dialog button")
    assert not page.locator("dialog").is_visible()
