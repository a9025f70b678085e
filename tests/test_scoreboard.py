"""The scoreboard: rows that are the library's measures, that are kept, and a page that can be sorted."""

from __future__ import annotations

import json

import pytest
import torch

from labkit.attribution import METHODS, saliency
from labkit.evaluation import Interval, deletion, energy_inside, pointing_hits
from labkit.scoreboard import ABOUT, BASELINES, METRICS, OPTIONS, Row, World, measure, scoreboard, worlds
from labkit.scoreboard_page import scoreboard_html


@pytest.fixture(scope="module")
def three() -> dict[str, World]:
    return {world.name: world for world in worlds(2)}


def test_each_world_shows_scenes_named_rightly_and_their_cause(three: dict[str, World]) -> None:
    assert set(three) == set(ABOUT)
    for world in three.values():
        with torch.no_grad():
            assert (world.model(world.images).argmax(1) == world.targets).all()
        assert world.causes.flatten(1).any(1).all()
        assert len(world.images) == 2
    assert three["tag"].causes.float().mean() < 0.1
    assert three["snow"].causes.float().mean() > 0.5


def test_a_row_is_what_the_library_measures(three: dict[str, World]) -> None:
    world = three["clean"]
    row = measure(world, "saliency", batch=1, show=False)
    maps = saliency(world.model, world.images, world.targets)
    assert row.values["pointing"].value == pointing_hits(maps, world.causes)[0].float().mean()
    share = world.causes.float().mean((1, 2))
    energy = float((energy_inside(maps, world.causes) / share).mean())
    assert row.values["energy"].value == pytest.approx(energy)
    auc = deletion(world.model, world.images, maps, world.targets, steps=16).auc
    assert row.values["deletion"].value == pytest.approx(float(auc.mean()), abs=1e-5)
    assert row.seconds > 0
    assert set(row.values) == set(METRICS)


def test_the_ground_has_no_box(three: dict[str, World]) -> None:
    assert measure(three["snow"], "the centre", show=False).values["box"] is None
    assert measure(three["clean"], "chance", show=False).values["box"].value <= 1


def test_options_are_those_of_the_methods() -> None:
    import inspect

    for name, options in OPTIONS.items():
        assert set(options) <= set(inspect.signature(METHODS[name].function).parameters)


def test_rows_are_kept_as_they_come_and_not_measured_twice(tmp_path, monkeypatch) -> None:
    kept = tmp_path / "rows.jsonl"
    first = scoreboard(2, methods=["the centre"], only=["clean"], kept=kept)
    assert len(kept.read_text().splitlines()) == 1
    both = scoreboard(2, methods=["the edges", "the centre"], only=["clean"], kept=kept)
    assert [row.method for row in both] == ["the edges", "the centre"]
    assert both[1] == first[0]
    assert len(kept.read_text().splitlines()) == 2
    stale = json.loads(kept.read_text().splitlines()[0]) | {"code": "of another day"}
    kept.write_text(json.dumps(stale) + "\n")
    assert scoreboard(2, methods=["the centre"], only=["clean"], kept=kept)[0].code != "of another day"


def test_mistakes_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="methods must be among saliency"):
        scoreboard(1, methods=["salience"])
    with pytest.raises(ValueError, match="only must be among clean, tag, snow; got mud"):
        scoreboard(1, only=["mud"])
    with pytest.raises(ValueError, match="scenes must be"):
        worlds(0)
    with pytest.raises(ValueError, match="rows must hold at least one row"):
        scoreboard_html([])


def rows() -> list[Row]:
    def row(method: str, value: float, seconds: float) -> Row:
        values = dict.fromkeys(METRICS, Interval(value, value - 0.1, value + 0.1))
        return Row("clean", method, values | {"box": None}, seconds, 7)

    return [row("saliency", 0.5, 0.01), row("grad_cam", 0.7, 0.02), row(next(iter(BASELINES)), 0.9, 0.0)]


def test_the_page_names_the_best_method_and_no_baseline() -> None:
    page = scoreboard_html(rows())
    assert page.count("class=best") == 5  # one a column that is defined
    assert 'class=best data-v="0.70000"' in page
    assert 'class=best data-v="0.50000"' in page  # deletion, where low is good
    assert 'class=best data-v="0.90000"' not in page
    assert "7 scenes" in page
    assert "&ndash;</td>" in page
    assert "http" not in page
