"""The demo of attacks without the weights: the table holds its controls, squares are filmed."""

from __future__ import annotations

import json

import pytest

from labkit.app import demos_transfer
from labkit.app.demos import DEMOS


@pytest.fixture(scope="module")
def data() -> dict:
    patch = pytest.MonkeyPatch()
    small = {
        "transfer_data": {"scenes": 6, "pictures": 2},
        "world_data": {"views": 2, "learned": 2, "steps": 1},
    }
    for name, options in small.items():
        given = getattr(demos_transfer, name)
        patch.setattr(demos_transfer, name, lambda model, f=given, o=options: f(model, **o))
    page = DEMOS["transfer"]("minivgg-2")
    patch.undo()
    assert "http" not in page
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


def test_each_row_has_an_error_a_network_and_controls_stand_below(data: dict) -> None:
    assert data["targets"] == ["minivgg-2", "minivgg", "minivgg-3", "minivgg-11"]
    names = [row["name"] for row in data["rows"]]
    assert names[:4] == data["targets"]
    assert names[4:] == ["another picture's", "untrained twin", "random sign"]
    assert [row["control"] for row in data["rows"]] == [False] * 4 + [True] * 3
    for number, row in enumerate(data["rows"]):
        assert len(row["errors"]) == 4
        assert all(0 <= error <= 1 for error in row["errors"])
        if not row["control"]:
            assert row["errors"][number] == max(row["errors"])


def test_a_picture_is_there_for_each_row_with_every_network_s_answers(data: dict) -> None:
    assert len(data["pictures"]) == 2
    for picture in data["pictures"]:
        assert picture["said"] == [picture["label"]] * 4  # named rightly by all, before
        assert len(picture["after"]) == 7
        for after in picture["after"]:
            assert after["picture"].startswith("data:image/png")
            assert len(after["said"]) == 4


def test_squares_are_filmed_and_say_how_often_they_fool(data: dict) -> None:
    assert [square["name"].split(":")[0] for square in data["squares"][::2]] == [
        "crate, bus", "crate, bus", "crate, wolf", "T-shirt, bus"
    ]  # fmt: skip
    for square in data["squares"]:
        hits = sum(view["said"] == square["target"] for view in square["views"])
        assert f"says {square['target']} in {hits} of 2 new views" in square["says"]
        assert "% of the picture" in square["says"]


def test_a_network_of_grounds_is_refused() -> None:
    with pytest.raises(ValueError, match="scenes and layers are chosen for"):
        DEMOS["transfer"]("minivgg-scenes")
