"""The scoreboard's page in a browser: a click on a heading sorts."""

import pytest

from labkit.evaluation import Interval
from labkit.scoreboard import METRICS, Row
from labkit.scoreboard_page import scoreboard_html

pytestmark = pytest.mark.browser


def rows():
    def row(method, value, seconds):
        values = dict.fromkeys(METRICS, Interval(value, value - 0.1, value + 0.1))
        return Row("clean", method, values | {"box": None}, seconds, 7)

    return [row("saliency", 0.5, 0.01), row("grad_cam", 0.7, 0.02), row("the centre", 0.9, 0.0)]


def test_a_click_on_a_heading_sorts(open_page, tmp_path):
    path = tmp_path / "board.html"
    path.write_text(scoreboard_html(rows()), "utf-8")
    page = open_page(path.as_uri(), ready="table")

    def order():
        return page.locator("tbody th").all_text_contents()

    page.click("text=pointing >> nth=0")
    assert order() == ["the centre", "grad_cam", "saliency"]
    page.click("text=pointing >> nth=0")
    assert order() == ["saliency", "grad_cam", "the centre"]
    page.click("text=deletion >> nth=0")  # low is good, and comes first
    assert order() == ["saliency", "grad_cam", "the centre"]
