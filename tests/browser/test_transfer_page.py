"""The page of the demo transfer in a browser: a cell chosen by arrows, pictures, the other tab, screens."""

import pytest
import torch

from labkit.app.sheets import image_address, page_html

pytestmark = pytest.mark.browser
NAMES = ["minivgg", "minivgg-2", "minivgg-3", "minivgg-11"]


@pytest.fixture
def address(tmp_path):
    grey, red = (image_address(torch.full((3, 128, 128), 0.5) + torch.tensor(v).view(3, 1, 1)) for v in
                 ([0.0, 0.0, 0.0], [0.03, 0.0, 0.0]))  # fmt: skip
    rows = [{"name": n, "control": False, "errors": [0.5] * 4} for n in NAMES]
    rows += [{"name": "random sign", "control": True, "errors": [0.0] * 4}]
    after = [{"picture": red, "said": ["bus"] * 4}] * 4 + [{"picture": grey, "said": ["cow"] * 4}]
    picture = {"label": "cow", "before": grey, "said": ["cow"] * 4, "after": after}
    view = {"picture": grey, "said": "bus"}
    squares = [
        {"name": f"square {k}", "target": "bus", "says": f"Square {k} fools.", "views": [view] * 10}
        for k in range(7)
    ]
    data = {"targets": NAMES, "rows": rows, "counts": [60] * 4, "pictures": [picture] * 3, "squares": squares}
    path = tmp_path / "transfer.html"
    path.write_text(page_html("transfer.html", "Whom does it fool?", data), "utf-8")
    return path.as_uri()


def test_arrows_choose_a_pair_and_the_address_keeps_it(open_page, address):
    page = open_page(address, ready="canvas")
    assert "minivgg-2 misreads 50 % of the 60" in page.inner_text(".answer")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".answer").startswith("Made on minivgg-2. minivgg-3 misreads")
    assert page.url.endswith("row=1&column=2")
    assert page.locator("dd.wrong").count() == 4
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.inner_text(".answer").startswith("Control: random sign. minivgg-3 misreads 0 %")
    assert page.locator("dd.wrong").count() == 0
    page.keyboard.press("n")
    assert page.get_attribute(".pictures button >> nth=1", "aria-checked") == "true"
    assert open_page(page.url, ready="canvas").inner_text(".answer").startswith("Control: random sign")


def test_the_change_is_drawn_ten_times_on_grey(open_page, address):
    page = open_page(address, ready="canvas")
    first = "[...document.querySelector('#change').getContext('2d').getImageData(64, 64, 1, 1).data]"
    page.wait_for_function(f"{first}[3] === 255")
    red, green, blue, _ = page.evaluate(first)
    assert red >= 128 + 60
    assert (green, blue) == (128, 128)


def test_hovering_shows_a_pair_without_choosing_it(open_page, address):
    page = open_page(address, ready="canvas")
    page.hover("td button >> nth=18")
    assert page.inner_text(".answer").startswith("Control: random sign")
    page.mouse.move(5, 5)
    assert page.inner_text(".answer").startswith("Made on minivgg.")


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_both_tabs_fit_a_screen_also_on_a_projector(open_page, address, size):
    page = open_page(address, ready="canvas", width=size[0], height=size[1])
    for key in ("t", "p", "t"):
        across, down = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        assert across <= size[0]
        assert down <= size[1]
        page.keyboard.press(key)
    assert page.locator(".views img").count() == 10


def test_squares_are_chosen_by_arrows(open_page, address):
    page = open_page(address, ready="canvas")
    page.click("text=Printed, in the world")
    assert page.inner_text(".answer") == "Square 0 fools."
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".answer") == "Square 1 fools."
    assert "tab=world" in page.url
    assert page.locator("figcaption.wrong").count() == 10
