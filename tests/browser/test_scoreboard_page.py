"""The scoreboard's page in a browser: a click on a heading sorts."""

import pytest

from labkit.evaluation import Interval
from labkit.ledger.scoreboard import MEASURES, Row
from labkit.ledger.scoreboard_page import scoreboard_html

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


def test_the_columns_of_all_tables_stand_below_one_another(open_page, tmp_path):
    wide = Row("tag", "lime", dict.fromkeys(MEASURES["tag"], Interval(14.6, 13.6, 15.7)), 0.0001, 7)
    low = Row(
        "snow",
        "meaningful_perturbation",
        dict.fromkeys(MEASURES["snow"], Interval(-3.12, -4.96, -1.09)),
        0.0001,
        7,
    )
    path = tmp_path / "board.html"
    path.write_text(scoreboard_html([*rows(), wide, low]), "utf-8")
    page = open_page(path.as_uri(), ready="table", width=1280)
    edges = page.evaluate(
        "[...document.querySelectorAll('table')].map(t => [...t.rows[0].cells]"
        ".slice(0, -1).map(c => c.getBoundingClientRect().x))"
    )
    assert len(edges) == 3
    for own in edges[1:]:
        assert own == edges[0][: len(own)]
    crowded = "[...document.querySelectorAll('td, th')].filter(c => c.scrollWidth > c.clientWidth)"
    assert page.evaluate(f"{crowded}.map(c => [c.innerText, c.scrollWidth, c.clientWidth])") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


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
