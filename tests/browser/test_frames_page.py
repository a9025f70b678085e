"""Pages with a slider in a browser: arrows move it, numbers choose, the address keeps it, all fits."""

import pytest
import torch

from labkit.app.frames import Choice, frames_html
from labkit.app.sheets import Panel, Sheet

pytestmark = pytest.mark.browser


@pytest.fixture
def address(tmp_path):
    def cell(picture, layer, step):
        shown = torch.full((3, 8, 8), (picture + 2 * layer + 4 * step) / 12)
        says = f"picture {picture}, <layer> {layer}, step {step}"
        bars = [("fire engine", 0.75), ("bus", step / 8)]
        black = Panel("same", torch.zeros(3, 8, 8), "black")
        return Sheet("", says, [black, Panel("dream", shown, says, bars)])

    rows = [Choice("Picture", ["bus", "zebra"]), Choice("Layer", ["conv2", "conv6"])]
    path = tmp_path / "frames.html"
    path.write_text(frames_html("What?", rows, Choice("Step", ["0", "1", "2"]), cell, [0, 1, 2]), "utf-8")
    return path.as_uri()


def test_arrows_move_the_slider_numbers_choose_and_the_address_keeps_it(open_page, address):
    page = open_page(address, ready="img")
    said = lambda: page.inner_text(".answer")  # noqa: E731
    assert page.inner_text("h1") == "What?"
    assert said() == "picture 0, <layer> 1, step 2"
    page.keyboard.press("ArrowLeft")
    assert said() == "picture 0, <layer> 1, step 1"
    assert page.inner_text("output") == "1"
    assert page.locator("img").nth(1).get_attribute("alt") == "picture 0, <layer> 1, step 1"
    page.keyboard.press("1")
    page.keyboard.press("2")
    assert said() == "picture 1, <layer> 0, step 1"
    assert page.locator("[role=radio][aria-checked=true]").all_inner_texts() == ["zebra", "conv2"]
    assert page.url.endswith("#at=1.0.1")
    assert open_page(page.url, ready="img").inner_text(".answer") == "picture 1, <layer> 0, step 1"
    page.click("text=conv6")
    assert said() == "picture 1, <layer> 1, step 1"
    page.fill("#slider", "0")
    assert said() == "picture 1, <layer> 1, step 0"


def test_a_page_of_a_slider_alone_is_moved_by_the_arrows_of_the_keyboard(open_page, tmp_path):
    path, picture = tmp_path / "slider.html", torch.zeros(3, 8, 8)
    ticks = [f"F = {size}, IoU 0.{size}0" for size in (1, 3, 8)]
    shown = frames_html(
        "How many?", [], Choice("Filters", ticks), lambda k: Sheet("", ticks[k], [Panel("it", picture, "it")])
    )
    path.write_text(shown, "utf-8")
    page = open_page(path.as_uri(), ready="img")
    assert page.locator("[role=radio]").count() == 0
    for focus in ("h1", "#slider"):
        page.reload()
        page.focus(focus) if focus == "#slider" else page.click(focus)
        page.keyboard.press("ArrowRight")
        assert page.inner_text("output") == page.inner_text(".answer") == "F = 3, IoU 0.30"
        assert page.get_attribute("#slider", "aria-valuetext") == "F = 3, IoU 0.30"
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("output") == "F = 1, IoU 0.10"


def test_bars_stand_below_their_picture_and_follow_the_slider(open_page, address):
    page = open_page(address, ready="img")
    said = lambda: page.locator(".bars").nth(1).inner_text().split("\n")  # noqa: E731
    assert said() == ["fire engine", "0.75", "bus", "0.25"]
    page.keyboard.press("ArrowLeft")
    assert said() == ["fire engine", "0.75", "bus", "0.13"]
    assert not page.locator(".bars").first.is_visible()
    picture, bars = (page.locator(name).nth(1).bounding_box() for name in ("img", ".bars"))
    assert 0 <= bars["y"] - (picture["y"] + picture["height"]) < 24


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080)])
def test_all_fits_a_screen_on_a_projector_too(open_page, address, width, height):
    page = open_page(f"{address}#theme=projector", width=width, height=height, ready="img")
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
        width, height
    ]  # fmt: skip
    assert page.get_attribute("#projector", "aria-pressed") == "true"


def figures(open_page, tmp_path, count, titles):
    """Boxes of the pictures of a page with so many panels, on a projector."""
    picture = torch.rand(3, 8, 8)
    panels = [Panel(titles[k % len(titles)], picture, "it") for k in range(count)]
    shown = frames_html("What?", [], Choice("Step", ["0"]), lambda _: Sheet("", "it", panels))
    (tmp_path / "panels.html").write_text(shown, "utf-8")
    address = (tmp_path / "panels.html").as_uri()
    page = open_page(f"{address}#theme=projector", width=1280, height=720, ready="img")
    return [one.bounding_box() for one in page.locator("img").all()]


def test_a_title_of_two_lines_moves_no_picture_out_of_line(open_page, tmp_path):
    boxes = figures(
        open_page, tmp_path, 4, ["short", "a title so long that it takes a second line of its own"]
    )
    assert len({round(box["y"]) for box in boxes}) == 1
    assert len({round(box["height"]) for box in boxes}) == 1


def test_of_five_panels_the_first_two_are_large_and_the_page_is_filled(open_page, tmp_path):
    boxes = figures(open_page, tmp_path, 5, ["a", "b"])
    sides = [min(box["width"], box["height"]) for box in boxes]
    assert min(sides[:2]) > 1.6 * max(sides[2:])
    assert sum(side * side for side in sides) > 0.35 * 1280 * 720
    assert boxes[0]["y"] == boxes[1]["y"] == boxes[2]["y"]
