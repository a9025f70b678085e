"""The rating panel in a browser: y and n answer and go on, answers are saved as CSV, all fits a screen."""

from __future__ import annotations

import pytest
import torch

from labkit.app.panels import rating_html
from labkit.concepts.ratings import read_ratings

pytestmark = pytest.mark.browser


@pytest.fixture
def address(tmp_path):
    path = tmp_path / "rate.html"
    items = [torch.full((3, 30, 30), level) for level in (0.2, 0.5, 0.8)]
    path.write_text(rating_html("Do these nine share one thing?", items), "utf-8")
    return path.as_uri()


def test_answers_are_given_by_keys_and_saved_as_a_file_that_can_be_read(open_page, address, tmp_path):
    page = open_page(address, ready="img[src]")
    assert page.inner_text(".answer").startswith("Item 1 of 3; 0 answered")
    page.keyboard.press("y")
    page.wait_for_function("document.querySelector('.answer').textContent.startsWith('Item 2')")
    page.fill("#what", 'wheels, "round"')
    page.click("#no")
    page.wait_for_function("document.querySelector('.answer').textContent.startsWith('Item 3')")
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#what") == 'wheels, "round"'
    assert page.get_attribute("#no", "aria-pressed") == "true"
    page.fill("#rater", "ada y n")  # letters of a name are no answers
    with page.expect_download() as waiting:
        page.click("#save")
    assert waiting.value.suggested_filename == "ratings-ada_y_n.csv"
    saved = tmp_path / "saved.csv"
    waiting.value.save_as(saved)
    assert saved.read_text("utf-8") == (
        'rater,item,answer,what\n"ada y n",1,yes,""\n"ada y n",2,no,"wheels, ""round"""\n'
    )
    assert read_ratings([saved]) == {"ada y n": {1: True, 2: False}}
    assert "Saved 2 of 3" in page.inner_text(".answer")


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (600, 900)])
def test_it_fits_a_screen_also_on_a_projector(open_page, address, size):
    page = open_page(address, ready="img[src]", width=size[0], height=size[1])
    for _ in range(2):
        across, down = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        assert across <= size[0]
        assert down <= size[1] or size[0] < 640
        page.keyboard.press("p")


def test_dark_and_the_keys(open_page, address):
    page = open_page(address, ready="img[src]")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.keyboard.press("d")
    assert page.evaluate(paper) != light
    page.keyboard.press("?")
    page.keyboard.press("y")
    page.click("dialog button")
    assert "0 answered" in page.inner_text(".answer"), "the page behind the keys stays"
