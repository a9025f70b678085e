"""The scoreboard's page in a browser: a click on a heading sorts."""

import pytest

from labkit.evaluation import Interval
from labkit.scoreboard import MEASURES, Row
from labkit.scoreboard_page import scoreboard_html

pytestmark = pytest.mark.browser


def rows(world="clean"):
    def row(method, value, seconds):
        values = dict.fromkeys(MEASURES[world], Interval(value, value - 0.1, value + 0.1))
        return Row(world, method, values | ({"box": None} if world == "clean" else {}), seconds, 7)

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


def test_a_method_that_refused_comes_last_however_it_is_sorted(open_page, tmp_path):
    refused = Row(
        "snow", "cam", dict.fromkeys(MEASURES["snow"]), None, 7, refused="model must end in a mean."
    )
    path = tmp_path / "board.html"
    path.write_text(scoreboard_html([refused, *rows("snow")]), "utf-8")
    page = open_page(path.as_uri(), ready="table")
    for heading in ("shift", "thaw", "s / picture"):
        for _ in range(2):
            page.click(f"button:has-text('{heading}')")
            assert page.locator("tbody th").all_text_contents()[-1] == "cam not defined here"
