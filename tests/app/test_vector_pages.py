"""Pages of lab 33: a slider over the number of filters, with what each number reaches."""

from __future__ import annotations

import json
import re

import pytest

from labkit.app.vector_pages import net2vec_html
from labkit.experiments import bench


def test_the_number_of_filters_is_a_slider_that_says_its_iou(monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench.Bench
    monkeypatch.setattr(bench, "Bench", lambda mode: real("quick"))
    page = net2vec_html(few=(1, 3))
    assert '<input id="slider" type="range" min="0" max="1"' in page
    assert page.count('class="choose"') == 0
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["sizes"] == [2]
    for tick, cell, size in zip(data["ticks"], data["cells"], (1, 3), strict=True):
        (own,) = re.fullmatch(rf"F = {size}, IoU (\d\.\d\d)", tick).groups()  # type: ignore[union-attr]
        assert f"IoU {own} on scenes held out" in cell["says"]
        assert "units on raw colour" in cell["says"]
        truth, found, colour = cell["panels"]
        assert truth["title"] == "truth"
        assert found["title"] == f"filters: {size}, IoU {own}"
        assert colour["title"].startswith(f"raw colour: {size}, IoU 0.")
